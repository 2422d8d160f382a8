//! New tickets for what is shared: when this machine, its router or a tracker is at other addresses than the tickets from before say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use peer::{TrackerAddress, TrackerStatus};
use protocol::{MAX_TICKET_TRACKERS, PeerId};
use transport::{Likelihood, OwnAddress};

use super::{Shared, say_no_ticket};
use crate::session::Session;
use crate::session::mapped::MappedPort;
use crate::session::place::{Place, is_better, is_public, is_public_ipv4};

impl Shared {
    /// Tells others where a router forwards the ports of this node.
    pub(super) async fn announce_mapped(&self, session: &Session) {
        let listeners = session.node.listeners();
        let is_peer = |mapped: &&MappedPort| listeners.iter().any(|listener| listener.port() == mapped.port);
        let ports = self.mapped.borrow().ports.clone();
        let addresses = ports.iter().filter(is_peer).map(|mapped| mapped.address).collect();
        session.node.announce_also(addresses).await;
    }

    /// Gives new tickets when those from before lead here no more: this machine has other addresses, or its network is up now; or
    /// when a router lets others in. Says so when it does that no more.
    pub(super) async fn renew(&mut self, session: &Session) {
        let (told, forwarded) = (self.addresses(), self.forwarded());
        let change = Change::of((&told, &forwarded), (&self.told, &self.forwarded));
        let sentence = match change {
            Change::None => return,
            Change::Moved => {
                "This machine has other addresses now. Tickets from before may not lead here any more; these do:"
            }
            Change::Opened => "The router lets others in now. These tickets lead here from other networks, too:",
            Change::Reopened => {
                "The router is reached at another address or port now. Tickets from before lead here from this network alone; these \
                 lead here from others, too:"
            }
            Change::Closed => {
                let why = self.mapped.borrow().reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                session.note(&format!(
                    "The router lets nobody in any more{why}. Until it does, the tickets above lead here from this network alone."
                ));
                (self.told, self.forwarded, self.said_near) = (told, forwarded, true);
                return;
            }
        };
        (self.told, self.forwarded) = (told, forwarded);
        self.give_all(session, sentence).await;
    }

    /// Gives new tickets for everything.
    async fn give_all(&mut self, session: &Session, sentence: &str) {
        if self.contents.is_empty() {
            return;
        }
        session.note(sentence);
        for number in 0..self.contents.len() {
            // What was stopped meanwhile has no name any more.
            if let Some(name) = session.called(self.contents[number].0)
                && let Err(failure) = self.give_ticket(session, number, Some(&name)).await
            {
                say_no_ticket(session, failure);
            }
        }
    }

    /// Gives new tickets when a tracker elsewhere is at other addresses than those from before say.
    pub(super) async fn follow(&mut self, session: &Session, joined: &[TrackerStatus]) {
        let Some((first, others)) = apart(&mut self.named, joined) else { return };
        let before = places(self.place.known(), self.tracker, &self.others);
        if !has_moved(&before, &places(&first.addresses, first.id, &others)) {
            return;
        }
        (self.place, self.others) = (Place::Known(first.addresses), others);
        self.told = self.addresses();
        let who = if self.others.is_empty() { "The" } else { "A" };
        let sentence = format!(
            "{who} tracker is at another address now. Tickets from before may not lead there any more; these do:"
        );
        self.give_all(session, &sentence).await;
    }

    /// Says once that nobody elsewhere gets here, where that is so.
    pub(super) fn say_if_near(&mut self, session: &Session) {
        if let Some(sentence) = self.only_near().filter(|_| !self.said_near) {
            session.note(&sentence);
            self.said_near = true;
        }
    }

