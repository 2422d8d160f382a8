//! Which pieces are open (missing, and nobody was asked for them), and how many peers have them.
//!
//! A peer that has everything changes the order of nothing, so it is only counted: a seeder that joins costs O(1),
//! not a step a piece.

use protocol::{PieceRange, PieceSet};

use crate::engine::rarity::Rarity;

#[derive(Debug, Default)]
pub(crate) struct Picker {
    /// Open pieces by how many peers have them, other than those that have everything.
    open: Rarity,
    /// Peers that have every piece.
    complete: u32,
}

impl Picker {
    /// For a peer that wants these pieces of `len`.
    pub(crate) fn new(len: u32, wanted: impl Iterator<Item = u32>) -> Self {
        let mut open = Rarity::new(len);
        wanted.for_each(|piece| open.list(piece));
        Picker { open, complete: 0 }
    }

    /// A peer with these pieces takes part. Whether it was counted as one that has everything: to be given to
    /// [`Picker::left`].
    pub(crate) fn joined(&mut self, have: &PieceSet) -> bool {
        let complete = have.is_full() && !have.is_empty();
        if complete {
            self.complete += 1;
        } else {
            have.iter().for_each(|piece| self.open.change(piece, 1));
        }
        complete
    }

    /// A peer got a piece.
    pub(crate) fn gained(&mut self, piece: u32) {
        self.open.change(piece, 1);
    }

    /// A peer with these pieces is gone.
    pub(crate) fn left(&mut self, have: &PieceSet, complete: bool) {
        if complete {
            self.complete -= 1;
        } else {
            have.iter().for_each(|piece| self.open.change(piece, -1));
        }
    }

    /// How many connected peers have the piece.
    pub(crate) fn availability(&self, piece: u32) -> u32 {
        self.open.count(piece) + self.complete
    }

    /// Nobody is asked for the piece any more, and it is missing.
    pub(crate) fn open(&mut self, piece: u32) {
        self.open.list(piece);
    }

    /// The piece was asked for, or is here.
    pub(crate) fn close(&mut self, piece: u32) {
        self.open.unlist(piece);
    }

    /// Whether any piece is missing that nobody was asked for.
    pub(crate) fn any_open(&self) -> bool {
        self.open.any_listed()
    }

    /// Whether the piece is missing and nobody was asked for it.
    pub(crate) fn is_open(&self, piece: u32) -> bool {
        self.open.listed(piece)
    }

    /// Whether anyone has every piece.
    pub(crate) fn has_complete(&self) -> bool {
        self.complete > 0
    }

    /// Whether nobody has the piece but those who have everything.
    pub(crate) fn is_at_seeders_only(&self, piece: u32) -> bool {
        self.open.count(piece) == 0
    }

    /// A run of up to `most` open pieces that nobody has but those who have everything, and that fit. No more than so many are
    /// looked at.
    pub(crate) fn pick_lacking(
        &self,
        most: u32,
        looks: usize,
        rng: &mut fastrand::Rng,
        fits: impl Fn(u32) -> bool,
    ) -> Option<PieceRange> {
        let first = self.look(1, &mut { looks }, rng, |piece| Some(fits(piece)))?;
        Some(self.open.around(first, most, 1, fits))
    }

    /// A run of up to `most` open pieces, the rarest first.
    pub(crate) fn pick_any(&self, most: u32, rng: &mut fastrand::Rng) -> Option<PieceRange> {
        let first = self.open.rarest(u32::MAX, rng, |_| true)?;
        Some(self.open.around(first, most, 1, |_| true))
    }

    /// A run of up to `most` open pieces of `theirs` that fit, around the rarest. Each of theirs that is looked at is one look less.
    pub(crate) fn pick(
        &self,
        theirs: &PieceSet,
        most: u32,
        looks: &mut usize,
        rng: &mut fastrand::Rng,
        fits: impl Fn(u32) -> bool,
    ) -> Option<PieceRange> {
        let first = self.look(u32::MAX, looks, rng, |piece| theirs.contains(piece).then(|| fits(piece)))?;
        Some(self.open.around(first, most, 1, |piece| theirs.contains(piece) && fits(piece)))
    }

