//! BLAKE3 pieces as subtrees, so that the file's root is the file's plain BLAKE3 hash.
//!
//! A piece is a power of two of 1 KiB chunks at an aligned offset, so every full piece is a complete subtree and
//! the last one whatever is left (BLAKE3 paper, section 2.1: the left subtree is the largest power of two of
//! chunks that leaves at least one byte for the right).

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::{Algorithm, Digest, Integrity, Place};

/// BLAKE3 with piece digests that are chaining values.
pub struct Blake3;

impl Integrity for Blake3 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Blake3
    }

    fn piece(&self, place: Place, bytes: &[u8]) -> Digest {
        if place.alone || bytes.is_empty() {
            return Digest(*blake3::hash(bytes).as_bytes());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(place.offset);
        hasher.update(bytes);
        Digest(hasher.finalize_non_root())
    }

    fn merge(&self, left: Digest, right: Digest) -> Option<Digest> {
        Some(Digest(merge_subtrees_non_root(&left.0, &right.0, Mode::Hash)))
    }

    fn root(&self, len: u64, piece_size: u32, pieces: &mut dyn ExactSizeIterator<Item = Digest>) -> Digest {
        let count = pieces.len();
        assert_eq!(len.div_ceil(u64::from(piece_size)), count as u64, "digests fit the length");
        match count {
            0 => Digest(*blake3::hash(b"").as_bytes()),
            1 => Digest(subtree(1, pieces)),
            _ => {
                let left = subtree(left_len(count), pieces);
                let right = subtree(count - left_len(count), pieces);
                Digest(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
            }
        }
    }
}

/// Largest power of two below `count`; `count` is at least 2.
fn left_len(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// Of the next `count` pieces, at least one.
fn subtree(count: usize, pieces: &mut dyn Iterator<Item = Digest>) -> ChainingValue {
    if count == 1 {
        return pieces.next().expect("they were counted").0;
    }
    let left = subtree(left_len(count), pieces);
    let right = subtree(count - left_len(count), pieces);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test vectors' input: bytes counting up to 250, again and again.
    fn input(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n % 251) as u8).collect()
    }

    fn root_of(data: &[u8], piece_size: u32) -> Digest {
        let alone = data.len() <= piece_size as usize;
        let pieces: Vec<_> = data
            .chunks(piece_size as usize)
            .enumerate()
            .map(|(n, piece)| Blake3.piece(Place { offset: n as u64 * u64::from(piece_size), alone }, piece))
            .collect();
        Blake3.root(data.len() as u64, piece_size, &mut pieces.into_iter())
    }

    /// From the BLAKE3 team's test_vectors.json: the first 32 bytes of "hash".
    #[test]
    fn roots_match_the_published_vectors() {
        for (len, hash) in [
            (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
            (1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"),
            (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
            (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
            (2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a"),
            (102400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
        ] {
            assert_eq!(root_of(&input(len), 1024).to_string(), hash, "{len} bytes");
        }
    }

    #[test]
    fn roots_equal_the_whole_hash_around_every_boundary() {
        for piece_size in [1024u32, 4096, 65536] {
            for pieces in [0usize, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17] {
                for delta in [-1025i64, -1024, -1023, -1, 0, 1, 1023, 1024, 1025] {
                    let len = pieces as i64 * i64::from(piece_size) + delta;
                    let Ok(len) = usize::try_from(len) else { continue };
                    let data = input(len);
                    assert_eq!(root_of(&data, piece_size).0, *blake3::hash(&data).as_bytes(), "{len}/{piece_size}");
                }
            }
        }
    }
}
