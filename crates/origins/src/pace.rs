//! A cap on how fast an origin is read: what was read is waited for until it was due, so that the connection itself becomes as slow.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// So many bytes a second, over all reads.
pub(crate) struct Pace {
    rate: NonZeroU64,
    /// Until when what was read was due.
    due: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(rate: NonZeroU64) -> Self {
        Pace { rate, due: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes more were due, and says for how long.
    pub(crate) async fn take(&self, bytes: usize) -> Duration {
        let began = Instant::now();
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
}
