//! A network within the process, for tests.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::link::{Link, Received};
use crate::multicast::PORT;

/// Packets that may wait at one end; others are lost.
const QUEUE: usize = 256;

/// Ends of a network, each with the address that its packets come from.
type Ends = Vec<mpsc::Sender<(Vec<u8>, SocketAddr)>>;

/// A network. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct FakeNetwork(Arc<Mutex<Ends>>);

/// A machine's place in it.
#[derive(Debug)]
pub struct FakeLink {
    network: FakeNetwork,
    address: SocketAddr,
    inbox: mpsc::Receiver<(Vec<u8>, SocketAddr)>,
}

impl FakeNetwork {
    /// A network that nobody is in.
    pub fn new() -> Self {
        FakeNetwork::default()
    }

    /// A machine of this address in it. It hears its own packets, too, as one does by multicast.
    pub fn link(&self, ip: IpAddr) -> FakeLink {
        let (sender, inbox) = mpsc::channel(QUEUE);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        FakeLink { network: self.clone(), address: SocketAddr::new(ip, PORT), inbox }
    }
}

impl Link for FakeLink {
    fn send(&mut self, packet: &[u8]) {
        let mut ends = self.network.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|end| !end.is_closed());
        for end in ends.iter() {
            let _ = end.try_send((packet.to_vec(), self.address));
        }
    }

    async fn receive(&mut self) -> Received {
        self.inbox.recv().await.map_or(Received::Closed, |(packet, from)| Received::Packet(packet, from))
    }
}
