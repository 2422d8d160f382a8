//! What Windows can do with files and the standard library does not ask for: a rename that replaces nothing, in one step; files
//! that take no space where nothing was written; files for one user alone; what tells a file from all others, and when it was changed.
#![allow(unsafe_code)]

use std::ffi::{OsString, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Component, Path, Prefix};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{GENERIC_WRITE, INVALID_HANDLE_VALUE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{GetTokenInformation, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, CREATE_NEW, CreateFileW, FILE_ATTRIBUTE_NORMAL, FILE_BASIC_INFO, FILE_COMPRESSION_INFO,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_ID_INFO, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE, FileBasicInfo, FileCompressionInfo, FileIdInfo, GetFileInformationByHandle,
    GetFileInformationByHandleEx, GetVolumeInformationByHandleW, MoveFileExW,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{
    FILE_SET_SPARSE_BUFFER, FILE_ZERO_DATA_INFORMATION, FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use crate::FileId;

/// A path as the system takes it, of any length: more than 260 characters it has only as it spells paths itself (`\\?\C:\…`).
fn wide(path: &Path) -> io::Result<Vec<u16>> {
    let path = std::path::absolute(path)?;
    let (start, cut) = match path.components().next() {
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::Disk(_)) => (r"\\?\", 0),
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::UNC(..)) => (r"\\?\UNC\", 2),
        _ => ("", 0),
    };
    Ok(start.encode_utf16().chain(path.as_os_str().encode_wide().skip(cut)).chain([0]).collect())
}

/// Gives something a name that nothing has: otherwise an error of the kind `AlreadyExists`.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (wide(from)?, wide(to)?);
    // SAFETY: both are strings that end with a zero and live until it returns. Without flags nothing is replaced or copied.
    match unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), 0) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// What tells an open file from all others. ReFS has 128 bits for that, of which the 64 that all file systems have are not enough.
/// Some number no files, and some only as long as one is open.
pub fn file_id(file: &impl AsRawHandle) -> Option<FileId> {
    let mut id = FILE_ID_INFO::default();
    let size = size_of::<FILE_ID_INFO>() as u32;
    // SAFETY: the handle is that of an open file; what is written fits, since its size is given.
    let known =
        unsafe { GetFileInformationByHandleEx(file.as_raw_handle(), FileIdInfo, (&raw mut id).cast(), size) != 0 };
    if known {
        return FileId::new(id.VolumeSerialNumber, u128::from_le_bytes(id.FileId.Identifier));
    }
    let mut seen = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is that of an open file, and `seen` is what is written to.
    let known = unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut seen) != 0 };
    let number = (u64::from(seen.nFileIndexHigh) << 32) | u64::from(seen.nFileIndexLow);
    FileId::new(seen.dwVolumeSerialNumber.into(), number.into()).filter(|_| known)
}

/// When anything of a file was changed last, in nanoseconds since 1970; long before where its file system does not keep that, as FAT. A
/// program that sets the other times cannot set this one back. Links are followed, and it does not matter who has the file open.
pub fn change_time(path: &Path) -> io::Result<i128> {
    let mut options = File::options();
    let file = options.access_mode(FILE_READ_ATTRIBUTES).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
    let mut seen = FILE_BASIC_INFO::default();
    let size = size_of::<FILE_BASIC_INFO>() as u32;
    // SAFETY: the handle is that of an open file; what is written fits, since its size is given.
    let known =
        unsafe { GetFileInformationByHandleEx(file.as_raw_handle(), FileBasicInfo, (&raw mut seen).cast(), size) != 0 };
    if known { Ok((i128::from(seen.ChangeTime) - FROM_1601_TO_1970) * 100) } else { Err(io::Error::last_os_error()) }
}

/// Windows counts time from 1601 on, in steps of 100 nanoseconds.
const FROM_1601_TO_1970: i128 = 116_444_736_000_000_000;

