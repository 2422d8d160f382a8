//! File systems that cannot sync: what is written to them is as durable as they make it, and that is no reason to keep nothing.

use std::io;

/// What came of a sync, without the word of a file system that it has none.
pub(crate) fn where_possible(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        Err(error) if cfg!(windows) && is_unknown_to_drive(&error) => Ok(()),
        result => result,
    }
}

/// Whether Windows says that a drive's driver does not know a call, as those of disks in memory and of some networks do not:
/// ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED.
pub(crate) fn is_unknown_to_drive(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(1 | 50))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_a_drive_does_not_know_is_told_from_one_that_fails() {
        let is = |code| is_unknown_to_drive(&io::Error::from_raw_os_error(code));
        assert!(is(1) && is(50) && !is(5) && !is(32) && !is(112));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_system_that_cannot_sync_is_no_error_and_a_sync_that_fails_is() {
        let synced = |code| where_possible(Err(io::Error::from_raw_os_error(code)));
        assert!([libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP].into_iter().all(|code| synced(code).is_ok()));
        assert!([libc::EIO, libc::ENOSPC, libc::EDQUOT].into_iter().all(|code| synced(code).is_err()));
        assert!(where_possible(Ok(())).is_ok());
    }
}
