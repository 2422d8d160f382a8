//! How many bytes of manifests a connection gets. A manifest may have 40 MiB and takes no slot among the pieces. A peer that asked for it
//! again and again, on all its streams, would leave nothing of the uplink to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

/// So many are sent over a connection at once. A second one goes on where the other side takes the first slowly.
const AT_ONCE: usize = 2;
/// Smaller ones are sent at once, so many together.
const SMALL: u64 = 256 << 10;
const SMALL_AT_ONCE: usize = 8;
/// A question that has waited for so long is refused as busy, and is asked again: silence would pass for a fault.
const WAITS: Duration = Duration::from_millis(800);
/// Within `WITHIN` a connection gets the bytes of all manifests and so many more, as one that broke off is asked for again.
const SPARE: u64 = 1 << 20;
const WITHIN: Duration = Duration::from_secs(60);
/// A refused peer is refused again without further checks for this long.
const REFUSED: Duration = Duration::from_secs(1);

/// What a connection was given.
pub(crate) struct AskedManifests {
    turns: Arc<Turns>,
    since: Instant,
    refused: Option<Instant>,
}

struct Turns {
    places: Semaphore,
    small: Semaphore,
    /// With what is on its way.
    sent: AtomicU64,
}

/// A question that may be answered when it is its turn.
pub(crate) struct ManifestTurn {
    turns: Arc<Turns>,
    most: u64,
}

/// The turn of a question, for as long as its answer is sent.
pub(crate) struct Sending<'a> {
    _place: SemaphorePermit<'a>,
    sent: &'a AtomicU64,
    unsent: u64,
}

impl Default for AskedManifests {
    fn default() -> Self {
        let (places, small) = (Semaphore::new(AT_ONCE), Semaphore::new(SMALL_AT_ONCE));
        let turns = Turns { places, small, sent: AtomicU64::new(0) };
        AskedManifests { turns: Arc::new(turns), since: Instant::now(), refused: None }
    }
}

impl AskedManifests {
    /// It asks for one of so many bytes, `all` of those that are here. Nothing if it was given enough.
    pub(crate) fn ask(&mut self, bytes: u64, all: impl FnOnce() -> u64) -> Option<ManifestTurn> {
        if self.since.elapsed() >= WITHIN {
            self.since = Instant::now();
            self.turns.sent.store(0, Ordering::Relaxed);
        }
        if self.refused.is_some_and(|at| at.elapsed() < REFUSED) {
            return None;
        }
        let turn = ManifestTurn { turns: self.turns.clone(), most: SPARE.saturating_add(all()) };
        let may = turn.has_room(bytes);
        self.refused = (!may).then(Instant::now);
        may.then_some(turn)
    }
}

impl ManifestTurn {
    fn has_room(&self, bytes: u64) -> bool {
        self.turns.sent.load(Ordering::Relaxed).saturating_add(bytes) <= self.most
    }

    /// Waits for its turn to send so many bytes. Nothing if it does not come soon, or if others have been sent meanwhile, and those were
    /// enough.
    pub(crate) async fn wait(&self, bytes: u64) -> Option<Sending<'_>> {
        let places = if bytes <= SMALL { &self.turns.small } else { &self.turns.places };
        let place = timeout(WAITS, places.acquire()).await.ok()?.ok()?;
        self.has_room(bytes).then(|| {
            self.turns.sent.fetch_add(bytes, Ordering::Relaxed);
            Sending { _place: place, sent: &self.turns.sent, unsent: bytes }
        })
    }
}

impl Sending<'_> {
    /// So many bytes are sent. What is not, when it breaks off, does not count.
    pub(crate) fn sends(&mut self, bytes: usize) {
        self.unsent = self.unsent.saturating_sub(bytes as u64);
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        // It may have begun in the minute before.
        let less = |sent: u64| Some(sent.saturating_sub(self.unsent));
        let _ = self.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 8 << 20;

    /// How many are given of those that a connection asks for at the same time, where so many are here.
    async fn given(asked: &mut AskedManifests, contents: u64) -> usize {
        let turns: Vec<_> = (0..100).filter_map(|_| asked.ask(LEN, || contents * LEN)).collect();
        let mut given = 0;
        for turn in turns {
            if let Some(mut sending) = turn.wait(LEN).await {
                sending.sends(LEN as usize);
                given += 1;
            }
        }
        given
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_given_once_a_minute_however_often_it_is_asked_for() {
        let mut asked = AskedManifests::default();
        assert_eq!((given(&mut asked, 1).await, given(&mut asked, 1).await), (1, 0));
        tokio::time::advance(WITHIN).await;
        assert_eq!((given(&mut asked, 40).await, given(&mut asked, 40).await), (40, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_broke_off_is_given_again_and_two_are_sent_at_once() {
        let mut asked = AskedManifests::default();
        for _ in 0..1000 {
            asked.ask(LEN, || LEN).unwrap().wait(LEN).await.unwrap().sends(1000);
        }
        const LARGE: u64 = SMALL + 1;
        let turns: Vec<_> = (0..4).map(|_| asked.ask(1, || LEN).unwrap()).collect();
        let places = (turns[0].wait(LARGE).await, turns[1].wait(LARGE).await);
        assert!(places.0.is_some() && places.1.is_some());
        assert!(turns[2].wait(LARGE).await.is_none(), "it is told to ask again, and not left to wait");
        assert!(turns[3].wait(SMALL).await.is_some());
    }
}
