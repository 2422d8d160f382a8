//! What a tracker decides for one content: who takes part, and who is told of whom.
//!
//! Nobody is ever told of the whole swarm. A newcomer is given a random sample, and those in the sample are told of
//! the newcomer, so that either side can dial. Who was told of whom is kept as a symmetric relation (*acquaintance*)
//! of bounded degree: it says who must hear when a member goes, and it bounds what any member is ever sent, however
//! large the swarm is. A random graph of this degree stays connected, and peers tell each other of more.
//!
//! Members that want nothing are introduced only to members that want something. Time plays no part here; the seed
//! is the only source of randomness and nothing iterates over a hash map, so that equal calls give equal answers.

mod addresses;
mod candidates;
mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use fastrand::Rng;
use protocol::{PeerAddress, PeerId, Role};

pub use addresses::{AddressOrigin, Addresses};
use candidates::{Candidates, ListPosition};
pub use names::Claim;
use names::{ClaimId, Claims};

/// Most peers that a newcomer is told of.
pub const SAMPLE: usize = 50;
/// How many more a downloader is told of that announces the same again.
const MORE: usize = 25;
/// Most members that a member knows through the tracker at a time: its own sample and those who came later.
pub const MOST_KNOWN: usize = 200;
/// A member that wants pieces and knows fewer is introduced to others even when they know many, and again when those
/// it knows leave.
const FEWEST_KNOWN: usize = 8;
/// News for one member.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a peer is told only if it is sent"]
pub struct Push {
    /// The peer that is to be told.
    pub to: PeerId,
    /// Peers to dial; an id that was told before has new addresses now.
    pub joined: Vec<PeerAddress>,
    /// Peers that are gone. Disjoint from `joined`.
    pub gone: Vec<PeerId>,
}

/// What an announcement leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Introductions {
    /// Whom the announcer is told of: at most [`SAMPLE`], never itself.
    pub sample: Vec<PeerAddress>,
    /// What others are told.
    pub pushes: Vec<Push>,
    /// Whether the announcer gave the content one more name than it had.
    pub named: bool,
    /// Whether what the content is called, or by how many, may have changed.
    pub renamed: bool,
}

struct Member {
    id: PeerId,
    addresses: Arc<Addresses>,
    role: Role,
    /// Position in `givers` or `takers`.
    place: ListPosition,
    /// Acquaintances. Each of them has this member in its own list.
    known: Vec<u32>,
    /// What it says the content is called.
    claim: Option<ClaimId>,
}

/// The members of one content.
pub struct Registry {
    random: Rng,
    /// Members by slot; small numbers instead of ids keep the acquaintances cheap.
    slots: Vec<Option<Member>>,
    free: Vec<u32>,
    index: HashMap<PeerId, u32>,
    /// Members that want nothing.
    givers: Candidates,
    /// Members that want something.
    takers: Candidates,
    seeders: u32,
    claims: Claims,
}

impl Registry {
    /// A content without members.
    pub fn new(seed: u64) -> Self {
        Registry {
            random: Rng::with_seed(seed),
            // Most contents have one member, and the least that a growing list takes is four.
            slots: Vec::with_capacity(1),
            free: Vec::new(),
            index: HashMap::new(),
            givers: Candidates::default(),
            takers: Candidates::default(),
            seeders: 0,
            claims: Claims::default(),
        }
    }

