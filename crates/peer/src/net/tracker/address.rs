//! Where a tracker is, and who it must be.

use std::net::SocketAddr;

use protocol::{PeerId, Ticket, TicketTracker};

use super::names;
use crate::resolver::{Resolver, of_system};
use crate::tracker_status::{TrackerState, TrackerStatus};

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
        self.resolve_with(&of_system()).await;
    }

    pub(super) async fn resolve_with(&mut self, resolver: &Resolver) {
        let Some(name) = &self.name else { return };
        if let Some(found) = names::look_up(resolver, name).await {
            self.addresses = found;
        }
    }

    /// All trackers of a ticket.
    pub fn all_of(ticket: &Ticket) -> Vec<Self> {
        let of = |tracker: &TicketTracker| TrackerAddress {
            addresses: tracker.addresses.clone(),
            id: tracker.id,
            name: None,
        };
        ticket.trackers().iter().map(of).collect()
    }

    /// The trackers at its addresses: where a name leads to several, each is one of its own.
    pub fn each(&self) -> Vec<Self> {
        match self.name.is_some() && names::are_several(&self.addresses) {
            true => names::behind(self, &self.addresses),
            false => vec![self.clone()],
        }
    }

    /// The trackers that have answered behind its name, of those that a node has joined; if it was one, or none, that is this one at all
    /// of its addresses.
    pub fn told_apart(&self, joined: &[TrackerStatus]) -> Vec<Self> {
        let is_one = |one: &&TrackerStatus| one.state == TrackerState::Up && one.id.answers_to(self.id);
        let up = joined.iter().filter(is_one).filter_map(|one| one.at);
        let up: Vec<_> = up.filter(|at| self.addresses.contains(at)).collect();
        if self.name.is_some() && up.len() > 1 { names::behind(self, &up) } else { vec![self.clone()] }
    }

    /// What to call it in a sentence: its name, or the address where it likeliest is.
    pub fn place(&self) -> String {
        let address = || self.addresses.first().map_or_else(|| self.id.to_string(), SocketAddr::to_string);
        self.name.clone().unwrap_or_else(address)
    }
}

impl From<&Ticket> for TrackerAddress {
    fn from(ticket: &Ticket) -> Self {
        TrackerAddress { addresses: ticket.addresses().to_vec(), id: ticket.tracker(), name: None }
    }
}
