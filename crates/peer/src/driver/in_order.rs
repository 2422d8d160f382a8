//! Pieces in ascending order, for a storage that fills what lies before a write that is far behind: of what lacks, a window from the first
//! piece on comes before the rest, as if somebody read it. It is larger than what may be under way, so that nothing behind it is asked of a
//! peer that has something in it.

use protocol::{PieceRange, PieceSet};
use swarm::RequestId;

/// The window in budgets: one may be under way, and nearly as much may have come and wait for the disk.
const BUDGETS: u64 = 3;
/// The engine is told again when as many pieces came as are so large a part of the window.
const PART: u32 = 8;

/// The order of one download.
pub(super) struct InOrder {
    goal: PieceSet,
    /// Pieces of the window that lack.
    most: u32,
    pub(super) told: Option<PieceRange>,
    /// How many pieces were here then.
    here: u32,
    /// The first pieces, which came with the manifest, until the engine has been told what is to come first.
    pub(super) first: Option<(RequestId, PieceRange)>,
}

impl InOrder {
    /// For these pieces, where so many bytes may be under way.
    pub(super) fn new(goal: PieceSet, piece_size: u32, budget: u64) -> Self {
        let most = (BUDGETS * budget).div_ceil(u64::from(piece_size).max(1)).max(BUDGETS);
        InOrder { goal, most: u32::try_from(most).unwrap_or(u32::MAX), told: None, here: 0, first: None }
    }

    /// Whether first pieces wait until the engine knows the order: what the other side offered first may lie anywhere.
    pub(super) fn holds(&mut self, request: RequestId, run: PieceRange) -> bool {
        if self.told.is_none() {
            self.first = Some((request, run));
        }
        self.told.is_none()
    }

    /// Whether the engine is to be told of another window: `told` then.
    pub(super) fn moves(&mut self, have: &PieceSet) -> bool {
        let from = self.told.map_or(0, |told| told.first);
        let mut lacking = (from..self.goal.len()).filter(|&piece| self.goal.contains(piece) && !have.contains(piece));
        let (first, here) = (lacking.next(), have.count());
        // All that came counts: while one piece waits for the disk the window has to grow beyond it.
        if first.is_some() && self.told.is_some() && here.abs_diff(self.here) < (self.most / PART).max(1) {
            return false;
        }
        let window = first.map(|first| {
            let last = lacking.take(self.most as usize - 1).last().unwrap_or(first);
            PieceRange { first, count: last - first + 1 }
        });
        self.here = here;
        std::mem::replace(&mut self.told, window) != window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(len: u32, pieces: impl IntoIterator<Item = u32>) -> PieceSet {
        let mut set = PieceSet::empty(len);
        for piece in pieces {
            set.insert(piece);
        }
        set
    }

    #[test]
    fn the_window_moves_on_with_the_first_piece_that_lacks() {
        // 3 budgets of 8 pieces.
        let mut order = InOrder::new(PieceSet::full(100), 1 << 20, 8 << 20);
        assert!(order.moves(&set(100, [])));
        assert_eq!(order.told, Some(PieceRange { first: 0, count: 24 }));
        assert!(!order.moves(&set(100, [0, 5])), "it is not an eighth of it");
        assert!(order.moves(&set(100, 0..4)));
        assert_eq!(order.told, Some(PieceRange { first: 4, count: 24 }));
        assert!(order.moves(&set(100, 0..90)));
        assert_eq!(order.told, Some(PieceRange { first: 90, count: 10 }));
        assert!(order.moves(&PieceSet::full(100)));
        assert_eq!(order.told, None, "nothing lacks");
        assert!(!order.moves(&PieceSet::full(100)));
    }

    #[test]
    fn a_piece_that_waits_for_the_disk_does_not_hold_the_window() {
        let mut order = InOrder::new(PieceSet::full(100), 1 << 20, 8 << 20);
        assert!(order.moves(&set(100, [])));
        assert!(!order.moves(&set(100, 1..3)));
        assert!(order.moves(&set(100, 1..12)));
        assert_eq!(order.told, Some(PieceRange { first: 0, count: 35 }), "it and 23 others lack");
        assert!(order.moves(&set(100, 1..90)));
        assert_eq!(order.told, Some(PieceRange { first: 0, count: 100 }));
        assert!(!order.moves(&set(100, 0..90)), "all that lacks is in it");
        assert!(order.moves(&PieceSet::full(100)));
    }

    #[test]
    fn the_window_reaches_over_what_is_here_or_not_wanted() {
        let goal = set(1000, (0..4).chain(900..1000));
        let mut order = InOrder::new(goal, 1 << 20, 2 << 20);
        assert!(order.moves(&set(1000, [1, 901])));
        assert_eq!(order.told, Some(PieceRange { first: 0, count: 904 }), "0, 2, 3, 900, 902, 903");
    }
}
