//! Pieces and bytes: which part of which file a piece is.
//!
//! Pieces never run across files (as in BitTorrent v2, BEP 52): each file starts a new piece, and a file without
//! bytes has none. So a file's digests depend on that file alone.

use std::ops::Range;

use integrity::{MAX_PIECE_SIZE, MIN_PIECE_SIZE, Place};

use crate::{MAX_PIECES, PieceRange};

/// How a content is cut into pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    piece_size: u32,
    sizes: Vec<u64>,
    /// First piece of each file, and the number of all pieces at the end.
    firsts: Vec<u32>,
}

/// One piece's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index of its file.
    pub file: usize,
    /// Its bytes' offset in that file.
    pub offset: u64,
    /// How many bytes it has: 1 to the piece size.
    pub len: usize,
    /// Whether the file has no other piece.
    pub alone: bool,
}

impl Piece {
    /// Where the piece stands, as digests want it.
    pub fn place(self) -> Place {
        Place { offset: self.offset, alone: self.alone }
    }
}

/// Consecutive pieces of one file: bytes that can be read, received or written as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The pieces.
    pub run: PieceRange,
    /// Index of their file.
    pub file: usize,
    /// Offset of the first one's first byte in that file.
    pub offset: u64,
    /// Bytes of all of them.
    pub len: usize,
}

/// Stretches that follow each other, perhaps of many files: what is asked for, sent, verified and stored in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The stretches, in order.
    pub stretches: Vec<Stretch>,
    /// Bytes of all of them.
    pub len: usize,
}

impl Block {
    /// Some of its bytes. Which pieces they are of is said of the whole stretches.
    pub fn part(&self, bytes: Range<usize>) -> Block {
        let (mut at, mut stretches) = (0, Vec::new());
        for stretch in &self.stretches {
            let (start, end) = (bytes.start.max(at), bytes.end.min(at + stretch.len));
            if start < end {
                let offset = stretch.offset + (start - at) as u64;
                stretches.push(Stretch { offset, len: end - start, ..*stretch });
            }
            at += stretch.len;
        }
        Block { len: stretches.iter().map(|stretch| stretch.len).sum(), stretches }
    }
}

/// Sizes that make no geometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// Not a power of two from 1 KiB to 16 MiB.
    #[error("a piece size is a power of two from 1 KiB to 16 MiB, not {0} bytes")]
    PieceSize(u32),
    /// More than 2^20 pieces.
    #[error("pieces of {0} bytes are too small for this content: it may have at most 1,048,576 of them")]
    TooManyPieces(u32),
    /// The sizes do not add up to a number that files can have.
    #[error("the sizes of the files are absurd")]
    Absurd,
}

impl Geometry {
    /// Cuts files of these sizes, in bytes, into pieces.
    pub fn new(piece_size: u32, sizes: Vec<u64>) -> Result<Self, GeometryError> {
        if !piece_size.is_power_of_two() || !(MIN_PIECE_SIZE..=MAX_PIECE_SIZE).contains(&piece_size) {
            return Err(GeometryError::PieceSize(piece_size));
        }
        let mut firsts = Vec::with_capacity(sizes.len() + 1);
        let (mut pieces, mut total) = (0u64, 0u64);
        for &size in &sizes {
            firsts.push(pieces as u32);
            total = total.checked_add(size).filter(|&t| t <= i64::MAX as u64).ok_or(GeometryError::Absurd)?;
            pieces += size.div_ceil(u64::from(piece_size));
            if pieces > u64::from(MAX_PIECES) {
                return Err(GeometryError::TooManyPieces(piece_size));
            }
        }
        firsts.push(pieces as u32);
        Ok(Geometry { piece_size, sizes, firsts })
    }

    /// Size of all pieces but each file's last, in bytes.
    pub fn piece_size(&self) -> u32 {
        self.piece_size
    }

    /// How many pieces the content has.
    pub fn pieces(&self) -> u32 {
        self.firsts[self.sizes.len()]
    }

