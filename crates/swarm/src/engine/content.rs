//! One content of this peer: which pieces are here, which are wanted, and how many others have each.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::{Geometry, PieceRange, PieceSet};

use super::download::first_pieces::FirstPieces;
use super::download::origin::Origin;
use super::download::picker::Picker;
use super::download::windows::Readers;
use super::in_flight::InFlight;
use super::manifest_fetches::ManifestFetches;
use super::participation::Participation;
use super::peers::known::KnownPeers;
use super::rarity::Rarity;
use crate::event::RequestId;

/// So many requests that were given up are remembered.
const GIVEN_UP: usize = 256;

/// One content of this peer.
pub(crate) struct Content {
    pub(crate) geometry: Option<Arc<Geometry>>,
    pub(crate) have: PieceSet,
    /// The pieces that are to be here, how many of them lack, and whether one does, or it is not known yet which there are.
    pub(crate) goal: PieceSet,
    pub(crate) lacked: u32,
    pub(crate) wanted: bool,
    pub(crate) picker: Picker,
    /// What those want next who read it here.
    pub(crate) readers: Readers,
    /// How many requests owe each piece.
    asked: Vec<u8>,
    /// Pieces that somebody was asked for in vain: they wait for nobody else who has not proven itself.
    pub(crate) moved: BTreeSet<u32>,
    /// The last requests that were given up: pieces of them may be on their way to the disk.
    given_up: VecDeque<RequestId>,
    /// The pieces that are here, by how many of those who take them have them or will have them.
    pub(crate) spread: Rarity,
    /// Connected peers that want pieces.
    pub(crate) takers: u32,
    /// Whether, when all of them were last looked at, many looks found nothing to offer.
    pub(crate) offers_in_vain: bool,
    /// The turn of the last peer that began to take part, or a later one.
    pub(crate) newest: u64,
    /// When something was last under way, or was offered.
    pub(crate) busy: Duration,
    /// When a piece was last stored.
    pub(crate) grew: Duration,
    /// Noted while nothing is stored: when, and which open pieces peers near had then.
    pub(crate) withheld: Option<(Duration, PieceSet)>,
    /// When a proven peer of another site last sent something of it.
    pub(crate) far_heard: Duration,
    /// Where it can be read beside peers.
    pub(crate) origin: Option<Origin>,
    pub(crate) known: KnownPeers,
    /// When the tracker was last asked for more peers, or something last came; and how often it was asked since then.
    pub(crate) searched: Option<Duration>,
    pub(crate) searches: u32,
    pub(crate) manifests: ManifestFetches,
    /// What was asked for together with the manifest.
    pub(crate) first: FirstPieces,
    /// Pieces that nobody was told of yet, and when everyone is told of them and of what is on its way.
    pub(crate) unannounced: BTreeSet<u32>,
    pub(crate) announce_at: Option<Duration>,
    /// The pieces that were last said to be with nobody, and since when some are.
    pub(crate) lacking: Vec<PieceRange>,
    pub(crate) lacking_since: Option<Duration>,
}

impl Content {
    pub(crate) fn new(geometry: Option<Arc<Geometry>>, have: PieceSet, goal: PieceSet) -> Self {
        let lacking = || have.missing().filter(|&piece| goal.contains(piece));
        let lacked = lacking().count() as u32;
        let wanted = geometry.is_none() || lacked > 0;
        let picker = Picker::new(have.len(), lacking());
        let mut spread = Rarity::new(have.len());
        have.iter().for_each(|piece| spread.list(piece));
        Content {
            asked: vec![0; have.len() as usize],
            readers: Readers::default(),
            moved: BTreeSet::new(),
            given_up: VecDeque::new(),
            spread,
            takers: 0,
            offers_in_vain: false,
            newest: 0,
            busy: Duration::ZERO,
            grew: Duration::ZERO,
            withheld: None,
            far_heard: Duration::ZERO,
            origin: None,
            geometry,
            have,
            goal,
            lacked,
            wanted,
            picker,
            known: KnownPeers::default(),
            searched: None,
            searches: 0,
            manifests: ManifestFetches::default(),
            first: FirstPieces::default(),
            unannounced: BTreeSet::new(),
            announce_at: None,
            lacking: Vec::new(),
            lacking_since: None,
        }
    }

