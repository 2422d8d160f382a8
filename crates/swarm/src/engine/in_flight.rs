//! What a peer said is on its way to it, as runs and not as a set: it says so anew with every have, and a set would cost
//! a step, and a bit, for each piece of the content every time.

use protocol::PieceRange;

/// Runs in order that do not touch. There are no more of them than a message holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct InFlight {
    runs: Vec<PieceRange>,
    /// How many pieces they are.
    pieces: u64,
}

impl InFlight {
    /// What a message says, in any order. Its runs were checked.
    pub(crate) fn new(said: &[PieceRange]) -> Self {
        let mut sorted = said.to_vec();
        sorted.sort_unstable_by_key(|run| run.first);
        let mut runs: Vec<PieceRange> = Vec::with_capacity(sorted.len());
        for run in sorted {
            match runs.last_mut() {
                Some(last) if run.first <= last.pieces().end => {
                    last.count = last.pieces().end.max(run.pieces().end) - last.first;
                }
                _ => runs.push(run),
            }
        }
        let pieces = runs.iter().map(|run| u64::from(run.count)).sum();
        InFlight { runs, pieces }
    }

    pub(crate) fn contains(&self, piece: u32) -> bool {
        let after = self.runs.partition_point(|run| run.first <= piece);
        after > 0 && self.runs[after - 1].pieces().contains(&piece)
    }

    /// How many pieces they are.
    pub(crate) fn len(&self) -> u64 {
        self.pieces
    }

    /// How many pieces are in one of two and not in the other.
    pub(crate) fn changes(&self, other: &InFlight) -> u64 {
        self.lacks(other) + other.lacks(self)
    }

    /// How many pieces are here and not in `other`.
    fn lacks(&self, other: &InFlight) -> u64 {
        let (mut both, mut at) = (0, 0);
        for run in &self.runs {
            while other.runs.get(at).is_some_and(|other| other.pieces().end <= run.first) {
                at += 1;
            }
            for other in other.runs[at..].iter().take_while(|other| other.first < run.pieces().end) {
                both += u64::from(other.pieces().end.min(run.pieces().end) - other.first.max(run.first));
            }
        }
        self.len() - both
    }

    /// The runs, ascending.
    pub(crate) fn runs(&self) -> &[PieceRange] {
        &self.runs
    }

    /// The pieces, ascending.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs.iter().flat_map(|run| run.pieces())
    }

    /// The pieces that are not in `other`, ascending; of what is in both, only runs are looked at.
    pub(crate) fn without(&self, other: &InFlight) -> Vec<u32> {
        let (mut pieces, mut others) = (Vec::new(), other.runs.iter().peekable());
        for run in &self.runs {
            let (mut next, end) = (run.first, run.pieces().end);
            while let Some(both) = others.peek().filter(|both| both.first < end) {
                pieces.extend(next..both.first.max(next));
                next = both.pieces().end.max(next);
                if next >= end {
                    break;
                }
                others.next();
            }
            pieces.extend(next..end);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn runs_hold_and_lack_what_sets_of_the_same_pieces_would() {
        let mut random = fastrand::Rng::with_seed(1);
        let some = |random: &mut fastrand::Rng| -> Vec<PieceRange> {
            (0..random.u32(..6)).map(|_| PieceRange { first: random.u32(..40), count: random.u32(1..9) }).collect()
        };
        for _ in 0..5_000 {
            let (one, two) = (some(&mut random), some(&mut random));
            let set = |runs: &[PieceRange]| runs.iter().flat_map(|run| run.pieces()).collect::<BTreeSet<u32>>();
            let (in_flight, others) = (InFlight::new(&one), InFlight::new(&two));
            assert!(in_flight.pieces().eq(set(&one)), "{one:?}");
            assert!((0..50).all(|piece| in_flight.contains(piece) == set(&one).contains(&piece)), "{one:?}");
            let lacking: Vec<u32> = set(&one).difference(&set(&two)).copied().collect();
            assert_eq!(in_flight.without(&others), lacking, "{one:?} without {two:?}");
        }
    }
}
