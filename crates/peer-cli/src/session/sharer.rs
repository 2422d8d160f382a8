//! The sharer to whom the ticket of a private share leads. The tracker that the ticket names runs in the sharer's process, so where one
//! of them is gone, the other is; and who has pasted a ticket knows of no tracker.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use peer::{PeerId, WaitingFor};
use protocol::Ticket;

/// Whether the sharer is there, and what was said of that.
pub(super) struct Sharer {
    addresses: Vec<IpAddr>,
    is_lost: bool,
    was_told: bool,
}

impl Sharer {
    /// The sharer of a ticket that leads to nobody else's tracker.
    pub(super) fn of(ticket: &Ticket) -> Option<Self> {
        let is_own = ticket.secret().is_some() && ticket.content().is_none();
        let addresses = ticket.addresses().iter().map(|address| address.ip().to_canonical()).collect();
        is_own.then_some(Sharer { addresses, is_lost: false, was_told: false })
    }

    /// The tracker is lost. Something is said of that only if the sharer is missed.
    pub(super) fn lost(&mut self) {
        self.is_lost = true;
    }

    /// The tracker is back: what to say of that.
    pub(super) fn back(&mut self, connected: &BTreeMap<PeerId, SocketAddr>) -> Option<String> {
        self.is_lost = false;
        std::mem::take(&mut self.was_told).then(|| format!("{} is back.", self.name(connected)))
    }

    /// A sentence for a download that waits for nobody else.
    pub(super) fn gone(&self, waiting: &WaitingFor, connected: &BTreeMap<PeerId, SocketAddr>) -> Option<String> {
        let is_alone = matches!(waiting, WaitingFor::Tracker | WaitingFor::Peers { .. } | WaitingFor::Answers { .. });
        let words = || format!("{} has stopped sharing, or is out of reach.", self.name(connected));
        (self.is_lost && is_alone).then(words)
    }

    /// It was said that the sharer is gone.
    pub(super) fn told(&mut self) {
        self.was_told = true;
    }

    /// The address at which the sharer was reached, of those that connected peers have or had.
    fn name(&self, connected: &BTreeMap<PeerId, SocketAddr>) -> String {
        let mut seen = connected.values().map(|address| address.ip().to_canonical());
        let reached = seen.find(|ip| self.addresses.contains(ip)).or(self.addresses.first().copied());
        reached.map_or_else(|| "The sharer".to_owned(), |ip| ip.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(addresses: &[&str]) -> BTreeMap<PeerId, SocketAddr> {
        addresses.iter().map(|at| (PeerId::of_public_key(at.as_bytes()), at.parse().unwrap())).collect()
    }

    #[test]
    fn a_sharer_that_is_gone_is_named_once_it_is_missed() {
        let addresses = ["192.0.2.2", "fd00::2"].map(|ip| ip.parse().unwrap()).to_vec();
        let mut sharer = Sharer { addresses, is_lost: false, was_told: false };
        let (nobody, waiting) = (connected(&[]), WaitingFor::Answers { unanswered: Vec::new() });
        assert_eq!(sharer.gone(&waiting, &nobody), None, "its tracker is there");
        sharer.lost();
        assert_eq!(sharer.back(&nobody), None, "nobody missed it");
        sharer.lost();
        let pieces = WaitingFor::Pieces { from: Vec::new(), unanswered: Vec::new() };
        assert_eq!(sharer.gone(&pieces, &nobody), None, "others are connected");
        let said = |sharer: &Sharer, at: &[&str]| sharer.gone(&waiting, &connected(at)).unwrap();
        assert_eq!(said(&sharer, &[]), "192.0.2.2 has stopped sharing, or is out of reach.");
        let reached = said(&sharer, &["192.0.2.7:1", "[fd00::2]:2"]);
        assert_eq!(reached, "fd00::2 has stopped sharing, or is out of reach.");
        sharer.told();
        assert_eq!(sharer.back(&nobody).unwrap(), "192.0.2.2 is back.");
    }
}
