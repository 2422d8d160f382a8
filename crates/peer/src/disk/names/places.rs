//! Folders in which a name means something: homes, the folder that this process works in, and that of our settings.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use protocol::is_unprintable;

/// Settings of these programs, in whatever folder they are looked for.
const SETTINGS: &str = "p2p-fileshare.toml";
/// The folder of settings among the configuration of other programs.
const SETTINGS_FOLDER: &str = "p2p-fileshare";
/// What the programs read in the folder that they work in, unless they are told otherwise: who the tracker is and which CA
/// counts, and the manifests that files are checked against.
const READ_WHERE_WE_WORK: [&str; 2] = ["certs", "hashes"];

/// Ends of the names that Windows looks for beside a program that starts: what it loads, and what says how it does.
const LOADED: [&str; 8] = [".dll", ".exe", ".com", ".bat", ".cmd", ".local", ".manifest", ".config"];

/// The folder of a user's documents, and those in it from which PowerShell reads what it does when it starts.
const DOCUMENTS: &str = "documents";
const PROFILES: [&str; 2] = ["powershell", "windowspowershell"];

/// The system, as far as it decides what programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Windows,
    MacOs,
    Other,
}

impl System {
    /// This one.
    pub(crate) const HERE: Self = if cfg!(windows) {
        System::Windows
    } else if cfg!(target_vendor = "apple") {
        System::MacOs
    } else {
        System::Other
    };

    /// Whether programs read what has this name at the top of a home, though it is not hidden by a dot.
    fn reads_in_homes(self, folded: &str) -> bool {
        match self {
            // Programs that come from Unix take `_` for the dot: `_vimrc`, `_netrc`.
            System::Windows => folded == "appdata" || folded.starts_with('_'),
            System::MacOs => folded == "library",
            System::Other => false,
        }
    }
}

/// What a folder is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FolderKind {
    home: bool,
    working: bool,
    settings: bool,
    /// It is called as that of a user's documents, which may lie elsewhere than in the home.
    documents: bool,
    /// The running program lies there, and its system reads what lies beside it.
    program: bool,
    missing: bool,
}

impl FolderKind {
    /// Whether what is hidden in it is read by other programs.
    pub(crate) fn is_top(self) -> bool {
        self.home || self.working
    }

    /// What a folder of this name is that is not there yet.
    pub(crate) fn of_missing(name: &str) -> Self {
        let name = folded(name);
        FolderKind {
            settings: name == SETTINGS_FOLDER,
            documents: name == DOCUMENTS,
            missing: true,
            ..FolderKind::default()
        }
    }

    /// Whether it is known that no such folder is there, nor one in it.
    pub(crate) fn is_missing(self) -> bool {
        self.missing
    }

    /// Whether programs of this project, or of the `system`, read what has this name in it, or may do so.
    pub(crate) fn reserves(self, name: &str, system: System) -> bool {
        let windows = system == System::Windows;
        // `P2P-FI~1.TOM` is another name of `p2p-fileshare.toml` on NTFS, and `BASHRC~1` of `.bashrc`.
        if windows && is_short_name(name) && (self.is_top() || self.settings) {
            return true;
        }
        let name = folded(name);
        let settings = name == SETTINGS && (self.is_top() || self.settings);
        let at_start = windows && self.documents && PROFILES.contains(&name.as_str());
        settings
            || at_start
            || (self.working && READ_WHERE_WE_WORK.contains(&name.as_str()))
            || (self.program && is_loaded(&name))
            || (self.home && system.reads_in_homes(&name))
    }
}

/// Whether a file of this name is hidden. Some file systems leave out marks that cannot be seen.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.chars().find(|&c| !is_unprintable(c)) == Some('.')
}

