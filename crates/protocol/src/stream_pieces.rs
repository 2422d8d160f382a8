//! Digests of the pieces of bytes that come one after another, when nobody knows how many will come: each byte is hashed once,
//! and no more is kept than one piece and the digests.
//!
//! How large pieces are to be depends on the size ([`default_piece_size`](crate::default_piece_size)). So they begin as small as
//! pieces can be, and whenever there are too many, two neighbours become one: BLAKE3 tells the digest of both from theirs.
//! SHA-256 does not, and has pieces of a fixed size.

use integrity::{Algorithm, Digest, MAX_PIECE_SIZE, MIN_PIECE_SIZE, Place};

use crate::MAX_PIECES;
use crate::geometry::{FEW_PIECES, USUAL_PIECE_SIZE};

/// Hashes bytes as they come.
pub struct StreamPieces {
    algorithm: Algorithm,
    piece_size: u32,
    /// Whether pieces become larger when there are many.
    grows: bool,
    digests: Vec<Digest>,
    /// The piece that is being filled. A full one waits for the next byte: it may be the only one.
    piece: Vec<u8>,
    len: u64,
}

/// What came, cut into pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamedPieces {
    /// Bytes in all.
    pub len: u64,
    /// Bytes of a piece.
    pub piece_size: u32,
    /// Their digests.
    pub digests: Vec<Digest>,
}

impl StreamPieces {
    /// With pieces of this size, or of the one that suits what comes.
    pub fn new(algorithm: Algorithm, piece_size: Option<u32>) -> Self {
        let zero = Digest([0; 32]);
        let grows = piece_size.is_none() && algorithm.integrity().merge(zero, zero).is_some();
        let piece_size = piece_size.unwrap_or(if grows { MIN_PIECE_SIZE } else { USUAL_PIECE_SIZE });
        StreamPieces { algorithm, piece_size, grows, digests: Vec::new(), piece: Vec::new(), len: 0 }
    }

    /// Bytes that have come.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Whether so many more bytes would be more than any content has.
    pub fn is_too_long_with(&self, bytes: usize) -> bool {
        let largest = if self.grows { MAX_PIECE_SIZE } else { self.piece_size };
        (self.len + bytes as u64).div_ceil(u64::from(largest)) > u64::from(MAX_PIECES)
    }

    /// More has come.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.piece.len() == self.piece_size as usize {
                self.piece_is_full();
            }
            let room = self.piece_size as usize - self.piece.len();
            let (here, behind) = bytes.split_at(room.min(bytes.len()));
            self.piece.extend_from_slice(here);
            bytes = behind;
        }
    }

    /// A full piece, and more behind it.
    fn piece_is_full(&mut self) {
        self.digest_piece(false);
        let most = if self.piece_size < USUAL_PIECE_SIZE { FEW_PIECES } else { u64::from(MAX_PIECES) };
        if self.grows && self.digests.len() as u64 >= most && self.piece_size < MAX_PIECE_SIZE {
            let integrity = self.algorithm.integrity();
            let merged = self.digests.chunks_exact(2).filter_map(|pair| integrity.merge(pair[0], pair[1]));
            self.digests = merged.collect();
            self.piece_size *= 2;
        }
    }

    fn digest_piece(&mut self, alone: bool) {
        let offset = self.digests.len() as u64 * u64::from(self.piece_size);
        self.digests.push(self.algorithm.integrity().piece(Place { offset, alone }, &self.piece));
        self.piece.clear();
    }

    /// All has come.
    pub fn finish(mut self) -> StreamedPieces {
        if !self.piece.is_empty() {
            self.digest_piece(self.digests.is_empty());
        }
        StreamedPieces { len: self.len, piece_size: self.piece_size, digests: self.digests }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_piece_size;

    fn streamed(bytes: &[u8], algorithm: Algorithm, piece_size: Option<u32>, at_once: usize) -> StreamedPieces {
        let mut pieces = StreamPieces::new(algorithm, piece_size);
        bytes.chunks(at_once).for_each(|bytes| pieces.update(bytes));
        pieces.finish()
    }

    /// What a file of these bytes has.
    fn whole(bytes: &[u8], algorithm: Algorithm, piece_size: u32) -> Vec<Digest> {
        let alone = bytes.len() <= piece_size as usize;
        let place = |n: usize| Place { offset: n as u64 * u64::from(piece_size), alone };
        let pieces = bytes.chunks(piece_size as usize).enumerate();
        pieces.map(|(n, piece)| algorithm.integrity().piece(place(n), piece)).collect()
    }

    #[test]
    fn a_stream_has_the_pieces_of_a_file_of_its_bytes() {
        let most = 2048 * 1024;
        let all: Vec<u8> = (0..9 * most as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for len in [0, 1, 1023, 1024, 1025, 2048, most - 1, most, most + 1, 2 * most, 2 * most + 1, 8 * most + 5] {
            let bytes = &all[..len];
            let found = streamed(bytes, Algorithm::Blake3, None, 70_001);
            let size = default_piece_size(&[len as u64]);
            assert_eq!((found.len, found.piece_size), (len as u64, size), "{len} bytes");
            assert!(found.digests == whole(bytes, Algorithm::Blake3, size), "{len} bytes");
        }
        for (algorithm, len) in [(Algorithm::Sha256, 50_000), (Algorithm::Blake3, 50_000), (Algorithm::Blake3, 4096)] {
            let found = streamed(&all[..len], algorithm, Some(4096), 1000);
            assert_eq!(found.digests, whole(&all[..len], algorithm, 4096));
        }
        assert_eq!(streamed(&all[..5000], Algorithm::Sha256, None, 7).piece_size, USUAL_PIECE_SIZE);
    }
}
