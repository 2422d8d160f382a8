//! Where the tracker of a share is: the addresses in a ticket, and when they are worth a new one.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use transport::{Likelihood, OwnAddress, is_in_a_network, own_addresses};

use crate::session::mapped::MappedPort;

/// Most addresses in a ticket of those that others likely reach, as many as one may have; of those that lead only to
/// containers on this machine, or to itself, no more than the second number, and none beside likelier ones: they would make
/// it long for nothing.
const LIKELY: usize = 16;
const ADDRESSES: usize = 8;

/// Whether an address means something only within a network.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// What to say, before anything else is suspected, where this machine is in no network: its cable is out, or nothing gave it an address.
pub fn no_network() -> Option<&'static str> {
    (is_in_a_network() == Some(false)).then_some("This machine has no address in any network now: is its network on?")
}

/// Where the tracker is.
pub enum Place {
    /// At these addresses, whatever this machine knows.
    Told(Vec<SocketAddr>),
    /// In this process, which listens there.
    Here(Vec<SocketAddr>),
    /// At these addresses, as a name or the user says.
    Known(Vec<SocketAddr>),
    /// At these of loopback, where another program on this machine listens, and nowhere else.
    Loopback(Vec<SocketAddr>),
}

impl Place {
    /// The addresses in a ticket, likeliest first, each once and not too many.
    pub fn for_ticket(&self) -> Vec<OwnAddress> {
        match self {
            Place::Told(all) | Place::Loopback(all) => {
                likeliest(all.iter().map(|&address| elsewhere(address)).collect())
            }
            Place::Here(listening) => without_needless_ipv6(likeliest(own_addresses(listening)), false),
            Place::Known(known) => {
                // Who has both families proves both to such a tracker, and is found by peers that have either.
                let mut told = without_needless_ipv6(likeliest(seen_from_elsewhere(known)), true);
                // A tracker on this machine may listen on loopback alone.
                let here =
                    known.iter().filter(|address| address.ip().is_loopback()).min_by_key(|address| address.is_ipv6());
                if let Some(&here) = here.filter(|here| told.iter().all(|own| own.address != **here)) {
                    told.truncate(LIKELY - 1);
                    told.push(elsewhere(here));
                }
                told
            }
        }
    }
}

impl Place {
    /// Where the tracker is, as a name or the user says.
    pub fn known(&self) -> &[SocketAddr] {
        match self {
            Place::Known(known) | Place::Loopback(known) => known,
            Place::Told(_) | Place::Here(_) => &[],
        }
    }

    /// Where others reach this machine likeliest, if the tracker is known by loopback alone and need not listen there.
    pub fn beside_loopback(&self) -> Option<SocketAddr> {
        let Place::Known(known) = self else { return None };
        let is_elsewhere = |address: &SocketAddr| !address.ip().is_loopback();
        let likeliest = || self.for_ticket().first().map(|own| own.address);
        if known.iter().any(is_elsewhere) { None } else { likeliest().filter(is_elsewhere) }
    }

    /// Where a router forwards the tracker's port, of all that it forwards.
    pub fn forwarded(&self, mapped: &[MappedPort]) -> Vec<SocketAddr> {
        let Place::Here(listening) = self else { return Vec::new() };
        let is_tracker = |mapped: &&MappedPort| listening.iter().any(|listener| listener.port() == mapped.port);
        mapped.iter().filter(is_tracker).map(|mapped| mapped.address).collect()
    }

    /// The addresses in a ticket where a router forwards these ports, too.
    pub fn with_mapped(&self, mapped: &[MappedPort]) -> Vec<OwnAddress> {
        let (mut all, mapped) = (self.for_ticket(), self.forwarded(mapped));
        // Of those of this machine, the likeliest stay.
        all.truncate(LIKELY.saturating_sub(mapped.len()));
        all.retain(|own| !mapped.contains(&own.address));
        all.extend(mapped.into_iter().map(elsewhere));
        all
    }
}

/// Whether others reach this machine at these addresses, and not at those any more. What counts are the likeliest ones: bridges
/// of containers stay wherever a machine goes.
pub fn is_better(new: &[OwnAddress], old: &[OwnAddress]) -> bool {
    let likeliest = |all: &[OwnAddress]| all.iter().map(|own| own.likelihood).min().unwrap_or(Likelihood::Loopback);
    let (now, before) = (likeliest(new), likeliest(old));
    let is_still_there = |own: &OwnAddress| new.iter().any(|other| other.address == own.address);
    let holds = old.iter().any(|own| own.likelihood == before && is_still_there(own));
    // Several networks may be as good as the one with the default route.
    let reaches = |likelihood: Likelihood| likelihood <= Likelihood::Network;
    now != Likelihood::Loopback && (reaches(now) || now <= before) && (!holds || (reaches(now) && !reaches(before)))
}

