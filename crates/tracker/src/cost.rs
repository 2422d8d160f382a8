//! What things take of the tracker's memory, in bytes.
//!
//! Counted high rather than low: a growing table has room for as many again, and an allocator keeps what was freed.
//! `tests/memory.rs` holds the figures to what is really allocated.

use protocol::{ContentId, PeerId};
use swarm::{Addresses, Introductions};

use crate::pace::Repeats;

/// A connection: its keys, its packets' books, its task, its entries here. `cargo xtask bench tracker` weighs one, and
/// `tests/connection_memory.rs` one over TCP.
pub(crate) fn connection(transport: &str) -> usize {
    if transport == "tcp" { TCP } else { QUIC }
}

const QUIC: usize = 36 << 10;
const TCP: usize = 16 << 10;
/// What a transport may hold of what a connection sends while it is not read: the window that it has.
pub(crate) const UNREAD: usize = 64 << 10;
/// A member of a content: in the registry, and on its connection's list.
const MEMBER: usize = 900;
/// A content, its place in the catalogue, and its name there but for the name's letters.
const CONTENT: usize = 2600;
/// That two members know each other, for both.
const ACQUAINTANCE: usize = 16;
/// How a member stands with a content, while somebody watches.
pub(crate) const PROGRESS: usize = 400;
/// News of a content that wait to be said, and in them a peer.
const NEWS: usize = 200;
const NAMED: usize = 2 * size_of::<PeerId>();

/// A name of a content beside its first, at its longest: the letters are in the registry, and in the catalogue.
const ANOTHER_NAME: usize = 1200;

/// That a peer takes part in a content, and was introduced to others there, each of whom may know it for as long as it is
/// here. A name that it alone gives the content may be one more.
pub(crate) fn membership(introductions: &Introductions) -> usize {
    let known = ACQUAINTANCE * introductions.sample.len().max(introductions.pushes.len());
    MEMBER + known + if introductions.named { ANOTHER_NAME } else { 0 }
}

/// A content of this name. Its only member pays for it.
pub(crate) fn content(name: Option<&str>) -> usize {
    // The letters are in the registry, and in the catalogue.
    CONTENT + name.map_or(0, |name| 3 * name.len())
}

/// Peers that so many bytes have room for, where each takes part in a content of its own: over QUIC, and over TCP.
pub(crate) fn peers(bytes: u64) -> [u64; 2] {
    [QUIC, TCP].map(|connection| bytes / (connection + MEMBER + content(None)) as u64)
}

/// The addresses that a peer announces, once for all its contents.
pub(crate) fn addresses(addresses: &Addresses) -> usize {
    2 * addresses.bytes()
}

/// So many contents that a connection has left and of which that is remembered.
pub(crate) fn left(contents: usize) -> i64 {
    (2 * contents * (size_of::<ContentId>() + size_of::<Repeats>())) as i64
}

/// News of a content that name so many peers and wait to be said.
pub(crate) fn news(peers: usize) -> usize {
    NEWS + peers * NAMED
}

/// A message of so many bytes that is being said: itself, its frame, and what it was made of.
pub(crate) fn message(bytes: usize) -> usize {
    4 * bytes
}

/// A mailbox with what waits for its owner, or what one who opens it has said and hears.
pub(crate) const MAILBOX: usize = 16 << 10;
/// A place of a connection at a key of an origin.
pub(crate) const LEASE: usize = 900;
/// A connection that is told of leases: what waits for it.
pub(crate) const LEASES: usize = 32 << 10;
