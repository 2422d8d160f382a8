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

impl PeerId {
    /// The id of the peer that holds the private half of this public key.
    pub fn of_public_key(subject_public_key_info: &[u8]) -> Self {
        PeerId(Digest::of(subject_public_key_info))
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
