//! In what parts objects are read: as large as a request is worth, and whole pieces each.

/// An origin is far away: less is not worth a request.
const USUAL: u64 = 4 << 20;

/// Bytes of a part of a content with pieces of this size. Parts never run across files.
pub(crate) fn part_size(piece_size: u32) -> u64 {
    // Both are powers of two.
    USUAL.max(u64::from(piece_size))
}
