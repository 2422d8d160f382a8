//! How much of a request is received before it is verified and stored: much where it comes fast, since small blocks cost more wake-ups
//! of workers, and one piece where it comes slowly, so that each piece is here, and is passed on, as soon as its bytes are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A block takes about this long to come.
const TIME: Duration = Duration::from_millis(100);
/// Bytes of a block: at least, and so at first, and at most.
const LEAST: usize = 64 << 10;
const MOST: usize = 1024 << 10;
/// It grows by this factor at most from one block to the next.
const GROWTH: usize = 4;

/// Bytes of the blocks that come over one connection.
pub(crate) struct BlockSize(AtomicUsize);

impl Default for BlockSize {
    fn default() -> Self {
        BlockSize(AtomicUsize::new(LEAST))
    }
}

impl BlockSize {
    /// Most bytes of the next block. One piece is received together however large it is.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A block of so many bytes has come within this time.
    pub(crate) fn came(&self, bytes: usize, took: Duration) {
        let in_time = TIME.as_secs_f64() / took.as_secs_f64().max(1e-6) * bytes as f64;
        let most = (bytes.max(LEAST) * GROWTH).min(MOST);
        self.0.store((in_time as usize).clamp(LEAST, most.max(LEAST)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_large_where_bytes_come_fast() {
        let size = BlockSize::default();
        assert_eq!(size.bytes(), LEAST);
        for expected in [256 << 10, MOST, MOST] {
            size.came(size.bytes(), Duration::from_millis(1));
            assert_eq!(size.bytes(), expected);
        }
        size.came(MOST, Duration::from_secs(17));
        assert_eq!(size.bytes(), LEAST, "of 60 KiB a second, each piece is stored for itself");
        size.came(256 << 10, Duration::from_millis(100));
        assert_eq!(size.bytes(), 256 << 10);
        size.came(5, Duration::ZERO);
        assert_eq!(size.bytes(), 256 << 10, "the small rest of a request does not make it small");
    }
}
