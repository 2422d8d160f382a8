//! `peer-cli get -o -`: a file to standard output, in order, as far as its verified pieces reach without a gap.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use bytes::BytesMut;
use peer::{Glob, PeerError, Reader};
use protocol::Manifest;
use tokio::io::AsyncReadExt;

use crate::error::{ExitCode, Failure, failure};
use crate::session::connect::Speech;
use crate::session::find::Found;

/// Bytes that are written at a time.
const BLOCK: usize = 1 << 20;

/// Standard output takes one file: a folder is refused before any of it comes, unless one file of it is wanted.
pub fn must_be_one_file(manifest: &Manifest, found: &Found, wanted: &[Glob]) -> Result<(), Failure> {
    found.must_be_called_so(manifest)?;
    let header = manifest.header();
    let paths = header.files.iter().map(|file| file.path.as_str());
    // That a pattern matches nothing is said where any download would say it.
    let Ok(chosen) = Glob::choose(wanted, paths) else { return Ok(()) };
    let count = if wanted.is_empty() { chosen.len() } else { chosen.iter().filter(|chosen| **chosen).count() };
    match count {
        1 if !header.folder || !wanted.is_empty() => Ok(()),
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
pub async fn write(mut reader: Reader, tell: &dyn Fn(String)) -> Result<bool, Failure> {
    let slow = "What reads standard output is slow, or has stopped reading. It is waited for as long as it takes.";
    let mut speech = Speech::new(tell, slow.to_owned());
    loop {
        let mut block = BytesMut::with_capacity(BLOCK);
        if reader.read_buf(&mut block).await.map_err(unreadable)? == 0 {
            return Ok(true);
        }
        // The download goes on meanwhile.
        speech.restart();
        let put = speech.during(tokio::task::spawn_blocking(move || put(&block))).await;
        if !put.unwrap_or_else(|error| Err(Failure::new(ExitCode::Other, error.to_string())))? {
            return Ok(false);
        }
    }
}

/// Why a download cannot be read on.
fn unreadable(error: io::Error) -> Failure {
    let reason = error.get_ref();
    if let Some(error) = reason.and_then(|reason| reason.downcast_ref::<Arc<PeerError>>()) {
        return failure(error);
    }
    match reason.and_then(|reason| reason.downcast_ref::<PeerError>()) {
        Some(error) => failure(error),
        None => Failure::new(ExitCode::Other, error.to_string()),
    }
}

fn put(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    // What is only buffered would be lost at the end.
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        // A console of Windows.
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            let sentence = "standard output is a console, which takes text alone: give it to a file or a program, or choose \
                            a folder with -o";
            Err(Failure::new(ExitCode::CannotWrite, sentence))
        }
        Err(error) => Err(Failure::new(ExitCode::CannotWrite, format!("standard output takes no more: {error}"))),
    }
}
