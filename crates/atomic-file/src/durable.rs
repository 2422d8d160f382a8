//! File systems that cannot sync: what is written to them is as durable as they make it, and that is no reason to keep nothing.

use std::io::{self, ErrorKind};

/// How systems say that a drive does not know a call, where the standard library has no kind of error for it. Windows: ERROR_INVALID_FUNCTION and
/// ERROR_NOT_SUPPORTED, of disks in memory and of some networks. macOS: ENOTTY and ENOTSUP, of a full sync on a network drive.
const UNKNOWN_CALL: &[i32] = if cfg!(windows) {
    &[1, 50]
} else if cfg!(target_vendor = "apple") {
    &[25, 45]
} else {
    &[]
};

/// Whether an error says that a file system, or the drive below it, cannot do what was asked.
///
/// ```
/// use std::io::ErrorKind;
/// use p2p_fileshare_atomic_file::is_unsupported;
///
/// assert!(is_unsupported(&ErrorKind::Unsupported.into()) && !is_unsupported(&ErrorKind::StorageFull.into()));
/// ```
pub fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
        || error.raw_os_error().is_some_and(|code| UNKNOWN_CALL.contains(&code))
}

/// What came of a sync, without the word of a file system that it has none.
pub fn allow_unsupported(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_a_drive_does_not_know_is_told_from_one_that_fails() {
        let synced = |code| allow_unsupported(Err(io::Error::from_raw_os_error(code)));
        // ENOSYS and EOPNOTSUPP of Linux, which have a kind of error.
        let unknown: &[i32] = if cfg!(target_os = "linux") { &[38, 95] } else { UNKNOWN_CALL };
        assert!(unknown.iter().all(|&code| synced(code).is_ok()));
        // Access is denied and a disk that is full on Windows; on Unix an error of the device, and a disk that is full.
        let failed = if cfg!(windows) { [5, 112] } else { [5, 28] };
        assert!(failed.into_iter().all(|code| synced(code).is_err()));
        assert!(allow_unsupported(Ok(())).is_ok());
        assert!(allow_unsupported(Err(ErrorKind::InvalidInput.into())).is_ok());
    }
}