    /// A peer takes part, or takes part in another way than before. `about` is the name and size that it says the content
    /// has; what it said before holds if it says nothing.
    ///
    /// Announcing again is harmless: the answer names those whom the peer knows already, filled up with others. A downloader
    /// that announces the same again needs more: it is told of some whom it does not know first.
    pub fn announce(
        &mut self,
        peer: PeerId,
        addresses: &Arc<Addresses>,
        role: Role,
        about: Option<(String, u64)>,
    ) -> Introductions {
        let (slot, moved, more, is_news) = match self.index.get(&peer) {
            Some(&slot) => {
                let same = self.member(slot).role == role;
                let moved = self.update(slot, addresses, role);
                (slot, moved, if role == Role::Downloader && same { MORE } else { 0 }, moved || !same)
            }
            None => (self.insert(peer, addresses, role), false, 0, true),
        };
        let before = self.member(slot).claim;
        let named = about.is_some_and(|about| self.claim(slot, about));
        let renamed = is_news || self.member(slot).claim != before;
        let old = self.member(slot).known.clone();
        let new = self.draw(slot, SAMPLE.saturating_sub(old.len()).max(more));
        for &other in &new {
            self.acquaint(slot, other);
        }
        let mut told = if moved { old } else { Vec::new() };
        told.extend(&new);
        // An eviction may have ended an old acquaintance meanwhile.
        told.retain(|other| self.member(slot).known.contains(other));
        let pushes = told.into_iter().filter_map(|other| self.introduce(slot, other)).collect();
        let mut known = self.member(slot).known.clone();
        self.random.shuffle(&mut known);
        if more > 0 {
            known.sort_by_key(|other| !new.contains(other));
        }
        let sample = known.into_iter().filter_map(|other| self.seen_by(slot, other)).take(SAMPLE).collect();
        Introductions { sample, pushes, named, renamed }
    }

    /// A peer is gone. Leaving twice, or without having been there, is harmless.
    pub fn leave(&mut self, peer: PeerId) -> Vec<Push> {
        let Some(slot) = self.index.remove(&peer) else { return Vec::new() };
        self.remove_from_group(slot);
        let Some(member) = self.slots[slot as usize].take() else { return Vec::new() };
        member.claim.into_iter().for_each(|claim| self.claims.drop(claim));
        for &other in &member.known {
            self.member_mut(other).known.retain(|&known| known != slot);
        }
        let mut pushes = Vec::with_capacity(member.known.len());
        for other in member.known {
            let mut news = Push { to: self.member(other).id, joined: Vec::new(), gone: vec![peer] };
            if self.member(other).role == Role::Downloader && self.member(other).known.len() < FEWEST_KNOWN {
                for found in self.draw(other, 1) {
                    self.acquaint(other, found);
                    news.joined.extend(self.seen_by(other, found));
                    pushes.extend(self.introduce(other, found));
                }
            }
            pushes.push(news);
        }
        self.free.push(slot);
        pushes
    }

    /// A member is reached at other addresses than before: those who know it are told. Nothing if they are the same.
    pub fn readdress(&mut self, peer: PeerId, addresses: &Arc<Addresses>) -> Vec<Push> {
        let Some(&slot) = self.index.get(&peer) else { return Vec::new() };
        let role = self.member(slot).role;
        if !self.update(slot, addresses, role) {
            return Vec::new();
        }
        let known = self.member(slot).known.clone();
        known.into_iter().filter_map(|other| self.introduce(slot, other)).collect()
    }

    /// Whether this peer takes part.
    pub fn contains(&self, peer: PeerId) -> bool {
        self.index.contains_key(&peer)
    }

    /// Whether this peer takes part, and wants more.
    pub fn wants(&self, peer: PeerId) -> bool {
        self.index.get(&peer).is_some_and(|&slot| self.member(slot).role == Role::Downloader)
    }

    /// Members.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nobody takes part.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The member, if there is one alone.
    pub fn only(&self) -> Option<PeerId> {
        self.index.keys().next().copied().filter(|_| self.index.len() == 1)
    }

    /// Members that have everything.
    pub fn seeders(&self) -> u32 {
        self.seeders
    }

    /// Members that have a part or want one.
    pub fn others(&self) -> u32 {
        (self.len() as u32).saturating_sub(self.seeders)
    }

    /// Members that want more.
    pub fn downloaders(&self) -> u32 {
        self.takers.len() as u32
    }

    /// Name and size, as members say: of several claims the one that seeders of most networks make, and then the oldest.
    pub fn about(&self) -> Option<(&str, u64)> {
        let best = self.claims().into_iter().rev().max_by_key(|(_, spread)| *spread);
        best.map(|(claim, _)| (claim.name.as_str(), claim.size))
    }

    /// The size that goes with a name, if someone gives the content that name.
    pub fn about_as(&self, name: &str) -> Option<(&str, u64)> {
        let so_called = self.claims.all().map(|(_, claim)| claim).find(|claim| claim.name == name);
        so_called.map(|claim| (claim.name.as_str(), claim.size))
    }

