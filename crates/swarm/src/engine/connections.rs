//! Whom to know, dial, keep and shut out, and telling peers of each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocol::{ContentId, PeerAddress, PeerId, PeerMessage, Run};

use super::rate::Rate;
use super::sides::Side;
use super::{Engine, TICK};
use crate::event::{Action, ConnId, RequestId};

/// A peer that was heard of.
#[derive(Debug)]
pub(super) struct Known {
    addresses: Vec<SocketAddr>,
    failures: u32,
    next_try: Duration,
}

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: PeerId,
    pub(super) dialled: bool,
    remote: SocketAddr,
    pub(super) greeted: bool,
    pub(super) listeners: Vec<SocketAddr>,
    /// The place that it says it is in.
    pub(super) site: String,
    pub(super) sides: BTreeMap<ContentId, Side>,
    pub(super) requests: BTreeSet<RequestId>,
    /// What it offered us and we have not answered yet.
    pub(super) offers: VecDeque<(ContentId, Run)>,
    /// Bytes that we asked for and that have not come.
    pub(super) owed: u64,
    pub(super) rate: Rate,
    /// When a byte last came, or we last asked with nothing under way.
    pub(super) heard: Duration,
    pub(super) wrong: u32,
    /// After a refusal, ask again only from then on.
    pub(super) not_before: Duration,
    /// Bytes that we have offered to it, or that it has asked for, and that are not sent.
    pub(super) promised: u64,
    /// Bytes that came from it, and bytes that it says it got from us.
    pub(super) given: u64,
    pub(super) taken: u64,
    /// Questions of it that wait.
    pub(super) waiting: usize,
    /// Offers in a row that it did not answer, and from when on it gets offers again.
    pub(super) ignored: u32,
    pub(super) offer_after: Duration,
    exchanged: Duration,
}

/// Most peers that are remembered for one content.
const KNOWN: usize = 400;
/// Dials under way at once.
const DIALS: usize = 16;
/// How often peers are exchanged.
const EXCHANGE: Duration = Duration::from_secs(5);
/// Peers told in one exchange.
const EXCHANGED: usize = 20;

