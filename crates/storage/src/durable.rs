//! File systems that cannot sync: what is written to them is as durable as they make it, and that is no reason to keep nothing.

use std::io;

/// What came of a sync, without the word of a file system that it has none.
pub(crate) fn where_possible(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_cannot_sync_is_no_error_and_a_sync_that_fails_is() {
        let synced = |code| where_possible(Err(io::Error::from_raw_os_error(code)));
        assert!([libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP].into_iter().all(|code| synced(code).is_ok()));
        assert!([libc::EIO, libc::ENOSPC, libc::EDQUOT].into_iter().all(|code| synced(code).is_err()));
        assert!(where_possible(Ok(())).is_ok());
    }
}
