//! How peers stand with a content, for somebody who watches it: a tracker asks them, and passes on what they say.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Role;
use crate::PeerId;
use crate::codec::bounded;

/// Most peers of a content in one answer about how they stand; more go into further pages.
pub const MAX_WATCHED: usize = 64;
/// Most peers that one says it receives from.
pub const MAX_SOURCES: usize = 4;
/// Seconds for which a peer says how it stands after it was asked to.
pub const REPORT_SECONDS: u64 = 10;

/// The id that stands among those that are gone when a tracker asks how a peer stands: somebody watches the content. Peers of
/// older versions take it for a peer that they never heard of. It is the hash of a text, and no key has it.
pub fn report_mark() -> PeerId {
    PeerId::of_public_key(b"p2p-fileshare/1 say how you stand")
}

/// Whom a peer receives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedSource {
    /// The peer.
    pub peer: PeerId,
    /// Payload bytes a second.
    pub rate: u64,
}

/// How a peer stands with a content, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PeerProgress {
    /// Pieces that are stored, of those that it wants or shares.
    pub have: u32,
    /// All of these.
    pub pieces: u32,
    /// Their bytes.
    pub size: u64,
    /// Payload bytes a second that it receives and sends.
    pub down: u64,
    /// The same, sent.
    pub up: u64,
    /// From whom most of it comes, most first.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_SOURCES>")]
    pub from: Vec<WatchedSource>,
}

/// A peer that takes part in a content that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedPeer {
    /// The peer.
    pub peer: PeerId,
    /// Where the one who watches would reach it, likeliest first; nothing if nowhere.
    pub address: Option<SocketAddr>,
    /// What it holds.
    pub role: Role,
    /// How it stands, if it has said so lately.
    pub progress: Option<PeerProgress>,
}
