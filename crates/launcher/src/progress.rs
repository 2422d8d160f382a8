//! Passes on cargo's output while it builds. If cargo prints nothing new for a while, because it compiles a large crate, the number of
//! crates and the time so far are printed, so that something always moves.

use std::io::{self, Read, Write};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Columns of cargo's bar: what is left of a narrow terminal has the seconds.
pub(crate) const WIDTH: usize = 70;
/// Time between two signs of life.
const SILENCE: Duration = Duration::from_secs(3);

/// Shows it until it ends.
pub(crate) fn show(mut said: impl Read + Send + 'static, terminal: bool) {
    let (sender, parts) = sync_channel::<Vec<u8>>(16);
    let reader = std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = said.read(&mut part) {
            if sender.send(part[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut shown = Shown::new(terminal);
    let (began, mut output) = (Instant::now(), io::stderr());
    loop {
        let text = match parts.recv_timeout(SILENCE) {
            Ok(part) => shown.hears(&part),
            Err(RecvTimeoutError::Timeout) => shown.still(began.elapsed()),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // Without a terminal that listens, the build still counts.
        let _ = output.write_all(&text).and_then(|()| output.flush());
    }
    let _ = reader.join();
}

/// What was shown so far.
struct Shown {
    terminal: bool,
    /// What came since the last end of a line, or return to its beginning.
    part: Vec<u8>,
    /// The last state of cargo's bar.
    bar: String,
    /// When it was last shown where there is no terminal, in seconds from the beginning.
    last: Instant,
}

impl Shown {
    fn new(terminal: bool) -> Self {
        Shown { terminal, part: Vec::new(), bar: String::new(), last: Instant::now() }
    }

    /// What to show of what cargo says: on a terminal, all of it; elsewhere, lines and no bar that is drawn over.
    fn hears(&mut self, said: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        for &byte in said {
            match byte {
                b'\r' => {
                    let bar = plain(&std::mem::take(&mut self.part));
                    if !bar.trim().is_empty() {
                        self.bar = bar;
                    }
                }
                b'\n' => {
                    lines.extend(plain(&std::mem::take(&mut self.part)).trim_end().bytes());
                    lines.push(b'\n');
                }
                byte => self.part.push(byte),
            }
        }
        if self.terminal {
            return said.to_vec();
        }
        // The bar changes all the time: once in a while that is worth a line.
        if lines.is_empty() && self.last.elapsed() >= SILENCE && !self.bar.is_empty() {
            lines = format!("{}\n", self.bar).into_bytes();
        }
        if !lines.is_empty() {
            self.last = Instant::now();
        }
        lines
    }

    /// What to show if cargo has said nothing for a while.
    fn still(&mut self, since: Duration) -> Vec<u8> {
        self.last = Instant::now();
        let state = if self.bar.is_empty() { "    Building" } else { &self.bar };
        let end = if self.terminal { "\r" } else { "\n" };
        format!("{state} {} s{end}", since.as_secs()).into_bytes()
    }
}

/// A line without what moves the cursor or colours it.
fn plain(line: &[u8]) -> String {
    let (line, mut plain, mut escaped) = (String::from_utf8_lossy(line), String::new(), false);
    for c in line.chars() {
        match c {
            '\u{1b}' => escaped = true,
            // A sequence ends with a letter.
            c if escaped => escaped = !c.is_ascii_alphabetic(),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &[u8] = b"\x1b[K\x1b[1m\x1b[32m   Compiling\x1b[0m libc v0.2\n    Building [=>  ] 3/9: libc, syn\r";

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_file_gets_lines_and_no_bar() {
        let mut shown = Shown::new(false);
        assert_eq!(text(shown.hears(SAID)), "   Compiling libc v0.2\n");
        assert_eq!(text(shown.still(Duration::from_secs(41))), "    Building [=>  ] 3/9: libc, syn 41 s\n");
    }

    #[test]
    fn a_terminal_gets_all_that_cargo_says_and_the_seconds() {
        let mut shown = Shown::new(true);
        assert_eq!(shown.hears(SAID), SAID);
        assert_eq!(text(shown.still(Duration::from_secs(41))), "    Building [=>  ] 3/9: libc, syn 41 s\r");
    }

    #[test]
    fn a_line_may_come_in_parts() {
        let mut shown = Shown::new(false);
        assert_eq!(text(shown.hears(b"   Compi")), "");
        assert_eq!(text(shown.hears(b"ling syn v3\n   Comp")), "   Compiling syn v3\n");
    }
}
