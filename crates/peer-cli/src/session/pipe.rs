//! `peer-cli get -o -`: a file to standard output, in order, as far as its verified pieces reach without a gap.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Arc;

use bytes::BytesMut;
use peer::{Glob, PeerError, Reader};
use protocol::{Manifest, printable};
use tokio::io::AsyncReadExt;

use crate::error::{ExitCode, Failure, failure};
use crate::session::find::Found;
use crate::session::notice::DelayedNotice;
use crate::session::temp_folder::parent_variable;

/// What PowerShell does to what a program writes is no fault that the program could see.
pub const BYTES: &str =
    "PowerShell before 7.4 changes bytes in pipes and behind `>`. With `-`, use PowerShell 7.4 or later, or cmd";
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
    let slow = "The program that reads standard output is slow, or has stopped reading; waiting for it without limit.";
    let mut notice = DelayedNotice::new(tell, slow.to_owned());
    let shows = std::io::stdout().is_terminal();
    loop {
        let mut block = BytesMut::with_capacity(BLOCK);
        if reader.read_buf(&mut block).await.map_err(unreadable)? == 0 {
            return Ok(true);
        }
        if shows && !is_text(&block) {
            return Err(Failure::new(ExitCode::Usage, no_text(cfg!(windows))));
        }
        // The download goes on meanwhile.
        notice.restart();
        let put = notice.during(tokio::task::spawn_blocking(move || put(&block))).await;
        if !put.unwrap_or_else(|error| Err(Failure::new(ExitCode::Other, error.to_string())))? {
            return Ok(false);
        }
    }
}

/// What is said where a terminal would be given what is no text.
fn no_text(windows: bool) -> String {
    let instead = match windows {
        true => format!("choose a folder with -o. {BYTES}"),
        false => "give it to a file or a program, as in `peer-cli get TICKET -o - > FILE`, or choose a folder with -o. To see it all \
                  the same: -o - | cat"
            .to_owned(),
    };
    format!("standard output is a terminal, and this is no text: {instead}")
}

/// Whether a part of a file is text that does nothing to a terminal but stand there. It may begin and end inside a character.
fn is_text(part: &[u8]) -> bool {
    let begins = part.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
    let text = match std::str::from_utf8(&part[begins..]) {
        Ok(text) => text,
        Err(error) if error.error_len().is_some() => return false,
        Err(error) => std::str::from_utf8(&part[begins..begins + error.valid_up_to()]).unwrap_or_default(),
    };
    text.chars().all(|c| !c.is_control() || ['\n', '\r', '\t', '\x0c'].contains(&c))
}

/// Why a download cannot be read on.
fn unreadable(error: io::Error) -> Failure {
    let reason = error.get_ref();
    if let Some(error) = reason.and_then(|reason| reason.downcast_ref::<Arc<PeerError>>()) {
        return of_temporary(error);
    }
    match reason.and_then(|reason| reason.downcast_ref::<PeerError>()) {
        Some(error) => of_temporary(error),
        None => Failure::new(ExitCode::Other, error.to_string()),
    }
}

/// What it means that a download fails which waits in a temporary folder.
pub(super) fn of_temporary(error: &PeerError) -> Failure {
    match error {
        PeerError::Storage(error) if error.is_no_room() => {
            let sentence = format!(
                "{error}. What goes to standard output waits there until all before it has come. Make room, or name a folder on \
                 another disk with {}",
                parent_variable()
            );
            Failure::new(ExitCode::DiskFull, printable(&sentence))
        }
        error => failure(error),
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
            let sentence =
                format!("standard output is a console, which takes text alone: choose a folder with -o. {BYTES}");
            Err(Failure::new(ExitCode::CannotWrite, sentence))
        }
        Err(error) => Err(Failure::new(ExitCode::CannotWrite, format!("standard output takes no more: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use storage::StorageError;

    use super::*;

    #[test]
    fn who_has_a_console_is_told_what_keeps_the_bytes() {
        assert!(no_text(false).contains("-o - > FILE"));
        let on_windows = no_text(true);
        assert!(on_windows.contains("choose a folder with -o. PowerShell before 7.4"), "{on_windows}");
        assert!(!on_windows.contains("> FILE") && !on_windows.contains("cat"), "{on_windows}");
    }

    #[test]
    fn where_there_is_no_room_it_is_said_where_it_waits() {
        let failure = of_temporary(&StorageError::Full("/tmp/file".into()).into());
        let said = failure.message;
        assert_eq!(failure.code, ExitCode::DiskFull);
        assert!(said.contains("/tmp/file") && said.ends_with(parent_variable()), "{said}");
        assert!(!said.contains("kept") && !said.contains("--output"), "{said}");
    }

    #[test]
    fn only_text_is_shown_on_a_terminal() {
        let text = "größer\r\n\t日本\n".as_bytes();
        for from in [0, 3] {
            for to in [text.len() - 3, text.len() - 2, text.len()] {
                assert!(is_text(&text[from..to]), "{from}..{to}, inside a character perhaps");
            }
        }
        for binary in [&b"a\0b"[..], b"\x1b[31mred", b"\x7fELF", b"\xff\xfe", b"a\x80b", "a\u{9b}31m".as_bytes()] {
            assert!(!is_text(binary), "{binary:?}");
        }
        assert!(is_text(b""));
    }
}
