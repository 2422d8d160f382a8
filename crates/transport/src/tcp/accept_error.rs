//! Why no connection could be taken: because of the one that came first, or because the listener can take none.

use std::io::{self, ErrorKind};

/// Whether an error is about one connection alone, which was reset before it was taken. Windows and macOS say so, and Linux hardly ever; those
/// behind it in the queue do not wait for it.
pub(super) fn is_of_one(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_gone_is_told_from_a_listener_that_takes_none() {
        // WSAECONNRESET, or ECONNABORTED of macOS and of Linux.
        let gone = if cfg!(windows) {
            10054
        } else if cfg!(target_vendor = "apple") {
            53
        } else {
            103
        };
        assert!(is_of_one(&io::Error::from_raw_os_error(gone)) && is_of_one(&ErrorKind::Interrupted.into()));
        // Too many files are open.
        assert!(!is_of_one(&io::Error::from_raw_os_error(if cfg!(windows) { 10024 } else { 24 })));
    }
}
