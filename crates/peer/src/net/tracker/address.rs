//! Where a tracker is, and who it must be.

use std::net::SocketAddr;

use protocol::{PeerId, Ticket};
use tokio::time::timeout;

use super::WELCOME;

/// Where a tracker is, and who it must prove to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerAddress {
    /// Addresses to try side by side, likeliest first.
    pub addresses: Vec<SocketAddr>,
    /// Its id: the fingerprint that it prints at start.
    pub id: PeerId,
    /// Name and port, as `tracker.example:9999`, if it was named: a name is resolved again when the tracker is gone, since it may
    /// be back at another address.
    pub name: Option<String>,
}

impl TrackerAddress {
    /// Asks the name servers again where it is, if it was named. What they do not know any more may still be right.
    pub async fn resolve_again(&mut self) {
        let Some(name) = &self.name else { return };
        if let Ok(Ok(found)) = timeout(WELCOME, tokio::net::lookup_host(name)).await {
            let found: Vec<_> = found.collect();
            if !found.is_empty() {
                self.addresses = found;
            }
        }
    }
}

impl From<&Ticket> for TrackerAddress {
    fn from(ticket: &Ticket) -> Self {
        TrackerAddress { addresses: ticket.addresses().to_vec(), id: ticket.tracker(), name: None }
    }
}
