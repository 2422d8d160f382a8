//! The messages: peer to peer on the control stream, a request and its answer on a stream of their own, and
//! peer to tracker. Each travels as one length-prefixed frame of at most [`MAX_FRAME`] bytes.
//!
//! Here are the limits and what several messages have in common; the position of a variant is its tag on the wire.

mod peer;
mod tracker;
mod watch;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::PeerId;
use crate::codec::bounded;
pub use peer::{Answer, PeerMessage, ReceiverList, RefusalReason, Request};
pub use tracker::{Announce, ContentMatch, ProvenShare, TrackerEvent, TrackerRequest};
pub use watch::{MAX_SOURCES, MAX_WATCHED, PeerProgress, REPORT_SECONDS, WatchedPeer, WatchedSource, report_mark};

/// Version of the messages; a peer with another one is refused by name in the handshake's reason.
pub const VERSION: u16 = 1;
/// Code with which a tracker ends the connection of a peer that it sees at another address than before: the peer is to connect
/// again at once, since only a handshake proves where it is.
pub const COME_AGAIN: u32 = 2;
/// Code with which a sharer ends connections when its private share is over; the reason is a sentence for people.
pub const SHARE_OVER: u32 = 3;
/// Code with which a sharer's tracker ends the connection of a peer that proves nothing of what is shared yet, while something
/// is still being hashed.
pub const NOT_YET: u32 = 4;
/// What a sharer's tracker says to a peer whose proofs are of nothing that is shared there now. It may be later: a file that was moved
/// away may come back.
pub const NOT_SHARED_NOW: &str = "this share is private, and this ticket opens nothing that is shared there now";
/// How the reason begins with which a sharer's tracker refuses one receiver more than a private share is for. There may be room in a
/// moment: a receiver that broke off has its place until its silence is noticed.
pub const FOR_SO_MANY: &str = "this share is for ";
/// Most bytes of a frame on any stream.
pub const MAX_FRAME: usize = 64 * 1024;
/// Most runs in one message; more go into further messages.
pub const MAX_RUNS: usize = 4096;
/// Most runs of pieces on their way in one message.
pub const MAX_IN_FLIGHT: usize = 1024;
/// Most runs in one offer.
pub const MAX_OFFERS: usize = 256;
/// Most receivers of a private share that are named.
pub const MAX_RECEIVERS: usize = 512;
/// Most bytes of a site's name.
pub const MAX_SITE: usize = 64;
const MAX_PEERS: usize = 64;
const MAX_ADDRESSES: usize = 32;
/// Most contents in one answer of a tracker; more of a list go into further pages.
pub const MAX_MATCHES: usize = 64;

/// A peer and where to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAddress {
    /// Who must answer there.
    pub id: PeerId,
    /// Every address of every listener.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_ADDRESSES>")]
    pub addresses: Vec<SocketAddr>,
}

/// What a peer holds of a content, as trackers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// All pieces.
    Seeder,
    /// It has some pieces and wants no more.
    Partial,
    /// It wants the pieces that it lacks.
    Downloader,
}
