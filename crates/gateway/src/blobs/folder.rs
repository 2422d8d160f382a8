//! Where files from origins are kept: a folder each, so that what else the programs keep beside a file is in it, too.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::removal::remove_all;

/// Most gateways at a time that keep files in one folder.
const PROCESSES: u32 = 16;
/// What is locked in such a folder.
const LOCK: &str = "lock";
/// What origins answered is in this folder. It is none of a file.
pub(crate) const ANSWERS: &str = ".answers";

/// Whether a gateway has this folder now.
pub(crate) fn is_taken(path: &Path) -> bool {
    let lock = File::options().write(true).open(path.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// A folder of this process alone, for as long as it is open.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// The first that nobody has.
    pub(crate) fn open(under: &Path) -> io::Result<Self> {
        for number in 0..PROCESSES {
            let path = under.join(format!("origins-{number}"));
            fs::create_dir_all(&path)?;
            let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK))?;
            match lock.try_lock() {
                Ok(()) => return Ok(Folder { path, _lock: lock }),
                Err(fs::TryLockError::WouldBlock) => {}
                // A file system without locks, which says so in several ways, is taken for one that nobody else uses.
                Err(fs::TryLockError::Error(_)) => return Ok(Folder { path, _lock: lock }),
            }
        }
        Err(io::Error::other("other gateways have all of its parts"))
    }

    /// The folder of a file.
    pub(super) fn of(&self, key: &str) -> PathBuf {
        self.path.join(key)
    }

    /// Where answers of origins are.
    pub(super) fn answers(&self) -> PathBuf {
        self.path.join(ANSWERS)
    }

    /// Makes the folder of a file, without anything in it. May block for some seconds.
    pub(super) fn make(&self, key: &str) -> io::Result<PathBuf> {
        self.remove(key);
        let path = self.of(key);
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Removes a file and its folder. May block for some seconds.
    pub(super) fn remove(&self, key: &str) {
        if let Err(error) = remove_all(&self.of(key)) {
            tracing::warn!(%error, key, "could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gateway_has_a_folder_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let one = Folder::open(folder.path()).unwrap();
        let other = Folder::open(folder.path()).unwrap();
        assert_ne!(one.of("a"), other.of("a"));
        let first = one.of("a");
        drop(one);
        assert_eq!(Folder::open(folder.path()).unwrap().of("a"), first);
    }
}
