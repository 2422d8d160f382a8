//! Everything that the tracker knows, and the loop that takes connections.
//!
//! Contents lie in a `DashMap`, so that they never wait for each other. A content's lock is held while its news are
//! put into the members' queues (which never waits), so that news of one content arrive in order. Locks are taken
//! in one order: content, then catalogue or member.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use protocol::{Announce, ContentId, ContentMatch, PeerId, TrackerMessage};
use swarm::{Push, Registry, RegistryLimits};
use tokio::sync::mpsc;
use transport::{Config, Connection, Identity, Transport, Trust};

use crate::catalogue::Catalogue;
use crate::session;

/// What a tracker may spend.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// What one content may cost.
    pub limits: RegistryLimits,
    /// Most connections at once.
    pub connections: usize,
    /// Most contents that one peer takes part in.
    pub contents_per_peer: usize,
    /// Most contents in all.
    pub contents: usize,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            limits: RegistryLimits::default(),
            connections: 20_000,
            contents_per_peer: 16_384,
            contents: 1 << 20,
            seed: fastrand::u64(..),
        }
    }
}

/// A running tracker over any transport.
pub struct Server {
    transport: Arc<dyn Transport>,
    state: Arc<State>,
}

/// What all sessions share.
pub(crate) struct State {
    config: ServerConfig,
    contents: DashMap<ContentId, Registry>,
    catalogue: Mutex<Catalogue>,
    members: DashMap<PeerId, Member>,
}

/// A connected peer.
struct Member {
    session: u64,
    connection: Arc<dyn Connection>,
    outbox: mpsc::Sender<TrackerMessage>,
    contents: BTreeSet<ContentId>,
}

/// A tracker says little, and a connection over which larger datagrams were tried keeps a buffer of that size.
const MTU: u16 = 1200;
/// All that a peer says to a tracker, it says on one stream.
const STREAMS: u32 = 1;

/// How the transport of a tracker is set up that listens here.
pub fn transport_config(identity: Identity, trust: Trust, listener: SocketAddr) -> Config {
    Config { trust, mtu: Some(MTU), streams: STREAMS, ..Config::new(identity, vec![listener]) }
}

impl Server {
    /// A tracker that nobody has reached yet.
    pub fn new(transport: Arc<dyn Transport>, config: ServerConfig) -> Self {
        let state = State {
            config,
            contents: DashMap::new(),
            catalogue: Mutex::new(Catalogue::default()),
            members: DashMap::new(),
        };
        Server { transport, state: Arc::new(state) }
    }

    /// Serves until the transport is closed. To be run in a tokio runtime.
    pub async fn run(&self) {
        let mut session = 0;
        while let Some(connection) = self.transport.accept().await {
            session += 1;
            if self.state.members.len() >= self.state.config.connections {
                connection.close(1, "the tracker is full");
                continue;
            }
            tokio::spawn(session::run(session, connection, self.state.clone()));
        }
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Connected peers, and contents that someone shares or wants.
    pub fn counts(&self) -> (usize, usize) {
        (self.state.members.len(), self.state.contents.len())
    }
}

impl State {
    /// A peer has said hello. One that comes back before its old connection was found dead replaces it.
    pub(crate) fn enter(&self, session: u64, connection: &Arc<dyn Connection>, outbox: mpsc::Sender<TrackerMessage>) {
        let peer = connection.peer_id();
        let member = Member { session, connection: connection.clone(), outbox, contents: BTreeSet::new() };
        if let Some(old) = self.members.insert(peer, member) {
            old.connection.close(1, "you came back");
            old.contents.into_iter().for_each(|content| self.depart(peer, content));
        }
    }

    /// A session has ended, by a goodbye or by silence. Another session of the same peer is not touched.
    pub(crate) fn exit(&self, session: u64, peer: PeerId) {
        let ended = self.members.remove_if(&peer, |_, member| member.session == session);
        if let Some((_, member)) = ended {
            member.contents.into_iter().for_each(|content| self.depart(peer, content));
        }
    }

    /// A peer takes part in a content, or in another way than before; an error is a sentence for it.
    pub(crate) fn announce(
        &self,
        session: u64,
        connection: &dyn Connection,
        listeners: &[SocketAddr],
        announce: Announce,
    ) -> Result<(), String> {
        let (peer, content) = (connection.peer_id(), announce.content);
        if self.contents.len() >= self.config.contents && !self.contents.contains_key(&content) {
            return Err("the tracker knows as many contents as it can".to_owned());
        }
        let seed = self.config.seed ^ u64::from_le_bytes(content.0.0[..8].try_into().expect("a digest has 32 bytes"));
        let mut registry = self.contents.entry(content).or_insert_with(|| Registry::new(self.config.limits, seed));
        // Under the content's lock: whoever ends this session, or takes its place, either has done so before, and then nothing
        // is announced, or finds the content among the member's and takes the peer out of it.
        let result = self.join(session, peer, content).and_then(|joined| {
            let (from, Announce { stake, about, .. }) = (connection.remote_addr(), announce);
            let announce = || registry.announce(peer, from, listeners, stake, about).map_err(|full| full.to_string());
            joined.then(announce).transpose()
        });
        if registry.is_empty() {
            drop(registry);
            self.contents.remove_if(&content, |_, registry| registry.is_empty());
            return result.map(drop);
        }
        let Some(introductions) = result? else { return Ok(()) };
        self.catalogue.lock().expect("no panic holds it").add(content, registry.about().map(|(name, _)| name));
        self.tell(peer, TrackerMessage::Peers { content, joined: introductions.sample, gone: Vec::new() });
        self.push(content, introductions.pushes);
        Ok(())
    }

