//! Requests that are under way, and what each still owes.

use std::time::Duration;

use protocol::{ContentId, PieceRange, PieceSet};

use crate::event::ConnId;

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(super) conn: ConnId,
    pub(super) content: ContentId,
    pub(super) run: PieceRange,
    pub(super) open: Open,
    /// Bytes of the run that have not come.
    pub(super) owed: u64,
    pub(super) heard: Duration,
    /// Whether the answer has begun to come.
    pub(super) began: bool,
    pub(super) cause: Cause,
}

/// Why something was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The other side had offered it.
    Offered,
    /// Nobody offered anything, or somebody held it up.
    OwnAccount,
    /// A reader wants it.
    Awaited,
}

/// Pieces of a run that have not come.
#[derive(Debug)]
pub(super) struct Open {
    first: u32,
    pieces: PieceSet,
}

impl Open {
    pub(super) fn new(run: PieceRange) -> Self {
        Open { first: run.first, pieces: PieceSet::full(run.count) }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.pieces.iter().map(|piece| self.first + piece)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn contains(&self, piece: u32) -> bool {
        piece >= self.first && self.pieces.contains(piece - self.first)
    }

    pub(super) fn remove(&mut self, piece: u32) -> bool {
        piece >= self.first && self.pieces.remove(piece - self.first)
    }

    /// As the fewest runs.
    pub(super) fn runs(&self) -> Vec<PieceRange> {
        self.pieces.runs().into_iter().map(|run| PieceRange { first: run.first + self.first, ..run }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_open_no_more() {
        let mut open = Open::new(PieceRange { first: 10, count: 5 });
        assert!(open.remove(12) && !open.remove(12) && !open.remove(9) && !open.remove(15));
        assert_eq!(open.runs(), [PieceRange { first: 10, count: 2 }, PieceRange { first: 13, count: 2 }]);
        assert!(open.contains(13) && !open.contains(12));
        [10, 11, 13, 14].into_iter().for_each(|piece| assert!(open.remove(piece)));
        assert!(open.is_empty());
    }
}
