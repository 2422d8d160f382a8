//! What is received over a connection, of each private content: counted until the other side has all of it or leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::ContentId;
use tokio::time::Instant;

/// What the other side of a connection receives of a content.
#[derive(Debug)]
pub(super) struct Receiving {
    /// Payload bytes that were sent to it, as its participant counts them, and how many those were when it came.
    pub(super) bytes: Arc<AtomicU64>,
    pub(super) before: u64,
    /// How many of them the share knows of, and how many pieces it said that it had then.
    pub(super) told: u64,
    pub(super) had: u32,
    pub(super) since: Instant,
    /// It wants more of it.
    pub(super) wants: bool,
    /// It has said so. It will then say, too, when it has everything: what was handed to the transport may not have come.
    pub(super) says_so: bool,
}

impl Receiving {
    pub(super) fn new(bytes: Arc<AtomicU64>) -> Self {
        let before = bytes.load(Ordering::Relaxed);
        Receiving { bytes, before, told: before, had: 0, since: Instant::now(), wants: true, says_so: false }
    }

    /// Bytes that were sent since the share was told last.
    pub(super) fn new_bytes(&mut self) -> u64 {
        let sent = self.bytes.load(Ordering::Relaxed);
        sent.saturating_sub(std::mem::replace(&mut self.told, sent))
    }

    /// Whether it has more pieces than it said before.
    pub(super) fn grew(&mut self, have: u32) -> bool {
        let grew = have > self.had;
        self.had = have.max(self.had);
        grew
    }
}

/// What each content's receivers have got over one connection.
pub(super) type Receivers = BTreeMap<ContentId, Receiving>;
