//! The loop that takes connections, and starts a session for each.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, ContentMatch, WatchedPeer};
use tokio::sync::mpsc;
use transport::{Config, Leg, Transport};

use crate::config::ServerConfig;
use crate::relay::RelayLimits;
use crate::second_address;
use crate::session;
use crate::state::{ConnectedPeer, State};

/// A running tracker over any transport.
///
/// Nobody has a fixed share of it. Where there is no room for more, a connection that announces nothing, or whose contents
/// nobody else has or wants, goes before one that others need, and one from the network and address that take most before
/// others; those that go may come back.
#[must_use = "it serves while `run` runs"]
pub struct Server {
    transport: Arc<dyn Transport>,
    state: Arc<State>,
    /// Legs that come to the relay.
    legs: tokio::sync::Mutex<Option<mpsc::Receiver<Leg>>>,
}

/// A peer of a content as the tracker's operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedPeer {
    /// Who it is, and how it stands as it says itself.
    pub peer: WatchedPeer,
    /// The network that it is seen in: a /24 of IPv4, a /48 of IPv6. Nothing if it has just left.
    pub network: Option<IpAddr>,
}

/// Time between two looks at who is seen elsewhere than before.
const LOOK_FOR_MOVED: Duration = Duration::from_secs(5);
/// The same at who makes no progress with what it holds a lease of.
const LOOK_AT_LEASES: Duration = Duration::from_secs(1);

impl Server {
    /// A tracker that nobody has reached yet.
    pub fn new(transport: Arc<dyn Transport>, config: ServerConfig) -> Self {
        let state = State::new(config);
        state.listens_at(transport.listeners());
        Server { transport, state: Arc::new(state), legs: tokio::sync::Mutex::default() }
    }

    /// Carries connections between peers that cannot reach each other. The transport hands their legs to the other end of `legs`
    /// ([`transport::legs`]).
    pub fn with_relay(mut self, limits: RelayLimits, legs: mpsc::Receiver<Leg>) -> Self {
        self.state.carry(limits);
        self.legs = tokio::sync::Mutex::new(Some(legs));
        self
    }

    /// Tells peers how they are reached, with sockets of its own that this sets up: the tracker's transport as it was bound.
    pub fn with_probing(self, config: Config) -> Self {
        self.state.look_at_peers(config.legs(None));
        self
    }

    /// Serves until the transport is closed. To be run in a tokio runtime.
    pub async fn run(&self) {
        let mut legs = self.legs.lock().await.take();
        let (mut session, mut look) = (0, tokio::time::interval(LOOK_FOR_MOVED));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look_at_leases = tokio::time::interval(LOOK_AT_LEASES);
        look_at_leases.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let connection = tokio::select! {
                connection = self.transport.accept() => match connection {
                    Some(connection) => connection,
                    None => return,
                },
                Some(leg) = next(&mut legs) => {
                    self.state.leg_came(leg);
                    continue;
                }
                _ = look.tick() => {
                    self.state.send_moved_away();
                    self.state.sweep_relay();
                    for member in self.state.forget_old_second_addresses() {
                        let state = self.state.clone();
                        tokio::spawn(async move { second_address::pass_on(&state, member, false).await });
                    }
                    continue;
                }
                _ = look_at_leases.tick() => {
                    self.state.look_at_leases();
                    continue;
                }
            };
            session += 1;
            if self.state.open(session, &connection) {
                tokio::spawn(session::run(session, connection, self.state.clone()));
            }
        }
    }

    /// Peers that have said hello, and contents that someone shares or wants.
    pub fn counts(&self) -> (usize, usize) {
        self.state.counts()
    }

    /// Connections that it carries at present, if it is a relay.
    pub fn relayed(&self) -> Option<usize> {
        self.state.relayed()
    }

    /// A page of what is shared or wanted, newest first, and what to give for the next one.
    pub fn list(&self, before: Option<u64>) -> (Vec<ContentMatch>, Option<u64>) {
        self.state.list(before)
    }

    /// Peers that have said hello, by their addresses.
    pub fn peers(&self) -> Vec<ConnectedPeer> {
        self.state.peers()
    }

    /// Those who take part in a content, from a place on, at most so many; and the place to go on from if there are more. While this
    /// is asked, peers say how they stand once a second at most, as they do for a member that watches.
    pub fn observe(&self, content: ContentId, from: usize, most: usize) -> (Vec<ObservedPeer>, Option<usize>) {
        let (peers, next) = self.state.observe(content, from, most);
        (peers.into_iter().map(|(peer, network)| ObservedPeer { peer, network }).collect(), next)
    }

    /// What is known of a content; nothing if nobody takes part in it.
    pub fn about(&self, content: ContentId) -> Option<ContentMatch> {
        self.state.about(content)
    }

    /// How often something was announced so far, and how many connections were refused for want of room.
    pub fn activity(&self) -> (u64, u64) {
        self.state.activity()
    }

    /// How many connections were let go so far because there was no room for more, of those that were refused and of others.
    pub fn let_go(&self) -> u64 {
        self.state.let_go()
    }

    /// What its connections and contents take, in bytes, as it counts.
    pub fn bytes(&self) -> u64 {
        self.state.bytes()
    }

    /// What they may take, counted in the same way. Where there is no room for more, some are let go.
    pub fn most_bytes(&self) -> u64 {
        self.state.most_bytes()
    }
}

/// The next leg; none ever comes where there is no relay.
async fn next(legs: &mut Option<mpsc::Receiver<Leg>>) -> Option<Leg> {
    match legs {
        Some(legs) => legs.recv().await,
        None => None,
    }
}
