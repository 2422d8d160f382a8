//! Connections that are made and that end: which of two with one peer stays, who makes room, and who is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::conduct::Conduct;
use super::connection::{ConnectedPeer, Connection};
use super::network;
use crate::engine::content::Content;
use crate::engine::download::Download;
use crate::engine::rate::Rate;
use crate::engine::upload::Upload;
use crate::engine::{Engine, TICK};
use crate::event::ConnId;

/// Two connections that were made within this time of each other are of two peers that dialled at once. It is longer than a dial
/// takes that succeeds; later, a peer dials because the old connection is dead.
const CROSSING: Duration = Duration::from_secs(2);
/// A peer crawls that gives fewer bytes a second than this, and than this part of what another gives.
const CRAWL: f64 = 4096.0;
const BESIDE: f64 = 64.0;
/// A peer that asks for nothing and sends nothing for this long makes room for others.
const QUIET: Duration = Duration::from_secs(60);
/// A peer that has asked for its first piece should be let to have it, for so long.
const FIRST_PIECE: Duration = Duration::from_secs(20);

impl Engine {
    pub(crate) fn connected(&mut self, conn: ConnId, mut at: ConnectedPeer) {
        let (peer, remote, dialled) = (at.id, at.address, at.dialled);
        at.hearsay = self.peers.dial_ended(&peer) && dialled;
        if peer == self.me || self.peers.is_banned(&peer) || self.peers.is_shunned(&peer, self.now) {
            self.back_off(peer);
            return self.actions.close(conn, "not welcome");
        }
        if !self.peers.is_connected(&peer) && self.conns.len() >= self.config.connections * 2 {
            let Some(least) = self.least_useful(remote.ip()) else {
                return self.actions.close(conn, "too many connections");
            };
            self.close(least, "evicted: connection limit");
        }
        if let Some(old) = self.peers.connection(&peer) {
            // Whatever came first, a direct one is better than one through a relay. Of one kind: both dialled at once: both sides keep
            // the one that the smaller id dialled. Otherwise the new one, since the old one may be dead without our knowing.
            let old_peer = self.conns.get(&old).map(|old| &old.peer);
            let was_relayed = old_peer.is_some_and(|old| old.relayed.is_some());
            let crosses =
                old_peer.is_some_and(|old| old.dialled != dialled && self.now.saturating_sub(old.since) < CROSSING);
            let dialled_by_smaller = dialled == (self.me < peer);
            match (was_relayed, at.relayed.is_some()) {
                (false, true) => return self.actions.close(conn, "connected directly already"),
                (true, false) => self.actions.close(old, "connected directly now"),
                _ if crosses && !dialled_by_smaller => return self.actions.close(conn, "connected twice"),
                _ => self.actions.close(old, "connected twice"),
            }
            // What it owes is no fault of its own.
            self.ended(old, false);
        }
        self.peers.connect(peer, conn);
        if at.relayed.is_none() {
            self.peers.meet_stranger(remote.ip());
        }
        self.dial_backs.connected(&peer);
        let knowing: Vec<_> = self.knowers.of(&peer).collect();
        for id in &knowing {
            if let Some(content) = self.contents.get_mut(id) {
                content.known.met(&peer);
            }
        }
        let suspect = self.peers.is_suspect(&peer, remote.ip());
        let doubt = self.peers.doubt_about(&peer, remote.ip());
        let credit = self.peers.first_credit(&peer, remote.ip(), self.now);
        let debt = self.peers.work_owed(&peer, remote.ip(), self.now);
        let state = Connection {
            peer: at,
            participations: BTreeMap::new(),
            rate: Rate::new(self.now),
            download: Download::new(self.now, credit),
            upload: Upload::default(),
            conduct: Conduct::new(self.now, suspect, doubt, debt),
            manifests: BTreeSet::new(),
        };
        self.conns.insert(conn, state);
        self.actions.send(conn, self.hello.clone());
        // Who comes by itself costs no look at contents that do not know it.
        let contents = if dialled { self.contents.keys().copied().collect() } else { knowing };
        for content in contents {
            // The dialler joins the contents that it wants and those that the tracker introduced the other side for.
            // The dialled side joins the contents that it wants from this peer, since its own dial may have failed.
            // Neither tells a stranger about its other contents.
            let Content { wanted, known, .. } = &self.contents[&content];
            let relevant = match dialled {
                true => *wanted || known.is_named(&peer),
                false => *wanted && known.addresses(&peer).is_some(),
            };
            if relevant {
                if let Some(state) = self.conns.get_mut(&conn) {
                    state.peer.told.insert(content);
                }
                self.join(conn, content);
                self.ask_early(conn, content);
            }
        }
    }