/// Whether a name may be the short one that Windows makes up for a file with a longer name: of at most eight characters, with a
/// number behind `~`, and an end of at most three.
pub(crate) fn is_short_name(name: &str) -> bool {
    let (stem, end) = name.split_once('.').unwrap_or((name, ""));
    let numbered = stem.rsplit_once('~').is_some_and(|(start, number)| {
        !start.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    numbered && stem.len() <= 8 && end.len() <= 3
}

/// Whether what has this name beside a program may be read when that starts.
fn is_loaded(folded: &str) -> bool {
    LOADED.iter().any(|end| folded.ends_with(end))
}

/// A name as it is where file systems take the most names for one.
fn folded(name: &str) -> String {
    let seen: String = name.chars().filter(|&c| !is_unprintable(c)).collect();
    seen.to_uppercase().to_lowercase().trim_end_matches(['.', ' ']).to_owned()
}

/// Knows such folders again, whatever path leads to them.
#[derive(Default)]
pub(crate) struct Places {
    /// What this process reads, as it was told to: the folder, and the name in it.
    reserved: Vec<(FolderId, String)>,
    /// Asked for when it matters.
    folders: Option<SpecialFolders>,
    known: HashMap<PathBuf, FolderKind>,
}

struct SpecialFolders {
    homes: Vec<FolderId>,
    working: Option<FolderId>,
    /// The folder of the running program, where what lies beside it is read.
    program: Option<FolderId>,
    /// Whether one of them is not there yet: then a download may be what makes it.
    some_are_missing: bool,
}

impl Places {
    /// With files and folders that this process reads.
    pub(crate) fn new(reserved: impl IntoIterator<Item = PathBuf>) -> Self {
        let place = |path: PathBuf| {
            let path = std::path::absolute(path).ok()?;
            // A link there is read as what it leads to, and by its own name as well.
            let real = path.canonicalize().ok().filter(|real| *real != path);
            Some([Some(path), real].into_iter().flatten())
        };
        let of_path = |path: PathBuf| {
            let name = folded(&path.file_name()?.to_string_lossy());
            Some((FolderId::of(path.parent()?), name))
        };
        let reserved = reserved.into_iter().filter_map(place).flatten().filter_map(of_path).collect();
        Places { reserved, ..Places::default() }
    }

    /// Whether this process reads what has this name in this folder.
    pub(crate) fn reserves(&self, folder: &Path, name: &str) -> bool {
        let name = folded(name);
        let mut named = self.reserved.iter().filter(|(_, reserved)| *reserved == name).peekable();
        named.peek().is_some() && {
            let folder = FolderId::of(folder);
            named.any(|(within, _)| *within == folder)
        }
    }

    /// What the folder is that `name` would lie in, as far as it matters for such a name.
    pub(crate) fn kind(&mut self, folder: &Path, name: &str) -> FolderKind {
        let name_matters = is_hidden(name) || is_short_name(name) || {
            let name = folded(name);
            let of_windows = is_loaded(&name) || PROFILES.contains(&name.as_str());
            name == SETTINGS
                || READ_WHERE_WE_WORK.contains(&name.as_str())
                || System::HERE.reads_in_homes(&name)
                || (cfg!(windows) && of_windows)
        };
        if !name_matters {
            return FolderKind::default();
        }
        if let Some(&kind) = self.known.get(folder) {
            return kind;
        }
        let folders = self.folders.get_or_insert_with(SpecialFolders::of_this_process);
        let kind = folders.kind(folder);
        // What is there is not much; what is not, a manifest may have without end.
        if !kind.missing {
            self.known.insert(folder.to_owned(), kind);
        }
        kind
    }
}

#[cfg(test)]
impl Places {
    /// How many folders were found.
    pub(crate) fn known(&self) -> usize {
        self.known.len()
    }
}

impl SpecialFolders {
    fn of_this_process() -> Self {
        let own = std::env::home_dir();
        let some_are_missing = own.as_ref().is_some_and(|home| !home.exists());
        let homes = own.into_iter().chain(homes_of_users());
        SpecialFolders {
            homes: homes.map(|home| FolderId::of(&home)).collect(),
            working: std::env::current_dir().ok().map(|folder| FolderId::of(&folder)),
            program: program_folder(),
            some_are_missing,
        }
    }

    fn kind(&self, folder: &Path) -> FolderKind {
        let id = FolderId::of(folder);
        let called = atomic_file::real_path(folder).unwrap_or_else(|_| folder.to_owned());
        let name = folded(&called.file_name().unwrap_or_default().to_string_lossy());
        FolderKind {
            home: self.homes.contains(&id),
            working: self.working.as_ref() == Some(&id),
            settings: name == SETTINGS_FOLDER,
            documents: name == DOCUMENTS,
            program: self.program.as_ref() == Some(&id),
            missing: !self.some_are_missing && !folder.exists(),
        }
    }
}

/// Windows looks for libraries beside a program first; elsewhere nothing is read there.
fn program_folder() -> Option<FolderId> {
    let program = std::env::current_exe().ok().filter(|_| cfg!(windows))?;
    Some(FolderId::of(program.parent()?))
}

/// Which folder a path leads to: the same for every path to it, links and all.
#[derive(Debug, PartialEq, Eq)]
enum FolderId {
    #[cfg(unix)]
    Inode(u64, u64),
    /// Not there yet, or a platform that does not tell.
    Path(PathBuf),
}

impl FolderId {
    #[cfg(unix)]
    fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        match fs::metadata(path) {
            Ok(seen) => FolderId::Inode(seen.dev(), seen.ino()),
            Err(_) => FolderId::Path(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())),
        }
    }

    #[cfg(not(unix))]
    fn of(path: &Path) -> Self {
        let path = fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
        FolderId::Path(folded(&path.to_string_lossy()).into())
    }
}