    /// What members say that the content is called, oldest first, and from how many networks those come who say so and have
    /// everything.
    pub fn claims(&self) -> Vec<(&Claim, usize)> {
        let contested = self.claims.len() > 1;
        let spread = |id| self.count_networks(|member| !contested || member.claim == Some(id));
        self.claims.all().map(|(id, claim)| (claim, spread(id))).collect()
    }

    /// How many networks some of the members that have everything come from, counted among the first of them only.
    fn count_networks(&self, counts: impl Fn(&Member) -> bool) -> usize {
        const COUNTED: usize = 64;
        let seeders = self.givers.all().iter().map(|&slot| self.member(slot)).filter(|one| one.role == Role::Seeder);
        let networks = seeders.take(COUNTED).filter(|one| counts(one)).map(|one| one.addresses.origin().network);
        networks.collect::<BTreeSet<IpAddr>>().len()
    }

    /// A member says what the content is called. True if that is one more name than before.
    fn claim(&mut self, slot: u32, about: (String, u64)) -> bool {
        let member = self.member(slot);
        let (peer, network, old) = (member.id, member.addresses.origin().network, member.claim);
        let Some((claim, new)) = self.claims.make(about, peer, network) else { return false };
        old.into_iter().for_each(|old| self.claims.drop(old));
        self.member_mut(slot).claim = Some(claim);
        new && self.claims.len() > 1
    }

    /// Members as one of them may see them: those of `peers` that still take part and that it can reach.
    pub fn addresses_for(&self, viewer: PeerId, peers: &[PeerId]) -> Vec<PeerAddress> {
        let Some(&viewer) = self.index.get(&viewer) else { return Vec::new() };
        let slots = peers.iter().filter_map(|peer| self.index.get(peer));
        slots.filter_map(|&slot| self.seen_by(viewer, slot)).collect()
    }

    /// Members and what they hold, as somebody with these addresses may see them, from a place on; and the place to go on from if
    /// there are more than so many. Those who come or go meanwhile may be missed.
    pub fn page(&self, viewer: &Addresses, from: usize, most: usize) -> (Vec<(PeerAddress, Role)>, Option<usize>) {
        let mut members = self.slots.iter().enumerate().skip(from).filter_map(|(at, slot)| Some((at, slot.as_ref()?)));
        let page: Vec<_> = members.by_ref().take(most).collect();
        let next = page.last().map(|(at, _)| at + 1).filter(|_| members.next().is_some());
        let seen = |member: &Member| PeerAddress { id: member.id, addresses: member.addresses.for_viewer(viewer) };
        (page.into_iter().map(|(_, member)| (seen(member), member.role)).collect(), next)
    }

