//! Why a disk did not do what was asked, by what someone can do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::file_size::file_size_limit;

/// Why a disk did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file is not there.
    #[error("{0} is not there")]
    NotFound(PathBuf),
    /// The file may not be read or written.
    #[error("no permission for {0}")]
    Denied(PathBuf),
    /// The system keeps it from this program, whatever its permissions say.
    #[error("macOS does not let this program use {0}")]
    Withheld(PathBuf),
    /// No room is left.
    #[error("no space left for {0}")]
    Full(PathBuf),
    /// No more files can be made, though bytes are free.
    #[error("no more files fit on the file system of {0}: it has as many as it can hold (df -i)")]
    NoMoreFiles(PathBuf),
    /// Not even looked at: what is free is not enough, or would leave less than is to be kept free.
    #[error("no room for {path}: {}{} are free, and {} are kept free (--keep-free)",
        needed(*.needs), shown(*.free), shown(*.keeps))]
    NoRoom {
        /// What it is for.
        path: PathBuf,
        /// Bytes that it needs beside those that are reserved for it.
        needs: u64,
        /// Bytes that are free, but for what other downloads are about to take.
        free: u64,
        /// Bytes that are to stay free.
        keeps: u64,
    },
    /// Somebody has filled the disk so far that less is free than is to be kept.
    #[error("only {} are free in {path}, and {} are kept free (--keep-free)", shown(*.free), shown(*.keeps))]
    Margin {
        /// Where.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are to stay free.
        keeps: u64,
    },
    /// No file may be so large here.
    #[error("{path} is larger than a file may be here{}", limit_words(*.limit))]
    TooLarge {
        /// The file, or what it is part of.
        path: PathBuf,
        /// The limit of this process in bytes, if that is what it is.
        limit: Option<u64>,
    },
    /// The file was changed, cut or replaced by someone else while it was in use.
    #[error("{0} was changed while it was in use")]
    Changed(PathBuf),
    /// What was being built was removed by someone else.
    #[error("{0} was removed while it was in use")]
    Removed(PathBuf),
    /// The process, or the machine, has as many files open as it may: a moment later it may be possible.
    #[error("{0} cannot be opened: too many files are open")]
    TooManyOpen(PathBuf),
    /// The file system has no such name: for its characters, its length, or what it means there.
    #[error("the file system does not allow the name {0}")]
    NoSuchName(PathBuf),
    /// Two files of one content are the same there, or something else has the name of one.
    #[error("{0} is the same file as another name on this file system, or another program has created it")]
    SameFile(PathBuf),
    /// A download's folder is not where it was when it began.
    #[error("the folder {0} was moved or removed while it was in use")]
    Moved(PathBuf),
    /// Something that was written to has other names, too.
    #[error(
        "{0} has other names (hard links): what is written to it would be written there, too. Remove it, or copy it"
    )]
    Linked(PathBuf),
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
    /// Something lies where a download keeps its state, and is not of a download.
    #[error("{0} is in the way: no download of this program has made it, or its lock beside it was removed")]
    NotOurs(PathBuf),
    /// Another program has it, or something in it, open, or it may not be changed: Windows does not say which.
    #[error(
        "{0} cannot be renamed or replaced: another program has it (or a file in it) open, or its permissions forbid it"
    )]
    InUse(PathBuf),
    /// What is built beside it cannot be moved there.
    #[error(
        "{0} is on another file system than the folder that it lies in, or mounted by itself: nothing is moved there"
    )]
    Mounted(PathBuf),
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
    /// Nothing can be made in a folder: its permissions, or those of its file system, forbid it.
    #[error("nothing can be written into the folder {path}: {source}")]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is somewhere else, and cannot be read from there at the moment: a while later it may be possible.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl StorageError {
    /// Whether it is for want of room: on the disk, in a quota, or for so large a file.
    pub fn is_no_room(&self) -> bool {
        use StorageError::{Full, Margin, NoMoreFiles, NoRoom, TooLarge};
        matches!(self, Full(_) | NoMoreFiles(_) | NoRoom { .. } | Margin { .. } | TooLarge { .. })
    }

    /// Whether it is the disk itself that fails, or what is mounted there: no other path, name or permission would help.
    pub fn is_of_device(&self) -> bool {
        match self {
            StorageError::Io { source, .. } => {
                source.raw_os_error().is_some_and(|error| FAILING_DEVICE.contains(&error))
            }
            _ => false,
        }
    }

    /// A copy of the error if it means a lack of space: it also applies to all later writes.
    pub fn no_room(&self) -> Option<Self> {
        Some(match self {
            StorageError::Full(path) => StorageError::Full(path.clone()),
            StorageError::NoMoreFiles(path) => StorageError::NoMoreFiles(path.clone()),
            StorageError::NoRoom { path, needs, free, keeps } => {
                StorageError::NoRoom { path: path.clone(), needs: *needs, free: *free, keeps: *keeps }
            }
            StorageError::Margin { path, free, keeps } => {
                StorageError::Margin { path: path.clone(), free: *free, keeps: *keeps }
            }
            StorageError::TooLarge { path, limit } => StorageError::TooLarge { path: path.clone(), limit: *limit },
            _ => return None,
        })
    }
}

