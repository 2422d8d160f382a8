//! A content as a map shows it: which pieces are here, and where its peers are.

use std::collections::BTreeMap;

use protocol::{PeerId, PieceSet};

/// A map of a content's pieces, and the sites of its peers: see [`Node::overview`](crate::Node::overview).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// For each part of the content, in order, the percentage of its pieces that are stored here.
    pub pieces: Vec<u8>,
    /// The sites of connected peers that take part, as the peers report them.
    pub sites: BTreeMap<PeerId, String>,
}

/// The pieces in parts of the same size, as far as they divide so; each piece is in one of them.
pub(crate) fn pieces_here(have: &PieceSet, parts: usize) -> Vec<u8> {
    let (len, parts) = (have.len() as usize, parts.min(have.len() as usize));
    let mut counts = vec![0_u32; parts];
    // Where a part begins is rounded down: a piece is in the last one that does not begin after it.
    let part = |piece: usize| (((piece + 1) * parts).div_ceil(len.max(1))).saturating_sub(1);
    have.iter().for_each(|piece| counts[part(piece as usize)] += 1);
    let begins = |part: usize| part * len / parts.max(1);
    let hundredths = |(part, &count): (usize, &u32)| {
        let all = (begins(part + 1) - begins(part)) as u32;
        // Nothing is all before it is.
        (u64::from(count) * 100 / u64::from(all.max(1))) as u8
    };
    counts.iter().enumerate().map(hundredths).collect()
}

#[cfg(test)]
mod tests {
    use protocol::PieceRange;

    use super::*;

    #[test]
    fn each_piece_is_in_one_part_and_only_a_whole_part_is_full() {
        for (len, parts) in [(1, 1), (7, 3), (10, 10), (1000, 64), (1001, 1000), (5, 100)] {
            assert!(pieces_here(&PieceSet::full(len), parts).iter().all(|&part| part == 100), "{len} {parts}");
            for piece in 0..len {
                let mut have = PieceSet::full(len);
                have.remove(piece);
                let map = pieces_here(&have, parts);
                assert_eq!(map.iter().filter(|&&part| part < 100).count(), 1, "{len} {parts} {piece}");
            }
        }
        assert!(pieces_here(&PieceSet::empty(0), 9).is_empty());
        let mut half = PieceSet::empty(1000);
        half.insert_run(PieceRange { first: 0, count: 450 });
        assert_eq!(pieces_here(&half, 4), [100, 80, 0, 0]);
    }
}
