//! Hearing of peers, and dialling them.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::{ContentId, PeerAddress, PeerId};

use super::connection::Connection;
use super::known::PeerSource;
use crate::engine::Engine;
use crate::event::ConnId;
use crate::registry::SAMPLE;

/// If no piece arrives within this time, the tracker is asked for more peers.
const WITHOUT_PIECES: Duration = Duration::from_secs(10);
/// The same while the manifest is missing.
const WITHOUT_MANIFEST: Duration = Duration::from_secs(2);
/// Each further pause is twice as long as the last, up to so many times.
const DOUBLINGS: u32 = 4;
/// This part of all connections is for peers that we chose ourselves: strangers that dialled us leave it free.
const OWN_CHOICE: usize = 4;
/// Those that the tracker introduces are not dialled back while so many take pieces of the content: others of them pass it on.
const ENOUGH_TAKERS: u32 = 16;
/// Addresses of a peer that is dialled back: the likeliest. It dials us at all that it knows itself.
const DIALLED_BACK: usize = 4;
/// Addresses of a peer that another peer names: the likeliest.
const MOST_OF_PEER: usize = 8;
/// This part of all connections and dials is for peers of which only other peers have said something, at most.
const HEARSAY: usize = 2;
/// While fewer peers than this are known, the tracker has no others to name.
const FEWEST_NAMED: usize = SAMPLE / 2;

impl Engine {
    /// Peers of a content were heard of.
    pub(crate) fn found(&mut self, content_id: ContentId, found: Vec<PeerAddress>, source: PeerSource) {
        let Some(content) = self.contents.get_mut(&content_id) else { return };
        let (mut is_news, mut further) = (false, Vec::new());
        for PeerAddress { id, mut addresses } in found {
            if source != PeerSource::Tracker {
                addresses.truncate(MOST_OF_PEER);
            }
            // One that is dialled nowhere may be reached through the tracker's relay.
            let is_somewhere = !addresses.is_empty() || source == PeerSource::Tracker;
            if id != self.me && !self.peers.is_banned(&id) && is_somewhere {
                let is_new = !content.wanted && !addresses.is_empty() && !self.peers.is_connected(&id);
                if source == PeerSource::Tracker && is_new {
                    self.dial_backs.introduced(content_id, id, self.now);
                }
                if source == PeerSource::Tracker {
                    further.push(PeerAddress { id, addresses: content.known.further(&id, &addresses) });
                }
                let learned = content.known.learn(id, addresses, source, self.now, |peer| self.peers.is_free(peer));
                learned.forgotten.iter().for_each(|other| self.knowers.remove(other, &content_id));
                if learned.is_news {
                    self.knowers.add(id, content_id);
                    is_news = true;
                }
            }
        }
        further.retain(|peer| !peer.addresses.is_empty());
        further.into_iter().for_each(|peer| self.also_at(peer));
        // Whoever names the same peers again and again has nobody looked at.
        if is_news {
            self.dial_more();
        }
    }

    /// The tracker has seen a peer at further addresses. Where firewalls let in only what answers, both sides have to dial at the
    /// same time, and the other side is dialling now: what is being done about it already is not waited for.
    fn also_at(&mut self, mut peer: PeerAddress) {
        peer.addresses.truncate(DIALLED_BACK);
        if self.peers.dial_also(&peer.id) {
            return self.actions.dial_also(peer);
        }
        let conn = self.peers.connection(&peer.id);
        if let Some(relayed) = conn.and_then(|conn| self.conns.get_mut(&conn)?.peer.relayed.as_mut()) {
            relayed.is_elsewhere(self.now);
        }
    }

