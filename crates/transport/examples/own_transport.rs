//! A transport written outside of the crate: it wraps another one and counts what is sent.
//!
//! It forwards every method by hand, because the traits have no defaults to fall back on, and it
//! runs the conformance suite, which is all that a new transport has to pass.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use p2p_fileshare_transport::conformance::{self, Pair};
use p2p_fileshare_transport::{
    BoxFuture, Connection, LinkStats, MemoryNetwork, OverRelay, PeerId, SendStream, Stream, Transport, TransportError,
};
use tokio::task::JoinHandle;

type Count = Arc<AtomicU64>;
struct Counting(Arc<dyn Transport>, Count);
struct CountingConnection(Arc<dyn Connection>, Count);
struct CountingSend(Box<dyn SendStream>, Count);

fn counted((send, recv): Stream, count: &Count) -> Stream {
    (Box::new(CountingSend(send, count.clone())), recv)
}

impl Transport for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }
    fn peer_id(&self) -> PeerId {
        self.0.peer_id()
    }
    fn listeners(&self) -> Vec<SocketAddr> {
        self.0.listeners()
    }
    fn dial(&self, addr: SocketAddr, expect: PeerId) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let connection = self.0.dial(addr, expect).await?;
            Ok(Arc::new(CountingConnection(connection, self.1.clone())) as _)
        })
    }
    fn dial_anyone(&self, addr: SocketAddr) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let connection = self.0.dial_anyone(addr).await?;
            Ok(Arc::new(CountingConnection(connection, self.1.clone())) as _)
        })
    }
    fn dial_tracker(
        &self,
        addr: SocketAddr,
        expect: PeerId,
    ) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let connection = self.0.dial_tracker(addr, expect).await?;
            Ok(Arc::new(CountingConnection(connection, self.1.clone())) as _)
        })
    }
    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async { Some(Arc::new(CountingConnection(self.0.accept().await?, self.1.clone())) as _) })
    }
    fn over_relay(&self) -> Option<&dyn OverRelay> {
        None
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

impl Connection for CountingConnection {
    fn peer_id(&self) -> PeerId {
        self.0.peer_id()
    }
    fn transport(&self) -> &'static str {
        self.0.transport()
    }
    fn remote_addr(&self) -> SocketAddr {
        self.0.remote_addr()
    }
    fn exporter(&self, label: &str) -> Result<[u8; 32], TransportError> {
        self.0.exporter(label)
    }
    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async { Ok(counted(self.0.open().await?, &self.1)) })
    }
    fn accept(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async { Ok(counted(self.0.accept().await?, &self.1)) })
    }
    fn spawn(&self, task: BoxFuture<'static, ()>) -> JoinHandle<()> {
        self.0.spawn(task)
    }
    fn stats(&self) -> LinkStats {
        self.0.stats()
    }
    fn ping(&self) {
        self.0.ping();
    }
    fn close(&self, code: u32, reason: &str) {
        self.0.close(code, reason);
    }
    fn closed(&self) -> BoxFuture<'_, TransportError> {
        self.0.closed()
    }
}

impl SendStream for CountingSend {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        self.1.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.0.send(data)
    }
    fn finish(&mut self) -> Result<(), TransportError> {
        self.0.finish()
    }
    fn reset(&mut self, code: u32) {
        self.0.reset(code);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let count = Count::default();
    conformance::run(&|| {
        let network = MemoryNetwork::new();
        let peer = |name: &[u8], host: [u8; 4]| -> Arc<dyn Transport> {
            let bound = network.bind(PeerId::of_public_key(name), vec![(host, 9000).into()]);
            Arc::new(Counting(Arc::new(bound.expect("the address is free")), count.clone()))
        };
        Pair::new(peer(b"one", [10, 0, 0, 1]), peer(b"two", [10, 0, 0, 2]))
    })
    .await;
    println!("every promise kept; {} bytes were handed to streams", count.load(Ordering::Relaxed));
}