/// Lets a file take space only where something is written, if it is `on`: otherwise a piece far behind costs that all before it is filled
/// with zeros. NTFS can do that, and FAT and exFAT can't ([`fills_gaps`]). If it is not `on`, the file takes all its space: its holes
/// are filled with zeros, which may take a while.
pub fn set_sparse(file: &File, on: bool) {
    let wanted = FILE_SET_SPARSE_BUFFER { SetSparse: on };
    let mut returned = 0;
    // SAFETY: the handle is that of an open file; the input lives until the call returns, and its size is given. There is no
    // output, and the call is not overlapped, so `returned` is written before it returns.
    unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            FSCTL_SET_SPARSE,
            (&raw const wanted).cast(),
            size_of::<FILE_SET_SPARSE_BUFFER>() as u32,
            null_mut(),
            0,
            &raw mut returned,
            null_mut(),
        );
    }
}

/// Bytes that a file takes on its disk, without its holes.
pub fn space_taken(file: &File) -> io::Result<u64> {
    let mut seen = FILE_COMPRESSION_INFO::default();
    let size = size_of::<FILE_COMPRESSION_INFO>() as u32;
    // SAFETY: the handle is that of an open file; what is written fits, since its size is given.
    let known = unsafe {
        GetFileInformationByHandleEx(file.as_raw_handle(), FileCompressionInfo, (&raw mut seen).cast(), size) != 0
    };
    if known { Ok(seen.CompressedFileSize.max(0) as u64) } else { Err(io::Error::last_os_error()) }
}

/// A flag of file systems that have sparse files.
const FILE_SUPPORTS_SPARSE_FILES: u32 = 0x40;

/// Whether the file system of a folder fills with zeros what lies before a write that is far behind.
pub fn fills_gaps(folder: &Path) -> bool {
    let mut options = File::options();
    let options = options.access_mode(FILE_READ_ATTRIBUTES).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
    let Ok(folder) = options.open(folder) else { return false };
    let (mut flags, none) = (0, null_mut());
    // SAFETY: the handle is that of an open folder, `flags` is what is written to, and no names are asked for.
    let known = unsafe {
        GetVolumeInformationByHandleW(folder.as_raw_handle(), none, 0, null_mut(), null_mut(), &raw mut flags, none, 0)
    };
    known != 0 && flags & FILE_SUPPORTS_SPARSE_FILES == 0
}

/// Makes a range of a file zeros, which take no space if the file is sparse.
pub fn zero_range(file: &File, range: Range<u64>) -> io::Result<()> {
    let end = |at: u64| i64::try_from(at).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let zeros = FILE_ZERO_DATA_INFORMATION { FileOffset: end(range.start)?, BeyondFinalZero: end(range.end)? };
    let mut returned = 0;
    // SAFETY: the handle is that of an open file; the input lives until the call returns, and its size is given. There is no
    // output, and the call is not overlapped, so `returned` is written before it returns.
    let done = unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            FSCTL_SET_ZERO_DATA,
            (&raw const zeros).cast(),
            size_of::<FILE_ZERO_DATA_INFORMATION>() as u32,
            null_mut(),
            0,
            &raw mut returned,
            null_mut(),
        )
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes a file to write that only the user of this process may open, whatever its folder allows: the user owns it, and is the
/// only one in its access list, which takes nothing over from the folder. Administrators can still take it over.
pub(crate) fn create_owned(path: &Path) -> io::Result<File> {
    let user = user()?;
    let rights: Vec<u16> = format!("O:{user}D:P(A;;FA;;;{user})").encode_utf16().chain([0]).collect();
    let mut descriptor = Allocated(null_mut());
    // SAFETY: the text ends with a zero and lives until it returns. What it allocates is freed by `Allocated`.
    let made = unsafe {
        let to = &raw mut descriptor.0;
        ConvertStringSecurityDescriptorToSecurityDescriptorW(rights.as_ptr(), SDDL_REVISION_1, to, null_mut())
    };
    if made == 0 {
        return Err(io::Error::last_os_error());
    }
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    let path = wide(path)?;
    let shared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // SAFETY: the path ends with a zero; it, the attributes and the descriptor in them live until it returns. A handle that is
    // valid is nobody else's.
    unsafe {
        let (access, kind) = (GENERIC_WRITE, FILE_ATTRIBUTE_NORMAL);
        match CreateFileW(path.as_ptr(), access, shared, &raw const attributes, CREATE_NEW, kind, null_mut()) {
            INVALID_HANDLE_VALUE => Err(io::Error::last_os_error()),
            handle => Ok(File::from_raw_handle(handle)),
        }
    }
}

