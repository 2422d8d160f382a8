//! The relay of a tracker: the keys with which two peers and the tracker find each other's halves of a connection.
//!
//! A relayed connection is made of TCP connections that both peers open to the tracker, the *legs*, which it couples two by
//! two. A leg begins with [`LEG_MARK`] and a key that was said over the session with the tracker, and is used once; everything
//! after that is the peers' own TLS.

use std::fmt;
use std::net::SocketAddr;

use integrity::Key;
use serde::{Deserialize, Serialize};

use crate::PeerId;

/// What a leg begins with. No TLS connection does.
pub const LEG_MARK: [u8; 8] = *b"p2prelay";

const LEGS: &str = "p2p-fileshare 2026-11-29 relay: keys of legs";

/// What names one leg to the tracker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LegKey(pub [u8; 16]);

/// What the keys of one relayed connection's legs follow from: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayKey(pub [u8; 16]);

impl RelayKey {
    /// The key of the leg of this number. Some of them, seen on the way, do not tell the others.
    pub fn leg(&self, number: u32) -> LegKey {
        let mac = Key::derive(LEGS, &self.0).mac(&[&number.to_le_bytes()]).bytes();
        let mut key = [0; 16];
        key.copy_from_slice(&mac[..16]);
        LegKey(key)
    }
}

impl fmt::Debug for RelayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayKey(…)")
    }
}

impl fmt::Debug for LegKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LegKey(…)")
    }
}

/// That a tracker carries a connection to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// What the keys of its legs follow from.
    pub key: RelayKey,
    /// Where the tracker sees the peer.
    pub address: SocketAddr,
}

/// The id that stands among those that are gone when a tracker carries connections. Peers of older versions take it for a peer
/// that they never heard of. It is the hash of a text, and no key has it.
pub fn relay_mark() -> PeerId {
    PeerId::of_public_key(b"p2p-fileshare/1 ask for the relay")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_leg_has_a_key_of_its_own() {
        let (one, other) = (RelayKey([1; 16]), RelayKey([2; 16]));
        let mut keys: Vec<_> = (0..100).flat_map(|number| [one.leg(number).0, other.leg(number).0]).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 200);
        assert_eq!(one.leg(7), RelayKey([1; 16]).leg(7));
        assert_eq!(format!("{one:?} {:?}", one.leg(0)), "RelayKey(…) LegKey(…)");
    }
}
