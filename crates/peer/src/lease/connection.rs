//! A connection to a tracker for leases alone: an older tracker ends one on which it hears of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::{LeaseEvent, LeaseRequest, OriginKey, TrackerEvent, TrackerRequest};
use tokio::sync::{mpsc, oneshot, watch};
use transport::frame::{MessageReceiver, MessageSender};
use transport::{Transport, TransportError};

use super::{LeaseState, NoLease, Place};
use crate::code::is_old;
use crate::lock::lock;
use crate::net::dial::{self, For};

/// The tracker takes each message within this time.
const SEND: Duration = Duration::from_secs(5);
/// What may wait to be said.
const WAITING: usize = 4096;

/// Those that nobody watches any more are forgotten once there are so many.
const WATCHERS: usize = 1024;

/// Who waits for the first word of a key, and who watches it then.
enum LeaseWatcher {
    Asked(oneshot::Sender<Result<watch::Receiver<LeaseState>, NoLease>>),
    Told(watch::Sender<LeaseState>),
}

impl LeaseWatcher {
    fn is_there(&self) -> bool {
        match self {
            LeaseWatcher::Asked(tell) => !tell.is_closed(),
            LeaseWatcher::Told(tell) => !tell.is_closed(),
        }
    }
}

/// Those who have a key each.
type Watchers = Arc<Mutex<HashMap<OriginKey, LeaseWatcher>>>;

/// A connection that is open, or about to be.
#[derive(Clone)]
pub(super) struct Connection {
    requests: mpsc::Sender<LeaseRequest>,
    watchers: Watchers,
}

impl Connection {
    /// Connects to a tracker in the background.
    pub(super) fn open(transport: Arc<dyn Transport>, place: Place) -> Self {
        let (requests, said) = mpsc::channel(WAITING);
        let watchers = Watchers::default();
        let own = requests.downgrade();
        tokio::spawn(run(transport, place, (said, own), watchers.clone()));
        Connection { requests, watchers }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    pub(super) fn requests(&self) -> mpsc::Sender<LeaseRequest> {
        self.requests.clone()
    }

    /// Claims a key, and waits for the answer.
    pub(super) async fn claim(
        &self,
        key: OriginKey,
        request: LeaseRequest,
    ) -> Result<watch::Receiver<LeaseState>, NoLease> {
        let (tell, told) = oneshot::channel();
        {
            let mut watchers = lock(&self.watchers);
            if watchers.len() >= WATCHERS {
                watchers.retain(|_, watcher| watcher.is_there());
            }
            // Who had it before hears no more of it.
            watchers.insert(key, LeaseWatcher::Asked(tell));
        }
        self.requests.send(request).await.map_err(|_| NoLease::NoTracker)?;
        told.await.unwrap_or(Err(NoLease::NoTracker))
    }
}

/// Runs a connection until it ends. Then nobody is told anything more.
async fn run(
    transport: Arc<dyn Transport>,
    place: Place,
    (mut said, own): (mpsc::Receiver<LeaseRequest>, mpsc::WeakSender<LeaseRequest>),
    watchers: Watchers,
) {
    let reason = match talk(transport, place, (&mut said, own), &watchers).await {
        Ok(()) => NoLease::NoTracker,
        Err(reason) => reason,
    };
    said.close();
    for watcher in std::mem::take(&mut *lock(&watchers)).into_values() {
        if let LeaseWatcher::Asked(tell) = watcher {
            let _ = tell.send(Err(reason));
        }
    }
}

async fn talk(
    transport: Arc<dyn Transport>,
    (id, at): Place,
    (said, own): (&mut mpsc::Receiver<LeaseRequest>, mpsc::WeakSender<LeaseRequest>),
    watchers: &Watchers,
) -> Result<(), NoLease> {
    let lost = |error: TransportError| {
        tracing::debug!(%error, tracker = %at, "no leases");
        NoLease::NoTracker
    };
    let connection = dial::first(transport, id, vec![at], For::Tracker).await.map_err(lost)?;
    let (send, recv) = connection.open().await.map_err(lost)?;
    let (mut send, mut recv) = (MessageSender::new(send, SEND), MessageReceiver::new(recv));
    let mut has_answered = false;
    let reading = async {
        loop {
            match recv.recv().await {
                Ok(Some(TrackerEvent::Lease(event))) => {
                    has_answered = true;
                    let is_heard = tell(&mut lock(watchers), event);
                    if !is_heard && let Some(own) = own.upgrade() {
                        let _ = own.try_send(LeaseRequest::Release { key: event.key() });
                    }
                }
                Ok(_) => return Err::<(), _>(TransportError::Lost("it says something else than of leases".to_owned())),
                Err(error) => return Err(error),
            }
        }
    };
    let writing = async {
        while let Some(request) = said.recv().await {
            send.send(&TrackerRequest::Lease(request)).await?;
        }
        Ok::<(), TransportError>(())
    };
    let ended = tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    };
    let Err(error) = ended else { return Ok(()) };
    let is_old = !has_answered && is_old(&error, &*connection).await;
    connection.close(0, "done");
    if is_old { Err(NoLease::OldTracker) } else { Err(lost(error)) }
}

/// Tells who watches a key. False if nobody does any more.
fn tell(watchers: &mut HashMap<OriginKey, LeaseWatcher>, event: LeaseEvent) -> bool {
    let (key, state) = (event.key(), state_of(event));
    let told = match watchers.remove(&key) {
        Some(LeaseWatcher::Asked(asked)) => {
            let (tell, told) = watch::channel(state);
            asked.send(Ok(told)).is_ok().then_some(tell)
        }
        Some(LeaseWatcher::Told(told)) => told.send(state).is_ok().then_some(told),
        None => None,
    };
    let is_heard = told.is_some();
    watchers.extend(told.map(|told| (key, LeaseWatcher::Told(told))));
    is_heard
}

fn state_of(event: LeaseEvent) -> LeaseState {
    match event {
        LeaseEvent::Granted { .. } => LeaseState::Granted,
        LeaseEvent::Held { .. } => LeaseState::Held,
        LeaseEvent::Published { content, .. } => LeaseState::Published(content),
        LeaseEvent::Refused { .. } => LeaseState::Lost,
    }
}
