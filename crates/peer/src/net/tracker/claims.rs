//! Which tracker each client of a node has: two addresses of one tracker are not two trackers.
//!
//! A tracker has one session of a peer, and a newer one takes the place of the older. Two clients that came to the same tracker
//! would take it from each other without end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use protocol::PeerId;

use crate::lock::lock;
use crate::tracker_status::TrackerNumber;

/// A tracker's id, and what tells it from others of that id.
pub(super) type Key = (PeerId, [u8; 16]);

/// The trackers that clients of one node have.
#[derive(Default)]
pub(crate) struct Claims(Mutex<BTreeMap<Key, TrackerNumber>>);

/// A tracker that a client has for as long as this is kept.
pub(super) struct Claim {
    claims: Arc<Claims>,
    key: Key,
    number: TrackerNumber,
}

impl Claims {
    /// Takes a tracker for this client; nothing if another one has it.
    pub(super) fn claim(self: &Arc<Self>, key: Key, number: TrackerNumber) -> Option<Claim> {
        let owner = *lock(&self.0).entry(key).or_insert(number);
        (owner == number).then(|| Claim { claims: self.clone(), key, number })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = lock(&self.claims.0);
        if claims.get(&self.key) == Some(&self.number) {
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
        let first = claims.claim(one, 1);
        assert!(first.is_some() && claims.claim(one, 2).is_none());
        assert!(claims.claim(other, 2).is_some(), "another one of the same key");
        drop(first);
        assert!(claims.claim(one, 2).is_some());
    }
}
