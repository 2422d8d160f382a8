//! What the beacon is sent over: a network, or one that tests make up.

use std::net::SocketAddr;

/// What comes of waiting for a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A packet from an address that is in a network of this machine.
    Packet(Vec<u8>, SocketAddr),
    /// This machine is in other networks than before.
    Moved,
    /// Nothing comes any more.
    Closed,
}

/// Sends to everyone in the local network, and hears what they send.
pub trait Link: Send + 'static {
    /// Sends a packet. One that cannot be sent is lost.
    fn send(&mut self, packet: &[u8]);

    /// Waits for something. May be cancelled.
    fn receive(&mut self) -> impl Future<Output = Received> + Send;
}
