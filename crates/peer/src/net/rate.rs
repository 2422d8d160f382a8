//! A rate cap: bytes are paid for before they are sent, or after they came.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::lock::lock;

/// A token bucket. A task that takes more than is in it goes into debt and sleeps it off, so that large pieces pass
/// too, and the average is kept exactly.
pub(crate) struct RateCap {
    /// No cap if it is 0.
    bytes_a_second: AtomicU64,
    state: Mutex<Bucket>,
    /// A cap on this and others together.
    shared: Option<Arc<RateCap>>,
}

struct Bucket {
    last: Instant,
    /// Bytes that may go at once; less than zero if some are to be slept off.
    saved: f64,
    /// Those who wait for their turn, and how each is told that it is the first one now.
    waiting: BTreeMap<Turn, Arc<Notify>>,
    /// Bytes that each lane has taken. A lane that is not listed has taken `served`.
    taken: BTreeMap<Lane, u64>,
    /// Bytes that the lane of the last turn had taken before it.
    served: u64,
}

/// Who takes turns evenly with others under a cap: what comes over one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane(u64);

impl Lane {
    /// One of its own.
    pub(crate) fn new() -> Self {
        Lane(next_number())
    }
}

/// Who goes on first within a lane: what somebody waits for, and then what has begun first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    lane: Lane,
    is_bulk: bool,
    number: u64,
}

