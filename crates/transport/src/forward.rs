//! Transports and connections around others. What counts, delays or watches another one says what it changes, and nothing else: the rest
//! is forwarded here, once.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::PeerId;
use tokio::task::JoinHandle;

use crate::{BoxFuture, Connection, LinkStats, OverRelay, Stream, Transport, TransportError, Whom};

/// A transport around another one.
pub trait ForwardTransport: Send + Sync {
    /// What is forwarded to.
    fn inner(&self) -> &dyn Transport;
    /// What stands for a connection that was dialled or accepted. Nothing goes through relays, where this would not be asked.
    fn around(&self, connection: Arc<dyn Connection>) -> Arc<dyn Connection>;
}

impl<T: ForwardTransport> Transport for T {
    fn name(&self) -> &'static str {
        self.inner().name()
    }

    fn peer_id(&self) -> PeerId {
        self.inner().peer_id()
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        self.inner().listeners()
    }

    fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async move { Ok(self.around(self.inner().reach(addr, whom).await?)) })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async move { Some(self.around(self.inner().accept().await?)) })
    }

    fn over_relay(&self) -> Option<&dyn OverRelay> {
        None
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner().close()
    }
}

/// A connection around another one.
pub trait ForwardConnection: Send + Sync {
    /// What is forwarded to.
    fn inner(&self) -> &dyn Connection;
    /// What stands for a stream, whoever opened it.
    fn stream(&self, stream: Stream) -> Stream {
        stream
    }
    /// The figures that are told instead of these.
    fn figures(&self, stats: LinkStats) -> LinkStats {
        stats
    }
}

impl<C: ForwardConnection> Connection for C {
    fn peer_id(&self) -> PeerId {
        self.inner().peer_id()
    }

    fn transport(&self) -> &'static str {
        self.inner().transport()
    }

    fn remote_addr(&self) -> SocketAddr {
        self.inner().remote_addr()
    }

    fn exporter(&self, label: &str) -> Result<[u8; 32], TransportError> {
        self.inner().exporter(label)
    }

    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async move { Ok(self.stream(self.inner().open().await?)) })
    }

    fn accept(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async move { Ok(self.stream(self.inner().accept().await?)) })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> JoinHandle<()> {
        self.inner().spawn(task)
    }

    fn stats(&self) -> LinkStats {
        self.figures(self.inner().stats())
    }

    fn ping(&self) {
        self.inner().ping();
    }

    fn close(&self, code: u32, reason: &str) {
        self.inner().close(code, reason);
    }

    fn closed(&self) -> BoxFuture<'_, TransportError> {
        self.inner().closed()
    }
}
