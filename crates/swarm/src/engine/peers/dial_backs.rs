//! Peers that the tracker has just introduced for a content that is not wanted here: they are dialled unless they come first.
//!
//! A peer behind a router gets packets only from addresses that it has sent something to. It dials the holders of what it wants,
//! and where these are behind routers too, that fails unless they dial at the same time. A peer that can reach us has come by
//! then. A tracker, or a crowd that announces itself there, must not make us dial at its will: few wait, they are
//! dialled at a bounded rate, each a few times, and none while there are enough who take pieces.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::{ContentId, PeerId};

/// So long an introduced peer has to come by itself: a round trip or two.
const COMES_FIRST: Duration = Duration::from_millis(200);
/// Time between two tries.
const AGAIN: Duration = Duration::from_secs(1);
/// How often each is tried.
const TRIES: u32 = 3;
/// Most peers that wait.
const WAITING: usize = 64;
/// Dials that may follow one another at once, and those of each second after that.
const BURST: f64 = 8.0;
const A_SECOND: f64 = 4.0;

/// A peer that is to be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DialBack {
    pub(crate) content: ContentId,
    pub(crate) peer: PeerId,
    due: Duration,
    tries: u32,
}

/// Peers that are to be dialled, and those that are.
#[derive(Debug)]
pub(crate) struct DialBacks {
    /// In the order in which they are due.
    waiting: VecDeque<DialBack>,
    /// Being dialled; each may be tried again.
    dialled: VecDeque<DialBack>,
    allowance: f64,
    counted: Duration,
}

impl Default for DialBacks {
    fn default() -> Self {
        DialBacks { waiting: VecDeque::new(), dialled: VecDeque::new(), allowance: BURST, counted: Duration::ZERO }
    }
}

impl DialBacks {
    /// The tracker has introduced a peer.
    pub(crate) fn introduced(&mut self, content: ContentId, peer: PeerId, now: Duration) {
        self.wait(DialBack { content, peer, due: now + COMES_FIRST, tries: 0 });
    }

    fn wait(&mut self, new: DialBack) {
        let known = self.waiting.iter().any(|one| (one.content, one.peer) == (new.content, new.peer));
        if !known && self.waiting.len() < WAITING {
            let at = self.waiting.partition_point(|one| one.due <= new.due);
            self.waiting.insert(at, new);
        }
    }

    /// When the next one is due that is not yet.
    pub(crate) fn next(&self, now: Duration) -> Option<Duration> {
        self.waiting.iter().map(|one| one.due).find(|&due| due > now)
    }

    /// The next one that is due.
    pub(crate) fn take(&mut self, now: Duration) -> Option<DialBack> {
        let due = self.waiting.front().is_some_and(|one| one.due <= now);
        if due { self.waiting.pop_front() } else { None }
    }

    /// Whether one may be dialled now, which counts.
    pub(crate) fn may_dial(&mut self, now: Duration) -> bool {
        let since = now.saturating_sub(self.counted).as_secs_f64();
        (self.allowance, self.counted) = ((self.allowance + since * A_SECOND).min(BURST), now);
        let may = self.allowance >= 1.0;
        self.allowance -= f64::from(u8::from(may));
        may
    }

    /// It waits for its turn.
    pub(crate) fn put_back(&mut self, one: DialBack) {
        self.waiting.push_front(one);
    }

    pub(crate) fn dials(&mut self, one: DialBack) {
        self.dialled.push_back(one);
        if self.dialled.len() > WAITING {
            self.dialled.pop_front();
        }
    }

    /// A dial was in vain.
    pub(crate) fn failed(&mut self, peer: &PeerId, now: Duration) {
        let Some(at) = self.dialled.iter().position(|one| one.peer == *peer) else { return };
        if let Some(one) = self.dialled.remove(at).filter(|one| one.tries + 1 < TRIES) {
            self.wait(DialBack { due: now + AGAIN, tries: one.tries + 1, ..one });
        }
    }

    /// It was not dialled after all.
    pub(crate) fn held_back(&mut self, peer: &PeerId, now: Duration) {
        let Some(at) = self.dialled.iter().position(|one| one.peer == *peer) else { return };
        if let Some(one) = self.dialled.remove(at) {
            self.wait(DialBack { due: now + AGAIN, ..one });
        }
    }

    /// It is connected: there is no need any more.
    pub(crate) fn connected(&mut self, peer: &PeerId) {
        self.waiting.retain(|one| one.peer != *peer);
        self.dialled.retain(|one| one.peer != *peer);
    }
}
