//! Patience with programs that open a file at the wrong moment, such as virus scanners.
//!
//! On Windows a virus scanner or an indexer opens a file as soon as it is written, and for as long as it is open it is neither
//! renamed nor replaced nor removed. That lasts for fractions of a second, so what is refused for it is tried again for a while.

use std::io;
use std::time::Duration;

/// The first wait; each is twice as long as the one before it, up to the longest.
const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);
/// After so much waiting in all the error is one. Then somebody works with the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does something that gives a file its name or takes it away. While somebody else has the file open and Windows refuses for
/// that, it is done again, for some seconds. May block so long.
pub fn patiently<T>(act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    patiently_if(|error| cfg!(windows) && is_in_use(error), std::thread::sleep, act)
}

/// Opens a file, and perhaps reads it. While another program has it open and lets nobody in, as one that scans or backs it up does for a
/// moment, or has it locked, it is tried again, for some seconds. That a file may not be opened is an error at once. May block so long.
pub fn open_patiently<T>(open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    patiently_if(|error| cfg!(windows) && is_kept_from_others(error), std::thread::sleep, open)
}

/// ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION.
fn is_kept_from_others(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(32 | 33))
}

/// Whether Windows says that somebody has the file, or a file in the folder, open: ERROR_ACCESS_DENIED,
/// ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_DELETE_PENDING, ERROR_USER_MAPPED_FILE. The first may as well mean that
/// this user may not do it.
pub fn is_in_use(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(5 | 32 | 33 | 303 | 1224))
}

fn patiently_if<T>(
    passes: impl Fn(&io::Error) -> bool,
    mut wait: impl FnMut(Duration),
    mut act: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let (mut next, mut waited) = (FIRST, Duration::ZERO);
    loop {
        match act() {
            Err(error) if waited < PATIENCE && passes(&error) => {
                wait(next);
                waited += next;
                next = (next * 2).min(LONGEST);
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails so often with this error of Windows.
    fn fails(times: u32, code: i32) -> impl FnMut() -> io::Result<u32> {
        let mut done = 0;
        move || {
            done += 1;
            if done <= times { Err(io::Error::from_raw_os_error(code)) } else { Ok(done) }
        }
    }

    #[test]
    fn a_rename_that_a_virus_scanner_holds_up_is_done_once_it_has_looked() {
        for code in [5, 32, 33, 303, 1224] {
            let mut waits = 0;
            assert_eq!(patiently_if(is_in_use, |_| waits += 1, fails(7, code)).unwrap(), 8, "error {code}");
            assert_eq!(waits, 7);
        }
    }

    #[test]
    fn a_file_that_is_scanned_is_opened_a_moment_later_and_one_that_is_denied_is_not() {
        for code in [32, 33] {
            assert_eq!(patiently_if(is_kept_from_others, |_| (), fails(3, code)).unwrap(), 4, "error {code}");
        }
        let never = |_| panic!("nobody waits for that");
        assert!(patiently_if(is_kept_from_others, never, fails(1, 5)).is_err());
    }

    #[test]
    fn a_file_that_stays_open_is_an_error_in_the_end() {
        let mut waited = Duration::ZERO;
        let error = patiently_if(is_in_use, |wait| waited += wait, fails(u32::MAX, 32)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(32));
        assert!(waited >= PATIENCE && waited < PATIENCE + LONGEST, "{waited:?}");
    }

    #[test]
    fn another_error_is_one_at_once() {
        let never = |_| panic!("nobody waits for that");
        assert!(patiently_if(is_in_use, never, fails(1, 2)).is_err());
    }
}
