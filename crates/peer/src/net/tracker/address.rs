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

    /// The trackers that are up behind its name, of those that a node has joined, wherever that leads by now; if it is one, that one at
    /// all addresses of the name, and if it is none, this one.
    pub fn told_apart(&self, joined: &[TrackerStatus]) -> Vec<Self> {
        let is_one = |one: &&TrackerStatus| {
            one.state == TrackerState::Up && one.name.is_some() && one.name == self.name && one.id.answers_to(self.id)
        };
        let up: Vec<_> = joined.iter().filter(is_one).filter_map(|one| Some((one.at?, &one.leads_to))).collect();
        match up[..] {
            [] => vec![self.clone()],
            [(at, leads_to)] => {
                let addresses = if leads_to.contains(&at) { leads_to.clone() } else { vec![at] };
                vec![TrackerAddress { addresses, ..self.clone() }]
            }
            _ => names::behind(self, &up.iter().map(|(at, _)| *at).collect::<Vec<_>>()),
        }
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
