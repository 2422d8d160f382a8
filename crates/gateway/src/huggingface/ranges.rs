//! Small ranges of files that are not known to be right yet, as programs read that want a header or a few tensors. They give up after ten
//! seconds, and all of a file may take longer. So such a range comes from the hub itself, which is trusted as its lists of files are.
//!
//! That is little of a file. Its end, where formats such as Parquet, zip and some of models have their tables, is given so only as long as
//! no bytes of the file went out that may be wrong: a client that has such would be complete with it, and takes it for the whole file.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
/// For so long clients may have the end of a file that they were given so.
const DAY: Duration = Duration::from_secs(86_400);
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
    read: Mutex<HashMap<FileDigest, Read>>,
}

/// What was read of a file.
struct Read {
    /// Since when it counts what is read, and how much that is.
    hour: Instant,
    bytes: u64,
    /// Where the part begins that clients may have, and that ends with the file; and when the last of it was given.
    rest: u64,
    last: Instant,
}

impl Read {
    fn new(size: u64, now: Instant) -> Self {
        Read { hour: now, bytes: 0, rest: size, last: now }
    }

    /// What it is now, after some time.
    fn at(&mut self, size: u64, now: Instant) -> &mut Self {
        if now - self.hour >= HOUR {
            (self.hour, self.bytes) = (now, 0);
        }
        if now - self.last >= DAY {
            self.rest = size;
        }
        self
    }
}

impl Default for Ranges {
    fn default() -> Self {
        let blocks = Recent::new(REMEMBERED, RANGES).within(BYTES, |bytes: &Bytes| bytes.len() as u64);
        Ranges { blocks, reads: Semaphore::new(READS), read: Mutex::default() }
    }
}

impl Ranges {
    /// A range of a file, which is not empty; nothing if it is too large, too much was read of the file, the hub does not give it soon, or
    /// a client could take what `went_out` without being verified, and this, for the whole file.
    pub(super) async fn read(
        &self,
        (origin, object, digest): (&Origin, &Object, FileDigest),
        range: &Range<u64>,
        went_out: bool,
    ) -> Option<Bytes> {
        let blocks = range.start / BLOCK * BLOCK..(range.end.div_ceil(BLOCK) * BLOCK).min(object.size);
        if blocks.end - blocks.start > AT_ONCE || !self.gives((digest, object.size), range, went_out) {
            return None;
        }
        let asked = async {
            let _turn = self.reads.acquire().await;
            if !self.may_read((digest, object.size), blocks.end - blocks.start) {
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
    fn may_read(&self, (digest, size): (FileDigest, u64), bytes: u64) -> bool {
        let (mut read, now) = (self.lock(), Instant::now());
        let Some(file) = file_of(&mut read, digest, size, now) else { return false };
        let fits = file.bytes + bytes <= MOST.min(size / PART);
        if fits {
            file.bytes += bytes;
        }
        fits
    }

    /// Whether a range may be given to a client, which then may have it. If bytes of the file went out that may be wrong, it must not lead
    /// to the file's end, nor to what clients may have of that.
    fn gives(&self, (digest, size): (FileDigest, u64), range: &Range<u64>, went_out: bool) -> bool {
        let (mut read, now) = (self.lock(), Instant::now());
        let Some(file) = file_of(&mut read, digest, size, now) else { return false };
        if range.end < file.rest {
            return true;
        }
        if went_out {
            return false;
        }
        (file.rest, file.last) = (file.rest.min(range.start), now);
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileDigest, Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a file; nothing if there is no room for it.
fn file_of(read: &mut HashMap<FileDigest, Read>, digest: FileDigest, size: u64, now: Instant) -> Option<&mut Read> {
    if read.len() >= FILES && !read.contains_key(&digest) {
        read.retain(|_, file| now - file.last.max(file.hour) < DAY);
        if read.len() >= FILES {
            return None;
        }
    }
    Some(read.entry(digest).or_insert_with(|| Read::new(size, now)).at(size, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn little_of_a_file_is_read_in_an_hour() {
        let [file, other] = [1, 2].map(|byte| (FileDigest::Sha256([byte; 32]), 10 << 30));
        let ranges = Ranges::default();
        assert!(!ranges.may_read((file.0, 15 << 20), 1 << 20), "more than a sixteenth of a small one");
        assert!((0..8).all(|_| ranges.may_read(file, 8 << 20)));
        assert!(!ranges.may_read(file, 1) && ranges.may_read(other, 1));
        tokio::time::advance(HOUR).await;
        assert!(ranges.may_read(file, 8 << 20));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_not_given_to_those_who_may_have_a_wrong_beginning() {
        let (ranges, file) = (Ranges::default(), (FileDigest::Sha256([1; 32]), 1000));
        assert!(ranges.gives(file, &(900..1000), false), "a footer");
        assert!(ranges.gives(file, &(100..200), true) && ranges.gives(file, &(100..899), true));
        for range in [900..1000, 990..1000, 850..901, 850..900] {
            assert!(
                !ranges.gives(file, &range, true),
                "{range:?} leads to the end, or to what a client may have of it"
            );
        }
        assert!(ranges.gives(file, &(800..900), false), "what leads to it is part of it then");
        assert!(!ranges.gives(file, &(700..800), true) && ranges.gives(file, &(700..799), true));
        tokio::time::advance(DAY).await;
        assert!(ranges.gives(file, &(700..800), true));
    }
}
