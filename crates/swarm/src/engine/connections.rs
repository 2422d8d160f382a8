//! Whom to know, dial, keep and shut out, and telling peers of each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocol::{ContentId, PeerAddress, PeerId, PeerMessage, Run};

use super::flood::MessageBudget;
use super::rate::Rate;
use super::sides::Side;
use super::trust::Credit;
use super::{Engine, TICK};
use crate::event::{Action, ConnId, RequestId};

/// A peer that was heard of.
#[derive(Debug)]
pub(super) struct Known {
    addresses: Vec<SocketAddr>,
    /// Whether the tracker has named it.
    named: bool,
    failures: u32,
    next_try: Duration,
    /// When a connection was lost over which it gave us something.
    lost: Option<Duration>,
}

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: PeerId,
    pub(super) dialled: bool,
    pub(super) remote: SocketAddr,
    pub(super) greeted: bool,
    pub(super) listeners: Vec<SocketAddr>,
    /// The place that it says it is in, and whether others of it waited in vain for what it said to have.
    pub(super) site: String,
    pub(super) doubted: bool,
    pub(super) sides: BTreeMap<ContentId, Side>,
    pub(super) requests: BTreeSet<RequestId>,
    /// When it last offered us something.
    pub(super) offered: Option<Duration>,
    /// What it offered us and we have not answered yet.
    pub(super) offers: VecDeque<(ContentId, Run)>,
    /// Bytes that we asked for and that have not come.
    pub(super) owed: u64,
    pub(super) rate: Rate,
    pub(super) credit: Credit,
    pub(super) messages: MessageBudget,
    /// When a byte last came, or we last asked with nothing under way.
    pub(super) heard: Duration,
    /// Since when something that we asked for waits without a byte having come, whoever sent it in the end.
    pub(super) unanswered: Option<Duration>,
    /// How long it has owed us something at a pace that is nothing beside that of others.
    crawled: Duration,
    pub(super) wrong: u32,
    /// It sent too much that was wrong: when it is shut out, unless it withdraws the content by then.
    condemned: Option<Duration>,
    /// After a refusal, ask again only from then on; and how many refusals came in a row.
    pub(super) not_before: Duration,
    pub(super) refusals: u32,
    /// Bytes that we have offered to it, or that it has asked for, and that are not sent.
    pub(super) promised: u64,
    /// Bytes that came from it, and bytes that it says it got from us.
    pub(super) given: u64,
    pub(super) taken: u64,
    /// Whether it takes its answers much more slowly than they could be sent.
    pub(super) held_up: bool,
    /// Whether it ever answered an offer.
    pub(super) has_answered: bool,
    /// Whether its promises count among `Uploads::promised`: not while it is held up or ignores offers.
    pub(super) counted: bool,
    /// Questions of it that wait.
    pub(super) waiting: usize,
    /// Offers in a row that it did not answer, and from when on it gets offers again.
    pub(super) ignored: u32,
    /// When it last asked for something or declined it.
    pub(super) answered: Duration,
    pub(super) offer_after: Duration,
    /// When it was made, and when peers were last exchanged over it.
    pub(super) since: Duration,
    exchanged: Duration,
}

/// Whoever gave us something is looked for this long after it was lost, with pauses of no more than this: a link that was
/// dark should not stay so for us.
const LOOKED_FOR: Duration = Duration::from_secs(60);
const SHORT_PAUSE: Duration = Duration::from_millis(500);
/// Whoever sent wrong pieces may say within this time that it withdraws the content, because its file was changed under it;
/// but not more often than this.
const MERCY: Duration = Duration::from_secs(1);
const PARDONS: u32 = 3;
/// Whoever gives fewer bytes a second than this, and than this part of what another gives, crawls.
const CRAWL: f64 = 4096.0;
const BESIDE: f64 = 64.0;
/// Whoever asks for nothing and sends nothing for this long makes room for others.
const QUIET: Duration = Duration::from_secs(60);
/// A longer round trip buys no more patience.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(500);
/// Most peers that are remembered for one content.
const KNOWN: usize = 400;
/// Dials under way at once: of those that have not taken longer than a dial takes that succeeds, and in all. Who has crashed
/// is still named for a while, and must not keep us from those that are there.
const DIALS: usize = 16;
const ALL_DIALS: usize = 64;
const DIALLED_SOON: Duration = Duration::from_secs(1);
/// How often peers are exchanged.
const EXCHANGE: Duration = Duration::from_secs(5);
/// Addresses told of one peer, as many as a message carries.
const TOLD: usize = 32;
/// Peers told in one exchange.
const EXCHANGED: usize = 20;