/// The homes of everyone who has one on this machine: root may write into all of them.
#[cfg(unix)]
fn homes_of_users() -> Vec<PathBuf> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let homes = users.lines().filter_map(|line| line.split(':').nth(5)).map(PathBuf::from);
    // Users that are no people have the root folder for one.
    homes.filter(|home| home.is_absolute() && home.parent().is_some()).collect()
}

#[cfg(not(unix))]
fn homes_of_users() -> Vec<PathBuf> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_however_they_are_spelt() {
        let working = FolderKind { working: true, ..FolderKind::default() };
        for name in
            ["p2p-fileshare.toml", "P2P-FileShare.TOML", "p2p-file\u{200b}share.toml", "p2p-ﬁleshare.toml", "Certs"]
        {
            assert!(working.reserves(name, System::Other), "{name:?}");
            assert!(!FolderKind::default().reserves(name, System::Other), "{name:?}");
        }
        assert!(FolderKind { settings: true, ..FolderKind::default() }.reserves("p2p-fileshare.toml", System::Other));
        let program = FolderKind { program: true, ..FolderKind::default() };
        let loaded = ["version.DLL", "peer-cli.exe.local"];
        assert!(loaded.iter().all(|name| program.reserves(name, System::Windows)));
        assert!(!program.reserves("a.bin", System::Windows) && !working.reserves("version.dll", System::Windows));
        assert!(
            !working.reserves("p2p-fileshare.toml.txt", System::Other) && !working.reserves("input", System::Windows)
        );
        assert!(is_hidden(".x") && is_hidden("\u{200c}.x") && !is_hidden("x.") && !is_hidden(""));
    }

    /// As NTFS makes them: with the beginning of the long name, or from the fifth on with digits of a checksum.
    #[test]
    fn short_names_of_windows_stand_for_files_with_long_ones() {
        let working = FolderKind { working: true, ..FolderKind::default() };
        for name in ["P2P-FI~1.TOM", "p2p-fi~2.tom", "P22B1A~1.TOM", "GITCON~1", "CERTIF~9.PEM"] {
            assert!(is_short_name(name) && working.reserves(name, System::Windows), "{name}");
            assert!(
                !working.reserves(name, System::Other) && !FolderKind::default().reserves(name, System::Windows),
                "{name}"
            );
        }
        for name in ["report~1.final", "longname~1.txt", "~1.txt", "notes~", "a~b.txt", "x.y~1"] {
            assert!(!is_short_name(name), "{name}");
        }
    }

    #[test]
    fn what_a_system_reads_in_a_home_is_reserved_there() {
        let home = FolderKind { home: true, ..FolderKind::default() };
        let working = FolderKind { working: true, ..FolderKind::default() };
        for (name, system) in [
            ("AppData", System::Windows),
            ("_vimrc", System::Windows),
            ("_netrc", System::Windows),
            ("library", System::MacOs),
        ] {
            assert!(home.reserves(name, system) && !working.reserves(name, system), "{name}");
            assert!(!home.reserves(name, System::Other), "{name}");
        }
        assert!(!home.reserves("Library", System::Windows) && !home.reserves("Documents", System::Windows));
        // Where no such folder is there yet, as well.
        for documents in [FolderKind { documents: true, ..FolderKind::default() }, FolderKind::of_missing("Documents")]
        {
            for name in ["PowerShell", "WindowsPowerShell"] {
                assert!(
                    documents.reserves(name, System::Windows) && !documents.reserves(name, System::MacOs),
                    "{name}"
                );
                assert!(!home.reserves(name, System::Windows), "{name}");
            }
        }
    }

    /// Of a folder that is not there yet as well.
    #[test]
    fn what_the_process_was_told_to_read_is_reserved_where_it_lies_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let places = Places::new([state.join("Manifests"), folder.path().join("keys")]);
        assert!(places.reserves(&state, "manifests") && places.reserves(folder.path(), "keys"));
        assert!(!places.reserves(folder.path(), "manifests") && !places.reserves(&state, "keys"));
        std::fs::create_dir_all(state.join("Manifests")).unwrap();
        assert!(Places::new([state.join("Manifests")]).reserves(&state.join("../state"), "MANIFESTS"));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_is_the_same_by_every_path() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = other.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let folders = SpecialFolders {
            homes: vec![FolderId::of(folder.path())],
            working: Some(FolderId::of(other.path())),
            program: None,
            some_are_missing: false,
        };
        assert!(folders.kind(&link).home && folders.kind(&folder.path().join(".")).home);
        assert!(folders.kind(&folder.path().join("../").join(folder.path().file_name().unwrap())).home);
        let working = folders.kind(other.path());
        assert!(working.working && !working.home);
        let missing = folders.kind(&folder.path().join("not there"));
        assert_eq!(missing, FolderKind { missing: true, ..FolderKind::default() });
    }
}
