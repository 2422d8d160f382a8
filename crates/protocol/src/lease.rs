//! Leases: which of several peers reads from an origin what nobody in the swarm has.
//!
//! A peer that would read something asks a tracker first, on a connection of its own, and nothing else is said on that. One peer holds
//! the lease of a key and reads; the others wait in line until it has said which content came of it. A lease ends with its
//! connection, or when its holder makes no progress, and the next in line gets it.

use serde::{Deserialize, Serialize};

use crate::codec::bounded;
use crate::{ContentId, Digest};

/// Most contents that a peer names as wrong for a key.
pub const MAX_WRONG: usize = 4;

/// What stands at an origin, as peers agree to call it. A tracker learns the digest of a text, and not the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OriginKey(pub Digest);

/// What the hash begins with.
const PURPOSE: &[u8] = b"p2p-fileshare/1 what an origin has\0";

impl OriginKey {
    /// The key of this text: the kind of what is read, and everything that tells one version of it from all others, as
    /// `sha256-…` for what an origin names by its digest.
    pub fn of(text: &str) -> Self {
        OriginKey(Digest::of(&[PURPOSE, text.as_bytes()].concat()))
    }
}

/// What a peer says of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseRequest {
    /// The sender would read what has this key.
    Claim {
        /// The key.
        key: OriginKey,
        /// Its bytes, as far as the sender knows. By the sizes that those in line say it is measured whether the holder makes progress.
        size: u64,
        /// Contents that others have said to be of the key, and that are not. The sender is told of none of them.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_WRONG>")]
        wrong: Vec<ContentId>,
    },
    /// The sender, which holds the lease, has read so many bytes.
    Progress {
        /// The key.
        key: OriginKey,
        /// Bytes in all.
        bytes: u64,
    },
    /// The sender has all of it, and shares it as this content.
    Published {
        /// The key.
        key: OriginKey,
        /// The content.
        content: ContentId,
    },
    /// The sender cannot read it, or does not want it any more.
    Release {
        /// The key.
        key: OriginKey,
    },
}

/// What a tracker says of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseEvent {
    /// The receiver holds the lease: it is to read it.
    Granted {
        /// The key.
        key: OriginKey,
    },
    /// Another peer holds it, or is about to. The receiver stands in line.
    Held {
        /// The key.
        key: OriginKey,
    },
    /// Somebody has said that this content is of the key. The receiver stands in line no more.
    Published {
        /// The key.
        key: OriginKey,
        /// The content.
        content: ContentId,
    },
    /// The receiver has too many keys: it is on its own with this one.
    Refused {
        /// The key.
        key: OriginKey,
    },
}

impl LeaseEvent {
    /// The key that it is about.
    pub fn key(&self) -> OriginKey {
        match self {
            LeaseEvent::Granted { key }
            | LeaseEvent::Held { key }
            | LeaseEvent::Published { key, .. }
            | LeaseEvent::Refused { key } => *key,
        }
    }
}