impl Engine {
    pub(super) fn found(&mut self, id: ContentId, peers: Vec<PeerAddress>, actions: &mut Vec<Action>) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        for PeerAddress { id, addresses } in peers {
            if id == self.me || self.banned.contains(&id) || addresses.is_empty() {
                continue;
            }
            if let Some(known) = content.known.get_mut(&id) {
                known.addresses = addresses;
                // News of a peer that was hard to reach is worth another try.
                known.next_try = known.next_try.min(self.now + Duration::from_secs(1));
            } else if content.known.len() < KNOWN {
                content.known.insert(id, Known { addresses, failures: 0, next_try: self.now });
            }
        }
        self.dial_more(actions);
    }

    pub(super) fn gone(&mut self, id: ContentId, peers: &[PeerId]) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        for peer in peers.iter().filter(|peer| !self.by_peer.contains_key(*peer)) {
            content.known.remove(peer);
        }
    }

    /// Dials known peers of contents that we want, in random order, as far as there is room.
    pub(super) fn dial_more(&mut self, actions: &mut Vec<Action>) {
        let mut room = self
            .config
            .connections
            .saturating_sub(self.conns.len() + self.dialling.len())
            .min(DIALS.saturating_sub(self.dialling.len()));
        if room == 0 {
            return;
        }
        let mut candidates = Vec::new();
        for content in self.contents.values().filter(|content| content.wanted) {
            for (&id, known) in &content.known {
                if known.next_try <= self.now && !self.by_peer.contains_key(&id) && !self.dialling.contains(&id) {
                    candidates.push(PeerAddress { id, addresses: known.addresses.clone() });
                }
            }
        }
        self.rng.shuffle(&mut candidates);
        for peer in candidates {
            if room > 0 && self.dialling.insert(peer.id) {
                actions.push(Action::Dial { peer });
                room -= 1;
            }
        }
    }

    pub(super) fn dial_failed(&mut self, peer: PeerId, actions: &mut Vec<Action>) {
        self.dialling.remove(&peer);
        self.back_off(peer);
        self.dial_more(actions);
    }

    /// The next try waits twice as long as the last, up to a minute, with jitter against stampedes.
    fn back_off(&mut self, peer: PeerId) {
        for content in self.contents.values_mut() {
            if let Some(known) = content.known.get_mut(&peer) {
                known.failures = (known.failures + 1).min(7);
                let wait = Duration::from_millis(500 << known.failures).mul_f64(0.5 + self.rng.f64());
                known.next_try = self.now + wait.min(Duration::from_secs(60));
            }
        }
    }

    pub(super) fn connected(
        &mut self,
        conn: ConnId,
        peer: PeerId,
        remote: SocketAddr,
        dialled: bool,
        actions: &mut Vec<Action>,
    ) {
        self.dialling.remove(&peer);
        if peer == self.me || self.banned.contains(&peer) {
            return actions.push(Action::Close { conn, reason: "not welcome" });
        }
        if !self.by_peer.contains_key(&peer) && self.conns.len() >= self.config.connections * 2 {
            return actions.push(Action::Close { conn, reason: "too many connections" });
        }
        if let Some(&old) = self.by_peer.get(&peer) {
            // Both dialled at once: both sides keep the one that the smaller id dialled. The same side twice: the
            // new one, since the old one may be dead without our knowing.
            let was_dialled = self.conns.get(&old).is_some_and(|old| old.dialled);
            let dialled_by_smaller = dialled == (self.me < peer);
            if was_dialled != dialled && !dialled_by_smaller {
                return actions.push(Action::Close { conn, reason: "connected twice" });
            }
            self.close(old, "connected twice", actions);
        }
        self.by_peer.insert(peer, conn);
        let state = Connection {
            peer,
            dialled,
            remote,
            greeted: false,
            listeners: Vec::new(),
            site: String::new(),
            sides: BTreeMap::new(),
            requests: BTreeSet::new(),
            offers: VecDeque::new(),
            owed: 0,
            rate: Rate::new(self.now),
            heard: self.now,
            wrong: 0,
            not_before: Duration::ZERO,
            promised: 0,
            given: 0,
            taken: 0,
            waiting: 0,
            ignored: 0,
            offer_after: Duration::ZERO,
            exchanged: self.now,
        };
        self.conns.insert(conn, state);
        actions.push(Action::Send { conn, message: self.hello.clone() });
        let contents: Vec<_> = self.contents.keys().copied().collect();
        for content in contents {
            // A dialler says what it wants; who was dialled answers with what was asked for. Neither lists all that
            // it has to a stranger.
            let relevant = dialled && self.contents[&content].wanted;
            if relevant {
                self.join(conn, content, actions);
            }
        }
    }

    /// Ends a connection from our side.
    pub(super) fn close(&mut self, conn: ConnId, reason: &'static str, actions: &mut Vec<Action>) {
        if self.conns.contains_key(&conn) {
            actions.push(Action::Close { conn, reason });
            self.disconnected(conn, actions);
        }
    }

    pub(super) fn disconnected(&mut self, conn: ConnId, actions: &mut Vec<Action>) {
        let sides: Vec<_> = self.conns.get(&conn).into_iter().flat_map(|state| state.sides.keys().copied()).collect();
        sides.into_iter().for_each(|id| self.forget_side(conn, id));
        self.forget_questions(conn);
        let Some(state) = self.conns.remove(&conn) else { return };
        for content in self.contents.values_mut() {
            if content.manifest_from.is_some_and(|(from, _)| from == conn) {
                content.manifest_from = None;
            }
        }
        if self.by_peer.get(&state.peer) == Some(&conn) {
            self.by_peer.remove(&state.peer);
            self.back_off(state.peer);
        }
        self.offering.remove(&conn);
        for &request in &state.requests {
            self.forget_request(request);
            actions.push(Action::Cancel { request });
        }
        self.next_tick = self.now;
    }

    /// Drops whoever owes us pieces and has sent nothing for too long.
    pub(super) fn drop_silent(&mut self, actions: &mut Vec<Action>) {
        let limit = self.config.give_up;
        let silent: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| !conn.requests.is_empty() && self.now.saturating_sub(conn.heard) > limit)
            .map(|(&number, _)| number)
            .collect();
        silent.into_iter().for_each(|conn| self.close(conn, "it sent nothing for too long", actions));
    }

    /// Shuts a peer out for good.
    pub(super) fn ban(&mut self, conn: ConnId, actions: &mut Vec<Action>) {
        let Some(peer) = self.conns.get(&conn).map(|conn| conn.peer) else { return };
        self.banned.insert(peer);
        self.contents.values_mut().for_each(|content| {
            content.known.remove(&peer);
        });
        actions.push(Action::Banned { peer });
        self.close(conn, "it sent wrong pieces", actions);
    }

    /// Tells connected peers of each other, so that a swarm outlives its tracker.
    pub(super) fn exchange_peers(&mut self, actions: &mut Vec<Action>) {
        let due: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| self.now.saturating_sub(conn.exchanged) + TICK >= EXCHANGE)
            .map(|(&number, _)| number)
            .collect();
        for conn in due {
            let Some(mut state) = self.conns.remove(&conn) else { continue };
            state.exchanged = self.now;
            for (&id, side) in &mut state.sides {
                let part = |other: &'_ Connection| other.sides.get(&id).map(|theirs| theirs.joined);
                let fresh = self.conns.values().filter_map(|other| Some((part(other)?, other)));
                let mut fresh: Vec<_> = fresh.filter(|&(joined, _)| joined > side.told).collect();
                fresh.sort_unstable_by_key(|&(joined, _)| joined);
                fresh.truncate(EXCHANGED);
                side.told = fresh.last().map_or(side.told, |&(joined, _)| joined);
                let peers: Vec<_> =
                    fresh.into_iter().filter_map(|(_, other)| other.address_for(state.remote.ip())).collect();
                if !peers.is_empty() {
                    actions.push(Action::Send { conn, message: PeerMessage::Peers { content: id, peers } });
                }
            }
            self.conns.insert(conn, state);
        }
    }
}

impl Connection {
    /// Where this peer can be reached by someone at `asker`: the address that we see with the ports it named, and
    /// the addresses it named, but loopback only for loopback.
    fn address_for(&self, asker: IpAddr) -> Option<PeerAddress> {
        let seen = self.remote.ip();
        let ports: BTreeSet<u16> = self.listeners.iter().map(SocketAddr::port).collect();
        let addresses: BTreeSet<SocketAddr> = ports
            .into_iter()
            .map(|port| SocketAddr::new(seen, port))
            .chain(self.listeners.iter().copied())
            .filter(|address| !address.ip().is_unspecified() && (!address.ip().is_loopback() || asker.is_loopback()))
            .take(16)
            .collect();
        (!addresses.is_empty()).then(|| PeerAddress { id: self.peer, addresses: addresses.into_iter().collect() })
    }
}
