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
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use fastrand::Rng;
use protocol::{PeerAddress, PeerId, Stake, check_name};

use addresses::{Addresses, origin};

/// Most peers that a newcomer is told of.
pub const SAMPLE: usize = 50;
/// Most members that a member knows through the tracker at a time: its own sample and those who came later.
pub const MOST_KNOWN: usize = 200;
/// A member that wants pieces and knows fewer is introduced to others even when they know many, and again when those
/// it knows leave.
const FEWEST_KNOWN: usize = 8;
/// Beyond so many members of one address, all others come first: a thousand ids of one machine must not hide everyone else.
const FROM_ONE_ADDRESS: u32 = 4;
/// Candidates looked at in one draw, so that its cost does not grow with the swarm. More than come from one address.
const TRIES: usize = 512;

/// What one content may cost a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryLimits {
    /// Most members.
    pub members: usize,
    /// Most members that come from one address (an IPv6 /64 counts as one). Loopback is exempt.
    pub members_per_address: u32,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        // Generous enough for a large site behind one public address, small against a swarm.
        RegistryLimits { members: 100_000, members_per_address: 256 }
    }
}

/// News for one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Who is to be told.
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
}

/// Why a peer may not take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryFull {
    /// The content has as many members as it may have.
    Members,
    /// As many of its members come from the peer's address as may.
    Address,
}

impl std::fmt::Display for RegistryFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RegistryFull::Members => "this content has too many peers",
            RegistryFull::Address => "too many peers of this content come from your address",
        })
    }
}

impl std::error::Error for RegistryFull {}

struct Member {
    id: PeerId,
    addresses: Addresses,
    origin: Option<IpAddr>,
    stake: Stake,
    /// Position in `givers` or `takers`.
    place: usize,
    /// Acquaintances. Whoever stands here has this member in its own list.
    known: Vec<u32>,
}

/// The members of one content.
pub struct Registry {
    limits: RegistryLimits,
    random: Rng,
    /// Members by slot; small numbers instead of ids keep the acquaintances cheap.
    slots: Vec<Option<Member>>,
    free: Vec<u32>,
    index: HashMap<PeerId, u32>,
    /// Who wants nothing.
    givers: Vec<u32>,
    /// Who wants something.
    takers: Vec<u32>,
    seeders: u32,
    origins: HashMap<IpAddr, u32>,
    about: Option<(String, u64)>,
}

impl Registry {
    /// A content without members.
    pub fn new(limits: RegistryLimits, seed: u64) -> Self {
        Registry {
            limits,
            random: Rng::with_seed(seed),
            slots: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            givers: Vec::new(),
            takers: Vec::new(),
            seeders: 0,
            origins: HashMap::new(),
            about: None,
        }
    }

    /// A peer takes part, or takes part in another way than before. `from` is where its connection comes from,
    /// `listeners` what it says about where it listens.
    ///
    /// Announcing again is harmless: the answer names those whom the peer knows already, filled up with others.
    pub fn announce(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        listeners: &[SocketAddr],
        stake: Stake,
        about: Option<(String, u64)>,
    ) -> Result<Introductions, RegistryFull> {
        let addresses = Addresses::new(from.ip(), listeners);
        let (slot, moved) = match self.index.get(&peer) {
            Some(&slot) => (slot, self.update(slot, addresses, origin(from.ip()), stake)),
            None => (self.insert(peer, addresses, origin(from.ip()), stake)?, false),
        };
        // Only a claim: what a content is called is checked by whoever has its manifest. The first one stays, so that
        // nobody renames what others look for.
        self.about = self.about.take().or(about.filter(|(name, _)| check_name(name).is_ok()));
        let old = self.member(slot).known.clone();
        let new = self.draw(slot, SAMPLE.saturating_sub(old.len()));
        for &other in &new {
            self.acquaint(slot, other);
        }
        let mut told = if moved { old } else { Vec::new() };
        told.extend(new);
        // An eviction may have ended an old acquaintance meanwhile.
        told.retain(|other| self.member(slot).known.contains(other));
        let pushes = told.into_iter().filter_map(|other| self.introduce(slot, other)).collect();
        let mut known = self.member(slot).known.clone();
        self.random.shuffle(&mut known);
        let sample = known.into_iter().filter_map(|other| self.seen_by(slot, other)).take(SAMPLE).collect();
        Ok(Introductions { sample, pushes })
    }

