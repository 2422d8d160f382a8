//! The one stream of a connection that has no stream connections: it goes over the control connection.
//!
//! So it is between a peer and a tracker, which have one stream between them for as long as they know each other. A second TLS
//! connection would cost a tracker of thousands as much memory again, and as many descriptors and handshakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::connection_core::{ControlFrame, Held};
use crate::pipe::Pipe;
use crate::pipe_stream::{Carrier, PipeRecv, PipeSend};
use crate::{BoxFuture, Stream, TransportError};

/// Bytes that may wait in each direction, for the reader or the socket.
const WINDOW: usize = 64 << 10;

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

    /// The stream, once.
    pub(super) fn take(&self, held: &Arc<Held>) -> Option<Stream> {
        if self.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        let carrier = Arc::new(Control(held.clone()));
        let send = PipeSend::new(carrier.clone(), self.outbound.clone());
        Some((Box::new(send), Box::new(PipeRecv::new(carrier, self.inbound.clone()))))
    }
}

/// A stream that is held keeps its connection.
struct Control(Arc<Held>);

impl Carrier for Control {
    fn end(&self) -> Option<TransportError> {
        self.0.0.end()
    }

    fn ended(&self) -> BoxFuture<'_, TransportError> {
        Box::pin(self.0.0.ended())
    }

    fn said(&self, bytes: usize) {
        self.0.0.count_sent(bytes);
    }

    fn stopped(&self, code: u32) {
        self.0.0.say(ControlFrame::Stop(code));
    }
}