/// An address that may be another machine's.
fn elsewhere(address: SocketAddr) -> OwnAddress {
    let loopback = address.ip().to_canonical().is_loopback();
    OwnAddress { address, likelihood: if loopback { Likelihood::Loopback } else { Likelihood::Network } }
}

/// Where a tracker at these addresses is, as seen from elsewhere. Loopback is another machine for somebody who reads it there, so
/// the addresses of this one come with it.
fn seen_from_elsewhere(found: &[SocketAddr]) -> Vec<OwnAddress> {
    let mut addresses: Vec<_> = found.iter().map(|&address| elsewhere(address)).collect();
    for address in found.iter().filter(|address| address.ip().is_loopback()) {
        let everywhere = if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        addresses.extend(own_addresses(&[SocketAddr::new(everywhere, address.port())]));
    }
    addresses
}

/// The addresses that others likeliest reach, each once and not too many. Loopback only makes a ticket longer where there is any
/// other: it leads to this machine as well.
fn likeliest(mut addresses: Vec<OwnAddress>) -> Vec<OwnAddress> {
    // IPv4 first: where both lead to it, it is the one that works in more networks.
    addresses.sort_by_key(|own| (own.likelihood, own.address.is_ipv6()));
    let mut seen = HashSet::new();
    addresses.retain(|own| seen.insert(own.address));
    let likely = addresses.iter().take_while(|own| own.likelihood <= Likelihood::Network).count();
    addresses.truncate(if likely > 0 { likely.min(LIKELY) } else { ADDRESSES });
    addresses
}

/// An address of IPv6 makes a ticket longer by a third. Where there is one of IPv4, the networks of this machine need no other;
/// the first that leads here from everywhere stays, beside one of IPv4 that does if it is to.
fn without_needless_ipv6(mut addresses: Vec<OwnAddress>, beside: bool) -> Vec<OwnAddress> {
    if addresses.iter().all(|own| own.address.is_ipv6()) {
        return addresses;
    }
    let mut global = !beside && addresses.iter().any(is_public_ipv4);
    let is_first =
        |own: &OwnAddress, global: &mut bool| is_public(own.address.ip()) && !std::mem::replace(global, true);
    addresses.retain(|own| own.address.is_ipv4() || is_first(own, &mut global));
    addresses
}

/// Whether an address leads to the same machine from everywhere.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(is_translated(ip) || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()),
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}

/// Whether it is one of IPv4, which works in more networks.
pub fn is_public_ipv4(own: &OwnAddress) -> bool {
    own.address.is_ipv4() && is_public(own.address.ip())
}

