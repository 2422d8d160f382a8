//! Who reads a file from its origin, where many gateways are asked for it at once: the tracker says which one does, and the others wait
//! until it shares what it has read. So the origin sends about one copy.
//!
//! What others say to be the file is believed no more than anything else in the swarm: it is digested. A content that turns out wrong
//! costs one more reading, by one of those who found it so. Where no tracker says who reads, each gateway does.
//!
//! Nor is it believed for long that somebody reads. A tracker cannot tell whether that is true, and anyone may say so: a gateway that waits for
//! longer than it should take reads for itself, and waits for half as long the next time. It stays in line, so that the others hear what it has
//! read; and not all of them lose their patience at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use origins::FileDigest;
use peer::{ContentId, Lease, LeaseState, NoLease, Node, OriginKey};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Instant, sleep, timeout_at};

use super::Shared;
use super::key::key_of;
use super::swarm::{self, Fit, Found, Spare};
use crate::contents::Contents;
use crate::error::Refusal;

/// How long another gateway may take to read a file: the first of these, and a second more for each `RATE` bytes of all that is waited for
/// now, as its link is shared by them, up to the second; each waits for up to twice as long, and for no less than the third, however
/// often it has waited in vain.
const LONGEST: Duration = Duration::from_secs(30);
const MOST: Duration = Duration::from_secs(6 * 60 * 60);
const LEAST: Duration = Duration::from_millis(500);
const RATE: u128 = 2 << 20;
/// After so many times in vain the wait is no shorter any more.
const MOST_VAIN: u32 = 6;
/// Contents of others that are tried.
const TRIES: usize = 3;
/// How often the tracker may be lost while it is waited for. Between two tries there is a second or two: who reads comes first. One that
/// starts again is asked so often.
const LOSSES: u32 = 3;
const AFTER_LOSS: Duration = Duration::from_secs(1);
const ASKS: u32 = 20;
/// While it reads, a gateway that has lost the tracker repeats its claim at most this often.
const SAY_AGAIN: Duration = Duration::from_secs(5);
/// What was read by somebody who has gone is looked for within this time.
const LOOK: Duration = Duration::from_secs(10);

/// Whose turn it is.
pub(super) enum Turn {
    /// Another gateway has read it, and shares this.
    Theirs(Found),
    /// This gateway's own.
    Ours(Option<Reading>),
}

/// What others hear of while this gateway reads.
pub(super) struct Reading {
    node: Node,
    lease: Lease,
    key: OriginKey,
    size: u64,
    said: Instant,
    /// What the tracker says to that. Reading goes on meanwhile.
    again: Option<oneshot::Receiver<Lease>>,
}

impl Reading {
    /// So many bytes have come.
    pub(super) fn progress(&mut self, bytes: u64) {
        if self.lease.state() == LeaseState::Lost && self.said.elapsed() >= SAY_AGAIN {
            match self.again.as_mut().map(oneshot::Receiver::try_recv) {
                Some(Ok(lease)) => (self.lease, self.again) = (lease, None),
                Some(Err(TryRecvError::Empty)) => {}
                Some(Err(TryRecvError::Closed)) | None => self.say_again(),
            }
        }
        self.lease.progress(bytes);
    }

    fn say_again(&mut self) {
        let (node, key, size) = (self.node.clone(), self.key, self.size);
        let (tell, again) = oneshot::channel();
        tokio::spawn(async move {
            if let Ok(lease) = node.lease(key, size, &[]).await {
                let _ = tell.send(lease);
            }
        });
        (self.said, self.again) = (Instant::now(), Some(again));
    }

    /// It is this content.
    pub(super) fn publish(self, content: ContentId) {
        match self.lease.state() {
            // Somebody has said so of another one meanwhile, and now nobody listens here: a lie, since this one was digested.
            LeaseState::Published(other) if other != content => {
                let (node, key, size) = (self.node, self.key, self.size);
                tokio::spawn(async move {
                    if let Ok(lease) = node.lease(key, size, &[other]).await {
                        lease.publish(content);
                    }
                });
            }
            _ => self.lease.publish(content),
        }
    }
}

/// How often others have been waited for in vain.
#[derive(Default)]
pub(super) struct Patience(Mutex<Waited>);

#[derive(Default)]
struct Waited {
    vain: u32,
    /// Files that are waited for at the same time are given up at the same time: that is once.
    last: Option<Instant>,
    /// Bytes of all files that are waited for now. No number of files is too much for it.
    awaited: u128,
}

/// A file that is waited for.
struct Awaited<'a> {
    patience: &'a Patience,
    bytes: u64,
    until: Instant,
}

impl Patience {
    fn waited(&self) -> MutexGuard<'_, Waited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another gateway is waited for that reads so many bytes.
    fn waits(&self, bytes: u64) -> Awaited<'_> {
        let mut waited = self.waited();
        waited.awaited += u128::from(bytes);
        let seconds = u64::try_from(waited.awaited / RATE).unwrap_or(u64::MAX);
        let most = LONGEST.saturating_add(Duration::from_secs(seconds)).min(MOST);
        let wait = (most / (1 << waited.vain)).max(LEAST).mul_f64(1.0 + fastrand::f64());
        Awaited { patience: self, bytes, until: Instant::now() + wait }
    }

    /// One was waited for, and something has come of it or not.
    fn ended(&self, in_vain: bool) {
        let mut waited = self.waited();
        if !in_vain {
            waited.vain = waited.vain.saturating_sub(1);
        } else if waited.last.is_none_or(|last| last.elapsed() >= LONGEST) {
            (waited.vain, waited.last) = ((waited.vain + 1).min(MOST_VAIN), Some(Instant::now()));
        }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.patience.waited().awaited -= u128::from(self.bytes);
    }
}

