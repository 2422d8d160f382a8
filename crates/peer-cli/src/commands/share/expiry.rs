//! When a share is over that stands for a certain time.

use std::time::{Duration, Instant, SystemTime};

/// How often the clock of the machine is looked at while something is to expire: it may have slept.
const CLOCK: Duration = Duration::from_secs(5);

/// Waits until this time is over since then; for ever if there is none.
pub(super) async fn expired(expires: Option<Duration>, since: Moment) {
    let Some(time) = expires else { return std::future::pending().await };
    while let Some(left) = time.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) {
        tokio::time::sleep(left.min(CLOCK)).await;
    }
}

/// A moment, by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment(Instant, SystemTime);

impl Moment {
    pub(super) fn now() -> Self {
        Moment(Instant::now(), SystemTime::now())
    }

    /// The time since then: one clock stands still while the machine sleeps, and the other may be set back.
    fn elapsed(self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_by_either_clock() {
        let hour = Duration::from_secs(3600);
        let (now, slept) = (Moment::now(), Moment(Instant::now(), SystemTime::now() - hour));
        assert!(now.elapsed() < hour && slept.elapsed() >= hour);
        let set_back = Moment(Instant::now(), SystemTime::now() + hour);
        assert!(set_back.elapsed() < hour);
    }
}
