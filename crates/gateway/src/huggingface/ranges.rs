//! Small ranges of files that are not known to be right yet, as programs read that want a header or a few tensors. They give up after ten
//! seconds, and all of a file may take longer. So such a range comes from the hub itself, which is trusted as its lists of files are.
//!
//! That is little of a file, and never its end: an answer that completes a file waits until the file is verified.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use origins::{FileDigest, Object, Origin};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::error::Refusal;
use crate::recent::Recent;

/// What is read begins and ends at multiples of this, so that neighbours find it.
const BLOCK: u64 = 1 << 20;
/// Most bytes that are read at once: the usual programs want five MiB, and a little.
const AT_ONCE: u64 = 8 << 20;
/// Most reads at a time: each is in memory until it is answered.
const READS: usize = 8;
/// Most bytes of a file that are read so in an hour, and which part of it: many gateways may do the same.
const MOST: u64 = 64 << 20;
const PART: u64 = 16;
const HOUR: Duration = Duration::from_secs(3600);
/// Most files of which it is known how much was read.
const FILES: usize = 4096;
/// What was read is remembered for this time, as far as it has no more bytes together.
const REMEMBERED: Duration = Duration::from_secs(600);
const BYTES: u64 = 64 << 20;
/// Most ranges that are remembered.
const RANGES: usize = 1024;
/// The hub is asked once, and waited for as long as clients wait.
const SOON: Duration = Duration::from_secs(8);

/// What was read so lately.
pub(super) struct Ranges {
    blocks: Recent<(FileDigest, Range<u64>), Bytes, Refusal>,
    reads: Semaphore,
    /// Until when it counts what was read of a file, and how much that is.
    read: Mutex<HashMap<FileDigest, (Instant, u64)>>,
}

impl Default for Ranges {
    fn default() -> Self {
        let blocks = Recent::new(REMEMBERED, RANGES).within(BYTES, |bytes: &Bytes| bytes.len() as u64);
        Ranges { blocks, reads: Semaphore::new(READS), read: Mutex::default() }
    }
}

impl Ranges {
    /// A range of a file, which is not empty; nothing if it is too large, too much was read of the file, or the hub does not give it soon.
    pub(super) async fn read(
        &self,
        (origin, object, digest): (&Origin, &Object, FileDigest),
        range: &Range<u64>,
    ) -> Option<Bytes> {
        let blocks = range.start / BLOCK * BLOCK..(range.end.div_ceil(BLOCK) * BLOCK).min(object.size);
        if blocks.end - blocks.start > AT_ONCE {
            return None;
        }
        let asked = async {
            let _turn = self.reads.acquire().await;
            if !self.may_read(digest, object.size, blocks.end - blocks.start) {
                return Err(Refusal::Busy);
            }
            let once = origin.with_limits(origin.limits().clone().patience(Duration::ZERO));
            once.read(object, blocks.clone()).await.map_err(|error| {
                tracing::debug!(%error, "a range is waited for, as the hub does not give it");
                Refusal::Origin
            })
        };
        let bytes = timeout(SOON, self.blocks.get((digest, blocks.clone()), asked)).await.ok()?.ok()?;
        // All who ask share it: who answers makes room first, and copies it then, as a slice would keep all of it.
        Some(bytes.slice((range.start - blocks.start) as usize..(range.end - blocks.start) as usize))
    }

    /// Whether so many bytes more of a file of this size may be read, which then count.
    fn may_read(&self, digest: FileDigest, size: u64, bytes: u64) -> bool {
        let (mut read, now) = (self.read.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        if read.len() >= FILES {
            read.retain(|_, (end, _)| *end > now);
        }
        if read.len() >= FILES && !read.contains_key(&digest) {
            return false;
        }
        let (end, so_far) = read.entry(digest).or_insert((now + HOUR, 0));
        if *end <= now {
            (*end, *so_far) = (now + HOUR, 0);
        }
        let fits = *so_far + bytes <= MOST.min(size / PART);
        if fits {
            *so_far += bytes;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn little_of_a_file_is_read_in_an_hour() {
        let (ranges, digest, other) = (Ranges::default(), FileDigest::Sha256([1; 32]), FileDigest::Sha256([2; 32]));
        assert!(!ranges.may_read(digest, 15 << 20, 1 << 20), "more than a sixteenth of a small one");
        assert!((0..8).all(|_| ranges.may_read(digest, 10 << 30, 8 << 20)));
        assert!(!ranges.may_read(digest, 10 << 30, 1) && ranges.may_read(other, 10 << 30, 1));
        tokio::time::advance(HOUR).await;
        assert!(ranges.may_read(digest, 10 << 30, 8 << 20));
    }
}
