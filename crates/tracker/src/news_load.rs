//! How soon members are told of others: at once, unless there is very much to tell.
//!
//! A peer that joins a crowd is told to fifty others. Where thousands come within seconds, each of them would be told of the others one by
//! one, in a message for each. Most of what is told then waits, and each hears all of it once a second.

use std::time::Duration;

use tokio::time::Instant;

/// News of others that are told at once in each second, over all members.
const AT_ONCE: usize = 2_000;
const SECOND: Duration = Duration::from_secs(1);

/// How soon a member is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    Now,
    /// In a batch with other news, once a second.
    Soon,
}

/// How many news of others there were in this second.
#[derive(Debug)]
pub(crate) struct NewsLoad {
    since: Instant,
    news: usize,
}

impl Default for NewsLoad {
    fn default() -> Self {
        NewsLoad { since: Instant::now(), news: 0 }
    }
}

impl NewsLoad {
    /// So many members have news of others. Says how soon these are to hear them.
    pub(crate) fn more(&mut self, news: usize) -> Haste {
        if self.since.elapsed() >= SECOND {
            *self = NewsLoad::default();
        }
        self.news = self.news.saturating_add(news);
        if self.news <= AT_ONCE { Haste::Now } else { Haste::Soon }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn news_wait_where_there_are_very_many_of_them() {
        let mut load = NewsLoad::default();
        for _ in 0..3 {
            assert!((0..AT_ONCE / 50).all(|_| load.more(50) == Haste::Now));
            assert!((0..1000).all(|_| load.more(50) == Haste::Soon));
            tokio::time::advance(SECOND).await;
        }
    }
}