    /// That nobody elsewhere gets here, and what to do, where the router was asked to let others in and does not.
    fn only_near(&self) -> Option<String> {
        let mapped = self.mapped.borrow();
        let reason = mapped.reason.as_ref().filter(|_| mapped.asked && matches!(self.place, Place::Here(_)))?;
        let way_out = self.told.iter().find(|own| own.likelihood == Likelihood::DefaultRoute)?;
        if way_out.address.is_ipv6() || self.told.iter().any(is_public_ipv4) {
            return None;
        }
        let them = if self.contents.len() == 1 { "This ticket leads" } else { "These tickets lead" };
        let over_ipv6 = self.told.iter().any(|own| is_public(own.address.ip()));
        let from = if over_ipv6 { "from other networks over IPv6 at most" } else { "from this network alone" };
        let port = way_out.address.port();
        Some(format!(
            "{them} here {from}: {reason}. For others, share with -i and a tracker that they reach; or forward port {port} in the \
             router, UDP and TCP, and give its public address with --ticket-address."
        ))
    }
}

/// What has become of the tickets that were given.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// They lead here as before.
    None,
    /// They may not lead here any more, and others do.
    Moved,
    /// Others lead here from other networks, too.
    Opened,
    /// They lead here from other networks no more, and others do.
    Reopened,
    /// They lead here from other networks no more, and no others do.
    Closed,
}

impl Change {
    /// By the addresses in tickets, and those of them at which a router forwards the tracker's port: as they are, and as they were.
    fn of(
        (told, forwarded): (&[OwnAddress], &[SocketAddr]),
        (old, old_forwarded): (&[OwnAddress], &[SocketAddr]),
    ) -> Self {
        let is_gone = !old_forwarded.is_empty() && !old_forwarded.iter().any(|address| forwarded.contains(address));
        // A machine whose network is down for a moment has no router to speak of.
        let is_up = || told.iter().any(|own| own.likelihood == Likelihood::DefaultRoute);
        if is_better(told, old) {
            Change::Moved
        } else if is_gone && !forwarded.is_empty() {
            Change::Reopened
        } else if is_gone && is_up() {
            Change::Closed
        } else if forwarded.iter().any(|address| !old_forwarded.contains(address)) {
            Change::Opened
        } else {
            Change::None
        }
    }
}

/// The trackers elsewhere, as they are told apart by what is known of those that were joined, the first one and the others. Where they are is
/// kept in `named`: of those that are gone now, it is known no better.
pub(in crate::commands::share) fn apart(
    named: &mut [TrackerAddress],
    joined: &[TrackerStatus],
) -> Option<(TrackerAddress, Vec<TrackerAddress>)> {
    let each = named.iter_mut().flat_map(|tracker| {
        let apart = tracker.told_apart(joined);
        tracker.addresses = apart.iter().flat_map(|one| one.addresses.iter().copied()).collect();
        apart
    });
    let mut each: Vec<_> = each.take(MAX_TICKET_TRACKERS).collect();
    if each.is_empty() {
        return None;
    }
    let first = each.remove(0);
    Some((first, each))
}

/// Where each tracker of a ticket is. Several may have one id.
fn places(first: &[SocketAddr], id: PeerId, others: &[TrackerAddress]) -> BTreeMap<PeerId, BTreeSet<SocketAddr>> {
    let mut places: BTreeMap<PeerId, BTreeSet<SocketAddr>> = BTreeMap::new();
    places.entry(id).or_default().extend(first);
    for other in others {
        places.entry(other.id).or_default().extend(&other.addresses);
    }
    places
}

/// Whether one of the trackers is at none of the addresses at which it was.
fn has_moved(before: &BTreeMap<PeerId, BTreeSet<SocketAddr>>, now: &BTreeMap<PeerId, BTreeSet<SocketAddr>>) -> bool {
    before.iter().any(|(id, old)| now.get(id).is_some_and(|new| !new.is_empty() && new.is_disjoint(old)))
}

#[cfg(test)]
mod tests {
    use Likelihood::{DefaultRoute, Network};

    use super::super::fixtures::{at, shared};
    use super::*;
    use crate::session::mapped::Mapped;

