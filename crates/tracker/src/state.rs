//! Everything that the tracker knows, and what all sessions share.
//!
//! Contents lie in a `DashMap`, so that they never wait for each other. A content's lock is held while its news are
//! put into the members' outboxes (which never waits), so that news of one content arrive in order. Locks are taken
//! in one order: content, then catalogue or member, or the leases, then outbox, then ledger. The ledger is everyone's, and held for a moment only.
//!
//! What each connection takes is in the ledger's books. A session that lets them grow makes room afterwards, holding no lock.

mod asked;
mod leased;
mod news;
mod relayed;
mod second_address;
mod watched;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use protocol::{Announce, COME_AGAIN, ContentId, PeerId, Role, TrackerInstance};
use swarm::{AddressOrigin, Addresses, Introductions, Push, Registry};
use transport::{Config, Connection};

use crate::catalogue::{Catalogue, Name, Namer};
use crate::config::ServerConfig;
use crate::cost;
use crate::ledger::{Ledger, Room, Use};
use crate::lock::lock;
use crate::mailboxes::Mailboxes;
use crate::news_load::{Haste, NewsLoad};
use crate::outbox::Outbox;
use crate::own_addresses::OwnAddresses;
use crate::pace::{Busy, Left, Pace, Repeats};
use crate::private::PrivateTracker;
use crate::probe::{self, Prober};
use crate::relay::Relay;
use crate::watching::{Asking, Watched};
use leased::LeaseDesk;
use second_address::SecondAddress;

/// A peer that is connected to a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedPeer {
    /// Where its connection comes from.
    pub address: SocketAddr,
    /// How many contents it shares or wants.
    pub contents: usize,
}

/// A message about a content that is announced again and again counts as so many.
const TOO_OFTEN: u32 = 20;

/// What all sessions share.
pub(crate) struct State {
    config: ServerConfig,
    /// Which of several trackers it is.
    pub(crate) instance: TrackerInstance,
    /// Boxed: up to half of a map's places are empty, and as large as the others.
    contents: DashMap<ContentId, Box<Registry>>,
    catalogue: Mutex<Catalogue>,
    members: DashMap<PeerId, Member>,
    /// Every connection, from the first moment on.
    sessions: DashMap<u64, Arc<dyn Connection>>,
    ledger: Mutex<Ledger>,
    asking: Mutex<Asking>,
    /// Where it is reached, once that is known.
    own_addresses: OnceLock<OwnAddresses>,
    /// Carries connections, if it is to.
    relay: OnceLock<Relay>,
    /// Tells peers how they are reached, if it is to.
    prober: OnceLock<Prober>,
    /// Whether somebody on another machine has reached it over UDP.
    udp_works: AtomicBool,
    /// Mailboxes for codes.
    pub(crate) mailboxes: Mailboxes,
    /// Who reads from origins.
    leases: LeaseDesk,
    /// How often something was announced, and a connection refused for want of room.
    announces: AtomicU64,
    refusals: AtomicU64,
    /// Whose announcements take its time.
    busy: Mutex<Busy>,
    /// How much there is to tell of others.
    news_load: Mutex<NewsLoad>,
    /// How many connections were let go for others.
    let_go: AtomicU64,
}

/// A connected peer that has said hello.
struct Member {
    session: u64,
    outbox: Arc<Outbox>,
    addresses: Arc<Addresses>,
    /// Boxed: a node of the map has eleven places, and most members take part in one content.
    contents: BTreeMap<ContentId, Box<Membership>>,
    /// Whether it was told of the relay, and opens legs.
    knows_relay: bool,
    takes_legs: bool,
    second: SecondAddress,
    /// What it has left lately.
    left: Left,
}

/// That a peer takes part in a content.
#[derive(Default)]
struct Membership {
    /// What it costs.
    bytes: usize,
    /// Whether it pays for the content.
    keeps: bool,
    /// Whether it has wanted pieces of it while it was here.
    wanted: bool,
    /// How it stands, where somebody watches.
    watched: Watched,
    /// How often it was announced anew lately.
    repeats: Repeats,
}

impl Membership {
    /// What it costs that it says how it stands.
    fn progress_bytes(&self) -> usize {
        if self.watched.keeps() { cost::PROGRESS } else { 0 }
    }
}

/// The port at which a peer takes connections where it is seen: over QUIC it dials from where it listens.
fn port_seen(connection: &dyn Connection) -> Option<u16> {
    (connection.transport() == "quic").then(|| connection.remote_addr().port())
}

