//! Two sides of an in-process connection and the streams between them.
//!
//! As over QUIC, a stream shows at the other side only once something was said on it, at most
//! [`MAX_STREAMS`] that one side opened live at a time, and a connection that nobody holds any more
//! closes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::lock::lock;
use crate::pipe::Pipe;
use crate::pipe_stream::{Carrier, PipeRecv, PipeSend};
use crate::{BoxFuture, Connection, LinkStats, Stream, TransportError};

/// Streams that one side may have open.
const MAX_STREAMS: usize = 100;
/// Bytes that may wait for the receiver, as over QUIC.
const WINDOW: usize = 2 << 20;

/// How a connection ended.
#[derive(Clone)]
struct Closing {
    by: usize,
    code: u32,
    reason: String,
}

/// What both sides share.
struct Link {
    end: watch::Sender<Option<Closing>>,
    /// Bytes that each side sent.
    sent: [AtomicU64; 2],
    /// Known to both sides alone, as what TLS exports would be.
    exported: [u8; 32],
}

/// One side. Its connection and its streams hold it; when the last of them goes, the connection ends.
pub(super) struct Side {
    link: Arc<Link>,
    /// Which of the two this is.
    me: usize,
    peer_id: PeerId,
    remote: SocketAddr,
    opened: mpsc::Sender<Offer>,
    offered: tokio::sync::Mutex<mpsc::Receiver<Offer>>,
    permits: Arc<Semaphore>,
}

/// A stream on its way to the side that accepts it.
struct Offer {
    to_acceptor: Arc<Pipe>,
    to_opener: Arc<Pipe>,
    permit: Arc<OwnedSemaphorePermit>,
}

/// Both sides of a new connection: who dialled from where, and who was dialled.
pub(super) fn pair(dialer: (PeerId, SocketAddr), listener: (PeerId, SocketAddr)) -> (Arc<Side>, Arc<Side>) {
    let mut exported = [0; 32];
    crate::identity::random(&mut exported);
    let link = Arc::new(Link { end: watch::Sender::new(None), sent: Default::default(), exported });
    // A stream is offered only while it holds a permit, so these queues never overflow.
    let (to_listener, at_listener) = mpsc::channel(MAX_STREAMS);
    let (to_dialer, at_dialer) = mpsc::channel(MAX_STREAMS);
    let side = |me, (peer_id, remote), opened, offered| {
        Arc::new(Side {
            link: link.clone(),
            me,
            peer_id,
            remote,
            opened,
            offered: tokio::sync::Mutex::new(offered),
            permits: Arc::new(Semaphore::new(MAX_STREAMS)),
        })
    };
    (side(0, listener, to_listener, at_dialer), side(1, dialer, to_dialer, at_listener))
}

impl Side {
    /// Ends the connection; only the first end counts.
    pub(super) fn end(&self, code: u32, reason: &str) {
        self.link.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(Closing { by: self.me, code, reason: reason.to_owned() });
            }
            first
        });
    }

    fn error(&self, end: &Closing) -> TransportError {
        if end.by == self.me {
            TransportError::Closed
        } else {
            TransportError::ClosedByPeer { code: end.code, reason: end.reason.clone() }
        }
    }

    fn alive(&self) -> Result<(), TransportError> {
        self.link.end.borrow().as_ref().map_or(Ok(()), |end| Err(self.error(end)))
    }

    async fn ended(&self) -> TransportError {
        let mut end = self.link.end.subscribe();
        // The sender lives in the link, which we hold, so waiting cannot fail.
        match end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone()) {
            Some(end) => self.error(&end),
            None => TransportError::Closed,
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.end(0, "");
    }
}

/// What a stream's halves hold.
struct MemoryStream {
    side: Arc<Side>,
    /// What the other side is shown with the first word.
    offer: Mutex<Option<Offer>>,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl MemoryStream {
    /// Both halves, which send into the first pipe and receive from the second.
    fn halves(
        side: &Arc<Side>,
        (to_other, to_us): (Arc<Pipe>, Arc<Pipe>),
        permit: Arc<OwnedSemaphorePermit>,
        offer: Option<Offer>,
    ) -> Stream {
        let stream = Arc::new(MemoryStream { side: side.clone(), offer: Mutex::new(offer), _permit: permit });
        (Box::new(PipeSend::new(stream.clone(), to_other)), Box::new(PipeRecv::new(stream, to_us)))
    }
}

impl Carrier for MemoryStream {
    fn end(&self) -> Option<TransportError> {
        self.side.alive().err()
    }

    fn ended(&self) -> BoxFuture<'_, TransportError> {
        Box::pin(self.side.ended())
    }

    fn said(&self, bytes: usize) {
        self.side.link.sent[self.side.me].fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(offer) = lock(&self.offer).take() {
            // Fails only when the other side is gone, and then there is nobody to show it to.
            let _ = self.side.opened.try_send(offer);
        }
    }

    fn stopped(&self, _: u32) {}
}

/// The connection as its holder sees it.
pub(super) struct MemoryConnection(pub(super) Arc<Side>);

impl Connection for MemoryConnection {
    fn peer_id(&self) -> PeerId {
        self.0.peer_id
    }

    fn transport(&self) -> &'static str {
        "memory"
    }

    fn remote_addr(&self) -> SocketAddr {
        self.0.remote
    }

    fn exporter(&self, label: &str) -> Result<[u8; 32], TransportError> {
        Ok(crate::identity::exporter_for(label, self.0.link.exported))
    }

    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async {
            let side = &self.0;
            side.alive()?;
            let permit = tokio::select! {
                biased;
                reason = side.ended() => return Err(reason),
                permit = side.permits.clone().acquire_owned() => permit.map_err(|_| TransportError::Closed)?,
            };
            let (to_acceptor, to_opener) = (Pipe::new(WINDOW), Pipe::new(WINDOW));
            let permit = Arc::new(permit);
            let offer =
                Offer { to_acceptor: to_acceptor.clone(), to_opener: to_opener.clone(), permit: permit.clone() };
            Ok(MemoryStream::halves(side, (to_acceptor, to_opener), permit, Some(offer)))
        })
    }

    fn accept(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async {
            let side = &self.0;
            let next = async { side.offered.lock().await.recv().await };
            let offer = tokio::select! {
                biased;
                offer = next => offer,
                reason = side.ended() => return Err(reason),
            };
            // No sender is left: the other side's last handle is gone, which is an end too.
            let Some(Offer { to_acceptor, to_opener, permit }) = offer else { return Err(side.ended().await) };
            Ok(MemoryStream::halves(side, (to_opener, to_acceptor), permit, None))
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> JoinHandle<()> {
        tokio::spawn(task)
    }

    fn stats(&self) -> LinkStats {
        let sent = |side: usize| self.0.link.sent[side].load(Ordering::Relaxed);
        LinkStats {
            rtt: Duration::ZERO,
            sent: sent(self.0.me),
            received: sent(1 - self.0.me),
            lost: 0,
            datagram: None,
            moved: false,
        }
    }

    fn ping(&self) {
        if self.0.alive().is_ok() {
            self.0.link.sent[1 - self.0.me].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn close(&self, code: u32, reason: &str) {
        self.0.end(code, reason);
    }

    fn closed(&self) -> BoxFuture<'_, TransportError> {
        Box::pin(self.0.ended())
    }
}
