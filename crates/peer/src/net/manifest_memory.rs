//! Memory for manifests that are under way. Whether a manifest is the right one is known only with its last byte, and what a sender says
//! of its size may be an invention: peers that send without end must neither take much memory nor be in the way of others.
//!
//! Each may have a little at any time, and up to 4 MiB of a pool that all share, part by part as it comes. What is larger gets all the rest that it
//! may need at once, out of a second pool as large as the largest manifest. So none that was begun there waits for another, and those that
//! wait hold little. While others answer for the same content, it waits for two seconds before: one that is right and not so large is here
//! by then, and ends the others. Where nobody else answers, it waits for nothing.
//!
//! Where somebody waits for the second pool, whoever has a part of it must not be much slower than that one was: who takes 4 MiB to
//! its end at once and then sends a byte now and then would keep others waiting for a quarter of an hour.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::{ContentId, MAX_MANIFEST_BYTES};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Memory is counted in parts of so many bytes.
pub(super) const PART: usize = 64 << 10;
/// Each may have so much without asking.
const FIRST: usize = 4 * PART;
/// More than this is large.
const LARGE: usize = 4 << 20;
/// What all have together that are not large: two of each content go on once their pace is known, and one more.
const POOL: usize = 3 * LARGE;
/// A large one waits for so long from the beginning of its answer, while others answer.
const OTHERS: Duration = Duration::from_secs(2);
/// The pace is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// It may be so many times slower than who waits was before.
const SLOWER: u64 = 4;

/// All memory for manifests of a node.
pub(crate) struct ManifestMemory {
    pool: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// How many answer for each content.
    answers: watch::Sender<HashMap<ContentId, usize>>,
    /// The pace of the fastest that waits, in bytes for each look.
    wanted: AtomicU64,
}

impl Default for ManifestMemory {
    fn default() -> Self {
        let semaphore = |bytes: usize| Arc::new(Semaphore::new(bytes.div_ceil(PART)));
        ManifestMemory {
            pool: semaphore(POOL),
            large: semaphore(MAX_MANIFEST_BYTES),
            answers: watch::Sender::new(HashMap::new()),
            wanted: AtomicU64::new(0),
        }
    }
}

impl ManifestMemory {
    /// The answer begins for this content, and says that so many bytes come.
    pub(super) fn share(self: &Arc<Self>, content: ContentId, len: usize) -> Share {
        self.answers.send_modify(|answers| *answers.entry(content).or_default() += 1);
        let began = Instant::now();
        let (pool, large, looked) = (None, None, (began, 0));
        Share { memory: self.clone(), content, len, began, pool, large, looked }
    }

    /// Bytes that are held beyond what each may always have.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let all = POOL.div_ceil(PART) + MAX_MANIFEST_BYTES.div_ceil(PART);
        (all - self.pool.available_permits() - self.large.available_permits()) * PART
    }
}

/// What one manifest has that is under way.
pub(super) struct Share {
    memory: Arc<ManifestMemory>,
    content: ContentId,
    len: usize,
    began: Instant,
    pool: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    /// When the pace was looked at last, and what had come by then.
    looked: (Instant, usize),
}

impl Share {
    /// Bytes that it may have by now.
    pub(super) fn granted(&self) -> usize {
        let pool = self.pool.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if self.large.is_some() { self.len } else { self.len.min(FIRST + pool * PART) }
    }

    /// Bytes that it may come to before it has to wait for long.
    pub(super) fn foreseen(&self) -> usize {
        if self.large.is_some() { self.len } else { self.len.min(LARGE) }
    }

    /// Waits until it may have more.
    pub(super) async fn more(&mut self) {
        let memory = self.memory.clone();
        let part = async {
            match self.granted() < LARGE {
                true => memory.pool.clone().acquire_owned().await.ok(),
                false => pending().await,
            }
        };
        let rest = async {
            self.let_others_pass().await;
            let all = self.len.div_ceil(PART) as u32;
            self.wait_for(memory.large.clone().acquire_many_owned(all)).await.ok()
        };
        tokio::select! {
            biased;
            part = part => match (&mut self.pool, part) {
                (Some(pool), Some(part)) => pool.merge(part),
                (pool, part) => *pool = part,
            },
            rest = rest => {
                self.looked = (Instant::now(), self.granted());
                self.large = rest;
                self.pool = None;
            }
        }
    }

    /// Returns after a while, or as soon as nobody else answers for this content.
    async fn let_others_pass(&self) {
        if self.len <= LARGE {
            return;
        }
        let mut answers = self.memory.answers.subscribe();
        let is_alone = |answers: &HashMap<_, _>| answers.get(&self.content).is_none_or(|&count| count <= 1);
        let alone = async { drop(answers.wait_for(is_alone).await) };
        tokio::select! {
            () = alone => {}
            () = sleep_until(self.began + OTHERS) => {}
        }
    }