/// Bytes that a session takes for a while.
#[must_use = "they are given back at once if it is dropped"]
pub(crate) struct HeldMemory<'a> {
    state: &'a State,
    session: u64,
    bytes: i64,
}

impl Drop for HeldMemory<'_> {
    fn drop(&mut self) {
        self.state.ledger().change(self.session, -self.bytes);
    }
}

impl State {
    /// Of a tracker that nobody has reached yet.
    pub(crate) fn new(config: ServerConfig) -> Self {
        let room = Room { memory: config.memory_to_count(), connections: config.connections };
        // Not derived from the seed: the nonce of an earlier start must never occur again.
        let nonce = fastrand::u128(..).to_le_bytes();
        State {
            instance: TrackerInstance { label: config.label, nonce },
            config,
            contents: DashMap::new(),
            catalogue: Mutex::new(Catalogue::default()),
            members: DashMap::new(),
            sessions: DashMap::new(),
            ledger: Mutex::new(Ledger::new(room)),
            asking: Mutex::default(),
            own_addresses: OnceLock::new(),
            relay: OnceLock::new(),
            prober: OnceLock::new(),
            udp_works: AtomicBool::new(false),
            mailboxes: Mailboxes::default(),
            leases: LeaseDesk::new(),
            announces: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            busy: Mutex::default(),
            news_load: Mutex::default(),
            let_go: AtomicU64::new(0),
        }
    }