    fn insert(&mut self, id: PeerId, addresses: &Arc<Addresses>, role: Role) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let member = Member {
            id,
            addresses: addresses.clone(),
            role,
            place: ListPosition::default(),
            known: Vec::new(),
            claim: None,
        };
        self.slots[slot as usize] = Some(member);
        self.index.insert(id, slot);
        self.add_to_group(slot);
        slot
    }

    /// True if those who know the member must hear of new addresses.
    fn update(&mut self, slot: u32, addresses: &Arc<Addresses>, role: Role) -> bool {
        self.remove_from_group(slot);
        let member = self.member_mut(slot);
        let moved = member.addresses != *addresses;
        member.addresses = addresses.clone();
        member.role = role;
        self.add_to_group(slot);
        if role != Role::Downloader {
            // It has no use any more for others that want nothing; that makes room for those that do.
            let known = std::mem::take(&mut self.member_mut(slot).known);
            let (keep, drop): (Vec<_>, Vec<_>) =
                known.into_iter().partition(|&other| self.member(other).role == Role::Downloader);
            self.member_mut(slot).known = keep;
            for other in drop {
                self.member_mut(other).known.retain(|&known| known != slot);
            }
        }
        moved
    }

    /// Random members that `slot` could be introduced to.
    fn draw(&mut self, slot: u32, wanted: usize) -> Vec<u32> {
        let member = self.member(slot);
        let known = member.known.len();
        let wanted = wanted.min(MOST_KNOWN.saturating_sub(known));
        let wants = member.role == Role::Downloader;
        let mut drawn = Vec::with_capacity(wanted);
        if wanted == 0 {
            return drawn;
        }
        let takers = self.candidates(Role::Downloader);
        if wants {
            // Half of those who have the pieces, as far as there are any; the rest of those who will have them.
            let givers = self.candidates(Role::Seeder);
            self.take(slot, &givers, wanted.div_ceil(2), false, &mut drawn);
            self.take(slot, &takers, wanted, false, &mut drawn);
            self.take(slot, &givers, wanted, false, &mut drawn);
            // Everyone may know enough already. The swarm must still open to a newcomer.
            let least = wanted.min(FEWEST_KNOWN.saturating_sub(known));
            self.take(slot, &givers, least.div_ceil(2), true, &mut drawn);
            self.take(slot, &takers, least, true, &mut drawn);
            self.take(slot, &givers, least, true, &mut drawn);
        } else {
            self.take(slot, &takers, wanted, false, &mut drawn);
        }
        drawn
    }

    /// Fills `drawn` up to `total` with those candidates that can be introduced; `busy` ones only if so asked.
    fn take(&self, slot: u32, candidates: &[u32], total: usize, busy: bool, drawn: &mut Vec<u32>) {
        let member = self.member(slot);
        for &other in candidates {
            if drawn.len() >= total {
                return;
            }
            let found = self.member(other);
            let useful = found.addresses.any_for(&member.addresses) || member.addresses.any_for(&found.addresses);
            let room = busy || found.known.len() < MOST_KNOWN;
            if other != slot && useful && room && !drawn.contains(&other) && !member.known.contains(&other) {
                drawn.push(other);
            }
        }
    }

    /// Some of those with a role like this in random order, each once; the many of one address or network last.
    fn candidates(&mut self, role: Role) -> Vec<u32> {
        let mut random = self.random.fork();
        let group = if role == Role::Downloader { &self.takers } else { &self.givers };
        group.draw(&mut random, |slot| self.member(slot).addresses.origin())
    }

    /// Makes two members acquaintances. One that knows too many forgets a random one.
    fn acquaint(&mut self, one: u32, other: u32) {
        for (a, b) in [(one, other), (other, one)] {
            if self.member(a).known.len() >= MOST_KNOWN {
                let which = self.random.usize(..self.member(a).known.len());
                let forgotten = self.member_mut(a).known.swap_remove(which);
                self.member_mut(forgotten).known.retain(|&known| known != a);
            }
            self.member_mut(a).known.push(b);
        }
    }

    /// What `other` is told of `slot`, if it can do anything with it.
    fn introduce(&self, slot: u32, other: u32) -> Option<Push> {
        let joined = vec![self.seen_by(other, slot)?];
        Some(Push { to: self.member(other).id, joined, gone: Vec::new() })
    }

    /// `other` as `viewer` may see it.
    fn seen_by(&self, viewer: u32, other: u32) -> Option<PeerAddress> {
        let other = self.member(other);
        let addresses = other.addresses.for_viewer(&self.member(viewer).addresses);
        (!addresses.is_empty()).then_some(PeerAddress { id: other.id, addresses })
    }

    fn add_to_group(&mut self, slot: u32) {
        let Member { role, ref addresses, .. } = *self.member(slot);
        let origin = addresses.origin();
        self.seeders += u32::from(role == Role::Seeder);
        let place = self.group(role).add(slot, origin);
        self.member_mut(slot).place = place;
    }

    fn remove_from_group(&mut self, slot: u32) {
        let Member { role, place, ref addresses, .. } = *self.member(slot);
        let origin = addresses.origin();
        self.seeders -= u32::from(role == Role::Seeder);
        let (moved, moved_few) = self.group(role).remove(place, origin);
        if let Some(moved) = moved {
            self.member_mut(moved).place.at = place.at;
        }
        if let Some(moved) = moved_few {
            self.member_mut(moved).place.few = place.few;
        }
    }

    fn group(&mut self, role: Role) -> &mut Candidates {
        if role == Role::Downloader { &mut self.takers } else { &mut self.givers }
    }

    fn member(&self, slot: u32) -> &Member {
        self.slots[slot as usize].as_ref().expect("slots in the index, a group or an acquaintance are taken")
    }

    fn member_mut(&mut self, slot: u32) -> &mut Member {
        self.slots[slot as usize].as_mut().expect("slots in the index, a group or an acquaintance are taken")
    }
}
