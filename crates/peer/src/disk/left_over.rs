//! What an earlier download had left where another one is built, and what became of it.

use std::path::PathBuf;

/// What an earlier download had left, when it was of another content or was changed since then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOver {
    /// Where it lay.
    pub path: PathBuf,
    /// Bytes that lay there.
    pub size: u64,
    /// Bytes of it that are right, and were kept. The rest was removed, or is replaced.
    pub reused: u64,
}
