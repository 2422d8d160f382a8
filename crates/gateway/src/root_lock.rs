//! Which gateways keep their files in one folder: any number that remove nothing, or a single one that does. Two would not know what the
//! other one reads.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::GatewayError;

/// What is locked in such a folder.
const LOCK: &str = ".gateway.lock";
const TAKEN: &str =
    "another gateway keeps its files there, and one with --cache needs a folder of its own: name another with -o";

/// Locks these folders for as long as what this returns is there: for this gateway alone, or together with others.
pub(crate) fn lock(roots: &BTreeSet<PathBuf>, alone: bool) -> Result<Vec<File>, GatewayError> {
    let (mut locks, mut locked) = (Vec::new(), BTreeSet::new());
    for root in roots {
        let failed = |source| GatewayError::Folder { path: root.clone(), source };
        fs::create_dir_all(root).map_err(failed)?;
        // One folder may have two names here.
        if locked.insert(atomic_file::real_path(root).map_err(failed)?) {
            locks.push(lock_one(root, alone).map_err(failed)?);
        }
    }
    Ok(locks)
}

fn lock_one(root: &Path, alone: bool) -> io::Result<File> {
    let lock = File::options().create(true).truncate(false).write(true).open(root.join(LOCK))?;
    match if alone { lock.try_lock() } else { lock.try_lock_shared() } {
        Err(TryLockError::WouldBlock) => Err(io::Error::other(TAKEN)),
        // A file system without locks, which says so in several ways, is taken for one that nobody else uses.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(lock),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_removes_something_is_alone_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("gateway");
        let lock = |alone| lock(&BTreeSet::from([root.clone()]), alone);
        let (one, other) = (lock(false).unwrap(), lock(false).unwrap());
        let sentence = lock(true).unwrap_err().to_string();
        assert!(sentence.contains("folder of its own"), "{sentence}");
        drop((one, other));
        let alone = lock(true).unwrap();
        assert!(lock(false).is_err() && lock(true).is_err());
        drop(alone);
        lock(false).unwrap();
    }

    #[test]
    fn a_folder_with_two_names_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let roots = BTreeSet::from([folder.path().to_owned(), folder.path().join("x").join("..")]);
        fs::create_dir(folder.path().join("x")).unwrap();
        assert_eq!(lock(&roots, true).unwrap().len(), 1);
    }
}
