//! Which downloads run, and which wait for others: in their order, so many at once. One that gets nothing for a while runs on, and
//! keeps nobody waiting.

use std::time::Duration;

use tokio::time::Instant;

use crate::control::{ContentStatus, Doing};

/// A download that gets nothing for so long keeps no other one waiting.
const STILL: Duration = Duration::from_secs(60);

/// A content in its place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// It is to be downloaded, and takes a place.
    Wants,
    /// It runs, and nothing has come for a while.
    Still,
    /// It has no need of a place: it is shared, complete, paused, or has failed.
    Other,
}

/// Whether each of them may run.
pub(crate) fn plan(candidates: impl IntoIterator<Item = Candidate>, at_once: usize) -> Vec<bool> {
    let mut room = at_once.max(1);
    let runs = |candidate| match candidate {
        Candidate::Wants if room == 0 => false,
        Candidate::Wants => {
            room -= 1;
            true
        }
        Candidate::Still | Candidate::Other => true,
    };
    candidates.into_iter().map(runs).collect()
}

/// For how long nothing has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StallTimer {
    received: u64,
    since: Instant,
}

impl StallTimer {
    pub(crate) fn new() -> Self {
        StallTimer { received: 0, since: Instant::now() }
    }

    /// Whether nothing has come for long, given what has come in all. A download that waits for others is not still.
    pub(crate) fn is_still(&mut self, view: &ContentStatus) -> bool {
        if self.received != view.received || view.state == Doing::Queued {
            *self = StallTimer { received: view.received, since: Instant::now() };
        }
        self.since.elapsed() >= STILL
    }
}

#[cfg(test)]
mod tests {
    use super::Candidate::{Other, Still, Wants};
    use super::*;

    #[test]
    fn the_first_downloads_run_and_the_others_wait() {
        assert_eq!(plan([Wants, Other, Wants, Wants], 2), [true, true, true, false]);
        assert_eq!(plan([Wants, Wants], 0), [true, false], "one always runs");
        assert_eq!(plan([], 3), [false; 0]);
    }

    #[test]
    fn a_download_that_gets_nothing_keeps_nobody_waiting() {
        assert_eq!(plan([Still, Wants, Wants], 1), [true, true, false]);
    }
}
