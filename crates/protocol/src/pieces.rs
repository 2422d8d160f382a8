//! Sets of pieces, and runs of them: how peers say what they have, and what they ask for.

use serde::{Deserialize, Serialize};

/// `count` consecutive pieces from `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PieceRange {
    /// The first piece.
    pub first: u32,
    /// How many pieces.
    pub count: u32,
}

impl PieceRange {
    /// The piece after the last; `None` if that does not fit.
    pub fn end(self) -> Option<u32> {
        self.first.checked_add(self.count)
    }

    /// Whether it has pieces, and all of them are among the first `len`.
    pub fn lies_within(self, len: u32) -> bool {
        self.count > 0 && self.end().is_some_and(|end| end <= len)
    }

    /// The pieces of the run. Call it on runs that were checked.
    pub fn pieces(self) -> std::ops::Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }
}

/// A set of pieces out of `len`, a bit each, with its size at hand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PieceSet {
    words: Vec<u64>,
    len: u32,
    count: u32,
}

impl PieceSet {
    /// No piece out of `len`.
    pub fn empty(len: u32) -> Self {
        PieceSet { words: vec![0; len.div_ceil(64) as usize], len, count: 0 }
    }

    /// All of `len` pieces.
    pub fn full(len: u32) -> Self {
        let mut set = PieceSet::empty(len);
        set.insert_run(PieceRange { first: 0, count: len });
        set
    }

    /// How many pieces there are in all.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// How many pieces are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many pieces are in this set and not in another: 64 pieces at a time.
    pub fn count_without(&self, other: &PieceSet) -> u32 {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words.iter().zip(others).map(|(word, other)| (word & !other).count_ones()).sum()
    }

    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether `piece` is in the set; pieces past the end never are.
    pub fn contains(&self, piece: u32) -> bool {
        piece < self.len && self.words[(piece / 64) as usize] >> (piece % 64) & 1 == 1
    }

    /// Puts `piece` in; false if it was there or lies past the end.
    pub fn insert(&mut self, piece: u32) -> bool {
        let new = piece < self.len && !self.contains(piece);
        if new {
            self.words[(piece / 64) as usize] |= 1 << (piece % 64);
            self.count += 1;
        }
        new
    }

    /// Takes `piece` out; false if it was not there.
    pub fn remove(&mut self, piece: u32) -> bool {
        let there = self.contains(piece);
        if there {
            self.words[(piece / 64) as usize] &= !(1 << (piece % 64));
            self.count -= 1;
        }
        there
    }

    /// Puts a whole run in, as far as it lies within the set's length: 64 pieces at a time.
    pub fn insert_run(&mut self, run: PieceRange) {
        let (mut at, end) = (run.first, run.first.saturating_add(run.count).min(self.len));
        while at < end {
            let (bit, count) = (at % 64, (64 - at % 64).min(end - at));
            let mask = (u64::MAX >> (64 - count)) << bit;
            let word = &mut self.words[(at / 64) as usize];
            self.count += (mask & !*word).count_ones();
            *word |= mask;
            at += count;
        }
    }

    /// Puts many runs in. However many there are, and however they overlap, no piece is touched twice.
    pub fn insert_runs(&mut self, mut runs: Vec<PieceRange>) {
        runs.sort_unstable_by_key(|run| run.first);
        let mut end = 0;
        for run in runs {
            let (first, stop) = (run.first.max(end), run.first.saturating_add(run.count));
            if first < stop {
                self.insert_run(PieceRange { first, count: stop - first });
                end = stop;
            }
        }
    }

    /// Adds all pieces of another set, 64 at a time. A set of another length adds nothing.
    pub fn insert_all(&mut self, other: &PieceSet) {
        if self.len == other.len {
            self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
            self.count = self.words.iter().map(|word| word.count_ones()).sum();
        }
    }

    /// Removes the pieces that are not in another set, 64 at a time.
    pub fn keep_only(&mut self, other: &PieceSet) {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words.iter_mut().zip(others).for_each(|(word, other)| *word &= other);
        self.count = self.words.iter().map(|word| word.count_ones()).sum();
    }

    /// Changes how many pieces there are; pieces past the new end leave the set.
    pub fn resize(&mut self, len: u32) {
        for piece in len..self.len {
            self.remove(piece);
        }
        self.words.resize(len.div_ceil(64) as usize, 0);
        self.len = len;
    }

