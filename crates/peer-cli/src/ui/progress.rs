//! How a peer stands, in the original's words and in a line that is drawn while it works.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use peer::Status;
use settings::terminal::{in_background, takes_codes};

use crate::flags::sizes;

/// What is shown of how a content stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    pub name: String,
    /// Bytes of what is wanted, or shared.
    pub size: u64,
    pub have: u32,
    pub pieces: u32,
    pub peers: u32,
    pub received: u64,
    pub sent: u64,
    pub finished: bool,
}

impl From<&Status> for Progress {
    fn from(status: &Status) -> Self {
        Progress {
            name: status.name.clone(),
            size: status.size,
            have: status.have,
            pieces: status.pieces,
            peers: status.peers,
            received: status.received,
            sent: status.sent,
            finished: status.is_complete(),
        }
    }
}

/// What `prog` says of a seeder.
pub fn seeder_words(contents: &[Progress]) -> Vec<String> {
    let (have, pieces) = sums(contents);
    let mut lines = vec![format!("Pieces on Seeder: {have} ({}%).", percent(have, pieces))];
    if contents.len() > 1 {
        let line = |content: &Progress| format!("  {}: {}/{}", content.name, content.have, content.pieces);
        lines.extend(contents.iter().map(line));
    }
    lines
}

/// What `prog` says of a downloader. Before a content is known there is a download all the same.
pub fn downloader_words(contents: &[Progress]) -> Vec<String> {
    if !contents.is_empty() && contents.iter().all(|content| content.finished) {
        return vec!["Download Finished!".to_owned()];
    }
    let mut lines = vec!["Download in Progress...".to_owned()];
    lines.push(format!("{} downloaded.", share(contents)));
    if contents.len() > 1 {
        let line = |content: &Progress| format!("  {}: {}", content.name, share(std::slice::from_ref(content)));
        lines.extend(contents.iter().map(line));
    }
    lines
}

/// `have/pieces (percent%)`.
fn share(contents: &[Progress]) -> String {
    let (have, pieces) = sums(contents);
    format!("{have}/{pieces} ({}%)", percent(have, pieces))
}

/// Pieces held and pieces in all.
fn sums(contents: &[Progress]) -> (u64, u64) {
    let sum = |of: fn(&Progress) -> u32| contents.iter().map(of).map(u64::from).sum();
    (sum(|content| content.have), sum(|content| content.pieces))
}

fn percent(part: u64, whole: u64) -> u64 {
    // Nothing out of nothing is all there is, once it is known; until then it is nothing.
    (part * 100).checked_div(whole).unwrap_or(0)
}

/// Counts bytes of one piece of work on the last line of standard error, if that is a terminal; gone when it is dropped.
pub struct Counter {
    what: &'static str,
    /// When it was drawn last, if it was; none if nobody watches.
    drawn: Option<Mutex<Option<Instant>>>,
}

impl Counter {
    pub fn new(what: &'static str) -> Self {
        let drawn = std::io::stderr().is_terminal() && takes_codes();
        Counter { what, drawn: drawn.then(|| Mutex::new(None)) }
    }

    /// Takes how many bytes are done, and of how many.
    pub fn show(self) -> impl Fn(u64, u64) + Sync {
        move |done, total| {
            let Some(drawn) = self.drawn.as_ref().filter(|_| !in_background()) else { return };
            let mut drawn = drawn.lock().expect("no panic holds it");
            if drawn.is_none_or(|then| then.elapsed() >= Duration::from_millis(100)) {
                *drawn = Some(Instant::now());
                let _ = write!(
                    std::io::stderr(),
                    "\r\x1b[K{} {}% of {}",
                    self.what,
                    percent(done, total),
                    sizes::show(total)
                );
            }
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if self.drawn.is_some() && !in_background() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Draws the progress of one download.
pub struct Meter {
    last: Option<(Instant, u64)>,
    rate: f64,
}

impl Meter {
    pub fn new() -> Self {
        Meter { last: None, rate: 0.0 }
    }

    /// One line: share, rate, peers, time left.
    pub fn line(&mut self, now: Instant, progress: &Progress) -> String {
        if let Some((then, received)) = self.last {
            let seconds = (now - then).as_secs_f64().max(0.001);
            let rate = progress.received.saturating_sub(received) as f64 / seconds;
            self.rate = if self.rate == 0.0 { rate } else { 0.7 * self.rate + 0.3 * rate };
        }
        self.last = Some((now, progress.received));
        if progress.pieces == 0 && progress.name.is_empty() {
            return format!("waiting for the manifest, {}", peers(progress.peers));
        }
        let Progress { name, have, pieces, size, .. } = progress;
        let share = percent(u64::from(*have), u64::from(*pieces));
        let bar: String = (0..20).map(|step| if step * 5 < share { '#' } else { '.' }).collect();
        let left = *size as f64 * f64::from(pieces - have) / f64::from((*pieces).max(1));
        let time = if self.rate > 1.0 {
            format!(", {} left", humantime::format_duration(Duration::from_secs((left / self.rate).ceil() as u64)))
        } else {
            String::new()
        };
        let rate = sizes::show(self.rate as u64);
        format!("{name} [{bar}] {share}% {have}/{pieces} pieces, {rate}/s, {}{time}", peers(progress.peers))
    }
}

fn peers(count: u32) -> String {
    if count == 1 { "1 peer".to_owned() } else { format!("{count} peers") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(have: u32, pieces: u32, finished: bool) -> Progress {
        Progress { name: "a".to_owned(), size: 1000, have, pieces, peers: 2, received: 0, sent: 0, finished }
    }

    #[test]
    fn the_words_are_the_originals() {
        assert_eq!(seeder_words(&[progress(3, 4, true)]), ["Pieces on Seeder: 3 (75%)."]);
        assert_eq!(downloader_words(&[progress(1, 3, false)]), ["Download in Progress...", "1/3 (33%) downloaded."]);
        assert_eq!(downloader_words(&[progress(3, 3, true)]), ["Download Finished!"]);
        assert_eq!(downloader_words(&[])[1], "0/0 (0%) downloaded.");
        let two = downloader_words(&[progress(1, 2, false), progress(2, 2, true)]);
        assert_eq!(two, ["Download in Progress...", "3/4 (75%) downloaded.", "  a: 1/2 (50%)", "  a: 2/2 (100%)"]);
    }

    #[test]
    fn the_line_says_rate_and_time_left() {
        let mut meter = Meter::new();
        let now = Instant::now();
        meter.line(now, &progress(0, 4, false));
        let half = Progress { received: 500, ..progress(2, 4, false) };
        let line = meter.line(now + Duration::from_secs(1), &half);
        assert_eq!(line, "a [##########..........] 50% 2/4 pieces, 500 B/s, 2 peers, 1s left");
    }
}
