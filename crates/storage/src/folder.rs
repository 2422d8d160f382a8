//! A folder that is held open, and what is reached from it without following a link.
//!
//! Checking a path is no help against users who may write to a folder on its way: between the check and the use they put a
//! link there, and the write goes where that leads. So where it matters nothing is opened by a path from the root. The folder
//! that a user named is opened once, links and all, since that is what they said; everything in it is reached from there in one
//! step (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`), or, where there is no such call, folder by folder with
//! `O_NOFOLLOW`. A name is given, and taken, from the open folder that it is in.
//!
//! On Windows each part is looked at right before it is used, junctions too, and a file to write is opened as itself if it is a
//! link by then. That leaves a moment to a user who makes links there, which takes a
//! right that users do not have by default.

#[cfg(not(unix))]
mod plain;
#[cfg(unix)]
mod unix;

use std::collections::HashSet;
use std::path::Path;
use std::time::SystemTime;

use crate::changes::FileState;

#[cfg(not(unix))]
pub use plain::{Folder, Walk};
#[cfg(unix)]
pub(crate) use unix::set_rights;
#[cfg(unix)]
pub use unix::{Folder, Walk};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// To read it.
    Read,
    /// To read and write it; it must be there.
    Write,
    /// To read and write it; made if it is not there, for its owner alone if that is said.
    Make { private: bool },
    /// To read and write it; it must not be there.
    MakeNew { private: bool },
}

/// What lies somewhere: itself, not what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is a plain file.
    pub is_file: bool,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Its size in bytes.
    pub len: u64,
    /// When it was changed last.
    pub(crate) modified: Option<SystemTime>,
    /// Bytes that it takes on the disk.
    pub(crate) taken: u64,
    /// Its mode: which users may do what with it, where the system says that in numbers.
    pub(crate) mode: u32,
    /// What tells it from all others, where the system says that.
    pub(crate) identity: (u64, u64),
    /// When anything of it was changed last, in seconds and nanoseconds, where the system says that.
    pub(crate) changed: (i64, i64),
    /// Whether it has a name, as far as the file system counts names.
    pub(crate) is_named: bool,
}

impl Seen {
    /// What shows whether anyone writes to it.
    pub(crate) fn state(&self) -> FileState {
        let Seen { len, modified, changed, identity, is_named, .. } = *self;
        FileState { len, modified, changed, identity, is_named }
    }
}

/// Files that were seen, as far as their file systems tell files apart.
#[derive(Debug, Default)]
pub(crate) struct Identities(HashSet<(u64, u64)>);

impl Identities {
    /// Whether this file is one of them, by this name or another.
    pub(crate) fn contains(&self, seen: &Seen) -> bool {
        Self::tells(seen) && self.0.contains(&seen.identity)
    }

    /// Adds a file. False if it is one of them.
    pub(crate) fn insert(&mut self, seen: &Seen) -> bool {
        !Self::tells(seen) || self.0.insert(seen.identity)
    }

    /// Whether a number is this file's alone. Some file systems number no files, and on FAT and exFAT macOS gives the same number to all
    /// files without bytes.
    fn tells(seen: &Seen) -> bool {
        seen.identity.1 != 0 && seen.len > 0
    }
}

/// Whether a path has names alone, and at least one.
fn is_inside(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: u64, len: u64) -> Seen {
        let (modified, mode, changed, is_named) = (None, 0, (0, 0), true);
        let identity = (7, number);
        Seen { is_file: true, is_folder: false, len, modified, taken: len, mode, identity, changed, is_named }
    }

    #[test]
    fn files_without_bytes_or_number_are_not_one_file() {
        let mut seen = Identities::default();
        for other in [file(1, 0), file(999_999_999, 0), file(0, 5)] {
            assert!(seen.insert(&other) && seen.insert(&other) && !seen.contains(&other), "{other:?}");
        }
        assert!(!seen.contains(&file(8, 5)) && seen.insert(&file(8, 5)));
        assert!(seen.contains(&file(8, 5)) && !seen.insert(&file(8, 5)), "one file with two names");
        assert!(seen.insert(&file(9, 5)));
    }
}