    /// The pieces in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(index as u32 * 64 + bit)
            })
        })
    }

    /// The pieces that are not in the set, ascending.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter(|&piece| !self.contains(piece))
    }

    /// The set as the fewest runs, ascending.
    pub fn runs(&self) -> Vec<PieceRange> {
        runs_of(self.iter())
    }
}

/// Ascending pieces as the fewest runs.
pub(crate) fn runs_of(pieces: impl Iterator<Item = u32>) -> Vec<PieceRange> {
    let mut runs: Vec<PieceRange> = Vec::new();
    for piece in pieces {
        match runs.last_mut() {
            Some(run) if run.first + run.count == piece => run.count += 1,
            _ => runs.push(PieceRange { first: piece, count: 1 }),
        }
    }
    runs
}

impl FromIterator<u32> for PieceSet {
    /// The smallest set that holds these pieces.
    fn from_iter<I: IntoIterator<Item = u32>>(pieces: I) -> Self {
        let pieces: Vec<u32> = pieces.into_iter().collect();
        let mut set = PieceSet::empty(pieces.iter().max().map_or(0, |&last| last + 1));
        pieces.into_iter().for_each(|piece| {
            set.insert(piece);
        });
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_sets_say_the_same() {
        let mut set = PieceSet::empty(200);
        for piece in [0, 1, 2, 63, 64, 65, 130, 199] {
            assert!(set.insert(piece));
            assert!(!set.insert(piece));
        }
        assert!(!set.insert(200), "past the end");
        let runs = set.runs();
        assert_eq!(runs.len(), 4);
        let mut again = PieceSet::empty(200);
        runs.into_iter().for_each(|run| again.insert_run(run));
        assert_eq!(again, set);
        assert_eq!(set.missing().count() as u32 + set.count(), 200);
    }

    #[test]
    fn pieces_without_those_of_another_set_are_counted() {
        let set = |run| {
            let mut set = PieceSet::empty(200);
            set.insert_run(run);
            set
        };
        let (set, other) = (set(PieceRange { first: 60, count: 100 }), set(PieceRange { first: 0, count: 70 }));
        assert_eq!((set.count_without(&other), other.count_without(&set)), (90, 60));
        let none = PieceSet::default();
        assert_eq!((set.count_without(&none), none.count_without(&set)), (100, 0), "sets of other lengths");
    }

    #[test]
    fn only_runs_with_pieces_that_exist_lie_within() {
        let within = |first, count| PieceRange { first, count }.lies_within(10);
        assert!(within(0, 10) && within(9, 1));
        assert!(!within(9, 2) && !within(0, 0) && !within(u32::MAX, 1) && !within(1, u32::MAX));
    }

    #[test]
    fn a_run_past_the_end_is_cut_and_does_not_overflow() {
        let mut set = PieceSet::empty(10);
        set.insert_run(PieceRange { first: 8, count: u32::MAX });
        assert_eq!(set.count(), 2);
        set.insert_run(PieceRange { first: u32::MAX, count: u32::MAX });
        assert_eq!(set.count(), 2);
    }

    #[test]
    fn runs_that_overlap_are_put_in_like_one_by_one() {
        let runs =
            [(3, 70), (0, 5), (190, 20), (3, 70), (60, 1), (64, 64), (199, 1), (150, 0), (200, 9), (5, u32::MAX)];
        for len in [0, 1, 63, 64, 65, 128, 200] {
            for count in 0..=runs.len() {
                let runs: Vec<_> = runs[..count].iter().map(|&(first, count)| PieceRange { first, count }).collect();
                let mut expected = PieceSet::empty(len);
                for run in &runs {
                    (run.first..run.first.saturating_add(run.count).min(len)).for_each(|piece| {
                        expected.insert(piece);
                    });
                }
                let (mut together, mut one_by_one) = (PieceSet::empty(len), PieceSet::empty(len));
                together.insert_runs(runs.clone());
                runs.into_iter().for_each(|run| one_by_one.insert_run(run));
                assert_eq!((&together, &one_by_one), (&expected, &expected), "{count} runs of {len}");
            }
        }
    }

    #[test]
    fn shrinking_forgets_what_lies_past_the_end() {
        let mut set = PieceSet::full(130);
        set.resize(65);
        assert!(set.is_full());
        set.resize(130);
        assert_eq!(set.count(), 65);
        assert!(!set.contains(65));
    }
}
