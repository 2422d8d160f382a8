//! All transports of this crate keep every promise of the seam.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::PeerId;
use transport::conformance::{self, Pair};
use transport::{Auto, Config, Identity, MemoryNetwork, Quic, Tcp, Transport};

fn quic(listen: &[&str]) -> Arc<dyn Transport> {
    let listeners = listen.iter().map(|addr| addr.parse().unwrap()).collect();
    let identity = Identity::generate().unwrap();
    Arc::new(Quic::bind(Config::new(identity, listeners)).unwrap())
}

#[tokio::test]
async fn memory_keeps_the_promises() {
    conformance::run(&|| {
        let network = MemoryNetwork::new();
        let peer = |name: &[u8], addr: &str| -> Arc<dyn Transport> {
            let addr: SocketAddr = addr.parse().unwrap();
            Arc::new(network.bind(PeerId::of_public_key(name), vec![addr]).unwrap())
        };
        Pair::new(peer(b"a", "10.0.0.1:9000"), peer(b"b", "10.0.0.2:9000"))
    })
    .await;
}

#[tokio::test]
async fn quic_keeps_the_promises_on_one_thread() {
    conformance::run(&|| Pair::new(quic(&["127.0.0.1:0"]), quic(&["127.0.0.1:0"]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_keeps_the_promises_on_several_threads_and_listeners() {
    conformance::run(&|| {
        Pair::new(quic(&["127.0.0.1:0", "127.0.0.1:0"]), quic(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"]))
    })
    .await;
}

fn tcp(listen: &[&str]) -> Arc<dyn Transport> {
    let listeners = listen.iter().map(|addr| addr.parse().unwrap()).collect();
    Arc::new(Tcp::bind(Config::new(Identity::generate().unwrap(), listeners)).unwrap())
}

#[tokio::test]
async fn tcp_keeps_the_promises_on_one_thread() {
    conformance::run(&|| Pair::new(tcp(&["127.0.0.1:0"]), tcp(&["127.0.0.1:0"]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_keeps_the_promises_on_several_threads_and_listeners() {
    conformance::run(&|| Pair::new(tcp(&["127.0.0.1:0", "127.0.0.1:0"]), tcp(&["127.0.0.1:0", "127.0.0.1:0"]))).await;
}

#[tokio::test]
async fn both_together_keep_the_promises() {
    let auto = || -> Arc<dyn Transport> {
        let listeners = vec!["127.0.0.1:0".parse().unwrap()];
        Arc::new(Auto::bind(Config::new(Identity::generate().unwrap(), listeners)).unwrap())
    };
    conformance::run(&|| Pair::new(auto(), auto())).await;
}