/// Who says where a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The tracker, which has seen it.
    Tracker,
    /// Another peer, which may make it up.
    Peer,
}

impl Engine {
    pub(super) fn found(&mut self, id: ContentId, peers: Vec<PeerAddress>, word: Word, actions: &mut Vec<Action>) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        for PeerAddress { id, addresses } in peers {
            if id == self.me || self.banned.contains(&id) || addresses.is_empty() {
                continue;
            }
            if let Some(known) = content.known.get_mut(&id) {
                // No peer talks us out of what the tracker has said.
                if word == Word::Peer && known.named {
                    continue;
                }
                (known.addresses, known.named) = (addresses, word == Word::Tracker);
                // News of a peer that was hard to reach is worth another try.
                known.next_try = known.next_try.min(self.now + Duration::from_secs(1));
                continue;
            }
            if content.known.len() >= KNOWN {
                // Peers may be made up: those that never answer make room, and for the tracker's all that it did not name.
                let vain = content.known.iter().filter(|(peer, known)| {
                    (known.failures > 0 || (word == Word::Tracker && !known.named))
                        && !self.by_peer.contains_key(peer)
                        && !self.dialling.contains_key(peer)
                });
                let vainest = vain.max_by_key(|(_, known)| (!known.named, known.failures)).map(|(&peer, _)| peer);
                vainest.and_then(|peer| content.known.remove(&peer));
            }
            if content.known.len() < KNOWN {
                content.known.insert(
                    id,
                    Known { addresses, named: word == Word::Tracker, failures: 0, next_try: self.now, lost: None },
                );
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
            .saturating_sub(self.conns.values().filter(|conn| !Self::is_useless(conn)).count() + self.dialling.len())
            .min(self.free_dials());
        if room == 0 {
            return;
        }
        let mut candidates = Vec::new();
        for content in self.contents.values().filter(|content| content.wanted) {
            for (&id, known) in &content.known {
                if known.next_try <= self.now && !self.by_peer.contains_key(&id) && !self.dialling.contains_key(&id) {
                    candidates.push(PeerAddress { id, addresses: known.addresses.clone() });
                }
            }
        }
        self.rng.shuffle(&mut candidates);
        for peer in candidates {
            if room > 0 && self.dialling.insert(peer.id, self.now).is_none() {
                actions.push(Action::Dial { peer });
                room -= 1;
            }
        }
    }

    /// How many more peers may be dialled now.
    fn free_dials(&self) -> usize {
        let fresh = self.dialling.values().filter(|&&since| self.now.saturating_sub(since) < DIALLED_SOON).count();
        DIALS.saturating_sub(fresh).min(ALL_DIALS.saturating_sub(self.dialling.len()))
    }

    pub(super) fn dial_failed(&mut self, peer: PeerId, actions: &mut Vec<Action>) {
        self.dialling.remove(&peer);
        // A connection beside one that still stands is no loss.
        if !self.by_peer.contains_key(&peer) {
            self.back_off(peer);
        }
        self.dial_more(actions);
    }

    /// A peer that owes us something is silent: it is dialled anew, beside the connection that stands. Should the link have
    /// been dark, a new connection is there long before the old one dares to send again.
    pub(super) fn dial_beside(&mut self, conn: ConnId, actions: &mut Vec<Action>) {
        let owes = |state: &&Connection| state.dialled && !state.requests.is_empty();
        let Some(id) = self.conns.get(&conn).filter(owes).map(|state| state.peer) else { return };
        let known = self.contents.values().filter(|content| content.wanted).find_map(|content| content.known.get(&id));
        let Some(addresses) = known.map(|known| known.addresses.clone()) else { return };
        if self.free_dials() > 0 && self.dialling.insert(id, self.now).is_none() {
            actions.push(Action::Dial { peer: PeerAddress { id, addresses } });
        }
    }

    /// The next try waits twice as long as the last, up to a minute, with jitter against stampedes.
    fn back_off(&mut self, peer: PeerId) {
        for content in self.contents.values_mut() {
            if let Some(known) = content.known.get_mut(&peer) {
                known.failures = (known.failures + 1).min(7);
                let wait = Duration::from_millis(500 << known.failures).mul_f64(0.5 + self.rng.f64());
                let missed = known.lost.is_some_and(|lost| self.now.saturating_sub(lost) < LOOKED_FOR);
                let most = if missed { SHORT_PAUSE } else { Duration::from_secs(60) };
                known.next_try = self.now + wait.min(most);
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
        if peer == self.me || self.banned.contains(&peer) || self.is_shunned(&peer) {
            self.back_off(peer);
            return actions.push(Action::Close { conn, reason: "not welcome" });
        }
        if !self.by_peer.contains_key(&peer) && self.conns.len() >= self.config.connections * 2 {
            let Some(least) = self.least_useful(remote.ip()) else {
                return actions.push(Action::Close { conn, reason: "too many connections" });
            };
            self.close(least, "others have need of the room", actions);
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
            doubted: self.is_suspect(&peer, remote.ip()),
            sides: BTreeMap::new(),
            requests: BTreeSet::new(),
            offered: None,
            offers: VecDeque::new(),
            owed: 0,
            rate: Rate::new(self.now),
            credit: self.first_credit(&peer, remote.ip()),
            messages: MessageBudget::new(self.now, self.is_suspect(&peer, remote.ip())),
            heard: self.now,
            unanswered: None,
            crawled: Duration::ZERO,
            wrong: 0,
            condemned: None,
            not_before: Duration::ZERO,
            refusals: 0,
            promised: 0,
            given: 0,
            taken: 0,
            held_up: false,
            has_answered: false,
            counted: true,
            waiting: 0,
            ignored: 0,
            answered: Duration::ZERO,
            offer_after: Duration::ZERO,
            since: self.now,
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

    /// Who makes room for a newcomer from this address: of those over which no piece travelled lately, one of the network
    /// that has most of them, who takes part in nothing, or has for longest done nothing. If all are of use, one of a
    /// network that has more connections than the newcomer's would then.
    fn least_useful(&self, newcomer: IpAddr) -> Option<ConnId> {
        let mut networks: BTreeMap<IpAddr, usize> = BTreeMap::new();
        self.conns.values().for_each(|conn| *networks.entry(network(conn.remote.ip())).or_default() += 1);
        let share = |conn: &Connection| networks.get(&network(conn.remote.ip())).copied().unwrap_or(0);
        let last = |conn: &Connection| conn.heard.max(conn.answered).max(conn.since);
        let is_useful = |conn: &Connection| {
            let travelled = conn.credit.verified > 0 || conn.taken > 0;
            travelled && self.now.saturating_sub(conn.heard.max(conn.answered)) <= QUIET
        };
        let idle = self.conns.iter().filter(|(_, conn)| !is_useful(conn) && conn.requests.is_empty());
        let idle = idle.min_by_key(|&(&number, conn)| {
            (usize::MAX - share(conn), !conn.sides.is_empty(), conn.greeted, last(conn), number)
        });
        let beyond_share = || {
            let own = networks.get(&network(newcomer)).copied().unwrap_or(0) + 1;
            let more = self.conns.iter().filter(|(_, conn)| share(conn) > own);
            more.min_by_key(|&(&number, conn)| (usize::MAX - share(conn), last(conn), number))
        };
        idle.or_else(beyond_share).map(|(&number, _)| number)
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
        // While it still stands, so that the sums are right.
        let requests: Vec<RequestId> = self.conns.get(&conn).into_iter().flat_map(|s| s.requests.clone()).collect();
        let left = self.conns.get(&conn).is_some_and(|state| state.unanswered.is_some() && !requests.is_empty());
        self.give_up(conn, &requests, actions);
        if left {
            // To leave with what was asked of it is no better than to be silent. It hears nothing any more.
            self.strike(conn, &mut Vec::new());
        }
        let Some(state) = self.conns.remove(&conn) else { return };
        self.remember(&state);
        self.forget_manifests(conn);
        if self.by_peer.get(&state.peer) == Some(&conn) {
            self.by_peer.remove(&state.peer);
            if state.given > 0 {
                let known = self.contents.values_mut().filter_map(|content| content.known.get_mut(&state.peer));
                known.for_each(|known| known.lost = Some(self.now));
            }
            self.back_off(state.peer);
        }
        if state.condemned.is_some() {
            // To leave is no way out.
            self.shut_out(state.peer, actions);
        }
        self.offering.remove(&conn);
        self.next_tick = self.now;
    }

    /// Drops whoever owes us pieces and has sent nothing for too long, or next to nothing beside others: what it owes can
    /// be had elsewhere, and each time it is asked costs us a while.
    pub(super) fn drop_silent(&mut self, actions: &mut Vec<Action>) {
        let limit = self.config.give_up;
        let fastest = self.conns.values().map(|conn| conn.rate.average()).fold(0.0, f64::max);
        let mut dropped = Vec::new();
        for (&number, conn) in &mut self.conns {
            let owes = !conn.requests.is_empty();
            let pace = conn.rate.average();
            if pace >= CRAWL || pace * BESIDE >= fastest {
                conn.crawled = Duration::ZERO;
            } else if owes && conn.rate.measured() {
                conn.crawled += TICK;
            }
            let unanswered = conn.unanswered.is_some_and(|since| self.now.saturating_sub(since) > limit);
            if unanswered || (owes && self.now.saturating_sub(conn.heard) > limit) {
                dropped.push((number, "it sent nothing for too long"));
            } else if conn.crawled > limit {
                dropped.push((number, "it gives next to nothing"));
            }
        }
        dropped.into_iter().for_each(|(conn, reason)| self.close(conn, reason, actions));
    }

    /// A peer sent something wrong. After too much of it, it is asked for nothing more, and shut out soon.
    pub(super) fn count_wrong(&mut self, conn: ConnId, actions: &mut Vec<Action>) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.wrong += 1;
        if state.wrong < self.config.wrong_pieces || state.condemned.is_some() {
            return;
        }
        if self.pardons.get(&state.peer).is_some_and(|&pardons| pardons >= PARDONS) {
            return self.ban(conn, actions);
        }
        state.condemned = Some(self.now + MERCY);
        state.not_before = Duration::MAX;
        state.offers.clear();
        let requests: Vec<RequestId> = state.requests.iter().copied().collect();
        self.give_up(conn, &requests, actions);
    }

    /// A peer withdraws a content: if that is why it sent wrong pieces, they are forgiven.
    pub(super) fn pardon(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get_mut(&conn).filter(|state| state.condemned.is_some()) else { return };
        (state.condemned, state.wrong, state.not_before) = (None, 0, self.now);
        *self.pardons.note(state.peer) += 1;
    }

    /// Shuts out whoever was condemned and has not withdrawn anything.
    pub(super) fn ban_condemned(&mut self, actions: &mut Vec<Action>) {
        let due = |conn: &&Connection| conn.condemned.is_some_and(|at| self.now >= at);
        let due: Vec<ConnId> = self.conns.iter().filter(|(_, conn)| due(conn)).map(|(&number, _)| number).collect();
        due.into_iter().for_each(|conn| self.ban(conn, actions));
    }

    /// Shuts a peer out for good.
    pub(super) fn ban(&mut self, conn: ConnId, actions: &mut Vec<Action>) {
        let Some(peer) = self.conns.get(&conn).map(|conn| conn.peer) else { return };
        self.shut_out(peer, actions);
        self.close(conn, "it sent wrong pieces", actions);
    }

    fn shut_out(&mut self, peer: PeerId, actions: &mut Vec<Action>) {
        if !self.banned.contains(&peer) {
            self.banned.note(peer);
            self.contents.values_mut().for_each(|content| {
                content.known.remove(&peer);
            });
            actions.push(Action::Banned { peer });
        }
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

/// The network that an address counts with where room is short: an IPv4 /24, or an IPv6 /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) & 0xffff_ff00).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

impl Connection {
    /// The round trip, as far as it may buy patience: the other side can make it as long as it likes.
    pub(super) fn round_trip(&self) -> Duration {
        self.rate.rtt.min(LONGEST_ROUND_TRIP)
    }

    /// It has answered an offer, or asked on its own account.
    pub(super) fn answers(&mut self, now: Duration) {
        (self.ignored, self.answered, self.has_answered) = (0, now, true);
    }

    /// Where this peer can be reached by someone at `asker`: the address that we see with the ports it named, and
    /// the addresses it named, but loopback only for loopback.
    fn address_for(&self, asker: IpAddr) -> Option<PeerAddress> {
        let seen = self.remote.ip();
        let ports: BTreeSet<u16> = self.listeners.iter().map(SocketAddr::port).collect();
        let mut listed = BTreeSet::new();
        // In the order in which it named them, which is likeliest first.
        let addresses: Vec<SocketAddr> = ports
            .into_iter()
            .map(|port| SocketAddr::new(seen, port))
            .chain(self.listeners.iter().copied())
            .filter(|address| !address.ip().is_unspecified() && (!address.ip().is_loopback() || asker.is_loopback()))
            .filter(|&address| listed.insert(address))
            .take(TOLD)
            .collect();
        (!addresses.is_empty()).then_some(PeerAddress { id: self.peer, addresses })
    }
}