    /// Sizes of the files, in bytes.
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// Bytes of all files.
    pub fn total(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// The pieces of one file.
    pub fn pieces_of(&self, file: usize) -> std::ops::Range<u32> {
        self.firsts[file]..self.firsts[file + 1]
    }

    /// Where a piece's bytes are; `None` past the last piece.
    pub fn piece(&self, piece: u32) -> Option<Piece> {
        if piece >= self.pieces() {
            return None;
        }
        // The last file that starts at or before the piece; files without pieces share their start with the next.
        let file = self.firsts.partition_point(|&first| first <= piece) - 1;
        let offset = u64::from(piece - self.firsts[file]) * u64::from(self.piece_size);
        let len = (self.sizes[file] - offset).min(u64::from(self.piece_size)) as usize;
        let alone = self.sizes[file] <= u64::from(self.piece_size);
        Some(Piece { file, offset, len, alone })
    }

    /// Cuts a run of pieces into stretches of at most `most` bytes, or one piece where that is larger. Pieces past the
    /// last one are left out.
    pub fn stretches(&self, run: PieceRange, most: usize) -> impl Iterator<Item = Stretch> {
        let pieces = u32::try_from(most / self.piece_size as usize).unwrap_or(u32::MAX).max(1);
        let end = run.end().unwrap_or(u32::MAX).min(self.pieces());
        let mut next = run.first;
        std::iter::from_fn(move || {
            let first = self.piece(next).filter(|_| next < end)?;
            let stop = end.min(next.saturating_add(pieces)).min(self.pieces_of(first.file).end);
            let last = self.piece(stop - 1)?;
            let run = PieceRange { first: next, count: stop - next };
            next = stop;
            let len = (last.offset - first.offset) as usize + last.len;
            Some(Stretch { run, file: first.file, offset: first.offset, len })
        })
    }

    /// The stretches of a run, as many together as have at most `most` bytes: of small files, which are a piece each, many.
    pub fn blocks(&self, run: PieceRange, most: usize) -> impl Iterator<Item = Block> {
        let mut stretches = self.stretches(run, most).peekable();
        std::iter::from_fn(move || {
            let first = stretches.next()?;
            let mut block = Block { stretches: vec![first], len: first.len };
            while let Some(next) = stretches.next_if(|next| block.len + next.len <= most) {
                block.len += next.len;
                block.stretches.push(next);
            }
            Some(block)
        })
    }

    /// Bytes of a run, as far as it lies in the content.
    pub fn bytes(&self, run: PieceRange) -> u64 {
        self.stretches(run, usize::MAX).map(|stretch| stretch.len as u64).sum()
    }

    /// How many pieces from `first` have at most `bytes` bytes together; at least one.
    pub fn pieces_within(&self, first: u32, bytes: u64) -> u32 {
        let (mut count, mut sum) = (0, 0);
        while let Some(piece) = self.piece(first.saturating_add(count)) {
            // Whole pieces of one file are counted, not walked.
            let left = self.pieces_of(piece.file).end - first - count;
            let whole = ((bytes - sum) / u64::from(self.piece_size)).min(u64::from(left - 1)) as u32;
            (count, sum) = (count + whole, sum + u64::from(whole) * u64::from(self.piece_size));
            let Some(next) = self.piece(first + count).filter(|next| sum + next.len as u64 <= bytes) else { break };
            (count, sum) = (count + 1, sum + next.len as u64);
        }
        count.max(1)
    }
}

/// Pieces of one file that are few enough.
pub(crate) const FEW_PIECES: u64 = 2048;
/// Pieces become no larger for there to be few.
pub(crate) const USUAL_PIECE_SIZE: u32 = 4 << 20;

/// The piece size that is used unless one is asked for: the smallest that gives at most 2,048 pieces more than there are
/// files, up to 4 MiB, and more only where 2^20 pieces would not do.
pub fn default_piece_size(sizes: &[u64]) -> u32 {
    let pieces = |size: u32| sizes.iter().map(|len| len.div_ceil(u64::from(size))).fold(0u64, u64::saturating_add);
    // Each file has a piece, however large pieces are: only those beyond can be made fewer. One file alone is none.
    let fewest = sizes.iter().filter(|&&len| len > 0).count() as u64;
    let mut size = MIN_PIECE_SIZE;
    while pieces(size) > FEW_PIECES + fewest.saturating_sub(1) && size < USUAL_PIECE_SIZE {
        size *= 2;
    }
    while pieces(size) > u64::from(MAX_PIECES) && size < MAX_PIECE_SIZE {
        size *= 2;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_end_with_files_and_cover_a_run_in_order() {
        let geometry = Geometry::new(1024, vec![5000, 0, 1024, 3000]).unwrap();
        let cut = |first, count, most| -> Vec<_> {
            let stretches = geometry.stretches(PieceRange { first, count }, most);
            stretches.map(|s| (s.run.first, s.run.count, s.file, s.offset, s.len)).collect()
        };
        let whole = vec![(0, 2, 0, 0, 2048), (2, 2, 0, 2048, 2048), (4, 1, 0, 4096, 904)];
        assert_eq!(cut(0, 5, 2048), whole);
        assert_eq!(cut(3, 4, 1 << 20), [(3, 2, 0, 3072, 1928), (5, 1, 2, 0, 1024), (6, 1, 3, 0, 1024)]);
        assert_eq!(cut(7, 2, 1), [(7, 1, 3, 1024, 1024), (8, 1, 3, 2048, 952)]);
        assert_eq!(cut(8, u32::MAX, 4096), [(8, 1, 3, 2048, 952)]);
        assert_eq!(cut(9, 1, 4096), []);
    }

    #[test]
    fn small_files_go_together_in_blocks() {
        let geometry = Geometry::new(1024, vec![10, 0, 1024, 5000, 3, 3]).unwrap();
        let all = PieceRange { first: 0, count: geometry.pieces() };
        let cut = |most| -> Vec<_> { geometry.blocks(all, most).map(|b| (b.stretches.len(), b.len)).collect() };
        assert_eq!(cut(2048), [(2, 1034), (1, 2048), (1, 2048), (3, 910)]);
        assert_eq!(cut(1 << 20), [(5, 6040)]);
        assert_eq!(cut(1).len(), 9, "a piece goes alone where even one is too large");
        assert_eq!(geometry.bytes(all), 6040);
    }

    #[test]
    fn as_many_pieces_are_within_so_many_bytes_as_add_up_to_them() {
        let geometry = Geometry::new(1024, vec![10, 0, 1024, 5000, 3, 3]).unwrap();
        for first in 0..geometry.pieces() {
            for bytes in 0..7000 {
                let fits = |count: &u32| geometry.bytes(PieceRange { first, count: *count }) <= bytes;
                let most = (1..=geometry.pieces() - first).filter(fits).max().unwrap_or(1);
                assert_eq!(geometry.pieces_within(first, bytes), most, "{bytes} bytes from {first}");
            }
        }
    }

    #[test]
    fn pieces_cover_every_byte_once() {
        let sizes = vec![0, 1, 1024, 0, 1025, 4096, 0];
        let geometry = Geometry::new(1024, sizes.clone()).unwrap();
        assert_eq!(geometry.pieces(), 1 + 1 + 2 + 4);
        let mut next = vec![0; sizes.len()];
        for n in 0..geometry.pieces() {
            let piece = geometry.piece(n).unwrap();
            assert!(geometry.pieces_of(piece.file).contains(&n));
            assert_eq!(piece.offset, next[piece.file]);
            assert!((1..=1024).contains(&piece.len));
            assert_eq!(piece.alone, sizes[piece.file] <= 1024);
            next[piece.file] += piece.len as u64;
        }
        assert_eq!(next, sizes);
        assert_eq!(geometry.piece(geometry.pieces()), None);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert_eq!(Geometry::new(0, vec![1]), Err(GeometryError::PieceSize(0)));
        assert_eq!(Geometry::new(3000, vec![1]), Err(GeometryError::PieceSize(3000)));
        assert_eq!(Geometry::new(1024, vec![u64::MAX]), Err(GeometryError::Absurd));
        assert_eq!(Geometry::new(1024, vec![1 << 31]), Err(GeometryError::TooManyPieces(1024)));
    }

    #[test]
    fn the_default_gives_about_two_thousand_pieces() {
        assert_eq!(default_piece_size(&[]), 1024);
        assert_eq!(default_piece_size(&[2 << 20]), 1024);
        assert_eq!(default_piece_size(&[(2 << 20) + 1]), 2048);
        assert_eq!(default_piece_size(&[1 << 30]), 512 * 1024);
        assert_eq!(default_piece_size(&[1 << 40]), 4 << 20);
        assert_eq!(default_piece_size(&[1 << 43]), 8 << 20);
        assert_eq!(default_piece_size(&[1024; 20_000]), 1024, "no piece size makes fewer pieces than files");
        let with_a_large_one: Vec<u64> = [1024; 20_000].into_iter().chain([1 << 30]).collect();
        assert_eq!(default_piece_size(&with_a_large_one), 512 * 1024);
    }
}