impl Turn {
    /// After all others that are there.
    pub(crate) fn new(lane: Lane, awaited: bool) -> Self {
        Turn { lane, is_bulk: !awaited, number: next_number() }
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What may be saved up while nothing is sent.
const BURST: Duration = Duration::from_millis(50);

impl RateCap {
    /// No cap if there is no rate.
    pub(crate) fn new(bytes_a_second: Option<u64>) -> Self {
        let bucket =
            Bucket { last: Instant::now(), saved: 0.0, waiting: BTreeMap::new(), taken: BTreeMap::new(), served: 0 };
        let cap = RateCap { bytes_a_second: AtomicU64::new(0), state: Mutex::new(bucket), shared: None };
        cap.set(bytes_a_second);
        cap
    }

    /// Sets another cap, or none. Who sleeps off what it took under the old one still does so.
    pub(crate) fn set(&self, bytes_a_second: Option<u64>) {
        self.bytes_a_second.store(bytes_a_second.map_or(0, |rate| rate.max(1)), Ordering::Relaxed);
        // What is owed by the old cap is not paid by the new one.
        let mut bucket = lock(&self.state);
        (bucket.last, bucket.saved) = (Instant::now(), 0.0);
        bucket.waiting.values().for_each(|told| told.notify_one());
    }

    /// Its own cap.
    fn own(&self) -> Option<f64> {
        Some(self.bytes_a_second.load(Ordering::Relaxed)).filter(|&rate| rate > 0).map(|rate| rate as f64)
    }

    /// The slowest cap that counts, in bytes a second.
    pub(crate) fn slowest(&self) -> Option<u64> {
        let shared = self.shared.as_ref().and_then(|shared| shared.slowest());
        self.own().map(|rate| rate as u64).into_iter().chain(shared).min()
    }

    /// A cap of one content's own beside one that it shares with others; that one alone if it has none.
    pub(crate) fn within(shared: &Arc<RateCap>, bytes_a_second: Option<u64>) -> Arc<Self> {
        match bytes_a_second {
            None => shared.clone(),
            own => Arc::new(RateCap { shared: Some(shared.clone()), ..RateCap::new(own) }),
        }
    }

    /// Takes `bytes` and waits until they were due.
    pub(crate) async fn take(&self, bytes: usize) {
        let wait = self.charge(bytes).max(self.shared.as_ref().map_or(Duration::ZERO, |shared| shared.charge(bytes)));
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    /// Waits until nothing is owed and it is this one's turn, and then takes `bytes`. Connections take turns evenly, so that none looks
    /// stalled for the cap's sake; of one connection, what has begun first is whole first: many that go on side by side would all be whole
    /// late.
    pub(crate) async fn take_in_turn(&self, bytes: usize, turn: Turn) {
        self.wait_for_turn(bytes, turn).await;
        if let Some(shared) = &self.shared {
            shared.wait_for_turn(bytes, turn).await;
        }
    }

    async fn wait_for_turn(&self, bytes: usize, turn: Turn) {
        if self.own().is_none() {
            return;
        }
        let place = Place::new(self, turn);
        loop {
            let due = {
                let mut bucket = lock(&self.state);
                let Some(rate) = self.own() else { return };
                bucket.refill(rate);
                match bucket.first() == Some(turn) {
                    true if bucket.saved >= 0.0 => return bucket.serve(turn.lane, bytes as u64),
                    true => Some(Duration::try_from_secs_f64(-bucket.saved / rate).unwrap_or(Duration::MAX)),
                    false => None,
                }
            };
            match due {
                // Rounded up, or it would look in vain.
                Some(due) => {
                    drop(timeout(due.saturating_add(Duration::from_micros(1)), place.told.notified()).await);
                }
                None => place.told.notified().await,
            }
        }
    }

    /// Takes `bytes`, and says how long it is until they were due.
    fn charge(&self, bytes: usize) -> Duration {
        let Some(rate) = self.own() else { return Duration::ZERO };
        let mut bucket = lock(&self.state);
        bucket.refill(rate);
        bucket.saved -= bytes as f64;
        Duration::from_secs_f64((-bucket.saved / rate).max(0.0))
    }

    /// Bytes to take at a time: small enough that a slow cap flows rather than bursts.
    pub(crate) fn step(&self) -> usize {
        let own = self.own().map_or(usize::MAX, |rate| ((rate / 20.0) as usize).clamp(1024, 256 << 10));
        own.min(self.shared.as_ref().map_or(usize::MAX, |shared| shared.step()))
    }
}

impl Bucket {
    /// Whose turn it is: of the lane that has taken least.
    fn first(&self) -> Option<Turn> {
        self.waiting.keys().copied().min_by_key(|turn| (self.taken_by(turn.lane), turn.is_bulk, turn.number))
    }

    /// Bytes that a lane has taken, and at least `served`: a new lane does not get all turns until it has caught up.
    fn taken_by(&self, lane: Lane) -> u64 {
        self.taken.get(&lane).copied().unwrap_or_default().max(self.served)
    }

    fn serve(&mut self, lane: Lane, bytes: u64) {
        self.saved -= bytes as f64;
        self.served = self.taken_by(lane);
        self.taken.insert(lane, self.served + bytes);
        self.taken.retain(|_, taken| *taken > self.served);
    }

    fn refill(&mut self, rate: f64) {
        let now = Instant::now();
        self.saved = (self.saved + (now - self.last).as_secs_f64() * rate).min(BURST.as_secs_f64() * rate);
        self.last = now;
    }
}

/// A place among those who wait. When it is left, the next one is told.
struct Place<'a> {
    cap: &'a RateCap,
    turn: Turn,
    told: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn new(cap: &'a RateCap, turn: Turn) -> Self {
        let told = Arc::new(Notify::new());
        lock(&cap.state).waiting.insert(turn, told.clone());
        Place { cap, turn, told }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut bucket = lock(&self.cap.state);
        bucket.waiting.remove(&self.turn);
        if let Some(told) = bucket.first().and_then(|turn| bucket.waiting.get(&turn)) {
            told.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_has_begun_first_is_whole_first() {
        let cap = Arc::new(RateCap::new(Some(1000)));
        let (began, lane) = (Instant::now(), Lane::new());
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..5 {
            let (cap, turn) = (cap.clone(), Turn::new(lane, false));
            tasks.spawn(async move {
                for _ in 0..10 {
                    cap.take_in_turn(200, turn).await;
                }
                (number, began.elapsed().as_secs_f64())
            });
        }
        for expected in 0..5 {
            let (number, took) = tasks.join_next().await.unwrap().unwrap();
            let due = f64::from(expected + 1) * 2.0;
            assert!(number == expected && (due - 0.3..due + 0.1).contains(&took), "{number} after {took}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_take_turns_evenly_and_what_is_awaited_comes_first() {
        let cap = Arc::new(RateCap::new(Some(1000)));
        let (began, lanes) = (Instant::now(), [Lane::new(), Lane::new()]);
        let mut tasks = tokio::task::JoinSet::new();
        for (lane, awaited) in [(0, false), (0, false), (1, false), (1, true)] {
            let (cap, turn) = (cap.clone(), Turn::new(lanes[lane], awaited));
            tasks.spawn(async move {
                for _ in 0..10 {
                    cap.take_in_turn(100, turn).await;
                }
                (awaited, began.elapsed().as_secs_f64())
            });
        }
        let mut done = Vec::new();
        while let Some(one) = tasks.join_next().await {
            done.push(one.unwrap());
        }
        let after = |seconds: f64| done.iter().filter(|(.., took)| *took < seconds + 0.2).count();
        assert_eq!((after(1.0), after(2.0), after(4.0)), (0, 2, 4), "{done:?}");
        assert!(done.iter().position(|one| one.0) < Some(2), "{done:?}");
        // Who comes now gets its part, and not all until it has caught up.
        let late = Turn::new(Lane::new(), false);
        cap.take_in_turn(100, late).await;
        let bucket = lock(&cap.state);
        assert_eq!(bucket.taken_by(late.lane), bucket.served + 100);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_something_else_keeps_nobody_waiting() {
        let cap = RateCap::new(Some(1000));
        let lane = Lane::new();
        let (first, second) = (Turn::new(lane, false), Turn::new(lane, false));
        let began = Instant::now();
        cap.take_in_turn(1000, first).await;
        // The first one has no bytes now; and one that is given up while it waits is not waited for.
        assert!(timeout(Duration::from_millis(10), cap.take_in_turn(1000, first)).await.is_err());
        cap.take_in_turn(1000, second).await;
        assert!((0.9..1.1).contains(&began.elapsed().as_secs_f64()));
        let waits = cap.take_in_turn(1, first);
        tokio::pin!(waits);
        assert!(timeout(Duration::from_millis(10), &mut waits).await.is_err());
        cap.set(None);
        timeout(Duration::from_millis(10), waits).await.expect("without a cap nobody waits");
    }

    #[tokio::test(start_paused = true)]
    async fn the_slower_of_two_caps_counts() {
        let took = async |cap: &RateCap| {
            let began = Instant::now();
            for _ in 0..100 {
                cap.take(1000).await;
            }
            began.elapsed().as_secs_f64()
        };
        let shared = Arc::new(RateCap::new(Some(10_000)));
        let slow = RateCap::within(&shared, Some(1000));
        assert!((90.0..=101.0).contains(&took(&slow).await));
        let fast = RateCap::within(&shared, Some(1 << 30));
        assert!((9.0..=11.0).contains(&took(&fast).await));
        assert_eq!((slow.step(), slow.slowest(), fast.slowest()), (1024, Some(1000), Some(10_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cap_can_be_changed_and_taken_away() {
        let cap = RateCap::new(Some(1000));
        assert!(!cap.charge(100_000).is_zero());
        cap.set(Some(10_000));
        assert!((0.9..=1.1).contains(&cap.charge(10_000).as_secs_f64()), "what was owed before is forgotten");
        cap.set(None);
        assert_eq!((cap.charge(1 << 30), cap.slowest()), (Duration::ZERO, None));
    }
}
