//! How a peer shows a tracker that it is reached over the other IP family, too.
//!
//! A session with a tracker is one connection, over IPv4 or over IPv6, and a tracker tells others only the addresses that a handshake
//! has proven. A peer that has both families therefore connects a second time, over the other one, and shows a token there that
//! it was given over its session. With the token the tracker says where it is over that family: the peer may know it by one alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::PeerId;

/// Most addresses of its own that a tracker says with a token.
pub const MAX_OWN_ADDRESSES: usize = 2;

/// What a peer shows over a second connection: 128 random bits, good for one use and for a few seconds.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressToken(pub [u8; 16]);

impl fmt::Debug for AddressToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressToken(…)")
    }
}

/// The id that stands among those that are gone when a tracker takes proofs of a second address. Peers of older versions take it
/// for a peer that they never heard of. It is the hash of a text, and no key has it.
pub fn second_address_mark() -> PeerId {
    PeerId::of_public_key(b"p2p-fileshare/1 prove a second address, and hear where")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{relay_mark, report_mark};

    #[test]
    fn a_token_is_in_no_log_and_the_mark_is_no_other() {
        assert_eq!(format!("{:?}", AddressToken([1; 16])), "AddressToken(…)");
        assert!(![relay_mark(), report_mark()].contains(&second_address_mark()));
    }
}
