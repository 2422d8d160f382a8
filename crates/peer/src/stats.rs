//! Where the time of downloads goes: what requests wait for, added up, so that it can be said what holds a download up.
//!
//! Requests overlap, so their waits are compared with each other and not with the clock; only `flowing` is time of the
//! clock. A request that waits for its turn at the other side counts nowhere: there is always one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use protocol::PeerId;

use crate::lock::lock;

/// Most peers whose bytes are told apart; further ones count for nobody.
const PEERS: usize = 1024;

/// What the requests of a node have waited for so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waits {
    /// For the next bytes of an answer that has begun.
    pub network: Duration,
    /// For the cap of `NodeBuilder::down_rate` or `DownloadBuilder::down_rate`.
    pub rate_cap: Duration,
    /// For a buffer: all were full of pieces that are not stored yet.
    pub buffers: Duration,
    /// For a worker that hashes and writes.
    pub workers: Duration,
    /// Time that workers spent verifying pieces.
    pub verifying: Duration,
    /// Time that workers spent writing pieces.
    pub writing: Duration,
    /// Wall time during which at least one answer was on its way.
    pub flowing: Duration,
    /// Payload bytes by the peer that they came from.
    pub peers: BTreeMap<PeerId, u64>,
}

impl Waits {
    /// Adds the waits of another node, without the bytes by peer.
    pub fn add(&mut self, other: &Waits) {
        self.network += other.network;
        self.rate_cap += other.rate_cap;
        self.buffers += other.buffers;
        self.workers += other.workers;
        self.verifying += other.verifying;
        self.writing += other.writing;
        self.flowing += other.flowing;
    }
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

/// What limits the rate of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bottleneck {
    /// Peers: most of the time nobody sent anything, because they had nothing that was missing here, or no capacity.
    Peers,
    /// The network, or the senders' capacity: most of the time was spent waiting for the bytes of answers.
    Network,
    /// The limit of bytes received per second.
    RateCap,
    /// The disk: pieces waited to be written.
    Disk,
    /// Hashing: pieces waited to be hashed.
    Hashing,
}

impl Bottleneck {
    /// Of a download that has taken `wall` so far: the waits are compared in the order in which things can be at fault.
    pub fn of(waits: &Waits, wall: Duration) -> Self {
        if waits.flowing * 2 < wall {
            return Bottleneck::Peers;
        }
        let storing = waits.buffers + waits.workers;
        if waits.rate_cap > waits.network && waits.rate_cap > storing {
            Bottleneck::RateCap
        } else if waits.network >= storing {
            Bottleneck::Network
        } else if waits.writing > waits.verifying {
            Bottleneck::Disk
        } else {
            Bottleneck::Hashing
        }
    }

    /// As events call it.
    pub fn name(self) -> &'static str {
        match self {
            Bottleneck::Peers => "peers",
            Bottleneck::Network => "network",
            Bottleneck::RateCap => "rate_cap",
            Bottleneck::Disk => "disk",
            Bottleneck::Hashing => "hashing",
        }
    }
}

/// What is counted behind [`Waits`]: of a download, or of all of a node.
#[derive(Default)]
pub(crate) struct WaitStats {
    nanoseconds: [AtomicU64; 6],
    flow: Mutex<Flow>,
    peers: Mutex<BTreeMap<PeerId, u64>>,
    /// Blocks that have come and are not stored.
    unstored: AtomicU64,
    /// Those of the node, if these are of a download: everything counts there, too.
    of_node: Option<Arc<WaitStats>>,
}

/// A block that has come and is not stored, until it is dropped.
pub(crate) struct Unstored(Arc<WaitStats>);

impl Unstored {
    pub(crate) fn of(stats: &Arc<WaitStats>) -> Self {
        stats.unstored.fetch_add(1, Ordering::Relaxed);
        Unstored(stats.clone())
    }
}

