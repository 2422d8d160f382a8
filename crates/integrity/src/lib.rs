//! Integrity of pieces and files behind one trait: SHA-256 or BLAKE3.
//!
//! A piece is what is verified on arrival; a file's root stands for all of its pieces. The trait is
//! given a piece's offset and whether it is the file's only piece, because BLAKE3's piece digests are
//! the chaining values of subtrees: merged, they give the very hash that `b3sum` prints. Nothing here
//! knows of file names or networks.
//!
//! # Example
//!
//! ```
//! use p2p_fileshare_integrity::{Algorithm, Place};
//!
//! let blake3 = Algorithm::Blake3.integrity();
//! let data = [7; 3000];
//! let pieces: Vec<_> = data
//!     .chunks(1024)
//!     .zip((0..).step_by(1024))
//!     .map(|(piece, offset)| blake3.piece(Place { offset, alone: false }, piece))
//!     .collect();
//! assert_eq!(pieces.len(), 3);
//! // Another byte is another digest.
//! assert_ne!(blake3.piece(Place { offset: 0, alone: false }, &[8; 1024]), pieces[0]);
//! ```

mod blake3_tree;
mod digest;
mod hashing;
mod parallel;
mod sha256;

pub use blake3_tree::Blake3;
pub use digest::{Digest, DigestHasher, ParseDigestError};
pub use hashing::hash_pieces;
pub use parallel::on_all_cores;
pub use sha256::Sha256;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Smallest piece, in bytes: BLAKE3's chunk.
pub const MIN_PIECE_SIZE: u32 = 1024;
/// Largest piece, in bytes.
pub const MAX_PIECE_SIZE: u32 = 16 * 1024 * 1024;

/// Where a piece stands in its file: all that a tree hash must know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset of the piece's first byte in its file, in bytes; a multiple of the piece size.
    pub offset: u64,
    /// Whether the file has no other piece.
    pub alone: bool,
}

/// One way to digest pieces and files.
pub trait Integrity: Send + Sync {
    /// Which one it is.
    fn algorithm(&self) -> Algorithm;
    /// Digest of one piece. A lone piece's digest is the plain hash of its bytes.
    fn piece(&self, place: Place, bytes: &[u8]) -> Digest;
    /// Root of a file of `len` bytes from the digests of its pieces of `piece_size` bytes (a power of two,
    /// the last piece may be shorter). A file without bytes has no pieces and the hash of nothing. The digests are taken
    /// one by one: a million of them need not lie anywhere in a row.
    ///
    /// # Panics
    /// If the number of digests does not fit `len` and `piece_size`.
    fn root(&self, len: u64, piece_size: u32, pieces: &mut dyn ExactSizeIterator<Item = Digest>) -> Digest;
}

/// The algorithms, as manifests and flags name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256 (FIPS 180-4) of each piece; the root is the SHA-256 of the piece digests one after another.
    Sha256,
    /// BLAKE3 chaining values; the root is the file's BLAKE3 hash.
    Blake3,
}

impl Algorithm {
    /// The implementation behind the name.
    pub fn integrity(self) -> &'static dyn Integrity {
        match self {
            Algorithm::Sha256 => &Sha256,
            Algorithm::Blake3 => &Blake3,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Blake3 => "blake3",
        })
    }
}

/// The name is neither `sha256` nor `blake3`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown hash {0:?}: use sha256 or blake3")]
pub struct UnknownAlgorithm(String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.to_ascii_lowercase().as_str() {
            "sha256" | "sha-256" => Ok(Algorithm::Sha256),
            "blake3" => Ok(Algorithm::Blake3),
            _ => Err(UnknownAlgorithm(name.to_owned())),
        }
    }
}