    /// A peer is gone. Leaving twice, or without having been there, is harmless.
    pub fn leave(&mut self, peer: PeerId) -> Vec<Push> {
        let Some(slot) = self.index.remove(&peer) else { return Vec::new() };
        self.remove_from_group(slot);
        let Some(member) = self.slots[slot as usize].take() else { return Vec::new() };
        self.count_origin(member.origin, -1);
        for &other in &member.known {
            self.member_mut(other).known.retain(|&known| known != slot);
        }
        let mut pushes = Vec::with_capacity(member.known.len());
        for other in member.known {
            let mut news = Push { to: self.member(other).id, joined: Vec::new(), gone: vec![peer] };
            if self.member(other).stake == Stake::Downloader && self.member(other).known.len() < FEWEST_KNOWN {
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

    /// Whether this peer takes part.
    pub fn contains(&self, peer: PeerId) -> bool {
        self.index.contains_key(&peer)
    }

    /// Members.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nobody takes part.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
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

    /// Name and size, as the first member who knew them said.
    pub fn about(&self) -> Option<(&str, u64)> {
        self.about.as_ref().map(|(name, size)| (name.as_str(), *size))
    }

    fn insert(
        &mut self,
        id: PeerId,
        addresses: Addresses,
        origin: Option<IpAddr>,
        stake: Stake,
    ) -> Result<u32, RegistryFull> {
        if self.index.len() >= self.limits.members {
            return Err(RegistryFull::Members);
        }
        let here = origin.and_then(|origin| self.origins.get(&origin)).copied().unwrap_or(0);
        if here >= self.limits.members_per_address {
            return Err(RegistryFull::Address);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some(Member { id, addresses, origin, stake, place: 0, known: Vec::new() });
        self.index.insert(id, slot);
        self.count_origin(origin, 1);
        self.add_to_group(slot);
        Ok(slot)
    }

    /// True if those who know the member must hear of new addresses.
    fn update(&mut self, slot: u32, addresses: Addresses, origin: Option<IpAddr>, stake: Stake) -> bool {
        self.remove_from_group(slot);
        let member = self.member_mut(slot);
        let moved = member.addresses != addresses;
        let before = std::mem::replace(&mut member.origin, origin);
        member.addresses = addresses;
        member.stake = stake;
        self.count_origin(before, -1);
        self.count_origin(origin, 1);
        self.add_to_group(slot);
        if stake != Stake::Downloader {
            // It has no use any more for others that want nothing; that makes room for those that do.
            let known = std::mem::take(&mut self.member_mut(slot).known);
            let (keep, drop): (Vec<_>, Vec<_>) =
                known.into_iter().partition(|&other| self.member(other).stake == Stake::Downloader);
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
        let wants = member.stake == Stake::Downloader;
        let mut drawn = Vec::with_capacity(wanted);
        if wanted == 0 {
            return drawn;
        }
        let takers = self.candidates(false);
        if wants {
            // Half of those who have the pieces, as far as there are any; the rest of those who will have them.
            let givers = self.candidates(true);
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

    /// Some of the givers or takers in random order, each once; the many of one address last.
    fn candidates(&mut self, givers: bool) -> Vec<u32> {
        let group = if givers { &self.givers } else { &self.takers };
        let drawn: Vec<u32> = if group.len() <= TRIES {
            let mut all = group.clone();
            self.random.shuffle(&mut all);
            all
        } else {
            let mut seen = BTreeSet::new();
            let draws = (0..TRIES).map(|_| group[self.random.usize(..group.len())]);
            draws.filter(|&slot| seen.insert(slot)).collect()
        };
        let mut from: HashMap<Option<IpAddr>, u32> = HashMap::new();
        let (mut few, crowd): (Vec<_>, Vec<_>) = drawn.into_iter().partition(|&slot| {
            let count = from.entry(self.member(slot).origin).or_default();
            *count += 1;
            *count <= FROM_ONE_ADDRESS
        });
        few.extend(crowd);
        few
    }

    /// Makes two members acquaintances. Whoever knows too many forgets a random one.
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
        let stake = self.member(slot).stake;
        self.seeders += u32::from(stake == Stake::Seeder);
        let group = if stake == Stake::Downloader { &mut self.takers } else { &mut self.givers };
        let place = group.len();
        group.push(slot);
        self.member_mut(slot).place = place;
    }

    fn remove_from_group(&mut self, slot: u32) {
        let Member { stake, place, .. } = *self.member(slot);
        self.seeders -= u32::from(stake == Stake::Seeder);
        let group = if stake == Stake::Downloader { &mut self.takers } else { &mut self.givers };
        group.swap_remove(place);
        if let Some(&last) = group.get(place) {
            self.member_mut(last).place = place;
        }
    }

    fn count_origin(&mut self, origin: Option<IpAddr>, change: i32) {
        let Some(origin) = origin else { return };
        let count = self.origins.entry(origin).or_insert(0);
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            self.origins.remove(&origin);
        }
    }

    fn member(&self, slot: u32) -> &Member {
        self.slots[slot as usize].as_ref().expect("slots in the index, a group or an acquaintance are taken")
    }

    fn member_mut(&mut self, slot: u32) -> &mut Member {
        self.slots[slot as usize].as_mut().expect("slots in the index, a group or an acquaintance are taken")
    }
}
