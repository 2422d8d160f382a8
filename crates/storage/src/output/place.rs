//! Whether a download may be built in a folder: its names, the folder itself, and the lock.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use protocol::{NameError, check_local_name, check_path};

use crate::StorageError;
use crate::error::{error_at, error_in};
use crate::folder::{Folder, How};
use crate::state_names::is_state_name;

pub(super) fn check_names(
    folder: &Path,
    name: &str,
    files: &[(String, u64, bool)],
    empty_folders: &[String],
) -> Result<(), StorageError> {
    let bad_name = |error: NameError| StorageError::Io {
        path: folder.join("…"),
        source: io::Error::new(io::ErrorKind::InvalidInput, error.to_string()),
    };
    let paths = files.iter().map(|(path, ..)| path).chain(empty_folders);
    check_local_name(name, cfg!(windows)).map_err(bad_name)?;
    for path in paths {
        check_path(path).map_err(bad_name)?;
        path.split('/').try_for_each(|part| check_local_name(part, cfg!(windows))).map_err(bad_name)?;
    }
    if is_state_name(name) {
        return Err(bad_name(NameError::State(name.to_owned())));
    }
    // Which names are one there, the file system alone knows: its files notice that as they are made.
    Ok(())
}

/// A folder that cannot be made is not a file that is missing: who chose it is to choose another.
pub(super) fn make_output_folder(folder: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(folder).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => error_in(above(folder), folder, source),
        io::ErrorKind::AlreadyExists => {
            let is_link = fs::symlink_metadata(folder).is_ok_and(|there| there.is_symlink());
            let reason = match is_link && !folder.exists() {
                true => "it is a link that leads nowhere",
                false => "there is a file of that name",
            };
            StorageError::NoFolder {
                path: folder.to_owned(),
                source: io::Error::new(io::ErrorKind::NotADirectory, reason),
            }
        }
        _ => match error_at(folder, source) {
            StorageError::NotFound(path) => StorageError::NoFolder { path, source: io::ErrorKind::NotFound.into() },
            StorageError::Io { path, source } => StorageError::NoFolder { path, source },
            known => known,
        },
    })
}

/// The nearest folder above one that is there.
fn above(folder: &Path) -> &Path {
    let mut above = folder.ancestors().skip(1);
    above.find(|above| above.is_dir()).unwrap_or(Path::new("."))
}

pub(super) fn lock(folder: &Folder, name: &Path) -> Result<File, StorageError> {
    let path = folder.path().join(name);
    let error = |source| error_at(&path, source);
    let file = folder.open_file(name, How::Make { private: false });
    let file = file.map_err(|source| error_in(folder.path(), &path, source))?;
    // Ours are empty, and go in the end.
    let there = file.metadata().map_err(error)?;
    if !there.is_file() || there.len() > 0 {
        return Err(StorageError::NotOurs(path));
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StorageError::Locked(path)),
        // A file system without locks: two downloads of the same name at once are not detected there.
        Err(fs::TryLockError::Error(source)) if has_no_locks(&source) => Ok(file),
        Err(fs::TryLockError::Error(source)) => Err(error(source)),
    }
}

/// Whether something of this name lies in a folder, spelt like this.
pub(super) fn is_listed(folder: &Folder, name: &Path) -> io::Result<bool> {
    Ok(folder.entries(Path::new(""))?.iter().any(|(listed, _)| listed == name.as_os_str()))
}

/// Whether a file system has no locks.
fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    let is_known = matches!(error.raw_os_error(), Some(libc::ENOLCK | libc::ENOSYS | libc::ENOTSUP));
    #[cfg(not(unix))]
    let is_known = atomic_file::is_unsupported(error);
    is_known || error.kind() == io::ErrorKind::Unsupported
}