    /// The rarest open piece that fits, of those that fewer than so many peers have. Each piece for which there is an answer is one look less;
    /// without looks left, nothing is found.
    fn look(
        &self,
        below: u32,
        looks: &mut usize,
        rng: &mut fastrand::Rng,
        fits: impl Fn(u32) -> Option<bool>,
    ) -> Option<u32> {
        let mut found = None;
        self.open.rarest(below, rng, |piece| {
            if *looks > 0
                && let Some(fits) = fits(piece)
            {
                *looks -= 1;
                found = fits.then_some(piece);
            }
            found.is_some() || *looks == 0
        });
        found
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
        let mut picker = Picker::new(4, 0..4);
        picker.joined(&PieceSet::full(4));
        picker.joined(&set(4, &[0, 1, 3]));
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(
            picker.pick(&PieceSet::full(4), 1, &mut 9, &mut rng, |_| true),
            Some(PieceRange { first: 2, count: 1 })
        );
        picker.close(2);
        picker.left(&set(4, &[0, 1, 3]), false);
        picker.joined(&set(4, &[0, 1]));
        assert_eq!(
            picker.pick(&PieceSet::full(4), 1, &mut 9, &mut rng, |_| true),
            Some(PieceRange { first: 3, count: 1 })
        );
        assert_eq!(picker.availability(3), 1);
    }

    #[test]
    fn nothing_is_picked_from_a_peer_without_open_pieces() {
        let picker = Picker::new(8, 2..8);
        assert_eq!(picker.pick(&set(8, &[0, 1]), 4, &mut 9, &mut fastrand::Rng::with_seed(1), |_| true), None);
    }

    /// Any sequence of peers that come, get pieces and go, beside plain counts.
    #[test]
    fn what_is_picked_is_open_theirs_and_of_the_rarest_whatever_happened_before() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let len = random.u32(1..80);
            let some = |random: &mut fastrand::Rng| {
                let all = random.u8(..8) == 0;
                set(len, &(0..len).filter(|_| all || random.bool()).collect::<Vec<_>>())
            };
            let have = some(&mut random);
            let (mut picker, mut open) = (Picker::new(len, have.missing()), have.missing().collect::<PieceSet>());
            open.resize(len);
            let mut peers: Vec<(PieceSet, bool)> = Vec::new();
            for _ in 0..100 {
                let piece = random.u32(..len);
                match random.u8(..6) {
                    0 => {
                        let theirs = some(&mut random);
                        let complete = picker.joined(&theirs);
                        peers.push((theirs, complete));
                    }
                    1 if !peers.is_empty() => {
                        let (theirs, complete) = peers.swap_remove(random.usize(..peers.len()));
                        picker.left(&theirs, complete);
                    }
                    2 if !peers.is_empty() => {
                        let at = random.usize(..peers.len());
                        if peers[at].0.insert(piece) && !peers[at].1 {
                            picker.gained(piece);
                        }
                    }
                    3 => {
                        picker.close(piece);
                        open.remove(piece);
                    }
                    4 if !have.contains(piece) => {
                        picker.open(piece);
                        open.insert(piece);
                    }
                    _ => {}
                }
                let holders = |piece| peers.iter().filter(|(theirs, _)| theirs.contains(piece)).count() as u32;
                let (theirs, most) = (some(&mut random), random.u32(1..10));
                let rarest = open.iter().filter(|&piece| theirs.contains(piece)).map(holders).min();
                let picked = picker.pick(&theirs, most, &mut usize::MAX.to_owned(), &mut random, |_| true);
                assert_eq!(picked.is_some(), rarest.is_some(), "seed {seed}");
                let Some(run) = picked else { continue };
                assert!((1..=most).contains(&run.count), "seed {seed}: {run:?} of at most {most}");
                assert!(
                    run.pieces().all(|piece| open.contains(piece) && theirs.contains(piece)),
                    "seed {seed}: {run:?}"
                );
                assert!(run.pieces().all(|piece| Some(holders(piece)) == rarest), "seed {seed}: {run:?}");
                assert!(run.pieces().all(|piece| picker.availability(piece) == holders(piece)), "seed {seed}: {run:?}");
            }
        }
    }
}
