//! Which pieces are open (missing, and nobody was asked for them), and how many peers have them.
//!
//! A peer that has everything changes the order of nothing, so it is only counted: a seeder that joins costs O(1),
//! not a step a piece.

use protocol::{PieceSet, Run};

use super::rarity::Rarity;

#[derive(Debug, Default)]
pub(super) struct Picker {
    /// Open pieces by how many peers have them, other than those that have everything.
    open: Rarity,
    /// Peers that have every piece.
    complete: u32,
}

impl Picker {
    /// For a peer that has `have` and lacks the rest.
    pub(super) fn new(have: &PieceSet) -> Self {
        let mut open = Rarity::new(have.len());
        have.missing().for_each(|piece| open.list(piece));
        Picker { open, complete: 0 }
    }

    /// A peer with these pieces takes part. Whether it was counted as one that has everything: to be given to
    /// [`Picker::left`].
    pub(super) fn joined(&mut self, have: &PieceSet) -> bool {
        let complete = have.is_full() && !have.is_empty();
        if complete {
            self.complete += 1;
        } else {
            have.iter().for_each(|piece| self.open.change(piece, 1));
        }
        complete
    }

    /// A peer got a piece.
    pub(super) fn gained(&mut self, piece: u32) {
        self.open.change(piece, 1);
    }

    /// A peer with these pieces is gone.
    pub(super) fn left(&mut self, have: &PieceSet, complete: bool) {
        if complete {
            self.complete -= 1;
        } else {
            have.iter().for_each(|piece| self.open.change(piece, -1));
        }
    }

    /// How many connected peers have the piece.
    pub(super) fn availability(&self, piece: u32) -> u32 {
        self.open.count(piece) + self.complete
    }

    /// Nobody is asked for the piece any more, and it is missing.
    pub(super) fn open(&mut self, piece: u32) {
        self.open.list(piece);
    }

    /// The piece was asked for, or is here.
    pub(super) fn close(&mut self, piece: u32) {
        self.open.unlist(piece);
    }

    /// Whether the piece is missing and nobody was asked for it.
    pub(super) fn is_open(&self, piece: u32) -> bool {
        self.open.listed(piece)
    }

    /// A run of up to `most` open pieces of `theirs` around the rarest.
    pub(super) fn pick(&self, theirs: &PieceSet, most: u32, rng: &mut fastrand::Rng) -> Option<Run> {
        let first = self.open.rarest(u32::MAX, rng, |piece| theirs.contains(piece))?;
        Some(self.open.around(first, most, 1, |piece| theirs.contains(piece)))
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
    fn peers_that_have_everything_count_for_every_piece() {
        let mut picker = Picker::new(&PieceSet::empty(4));
        picker.joined(&PieceSet::full(4));
        picker.joined(&set(4, &[0, 1, 3]));
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(picker.pick(&PieceSet::full(4), 1, &mut rng), Some(Run { first: 2, count: 1 }));
        picker.close(2);
        picker.left(&set(4, &[0, 1, 3]), false);
        picker.joined(&set(4, &[0, 1]));
        assert_eq!(picker.pick(&PieceSet::full(4), 1, &mut rng), Some(Run { first: 3, count: 1 }));
        assert_eq!(picker.availability(3), 1);
    }

    #[test]
    fn nothing_is_picked_from_a_peer_without_open_pieces() {
        let picker = Picker::new(&set(8, &[0, 1]));
        assert_eq!(picker.pick(&set(8, &[0, 1]), 4, &mut fastrand::Rng::with_seed(1)), None);
    }
}
