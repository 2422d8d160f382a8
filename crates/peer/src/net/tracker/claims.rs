//! Which tracker each client of a node has: two addresses of one tracker are not two trackers.
//!
//! A tracker has one session of a peer, and a newer one takes the place of the older. Two clients that came to the same tracker
//! would take it from each other without end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use protocol::PeerId;

use crate::lock::lock;
use crate::tracker_status::TrackerNumber;

/// A tracker's id, and what tells it from others of that id.
pub(super) type Key = (PeerId, [u8; 16]);

/// Most further addresses of one tracker that are remembered.
const ALSO_AT: usize = 8;

/// The trackers that clients of one node have.
#[derive(Default)]
pub(crate) struct Claims(Mutex<BTreeMap<Key, Claimed>>);

/// Who has a tracker, and where others have come to it.
struct Claimed {
    number: TrackerNumber,
    also_at: BTreeSet<SocketAddr>,
}

/// A tracker that a client has for as long as this is kept.
pub(super) struct Claim {
    claims: Arc<Claims>,
    key: Key,
    number: TrackerNumber,
}

impl Claims {
    /// Takes a tracker for this client, which has come to it at this address; nothing if another one has it.
    pub(super) fn claim(self: &Arc<Self>, key: Key, number: TrackerNumber, at: SocketAddr) -> Option<Claim> {
        let mut claims = lock(&self.0);
        let claimed = claims.entry(key).or_insert_with(|| Claimed { number, also_at: BTreeSet::new() });
        if claimed.number == number {
            return Some(Claim { claims: self.clone(), key, number });
        }
        if claimed.also_at.len() < ALSO_AT {
            claimed.also_at.insert(at);
        }
        None
    }

    /// Where clients have come to a tracker that another one has.
    pub(super) fn also_at(&self, key: &Key) -> Vec<SocketAddr> {
        lock(&self.0).get(key).map(|claimed| claimed.also_at.iter().copied().collect()).unwrap_or_default()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = lock(&self.claims.0);
        if claims.get(&self.key).is_some_and(|claimed| claimed.number == self.number) {
            claims.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_is_of_one_client_until_that_lets_go() {
        let claims = Arc::<Claims>::default();
        let [one, other] = [1, 2].map(|nonce| (PeerId::of_public_key(b"key"), [nonce; 16]));
        let at = ["10.0.0.1:9", "[2001:db8::1]:9"].map(|text| text.parse().unwrap());
        let first = claims.claim(one, 1, at[0]);
        assert!(first.is_some() && claims.claim(one, 2, at[1]).is_none());
        assert_eq!((claims.also_at(&one), claims.also_at(&other)), (vec![at[1]], vec![]));
        assert!(claims.claim(other, 2, at[1]).is_some(), "another one of the same key");
        drop(first);
        assert!(claims.claim(one, 2, at[1]).is_some() && claims.also_at(&one).is_empty());
    }
}