/// What is needed, if that is known: less than is to be kept may be free as it is.
fn needed(bytes: u64) -> String {
    if bytes > 0 { format!("it needs {}, ", shown(bytes)) } else { String::new() }
}

/// A size for people.
fn shown(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    match unit {
        0 => format!("{bytes} bytes"),
        unit => format!("{:.1} {}", bytes as f64 / (1u64 << (10 * unit)) as f64, units[unit]),
    }
}

fn limit_words(limit: Option<u64>) -> String {
    match limit {
        Some(limit) => format!(": the limit of this process is {} (ulimit -f)", shown(limit)),
        None => " (FAT32 has no files of 4 GiB or more)".to_owned(),
    }
}

/// How a system says that too many files are open.
#[cfg(unix)]
const TOO_MANY_OPEN: [i32; 2] = [libc::EMFILE, libc::ENFILE];
#[cfg(windows)]
const TOO_MANY_OPEN: [i32; 1] = [4]; // ERROR_TOO_MANY_OPEN_FILES

/// How a system says that a disk is damaged, gone, or does not answer; so do network disks, and those that programs make.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FAILING_DEVICE: [i32; 13] = [
    libc::EIO,
    libc::ENXIO,
    libc::ENODEV,
    libc::EBADMSG,
    libc::ESTALE,
    libc::EUCLEAN,
    libc::EREMOTEIO,
    libc::ENOMEDIUM,
    libc::ETIMEDOUT,
    libc::ENOTCONN,
    libc::ECONNABORTED,
    libc::EHOSTDOWN,
    libc::EHOSTUNREACH,
];
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const FAILING_DEVICE: [i32; 10] = [
    libc::EIO,
    libc::ENXIO,
    libc::ENODEV,
    libc::EBADMSG,
    libc::ESTALE,
    libc::ETIMEDOUT,
    libc::ENOTCONN,
    libc::ECONNABORTED,
    libc::EHOSTDOWN,
    libc::EHOSTUNREACH,
];
#[cfg(windows)]
const FAILING_DEVICE: [i32; 19] = [
    15,   // ERROR_INVALID_DRIVE
    21,   // ERROR_NOT_READY
    23,   // ERROR_CRC
    25,   // ERROR_SEEK
    27,   // ERROR_SECTOR_NOT_FOUND
    31,   // ERROR_GEN_FAILURE
    53,   // ERROR_BAD_NETPATH
    55,   // ERROR_DEV_NOT_EXIST
    59,   // ERROR_UNEXP_NET_ERR
    64,   // ERROR_NETNAME_DELETED
    67,   // ERROR_BAD_NET_NAME
    121,  // ERROR_SEM_TIMEOUT
    1005, // ERROR_UNRECOGNIZED_VOLUME
    1006, // ERROR_FILE_INVALID
    1112, // ERROR_NO_MEDIA_IN_DRIVE
    1117, // ERROR_IO_DEVICE
    1167, // ERROR_DEVICE_NOT_CONNECTED
    1392, // ERROR_FILE_CORRUPT
    1393, // ERROR_DISK_CORRUPT
];

/// Whether macOS keeps a file or folder from this program, as it does with Documents, Desktop, Downloads, and drives that are not its own: it says
/// EPERM then, and of permissions EACCES.
pub fn is_withheld(error: &io::Error) -> bool {
    is_withheld_on(error, cfg!(target_vendor = "apple"))
}

fn is_withheld_on(error: &io::Error, apple: bool) -> bool {
    apple && error.raw_os_error() == Some(1)
}

