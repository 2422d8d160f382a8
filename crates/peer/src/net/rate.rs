//! A rate cap: bytes are paid for before they are sent, or after they came.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::lock::lock;

/// A token bucket. A task that takes more than is in it goes into debt and sleeps it off, so that large pieces pass
/// too, and the average is kept exactly.
pub(crate) struct RateCap {
    /// No cap if it is 0.
    bytes_a_second: AtomicU64,
    state: Mutex<(Instant, f64)>,
    /// A cap on this and others together.
    shared: Option<Arc<RateCap>>,
}

/// What may be saved up while nothing is sent.
const BURST: Duration = Duration::from_millis(50);

impl RateCap {
    /// No cap if there is no rate.
    pub(crate) fn new(bytes_a_second: Option<u64>) -> Self {
        let cap = RateCap { bytes_a_second: AtomicU64::new(0), state: Mutex::new((Instant::now(), 0.0)), shared: None };
        cap.set(bytes_a_second);
        cap
    }

    /// Sets another cap, or none. Who waits for the old one still does so.
    pub(crate) fn set(&self, bytes_a_second: Option<u64>) {
        self.bytes_a_second.store(bytes_a_second.map_or(0, |rate| rate.max(1)), Ordering::Relaxed);
        // What is owed by the old cap is not paid by the new one.
        *lock(&self.state) = (Instant::now(), 0.0);
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
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes `bytes`, and says how long it is until they were due.
    fn charge(&self, bytes: usize) -> Duration {
        let Some(rate) = self.own() else { return Duration::ZERO };
        let mut state = lock(&self.state);
        let (last, saved) = &mut *state;
        let now = Instant::now();
        *saved = (*saved + (now - *last).as_secs_f64() * rate).min(BURST.as_secs_f64() * rate) - bytes as f64;
        *last = now;
        Duration::from_secs_f64((-*saved / rate).max(0.0))
    }

    /// Bytes to take at a time: small enough that a slow cap flows rather than bursts.
    pub(crate) fn step(&self) -> usize {
        let own = self.own().map_or(usize::MAX, |rate| ((rate / 20.0) as usize).clamp(1024, 256 << 10));
        own.min(self.shared.as_ref().map_or(usize::MAX, |shared| shared.step()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
