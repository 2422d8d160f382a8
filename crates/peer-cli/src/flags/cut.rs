//! How files are cut and digested.

use clap::Args;
use protocol::Algorithm;

use crate::flags::sizes;

/// How files are cut and digested.
#[derive(Debug, Clone, Args)]
pub struct Cut {
    /// Hash of pieces: blake3 or sha256
    ///
    /// Hash of pieces: `blake3` (the root is what b3sum prints) or `sha256` (pieces are what sha256sum prints for
    /// them; the root is the SHA-256 of all piece digests, not what sha256sum prints for the file)
    #[arg(long, value_name = "HASH", default_value_t = Algorithm::Blake3)]
    pub hash: Algorithm,
    /// Bytes of a piece, as 1MiB
    ///
    /// Bytes of a piece, a power of two from 1KiB to 16MiB; if not given, the smallest that makes at most 2,048
    /// pieces, up to 4MiB
    #[arg(long, value_name = "SIZE", value_parser = sizes::piece_size)]
    pub piece_size: Option<u32>,
}