/// What the operating system said of a file.
pub fn error_at(path: &Path, source: io::Error) -> StorageError {
    let path = path.to_owned();
    if source.raw_os_error().is_some_and(|error| TOO_MANY_OPEN.contains(&error)) {
        return StorageError::TooManyOpen(path);
    }
    match source.kind() {
        io::ErrorKind::NotFound if atomic_file::is_gone(&source) => StorageError::NotFound(path),
        io::ErrorKind::PermissionDenied if is_withheld(&source) => StorageError::Withheld(path),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StorageError::Denied(path),
        io::ErrorKind::StorageFull if holds_no_more_files(&path) => StorageError::NoMoreFiles(path),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full(path),
        io::ErrorKind::FileTooLarge => StorageError::TooLarge { path, limit: file_size_limit() },
        _ => StorageError::Io { path, source },
    }
}

/// Whether a file system has room for bytes, and none for another file. Some do not count files.
#[cfg(unix)]
fn holds_no_more_files(path: &Path) -> bool {
    let folder = path.ancestors().skip(1).find(|above| above.is_dir()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).is_ok_and(|system| system.f_files > 0 && system.f_favail == 0 && system.f_bavail > 0)
}

#[cfg(not(unix))]
fn holds_no_more_files(_: &Path) -> bool {
    false
}

/// What the operating system said of a file that was to be made in a folder that is there.
pub(crate) fn error_of_new(path: &Path, source: io::Error) -> StorageError {
    match source.kind() {
        io::ErrorKind::NotFound if !atomic_file::is_gone(&source) => error_at(path, source),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
            StorageError::NoSuchName(path.to_owned())
        }
        // A folder where a file belongs, or the other way round.
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => StorageError::NotOurs(path.to_owned()),
        _ => error_at(path, source),
    }
}

/// What the operating system said of the first file that was to be made in `folder`: where nothing may be made, it is the folder
/// that somebody has to change, and not that file.
pub(crate) fn error_in(folder: &Path, path: &Path, source: io::Error) -> StorageError {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            // `.` says nothing to somebody who reads a log.
            let whole = std::path::absolute(folder);
            StorageError::Unwritable { path: whole.unwrap_or_else(|_| folder.to_owned()), source }
        }
        // A shell may be in a folder that somebody has removed.
        io::ErrorKind::NotFound if atomic_file::is_gone(&source) && atomic_file::real_path(folder).is_err() => {
            StorageError::Moved(folder.to_owned())
        }
        _ => error_of_new(path, source),
    }
}

/// What the operating system said when something was to get the name `to`.
pub(crate) fn error_of_rename(to: &Path, source: io::Error) -> StorageError {
    match source.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => StorageError::Exists(to.to_owned()),
        io::ErrorKind::CrossesDevices | io::ErrorKind::ResourceBusy => StorageError::Mounted(to.to_owned()),
        _ if cfg!(windows) && atomic_file::is_in_use(&source) => StorageError::InUse(to.to_owned()),
        _ => error_at(to, source),
    }
}

/// Whether the range lies in a file of `size` bytes.
pub(crate) fn in_range(offset: u64, len: usize, size: u64) -> Result<(), StorageError> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(StorageError::OutOfRange { offset, len, size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_disk_is_told_from_a_path_that_leads_nowhere() {
        let of = |code| error_at(Path::new("file"), io::Error::from_raw_os_error(code)).is_of_device();
        // An error of the device, and a file where a folder belongs; on Windows a name that no file has.
        let (device, path) = if cfg!(windows) { (1117, 123) } else { (5, 20) };
        assert!(of(device) && !of(path));
        assert!(!error_at(Path::new("file"), io::Error::other("a sentence of ours")).is_of_device());
    }

    #[test]
    fn what_macos_keeps_from_a_program_is_told_from_what_permissions_forbid() {
        let says = |code, apple| is_withheld_on(&io::Error::from_raw_os_error(code), apple);
        assert!(says(1, true) && !says(13, true) && !says(1, false));
        assert!(!is_withheld_on(&io::ErrorKind::PermissionDenied.into(), true));
    }

    #[test]
    fn sizes_are_said_as_people_read_them() {
        let all = [0, 1023, 1024, 1536 << 10, 1 << 40, u64::MAX].map(shown);
        assert_eq!(all, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "1.0 TiB", "16.0 EiB"]);
    }
}
