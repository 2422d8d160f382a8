//! Pieces in the order of how many peers have them: the rarest is at hand at once, and a change costs O(1).
//!
//! A downloader lists the pieces that it could ask for, an uploader those that it could give; both count peers.

use protocol::PieceRange;

/// How many peers have each piece, and the listed pieces in buckets by that count.
#[derive(Debug, Default)]
pub(crate) struct Rarity {
    counts: Vec<u16>,
    buckets: Vec<Vec<u32>>,
    /// Where in its bucket a listed piece lies; `UNLISTED` otherwise.
    positions: Vec<u32>,
    /// The order among pieces that as many have, where that is not left to chance.
    parts: Option<Parts>,
}

/// Where pieces are read together with others: what was read with a piece comes after it, and before anything that was not.
#[derive(Debug)]
struct Parts {
    /// The first piece of each, in order.
    starts: Vec<u32>,
    /// The piece that comes next, if it is no more common than others.
    next: u32,
}

impl Parts {
    fn start_of(&self, piece: u32) -> u32 {
        let before = self.starts.partition_point(|&start| start <= piece);
        before.checked_sub(1).map_or(0, |at| self.starts[at])
    }
}

const UNLISTED: u32 = u32::MAX;

impl Rarity {
    /// So many pieces, none of them listed, which nobody has.
    pub(crate) fn new(pieces: u32) -> Self {
        let pieces = pieces as usize;
        // Nearly all pieces are in the first bucket at some time: one that grew would leave holes in memory.
        let buckets = vec![Vec::with_capacity(pieces)];
        Rarity { counts: vec![0; pieces], buckets, positions: vec![UNLISTED; pieces], parts: None }
    }

    /// Pieces are read in parts, which begin with these.
    pub(crate) fn read_in_parts(&mut self, starts: Vec<u32>) {
        // Chance chooses the first part.
        self.parts = Some(Parts { starts, next: UNLISTED });
    }

    /// A piece was given to somebody. Behind the last one comes the first.
    pub(crate) fn given(&mut self, piece: u32) {
        if let Some(parts) = &mut self.parts {
            parts.next = (piece + 1) % self.positions.len() as u32;
        }
    }

    /// How many peers have the piece.
    pub(crate) fn count(&self, piece: u32) -> u32 {
        u32::from(self.counts[piece as usize])
    }

    /// Whether any piece is listed.
    pub(crate) fn any_listed(&self) -> bool {
        self.buckets.iter().any(|bucket| !bucket.is_empty())
    }

    /// Whether any piece is listed that fewer than so many peers have.
    pub(crate) fn any_listed_below(&self, count: u32) -> bool {
        self.buckets.iter().take(count as usize).any(|bucket| !bucket.is_empty())
    }

    /// Whether the piece is listed.
    pub(crate) fn listed(&self, piece: u32) -> bool {
        self.positions.get(piece as usize).is_some_and(|&position| position != UNLISTED)
    }

    /// Lists the piece.
    pub(crate) fn list(&mut self, piece: u32) {
        if !self.listed(piece) {
            self.place(piece);
        }
    }

    /// Does not list the piece any more.
    pub(crate) fn unlist(&mut self, piece: u32) {
        if self.listed(piece) {
            self.lift(piece);
        }
    }

    /// One peer more has the piece, or one less.
    pub(crate) fn change(&mut self, piece: u32, by: i32) {
        let listed = self.listed(piece);
        if listed {
            self.lift(piece);
        }
        let count = &mut self.counts[piece as usize];
        *count = (i32::from(*count) + by).clamp(0, i32::from(u16::MAX)) as u16;
        if listed {
            self.place(piece);
        }
    }

    /// The first listed piece that `fits`, of those that fewer than `below` peers have: rarest first with random ties
    /// (Cohen, "Incentives build robustness in BitTorrent", 2003), or part by part if they are read so.
    pub(crate) fn rarest(&self, below: u32, rng: &mut fastrand::Rng, mut fits: impl FnMut(u32) -> bool) -> Option<u32> {
        let next = self.parts.as_ref().map(|parts| parts.next).filter(|&next| self.listed(next));
        for (count, bucket) in self.buckets.iter().enumerate().take(below as usize) {
            if bucket.is_empty() {
                continue;
            }
            let next = next.filter(|&next| self.count(next) == count as u32);
            if let Some(next) = next.filter(|&next| fits(next)) {
                return Some(next);
            }
            let turn = rng.usize(..bucket.len());
            let found = bucket[turn..].iter().chain(&bucket[..turn]).find(|&&piece| fits(piece));
            if let Some(&found) = found {
                return Some(self.first_of_part(found, fits));
            }
        }
        None
    }

    /// The first piece of the part in which this one is, or, if those are more common or do not fit, the one behind the last of these.
    fn first_of_part(&self, piece: u32, mut fits: impl FnMut(u32) -> bool) -> u32 {
        let Some(parts) = &self.parts else { return piece };
        let count = self.count(piece);
        let before = (parts.start_of(piece)..piece).rev();
        before
            .take_while(|&piece| self.listed(piece) && self.count(piece) == count && fits(piece))
            .last()
            .unwrap_or(piece)
    }