    /// Peers that have said hello, and contents that someone shares or wants.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.members.len(), self.contents.len())
    }

    /// Peers that have said hello, by their addresses.
    pub(crate) fn peers(&self) -> Vec<ConnectedPeer> {
        let members: Vec<_> = self.members.iter().map(|member| (member.session, member.contents.len())).collect();
        let peer =
            |(session, contents)| Some(ConnectedPeer { address: self.sessions.get(&session)?.remote_addr(), contents });
        let mut peers: Vec<_> = members.into_iter().filter_map(peer).collect();
        peers.sort_by_key(|peer| peer.address);
        peers
    }

    /// What its connections and contents take, in bytes, as it counts.
    pub(crate) fn bytes(&self) -> u64 {
        self.ledger().bytes()
    }

    /// Tells peers from now on how they are reached.
    pub(crate) fn look_at_peers(&self, config: Config) {
        let _ = self.prober.set(Prober::new(config));
    }

    /// What tells peers how they are reached, and what it is to know.
    pub(crate) fn prober(&self) -> Option<(&Prober, probe::Known)> {
        let known =
            probe::Known { relays: self.relay.get().is_some(), udp_works: self.udp_works.load(Ordering::Relaxed) };
        self.prober.get().map(|prober| (prober, known))
    }

    /// A connection is here. False if it cannot stay.
    pub(crate) fn open(&self, session: u64, connection: &Arc<dyn Connection>) -> bool {
        self.sessions.insert(session, connection.clone());
        if connection.transport() == "quic" && !connection.remote_addr().ip().to_canonical().is_loopback() {
            self.udp_works.store(true, Ordering::Relaxed);
        }
        self.ledger().open(
            session,
            AddressOrigin::of(connection.remote_addr().ip()),
            cost::connection(connection.transport()),
        );
        self.make_room();
        let stays = self.sessions.contains_key(&session);
        self.refusals.fetch_add(u64::from(!stays), Ordering::Relaxed);
        stays
    }

    /// Announcements and refusals so far.
    pub(crate) fn activity(&self) -> (u64, u64) {
        (self.announces.load(Ordering::Relaxed), self.refusals.load(Ordering::Relaxed))
    }

    /// Connections that were let go for others so far.
    pub(crate) fn let_go(&self) -> u64 {
        self.let_go.load(Ordering::Relaxed)
    }

    /// What its connections and contents may take, in bytes, as it counts.
    pub(crate) fn most_bytes(&self) -> u64 {
        self.config.memory_to_count()
    }

    /// A peer has said hello. One that comes back before its old connection was found dead replaces it. False if there was
    /// no room for it meanwhile.
    pub(crate) fn enter(
        &self,
        session: u64,
        connection: &Arc<dyn Connection>,
        outbox: Arc<Outbox>,
        listeners: &[SocketAddr],
    ) -> bool {
        let peer = connection.peer_id();
        let addresses = Addresses::new(connection.remote_addr().ip(), port_seen(&**connection), listeners);
        self.ledger().change(session, cost::addresses(&addresses) as i64);
        let second = SecondAddress::of(&addresses, listeners);
        let (contents, addresses) = (BTreeMap::new(), Arc::new(addresses));
        let left = Left::default();
        let member =
            Member { session, outbox, addresses, contents, knows_relay: false, takes_legs: false, second, left };
        if let Some(old) = self.members.insert(peer, member) {
            if let Some((_, connection)) = self.sessions.remove(&old.session) {
                connection.close(1, "replaced by a newer session");
            }
            self.end_second(old.second.connection());
            self.ledger().close(old.session);
            old.contents.into_keys().for_each(|content| self.depart(peer, content));
        }
        self.make_room();
        let stays = self.sessions.contains_key(&session);
        if !stays {
            self.exit(session, peer);
        }
        stays
    }

    /// A session has, or opens, a mailbox. Who has one may be as quiet as one who shares what nobody has asked for so far.
    pub(crate) fn is_for_mailboxes(&self, session: u64, has: bool) {
        self.ledger().change(session, cost::MAILBOX as i64);
        if has {
            self.ledger().raise_use(session, Use::Alone);
        }
        self.make_room();
    }

    /// Ends the connections of those whose packets come from another address than in their handshake: their network has changed,
    /// and what others are told of them leads nowhere any more. The sender of a packet can be forged, so nobody is believed
    /// to be where it seems to be: it is to come again, and the new handshake proves where it is.
    pub(crate) fn send_moved_away(&self) {
        for entry in &self.sessions {
            if entry.value().stats().moved {
                tracing::debug!(peer = %entry.value().peer_id(), "is seen elsewhere");
                entry.value().close(COME_AGAIN, "you have another address now: come again");
            }
        }
    }

    /// A session has ended, by a goodbye or by silence. Another session of the same peer is not touched.
    pub(crate) fn exit(&self, session: u64, peer: PeerId) {
        self.sessions.remove(&session);
        let ended = self.members.remove_if(&peer, |_, member| member.session == session);
        self.ledger().close(session);
        if let Some((_, member)) = ended {
            self.end_second(member.second.connection());
            member.contents.into_keys().for_each(|content| self.depart(peer, content));
        }
    }

    /// Lets go the peers that have to, until there is room. To be called with no lock held.
    fn make_room(&self) {
        loop {
            let Some(session) = self.ledger().surplus() else { return };
            let connection = self.sessions.get(&session).map(|connection| connection.clone());
            match connection {
                Some(connection) => {
                    if self.let_go.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::warn!(
                            "the tracker is full: from now on it lets some peers go for others. Give it more memory"
                        );
                    }
                    tracing::debug!(peer = %connection.peer_id(), from = %connection.remote_addr(), "makes room");
                    connection.close(1, "the tracker needs the room");
                    self.exit(session, connection.peer_id());
                }
                None => self.ledger().close(session),
            }
        }
    }

    /// Notes that a session takes so many bytes more until what is returned is dropped.
    pub(crate) fn hold(&self, session: u64, bytes: usize) -> HeldMemory<'_> {
        let bytes = bytes as i64;
        self.ledger().change(session, bytes);
        let held = HeldMemory { state: self, session, bytes };
        self.make_room();
        held
    }

    /// A peer takes part in a content, or in another way than before. Says as how many messages that counts: as none if it takes part
    /// since now only, and has never left anything.
    pub(crate) fn announce(&self, session: u64, peer: PeerId, announce: Announce) -> u32 {
        self.announces.fetch_add(1, Ordering::Relaxed);
        let Announce { content, about, role } = announce;
        let seed = self.config.seed ^ u64::from_le_bytes(content.0.0[..8].try_into().expect("a digest has 32 bytes"));
        let mut registry = self.contents.entry(content).or_insert_with(|| Box::new(Registry::new(seed)));
        let mut counts = u32::from(registry.contains(peer));
        // Under the content's lock: a call that ends this session, or replaces it, either came before, and then nothing
        // is announced, or finds the content among the member's and takes the peer out of it.
        if let Some((addresses, wanted, messages)) = self.join(session, peer, content, role) {
            counts = messages;
            let publishers = &self.config.publishers;
            let believed = publishers.is_empty() || (publishers.contains(&peer) && !wanted);
            let introductions =
                registry.announce(peer, &addresses, role, about.filter(|_| believed && !content.is_private()));
            self.charge(peer, content, cost::membership(&introductions), &registry);
            if introductions.renamed {
                self.list_names(content, &registry);
            }
            self.ledger().raise_use(session, Use::Alone);
            let mut gone = self.first_word_of_relay(peer);
            gone.extend(self.first_word_of_second_address(peer));
            self.push(content, vec![Push { to: peer, joined: introductions.sample, gone }], Haste::Now);
            self.push_others(content, introductions.pushes);
        }
        let empty = registry.is_empty();
        drop(registry);
        if empty {
            self.contents.remove_if(&content, |_, registry| registry.is_empty());
        }
        self.make_room();
        counts
    }

    /// What a connection says took so much time. Says how long to wait before more of it is read: a while if the tracker has much to do, and
    /// more of that than others' is made there.
    pub(crate) fn took(&self, origin: AddressOrigin, time: Duration) -> Duration {
        lock(&self.busy).spent(origin, time)
    }

    /// Notes that a member takes part in a content: gives its addresses, whether it has wanted pieces of it, and as how many messages it
    /// counts that it says so. Nothing if the session is not that of a member any more.
    fn join(&self, session: u64, peer: PeerId, content: ContentId, role: Role) -> Option<(Arc<Addresses>, bool, u32)> {
        let mut member = self.members.get_mut(&peer).filter(|member| member.session == session)?;
        let Member { contents, left, addresses, .. } = &mut *member;
        let takes_part = contents.contains_key(&content);
        let remembered = left.len();
        let membership = contents
            .entry(content)
            .or_insert_with(|| Box::new(Membership { repeats: left.take(content), ..Membership::default() }));
        membership.wanted |= role == Role::Downloader;
        let messages = match membership.repeats.one_more() {
            false => TOO_OFTEN,
            true => u32::from(takes_part || left.is_used()),
        };
        let joined = (addresses.clone(), membership.wanted, messages);
        self.ledger().change(session, cost::left(left.len()) - cost::left(remembered));
        Some(joined)
    }

    /// Notes what it costs that a member takes part in a content, and if it is the only one, the content too. It never becomes
    /// less while it does.
    fn charge(&self, peer: PeerId, content: ContentId, bytes: usize, registry: &Registry) {
        let Some(mut member) = self.members.get_mut(&peer) else { return };
        let session = member.session;
        let Some(membership) = member.contents.get_mut(&content) else { return };
        membership.keeps |= registry.len() == 1;
        let name = registry.about().map(|(name, _)| name);
        let bytes = bytes + if membership.keeps { cost::content(name) } else { 0 };
        let more = bytes.saturating_sub(membership.bytes);
        membership.bytes += more;
        self.ledger().change(session, more as i64);
    }

    /// A peer takes no part in a content any more. Unknown or repeated leaves harm nothing.
    pub(crate) fn leave(&self, session: u64, peer: PeerId, content: ContentId) {
        let Some(mut member) = self.members.get_mut(&peer).filter(|member| member.session == session) else { return };
        let Some(membership) = member.contents.remove(&content) else { return };
        let remembered = member.left.len();
        let freed = (membership.bytes + membership.progress_bytes()) as i64;
        member.left.add(content, membership.repeats);
        let mut ledger = self.ledger();
        ledger.change(session, cost::left(member.left.len()) - cost::left(remembered) - freed);
        if member.contents.is_empty() {
            ledger.set_use(session, Use::Idle);
        }
        drop((ledger, member));
        self.depart(peer, content);
        self.make_room();
    }

    fn depart(&self, peer: PeerId, content: ContentId) {
        if let Some(mut registry) = self.contents.get_mut(&content) {
            let pushes = registry.leave(peer);
            self.push_others(content, pushes);
            self.list_names(content, &registry);
            if let Some(only) = registry.only() {
                self.charge(only, content, cost::membership(&Introductions::default()), &registry);
            }
        }
        let gone = self.contents.remove_if(&content, |_, registry| {
            if registry.is_empty() {
                self.catalogue().remove(content);
            }
            registry.is_empty()
        });
        drop(gone);
    }

    /// Has a content found by the names that its members give it, each once.
    fn list_names(&self, content: ContentId, registry: &Registry) {
        let mut names: Vec<Name> = Vec::new();
        for (claim, spread) in registry.claims() {
            let by = Namer { peer: claim.peer, network: claim.network };
            match names.iter_mut().find(|known| known.name == claim.name) {
                Some(known) => known.spread = known.spread.max(spread),
                None => names.push(Name { name: &claim.name, by, spread }),
            }
        }
        self.catalogue().set(content, &names);
    }

    /// The private shares that this tracker is for.
    pub(crate) fn private(&self) -> Option<&PrivateTracker> {
        self.config.private.as_ref()
    }

    /// How fast a connection may say the same again.
    pub(crate) fn pace(&self) -> Pace {
        self.config.pace
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        lock(&self.catalogue)
    }
}

#[cfg(test)]
mod tests;
