//! `peer-cli share -`: what comes through standard input, spooled and hashed as it comes, and shared once all of it is there.

use std::fs::Metadata;
use std::io::{ErrorKind, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use peer::{PeerError, Spool, Spooled};
use protocol::printable;

use crate::error::{ExitCode, Failure, failure};
use crate::flags::cut::Cut;
use crate::session::Session;
use crate::session::temp_folder::parent_variable;
use crate::ui::amounts;

/// What it is called unless a name is given.
pub const NAME: &str = "stdin";
/// Bytes that are read at a time.
const BLOCK: usize = 1 << 20;
/// Time between two words about how much has come.
const WORD: Duration = Duration::from_millis(500);

/// Fails if standard input is a terminal.
pub fn must_be_piped() -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let sentence = "standard input is a terminal: give it what is to be shared, as in \
                    `tar c FOLDER | peer-cli share - --name FOLDER.tar`";
    Err(Failure::new(ExitCode::Usage, sentence))
}

/// Whether a name can be that of what is shared.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let is_state = storage::is_state_name(name);
    let checked = protocol::check_name(name).and_then(|()| protocol::check_local_name(name, true));
    match checked {
        Ok(()) if !is_state => Ok(()),
        Ok(()) => Err(Failure::new(ExitCode::Usage, format!("{name:?} is a name that downloads keep for themselves"))),
        Err(error) => Err(Failure::new(ExitCode::Usage, format!("--name: {}", printable(&error.to_string())))),
    }
}

/// A pipe can be read once, and what is shared is read again and again: it has to come through standard input. So has what does not
/// say how large it is.
pub fn must_not_be_a_pipe(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let remedy = match stream(path) {
        Some(Stream::Unsized) => format!("give it to `peer-cli share - --name NAME < {shown}`, or share a copy"),
        Some(Stream::Kind(_)) => {
            "pipe what it gives into `peer-cli share - --name NAME`, which keeps it in a file while it is shared"
                .to_owned()
        }
        None => return Ok(()),
    };
    must_stay(path, &remedy)
}

/// The same for a command that only reads it, and takes no standard input.
pub fn must_be_kept(path: &Path, command: &str) -> Result<(), Failure> {
    if path.as_os_str() == "-" && !path.exists() {
        return Err(Failure::new(ExitCode::Usage, format!("{command} takes no standard input: name a file")));
    }
    must_stay(path, &format!("copy what it gives into a file, and {command} that"))
}

fn must_stay(path: &Path, remedy: &str) -> Result<(), Failure> {
    let shown = path.display();
    let sentence = match stream(path) {
        Some(Stream::Kind(kind)) => format!("{shown} is {kind}: {remedy}"),
        Some(Stream::Unsized) => format!("{shown} does not say how large it is: {remedy}"),
        None => return Ok(()),
    };
    Err(Failure::new(ExitCode::Usage, sentence))
}

/// What gives bytes and is no file that keeps them.
enum Stream {
    Kind(&'static str),
    Unsized,
}

fn stream(path: &Path) -> Option<Stream> {
    let metadata = path.metadata().ok()?;
    let is_unsized = || metadata.is_file() && peer::is_unsized(path, &metadata);
    stream_kind(&metadata).map(Stream::Kind).or_else(|| is_unsized().then_some(Stream::Unsized))
}

#[cfg(unix)]
fn stream_kind(metadata: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    match () {
        () if kind.is_fifo() => Some("a pipe"),
        () if kind.is_char_device() || kind.is_block_device() => Some("a device"),
        () if kind.is_socket() => Some("a socket"),
        () => None,
    }
}

#[cfg(not(unix))]
fn stream_kind(_: &Metadata) -> Option<&'static str> {
    None
}

/// What the thread that reads and the task that waits for it tell each other.
#[derive(Default)]
struct ReadProgress {
    came: AtomicU64,
    stop: AtomicBool,
}

/// Tells the thread to stop once nobody waits any more.
struct StopReading(Arc<ReadProgress>);

