//! SHA-256 pieces: each digest is what `sha256sum` prints for the piece's bytes.

use sha2::Digest as _;

use crate::{Algorithm, Digest, Integrity, Place};

/// Plain SHA-256 of each piece; the root is the SHA-256 of the digests one after another, which is *not* what
/// `sha256sum FILE` prints (SHA-256 has no tree).
pub struct Sha256;

impl Integrity for Sha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Sha256
    }

    fn piece(&self, _: Place, bytes: &[u8]) -> Digest {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    fn merge(&self, _: Digest, _: Digest) -> Option<Digest> {
        None
    }

    fn root(&self, len: u64, piece_size: u32, pieces: &mut dyn ExactSizeIterator<Item = Digest>) -> Digest {
        assert_eq!(len.div_ceil(u64::from(piece_size)), pieces.len() as u64, "digests fit the length");
        let mut hasher = sha2::Sha256::new();
        pieces.for_each(|digest| hasher.update(digest.0));
        Digest(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 examples.
    #[test]
    fn digests_are_plain_sha256() {
        let place = Place { offset: 4096, alone: false };
        assert_eq!(
            Sha256.piece(place, b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            Sha256.root(0, 1024, &mut std::iter::empty()).to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
