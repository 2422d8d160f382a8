//! Where the time of downloads goes: what requests wait for, added up, so that it can be said what holds a download up.
//!
//! Requests overlap, so their waits are compared with each other and not with the clock; only `flowing` is time of the
//! clock. A request that waits for its turn at the other side counts nowhere: there is always one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use protocol::{ContentId, PeerId};

/// Most peers whose bytes are told apart; further ones count for nobody.
const PEERS: usize = 1024;

/// What requests of a node have waited for so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waits {
    /// For the next bytes of an answer that has begun.
    pub network: Duration,
    /// For the cap of `NodeBuilder::rates`.
    pub rate_cap: Duration,
    /// For a buffer: all were full of pieces that are not stored yet.
    pub buffers: Duration,
    /// For a worker that hashes and writes.
    pub workers: Duration,
    /// What workers took to verify pieces.
    pub verifying: Duration,
    /// What workers took to write them.
    pub writing: Duration,
    /// Time by the clock in which at least one answer was on its way.
    pub flowing: Duration,
    /// Payload bytes by the peer that they came from.
    pub peers: BTreeMap<PeerId, u64>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WaitKind {
    Network,
    RateCap,
    Buffers,
    Workers,
    Verifying,
    Writing,
}

/// The stats behind [`Waits`].
#[derive(Default)]
pub(crate) struct WaitStats {
    nanoseconds: [AtomicU64; 6],
    flow: Mutex<Flow>,
    peers: Mutex<BTreeMap<PeerId, u64>>,
    /// Blocks of each content that have come and are not stored.
    unstored: Mutex<BTreeMap<ContentId, u32>>,
}

/// A block that has come and is not stored, until it is dropped.
pub(crate) struct Unstored(Arc<WaitStats>, ContentId);

impl Unstored {
    /// Of this content.
    pub(crate) fn of(stats: &Arc<WaitStats>, content: ContentId) -> Self {
        *stats.unstored.lock().expect("no panic holds it").entry(content).or_default() += 1;
        Unstored(stats.clone(), content)
    }
}

impl Drop for Unstored {
    fn drop(&mut self) {
        let mut unstored = self.0.unstored.lock().expect("no panic holds it");
        if let Some(blocks) = unstored.get_mut(&self.1) {
            *blocks -= 1;
            if *blocks == 0 {
                unstored.remove(&self.1);
            }
        }
    }
}

#[derive(Default)]
struct Flow {
    answers: u32,
    since: Option<Instant>,
    total: Duration,
}

/// An answer that is on its way, until it is dropped.
pub(crate) struct Flowing<'a>(&'a WaitStats);

impl WaitStats {
    /// Adds what has passed since `began`.
    pub(crate) fn add(&self, what: WaitKind, began: Instant) {
        self.nanoseconds[what as usize].fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    /// Waits for something, and counts that.
    pub(crate) async fn during<T>(&self, what: WaitKind, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = work.await;
        self.add(what, began);
        result
    }

    pub(crate) fn flowing(&self) -> Flowing<'_> {
        let mut flow = self.flow.lock().expect("no panic holds it");
        flow.answers += 1;
        flow.since.get_or_insert_with(Instant::now);
        Flowing(self)
    }

    /// Whether something of a content has come and is still to be stored: while nothing else comes, this machine's disk is slow.
    pub(crate) fn is_storing(&self, content: ContentId) -> bool {
        self.unstored.lock().expect("no panic holds it").contains_key(&content)
    }

    pub(crate) fn came_from(&self, peer: PeerId, bytes: u64) {
        let mut peers = self.peers.lock().expect("no panic holds it");
        if peers.len() < PEERS || peers.contains_key(&peer) {
            *peers.entry(peer).or_default() += bytes;
        }
    }

    pub(crate) fn so_far(&self) -> Waits {
        let waited = |what: WaitKind| Duration::from_nanos(self.nanoseconds[what as usize].load(Ordering::Relaxed));
        let flow = self.flow.lock().expect("no panic holds it");
        Waits {
            network: waited(WaitKind::Network),
            rate_cap: waited(WaitKind::RateCap),
            buffers: waited(WaitKind::Buffers),
            workers: waited(WaitKind::Workers),
            verifying: waited(WaitKind::Verifying),
            writing: waited(WaitKind::Writing),
            flowing: flow.total + flow.since.map_or(Duration::ZERO, |since| since.elapsed()),
            peers: self.peers.lock().expect("no panic holds it").clone(),
        }
    }
}

impl Drop for Flowing<'_> {
    fn drop(&mut self) {
        let mut flow = self.0.flow.lock().expect("no panic holds it");
        flow.answers -= 1;
        if flow.answers == 0
            && let Some(since) = flow.since.take()
        {
            flow.total += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Digest;

    #[test]
    fn what_was_waited_for_is_told_apart() {
        let stats = WaitStats::default();
        let earlier = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        stats.add(WaitKind::Writing, earlier);
        stats.came_from(PeerId(Digest([1; 32])), 3);
        stats.came_from(PeerId(Digest([1; 32])), 4);
        let waits = stats.so_far();
        assert!(waits.writing >= Duration::from_secs(5) && waits.network.is_zero());
        assert_eq!(waits.peers.into_values().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_content_is_being_stored_until_its_last_block_is() {
        let stats = Arc::new(WaitStats::default());
        let [one, other] = [1, 2].map(|byte| ContentId(Digest([byte; 32])));
        let blocks = [Unstored::of(&stats, one), Unstored::of(&stats, one)];
        assert!(stats.is_storing(one) && !stats.is_storing(other));
        let [first, last] = blocks;
        drop(first);
        assert!(stats.is_storing(one));
        drop(last);
        assert!(!stats.is_storing(one));
    }

    #[test]
    fn time_flows_only_while_an_answer_does() {
        let stats = WaitStats::default();
        let (one, other) = (stats.flowing(), stats.flowing());
        drop(one);
        assert!(stats.flow.lock().unwrap().since.is_some());
        drop(other);
        let flowed = stats.so_far().flowing;
        assert_eq!(stats.so_far().flowing, flowed);
    }
}
