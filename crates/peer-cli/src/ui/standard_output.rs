//! What is written to standard output, and whether it gets there: a full disk, a pipe without a reader and a closed descriptor are
//! noted, so that no command ends as if its words had been read.

use std::io::{ErrorKind, Write};
use std::sync::Mutex;

use crate::error::{ExitCode, Failure};

/// Why something was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The other end of the pipe was closed: its reader has seen enough.
    ReaderGone,
    /// The system refused it, for this reason.
    Refused(String),
}

/// The first loss.
static LOST: Mutex<Option<Loss>> = Mutex::new(None);

/// Writes all of it.
pub fn write(bytes: &[u8]) -> Result<(), Loss> {
    let mut out = std::io::stdout().lock();
    // What is only buffered would be lost at the end.
    let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) else { return Ok(()) };
    let loss = match error.kind() {
        ErrorKind::BrokenPipe => Loss::ReaderGone,
        _ => Loss::Refused(error.to_string()),
    };
    LOST.lock().expect("no panic holds it").get_or_insert_with(|| loss.clone());
    Err(loss)
}

/// The first loss since the program started, if there was any.
pub fn lost() -> Option<Loss> {
    LOST.lock().expect("no panic holds it").clone()
}

impl From<Loss> for Failure {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::ReaderGone => Failure::unread(),
            Loss::Refused(reason) => {
                Failure::new(ExitCode::CannotWrite, format!("standard output takes no more: {reason}"))
            }
        }
    }
}

/// Fails if nothing that is written to standard output can arrive; `what` is what would be lost.
pub fn must_be_open(what: &str) -> Result<(), Failure> {
    if !is_closed() {
        return Ok(());
    }
    let sentence = format!(
        "standard output is closed, and {what} would be lost: give it to a file or a program, or to {} to do without",
        if cfg!(windows) { "NUL" } else { "/dev/null" }
    );
    Err(Failure::new(ExitCode::CannotWrite, sentence))
}

/// Whether the program was started with its standard output closed, or open to be read only. The runtime opens the null device in
/// place of a closed descriptor, to read and to write. A program that throws output away on purpose opens that device to be written
/// alone, or gives it for standard error as well.
#[cfg(unix)]
pub fn is_closed() -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};
    let (out, errors) = (std::io::stdout(), std::io::stderr());
    let Ok(flags) = fcntl_getfl(&out) else { return true };
    if flags.intersection(OFlags::RWMODE) == OFlags::RDONLY {
        return true;
    }
    fn stands_in(stream: impl std::os::fd::AsFd) -> bool {
        let (Ok(there), Ok(null), Ok(flags)) = (fstat(&stream), stat("/dev/null"), fcntl_getfl(&stream)) else {
            return true;
        };
        there.st_rdev == null.st_rdev && there.st_mode == null.st_mode && flags.contains(OFlags::RDWR)
    }
    stands_in(&out) && !stands_in(&errors)
}

/// The same on Windows: a program without a window is given no handle, or one that is none, and what is written there is gone.
#[cfg(windows)]
pub fn is_closed() -> bool {
    use std::os::windows::io::AsRawHandle;
    let handle = std::io::stdout().as_raw_handle();
    handle.is_null() || handle.addr() == usize::MAX
}
