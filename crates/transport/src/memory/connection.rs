//! Two sides of an in-process connection and the streams between them.
//!
//! As over QUIC, a stream shows at the other side only once something was said on it, at most
//! [`MAX_STREAMS`] that one side opened live at a time, and a connection that nobody holds any more
//! closes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::pipe::{Found, Pipe};
use crate::{BoxFuture, Connection, LinkStats, RecvStream, SendStream, Stream, TransportError};

/// Streams that one side may have open.
const MAX_STREAMS: usize = 100;

/// How a connection ended.
#[derive(Clone)]
struct End {
    by: usize,
    code: u32,
    reason: String,
}

/// What both sides share.
struct Link {
    end: watch::Sender<Option<End>>,
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
                *end = Some(End { by: self.me, code, reason: reason.to_owned() });
            }
            first
        });
    }

    fn error(&self, end: &End) -> TransportError {
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
            let (to_acceptor, to_opener) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
            let offer =
                Offer { to_acceptor: to_acceptor.clone(), to_opener: to_opener.clone(), permit: Arc::new(permit) };
            let send = MemorySend::new(side, to_acceptor, Some(offer), None);
            Ok((Box::new(send) as _, Box::new(MemoryRecv::new(side, to_opener, None)) as _))
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
            let send = MemorySend::new(side, to_opener, None, Some(permit.clone()));
            Ok((Box::new(send) as _, Box::new(MemoryRecv::new(side, to_acceptor, Some(permit))) as _))
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

    fn close(&self, code: u32, reason: &str) {
        self.0.end(code, reason);
    }

    fn closed(&self) -> BoxFuture<'_, TransportError> {
        Box::pin(self.0.ended())
    }
}

/// How far a sender has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    /// A send is under way, or was given up half way.
    Torn,
    Finished,
    Reset(u32),
}

struct MemorySend {
    side: Arc<Side>,
    pipe: Arc<Pipe>,
    /// What the other side is shown with the first word.
    offer: Option<Offer>,
    state: Sending,
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl MemorySend {
    fn new(side: &Arc<Side>, pipe: Arc<Pipe>, offer: Option<Offer>, permit: Option<Arc<OwnedSemaphorePermit>>) -> Self {
        Self { side: side.clone(), pipe, offer, state: Sending::Open, _permit: permit }
    }

    fn usable(&self) -> Result<(), TransportError> {
        match self.state {
            Sending::Open => self.side.alive(),
            Sending::Torn => Err(TransportError::Io("an earlier send on this stream was given up".to_owned())),
            Sending::Finished => Err(TransportError::Io("this stream was finished before".to_owned())),
            Sending::Reset(code) => Err(TransportError::Reset(code)),
        }
    }

    fn show(&mut self) {
        if let Some(offer) = self.offer.take() {
            // Fails only when the other side is gone, and then there is nobody to show it to.
            let _ = self.side.opened.try_send(offer);
        }
    }

    async fn push_all(&mut self, mut data: Bytes) -> Result<(), TransportError> {
        while !data.is_empty() {
            self.side.alive()?;
            let pushed = self.pipe.push(&mut data)?;
            self.side.link.sent[self.side.me].fetch_add(pushed as u64, Ordering::Relaxed);
            if pushed > 0 {
                self.show();
            } else {
                tokio::select! {
                    reason = self.side.ended() => return Err(reason),
                    () = self.pipe.writable.notified() => {}
                }
            }
        }
        Ok(())
    }
}

impl SendStream for MemorySend {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.usable()?;
            self.state = Sending::Torn;
            let sent = self.push_all(data).await;
            self.state = match &sent {
                Err(TransportError::Reset(code)) => Sending::Reset(*code),
                _ => Sending::Open,
            };
            sent
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        self.usable()?;
        self.pipe.finish();
        self.show();
        self.state = Sending::Finished;
        Ok(())
    }

    fn reset(&mut self, code: u32) {
        if matches!(self.state, Sending::Open | Sending::Torn) {
            self.pipe.reset(code);
            self.show();
            self.state = Sending::Reset(code);
        }
    }
}

impl Drop for MemorySend {
    fn drop(&mut self) {
        self.reset(0);
    }
}

struct MemoryRecv {
    side: Arc<Side>,
    pipe: Arc<Pipe>,
    /// How it ended, so that asking again gives the same answer.
    ended: Option<Result<usize, TransportError>>,
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl MemoryRecv {
    fn new(side: &Arc<Side>, pipe: Arc<Pipe>, permit: Option<Arc<OwnedSemaphorePermit>>) -> Self {
        Self { side: side.clone(), pipe, ended: None, _permit: permit }
    }
}

impl RecvStream for MemoryRecv {
    fn recv<'a>(&'a mut self, buf: &'a mut [u8]) -> BoxFuture<'a, Result<usize, TransportError>> {
        Box::pin(async move {
            if buf.is_empty() {
                return Ok(0);
            }
            if let Some(ended) = &self.ended {
                return ended.clone();
            }
            let outcome = loop {
                // What came before the connection's end is still there to be read.
                match self.pipe.pull(buf) {
                    Found::Bytes(count) => return Ok(count),
                    Found::End => break Ok(0),
                    Found::Reset(code) => break Err(TransportError::Reset(code)),
                    Found::Nothing => {}
                }
                if let Err(reason) = self.side.alive() {
                    break Err(reason);
                }
                tokio::select! {
                    _ = self.side.ended() => {}
                    () = self.pipe.readable.notified() => {}
                }
            };
            self.ended.insert(outcome).clone()
        })
    }

    fn stop(&mut self, code: u32) {
        if self.ended.is_none() {
            self.pipe.stop(code);
            self.ended = Some(Err(TransportError::Reset(code)));
        }
    }
}

impl Drop for MemoryRecv {
    fn drop(&mut self) {
        self.stop(0);
    }
}
