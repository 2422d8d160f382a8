//! Whether a file is gone, or only the network that leads to it.

use std::io::{self, ErrorKind};

/// ERROR_INVALID_DRIVE, ERROR_BAD_NETPATH, ERROR_BAD_NET_NAME: what Windows says while a server, or the way to it, is not there yet. The standard
/// library takes all three for a file that is not found.
const NO_WAY_THERE: [i32; 3] = [15, 53, 67];

/// Whether an error says that nothing lies at a path. While a network drive cannot be reached, nobody knows that.
///
/// ```
/// use std::io::ErrorKind;
/// use p2p_fileshare_atomic_file::is_gone;
///
/// assert!(is_gone(&ErrorKind::NotFound.into()) && !is_gone(&ErrorKind::PermissionDenied.into()));
/// ```
pub fn is_gone(error: &io::Error) -> bool {
    is_gone_on(error, cfg!(windows))
}

fn is_gone_on(error: &io::Error, windows: bool) -> bool {
    let no_way_there = windows && error.raw_os_error().is_some_and(|code| NO_WAY_THERE.contains(&code));
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) && !no_way_there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_down_takes_no_file_away() {
        for code in NO_WAY_THERE {
            assert!(!is_gone_on(&io::Error::from_raw_os_error(code), true), "{code}");
        }
        // ERROR_FILE_NOT_FOUND and ENOENT.
        let missing = io::Error::from_raw_os_error(2);
        assert!(is_gone_on(&missing, true) && is_gone_on(&missing, false));
        assert!(is_gone_on(&ErrorKind::NotADirectory.into(), true));
        assert!(!is_gone_on(&ErrorKind::TimedOut.into(), false));
    }
}
