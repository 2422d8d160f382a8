//! A server that many ask at once and that does not answer: those who ask next are not kept waiting for it, too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::reader::persist;
use crate::{Limits, OriginError};

/// How long it is remembered that nothing was answered.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Until when a server is taken to be down. Clones are of the same server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outage(Arc<Mutex<Option<Instant>>>);

impl Outage {
    /// Tries something as long as the limits say; but once only, if nothing was answered a moment ago.
    pub(crate) async fn persist<T, F>(&self, limits: &Limits, work: impl FnMut() -> F) -> Result<T, OriginError>
    where
        F: Future<Output = Result<T, OriginError>>,
    {
        let done = match self.is_on() {
            true => persist(&limits.clone().patience(Duration::ZERO), work).await,
            false => persist(limits, work).await,
        };
        let is_silent = done.as_ref().is_err_and(OriginError::is_transient);
        *self.lock() = is_silent.then(|| Instant::now() + REMEMBERED);
        done
    }

    fn is_on(&self) -> bool {
        self.lock().is_some_and(|end| Instant::now() < end)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_silent_is_asked_once_until_it_answers() {
        let (outage, limits, tries) = (Outage::default(), Limits::default(), AtomicU32::new(0));
        let fails = async || {
            tries.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(OriginError::unreachable("a", "refused"))
        };
        let asked = async || {
            let before = tries.load(Ordering::Relaxed);
            outage.persist(&limits, fails).await.unwrap_err();
            tries.load(Ordering::Relaxed) - before
        };
        assert!(asked().await > 1);
        assert_eq!(asked().await, 1);
        tokio::time::advance(REMEMBERED).await;
        assert!(asked().await > 1, "it is forgotten");
        outage.persist(&limits, async || Ok(())).await.unwrap();
        assert!(asked().await > 1, "it has answered");
    }
}
