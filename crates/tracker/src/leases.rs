//! Leases of what origins have, for peers that ask on connections of their own. What is decided stands in `swarm::Leases`; here are its
//! clock, and what each connection has yet to hear.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::{LeaseEvent, LeaseRequest, TrackerEvent, TrackerRequest};
use swarm::{LeaseAction, Leases};
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::TransportError;
use transport::frame::{MessageReceiver, MessageSender};

use crate::cost;
use crate::pace::Paced;
use crate::state::State;

/// Time between two looks at holders that make no progress.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// What may wait for a connection that reads slowly. One that reads more slowly ends, and its leases with it.
const WAITING: usize = 2048;

/// All leases, and the connections that are told of them.
pub(crate) struct LeaseDesk {
    began: Instant,
    state: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    leases: Leases,
    connections: HashMap<u64, mpsc::Sender<LeaseEvent>>,
}

/// A connection that is told of leases, until it is dropped.
struct Visitor<'a> {
    state: &'a State,
    session: u64,
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        self.state.leases.lock().connections.remove(&self.session);
        self.state.leases.act(self.state, |leases, now, actions| leases.end(now, self.session, actions));
    }
}

impl Default for LeaseDesk {
    fn default() -> Self {
        LeaseDesk { began: Instant::now(), state: Mutex::default() }
    }
}

impl LeaseDesk {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holders that make no progress hold nothing any more.
    pub(crate) fn look(&self, state: &State) {
        self.act(state, |leases, now, actions| leases.tick(now, actions));
    }

    /// Lets something happen, and does what is to be done.
    fn act(&self, state: &State, happens: impl FnOnce(&mut Leases, Duration, &mut Vec<LeaseAction>)) {
        let mut actions = Vec::new();
        {
            let mut desk = self.lock();
            happens(&mut desk.leases, self.began.elapsed(), &mut actions);
            for action in &actions {
                match *action {
                    LeaseAction::Tell { session, event } => {
                        let told = desk.connections.get(&session).map(|events| events.try_send(event));
                        if told.is_some_and(|told| told.is_err()) {
                            // It does not read. Without its channel it ends.
                            desk.connections.remove(&session);
                        }
                    }
                    LeaseAction::Takes { session } => state.takes(session, cost::LEASE as i64),
                    LeaseAction::Gives { session } => state.takes(session, -(cost::LEASE as i64)),
                }
            }
        }
        state.make_room();
    }

    /// Serves a connection whose first message is about a lease, until it ends.
    pub(crate) async fn serve(
        &self,
        state: &State,
        session: u64,
        send: &mut MessageSender<TrackerEvent>,
        mut recv: MessageReceiver<TrackerRequest>,
        first: LeaseRequest,
    ) -> Result<(), TransportError> {
        let (events, mut told) = mpsc::channel(WAITING);
        self.lock().connections.insert(session, events);
        let _visitor = Visitor { state, session };
        let say = |request| self.act(state, |leases, now, actions| leases.handle(now, session, request, actions));
        say(first);
        let reading = async {
            let mut paced = Paced::new(state.pace());
            while let Some(message) = recv.recv().await? {
                let TrackerRequest::Lease(request) = message else {
                    return Err(TransportError::Lost("it says something else than of leases".to_owned()));
                };
                say(request);
                tokio::time::sleep(paced.spend()).await;
            }
            Ok(())
        };
        let writing = async {
            while let Some(event) = told.recv().await {
                send.send(&TrackerEvent::Lease(event)).await?;
            }
            Err(TransportError::Lost("it does not read what it is told of leases".to_owned()))
        };
        tokio::select! {
            result = reading => result,
            result = writing => result,
        }
    }
}
