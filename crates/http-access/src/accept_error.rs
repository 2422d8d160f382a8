//! Why no connection could be taken.

use std::io::{self, ErrorKind};

/// Whether an error of `accept` is about one connection alone, which was reset before it was taken: those behind it in the queue need not wait.
/// Windows and macOS say so, and Linux hardly ever. For any other error a listener should pause.
///
/// ```
/// use std::io::ErrorKind;
/// use p2p_fileshare_http_access::is_of_one_connection;
///
/// assert!(is_of_one_connection(&ErrorKind::ConnectionAborted.into()));
/// assert!(!is_of_one_connection(&ErrorKind::OutOfMemory.into()));
/// ```
pub fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}
