//! Where settings come from beside the command line: handed in, so that tests need no variables of their process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Name of the file, in whatever folder.
pub(crate) const FILE: &str = "p2p-fileshare.toml";
/// Our folder among the configuration of other programs.
const FOLDER: &str = "p2p-fileshare";

/// Environment variables, and the files that are looked for.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Variables by name. Those whose names are not Unicode are none of ours.
    pub variables: BTreeMap<String, OsString>,
    /// The file of the working folder. Anyone may have put it there, by a download for one: it is read only for command
    /// lines without a subcommand, and names no paths.
    pub working: Option<PathBuf>,
    /// Files of the user and of the machine, of which the first that exists counts.
    pub files: Vec<PathBuf>,
}

impl Surroundings {
    /// Those of this process: `p2p-fileshare.toml` in the working folder; and in the user's folder for configuration
    /// (`$XDG_CONFIG_HOME` or `~/.config`, `~/Library/Application Support`, `%APPDATA%`), or in `/etc/p2p-fileshare`.
    pub fn of_this_process() -> Self {
        let variables = by_name(std::env::vars_os(), cfg!(windows));
        // A relative path would be one of the working folder, whatever that is.
        let folder = |name: &str| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || folder("HOME");
        let configuration = if cfg!(windows) {
            folder("APPDATA")
        } else if cfg!(target_os = "macos") {
            home().map(|home| home.join("Library/Application Support"))
        } else {
            folder("XDG_CONFIG_HOME").or_else(|| home().map(|home| home.join(".config")))
        };
        let machine = cfg!(unix).then(|| PathBuf::from("/etc"));
        let files = configuration.into_iter().chain(machine).map(|folder| folder.join(FOLDER).join(FILE)).collect();
        Surroundings { variables, working: Some(FILE.into()), files }
    }

    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.get(name).cloned()
    }

    /// The file of the working folder, unless that is the user's or the machine's own.
    pub(crate) fn working(&self) -> Option<&Path> {
        let same = |one: &Path, other: &Path| {
            one.canonicalize().ok().is_some_and(|one| other.canonicalize().is_ok_and(|other| one == other))
        };
        self.working.as_deref().filter(|working| !self.files.iter().any(|file| same(working, file)))
    }
}

/// Variables by their names, which on Windows mean the same in capitals and in small letters.
pub(crate) fn by_name(
    variables: impl Iterator<Item = (OsString, OsString)>,
    windows: bool,
) -> BTreeMap<String, OsString> {
    let named = |(name, value): (OsString, OsString)| {
        let name = name.into_string().ok()?;
        Some((if windows { name.to_uppercase() } else { name }, value))
    };
    variables.filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_windows_variables_are_found_in_whatever_letters_they_were_set() {
        let set = [("p2p_Up_Rate", "10MiB"), ("AppData", "C:/a")];
        let found = |windows, name: &str| {
            let set = set.map(|(name, value)| (OsString::from(name), OsString::from(value)));
            by_name(set.into_iter(), windows).get(name).cloned()
        };
        assert_eq!(found(true, "P2P_UP_RATE"), Some("10MiB".into()));
        assert_eq!(found(true, "APPDATA"), Some("C:/a".into()));
        assert_eq!(found(false, "P2P_UP_RATE"), None);
        assert_eq!(found(false, "AppData"), Some("C:/a".into()));
    }
}
