//! Whom a member could be introduced to: all that have a like role, and beside them a few of each place.
//!
//! A draw looks at a bounded number of them, so that its cost does not grow with the swarm. Drawn from all alike, ten
//! thousand ids of one machine would hide everyone else; so half of a large draw is of the few.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use fastrand::Rng;

use super::AddressOrigin;

/// Candidates looked at in one draw.
const TRIES: usize = 512;
/// At most this many members of one address, and of one network, are in `few`.
const FROM_ONE_ADDRESS: u32 = 4;
const FROM_ONE_NETWORK: u32 = 16;

/// Members of one kind, by slot.
#[derive(Default)]
pub(super) struct Candidates {
    all: Vec<u32>,
    /// Those who were the first of their address and network when they came.
    few: Vec<u32>,
    crowds: Crowds,
}

/// Where a member stands in the lists.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ListPosition {
    pub(super) at: u32,
    /// Nothing if it is not among the few.
    pub(super) few: Option<u32>,
}

/// How many of each address and network are among the few. Of the loopback address too: there nobody is told apart anyway.
#[derive(Default)]
struct Crowds {
    addresses: HashMap<IpAddr, u32>,
    networks: HashMap<IpAddr, u32>,
}

impl Crowds {
    /// Counts one more, if there is room.
    fn add(&mut self, origin: AddressOrigin) -> bool {
        let full =
            |counts: &HashMap<IpAddr, u32>, at: IpAddr, most| counts.get(&at).is_some_and(|&count| count >= most);
        if full(&self.addresses, origin.address, FROM_ONE_ADDRESS)
            || full(&self.networks, origin.network, FROM_ONE_NETWORK)
        {
            return false;
        }
        *self.addresses.entry(origin.address).or_default() += 1;
        *self.networks.entry(origin.network).or_default() += 1;
        true
    }

    fn remove(&mut self, origin: AddressOrigin) {
        for (counts, at) in [(&mut self.addresses, origin.address), (&mut self.networks, origin.network)] {
            if let Some(count) = counts.get_mut(&at) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&at);
                }
            }
        }
    }
}

impl Candidates {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn all(&self) -> &[u32] {
        &self.all
    }

    #[cfg(test)]
    pub(super) fn stands(&self, slot: u32, place: ListPosition) -> bool {
        self.all[place.at as usize] == slot && place.few.is_none_or(|few| self.few[few as usize] == slot)
    }

    /// Adds a member that is in no list yet.
    pub(super) fn add(&mut self, slot: u32, origin: AddressOrigin) -> ListPosition {
        let place =
            ListPosition { at: self.all.len() as u32, few: self.crowds.add(origin).then_some(self.few.len() as u32) };
        self.all.push(slot);
        if place.few.is_some() {
            self.few.push(slot);
        }
        place
    }

    /// Takes a member out. Another one may stand in its place now: in the list of all, and in that of the few.
    pub(super) fn remove(&mut self, place: ListPosition, origin: AddressOrigin) -> (Option<u32>, Option<u32>) {
        self.all.swap_remove(place.at as usize);
        let moved = self.all.get(place.at as usize).copied();
        let Some(few) = place.few else { return (moved, None) };
        self.few.swap_remove(few as usize);
        self.crowds.remove(origin);
        (moved, self.few.get(few as usize).copied())
    }

    /// Some of them in random order, each once; the many of one address or network last.
    pub(super) fn draw(&self, random: &mut Rng, origin: impl Fn(u32) -> AddressOrigin) -> Vec<u32> {
        let drawn: Vec<u32> = if self.all.len() <= TRIES {
            let mut all = self.all.clone();
            random.shuffle(&mut all);
            all
        } else {
            let mut seen = BTreeSet::new();
            let draws = (0..TRIES).map(|turn| {
                let list = if turn % 2 == 0 && !self.few.is_empty() { &self.few } else { &self.all };
                list[random.usize(..list.len())]
            });
            draws.filter(|&slot| seen.insert(slot)).collect()
        };
        let mut crowds = Crowds::default();
        let (mut few, crowd): (Vec<_>, Vec<_>) = drawn.into_iter().partition(|&slot| crowds.add(origin(slot)));
        few.extend(crowd);
        few
    }
}