impl Drop for StopReading {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Takes all of standard input into a file of this name in a folder.
pub async fn spool(
    session: &Session,
    folder: &Path,
    name: &str,
    cut: &Cut,
    keep_free: Option<u64>,
) -> Result<Spooled, Failure> {
    let spool = Spool::create(folder, name, cut.hash, cut.piece_size, keep_free).map_err(|error| of_spool(&error))?;
    if let Some(bytes) = known_size() {
        spool.must_fit(bytes, keep_free).map_err(|error| of_spool(&error))?;
    }
    let progress = Arc::new(ReadProgress::default());
    let stop = StopReading(progress.clone());
    let mut reading = tokio::task::spawn_blocking(move || read_all(spool, &stop.0));
    let stop = StopReading(progress.clone());
    let mut tick = tokio::time::interval(WORD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let read = loop {
        tokio::select! {
            read = &mut reading => break read,
            _ = tick.tick() => {
                let came = progress.came.load(Ordering::Relaxed);
                session.shows(&format!("Reading standard input: {}", amounts::amount(came)));
            }
        }
    };
    drop(stop);
    session.shows_no_more();
    read.unwrap_or_else(|error| Err(Failure::new(ExitCode::Other, error.to_string())))
}

/// Bytes that will come, where standard input is a file.
fn known_size() -> Option<u64> {
    #[cfg(unix)]
    {
        let seen = rustix::fs::fstat(std::io::stdin()).ok()?;
        let is_file = rustix::fs::FileType::from_raw_mode(seen.st_mode).is_file();
        is_file.then(|| u64::try_from(seen.st_size).ok())?
    }
    #[cfg(windows)]
    {
        use winapi_util::{HandleRef, file};
        let is_file = file::typ(HandleRef::stdin()).is_ok_and(|kind| kind.is_disk());
        is_file.then(|| file::information(HandleRef::stdin()).ok().map(|seen| seen.file_size()))?
    }
}

fn read_all(mut spool: Spool, progress: &ReadProgress) -> Result<Spooled, Failure> {
    // Not through the lock of the library, whose buffer would copy everything once more.
    let mut input = std::io::stdin().lock();
    let mut block = vec![0; BLOCK];
    while !progress.stop.load(Ordering::Relaxed) {
        let count = match input.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let sentence = format!(
                    "standard input cannot be read on after {}: {error}. Nothing of it is shared",
                    amounts::amount(spool.bytes())
                );
                return Err(Failure::new(ExitCode::Other, sentence));
            }
        };
        spool.write(&block[..count]).map_err(|error| of_spool(&error))?;
        progress.came.store(spool.bytes(), Ordering::Relaxed);
    }
    if spool.bytes() == 0 {
        let sentence =
            "standard input ended before a byte came: there is nothing to share. Did the program before the pipe fail?";
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    spool.finish().map_err(|error| of_spool(&error))
}

/// What it means that it could not be kept.
fn of_spool(error: &PeerError) -> Failure {
    match error {
        PeerError::Storage(error) if error.is_no_room() => {
            let sentence = format!(
                "{error}. Standard input is kept there while it is shared; nothing of it was shared. Make room, or name a \
                 folder on another disk with {}",
                parent_variable()
            );
            Failure::new(ExitCode::DiskFull, printable(&sentence))
        }
        error => failure(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_some_receiver_could_not_store_are_refused() {
        assert!(check_name("x.tar").is_ok() && check_name(NAME).is_ok());
        for name in ["", "..", "a/b", "a\\b", "CON", "a:b", ".x.part"] {
            assert_eq!(check_name(name).unwrap_err().code, ExitCode::Usage, "{name:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_or_device_is_refused_and_told_what_to_do() {
        let failure = must_not_be_a_pipe(Path::new("/dev/null")).unwrap_err();
        assert!(
            failure.message.contains("a device") && failure.message.contains("share - --name"),
            "{}",
            failure.message
        );
        let failure = must_be_kept(Path::new("/dev/null"), "hash").unwrap_err();
        assert!(failure.message.ends_with("is a device: copy what it gives into a file, and hash that"));
        let failure = must_be_kept(Path::new("-"), "hash").unwrap_err();
        assert_eq!(failure.message, "hash takes no standard input: name a file");
        assert!(must_not_be_a_pipe(Path::new(".")).is_ok() && must_not_be_a_pipe(Path::new("missing")).is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_made_when_it_is_read_is_refused_and_an_empty_one_is_not() {
        let failure = must_not_be_a_pipe(Path::new("/proc/self/status")).unwrap_err();
        assert!(failure.message.contains("--name NAME < /proc/self/status`"), "{}", failure.message);
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(must_not_be_a_pipe(empty.path()).is_ok());
    }
}
