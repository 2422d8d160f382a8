//! How contents stand, for those who watch at the tracker: told only while somebody does, once a second at most, and not again
//! while nothing changes.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{MAX_SOURCES, PeerId, PeerProgress, REPORT_SECONDS, WatchedSource};
use tokio::time::Instant;

use crate::status::Status;
use crate::tracker_status::TrackerNumber;

/// Time between two words about one content.
const PERIOD: Duration = Duration::from_millis(1000);
/// What stays as it is is said again after this time: the tracker forgets what is old.
const AGAIN: Duration = Duration::from_secs(REPORT_SECONDS / 2);

/// What was told of one content.
pub(super) struct Told {
    /// Until when somebody watches.
    pub(super) until: Instant,
    /// The trackers that have asked, and until when each.
    pub(super) asked: BTreeMap<TrackerNumber, Instant>,
    /// When it was told last, and what.
    last: Option<(Instant, PeerProgress)>,
    /// What had been sent then, and received from each peer.
    seen: Option<(Instant, u64, BTreeMap<PeerId, u64>)>,
}

impl Told {
    /// Nothing yet, to somebody who watches until then.
    pub(super) fn nothing(until: Instant) -> Self {
        Told { until, asked: BTreeMap::new(), last: None, seen: None }
    }

    /// The trackers at which somebody watches now.
    pub(super) fn asked(&mut self, now: Instant) -> Vec<TrackerNumber> {
        self.asked.retain(|_, until| now < *until);
        self.asked.keys().copied().collect()
    }

    /// How it stands now. Rates are those since the last look.
    fn look(&mut self, now: Instant, status: &Status) -> PeerProgress {
        let (mut from, mut up) = (Vec::new(), 0);
        if let Some((then, sent, sources)) = &self.seen {
            let seconds = now.duration_since(*then).as_secs_f64().max(0.001);
            let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds) as u64;
            up = rate(status.sent, *sent);
            let of_peer = |(&peer, &bytes): (&PeerId, &u64)| {
                let rate = rate(bytes, sources.get(&peer).copied().unwrap_or(0));
                WatchedSource { peer, rate }
            };
            from = status.sources.iter().map(of_peer).filter(|source| source.rate > 0).collect();
            from.sort_by_key(|source| std::cmp::Reverse(source.rate));
            from.truncate(MAX_SOURCES);
        }
        self.seen = Some((now, status.sent, status.sources.clone()));
        let Status { have, pieces, size, rate, .. } = *status;
        // What comes in after the last look is not of this moment.
        let down = if have == pieces { 0 } else { rate };
        PeerProgress { have, pieces, size, down, up, from }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        let looked = self.seen.as_ref().map(|(then, ..)| *then);
        now < self.until && looked.is_none_or(|then| now.duration_since(then) >= PERIOD)
    }

    /// What is to be told now, if that is due.
    pub(super) fn tells(&mut self, now: Instant, status: &Status) -> Option<PeerProgress> {
        let progress = self.look(now, status);
        let is_known =
            self.last.as_ref().is_some_and(|(then, told)| *told == progress && now.duration_since(*then) < AGAIN);
        if is_known {
            return None;
        }
        self.last = Some((now, progress.clone()));
        Some(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::of_public_key(&[n])
    }

    #[test]
    fn rates_are_of_the_time_since_the_last_look_and_the_largest_sources_come_first() {
        let now = Instant::now();
        let mut told = Told::nothing(now + AGAIN);
        let status = |have, sent, sources: &[(u8, u64)]| Status {
            have,
            pieces: 10,
            sent,
            sources: sources.iter().map(|&(n, bytes)| (peer(n), bytes)).collect(),
            ..Status::default()
        };
        let first = told.tells(now, &status(1, 100, &[(1, 50)])).unwrap();
        assert_eq!((first.up, first.from), (0, vec![]));
        assert!(!told.is_due(now + PERIOD / 2) && told.is_due(now + PERIOD));
        let sources = [(1, 60), (2, 500), (3, 30), (4, 40), (5, 70), (6, 0)];
        let second = told.tells(now + PERIOD, &status(2, 300, &sources)).unwrap();
        let rates: Vec<_> = second.from.iter().map(|source| source.rate).collect();
        assert_eq!((second.up, rates), (200, vec![500, 70, 40, 30]));
        assert!(!told.is_due(now + AGAIN), "nobody watches any more");
    }

    #[test]
    fn what_stays_as_it_is_is_said_again_only_after_a_while() {
        let now = Instant::now();
        let mut told = Told::nothing(now + AGAIN * 9);
        let status = Status { have: 10, pieces: 10, ..Status::default() };
        let said: Vec<_> = (0..12).filter(|n| told.tells(now + PERIOD * *n, &status).is_some()).collect();
        assert_eq!(said, [0, 5, 10]);
    }
}
