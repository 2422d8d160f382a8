//! What Windows can do with files and the standard library does not ask for: a rename that replaces nothing, in one step, and
//! files that take no space where nothing was written.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::MoveFileExW;
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::FSCTL_SET_SPARSE;

/// Gives something a name that nothing has: otherwise an error of the kind `AlreadyExists`.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    // Made absolute, a path may be long.
    let wide = |path: &Path| -> io::Result<Vec<u16>> {
        Ok(std::path::absolute(path)?.as_os_str().encode_wide().chain([0]).collect())
    };
    let (from, to) = (wide(from)?, wide(to)?);
    // SAFETY: both are strings that end with a zero and live until it returns. Without flags nothing is replaced or copied.
    match unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), 0) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Lets a file take space only where something is written: otherwise a piece far behind costs NTFS that all before it is
/// filled with zeros. Not every file system can, and nothing is lost then.
pub(crate) fn set_sparse(file: &File) {
    let mut returned = 0;
    // SAFETY: the handle is that of an open file; there is neither input nor output, and the call is not overlapped, so
    // `returned` is written before it returns.
    unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            FSCTL_SET_SPARSE,
            std::ptr::null(),
            0,
            std::ptr::null_mut(),
            0,
            &raw mut returned,
            std::ptr::null_mut(),
        );
    }
}
