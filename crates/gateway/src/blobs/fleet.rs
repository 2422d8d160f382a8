//! Who reads a file from its origin, where many gateways are asked for it at once: the tracker says which one does, and the others wait
//! until it shares what it has read. So the origin sends about one copy.
//!
//! What others say to be the file is believed no more than anything else in the swarm: it is digested. A content that turns out wrong
//! costs one more reading, by one of those who found it so. Where no tracker says who reads, each gateway does.

use std::time::Duration;

use origins::FileDigest;
use peer::{ContentId, Lease, LeaseState, NoLease, Node, OriginKey};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Instant, sleep, timeout_at};

use super::Shared;
use super::key::key_of;
use super::swarm::{self, Fit, Found, Spare};
use crate::contents::Contents;

/// How long a gateway that reads may take: the first of these and a second more for each `RATE` bytes, and at most the second of these. The
/// tracker demands that it reports progress, but cannot tell whether that is true.
const LONGEST: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(12 * 3600));
const RATE: u64 = 32 << 10;
/// Contents of others that are tried.
const TRIES: usize = 3;
/// How often the tracker may be lost while it is waited for. Between two tries there is a second or two: who reads comes first. One that
/// starts again is asked so often.
const LOSSES: u32 = 3;
const AFTER_LOSS: Duration = Duration::from_secs(1);
const ASKS: u32 = 20;
/// Who has lost the tracker while it reads says no more often than this that it does.
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
        self.lease.publish(content);
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
        match swarm.node.lease(key, fit.size.unwrap_or(fit.most), wrong).await {
            Ok(lease) => return Some((number, lease)),
            Err(error @ NoLease::OldTracker) => shared.says_once_that_it_reads_alone(&error),
            Err(error) => tracing::debug!(%error, "this gateway reads from the origin itself"),
        }
    }
    None
}

/// Waits until it is this gateway's turn to read a file, or another one has. Without a claim it is its own.
pub(super) async fn turn(
    shared: &Shared,
    contents: &Contents,
    (digest, fit, spare): (FileDigest, Fit, Spare),
    mut claimed: Option<Claimed>,
) -> Turn {
    let name = key_of(digest);
    let (least, most) = LONGEST;
    let longest = most.min(least + Duration::from_secs(fit.size.unwrap_or(fit.most) / RATE));
    let (until, mut wrong, mut losses) = (Instant::now() + longest, Vec::new(), 0);
    while let Some((number, mut lease)) = claimed {
        let swarm = &contents.swarms[number];
        let has_waited = lease.state() == LeaseState::Held;
        let state = timeout_at(until, lease.decided()).await.unwrap_or(LeaseState::Lost);
        let mut asks = 1;
        match state {
            LeaseState::Granted => {
                // Who has read it may be gone, and not what came of it.
                let end = Instant::now() + LOOK;
                let look = swarm::find(contents, shared, end, &name, &spare, |manifest| fit.fits(manifest));
                if has_waited && let Some(found) = look.await {
                    lease.publish(found.open.content());
                    return Turn::Theirs(found);
                }
                let (key, size) = (OriginKey::of(&name), fit.size.unwrap_or(fit.most));
                let (node, said) = (swarm.node.clone(), Instant::now());
                return Turn::Ours(Some(Reading { node, lease, key, size, said, again: None }));
            }
            LeaseState::Published(content) => {
                if !shared.avoided.has(content)
                    && let Some(found) = swarm::take(contents, shared, swarm, content, &name, (fit, &spare)).await
                {
                    return Turn::Theirs(found);
                }
                wrong.push(content);
                if wrong.len() >= TRIES {
                    break;
                }
            }
            _ => {
                losses += 1;
                if losses > LOSSES || Instant::now() >= until {
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
    Turn::Ours(None)
}