    #[test]
    fn that_nobody_elsewhere_gets_here_is_said_where_a_router_was_asked() {
        let refused = Mapped { asked: true, reason: Some("it says no".to_owned()), ..Mapped::default() };
        let said = |told: &[OwnAddress], mapped: &Mapped| shared(told, mapped.clone()).only_near();
        let (home, inner) = (at("192.168.1.5:9999", DefaultRoute), at("172.17.0.1:9999", Likelihood::Inner));
        let sentence = said(&[home], &refused).unwrap();
        assert!(sentence.starts_with("This ticket leads here from this network alone: it says no."), "{sentence}");
        assert!(sentence.contains("port 9999") && sentence.contains("-i"), "{sentence}");
        let over_ipv6 = said(&[home, at("[2001:db8::5]:9999", DefaultRoute)], &refused).unwrap();
        assert!(over_ipv6.contains("over IPv6 at most"), "{over_ipv6}");
        let (public, not_asked) = (at("203.0.113.7:9999", Network), Mapped { reason: None, ..refused.clone() });
        assert_eq!(said(&[home], &Mapped::default()), None, "it has not answered yet");
        assert_eq!(said(&[home], &not_asked), None);
        assert_eq!(said(&[home, public], &refused), None);
        assert_eq!(said(&[inner], &refused), None, "there is no other network");
        let elsewhere = Shared { place: Place::Told(vec![home.address]), ..shared(&[home], refused) };
        assert_eq!(elsewhere.only_near(), None, "somebody has said where it is");
    }

    #[test]
    fn what_becomes_of_tickets_follows_from_the_router_and_the_network() {
        let (home, moved) = (at("192.168.1.5:9", DefaultRoute), at("10.0.0.5:9", DefaultRoute));
        let (bridge, port) = (at("172.17.0.1:9", Likelihood::Inner), |n: u16| SocketAddr::from(([203, 0, 113, 7], n)));
        let of = |new: (&[OwnAddress], &[SocketAddr]), old: &[SocketAddr]| Change::of(new, (&[home], old));
        assert_eq!(of((&[home], &[]), &[]), Change::None);
        assert_eq!(of((&[home], &[port(1)]), &[]), Change::Opened);
        assert_eq!(of((&[home], &[port(1)]), &[port(1)]), Change::None);
        assert_eq!(of((&[home], &[port(1), port(2)]), &[port(1)]), Change::Opened);
        assert_eq!(of((&[home], &[port(2)]), &[port(1)]), Change::Reopened);
        assert_eq!(of((&[home], &[]), &[port(1)]), Change::Closed);
        assert_eq!(of((&[moved], &[]), &[port(1)]), Change::Moved);
        assert_eq!(of((&[bridge], &[]), &[port(1)]), Change::None, "its network is down, and may be back");
    }

    #[test]
    fn a_tracker_has_moved_if_it_is_nowhere_where_it_was() {
        let id = |name: &str| PeerId::of_public_key(name.as_bytes());
        let places = |all: &[(&str, &[&str])]| {
            let of = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
            let other = |(name, at): &(&str, &[&str])| TrackerAddress { addresses: of(at), id: id(name), name: None };
            let others: Vec<_> = all[1..].iter().map(other).collect();
            super::places(&of(all[0].1), id(all[0].0), &others)
        };
        let [one, two, three] = ["45.10.1.1:9", "45.10.1.2:9", "45.10.1.3:9"];
        let moved = |before: &[(&str, &[&str])], now: &[(&str, &[&str])]| has_moved(&places(before), &places(now));
        assert!(moved(&[("a", &[one])], &[("a", &[two])]));
        assert!(!moved(&[("a", &[one])], &[("a", &[one, two])]));
        assert!(moved(&[("a", &[one]), ("b", &[two])], &[("a", &[one]), ("b", &[three])]));
        // Replicas behind one name have one id.
        assert!(!moved(&[("a", &[one]), ("a", &[two])], &[("a", &[three]), ("a", &[two])]));
        assert!(!moved(&[("a", &[one])], &[("a", &[])]), "nobody knows where it is");
    }
}
