//! Leases of what origins have, for peers that ask on connections of their own. What is decided stands in `swarm::Leases`; here are its
//! clock, and what each connection has yet to hear.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::{LeaseEvent, LeaseRequest, TrackerEvent, TrackerRequest};
use swarm::{AddressOrigin, LeaseAction, Leases};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use transport::TransportError;
use transport::frame::{MessageReceiver, MessageSender};

use super::State;
use crate::cost;
use crate::ledger::Use;
use crate::pace::Paced;

/// What may wait for a connection that reads slowly. One that reads more slowly ends, and its leases with it.
const WAITING: usize = 2048;

/// All leases, and the connections that are told of them.
pub(super) struct LeaseDesk {
    began: Instant,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    leases: Leases,
    connections: HashMap<u64, mpsc::Sender<LeaseEvent>>,
}

impl LeaseDesk {
    pub(super) fn new() -> Self {
        LeaseDesk { began: Instant::now(), desk: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is told of leases, until it is dropped.
struct Visitor<'a> {
    state: &'a State,
    session: u64,
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        self.state.leases.lock().connections.remove(&self.session);
        self.state.lease(|leases, now, actions| leases.end(now, self.session, actions));
    }
}

impl State {
    /// Holders that make no progress hold nothing any more. To be called once a second.
    pub(crate) fn look_at_leases(&self) {
        self.lease(Leases::tick);
    }

    /// Lets something happen to the leases, and does what is to be done.
    fn lease(&self, happens: impl FnOnce(&mut Leases, Duration, &mut Vec<LeaseAction>)) {
        let mut actions = Vec::new();
        {
            let mut desk = self.leases.lock();
            happens(&mut desk.leases, self.leases.began.elapsed(), &mut actions);
            for action in &actions {
                match *action {
                    LeaseAction::Tell { session, event } => {
                        let told = desk.connections.get(&session).map(|events| events.try_send(event));
                        if told.is_some_and(|told| told.is_err()) {
                            // It does not read. Without its channel it ends.
                            desk.connections.remove(&session);
                        }
                    }
                    LeaseAction::Takes { session } => self.ledger().change(session, cost::LEASE as i64),
                    LeaseAction::Gives { session } => self.ledger().change(session, -(cost::LEASE as i64)),
                }
            }
        }
        self.make_room();
    }

    /// Serves a connection whose first message is about a lease, until it ends.
    pub(crate) async fn serve_leases(
        &self,
        (session, from): (u64, IpAddr),
        send: &mut MessageSender<TrackerEvent>,
        mut recv: MessageReceiver<TrackerRequest>,
        first: LeaseRequest,
    ) -> Result<(), TransportError> {
        let network = AddressOrigin::of(from).network;
        {
            let mut ledger = self.ledger();
            ledger.change(session, cost::LEASES as i64);
            ledger.raise_use(session, Use::Alone);
        }
        let (events, mut told) = mpsc::channel(WAITING);
        self.leases.lock().connections.insert(session, events);
        let _visitor = Visitor { state: self, session };
        let say = |request: LeaseRequest| {
            self.lease(|leases, now, actions| leases.handle(now, (session, network), request, actions));
        };
        say(first);
        let reading = async {
            let mut paced = Paced::new(self.pace());
            while let Some(message) = recv.recv().await? {
                let TrackerRequest::Lease(request) = message else {
                    return Err(TransportError::Lost("it says something else than of leases".to_owned()));
                };
                say(request);
                sleep(paced.spend(1)).await;
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
