//! Leases: this node would read from an origin what nobody in the swarm has, and a tracker says whether another one does already.
//!
//! Like codes, they are no business of the driver's: it says which trackers there are, and the rest is connections of their own. All
//! leases of a node at one tracker share one.

mod connection;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::{ContentId, LeaseRequest, OriginKey, PeerId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use transport::Transport;

use crate::lock::lock;
use connection::Connection;

/// A tracker says within this time who reads.
const ANSWER: Duration = Duration::from_secs(5);
/// A tracker that knows no leases, or does not answer, is not asked again for so long.
const ASK_AGAIN: Duration = Duration::from_secs(300);
/// Between two reports of progress.
const REPORT: Duration = Duration::from_secs(2);

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseState {
    /// This node is to read it.
    Granted,
    /// Another node reads it, or is about to.
    Held,
    /// Somebody says that it is this content. Whether that is so is for the node to find out.
    Published(ContentId),
    /// The tracker is gone, or has no room: nobody says anything more of it.
    Lost,
}

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoLease {
    /// No tracker is joined, none lives, or none answers.
    #[error("no tracker that grants leases can be reached")]
    NoTracker,
    /// The trackers are of an earlier version, or of private shares.
    #[error("the tracker grants no leases: it is an older version, or the tracker of a private share")]
    OldTracker,
}

/// Where a tracker is, and who it is.
pub(crate) type Place = (PeerId, SocketAddr);

/// A node's place among those that would read the same from an origin. Dropped without a content, it says that nothing came of it.
#[must_use = "the lease ends when it is dropped"]
pub struct Lease {
    key: OriginKey,
    state: watch::Receiver<LeaseState>,
    requests: mpsc::Sender<LeaseRequest>,
    reported: Instant,
    is_published: bool,
}

impl Lease {
    /// How it stands now.
    pub fn state(&self) -> LeaseState {
        match self.state.has_changed() {
            Err(_) => LeaseState::Lost,
            Ok(_) => *self.state.borrow(),
        }
    }

    /// Waits until it is not held by another node any more.
    pub async fn decided(&mut self) -> LeaseState {
        match self.state.wait_for(|state| *state != LeaseState::Held).await {
            Ok(state) => *state,
            Err(_) => LeaseState::Lost,
        }
    }

    /// So many bytes have been read in all. To be said often: it is passed on every few seconds. A holder that says nothing for half a
    /// minute is passed over.
    pub fn progress(&mut self, bytes: u64) {
        let now = Instant::now();
        if now >= self.reported + REPORT && self.say(LeaseRequest::Progress { key: self.key, bytes }) {
            self.reported = now;
        }
    }

    /// It is this content, which this node shares: others are told. That is remembered for as long as this node is connected.
    pub fn publish(mut self, content: ContentId) {
        self.is_published = self.say(LeaseRequest::Published { key: self.key, content });
    }

    fn say(&self, request: LeaseRequest) -> bool {
        self.requests.try_send(request).is_ok()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_published && !matches!(self.state(), LeaseState::Published(_) | LeaseState::Lost) {
            self.say(LeaseRequest::Release { key: self.key });
        }
    }
}

/// The connections of a node for leases.
#[derive(Default)]
pub(crate) struct LeaseConnections {
    open: Mutex<HashMap<Place, Connection>>,
    /// Trackers that were of no use, until when, and why.
    unfit: Mutex<HashMap<Place, (Instant, NoLease)>>,
}

impl LeaseConnections {
    /// Asks the first of these trackers that knows leases.
    pub(crate) async fn claim(
        &self,
        transport: &Arc<dyn Transport>,
        places: Vec<Place>,
        (key, size): (OriginKey, u64),
        wrong: Vec<ContentId>,
    ) -> Result<Lease, NoLease> {
        let mut why = NoLease::NoTracker;
        for place in places {
            if let Some((until, known)) = lock(&self.unfit).get(&place).copied()
                && Instant::now() < until
            {
                why = known;
                continue;
            }
            let request = LeaseRequest::Claim { key, size, wrong: wrong.clone() };
            match timeout(ANSWER, self.claim_at(transport, place, key, request)).await {
                Ok(Ok(lease)) => return Ok(lease),
                Ok(Err(reason)) => {
                    why = reason;
                    if why == NoLease::OldTracker {
                        tracing::info!(tracker = %place.1, "{why}");
                        lock(&self.unfit).insert(place, (Instant::now() + ASK_AGAIN, why));
                    }
                }
                Err(_) => {}
            }
        }
        Err(why)
    }

    async fn claim_at(
        &self,
        transport: &Arc<dyn Transport>,
        place: Place,
        key: OriginKey,
        request: LeaseRequest,
    ) -> Result<Lease, NoLease> {
        let connection = {
            let mut open = lock(&self.open);
            open.retain(|_, connection| connection.is_open());
            open.entry(place).or_insert_with(|| Connection::open(transport.clone(), place)).clone()
        };
        let state = connection.claim(key, request).await?;
        let (requests, reported) = (connection.requests(), Instant::now());
        Ok(Lease { key, state, requests, reported, is_published: false })
    }
}
