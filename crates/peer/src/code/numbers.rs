//! The numbers of a node's mailboxes: no two of its codes have the same one at a tracker.
//!
//! To a tracker all codes of a node are of one peer, and a peer that comes back takes over the mailbox that it had. Two codes with one
//! number would take it from each other without end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use protocol::PeerId;

use crate::lock::lock;

/// The numbers in use, each at one tracker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers(Arc<Mutex<BTreeSet<(PeerId, u16)>>>);

/// A number that is in use for as long as this is kept, whether its mailbox is claimed at the moment or not.
#[derive(Debug)]
pub(super) struct Number {
    numbers: Numbers,
    tracker: PeerId,
    number: u16,
}

impl Numbers {
    /// A random number up to this one that is free; nothing if there is none.
    pub(super) fn any(&self, tracker: PeerId, most: u16) -> Option<Number> {
        let mut used = lock(&self.0);
        let free: Vec<u16> = (1..=most).filter(|&number| !used.contains(&(tracker, number))).collect();
        let number = fastrand::choice(free)?;
        used.insert((tracker, number));
        Some(Number { numbers: self.clone(), tracker, number })
    }

    /// This number, unless another code has it.
    pub(super) fn take(&self, tracker: PeerId, number: u16) -> Option<Number> {
        let is_free = lock(&self.0).insert((tracker, number));
        is_free.then(|| Number { numbers: self.clone(), tracker, number })
    }
}

impl Number {
    pub(super) fn get(&self) -> u16 {
        self.number
    }

    /// Whether it is one at this tracker.
    pub(super) fn is_at(&self, tracker: PeerId) -> bool {
        self.tracker == tracker
    }

    /// Whether it is this number at this tracker.
    pub(super) fn is(&self, tracker: PeerId, number: u16) -> bool {
        (self.tracker, self.number) == (tracker, number)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        lock(&self.numbers.0).remove(&(self.tracker, self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_codes_have_one_number_at_a_tracker() {
        let (numbers, [here, there]) = (Numbers::default(), [b"here", b"away"].map(|key| PeerId::of_public_key(key)));
        let mut taken: Vec<_> = std::iter::from_fn(|| numbers.any(here, 99)).collect();
        let each: BTreeSet<_> = taken.iter().map(Number::get).collect();
        assert!(each.len() == 99 && each.iter().all(|number| (1..=99).contains(number)), "{each:?}");
        assert!(numbers.take(here, 7).is_none() && numbers.take(there, 7).is_some());
        taken.retain(|number| !number.is(here, 7));
        assert_eq!(numbers.any(here, 99).map(|number| number.get()), Some(7), "it is free again");
    }
}
