//! What is received over a connection, of each private content: counted until the other side has all of it or leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use protocol::ContentId;
use tokio::time::Instant;

/// What the other side of a connection receives of a content.
#[derive(Debug)]
pub(super) struct Receiving {
    /// Payload bytes that were sent to it, as its participant counts them, and how many those were when it came.
    pub(super) bytes: Arc<AtomicU64>,
    pub(super) before: u64,
    pub(super) since: Instant,
    /// It wants more of it.
    pub(super) wants: bool,
}

/// What each content's receivers have got over one connection.
pub(super) type Receivers = BTreeMap<ContentId, Receiving>;
