//! `peer-cli get -o -`: a file to standard output, in order, as far as its verified pieces reach without a gap.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use peer::Node;
use protocol::{ContentId, Manifest};

use crate::connect::Speech;
use crate::exit_code::{ExitCode, Failure};
use crate::only::{Only, fits};
use crate::start::Found;

/// Time between two looks whether the next piece is here.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is to be written of a content: from which piece on, how many bytes, and those of a piece. A folder is refused before any of it comes.
pub struct Length {
    first: u32,
    size: u64,
    piece_size: u64,
}

/// How long a content, or the one file that is wanted of it, is that is to go to standard output.
pub fn length(manifest: &Manifest, found: &Found, wanted: &[Only]) -> Result<Length, Failure> {
    found.must_be_called_so(manifest)?;
    let header = manifest.header();
    let geometry = manifest.geometry();
    let fits = |file: &usize| wanted.is_empty() || fits(wanted, &header.files[*file].path);
    let mut files = (0..header.files.len()).filter(fits);
    match (files.next(), files.next()) {
        (Some(file), None) if !header.folder || !wanted.is_empty() => {
            let first = geometry.pieces_of(file).start;
            Ok(Length { first, size: geometry.sizes()[file], piece_size: header.piece_size.into() })
        }
        // Which it is not is said where any download would say it.
        (None, _) if !wanted.is_empty() => Ok(Length { first: 0, size: 0, piece_size: 1 }),
        _ => {
            let sentence = format!(
                "{:?} is a folder, and standard output takes one file: choose one with --only, or a folder with -o",
                header.name
            );
            Err(Failure::new(ExitCode::Usage, sentence))
        }
    }
}

/// Writes all of it as it comes. False if nobody reads it any more. Where the reader takes its time, `tell` is told so.
pub async fn write(
    node: &Node,
    content: ContentId,
    length: Length,
    tell: &(dyn Fn(String) + Sync),
) -> Result<bool, Failure> {
    let mut written = 0;
    let slow = "What reads standard output is slow, or has stopped reading. It is waited for as long as it takes.";
    let mut speech = Speech::new(tell, slow.to_owned());
    while written < length.size {
        let Some(bytes) = node.read(content, length.first + (written / length.piece_size) as u32).await? else {
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        };
        written += bytes.len() as u64;
        // The download goes on meanwhile.
        speech.restart();
        let put = speech.during(tokio::task::spawn_blocking(move || put(&bytes))).await;
        if !put.unwrap_or_else(|error| Err(Failure::new(ExitCode::Other, error.to_string())))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the program was started with its standard output closed. The runtime then opens the null device there, to read and
/// to write: what is thrown away on purpose is opened to be written alone.
#[cfg(unix)]
pub fn is_closed() -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};
    let out = std::io::stdout();
    let (Ok(there), Ok(null), Ok(flags)) = (fstat(&out), stat("/dev/null"), fcntl_getfl(&out)) else { return true };
    there.st_rdev == null.st_rdev && there.st_mode == null.st_mode && flags.contains(OFlags::RDWR)
}

#[cfg(not(unix))]
pub fn is_closed() -> bool {
    false
}

fn put(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    // What is only buffered would be lost at the end.
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(ExitCode::CannotWrite, format!("standard output takes no more: {error}"))),
    }
}