    /// A content that is wanted and of which nothing is known.
    pub(crate) fn unknown() -> Self {
        Content::new(None, PieceSet::empty(0), PieceSet::empty(0))
    }

    /// Whether something is here that somebody who wants pieces does not get.
    pub(crate) fn has_to_give(&self) -> bool {
        self.spread.any_listed_below(self.takers)
    }

    /// The pieces that are neither here nor wanted.
    pub(crate) fn unwanted(&self) -> Vec<PieceRange> {
        self.have.missing().filter(|&piece| !self.goal.contains(piece)).collect::<PieceSet>().runs()
    }

    pub(crate) fn pieces(&self) -> u32 {
        self.geometry.as_ref().map_or(0, |geometry| geometry.pieces())
    }

    /// Bytes of all pieces; 0 while the manifest is unknown.
    pub(crate) fn total(&self) -> u64 {
        self.geometry.as_ref().map_or(0, |geometry| geometry.total())
    }

    /// Bytes of a piece, at least 1.
    pub(crate) fn piece_size(&self) -> u64 {
        self.geometry.as_ref().map_or(1, |geometry| u64::from(geometry.piece_size()))
    }

    /// Bytes of a run.
    pub(crate) fn bytes(&self, run: PieceRange) -> u64 {
        self.geometry.as_ref().map_or(0, |geometry| geometry.bytes(run))
    }

    /// How many pieces from `first` have at most so many bytes; at least one.
    pub(crate) fn within(&self, first: u32, bytes: u64) -> u32 {
        self.geometry.as_ref().map_or(1, |geometry| geometry.pieces_within(first, bytes))
    }

    /// Everyone is told by then of what has changed; `first` is when that is so of any content.
    pub(crate) fn announce_by(&mut self, at: Duration, first: &mut Option<Duration>) {
        self.announce_at = Some(self.announce_at.map_or(at, |earlier| earlier.min(at)));
        *first = Some(first.map_or(at, |earlier| earlier.min(at)));
    }

    /// A request owes a piece.
    pub(crate) fn ask(&mut self, piece: u32) {
        self.picker.close(piece);
        let asked = &mut self.asked[piece as usize];
        *asked = asked.saturating_add(1);
    }

    /// A request does not owe a piece any more.
    pub(crate) fn unask(&mut self, piece: u32) {
        self.asked[piece as usize] -= 1;
    }

    /// How many requests owe a piece.
    pub(crate) fn asked(&self, piece: u32) -> u8 {
        self.asked[piece as usize]
    }

    /// The pieces that are wanted, not here, and asked of nobody.
    pub(crate) fn open(&self) -> PieceSet {
        let mut open = PieceSet::empty(self.have.len());
        let lacking = self.have.missing().filter(|&piece| self.goal.contains(piece) && self.asked(piece) == 0);
        lacking.for_each(|piece| {
            open.insert(piece);
        });
        open
    }

    /// One request less for a piece. Makes it open again unless it is here or someone else still owes it; whether it did.
    pub(crate) fn reopen(&mut self, piece: u32) -> bool {
        self.unask(piece);
        let open = self.asked(piece) == 0 && !self.have.contains(piece) && self.goal.contains(piece);
        if open {
            self.picker.open(piece);
            self.spread.unlist(piece);
        }
        open
    }

    /// A request was given up, but its last pieces may come all the same.
    pub(crate) fn give_up(&mut self, request: RequestId) {
        self.given_up.truncate(GIVEN_UP - 1);
        self.given_up.push_front(request);
    }

    /// Whether a request was given up, of late.
    pub(crate) fn has_given_up(&self, request: RequestId) -> bool {
        self.given_up.contains(&request)
    }

