//! What was asked elsewhere, remembered for a moment. Those who ask for the same at once wait for one answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// An answer, and when it came.
type Entry<V> = Arc<tokio::sync::Mutex<Option<(Instant, V)>>>;

/// Answers by what was asked.
pub(crate) struct Recent<K, V> {
    kept: Duration,
    most: usize,
    entries: Mutex<HashMap<K, Entry<V>>>,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// Answers are kept for this time, and about so many.
    pub(crate) fn new(kept: Duration, most: usize) -> Self {
        Recent { kept, most, entries: Mutex::default() }
    }

    /// The answer that is known, or else one that is asked for now.
    pub(crate) async fn get<E>(&self, key: K, asking: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        self.get_or_old(key, asking, |_| false).await
    }

    /// The same; where asking fails like this, an old answer is taken that is still known.
    pub(crate) async fn get_or_old<E>(
        &self,
        key: K,
        asking: impl Future<Output = Result<V, E>>,
        takes_old: impl Fn(&E) -> bool,
    ) -> Result<V, E> {
        let entry = self.entry(key);
        let mut known = entry.lock().await;
        if let Some((since, value)) = &*known
            && since.elapsed() < self.kept
        {
            return Ok(value.clone());
        }
        match (asking.await, &*known) {
            (Ok(value), _) => {
                *known = Some((Instant::now(), value.clone()));
                Ok(value)
            }
            (Err(error), Some((_, value))) if takes_old(&error) => Ok(value.clone()),
            (Err(error), _) => Err(error),
        }
    }

    fn entry(&self, key: K) -> Entry<V> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.most && !entries.contains_key(&key) {
            // Those that somebody waits for stay.
            entries.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        entries.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_asked_for_once_by_all_and_again_when_it_is_old() {
        let (recent, asked) = (Recent::new(Duration::from_secs(5), 4), AtomicU32::new(0));
        let ask = async || {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, ()>(asked.fetch_add(1, Ordering::Relaxed))
        };
        let (one, other) = tokio::join!(recent.get("a", ask()), recent.get("a", ask()));
        assert_eq!((one, other), (Ok(0), Ok(0)));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(recent.get("a", ask()).await, Ok(1));
        tokio::time::advance(Duration::from_secs(6)).await;
        let fails = async || Err::<u32, &str>("down");
        assert_eq!(recent.get_or_old("a", fails(), |_| true).await, Ok(1));
        assert_eq!(recent.get_or_old("a", fails(), |_| false).await, Err("down"));
        for key in ["b", "c", "d", "e", "f"] {
            recent.get(key, ask()).await.unwrap();
        }
        assert!(recent.entries.lock().unwrap().len() <= 4);
    }
}
