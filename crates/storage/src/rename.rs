//! A rename that never replaces: on Linux in one step, elsewhere with a check before.
#![allow(unsafe_code)]

use std::io;
use std::path::Path;

/// Renames `from` to `to`; fails with `AlreadyExists` if `to` is there.
#[cfg(target_os = "linux")]
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
    let (from_name, to_name) = (name(from)?, name(to)?);
    // SAFETY: both names are NUL-terminated and live through the call.
    let result = unsafe {
        libc::renameat2(libc::AT_FDCWD, from_name.as_ptr(), libc::AT_FDCWD, to_name.as_ptr(), libc::RENAME_NOREPLACE)
    };
    match result {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // Some file systems cannot do it in one step.
            error if error.raw_os_error() == Some(libc::EINVAL) => checked(from, to),
            error => Err(error),
        },
    }
}

/// Renames `from` to `to`; fails with `AlreadyExists` if `to` is there.
#[cfg(not(target_os = "linux"))]
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    checked(from, to)
}

fn checked(from: &Path, to: &Path) -> io::Result<()> {
    if to.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(from, to)
}
