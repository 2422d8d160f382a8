//! What was asked elsewhere, remembered for a moment. Those who ask for the same at once wait for one answer, and for one failure.

use std::collections::HashMap;
use std::future::pending;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Where an old answer is known, a new one is waited for no longer: clients give up after 10 s.
const SHORT: Duration = Duration::from_secs(4);
/// How long an old answer is believed again once asking has failed, and how long a failure is the answer of all.
const AGAIN: Duration = Duration::from_secs(15);
const FAILURE: Duration = Duration::from_secs(1);
/// Most answers that are waited for at once even if nobody is there any more who has asked.
const ASKS: usize = 256;

/// What was asked, by one at a time.
struct RecentAnswer<V, E> {
    known: Mutex<Known<V, E>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What was asked so far, and in which order it was asked for last.
type ByKey<K, V, E> = HashMap<K, (u64, Arc<RecentAnswer<V, E>>)>;

/// The last answer, and the last failure, and until when each is believed.
struct Known<V, E> {
    answer: Option<(Instant, V)>,
    failure: Option<(Instant, E)>,
    /// Bytes of the answer.
    size: u64,
}

/// How an answer is remembered that is asked for, what is a failure for a while only, and which places are taken meanwhile.
struct Asking<V, E> {
    kept: Duration,
    size: fn(&V) -> u64,
    is_passing: fn(&E) -> bool,
    _turn: OwnedMutexGuard<()>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<V: Clone, E: Clone> RecentAnswer<V, E> {
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

    /// Knows an answer of an earlier run, which is old.
    fn restore(&self, value: V, size: u64) {
        let mut known = self.known();
        (known.answer, known.size) = (Some((Instant::now(), value)), size);
    }

    /// Asks, and remembers what comes of it. Where that fails for a while only, so does what others ask, or the old answer is taken.
    async fn ask(&self, asked: impl Future<Output = Result<V, E>>, asking: Asking<V, E>) -> Result<V, E> {
        let found = asked.await;
        let (mut known, now) = (self.known(), Instant::now());
        if let Ok(value) = &found {
            known.size = (asking.size)(value);
        }
        match (&found, &mut known.answer) {
            (Ok(value), answer) => *answer = Some((now + asking.kept, value.clone())),
            // What is not there may be put there the next moment.
            (Err(error), _) if !(asking.is_passing)(error) => {}
            (Err(_), Some((until, value))) => {
                *until = now + AGAIN.min(asking.kept);
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
    /// Most bytes of all answers together, and how many one has.
    bytes: u64,
    size: fn(&V) -> u64,
    entries: Mutex<Entries<K, V, E>>,
    asks: Arc<Semaphore>,
}

struct Entries<K, V, E> {
    /// Each with the number of its last use.
    by_key: ByKey<K, V, E>,
    uses: u64,
}

impl<K: Clone + Eq + Hash, V: Clone, E: Clone> Recent<K, V, E> {
    /// Answers are kept for this time, and about so many: the least recently used goes first.
    pub(crate) fn new(kept: Duration, most: usize) -> Self {
        let entries = Mutex::new(Entries { by_key: HashMap::new(), uses: 0 });
        Recent { kept, most, bytes: u64::MAX, size: |_| 0, entries, asks: Arc::new(Semaphore::new(ASKS)) }
    }

    /// All answers together have about so many bytes at most, each as many as `size` says.
    pub(crate) fn within(self, bytes: u64, size: fn(&V) -> u64) -> Self {
        Recent { bytes, size, ..self }
    }

    /// The answer that is known, or else one that is asked for now.
    pub(crate) async fn get(&self, key: K, asked: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let entry = self.entry(key);
        if let Some(fresh) = entry.fresh() {
            return fresh;
        }
        let turn = entry.turn.clone().lock_owned().await;
        match entry.fresh() {
            Some(fresh) => fresh,
            None => entry.ask(asked, self.asking(turn, None, |_| false)).await,
        }
    }

    /// The same; where asking fails for a while only, or takes long, an old answer is taken that is still known, or `stored` from an
    /// earlier run. What is asked goes on even if nobody waits for it any more: the next one who asks then has it.
    pub(crate) async fn get_or_old(
        &self,
        key: K,
        stored: impl Future<Output = Option<V>>,
        asked: impl Future<Output = Result<V, E>> + Send + 'static,
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
        let old = match entry.old() {
            Some(old) => old,
            None => {
                let turn = entry.turn.clone().lock_owned().await;
                if let Some(fresh) = entry.fresh() {
                    return fresh;
                }
                let old = match entry.old() {
                    Some(old) => Some(old),
                    None => stored.await,
                };
                let Some(old) = old else {
                    let place = self.asks.clone().acquire_owned().await.ok();
                    let asking = self.asking(turn, place, is_passing);
                    return outcome(tokio::spawn(async move { entry.ask(asked, asking).await })).await;
                };
                entry.restore(old.clone(), (self.size)(&old));
                old
            }
        };
        let new = async {
            let turn = entry.turn.clone().lock_owned().await;
            if let Some(fresh) = entry.fresh() {
                return fresh;
            }
            let place = self.asks.clone().acquire_owned().await.ok();
            let (entry, asking) = (entry.clone(), self.asking(turn, place, is_passing));
            outcome(tokio::spawn(async move { entry.ask(asked, asking).await })).await
        };
        timeout(SHORT, new).await.unwrap_or(Ok(old))
    }

    fn asking(
        &self,
        turn: OwnedMutexGuard<()>,
        place: Option<OwnedSemaphorePermit>,
        is_passing: fn(&E) -> bool,
    ) -> Asking<V, E> {
        Asking { kept: self.kept, size: self.size, is_passing, _turn: turn, _place: place }
    }

    fn entry(&self, key: K) -> Arc<RecentAnswer<V, E>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let now = entries.uses;
        if let Some((used, entry)) = entries.by_key.get_mut(&key) {
            *used = now;
            return entry.clone();
        }
        self.make_room(&mut entries.by_key);
        let known = Known { answer: None, failure: None, size: 0 };
        let entry = Arc::new(RecentAnswer { known: Mutex::new(known), turn: Arc::default() });
        entries.by_key.insert(key, (now, entry.clone()));
        entry
    }

    /// The least recently used go, but for those that somebody waits for.
    fn make_room(&self, by_key: &mut ByKey<K, V, E>) {
        let mut bytes: u64 = by_key.values().map(|(_, entry)| entry.known().size).sum();
        while by_key.len() >= self.most || bytes > self.bytes {
            let idle = by_key.iter().filter(|(_, (_, entry))| Arc::strong_count(entry) == 1);
            let Some(oldest) = idle.min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone()) else { return };
            bytes = bytes.saturating_sub(by_key.remove(&oldest).map_or(0, |(_, entry)| entry.known().size));
        }
    }
}

/// What a task comes to.
async fn outcome<T>(task: JoinHandle<T>) -> T {
    match task.await.map_err(|error| error.try_into_panic()) {
        Ok(outcome) => outcome,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The program ends.
        Err(Err(_)) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
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
        assert_eq!(recent.get_or_old("a", ready(None), fails(), |_| true).await, Ok(1));
        assert_eq!(
            recent.get_or_old("a", ready(None), fails(), |_| false).await,
            Ok(1),
            "it is remembered that it was taken"
        );
        tokio::time::advance(AGAIN).await;
        assert_eq!(recent.get_or_old("a", ready(None), fails(), |_| false).await, Err("down"));
        assert_eq!(recent.get_or_old("z", ready(None), fails(), |_| true).await, Err("down"));
        assert_eq!(recent.get("z", ask()).await, Err("down"), "so is a failure");
        tokio::time::advance(FAILURE).await;
        assert_eq!(recent.get("z", ask()).await, Ok(2));
        for key in ["b", "c", "d", "e", "f"] {
            recent.get(key, ask()).await.unwrap();
        }
        assert!(recent.entries.lock().unwrap().by_key.len() <= 4);
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
            recent.get_or_old("a", ready(None), asking, |_| true)
        };
        assert_eq!(tokio::join!(get(), get(), get()), (Ok(1), Ok(1), Ok(1)));
        assert_eq!(begun.elapsed(), SHORT, "this clock moves only as the test does");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::sleep(Duration::from_secs(22)).await;
        assert_eq!(get().await, Ok(2), "what comes late is the answer of those who ask then");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_comes_even_if_nobody_waits_so_long() {
        let (recent, asked) = (Recent::new(Duration::from_secs(60), 4), Arc::new(AtomicU32::new(0)));
        let get = || {
            let asked = asked.clone();
            let asking = async move {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(8)).await;
                Ok::<_, &str>(1)
            };
            recent.get_or_old("a", ready(None), asking, |_| true)
        };
        assert!(timeout(Duration::from_secs(4), get()).await.is_err());
        assert_eq!(timeout(Duration::from_secs(5), get()).await, Ok(Ok(1)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_an_earlier_run_is_taken_where_asking_fails_for_a_while() {
        let recent = Recent::new(Duration::from_secs(60), 4);
        let get = |is_passing: fn(&&'static str) -> bool| {
            recent.get_or_old("a", ready(Some(1)), async { Err("down") }, is_passing)
        };
        assert_eq!(get(|_| false).await, Err("down"));
        assert_eq!(get(|_| true).await, Ok(1));
        let never = recent.get_or_old("b", ready(Some(2)), pending(), |_: &&str| true);
        assert_eq!(never.await, Ok(2), "and where no answer comes");
    }

    #[tokio::test]
    async fn the_least_recently_used_goes_first() {
        let asked = AtomicU32::new(0);
        let has_asked = async |recent: &Recent<u32, u64, ()>, key, size| {
            let before = asked.load(Ordering::Relaxed);
            let answer = async {
                asked.fetch_add(1, Ordering::Relaxed);
                Ok(size)
            };
            recent.get(key, answer).await.unwrap();
            asked.load(Ordering::Relaxed) > before
        };
        let few = Recent::new(Duration::from_secs(60), 2);
        for (key, is_asked) in [(1, true), (2, true), (1, false), (3, true), (1, false), (2, true)] {
            assert_eq!(has_asked(&few, key, 0).await, is_asked, "{key}");
        }
        let small = Recent::new(Duration::from_secs(60), 100).within(10, |size| *size);
        for (key, is_asked) in [(1, true), (2, true), (1, false), (3, true), (1, false), (2, true)] {
            assert_eq!(has_asked(&small, key, 6).await, is_asked, "{key}");
        }
    }
}
