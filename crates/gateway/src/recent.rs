//! What was asked elsewhere, remembered for a moment. Those who ask for the same at once wait for one answer, and for one failure.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

/// Where an old answer is known, a new one is waited for no longer: clients give up after 10 s.
const SHORT: Duration = Duration::from_secs(4);
/// How long an old answer is believed again once asking has failed, and how long a failure is the answer of all.
const AGAIN: Duration = Duration::from_secs(15);
const FAILURE: Duration = Duration::from_secs(1);

/// What was asked, by one at a time.
struct Entry<V, E> {
    known: Mutex<Known<V, E>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The last answer, and the last failure, and until when each is believed.
struct Known<V, E> {
    answer: Option<(Instant, V)>,
    failure: Option<(Instant, E)>,
}

impl<V: Clone, E: Clone> Entry<V, E> {
    fn known(&self) -> MutexGuard<'_, Known<V, E>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What need not be asked for.
    fn fresh(&self) -> Option<Result<V, E>> {
        let (known, now) = (self.known(), Instant::now());
        let answer = known.answer.as_ref().filter(|(until, _)| now < *until).map(|(_, value)| Ok(value.clone()));
        answer.or_else(|| known.failure.as_ref().filter(|(until, _)| now < *until).map(|(_, error)| Err(error.clone())))
    }

    fn old(&self) -> Option<V> {
        self.known().answer.as_ref().map(|(_, value)| value.clone())
    }

    /// Asks, and remembers what comes of it. Where that fails for a while only, so does what others ask, or the old answer is taken.
    async fn ask(
        &self,
        _turn: OwnedMutexGuard<()>,
        kept: Duration,
        asking: impl Future<Output = Result<V, E>>,
        is_passing: impl FnOnce(&E) -> bool,
    ) -> Result<V, E> {
        let found = asking.await;
        let (mut known, now) = (self.known(), Instant::now());
        match (&found, &mut known.answer) {
            (Ok(value), answer) => *answer = Some((now + kept, value.clone())),
            // What is not there may be put there the next moment.
            (Err(error), _) if !is_passing(error) => {}
            (Err(_), Some((until, value))) => {
                *until = now + AGAIN.min(kept);
                return Ok(value.clone());
            }
            (Err(error), None) => known.failure = Some((now + FAILURE, error.clone())),
        }
        found
    }
}

/// Answers by what was asked.
pub(crate) struct Recent<K, V, E> {
    kept: Duration,
    most: usize,
    entries: Mutex<HashMap<K, Arc<Entry<V, E>>>>,
}

impl<K: Eq + Hash, V: Clone, E: Clone> Recent<K, V, E> {
    /// Answers are kept for this time, and about so many.
    pub(crate) fn new(kept: Duration, most: usize) -> Self {
        Recent { kept, most, entries: Mutex::default() }
    }

    /// The answer that is known, or else one that is asked for now.
    pub(crate) async fn get(&self, key: K, asking: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let entry = self.entry(key);
        if let Some(fresh) = entry.fresh() {
            return fresh;
        }
        let turn = entry.turn.clone().lock_owned().await;
        match entry.fresh() {
            Some(fresh) => fresh,
            None => entry.ask(turn, self.kept, asking, |_| false).await,
        }
    }

    /// The same; where asking fails for a while only, or takes long, an old answer is taken that is still known. Then the new one is waited for
    /// in the background.
    pub(crate) async fn get_or_old(
        &self,
        key: K,
        asking: impl Future<Output = Result<V, E>> + Send + 'static,
        is_passing: fn(&E) -> bool,
    ) -> Result<V, E>
    where
        V: Send + 'static,
        E: Send + 'static,
    {
        let entry = self.entry(key);
        if let Some(fresh) = entry.fresh() {
            return fresh;
        }
        let (end, kept) = (Instant::now() + SHORT, self.kept);
        let Some(old) = entry.old() else {
            let turn = entry.turn.clone().lock_owned().await;
            return match entry.fresh() {
                Some(fresh) => fresh,
                None => entry.ask(turn, kept, asking, is_passing).await,
            };
        };
        let Ok(turn) = timeout_at(end, entry.turn.clone().lock_owned()).await else { return Ok(old) };
        if let Some(fresh) = entry.fresh() {
            return fresh;
        }
        let asked = tokio::spawn(async move { entry.ask(turn, kept, asking, is_passing).await });
        match timeout_at(end, asked).await {
            Ok(Ok(found)) => found,
            _ => Ok(old),
        }
    }

    fn entry(&self, key: K) -> Arc<Entry<V, E>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.most && !entries.contains_key(&key) {
            // Those that somebody waits for stay.
            entries.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        let new = || Arc::new(Entry { known: Mutex::new(Known { answer: None, failure: None }), turn: Arc::default() });
        entries.entry(key).or_insert_with(new).clone()
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
            Ok::<_, &str>(asked.fetch_add(1, Ordering::Relaxed))
        };
        let (one, other) = tokio::join!(recent.get("a", ask()), recent.get("a", ask()));
        assert_eq!((one, other), (Ok(0), Ok(0)));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(recent.get("a", ask()).await, Ok(1));
        tokio::time::advance(Duration::from_secs(6)).await;
        let fails = async || Err::<u32, &str>("down");
        assert_eq!(recent.get_or_old("a", fails(), |_| true).await, Ok(1));
        assert_eq!(recent.get_or_old("a", fails(), |_| false).await, Ok(1), "it is remembered that it was taken");
        tokio::time::advance(AGAIN).await;
        assert_eq!(recent.get_or_old("a", fails(), |_| false).await, Err("down"));
        assert_eq!(recent.get_or_old("z", fails(), |_| true).await, Err("down"));
        assert_eq!(recent.get("z", ask()).await, Err("down"), "so is a failure");
        tokio::time::advance(FAILURE).await;
        assert_eq!(recent.get("z", ask()).await, Ok(2));
        for key in ["b", "c", "d", "e", "f"] {
            recent.get(key, ask()).await.unwrap();
        }
        assert!(recent.entries.lock().unwrap().len() <= 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_answer_is_taken_at_once_by_all_while_nothing_answers() {
        let (recent, asked) = (Recent::new(Duration::from_secs(5), 4), Arc::new(AtomicU32::new(0)));
        assert_eq!(recent.get("a", async { Ok(1) }).await, Ok::<_, &str>(1));
        tokio::time::advance(Duration::from_secs(6)).await;
        let begun = Instant::now();
        let get = || {
            let asked = asked.clone();
            let asking = async move {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(25)).await;
                Ok(2)
            };
            recent.get_or_old("a", asking, |_| true)
        };
        assert_eq!(tokio::join!(get(), get(), get()), (Ok(1), Ok(1), Ok(1)));
        assert_eq!(begun.elapsed(), SHORT, "this clock moves only as the test does");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::sleep(Duration::from_secs(22)).await;
        assert_eq!(get().await, Ok(2), "what comes late is the answer of those who ask then");
    }
}