impl Drop for Unstored {
    fn drop(&mut self) {
        self.0.unstored.fetch_sub(1, Ordering::Relaxed);
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
    /// Of a download in this node.
    pub(crate) fn of_download(of_node: Arc<WaitStats>) -> Self {
        WaitStats { of_node: Some(of_node), ..WaitStats::default() }
    }

    /// These, and those of the node.
    fn all(&self) -> impl Iterator<Item = &WaitStats> {
        std::iter::once(self).chain(self.of_node.as_deref())
    }

    /// Adds what has passed since `began`.
    pub(crate) fn add(&self, what: WaitKind, began: Instant) {
        let nanoseconds = began.elapsed().as_nanos() as u64;
        for stats in self.all() {
            stats.nanoseconds[what as usize].fetch_add(nanoseconds, Ordering::Relaxed);
        }
    }

    /// Waits for something, and counts that.
    pub(crate) async fn during<T>(&self, what: WaitKind, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = work.await;
        self.add(what, began);
        result
    }

    pub(crate) fn flowing(&self) -> Flowing<'_> {
        for stats in self.all() {
            let mut flow = lock(&stats.flow);
            flow.answers += 1;
            flow.since.get_or_insert_with(Instant::now);
        }
        Flowing(self)
    }

    /// Whether something has come and is still to be stored: while nothing else comes, this machine's disk is slow.
    pub(crate) fn is_storing(&self) -> bool {
        self.unstored.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn came_from(&self, peer: PeerId, bytes: u64) {
        for stats in self.all() {
            let mut peers = lock(&stats.peers);
            if peers.len() < PEERS || peers.contains_key(&peer) {
                *peers.entry(peer).or_default() += bytes;
            }
        }
    }

    pub(crate) fn so_far(&self) -> Waits {
        let waited = |what: WaitKind| Duration::from_nanos(self.nanoseconds[what as usize].load(Ordering::Relaxed));
        let flow = lock(&self.flow);
        Waits {
            network: waited(WaitKind::Network),
            rate_cap: waited(WaitKind::RateCap),
            buffers: waited(WaitKind::Buffers),
            workers: waited(WaitKind::Workers),
            verifying: waited(WaitKind::Verifying),
            writing: waited(WaitKind::Writing),
            flowing: flow.total + flow.since.map_or(Duration::ZERO, |since| since.elapsed()),
            peers: lock(&self.peers).clone(),
        }
    }
}

impl Drop for Flowing<'_> {
    fn drop(&mut self) {
        for stats in self.0.all() {
            let mut flow = lock(&stats.flow);
            flow.answers -= 1;
            if flow.answers == 0
                && let Some(since) = flow.since.take()
            {
                flow.total += since.elapsed();
            }
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
        let node = Arc::new(WaitStats::default());
        let [one, other] = [0; 2].map(|_| Arc::new(WaitStats::of_download(node.clone())));
        let (first, last) = (Unstored::of(&one), Unstored::of(&one));
        assert!(one.is_storing() && !other.is_storing());
        drop(first);
        assert!(one.is_storing());
        drop(last);
        assert!(!one.is_storing());
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

    #[test]
    fn a_download_counts_for_its_node() {
        let node = Arc::new(WaitStats::default());
        let [one, other] = [0; 2].map(|_| WaitStats::of_download(node.clone()));
        one.came_from(PeerId(Digest([1; 32])), 3);
        other.came_from(PeerId(Digest([1; 32])), 4);
        let bytes = |stats: &WaitStats| stats.so_far().peers.into_values().sum::<u64>();
        assert_eq!([bytes(&one), bytes(&other), bytes(&node)], [3, 4, 7]);
        let flowing = one.flowing();
        assert!(other.flow.lock().unwrap().since.is_none() && node.flow.lock().unwrap().since.is_some());
        drop(flowing);
        assert!(node.flow.lock().unwrap().since.is_none());
    }

    #[test]
    fn the_longest_wait_names_the_bottleneck() {
        let seconds = Duration::from_secs;
        let of = |flowing, network, rate_cap, buffers, writing, verifying| {
            let [network, rate_cap, buffers] = [network, rate_cap, buffers].map(seconds);
            let [writing, verifying, flowing] = [writing, verifying, flowing].map(seconds);
            let waits = Waits { network, rate_cap, buffers, writing, verifying, flowing, ..Waits::default() };
            Bottleneck::of(&waits, seconds(10))
        };
        assert_eq!(of(4, 4, 0, 0, 0, 0), Bottleneck::Peers);
        assert_eq!(of(9, 30, 1, 2, 9, 1), Bottleneck::Network);
        assert_eq!(of(10, 5, 30, 0, 0, 0), Bottleneck::RateCap);
        assert_eq!(of(10, 5, 0, 30, 18, 2), Bottleneck::Disk);
        assert_eq!(of(10, 5, 0, 30, 2, 18), Bottleneck::Hashing);
    }
}
