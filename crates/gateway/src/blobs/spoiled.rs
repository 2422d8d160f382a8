//! Files of which clients may have bytes that are not theirs: an answer with them broke off, before it was known whether they were right or
//! because they were not. Who goes on behind such bytes would put two files together.
//!
//! From then on such a file has another tag, so that no condition with the tag of before is met; and who asks for all behind a place, with
//! no condition at all, gets all of it from the first byte on. Clients begin anew then, or say that they cannot go on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use origins::FileDigest;
use tokio::time::Instant;

/// Most of them that are remembered, and for how long.
const MOST: usize = 4096;
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// How often an answer with a file broke off so, and when it last did.
#[derive(Default)]
pub(crate) struct Spoiled(Mutex<HashMap<FileDigest, (u32, Instant)>>);

impl Spoiled {
    /// An answer with this file breaks off.
    pub(super) fn add(&self, digest: FileDigest) {
        let (now, mut spoiled) = (Instant::now(), self.lock());
        if spoiled.len() >= MOST && !spoiled.contains_key(&digest) {
            let oldest = spoiled.iter().min_by_key(|(_, (_, last))| *last).map(|(digest, _)| *digest);
            oldest.and_then(|oldest| spoiled.remove(&oldest));
        }
        let (times, last) = spoiled.entry(digest).or_insert((0, now));
        (*times, *last) = (*times + 1, now);
    }

    /// How often that was the case.
    pub(crate) fn times(&self, digest: FileDigest) -> u32 {
        let spoiled = self.lock();
        spoiled.get(&digest).filter(|(_, last)| last.elapsed() < REMEMBERED).map_or(0, |(times, _)| *times)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileDigest, (u32, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_broke_off_is_remembered_for_a_day() {
        let (spoiled, digest) = (Spoiled::default(), FileDigest::Sha256([1; 32]));
        assert_eq!(spoiled.times(digest), 0);
        spoiled.add(digest);
        spoiled.add(digest);
        assert_eq!((spoiled.times(digest), spoiled.times(FileDigest::Sha256([2; 32]))), (2, 0));
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(spoiled.times(digest), 0);
    }
}