    /// The connection that makes room for a newcomer from this address: of those over which no piece travelled lately, one of the
    /// network that has most of them, whose peer takes part in nothing, or has for longest done nothing; but a few that wait for their first
    /// piece are let to have it, whatever crowd comes. If all are of use, one of a network that has more connections than the newcomer's
    /// would then.
    fn least_useful(&self, newcomer: IpAddr) -> Option<ConnId> {
        let mut networks: BTreeMap<IpAddr, usize> = BTreeMap::new();
        self.conns.values().for_each(|state| *networks.entry(network(state.peer.address.ip())).or_default() += 1);
        let share = |state: &Connection| networks.get(&network(state.peer.address.ip())).copied().unwrap_or(0);
        let heard = |state: &Connection| state.download.heard.max(state.upload.answered);
        let last = |state: &Connection| heard(state).max(state.peer.since);
        let is_useful = |state: &Connection| state.was_of_use() && self.now.saturating_sub(heard(state)) <= QUIET;
        let idle = self.conns.iter().filter(|(_, state)| !is_useful(state) && state.download.is_idle());
        let idle: Vec<_> = idle.collect();
        let waits = |state: &Connection| {
            let asked = |at| self.now.saturating_sub(at) <= FIRST_PIECE;
            !state.was_of_use() && state.upload.asked().is_some_and(asked)
        };
        // To ask costs little: of a crowd that does, each newcomer would otherwise be the first to go.
        let are_few = idle.iter().filter(|(_, state)| waits(state)).count() * 2 <= idle.len();
        let idle = idle.into_iter().min_by_key(|&(&conn, state)| {
            let (takes_part, waits) = (!state.participations.is_empty(), are_few && waits(state));
            (usize::MAX - share(state), takes_part, state.peer.greeted, waits, last(state), conn)
        });
        let beyond_share = || {
            let own = networks.get(&network(newcomer)).copied().unwrap_or(0) + 1;
            let more = self.conns.iter().filter(|(_, state)| share(state) > own);
            more.min_by_key(|&(&conn, state)| (usize::MAX - share(state), last(state), conn))
        };
        idle.or_else(beyond_share).map(|(&conn, _)| conn)
    }

    /// Ends a connection from our side.
    pub(crate) fn close(&mut self, conn: ConnId, reason: &'static str) {
        if self.conns.contains_key(&conn) {
            self.actions.close(conn, reason);
            self.disconnected(conn);
        }
    }

    pub(crate) fn disconnected(&mut self, conn: ConnId) {
        self.ended(conn, true);
    }

    /// A connection has ended, and perhaps it was the other side's to answer first.
    fn ended(&mut self, conn: ConnId, was_left: bool) {
        let Some(state) = self.conns.get(&conn) else { return };
        // While it still stands, so that the sums are right.
        let contents: Vec<_> = state.participations.keys().copied().collect();
        let requests = state.download.requests.clone();
        // One through a relay may have ended for other reasons.
        let left =
            was_left && state.download.unanswered.is_some() && !requests.is_empty() && state.peer.relayed.is_none();
        contents.into_iter().for_each(|content| self.forget_participation(conn, content));
        self.uploads.forget(conn);
        self.give_up(requests);
        if left {
            // Disconnecting with open requests counts as a stall. Nothing is sent to it any more.
            self.count_strike(conn);
        }
        let Some(state) = self.conns.remove(&conn) else { return };
        let peer = state.peer.id;
        self.peers.remember(peer, &state.download.credit);
        if !state.was_of_use() {
            self.peers.owe_work(&peer, state.peer.address.ip(), state.conduct.messages.debt(self.now), self.now);
        }
        self.forget_manifests(conn, &state.manifests);
        self.forget_first(conn);
        if self.peers.disconnect(&peer, conn) {
            if state.download.given > 0 {
                for id in self.knowers.of(&peer) {
                    if let Some(content) = self.contents.get_mut(&id) {
                        content.known.lost(&peer, self.now);
                    }
                }
            }
            self.back_off(peer);
        }
        if state.conduct.is_condemned() {
            // Disconnecting does not lift the ban.
            self.shut_out(peer);
        }
        self.downloads.offering.remove(&conn);
        self.tick_soon();
    }

    /// Drops peers that owe us pieces and have sent nothing for too long, or next to nothing beside others: what it owes can
    /// be had elsewhere, and each time it is asked costs us a while.
    pub(crate) fn drop_silent(&mut self) {
        let limit = self.config.give_up;
        let fastest = self.conns.values().map(|state| state.rate.average()).fold(0.0, f64::max);
        let mut dropped = Vec::new();
        for (&conn, state) in &mut self.conns {
            let download = &mut state.download;
            let pace = state.rate.average();
            if pace >= CRAWL || pace * BESIDE >= fastest {
                download.crawled = Duration::ZERO;
            } else if !download.is_idle() && state.rate.measured() {
                download.crawled += TICK;
            }
            let unanswered = download.unanswered.is_some_and(|since| self.now.saturating_sub(since) > limit);
            if unanswered || (!download.is_idle() && self.now.saturating_sub(download.heard) > limit) {
                dropped.push((conn, "it sent nothing for too long"));
            } else if download.crawled > limit {
                dropped.push((conn, "it gives next to nothing"));
            }
        }
        dropped.into_iter().for_each(|(conn, reason)| self.close(conn, reason));
    }
}
