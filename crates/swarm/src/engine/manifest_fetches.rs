//! What is under way for the manifest of one content: which peers were asked, and how far each is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::ConnId;

/// A manifest that will be here within this time needs nobody else.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// Which peers are asked for the manifest of a content.
#[derive(Debug, Default)]
pub(crate) struct ManifestFetches {
    /// It is here, and the files are being looked at.
    pub(super) here: bool,
    pub(super) asked: BTreeMap<ConnId, Fetch>,
    /// Those that were asked before they said whether they have it.
    pub(super) early: BTreeSet<ConnId>,
    /// How many to ask next, not before when, and the pause after that.
    pub(super) next: usize,
    pub(super) not_before: Duration,
    pub(super) pause: Duration,
    /// Someone was about to end and did not: nobody's word counts for much.
    pub(super) doubtful: bool,
}

#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) since: Duration,
    pub(super) came: u64,
    pub(super) total: u64,
    pub(super) began: Option<Duration>,
    /// Since when it has been about to end, and when it should have ended.
    pub(super) ending: Option<(Duration, Duration)>,
}

impl Fetch {
    pub(super) fn new(now: Duration) -> Self {
        Fetch { since: now, came: 0, total: 0, began: None, ending: None }
    }

    /// Time until all of it will have come at its pace so far; for ever, if it should have been here.
    pub(super) fn left(&self, now: Duration) -> Duration {
        if !self.flows() || self.is_overdue(now) {
            return Duration::MAX;
        }
        let elapsed = now.saturating_sub(self.since).max(Duration::from_millis(1));
        let pace = self.came as f64 / elapsed.as_secs_f64();
        Duration::try_from_secs_f64((self.total.saturating_sub(self.came)) as f64 / pace.max(1.0))
            .unwrap_or(Duration::MAX)
    }

    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        self.ending.is_some_and(|(_, due)| now >= due)
    }

    /// It was about to end for much longer than that.
    pub(super) fn never_ends(&self, now: Duration) -> bool {
        self.ending.is_some_and(|(since, _)| now.saturating_sub(since) > SOON * 2)
    }

    pub(super) fn flows(&self) -> bool {
        self.began.is_some()
    }
}
