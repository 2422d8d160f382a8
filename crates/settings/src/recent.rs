//! The last lines of the log, for a page that shows them. None are kept unless something asks for that.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lines that are kept.
const LINES: usize = 500;
/// Characters of each.
const LONGEST: usize = 1000;

static KEEPS: AtomicBool = AtomicBool::new(false);
static RECENT: Mutex<Recent> = Mutex::new(Recent { next: 0, lines: VecDeque::new() });

/// Lines, and the number of the next one.
struct Recent {
    next: u64,
    lines: VecDeque<String>,
}

impl Recent {
    fn keep(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            if self.lines.len() >= LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(without_codes(line));
            self.next += 1;
        }
    }

    fn after(&self, place: u64) -> (u64, Vec<String>) {
        let first = self.next - self.lines.len() as u64;
        let skipped = usize::try_from(place.saturating_sub(first)).unwrap_or(usize::MAX);
        (self.next, self.lines.iter().skip(skipped).cloned().collect())
    }
}

fn recent() -> MutexGuard<'static, Recent> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the last lines of the log from now on.
pub fn keep_recent_log() {
    KEEPS.store(true, Ordering::Relaxed);
}

/// Lines behind this place, as far as they are kept, and the place behind them. 0 is before the first one.
pub fn recent_log(after: u64) -> (u64, Vec<String>) {
    recent().after(after)
}

/// A writer of the log whose lines are kept, too.
pub(crate) struct Kept<W>(pub(crate) W);

impl<W: io::Write> io::Write for Kept<W> {
    /// Each event is written at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if KEEPS.load(Ordering::Relaxed) {
            recent().keep(&String::from_utf8_lossy(line));
        }
        self.0.write_all(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A line without the codes for colours, cut where it is too long.
fn without_codes(line: &str) -> String {
    let (mut plain, mut in_code) = (String::new(), false);
    for character in line.chars().take(LONGEST) {
        match character {
            '\u{1b}' => in_code = true,
            character if in_code => in_code = !character.is_ascii_alphabetic(),
            character => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_each_is_given_once() {
        let mut recent = Recent { next: 0, lines: VecDeque::new() };
        recent.keep("\u{1b}[33m WARN\u{1b}[0m one\n");
        recent.keep("two\n");
        assert_eq!(recent.after(0), (2, vec![" WARN one".to_owned(), "two".to_owned()]));
        assert_eq!(recent.after(1), (2, vec!["two".to_owned()]));
        assert_eq!(recent.after(2), (2, vec![]));
        assert_eq!(recent.after(99), (2, vec![]));
        (0..LINES * 2).for_each(|_| recent.keep(&"x".repeat(LONGEST * 3)));
        let (next, lines) = recent.after(0);
        assert_eq!((next as usize, lines.len(), lines[0].len()), (LINES * 2 + 2, LINES, LONGEST));
    }
}
