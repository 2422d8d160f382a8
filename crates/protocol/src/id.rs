//! Ids of contents and peers: two kinds of digest that must never be taken for each other.

use std::fmt;
use std::str::FromStr;

use integrity::{Digest, ParseDigestError};
use serde::{Deserialize, Serialize};

/// The digest of a manifest's bytes: with it, a manifest from a stranger can be checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentId(pub Digest);

/// The digest of a peer's public key (its DER-encoded SubjectPublicKeyInfo). A tracker has one too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerId(pub Digest);

/// Bytes of an abbreviated id. Nobody makes a key whose id begins with 128 given bits.
pub const ABBREVIATED: usize = 16;

impl PeerId {
    /// The id of the peer that holds the private half of this public key.
    pub fn of_public_key(subject_public_key_info: &[u8]) -> Self {
        PeerId(Digest::of(subject_public_key_info))
    }

    /// What is left of the id in a short ticket: its first [`ABBREVIATED`] bytes, and zeros, which no id ends with. It names
    /// whom to expect, and is nobody's id.
    pub fn abbreviated(&self) -> Self {
        let mut bytes = [0; 32];
        bytes[..ABBREVIATED].copy_from_slice(&self.0.0[..ABBREVIATED]);
        PeerId(Digest(bytes))
    }

    /// Whether it is the peer that was expected, by the whole id or an abbreviated one.
    pub fn answers_to(&self, expected: PeerId) -> bool {
        *self == expected || (self.abbreviated() == expected && expected != PeerId(Digest([0; 32])))
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "content {:.8}", self.to_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {:.8}", self.to_string())
    }
}

impl FromStr for ContentId {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(ContentId)
    }
}

impl FromStr for PeerId {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(PeerId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abbreviated_id_expects_any_peer_with_the_same_first_half() {
        let (id, mut other) = (PeerId::of_public_key(b"a"), PeerId::of_public_key(b"a"));
        assert!(id.answers_to(id) && id.answers_to(id.abbreviated()));
        assert!(!id.abbreviated().answers_to(id));
        other.0.0[31] ^= 1;
        assert!(!other.answers_to(id) && other.answers_to(id.abbreviated()));
        other.0.0[15] ^= 1;
        assert!(!other.answers_to(id.abbreviated()));
        assert!(!PeerId(Digest([0; 32])).abbreviated().answers_to(id));
    }
}