    /// Waits for this, and has those who hold it up know how fast it was.
    async fn wait_for<T>(&self, memory: impl Future<Output = T>) -> T {
        let looks = self.began.elapsed().div_duration_f64(LOOK).max(0.1);
        let pace = (self.granted() as f64 / looks) as u64;
        let mut memory = pin!(memory);
        loop {
            tokio::select! {
                biased;
                memory = &mut memory => return memory,
                () = sleep(LOOK) => {}
            }
            self.memory.wanted.fetch_max(pace, Ordering::Relaxed);
        }
    }

    /// Returns when somebody waits for memory that this one has and makes little use of, of whom so many bytes have come.
    pub(super) async fn is_in_the_way(&mut self, came: usize) {
        if self.large.is_none() {
            return pending().await;
        }
        loop {
            let (at, before) = self.looked;
            sleep_until(at + LOOK).await;
            let now = Instant::now();
            self.looked = (now, came);
            let looks = now.duration_since(at).div_duration_f64(LOOK);
            let pace = (came.saturating_sub(before) as f64 / looks) as u64;
            if pace.saturating_mul(SLOWER) < self.memory.wanted.swap(0, Ordering::Relaxed) {
                return;
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.answers.send_modify(|answers| {
            let Some(count) = answers.get_mut(&self.content) else { return };
            *count -= 1;
            if *count == 0 {
                answers.remove(&self.content);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn content(number: u8) -> ContentId {
        ContentId(protocol::Digest([number; 32]))
    }

    /// Comes to its end, a part at a time.
    async fn ends(mut share: Share) {
        while share.granted() < share.len {
            share.more().await;
        }
    }

    /// One of the largest, with memory for all of it.
    async fn largest(memory: &Arc<ManifestMemory>, number: u8) -> Share {
        let mut share = memory.share(content(number), MAX_MANIFEST_BYTES);
        while share.large.is_none() {
            share.more().await;
        }
        share
    }

    #[tokio::test(start_paused = true)]
    async fn none_waits_for_another_for_ever() {
        let memory = Arc::<ManifestMemory>::default();
        let mut ending = tokio::task::JoinSet::new();
        for number in 0..60 {
            let len = [MAX_MANIFEST_BYTES, 20 << 20, 5 << 20, 3 << 20, 300 << 10][usize::from(number % 5)];
            ending.spawn(ends(memory.share(content(number % 7), len)));
        }
        timeout(LONG, ending.join_all()).await.expect("all have ended");
        assert_eq!((memory.held(), memory.answers.borrow().len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_others_goes_on_as_soon_as_they_are_gone() {
        let memory = Arc::<ManifestMemory>::default();
        let began = Instant::now();
        let other = memory.share(content(1), 1000);
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { largest(&memory, 1).await.len }
        });
        sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished() && memory.held() <= LARGE);
        drop(other);
        waiting.await.unwrap();
        assert!(began.elapsed() < OTHERS);
        // Others that go on hold it up no longer than that.
        let _other = memory.share(content(1), 1000);
        let began = Instant::now();
        largest(&memory, 1).await;
        assert!(began.elapsed() >= OTHERS && began.elapsed() < 2 * OTHERS);
    }

    #[tokio::test(start_paused = true)]
    async fn others_of_another_content_hold_up_nobody() {
        let memory = Arc::<ManifestMemory>::default();
        let _others: Vec<_> = (0..10).map(|_| memory.share(content(1), MAX_MANIFEST_BYTES)).collect();
        let began = Instant::now();
        largest(&memory, 2).await;
        assert!(began.elapsed() < OTHERS);
    }

    #[tokio::test(start_paused = true)]
    async fn who_trickles_is_in_the_way_of_one_that_waits_and_who_is_as_fast_is_not() {
        let memory = Arc::<ManifestMemory>::default();
        let mut slow = largest(&memory, 1).await;
        assert!(timeout(LONG, slow.is_in_the_way(0)).await.is_err(), "nobody waits");
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { largest(&memory, 2).await }
        });
        timeout(LONG, slow.is_in_the_way(0)).await.expect("somebody waits");
        drop(slow);
        let mut fast = waiting.await.unwrap();
        let _waiting = tokio::spawn({
            let memory = memory.clone();
            async move { largest(&memory, 3).await }
        });
        for looks in 1..30 {
            let came = looks * MAX_MANIFEST_BYTES;
            assert!(timeout(LOOK, fast.is_in_the_way(came)).await.is_err());
        }
        timeout(LONG, fast.is_in_the_way(30 * MAX_MANIFEST_BYTES)).await.expect("nothing comes any more");
    }
}
