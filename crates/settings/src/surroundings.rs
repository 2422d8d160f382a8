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
        let variables: BTreeMap<_, _> =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
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