    /// The run of at most `most` pieces around `first` that are listed, `fit`, and are no more common than it or at
    /// least in the same block of `block` pieces.
    pub(crate) fn around(&self, first: u32, most: u32, block: u32, fit: impl Fn(u32) -> bool) -> PieceRange {
        let (count, block) = (self.counts[first as usize], block.max(1));
        let fits = |piece: u32| {
            let near = piece / block == first / block || self.counts[piece as usize] <= count;
            near && self.listed(piece) && fit(piece)
        };
        // Start at a boundary of `most` where possible, so that runs leave few holes behind; or not before what was read with `first`.
        let aligned = if self.parts.is_some() { first } else { first - first % most.max(1) };
        let start = (aligned..first).rev().take_while(|&piece| fits(piece)).last().unwrap_or(first);
        let end = (first + 1..self.counts.len() as u32).take_while(|&piece| piece - start < most && fits(piece)).last();
        PieceRange { first: start, count: end.unwrap_or(first) - start + 1 }
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
        let position = std::mem::replace(&mut self.positions[piece as usize], UNLISTED);
        bucket.swap_remove(position as usize);
        if let Some(&moved) = bucket.get(position as usize) {
            self.positions[moved as usize] = position;
        }
        // What one list of a large content loses, another gets: both at their largest would be more than is needed.
        if bucket.len() < bucket.capacity() / 4 {
            bucket.shrink_to(bucket.capacity() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_listed(pieces: u32) -> Rarity {
        let mut rarity = Rarity::new(pieces);
        (0..pieces).for_each(|piece| rarity.list(piece));
        rarity
    }

    #[test]
    fn the_rarest_piece_comes_first() {
        let mut rarity = all_listed(4);
        for piece in [0, 0, 1, 3] {
            rarity.change(piece, 1);
        }
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(rarity.rarest(9, &mut rng, |_| true), Some(2));
        rarity.unlist(2);
        rarity.change(3, -1);
        assert_eq!(rarity.rarest(9, &mut rng, |_| true), Some(3));
        assert_eq!(rarity.rarest(9, &mut rng, |piece| piece != 3), Some(1));
        assert_eq!(rarity.rarest(1, &mut rng, |piece| piece != 3), None, "as many peers have piece 1 already");
        assert_eq!((rarity.count(0), rarity.count(3)), (2, 0));
    }

    #[test]
    fn ties_are_broken_at_random() {
        let rarity = all_listed(64);
        let found: std::collections::BTreeSet<_> =
            (0..100).filter_map(|seed| rarity.rarest(9, &mut fastrand::Rng::with_seed(seed), |_| true)).collect();
        assert!(found.len() > 30, "{found:?}");
    }

    /// Gives so many pieces, each to one peer.
    fn give(rarity: &mut Rarity, count: u32, rng: &mut fastrand::Rng) -> Vec<u32> {
        let mut next = |_| {
            let piece = rarity.rarest(9, rng, |_| true).unwrap();
            rarity.given(piece);
            rarity.change(piece, 1);
            piece
        };
        (0..count).map(&mut next).collect()
    }

    #[test]
    fn what_is_read_together_is_given_together() {
        let mut first_parts = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let (mut rarity, mut rng) = (all_listed(60), fastrand::Rng::with_seed(seed));
            // The last part of each of two files is shorter.
            rarity.read_in_parts(vec![0, 16, 20, 36, 52]);
            let given = give(&mut rarity, 60, &mut rng);
            let breaks: Vec<_> = given.windows(2).filter(|two| two[0] + 1 != two[1]).map(|two| two[1]).collect();
            let begin = [0, 16, 20, 36, 52];
            assert!(begin.contains(&given[0]) && breaks.iter().all(|piece| begin.contains(piece)), "{given:?}");
            assert_eq!(given.iter().collect::<std::collections::BTreeSet<_>>().len(), 60, "each once");
            first_parts.insert(given[0]);
        }
        assert!(first_parts.len() > 2, "several who read the same do not begin with the same");
    }

    #[test]
    fn rarity_counts_more_than_what_is_read_together() {
        let (mut rarity, mut rng) = (all_listed(32), fastrand::Rng::with_seed(1));
        rarity.read_in_parts(vec![0, 16]);
        let given = give(&mut rarity, 5, &mut rng);
        let part = given[0];
        // Somebody else gives what comes next, and two pieces more.
        (5..8).for_each(|piece| rarity.change(part + piece, 1));
        give(&mut rarity, 24, &mut rng);
        assert!((0..32).all(|piece| rarity.count(piece) == 1), "what is rarest comes wherever it is");
        // Of a part that was given but for its end, that end comes.
        (0..32).filter(|piece| ![13, 14, 15].contains(piece)).for_each(|piece| rarity.change(piece, 1));
        assert_eq!(give(&mut rarity, 3, &mut rng), [13, 14, 15]);
    }

    #[test]
    fn runs_hold_only_listed_pieces_that_fit() {
        let mut rarity = all_listed(100);
        rarity.unlist(10);
        rarity.unlist(20);
        for first in (5..40).filter(|&first| first != 10 && first != 20) {
            let run = rarity.around(first, 8, 1, |piece| (5..40).contains(&piece));
            assert!(run.count >= 1 && run.count <= 8);
            assert!(run.pieces().contains(&first), "{run:?}");
            assert!(run.pieces().all(|piece| (5..40).contains(&piece) && piece != 10 && piece != 20), "{run:?}");
        }
    }

    #[test]
    fn more_common_pieces_go_along_only_within_a_block() {
        let mut rarity = all_listed(16);
        (4..16).for_each(|piece| rarity.change(piece, 1));
        assert_eq!(rarity.around(2, 16, 1, |_| true), PieceRange { first: 0, count: 4 });
        assert_eq!(rarity.around(2, 16, 8, |_| true), PieceRange { first: 0, count: 8 });
    }
}
