//! Answers that list the files of a content: they are long, so they are made on threads for that, few at once, and nobody else waits.

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::error::Refusal;

/// Most that are made at once: each takes a processor and some megabytes for a content of many files.
const AT_ONCE: usize = 2;

/// Makes answers that list files.
pub(crate) struct Lists(Semaphore);

impl Lists {
    pub(crate) fn new() -> Self {
        Lists(Semaphore::new(AT_ONCE))
    }

    /// Makes one once it is its turn.
    pub(crate) async fn make<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let _turn = self.0.acquire().await.map_err(|_| Refusal::Busy)?;
        spawn_blocking(make).await.map_err(|_| Refusal::Failed)
    }
}