/// Whether an address is translated on the way out: it is private (RFC 1918), or between a router and the provider's (RFC 6598, and
/// RFC 6333 for those that have IPv4 over IPv6), or of a test network (RFC 2544).
pub fn is_translated(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private() || (a == 100 && b & 0xc0 == 64) || (a, b, c) == (192, 0, 0) || (a == 198 && b & 0xfe == 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ticket(all: &[(&str, Likelihood)]) -> Vec<String> {
        let own = |&(text, likelihood): &(&str, Likelihood)| OwnAddress { address: text.parse().unwrap(), likelihood };
        likeliest(all.iter().map(own).collect()).iter().map(|own| own.address.to_string()).collect()
    }

    fn told(place: &Place) -> Vec<SocketAddr> {
        place.for_ticket().iter().map(|own| own.address).collect()
    }

    #[test]
    fn a_ticket_has_each_likely_address_once() {
        let found = parse(&["127.0.0.1:9", "[2001:db8::1]:9", "10.0.0.1:9", "10.0.0.1:9"]);
        assert_eq!(told(&Place::Told(found)), parse(&["10.0.0.1:9", "[2001:db8::1]:9"]));
        assert_eq!(told(&Place::Told(parse(&["127.0.0.1:9"]))), parse(&["127.0.0.1:9"]), "if there is no other");
    }

    #[test]
    fn container_bridges_never_push_the_way_out_from_a_ticket() {
        use Likelihood::{DefaultRoute, Inner, Loopback, Network};
        let bridges: Vec<_> = (16..28).map(|n| format!("172.{n}.0.1:9")).collect();
        let mut all: Vec<_> = bridges.iter().map(|text| (text.as_str(), Inner)).collect();
        all.extend([("127.0.0.1:9", Loopback), ("[2001:db8::1]:9", Network), ("10.9.9.1:9", DefaultRoute)]);
        let told = ticket(&all);
        assert_eq!(told, ["10.9.9.1:9", "[2001:db8::1]:9"]);
        // As many real ones as a ticket may have.
        let real: Vec<_> = (0..20).map(|n| format!("10.0.{n}.1:9")).collect();
        assert_eq!(ticket(&real.iter().map(|text| (text.as_str(), Network)).collect::<Vec<_>>()).len(), LIKELY);
        assert_eq!(ticket(&all[..3]).len(), 3, "where there are only bridges, they are told");
    }

    #[test]
    fn ipv6_is_in_a_ticket_only_where_it_leads_further() {
        let kept_beside = |all: &[&str], beside| {
            let all = parse(all).into_iter().map(elsewhere).collect();
            without_needless_ipv6(all, beside).iter().map(|own| own.address).collect::<Vec<_>>()
        };
        let kept = |all: &[&str]| kept_beside(all, false);
        let (private, public) = ("10.0.0.1:9", "192.0.2.1:9");
        let (local, global, other) = ("[fd00::1]:9", "[2001:db8::1]:9", "[2001:db8::2]:9");
        assert_eq!(kept(&[private, local, global, other]), parse(&[private, global]));
        assert_eq!(kept(&[public, local, global]), parse(&[public]));
        assert_eq!(kept(&[private, public, global]), parse(&[private, public]));
        assert_eq!(kept(&[local, global]), parse(&[local, global]));
        // A tracker of its own is to see both families of who has them.
        assert_eq!(kept_beside(&[public, local, global, other], true), parse(&[public, global]));
        assert_eq!(kept_beside(&[private, local], true), parse(&[private]));
        let named = parse(&[public, global, other]);
        assert_eq!(told(&Place::Known(named.clone())), parse(&[public, global]));
        assert_eq!(told(&Place::Here(named)), parse(&[public]));
    }

    #[test]
    fn only_addresses_that_no_router_translates_are_public() {
        let public = |text: &str| is_public(text.parse().unwrap());
        assert!(["203.0.113.5", "100.128.0.1", "192.0.1.1", "198.20.0.1", "2001:db8::1"].into_iter().all(public));
        let translated = ["10.0.0.1", "192.168.1.5", "172.20.0.1", "100.64.0.1", "192.0.0.2", "198.18.0.1"];
        assert!(!translated.into_iter().any(public));
        assert!(
            !["127.0.0.1", "169.254.0.1", "0.0.0.0", "fd00::1", "fe80::1", "::ffff:10.0.0.1"].into_iter().any(public)
        );
    }

    #[test]
    fn new_tickets_are_given_when_the_old_ones_lead_nowhere() {
        use Likelihood::{DefaultRoute, Inner, Loopback, Network};
        let own = |&(text, likelihood): &(&str, Likelihood)| OwnAddress { address: text.parse().unwrap(), likelihood };
        let better = |new: &[(&str, Likelihood)], old: &[(&str, Likelihood)]| {
            is_better(&new.iter().map(own).collect::<Vec<_>>(), &old.iter().map(own).collect::<Vec<_>>())
        };
        let (here, bridge) = (("127.0.0.1:9", Loopback), ("172.17.0.1:9", Inner));
        let [one, two] = [("10.0.0.1:9", DefaultRoute), ("10.0.0.2:9", DefaultRoute)];
        assert!(better(&[two, here], &[one, here]), "it has moved");
        assert!(better(&[two, here], &[here]), "its network is up");
        assert!(better(&[two, bridge, here], &[one, bridge, here]), "it has moved with a network of containers");
        assert!(better(&[two, bridge, here], &[bridge, here]), "its network is up beside one of containers");
        assert!(!better(&[one, ("10.0.0.2:9", Network)], &[one]), "the old one is still good");
        assert!(!better(&[("10.0.0.1:9", Network), two], &[one]), "the old one is still good on another network");
        assert!(!better(&[here], &[one]), "nobody reaches it now");
        assert!(!better(&[bridge, here], &[one, bridge, here]), "containers alone reach it now");
        assert!(better(&[("172.18.0.1:9", Inner)], &[bridge]), "there is no other network");
    }

    #[test]
    fn loopback_stands_for_the_addresses_of_this_machine() {
        let known = told(&Place::Known(parse(&["127.0.0.1:9"])));
        let others = likeliest(own_addresses(&parse(&["0.0.0.0:9"])));
        assert!(others.iter().all(|own| known.contains(&own.address)), "{known:?}");
        assert_eq!(told(&Place::Known(parse(&["10.0.0.1:9"]))), parse(&["10.0.0.1:9"]));
        let alone = Place::Loopback(parse(&["127.0.0.1:9"]));
        assert_eq!((told(&alone), alone.beside_loopback()), (parse(&["127.0.0.1:9"]), None));
        let beside = Place::Known(parse(&["127.0.0.1:9"])).beside_loopback();
        assert_eq!(beside, known.first().copied().filter(|address| !address.ip().is_loopback()));
        assert_eq!(Place::Known(parse(&["127.0.0.1:9", "10.0.0.1:9"])).beside_loopback(), None);
    }
}
