//! The one stream of a connection that has no stream connections: it goes over the control connection.
//!
//! So it is between a peer and a tracker, which have one stream between them for as long as they know each other. A second TLS
//! connection would cost a tracker of thousands as much memory again, and as many descriptors and handshakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pipe::Pipe;

/// Bytes that may wait in each direction, for the reader or the socket.
pub(super) const WINDOW: usize = 64 << 10;

/// Between the stream's halves and the control connection's task.
pub(super) struct Sole {
    pub(super) inbound: Arc<Pipe>,
    pub(super) outbound: Arc<Pipe>,
    taken: AtomicBool,
}

impl Sole {
    pub(super) fn new() -> Self {
        Sole { inbound: Pipe::new(WINDOW), outbound: Pipe::new(WINDOW), taken: AtomicBool::new(false) }
    }

    /// True once: its halves are made then.
    pub(super) fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::Relaxed)
    }
}