/// The user of this process, as access lists name users (`S-1-5-…`).
fn user() -> io::Result<String> {
    let mut token = null_mut();
    // SAFETY: the pseudo handle of this process is always valid. What is opened is closed by `OwnedHandle`.
    let token = unsafe {
        match OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) {
            0 => return Err(io::Error::last_os_error()),
            _ => OwnedHandle::from_raw_handle(token),
        }
    };
    // A `TOKEN_USER` and behind it the longest id that there is, aligned for both.
    let mut buffer = [0u64; 32];
    let (size, mut written) = (size_of_val(&buffer) as u32, 0);
    let mut text = Allocated(null_mut());
    // SAFETY: the buffer is as long as is said, and what points into it is used while it lives. The text is freed by
    // `Allocated`.
    unsafe {
        let to = buffer.as_mut_ptr().cast::<c_void>();
        if GetTokenInformation(token.as_raw_handle(), TokenUser, to, size, &raw mut written) == 0 {
            return Err(io::Error::last_os_error());
        }
        let user = &*buffer.as_ptr().cast::<TOKEN_USER>();
        if ConvertSidToStringSidW(user.User.Sid, (&raw mut text.0).cast()) == 0 {
            return Err(io::Error::last_os_error());
        }
        let start = text.0.cast::<u16>();
        let len = (0..).take_while(|&at| *start.add(at) != 0).count();
        let name = OsString::from_wide(std::slice::from_raw_parts(start, len));
        name.into_string().map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// What Windows has allocated for us.
struct Allocated(*mut c_void);

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY: it is null, which is as good, or comes from a call whose result is to be freed like this.
        unsafe { LocalFree(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_for_its_owner_can_be_written_and_read_again_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_owned(&path).unwrap().write_all(b"secret").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"secret");
        assert_eq!(create_owned(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(user().unwrap().starts_with("S-1-"));
    }

    #[test]
    fn paths_may_be_longer_than_260_characters() {
        let folder = tempfile::tempdir().unwrap();
        let deep = (0..5).fold(folder.path().to_owned(), |path, _| path.join("x".repeat(60)));
        std::fs::create_dir_all(&deep).unwrap();
        create_owned(&deep.join("one")).unwrap();
        rename_new(&deep.join("one"), &deep.join("other")).unwrap();
        assert!(deep.join("other").exists());
        let share: String = String::from_utf16(&wide(Path::new(r"\\host\share\a/b")).unwrap()).unwrap();
        assert_eq!(share, "\\\\?\\UNC\\host\\share\\a\\b\0");
    }

    #[test]
    fn a_file_is_the_same_however_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        [&one, &other].into_iter().for_each(|path| std::fs::write(path, "1").unwrap());
        let id = |path: &Path| file_id(&File::open(path).unwrap());
        // Not every file system has one.
        assert_eq!(id(&one), id(&one));
        assert!(id(&one).is_none() || id(&one) != id(&other));
    }

    #[test]
    fn a_change_shows_though_the_time_is_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "1").unwrap();
        let (before, modified) = (change_time(&path).unwrap(), std::fs::metadata(&path).unwrap().modified().unwrap());
        assert_eq!(change_time(&path).unwrap(), before);
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::write(&path, "2").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        // FAT keeps no such time.
        assert!(before < 0 || change_time(&path).unwrap() > before);
        assert!(change_time(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn a_rename_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        std::fs::write(&one, "1").unwrap();
        std::fs::write(&other, "2").unwrap();
        assert_eq!(rename_new(&one, &other).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_file(&other).unwrap();
        rename_new(&one, &other).unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), b"1");
    }
}
