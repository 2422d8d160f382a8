//! For how long nobody has been there.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Since when a content has been alone, if it is.
#[derive(Debug, Default)]
pub(super) struct Alone {
    since: Option<Instant>,
}

impl Alone {
    /// Takes down whether it is alone now.
    pub(super) fn look(&mut self, is_alone: bool) {
        self.since = is_alone.then(|| self.since.unwrap_or_else(Instant::now));
    }

    /// Whether it has been so for this time.
    pub(super) fn has_been_for(&self, time: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Waits until it has been so for this time: for ever if it is not alone.
    pub(super) async fn lasts(&self, time: Duration) {
        match self.since {
            Some(since) => sleep_until(since + time).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_counts_from_when_the_last_one_left() {
        const TIME: Duration = Duration::from_secs(10);
        let mut alone = Alone::default();
        alone.look(true);
        alone.lasts(TIME).await;
        assert!(alone.has_been_for(TIME));
        alone.look(true);
        assert!(alone.has_been_for(TIME), "it is still the same time");
        alone.look(false);
        assert!(!alone.has_been_for(TIME));
        alone.look(true);
        assert!(!alone.has_been_for(TIME));
    }
}
