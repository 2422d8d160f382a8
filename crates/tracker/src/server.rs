//! The loop that takes connections, and starts a session for each.

use std::sync::Arc;
use std::time::Duration;

use protocol::ContentMatch;
use transport::Transport;

use crate::config::ServerConfig;
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
}

/// Time between two looks at who is seen elsewhere than before.
const LOOK_FOR_MOVED: Duration = Duration::from_secs(5);

impl Server {
    /// A tracker that nobody has reached yet.
    pub fn new(transport: Arc<dyn Transport>, config: ServerConfig) -> Self {
        Server { transport, state: Arc::new(State::new(config)) }
    }

    /// Serves until the transport is closed. To be run in a tokio runtime.
    pub async fn run(&self) {
        let (mut session, mut look) = (0, tokio::time::interval(LOOK_FOR_MOVED));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let connection = tokio::select! {
                connection = self.transport.accept() => match connection {
                    Some(connection) => connection,
                    None => return,
                },
                _ = look.tick() => {
                    self.state.send_moved_away();
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

    /// A page of what is shared or wanted, newest first, and what to give for the next one.
    pub fn list(&self, before: Option<u64>) -> (Vec<ContentMatch>, Option<u64>) {
        self.state.list(before)
    }

    /// Peers that have said hello, by their addresses.
    pub fn peers(&self) -> Vec<ConnectedPeer> {
        self.state.peers()
    }

    /// What its connections and contents take, in bytes, as it counts.
    pub fn bytes(&self) -> u64 {
        self.state.bytes()
    }
}
