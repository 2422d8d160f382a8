//! A connection as its holders see it: streams are opened and accepted here, and the control connection's task is started.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::PeerId;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsStream;

use super::connection_core::{Arrivals, ConnectionHold, ConnectionKind, Core, End, STREAMS, Share};
use super::dial::Dialler;
use super::pending_frames::ControlFrame;
use super::socket::Socket;
use super::sole::Sole;
use super::{control, stream};
use crate::pipe_stream::{Carrier, PipeRecv, PipeSend};
use crate::{BoxFuture, Connection, LinkStats, RELAY, Stream, TransportError};

/// The handle; the connection is closed when the last one is gone.
pub(super) struct TcpConnection {
    held: Arc<ConnectionHold>,
    remote: SocketAddr,
    relayed: bool,
    dialled: bool,
    /// Nothing where no stream connections come.
    streams: Option<Box<Streams>>,
}

/// What streams on connections of their own need.
struct Streams {
    /// Those that this side may still open.
    places: Arc<Semaphore>,
    arrivals: AsyncMutex<Arrivals>,
}

impl TcpConnection {
    /// A connection over this control connection, whose tasks run on the current thread's runtime.
    pub(super) fn start(
        control: TlsStream<Socket>,
        peer: (PeerId, ConnectionKind),
        share: Share,
        dialler: Option<Dialler>,
        thread: Handle,
        running: watch::Sender<usize>,
    ) -> (Self, Arc<Core>) {
        let (remote, relayed, dialled) = (share.remote, share.relayed, dialler.is_some());
        let (core, arrivals) = Core::new(&control, peer, share, dialler, thread);
        running.send_modify(|running| *running += 1);
        let task = core.clone();
        // Split here: what is handed on as a whole would have its place in the task twice, for as long as that runs.
        let halves = tokio::io::split(control);
        core.spawn(async move {
            control::run(task, halves).await;
            running.send_modify(|running| *running -= 1);
        });
        let held = Arc::new(ConnectionHold(core.clone()));
        let streams = arrivals.map(|arrivals| {
            Box::new(Streams { places: Arc::new(Semaphore::new(STREAMS)), arrivals: AsyncMutex::new(arrivals) })
        });
        (TcpConnection { held, remote, relayed, dialled, streams }, core)
    }
}

impl TcpConnection {
    fn streams(&self) -> Result<&Streams, TransportError> {
        self.streams.as_deref().ok_or(TransportError::Closed)
    }

    fn sole_stream(&self, sole: &Sole) -> Stream {
        let carrier = Arc::new(Control(self.held.clone()));
        let send = PipeSend::new(carrier.clone(), sole.outbound.clone());
        (Box::new(send), Box::new(PipeRecv::new(carrier, sole.inbound.clone())))
    }
}

/// What carries the one stream of a connection that has no others. A stream that is held keeps its connection.
struct Control(Arc<ConnectionHold>);

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
        self.0.0.frames.add(ControlFrame::Stop(code));
    }
}

impl Connection for TcpConnection {
    fn peer_id(&self) -> PeerId {
        self.held.0.peer
    }

    fn transport(&self) -> &'static str {
        if self.relayed { RELAY } else { "tcp" }
    }

    fn remote_addr(&self) -> SocketAddr {
        SocketAddr::new(self.remote.ip().to_canonical(), self.remote.port())
    }

    fn exporter(&self, label: &str) -> Result<[u8; 32], TransportError> {
        self.held.0.exporter(label)
    }

    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async move {
            let core = &self.held.0;
            if let Some(sole) = &core.sole {
                return match self.dialled && sole.take() {
                    true => Ok(self.sole_stream(sole)),
                    false => Err(TransportError::Io("this connection has one stream".to_owned())),
                };
            }
            let opening = async {
                let place = self.streams()?.places.clone().acquire_owned().await.map_err(|_| TransportError::Closed)?;
                Ok::<_, TransportError>((core.stream_connection().await?, place))
            };
            let (connection, place) = tokio::select! {
                biased;
                error = core.ended() => return Err(error),
                opened = opening => opened?,
            };
            let (send, recv) = stream::halves(self.held.clone(), connection, true, None, Some(place));
            Ok((Box::new(send) as _, Box::new(recv) as _))
        })
    }

    fn accept(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async move {
            let core = &self.held.0;
            if let Some(sole) = &core.sole {
                return match !self.dialled && sole.take() {
                    true => Ok(self.sole_stream(sole)),
                    false => Err(core.ended().await),
                };
            }
            let arrived = async { self.streams().ok()?.arrivals.lock().await.recv().await };
            let (connection, first) = tokio::select! {
                biased;
                error = core.ended() => return Err(error),
                arrived = arrived => arrived.ok_or(TransportError::Closed)?,
            };
            let (send, recv) = stream::halves(self.held.clone(), connection, false, Some(first), None);
            Ok((Box::new(send) as _, Box::new(recv) as _))
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> JoinHandle<()> {
        self.held.0.spawn(task)
    }

    fn stats(&self) -> LinkStats {
        self.held.0.stats()
    }

    fn ping(&self) {
        self.held.0.frames.add(ControlFrame::Ping);
    }

    fn close(&self, code: u32, reason: &str) {
        self.held.0.finish(End::Local { code, reason: reason.to_owned() });
    }

    fn closed(&self) -> BoxFuture<'_, TransportError> {
        Box::pin(self.held.0.ended())
    }
}
