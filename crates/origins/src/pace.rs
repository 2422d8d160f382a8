//! A cap on how fast an origin is read: what was read is waited for until it was due, so that the connection itself becomes as slow. It is
//! given on in small portions, so that under a low cap, too, something comes all the time, and as well where many share it.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A portion is what the rate allows in this fraction of a second, and at least so many bytes.
const PORTION: f64 = 0.125;
const LEAST_PORTION: usize = 64;
/// Under a cap, each of several reads at a time has at least so many bytes a second: many slow ones would all be late.
const LEAST_EACH: u64 = 256 << 10;

/// So many bytes a second, over all reads of all origins that have a clone of it.
#[derive(Debug, Clone)]
pub struct Pace {
    rate: NonZeroU64,
    /// Until when what was read was due.
    due: Arc<Mutex<Instant>>,
    /// How many wait for it.
    waiting: Arc<AtomicUsize>,
}

/// One who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pace {
    /// So many bytes a second.
    pub fn new(rate: NonZeroU64) -> Self {
        Pace { rate, due: Arc::new(Mutex::new(Instant::now())), waiting: Arc::default() }
    }

    /// Bytes a second.
    pub(crate) fn rate(&self) -> NonZeroU64 {
        self.rate
    }

    /// Bytes that are given on at a time: fewer, the more wait for theirs, so that each has some soon.
    pub(crate) fn portion(&self) -> usize {
        let waiting = self.waiting.load(Ordering::Relaxed) + 1;
        ((self.rate.get() as f64 * PORTION) as usize / waiting).max(LEAST_PORTION)
    }

    /// How many of so many reads are worth making at a time.
    pub(crate) fn reads(&self, most: usize) -> usize {
        ((self.rate.get() / LEAST_EACH) as usize).clamp(1, most)
    }

    /// Waits until so many bytes more were due, and says for how long.
    pub(crate) async fn take(&self, bytes: usize) -> Duration {
        let began = Instant::now();
        let _waiting = Waiting::of(&self.waiting);
        let due = {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            *due = (*due).max(began) + Duration::from_secs_f64(bytes as f64 / self.rate.get() as f64);
            *due
        };
        sleep_until(due).await;
        began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readers_share_one_rate() {
        let pace = Pace::new(NonZeroU64::new(1000).unwrap());
        let began = Instant::now();
        let (one, other) = tokio::join!(pace.take(500), pace.take(500));
        assert_eq!((one.as_millis(), other.as_millis()), (500, 1000));
        pace.take(1000).await;
        assert_eq!(began.elapsed().as_millis(), 2000);
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_many_readers_has_some_soon() {
        let pace = Pace::new(NonZeroU64::new(1 << 20).unwrap());
        let alone = pace.portion();
        let waiting: Vec<_> = (0..31).map(|_| pace.clone()).collect();
        let mut waiting: Vec<_> = waiting.iter().map(|pace| Box::pin(pace.take(1 << 20))).collect();
        for wait in &mut waiting {
            assert!(futures_util::poll!(wait).is_pending());
        }
        assert_eq!(pace.portion(), alone / 32);
        drop(waiting);
        assert_eq!(pace.portion(), alone, "those who have gone away wait no more");
    }

    #[test]
    fn a_low_cap_makes_few_reads_of_small_portions() {
        let of = |rate: u64| Pace::new(NonZeroU64::new(rate).unwrap());
        assert_eq!((of(80 << 10).portion(), of(80 << 10).reads(6)), (10 << 10, 1));
        assert_eq!((of(1 << 20).reads(6), of(100 << 20).reads(6)), (4, 6));
        assert_eq!(of(1).portion(), LEAST_PORTION);
    }
}
