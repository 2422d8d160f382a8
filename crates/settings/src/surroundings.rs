//! Where settings come from beside the command line: handed in, so that tests need no variables of their process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Name of the file, in whatever folder.
const FILE: &str = "p2p-fileshare.toml";
/// Our folder among the configuration of other programs.
const FOLDER: &str = "p2p-fileshare";

/// Environment variables, and the files that are looked for in turn.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Variables by name. Those whose names are not Unicode are none of ours.
    pub variables: BTreeMap<String, OsString>,
    /// Files of which the first that exists counts.
    pub files: Vec<PathBuf>,
}

impl Surroundings {
    /// Those of this process: `p2p-fileshare.toml` in the working folder, or in the platform's folder for
    /// configuration (`$XDG_CONFIG_HOME` or `~/.config`, `~/Library/Application Support`, `%APPDATA%`).
    pub fn of_this_process() -> Self {
        let variables: BTreeMap<_, _> =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        let folder = |name: &str| variables.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = || folder("HOME");
        let configuration = if cfg!(windows) {
            folder("APPDATA")
        } else if cfg!(target_os = "macos") {
            home().map(|home| home.join("Library/Application Support"))
        } else {
            folder("XDG_CONFIG_HOME").or_else(|| home().map(|home| home.join(".config")))
        };
        let files = std::iter::once(PathBuf::from(FILE))
            .chain(configuration.map(|folder| folder.join(FOLDER).join(FILE)))
            .collect();
        Surroundings { variables, files }
    }

    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.get(name).cloned()
    }
}