/// A lease, and by which swarm's tracker.
pub(super) type Claimed = (usize, Lease);

/// Asks the first swarm whose tracker says who reads a file. These contents are not it.
pub(super) async fn claim(
    shared: &Shared,
    contents: &Contents,
    digest: FileDigest,
    fit: Fit,
    wrong: &[ContentId],
) -> Option<Claimed> {
    let key = OriginKey::of(&key_of(digest));
    for (number, swarm) in contents.swarms.iter().enumerate().filter(|(_, swarm)| swarm.asks) {
        match swarm.node.lease(key, fit.expected(), wrong).await {
            Ok(lease) => return Some((number, lease)),
            Err(error @ NoLease::OldTracker) => shared.says_once_that_it_reads_alone(&error),
            Err(error) => tracing::debug!(%error, "this gateway reads from the origin itself"),
        }
    }
    None
}

/// Waits until it is this gateway's turn to read a file, or another one has. Without a claim it is its own. Fails where there is no room for
/// what another has read.
pub(super) async fn turn(
    shared: &Shared,
    contents: &Contents,
    (digest, fit, spare): (FileDigest, Fit, Spare),
    mut claimed: Option<Claimed>,
) -> Result<Turn, Refusal> {
    let (name, size) = (key_of(digest), fit.expected());
    let (awaited, mut wrong, mut losses) = (shared.turns.waits(size), Vec::new(), 0);
    while let Some((number, mut lease)) = claimed {
        let swarm = &contents.swarms[number];
        let reading = |lease: Lease| {
            let (node, key) = (swarm.node.clone(), OriginKey::of(&name));
            Turn::Ours(Some(Reading { node, lease, key, size, said: Instant::now(), again: None }))
        };
        let has_waited = lease.state() == LeaseState::Held;
        let Ok(state) = timeout_at(awaited.until, lease.decided()).await else {
            tracing::warn!(
                file = name,
                "another gateway is taking too long to read this file; reading it here as well"
            );
            shared.turns.ended(true);
            return Ok(reading(lease));
        };
        let mut asks = 1;
        match state {
            LeaseState::Granted => {
                // The previous reader may be gone, but its file may still be in the swarm: look once more before
                // reading.
                let end = Instant::now() + LOOK;
                let look = swarm::find(contents, shared, end, &name, &spare, |manifest| fit.fits(manifest));
                let has_no_room = |refusal| fit.has_no_room(refusal);
                if has_waited && let Some(found) = look.await.or_else(has_no_room)? {
                    lease.publish(found.open.content());
                    return Ok(Turn::Theirs(found));
                }
                return Ok(reading(lease));
            }
            LeaseState::Published(content) => {
                let taking = swarm::take(contents, shared, swarm, content, &name, (fit, &spare));
                if !shared.avoided.has(content)
                    && let Some(found) = taking.await.or_else(|refusal| fit.has_no_room(refusal))?
                {
                    shared.turns.ended(false);
                    return Ok(Turn::Theirs(found));
                }
                wrong.push(content);
                if wrong.len() >= TRIES {
                    break;
                }
            }
            _ => {
                losses += 1;
                if losses > LOSSES || Instant::now() >= awaited.until {
                    break;
                }
                asks = ASKS;
            }
        }
        drop(lease);
        claimed = None;
        while claimed.is_none() && asks > 0 {
            asks -= 1;
            if state == LeaseState::Lost {
                sleep(AFTER_LOSS.mul_f64(1.0 + fastrand::f64())).await;
            }
            claimed = claim(shared, contents, digest, fit, &wrong).await;
        }
    }
    Ok(Turn::Ours(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_waited_for_in_vain_is_waited_for_less_and_less() {
        let patience = Patience::default();
        let wait = |bytes| (patience.waits(bytes).until - Instant::now()).as_secs_f64();
        assert!(
            (30.0..=60.0).contains(&wait(0)) && (2590.0..=5180.0).contains(&wait(5 << 30)),
            "a GiB takes nine minutes"
        );
        let mut all = 0.0;
        for _ in 0..20 {
            all += wait(1 << 20);
            (0..32).for_each(|_| patience.ended(true));
            tokio::time::advance(LONGEST).await;
        }
        assert!(all < 140.0 && (0.5..=1.0).contains(&wait(1 << 20)), "{all}");
        patience.ended(false);
        assert!(wait(1 << 20) <= 2.0);
        (0..9).for_each(|_| patience.ended(false));
        assert!(wait(0) >= 30.0);
        // Eight files of one reader share its link.
        let others: Vec<_> = (0..7).map(|_| patience.waits(100 << 20)).collect();
        assert!(wait(100 << 20) >= 430.0);
        drop(others);
        assert!(wait(100 << 20) <= 160.0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_file_makes_others_wait_without_end() {
        let patience = Patience::default();
        let huge = [patience.waits(u64::MAX), patience.waits(u64::MAX)];
        let other = patience.waits(100 << 20);
        assert!(other.until <= Instant::now() + MOST * 2);
        drop(huge);
        assert_eq!(patience.waited().awaited, 100 << 20, "the other one is still waited for");
        drop(other);
        assert_eq!(patience.waited().awaited, 0);
    }
}
