//! The other side's part in one content: what it has, what is on its way to it, and what it was promised.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{PieceRange, PieceSet};

use super::in_flight::InFlight;
use super::peers::flood::Granted;
use super::upload::promises::{Promise, Stage};

/// The other side's part in one content.
#[derive(Debug, Default)]
pub(crate) struct Participation {
    /// What it has. Without a manifest on either end its length is 0.
    pub(crate) have: PieceSet,
    /// Whether the picker counts it among those that have everything.
    pub(crate) complete: bool,
    /// Whether it said that it has the manifest.
    pub(crate) manifest: bool,
    /// How many pieces it had when it first said which it has.
    pub(crate) came_with: Option<u32>,
    /// Whether it wants what it lacks.
    pub(crate) takes: bool,
    /// How often its manifest did not come.
    pub(crate) manifest_failures: u32,
    /// When it may be asked again for one that did not come: it may have been the link.
    pub(crate) manifest_again: Duration,
    /// What it said is on its way to it.
    pub(super) in_flight: InFlight,
    /// What it said that it will never ask for; of no length until it says so.
    pub(super) skipped: PieceSet,
    /// What we have promised it, and it has not said that it has.
    pub(crate) promised: BTreeMap<u32, Promise>,
    /// Whether `Content::spread` counts it.
    pub(super) counted: bool,
    /// For how many pieces of it there is work for nothing.
    pub(super) granted: Granted,
    /// When it last said that it has something new.
    pub(crate) grew: Duration,
    /// Its turn among all who ever took part, and the last turn of those that it was told of: a list of whom it knows
    /// would be the largest thing that an engine keeps.
    pub(crate) joined: u64,
    pub(crate) told: u64,
}

impl Participation {
    /// It said that it has the manifest. What it was offered before it can only answer from now on.
    pub(super) fn has_manifest(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.manifest, true) {
            let offered = self.promised.values_mut().filter(|promise| promise.stage == Stage::Offered);
            offered.for_each(|promise| promise.since = now);
        }
    }

    /// Pieces that it is to have in the end, as far as it has said.
    pub(crate) fn wanted(&self) -> u32 {
        self.have.len() - self.skipped.count_without(&self.have)
    }

    /// The content is gone, and with it what was counted of this side.
    pub(super) fn forget_counts(&mut self) {
        (self.counted, self.complete) = (false, false);
    }

    /// How many pieces change if it says that these are on their way to it.
    pub(crate) fn in_flight_changes(&self, said: &[PieceRange]) -> u64 {
        // What does not exist is refused anyway.
        let valid = said.iter().all(|run| run.lies_within(self.have.len()));
        if valid { self.in_flight.changes(&InFlight::new(said)) } else { 0 }
    }

    /// Whether it has any of these.
    pub(crate) fn has_any(&self, pieces: &PieceSet) -> bool {
        self.have.count_without(pieces) < self.have.count()
    }

    /// Whether the piece is on its way to it, or we promised it.
    pub(crate) fn expects(&self, piece: u32) -> bool {
        self.in_flight.contains(piece) || self.promised.contains_key(&piece)
    }

    /// How many pieces it said are on their way to it.
    pub(crate) fn coming(&self) -> u64 {
        self.in_flight.len()
    }

    /// Whether it has the piece or will have it, or does not want it: there is nothing to give.
    pub(crate) fn gets(&self, piece: u32) -> bool {
        let (here, skipped) = (self.have.contains(piece), self.skipped.contains(piece));
        here || skipped || self.expects(piece)
    }

    /// The pieces that it gets, each once.
    pub(super) fn gets_all(&self) -> impl Iterator<Item = u32> + '_ {
        let in_flight = self.in_flight.pieces().filter(|&piece| !self.have.contains(piece));
        let promised = self.promised.keys().copied();
        let promised = promised.filter(|&piece| !self.have.contains(piece) && !self.in_flight.contains(piece));
        let skipped = self.skipped.iter().filter(|&piece| {
            let gets = self.have.contains(piece) || self.in_flight.contains(piece);
            !gets && !self.promised.contains_key(&piece)
        });
        self.have.iter().chain(in_flight).chain(promised).chain(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_that_a_peer_gets_is_named_once() {
        let run = |first, count| PieceRange { first, count };
        let set = |run| {
            let mut set = PieceSet::empty(10);
            set.insert_run(run);
            set
        };
        let promise = Promise { since: Duration::ZERO, stage: Stage::Offered };
        let theirs = Participation {
            have: set(run(0, 3)),
            in_flight: InFlight::new(&[run(2, 3)]),
            promised: (4..7).map(|piece| (piece, promise)).collect(),
            skipped: set(run(0, 9)),
            ..Participation::default()
        };
        let mut all: Vec<u32> = theirs.gets_all().collect();
        all.sort_unstable();
        assert_eq!(all, (0..9).collect::<Vec<_>>());
        assert!((0..10).all(|piece| theirs.gets(piece) == (piece < 9)));
    }

    #[test]
    fn offers_from_before_the_manifest_wait_from_then_on() {
        let mut theirs = Participation::default();
        theirs.promised.insert(1, Promise { since: Duration::ZERO, stage: Stage::Offered });
        theirs.promised.insert(2, Promise { since: Duration::ZERO, stage: Stage::Asked });
        theirs.has_manifest(Duration::from_secs(9));
        theirs.has_manifest(Duration::from_secs(99));
        let since: Vec<u64> = theirs.promised.values().map(|promise| promise.since.as_secs()).collect();
        assert_eq!(since, [9, 0]);
    }
}
