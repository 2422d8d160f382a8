//! Where programs keep what they make for themselves, as each platform has it: keys and who is trusted in one place, what can be
//! made again in another.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::surroundings::by_name;

/// Our folder among those of other programs.
const FOLDER: &str = "p2p-fileshare";

/// The folders of the user who runs this process. None of them need be there; where nobody has a home, there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders {
    /// Keys and certificates: `$XDG_DATA_HOME` or `~/.local/share`, `~/Library/Application Support`, `%LOCALAPPDATA%`.
    pub data: Option<PathBuf>,
    /// What was learnt, such as which trackers are known: `$XDG_STATE_HOME` or `~/.local/state`, elsewhere as [`Self::data`].
    pub state: Option<PathBuf>,
    /// What is made again if it is lost: `$XDG_CACHE_HOME` or `~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`.
    pub cache: Option<PathBuf>,
}

/// How a platform sorts such folders.
#[derive(Debug, Clone, Copy)]
enum Platform {
    Windows,
    MacOs,
    Xdg,
}

impl Folders {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        let variables = by_name(std::env::vars_os(), cfg!(windows));
        let platform = match () {
            () if cfg!(windows) => Platform::Windows,
            () if cfg!(target_os = "macos") => Platform::MacOs,
            () => Platform::Xdg,
        };
        // Without HOME it is the one that the system has noted for the user.
        Folders::of(&variables, std::env::home_dir(), platform)
    }

    fn of(variables: &BTreeMap<String, OsString>, home: Option<PathBuf>, platform: Platform) -> Self {
        // A relative path would be one of the working folder, whatever that is.
        let named = |name: &str| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = home.filter(|home| home.is_absolute());
        let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let [data, state, cache] = match platform {
            Platform::Windows => {
                let local = named("LOCALAPPDATA").or_else(|| in_home("AppData/Local"));
                [local.clone(), local.clone(), local]
            }
            Platform::MacOs => {
                let support = in_home("Library/Application Support");
                [support.clone(), support, in_home("Library/Caches")]
            }
            Platform::Xdg => [
                named("XDG_DATA_HOME").or_else(|| in_home(".local/share")),
                named("XDG_STATE_HOME").or_else(|| in_home(".local/state")),
                named("XDG_CACHE_HOME").or_else(|| in_home(".cache")),
            ],
        }
        .map(|folder| folder.map(|folder| folder.join(FOLDER)));
        Folders { data, state, cache }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn folders(variables: &[(&str, &str)], home: Option<&str>, platform: Platform) -> [Option<String>; 3] {
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
        let Folders { data, state, cache } = Folders::of(&variables, home.map(PathBuf::from), platform);
        [data, state, cache].map(|folder| folder.map(|folder| folder.display().to_string()))
    }

    #[test]
    fn each_platform_has_its_folders() {
        let of = |folders: [&str; 3]| folders.map(|folder| Some(folder.to_owned()));
        let home = Some("/home/me");
        let own = of([
            "/home/me/.local/share/p2p-fileshare",
            "/home/me/.local/state/p2p-fileshare",
            "/home/me/.cache/p2p-fileshare",
        ]);
        assert_eq!(folders(&[], home, Platform::Xdg), own);
        let named = [("XDG_DATA_HOME", "/d"), ("XDG_STATE_HOME", "/s"), ("XDG_CACHE_HOME", "/c")];
        let elsewhere = of(["/d/p2p-fileshare", "/s/p2p-fileshare", "/c/p2p-fileshare"]);
        assert_eq!(folders(&named, None, Platform::Xdg), elsewhere);
        let library = "/home/me/Library/Application Support/p2p-fileshare";
        let caches = "/home/me/Library/Caches/p2p-fileshare";
        assert_eq!(folders(&named, home, Platform::MacOs), of([library, library, caches]));
        let local = of(["/l/p2p-fileshare"; 3]);
        assert_eq!(folders(&[("LOCALAPPDATA", "/l")], home, Platform::Windows), local);
    }

    #[test]
    fn relative_paths_and_no_home_are_no_folders() {
        let own = folders(&[], Some("/home/me"), Platform::Xdg);
        assert_eq!(folders(&[("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "")], Some("/home/me"), Platform::Xdg), own);
        for home in [None, Some(""), Some("here")] {
            assert_eq!(folders(&[], home, Platform::Xdg), [None, None, None]);
        }
    }
}
