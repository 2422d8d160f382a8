//! Why a disk did not do what was asked, by what someone can do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a disk did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file is not there.
    #[error("{0} is not there")]
    NotFound(PathBuf),
    /// The file may not be read or written.
    #[error("no permission for {0}")]
    Denied(PathBuf),
    /// No room is left.
    #[error("no space left for {0}")]
    Full(PathBuf),
    /// The file was changed, cut or replaced by someone else while it was in use.
    #[error("{0} was changed while it was in use")]
    Changed(PathBuf),
    /// The process, or the machine, has as many files open as it may: a moment later it may be possible.
    #[error("{0} cannot be opened: too many files are open")]
    TooManyOpen(PathBuf),
    /// The range lies outside the file.
    #[error("range {offset}+{len} lies outside a file of {size} bytes")]
    OutOfRange {
        /// Start of the range.
        offset: u64,
        /// Length of the range.
        len: usize,
        /// Size of the file.
        size: u64,
    },
    /// Someone else, perhaps another process, is writing the same output.
    #[error("{0} is being written by another download")]
    Locked(PathBuf),
    /// A different file stands where the output should go.
    #[error("{0} exists already and is different")]
    Exists(PathBuf),
    /// The folder that the output should go to is not there and cannot be made, or is no folder.
    #[error("the folder {path} cannot be made: {source}")]
    NoFolder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Anything else.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// How a system says that too many files are open.
#[cfg(unix)]
const TOO_MANY_OPEN: [i32; 2] = [libc::EMFILE, libc::ENFILE];
#[cfg(windows)]
const TOO_MANY_OPEN: [i32; 1] = [4]; // ERROR_TOO_MANY_OPEN_FILES

/// What the operating system said of a file.
pub fn error_at(path: &Path, source: io::Error) -> StorageError {
    let path = path.to_owned();
    if source.raw_os_error().is_some_and(|error| TOO_MANY_OPEN.contains(&error)) {
        return StorageError::TooManyOpen(path);
    }
    match source.kind() {
        io::ErrorKind::NotFound => StorageError::NotFound(path),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StorageError::Denied(path),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full(path),
        _ => StorageError::Io { path, source },
    }
}

/// Whether the range lies in a file of `size` bytes.
pub(crate) fn in_range(offset: u64, len: usize, size: u64) -> Result<(), StorageError> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(StorageError::OutOfRange { offset, len, size }),
    }
}