    /// Notes that a member takes part in a content. False if the session is not that of a member any more.
    fn join(&self, session: u64, peer: PeerId, content: ContentId) -> Result<bool, String> {
        let Some(mut member) = self.members.get_mut(&peer).filter(|member| member.session == session) else {
            return Ok(false);
        };
        if member.contents.len() >= self.config.contents_per_peer && !member.contents.contains(&content) {
            return Err(format!("more than {} contents of one peer", self.config.contents_per_peer));
        }
        member.contents.insert(content);
        Ok(true)
    }

    /// A peer takes no part in a content any more. Unknown or repeated leaves harm nothing.
    pub(crate) fn leave(&self, session: u64, peer: PeerId, content: ContentId) {
        let mut member = self.members.get_mut(&peer).filter(|member| member.session == session);
        let was_there = member.as_mut().is_some_and(|member| member.contents.remove(&content));
        drop(member);
        if was_there {
            self.depart(peer, content);
        }
    }

    fn depart(&self, peer: PeerId, content: ContentId) {
        if let Some(mut registry) = self.contents.get_mut(&content) {
            let pushes = registry.leave(peer);
            self.push(content, pushes);
        }
        let gone = self.contents.remove_if(&content, |_, registry| {
            if registry.is_empty() {
                self.catalogue.lock().expect("no panic holds it").remove(content);
            }
            registry.is_empty()
        });
        drop(gone);
    }

    /// What fits a question.
    pub(crate) fn find(&self, query: &str) -> Vec<ContentMatch> {
        let found = self.catalogue.lock().expect("no panic holds it").find(query);
        self.describe(found)
    }

    /// A page of everything, and how to ask for the next one.
    pub(crate) fn list(&self, before: Option<u64>) -> (Vec<ContentMatch>, Option<u64>) {
        let (page, next) = self.catalogue.lock().expect("no panic holds it").page(before);
        (self.describe(page), next)
    }

    fn describe(&self, contents: Vec<ContentId>) -> Vec<ContentMatch> {
        let describe = |content: ContentId| {
            let registry = self.contents.get(&content)?;
            let (name, size) = registry.about().unwrap_or_default();
            let (seeders, others, downloaders) = (registry.seeders(), registry.others(), registry.downloaders());
            Some(ContentMatch { content, name: name.to_owned(), size, seeders, others, downloaders })
        };
        contents.into_iter().filter_map(describe).collect()
    }

    fn push(&self, content: ContentId, pushes: Vec<Push>) {
        for Push { to, joined, gone } in pushes {
            self.tell(to, TrackerMessage::Peers { content, joined, gone });
        }
    }

    /// Puts a message into a peer's queue; a peer that does not read is let go.
    fn tell(&self, peer: PeerId, message: TrackerMessage) {
        if let Some(member) = self.members.get(&peer)
            && member.outbox.try_send(message).is_err()
        {
            member.connection.close(1, "you do not read");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use protocol::{Digest, Stake};
    use transport::MemoryNetwork;

    use super::*;

    /// A session that announced while another one of the same peer took its place once left a ghost in the content.
    #[tokio::test]
    async fn whoever_announces_while_another_session_takes_its_place_leaves_no_ghost() {
        let network = MemoryNetwork::new();
        let bind = |id: u8, at: &str| network.bind(PeerId(Digest([id; 32])), vec![at.parse().unwrap()]).unwrap();
        let (tracker, peer) = (bind(0, "10.0.0.1:9999"), bind(1, "10.0.0.2:9000"));
        let dialled = peer.dial(tracker.listeners()[0], tracker.peer_id());
        let (dialled, accepted) = tokio::join!(dialled, tracker.accept());
        let (_dialled, connection) = (dialled.unwrap(), accepted.unwrap());
        let server = Server::new(Arc::new(tracker), ServerConfig { seed: 1, ..ServerConfig::default() });
        let state = &*server.state;
        let (outbox, _messages) = mpsc::channel(session::OUTBOX);
        let announce =
            |number| Announce { content: ContentId(Digest([number; 32])), about: None, stake: Stake::Seeder };
        let together = Barrier::new(2);
        for session in (0..4000).step_by(2) {
            state.enter(session, &connection, outbox.clone());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    together.wait();
                    for number in 0..100 {
                        state.announce(session, &*connection, &[], announce(number)).unwrap();
                    }
                    state.exit(session, connection.peer_id());
                });
                together.wait();
                state.enter(session + 1, &connection, outbox.clone());
            });
            state.exit(session + 1, connection.peer_id());
            assert_eq!(server.counts(), (0, 0), "after session {session}");
        }
    }
}