    /// The tracker says that these are gone.
    pub(crate) fn gone(&mut self, id: ContentId, gone: &[PeerId]) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        for peer in gone.iter().filter(|peer| !self.peers.is_connected(peer)) {
            content.known.forget(peer);
            self.knowers.remove(peer, &id);
        }
    }

    /// Asks the tracker for more peers of contents that make no progress: the peers that it named may all be useless.
    pub(crate) fn find_more(&mut self) {
        for (&id, content) in &mut self.contents {
            if !content.wanted || content.known.ids().count() < FEWEST_NAMED {
                continue;
            }
            let since = *content.searched.get_or_insert(self.now);
            if content.grew > since {
                (content.searched, content.searches) = (Some(content.grew), 0);
            }
            let first = if content.geometry.is_some() { WITHOUT_PIECES } else { WITHOUT_MANIFEST };
            let pause = first * 2u32.pow(content.searches.min(DOUBLINGS));
            if self.now.saturating_sub(since.max(content.grew)) >= pause {
                (content.searched, content.searches) = (Some(self.now), content.searches + 1);
                self.actions.find_more(id);
            }
        }
    }

    /// Dials known peers of contents that we want, as far as there is room: first those that the tracker has named or that gave us
    /// something, then those that other peers have named, which may be made up. Each in random order.
    pub(crate) fn dial_more(&mut self) {
        // Those who dialled us and have given nothing may be a crowd that is here to keep us from the others.
        let is_stranger = |state: &&Connection| !state.peer.dialled && !state.was_of_use();
        let (strangers, others): (Vec<_>, Vec<_>) =
            self.conns.values().filter(|state| !state.download.is_useless()).partition(is_stranger);
        let most = self.config.connections - self.config.connections / OWN_CHOICE;
        let taken = others.len() + strangers.len().min(most);
        let room = self.config.connections.saturating_sub(taken + self.peers.dials());
        let mut room = room.min(self.peers.free_dials(self.now));
        if room == 0 {
            return;
        }
        let is_hearsay = |state: &&Connection| state.peer.hearsay && !state.was_of_use();
        let hearsay = self.conns.values().filter(is_hearsay).count() + self.peers.hearsay_dials();
        let mut others = (self.config.connections / HEARSAY).saturating_sub(hearsay);
        others = others.min(self.peers.free_hearsay_dials(self.now));
        let wanted = self.contents.values().filter(|content| content.wanted);
        let due = wanted.flat_map(|content| content.known.due(self.now));
        // Of those that others have made up, hundreds may be due for which there is no room.
        let may_dial =
            |&(id, _, vouched): &(PeerId, &[SocketAddr], bool)| (vouched || others > 0) && self.peers.is_free(&id);
        let mut candidates: Vec<_> = due.filter(may_dial).collect();
        self.rng.shuffle(&mut candidates);
        candidates.sort_by_key(|&(.., vouched)| !vouched);
        for (id, addresses, vouched) in candidates {
            if room > 0 && (vouched || others > 0) && self.peers.dial(id, self.now, vouched) {
                self.actions.dial(PeerAddress { id, addresses: addresses.to_vec() });
                room -= 1;
                others -= usize::from(!vouched);
            }
        }
    }

    /// Dials those that the tracker has introduced and that have not come by themselves.
    pub(crate) fn dial_back(&mut self) {
        while let Some(one) = self.dial_backs.take(self.now) {
            let Some(content) = self.contents.get(&one.content) else { continue };
            // What is wanted is dialled for anyway.
            if content.wanted || content.takers >= ENOUGH_TAKERS || !self.peers.is_free(&one.peer) {
                continue;
            }
            let Some(addresses) = content.known.addresses(&one.peer) else { continue };
            let addresses = addresses.iter().copied().take(DIALLED_BACK).collect();
            let dials = self.peers.dials() - self.peers.hearsay_dials();
            let full = self.conns.len() + dials >= self.config.connections;
            if full || self.peers.free_dials(self.now) == 0 || !self.dial_backs.may_dial(self.now) {
                return self.dial_backs.put_back(one);
            }
            if self.peers.dial(one.peer, self.now, true) {
                self.dial_backs.dials(one);
                self.actions.dial(PeerAddress { id: one.peer, addresses });
            }
        }
    }

    pub(crate) fn dial_failed(&mut self, peer: PeerId) {
        self.peers.dial_ended(&peer);
        self.dial_backs.failed(&peer, self.now);
        // If the peer is still connected, a failed second dial does not count as a failure.
        if !self.peers.is_connected(&peer) {
            self.back_off(peer);
        }
        self.dial_more();
    }

    /// A peer was not dialled: too many dials there were in vain. It waits for its turn, and is no worse for that.
    pub(crate) fn dial_held_back(&mut self, peer: PeerId) {
        self.peers.dial_ended(&peer);
        self.dial_backs.held_back(&peer, self.now);
        for id in self.knowers.of(&peer) {
            if let Some(content) = self.contents.get_mut(&id) {
                content.known.hold_back(&peer, self.now);
            }
        }
    }

    /// A peer that owes us something is silent: it is dialled anew, beside the connection that stands. Should the link have
    /// been dark, a new connection is there long before the old one dares to send again.
    pub(crate) fn dial_beside(&mut self, conn: ConnId) {
        let owes = |state: &&Connection| !state.download.is_idle();
        let Some(id) = self.conns.get(&conn).filter(owes).map(|state| state.peer.id) else { return };
        let knowing = self.knowers.of(&id).filter_map(|content| self.contents.get(&content));
        let mut wanted = knowing.filter(|content| content.wanted);
        let Some(addresses) = wanted.find_map(|content| content.known.addresses(&id)).map(<[_]>::to_vec) else {
            return;
        };
        if self.peers.free_dials(self.now) > 0 && self.peers.dial(id, self.now, true) {
            self.actions.dial(PeerAddress { id, addresses });
        }
    }

    /// Dials peers directly that a relay connects us to: a path may have appeared. Both sides do so, which lets them through
    /// some routers.
    pub(crate) fn dial_relayed(&mut self) {
        for state in self.conns.values_mut() {
            let Some(relayed) = state.peer.relayed.as_mut().filter(|relayed| relayed.next <= self.now) else {
                continue;
            };
            relayed.dialled(self.now);
            let id = state.peer.id;
            let mut knowing = self.knowers.of(&id).filter_map(|content| self.contents.get(&content));
            let known = knowing.find_map(|content| content.known.addresses(&id)).map(<[_]>::to_vec);
            let seen = state.peer.address.ip();
            // What it names itself may be anywhere.
            let told = || {
                let addresses = state.peer.address_for(seen, &[]).map(|peer| peer.addresses).unwrap_or_default();
                addresses.into_iter().filter(|address| address.ip() == seen).collect::<Vec<_>>()
            };
            let addresses = known.filter(|known| !known.is_empty()).unwrap_or_else(told);
            if addresses.is_empty() {
                continue;
            }
            if self.peers.free_dials(self.now) > 0 && self.peers.dial(id, self.now, true) {
                self.actions.dial(PeerAddress { id, addresses });
            }
        }
    }

    /// A peer could not be reached, or was lost: it is not dialled again for a while.
    pub(crate) fn back_off(&mut self, peer: PeerId) {
        for id in self.knowers.of(&peer) {
            if let Some(content) = self.contents.get_mut(&id) {
                content.known.back_off(&peer, self.now, &mut self.rng);
            }
        }
    }
}
