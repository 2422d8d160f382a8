//! A seeder that shares what an origin has: it gives a piece once it has read it, and reads with it all of the part that the piece is in.
//! If that is in order, it asks for the next part soon enough for the answer to begin when this one ends.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use protocol::{PieceRange, PieceSet};
use swarm::{RequestId, ServeId};

use super::transfers::TransferId;
use super::{PeerIx, World};
use crate::queue::Time;

/// Bytes of a part, and how many are read at a time, as `crates/origins` reads them.
pub(super) const PART: u64 = 4 << 20;
const READS: usize = 6;
/// A part is read ahead when the one before will be here within so many times what it takes to begin.
const AHEAD: Time = 2;

/// What such a seeder has read.
pub(super) struct PartReader {
    here: PieceSet,
    /// When each part was first wanted, and those of them whose turn has not come.
    wanted: BTreeMap<u32, Time>,
    queue: VecDeque<u32>,
    reading: usize,
    /// Answers that wait for pieces.
    waiting: Vec<ServeId>,
}

impl PartReader {
    pub(super) fn new(pieces: u32) -> Self {
        PartReader {
            here: PieceSet::empty(pieces),
            wanted: BTreeMap::new(),
            queue: VecDeque::new(),
            reading: 0,
            waiting: Vec::new(),
        }
    }

    fn has_all(&self, run: PieceRange) -> bool {
        run.pieces().all(|piece| self.here.contains(piece))
    }

    fn want(&mut self, part: u32, now: Time) {
        if let Entry::Vacant(wanted) = self.wanted.entry(part) {
            wanted.insert(now);
            self.queue.push_back(part);
        }
    }

    /// Whether what is left of a part comes within so long.
    fn is_nearly_here(&self, part: PieceRange, took: Time, within: Time) -> bool {
        let came = part.pieces().filter(|&piece| self.here.contains(piece)).count() as Time;
        came > 0 && took * (Time::from(part.count) - came) / came <= within
    }
}

impl World {
    fn part_pieces(&self) -> u32 {
        (PART / u64::from(self.contents[0].geometry.piece_size())).max(1) as u32
    }

    /// Whether an answer of a peer waits until its pieces have been read.
    pub(super) fn is_read_first(&mut self, peer: PeerIx, serve: ServeId, run: PieceRange) -> bool {
        let (now, size, lead) = (self.now, self.part_pieces(), 2 * self.latency_of_origin(peer));
        let pieces = self.contents[0].geometry.pieces();
        let count = pieces.div_ceil(size);
        let of_part = |part: u32| PieceRange { first: part * size, count: size.min(pieces - part * size) };
        let Some(parts) = &mut self.peers[peer as usize].parts else { return false };
        for part in run.first / size..=(run.first + run.count - 1) / size {
            parts.want(part, now);
            let took = now.saturating_sub(parts.wanted[&part] + lead);
            // The last one comes before the first.
            let is_in_order = parts.has_all(of_part((part + count - 1) % count));
            if is_in_order && parts.is_nearly_here(of_part(part), took, AHEAD * lead) {
                parts.want((part + 1) % count, now);
            }
        }
        let is_here = parts.has_all(run);
        if !is_here {
            parts.waiting.push(serve);
        }
        self.read_parts(peer);
        !is_here
    }

    fn read_parts(&mut self, peer: PeerIx) {
        let (size, pieces) = (self.part_pieces(), self.contents[0].geometry.pieces());
        while let Some(parts) = self.peers[peer as usize].parts.as_mut().filter(|parts| parts.reading < READS)
            && let Some(part) = parts.queue.pop_front()
        {
            parts.reading += 1;
            let first = part * size;
            let run = PieceRange { first, count: size.min(pieces - first) };
            // It makes no requests of its own.
            self.ask_origin(peer, RequestId::from(part), self.contents[0].id, run);
        }
    }

    /// More of a part has come.
    pub(super) fn part_came(&mut self, peer: PeerIx, id: TransferId, piece: Option<u32>, last: bool) {
        let Some(parts) = &mut self.peers[peer as usize].parts else { return };
        if let Some(piece) = piece {
            parts.here.insert(piece);
        }
        parts.reading -= usize::from(last);
        let waiting = std::mem::take(&mut parts.waiting);
        if last {
            self.stop_asking(id);
            self.read_parts(peer);
        }
        for serve in waiting {
            self.serve(peer, serve);
        }
    }
}
