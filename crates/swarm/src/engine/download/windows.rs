//! What those who read a content here want next, and whose turn it is.

use std::collections::BTreeMap;

use protocol::PieceRange;

/// Most readers of one content that are looked at in one go: the others have their turn next time.
const LOOKS: usize = 32;

/// What the readers of one content want.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// By the number of the reader: the pieces that it wants next.
    windows: BTreeMap<u64, PieceRange>,
    /// The reader that had its turn last.
    last: u64,
}

impl Readers {
    pub(crate) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// A reader wants these pieces next.
    pub(crate) fn insert(&mut self, reader: u64, window: PieceRange) {
        self.windows.insert(reader, window);
    }

    /// A reader is gone.
    pub(crate) fn remove(&mut self, reader: u64) {
        self.windows.remove(&reader);
    }

    /// A reader has had its turn.
    pub(crate) fn had_turn(&mut self, reader: u64) {
        self.last = reader;
    }

    /// Whether some reader will want a piece soon.
    pub(crate) fn want(&self, piece: u32) -> bool {
        self.windows.values().any(|window| window.pieces().contains(&piece))
    }

    /// Those whose turn it is, and what each wants next.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = (u64, PieceRange)> {
        let (before, after) = (self.windows.range(..=self.last), self.windows.range(self.last.saturating_add(1)..));
        after.chain(before).take(LOOKS).map(|(&reader, &window)| (reader, window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_take_turns() {
        let mut readers = Readers::default();
        assert!(readers.is_empty());
        for reader in 1..=3 {
            readers.windows.insert(reader, PieceRange { first: reader as u32 * 10, count: 5 });
        }
        let turns = |readers: &Readers| readers.in_turn().map(|(reader, _)| reader).collect::<Vec<_>>();
        assert_eq!(turns(&readers), [1, 2, 3]);
        readers.last = 1;
        assert_eq!(turns(&readers), [2, 3, 1]);
        readers.last = 3;
        assert_eq!(turns(&readers), [1, 2, 3]);
        assert!(readers.want(14) && !readers.want(15));
    }

    #[test]
    fn a_thousand_readers_are_looked_at_in_parts() {
        let mut readers = Readers::default();
        readers.windows.extend((0..1000).map(|reader| (reader, PieceRange { first: 0, count: 1 })));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000_usize.div_ceil(LOOKS) {
            let turns: Vec<_> = readers.in_turn().map(|(reader, _)| reader).collect();
            assert_eq!(turns.len(), LOOKS);
            readers.last = turns[LOOKS - 1];
            seen.extend(turns);
        }
        assert_eq!(seen.len(), 1000);
    }
}
