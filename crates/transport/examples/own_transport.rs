//! A transport written outside of the crate: it wraps another one and counts what is sent.
//!
//! It says only what it changes. It runs the conformance suite, which is all that a new transport has to pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use p2p_fileshare_transport::conformance::{self, Pair};
use p2p_fileshare_transport::{
    BoxFuture, Connection, ForwardConnection, ForwardTransport, MemoryNetwork, PeerId, SendStream, Stream, Transport,
    TransportError,
};

type Count = Arc<AtomicU64>;
struct Counting(Arc<dyn Transport>, Count);
struct CountingConnection(Arc<dyn Connection>, Count);
struct CountingSend(Box<dyn SendStream>, Count);

impl ForwardTransport for Counting {
    fn inner(&self) -> &dyn Transport {
        &*self.0
    }
    fn around(&self, connection: Arc<dyn Connection>) -> Arc<dyn Connection> {
        Arc::new(CountingConnection(connection, self.1.clone()))
    }
}

impl ForwardConnection for CountingConnection {
    fn inner(&self) -> &dyn Connection {
        &*self.0
    }
    fn stream(&self, (send, recv): Stream) -> Stream {
        (Box::new(CountingSend(send, self.1.clone())), recv)
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
