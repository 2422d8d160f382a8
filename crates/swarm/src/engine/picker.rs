//! Which piece next: rarest first with random ties (Cohen, "Incentives build robustness in BitTorrent", 2003).
//!
//! Open pieces (missing, and nobody was asked for them) lie in buckets by how many connected peers have them. A
//! peer that has everything changes the order of nothing, so it is only counted: a seeder that joins costs O(1),
//! not a step a piece.

use protocol::{PieceSet, Run};

#[derive(Debug, Default)]
pub(super) struct Picker {
    /// Peers, other than those that have everything, that have the piece.
    counts: Vec<u16>,
    /// Peers that have every piece.
    complete: u32,
    /// Open pieces by count.
    buckets: Vec<Vec<u32>>,
    /// Where in its bucket an open piece lies; `CLOSED` otherwise.
    positions: Vec<u32>,
}

const CLOSED: u32 = u32::MAX;

impl Picker {
    /// For a peer that has `have` and lacks the rest.
    pub(super) fn new(have: &PieceSet) -> Self {
        let pieces = have.len() as usize;
        let mut picker = Picker { counts: vec![0; pieces], positions: vec![CLOSED; pieces], ..Picker::default() };
        have.missing().for_each(|piece| picker.open(piece));
        picker
    }

    /// A peer with these pieces takes part. Whether it was counted as one that has everything: to be given to
    /// [`Picker::left`].
    pub(super) fn joined(&mut self, have: &PieceSet) -> bool {
        let complete = have.is_full() && !have.is_empty();
        if complete {
            self.complete += 1;
        } else {
            have.iter().for_each(|piece| self.change(piece, 1));
        }
        complete
    }

    /// A peer got a piece.
    pub(super) fn gained(&mut self, piece: u32) {
        self.change(piece, 1);
    }

    /// A peer with these pieces is gone.
    pub(super) fn left(&mut self, have: &PieceSet, complete: bool) {
        if complete {
            self.complete -= 1;
        } else {
            have.iter().for_each(|piece| self.change(piece, -1));
        }
    }

    /// How many connected peers have the piece.
    pub(super) fn availability(&self, piece: u32) -> u32 {
        u32::from(self.counts[piece as usize]) + self.complete
    }

    /// Nobody is asked for the piece any more, and it is missing.
    pub(super) fn open(&mut self, piece: u32) {
        if self.positions[piece as usize] == CLOSED {
            self.place(piece);
        }
    }

    /// The piece was asked for, or is here.
    pub(super) fn close(&mut self, piece: u32) {
        if self.positions[piece as usize] != CLOSED {
            self.lift(piece);
        }
    }

    /// The rarest open piece that `theirs` has, ties broken at random, and the open pieces around it that are no
    /// more common, or at least in the same block of `block` pieces: up to `most` pieces in one run.
    pub(super) fn pick(&self, theirs: &PieceSet, most: u32, block: u32, rng: &mut fastrand::Rng) -> Option<Run> {
        let first = self.rarest(theirs, rng)?;
        let (count, block) = (self.counts[first as usize], block.max(1));
        let fits = |piece: u32| {
            let near = piece / block == first / block || self.counts[piece as usize] <= count;
            near && theirs.contains(piece) && self.positions[piece as usize] != CLOSED
        };
        // Start at a boundary of `most` where possible, so that runs leave few holes behind.
        let aligned = first - first % most.max(1);
        let start = (aligned..first).rev().take_while(|&piece| fits(piece)).last().unwrap_or(first);
        let end = (first + 1..self.counts.len() as u32).take_while(|&piece| piece - start < most && fits(piece)).last();
        Some(Run { first: start, count: end.unwrap_or(first) - start + 1 })
    }

    fn rarest(&self, theirs: &PieceSet, rng: &mut fastrand::Rng) -> Option<u32> {
        for bucket in self.buckets.iter().filter(|bucket| !bucket.is_empty()) {
            let turn = rng.usize(..bucket.len());
            let found = bucket[turn..].iter().chain(&bucket[..turn]).find(|&&piece| theirs.contains(piece));
            if found.is_some() {
                return found.copied();
            }
        }
        None
    }

    fn change(&mut self, piece: u32, by: i32) {
        let open = self.positions[piece as usize] != CLOSED;
        if open {
            self.lift(piece);
        }
        let count = &mut self.counts[piece as usize];
        *count = (i32::from(*count) + by).clamp(0, i32::from(u16::MAX)) as u16;
        if open {
            self.place(piece);
        }
    }

    fn place(&mut self, piece: u32) {
        let bucket = usize::from(self.counts[piece as usize]);
        if self.buckets.len() <= bucket {
            self.buckets.resize_with(bucket + 1, Vec::new);
        }
        self.positions[piece as usize] = self.buckets[bucket].len() as u32;
        self.buckets[bucket].push(piece);
    }

    fn lift(&mut self, piece: u32) {
        let bucket = &mut self.buckets[usize::from(self.counts[piece as usize])];
        let position = std::mem::replace(&mut self.positions[piece as usize], CLOSED);
        bucket.swap_remove(position as usize);
        if let Some(&moved) = bucket.get(position as usize) {
            self.positions[moved as usize] = position;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(len: u32, pieces: &[u32]) -> PieceSet {
        let mut set = PieceSet::empty(len);
        pieces.iter().for_each(|&piece| {
            set.insert(piece);
        });
        set
    }

    #[test]
    fn the_rarest_piece_comes_first() {
        let mut picker = Picker::new(&PieceSet::empty(4));
        picker.joined(&PieceSet::full(4));
        picker.joined(&set(4, &[0, 1, 3]));
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(picker.pick(&PieceSet::full(4), 1, 1, &mut rng), Some(Run { first: 2, count: 1 }));
        picker.close(2);
        picker.left(&set(4, &[0, 1, 3]), false);
        picker.joined(&set(4, &[0, 1]));
        assert_eq!(picker.pick(&PieceSet::full(4), 1, 1, &mut rng), Some(Run { first: 3, count: 1 }));
        assert_eq!(picker.availability(3), 1);
    }

    #[test]
    fn ties_are_broken_at_random() {
        let picker = Picker::new(&PieceSet::empty(64));
        let theirs = PieceSet::full(64);
        let picks: std::collections::BTreeSet<_> = (0..100)
            .filter_map(|seed| picker.pick(&theirs, 1, 1, &mut fastrand::Rng::with_seed(seed)))
            .map(|run| run.first)
            .collect();
        assert!(picks.len() > 30, "{picks:?}");
    }

    #[test]
    fn runs_hold_only_open_pieces_that_they_have() {
        let mut picker = Picker::new(&set(100, &[10]));
        picker.close(20);
        let theirs = set(100, &(5..40).collect::<Vec<_>>());
        for seed in 0..50 {
            let run = picker.pick(&theirs, 8, 1, &mut fastrand::Rng::with_seed(seed)).unwrap();
            assert!(run.count >= 1 && run.count <= 8);
            assert!(run.pieces().all(|piece| theirs.contains(piece) && piece != 10 && piece != 20), "{run:?}");
        }
    }

    #[test]
    fn nothing_is_picked_from_a_peer_without_open_pieces() {
        let picker = Picker::new(&set(8, &[0, 1]));
        assert_eq!(picker.pick(&set(8, &[0, 1]), 4, 1, &mut fastrand::Rng::with_seed(1)), None);
    }
}
