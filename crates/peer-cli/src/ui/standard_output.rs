//! What is written to standard output, and whether it gets there: a full disk, a pipe without a reader and a closed descriptor are
//! noted, so that no command ends as if its words had been read.

use std::io::{ErrorKind, Write};
use std::sync::Mutex;
#[cfg(unix)]
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{ExitCode, Failure};
use crate::lock::lock;

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
    lock(&LOST).get_or_insert_with(|| loss.clone());
    Err(loss)
}

/// The first loss since the program started, if there was any.
pub fn lost() -> Option<Loss> {
    lock(&LOST).clone()
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

/// Whether another program reads standard output. It may print what it has read on the terminal, whenever it likes.
#[cfg(unix)]
pub fn is_piped() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let output = std::io::stdout().as_fd().try_clone_to_owned();
    let kind = output.and_then(|output| std::fs::File::from(output).metadata()).map(|seen| seen.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket())
}

/// The same, where a pipe is not told from a file.
#[cfg(not(unix))]
pub fn is_piped() -> bool {
    !std::io::IsTerminal::is_terminal(&std::io::stdout())
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

/// Whether standard output was closed when the program was started.
#[cfg(unix)]
static CLOSED: AtomicBool = AtomicBool::new(false);

// The runtime opens the null device in place of a closed descriptor before it calls main. Some programs give that very device, opened
// to read and to write as the runtime does, to throw output away on purpose: afterwards the two look alike.
#[cfg(unix)]
ctor::declarative::ctor! {
    /// Only asks the system.
    #[ctor(unsafe)]
    fn look_before_the_runtime() {
        CLOSED.store(rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err(), Ordering::Relaxed);
    }
}

/// Whether the program was started with its standard output closed, or open to be read only.
#[cfg(unix)]
pub fn is_closed() -> bool {
    use rustix::fs::{OFlags, fcntl_getfl};
    let flags = fcntl_getfl(std::io::stdout());
    CLOSED.load(Ordering::Relaxed) || flags.is_ok_and(|flags| flags.intersection(OFlags::RWMODE) == OFlags::RDONLY)
}

/// The same on Windows: a program without a window is given no handle, or one that is none, and what is written there is gone.
#[cfg(windows)]
pub fn is_closed() -> bool {
    use std::os::windows::io::AsRawHandle;
    let handle = std::io::stdout().as_raw_handle();
    handle.is_null() || handle.addr() == usize::MAX
}