    /// Takes in what the other side said before the manifest was known here; false if it cannot be true.
    pub(crate) fn meet(&mut self, theirs: &mut Participation, pieces: u32) -> bool {
        if ![0, pieces].contains(&theirs.have.len()) {
            return false;
        }
        theirs.have.resize(pieces);
        theirs.complete = self.picker.joined(&theirs.have);
        theirs.counted = false;
        let takes = theirs.takes;
        self.count(theirs, takes);
        true
    }

    /// Counts a peer among those that get each piece, or not any more, as it wants pieces or not.
    pub(crate) fn count(&mut self, theirs: &mut Participation, takes: bool) {
        let known = self.geometry.is_some();
        theirs.takes = takes;
        let counts = known && takes;
        if counts == theirs.counted {
            return;
        }
        theirs.counted = counts;
        let by = if counts { 1 } else { -1 };
        self.takers = self.takers.saturating_add_signed(by);
        theirs.gets_all().for_each(|piece| self.spread.change(piece, by));
    }

    /// Changes what a peer has, expects or was promised, and keeps the counts right: `change` is told of one piece.
    pub(crate) fn update(&mut self, theirs: &mut Participation, piece: u32, change: impl FnOnce(&mut Participation)) {
        let before = theirs.gets(piece);
        change(theirs);
        let after = theirs.gets(piece);
        if theirs.counted && before != after {
            self.spread.change(piece, if after { 1 } else { -1 });
        }
    }

    /// Takes in what is on its way to a peer, and keeps the counts right: a step for each piece that changes.
    pub(crate) fn expect(&mut self, theirs: &mut Participation, in_flight: InFlight) {
        let before = std::mem::replace(&mut theirs.in_flight, in_flight);
        if !theirs.counted {
            return;
        }
        let else_gets = |piece: &u32| {
            theirs.have.contains(*piece) || theirs.skipped.contains(*piece) || theirs.promised.contains_key(piece)
        };
        for piece in before.without(&theirs.in_flight).into_iter().filter(|piece| !else_gets(piece)) {
            self.spread.change(piece, -1);
        }
        for piece in theirs.in_flight.without(&before).into_iter().filter(|piece| !else_gets(piece)) {
            self.spread.change(piece, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(have: PieceSet, goal: PieceSet) -> Content {
        Content::new(Some(Geometry::new(1024, vec![4096]).unwrap().into()), have, goal)
    }

    #[test]
    fn what_is_skipped_and_said_to_be_in_flight_is_counted_once() {
        let pieces = 4;
        let mut content = content(PieceSet::full(pieces), PieceSet::empty(0));
        let mut theirs = Participation {
            have: PieceSet::empty(pieces),
            skipped: PieceSet::empty(pieces),
            ..Participation::default()
        };
        content.count(&mut theirs, true);
        content.update(&mut theirs, 1, |theirs| {
            theirs.skipped.insert(1);
        });
        content.expect(&mut theirs, InFlight::new(&[PieceRange { first: 1, count: 1 }]));
        assert_eq!(content.spread.count(1), 1);
        content.expect(&mut theirs, InFlight::default());
        assert_eq!(content.spread.count(1), 1);
        content.count(&mut theirs, false);
        assert_eq!(content.spread.count(1), 0);
    }

    #[test]
    fn a_piece_is_open_again_when_nobody_owes_it() {
        let mut content = content(PieceSet::empty(4), PieceSet::full(4));
        content.ask(2);
        content.ask(2);
        assert!(!content.reopen(2) && !content.picker.is_open(2), "another request owes it");
        assert!(content.reopen(2) && content.picker.is_open(2));
    }

    #[test]
    fn requests_that_were_given_up_long_ago_are_forgotten() {
        let mut content = content(PieceSet::empty(4), PieceSet::full(4));
        (0..=GIVEN_UP as u64).for_each(|request| content.give_up(request));
        assert!(!content.has_given_up(0) && content.has_given_up(1) && content.has_given_up(GIVEN_UP as u64));
    }
}
