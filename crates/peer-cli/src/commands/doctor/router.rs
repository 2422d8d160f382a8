//! What is in front of this machine: a router or a firewall, what it does, and by which way others will be reached.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use peer::{Filtering, Mapping, Reachability, ReachabilityError, reachability};
use transport::{Connection, Transport, TransportError, interface_addresses};

use super::finding::{Finding, Verdict};
use crate::session::mapped::Mapped;
use crate::session::port_mapping::PortMapping;

/// A router that forwards ports has said so within this time.
const ROUTER: Duration = Duration::from_secs(6);

/// How the tracker was reached, by one transport and by the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Over {
    pub(super) udp: bool,
    pub(super) tcp: bool,
}

/// What was found.
pub(super) struct Probed {
    pub(super) findings: Vec<Finding>,
    /// Whether others reach the tracker over UDP; nothing if it does not say.
    pub(super) udp_works: Option<bool>,
}

/// Finds out, by the connection to the tracker that stands.
pub(super) async fn in_front(
    connection: &dyn Connection,
    over: Over,
    [udp, tcp]: [Arc<dyn Transport>; 2],
    asks_router: bool,
) -> Probed {
    let listeners = udp.listeners();
    let own: Vec<IpAddr> = interface_addresses(&listeners).iter().map(|own| own.ip().to_canonical()).collect();
    let found = reachability(connection, udp, tcp).await;
    let mapped = match &found {
        // Nobody in front translates anything, so there is nothing to forward.
        Ok(found) if own.contains(&found.seen.ip()) => None,
        Ok(_) | Err(_) if asks_router => Some(ask_router(&listeners).await),
        _ => None,
    };
    let udp_works = found.as_ref().ok().map(|found| found.udp_works);
    Probed { findings: judge(found.as_ref(), &own, over, mapped.as_ref()), udp_works }
}

/// Asks for a port, and gives it back.
async fn ask_router(listeners: &[std::net::SocketAddr]) -> Mapped {
    let mapping = PortMapping::of(listeners);
    mapping.asked(ROUTER).await;
    let mapped = mapping.mapped().borrow().clone();
    mapping.end().await;
    mapped
}

/// What to say of all that.
fn judge(
    found: Result<&Reachability, &ReachabilityError>,
    own: &[IpAddr],
    over: Over,
    mapped: Option<&Mapped>,
) -> Vec<Finding> {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let found = match error {
                ReachabilityError::Refused(_) => {
                    "the tracker of a private share does not test routers: ask another with `peer-cli doctor HOST`"
                        .to_owned()
                }
                error => error.to_string(),
            };
            let mut findings = vec![Finding::skipped("router", found)];
            findings.extend(mapped.map(|mapped| forwarding(mapped, None)));
            return findings;
        }
    };
    if found.seen.ip().is_loopback() {
        let sentence = "the tracker is on this machine and sees no router in front of it: ask one on another machine";
        return vec![Finding::skipped("router", sentence), relay(found.relays)];
    }
    let translated = !own.contains(&found.seen.ip());
    let mut findings = vec![router(found, translated, over), inbound(found, translated, over)];
    findings.extend(mapped.map(|mapped| forwarding(mapped, Some(found.seen.ip()))));
    let forwarded = mapped.is_some_and(|mapped| mapped.ports.iter().any(|port| port.address.ip() == found.seen.ip()));
    findings.extend([relay(found.relays), way(found, over, forwarded)]);
    findings
}

/// Whether the tracker carries connections.
fn relay(relays: bool) -> Finding {
    match relays {
        true => Finding::good("relay", "the tracker relays connections between peers that cannot connect directly"),
        false => Finding {
            advice: "Start the tracker with --relay to relay them".to_owned(),
            ..Finding::skipped(
                "relay",
                "the tracker is no relay: peers that cannot connect directly cannot transfer to each other",
            )
        },
    }
}

/// What kind of router it is.
fn router(found: &Reachability, translated: bool, over: Over) -> Finding {
    let at = found.seen.ip();
    if !translated {
        return Finding::good("router", format!("no router: the tracker sees this machine's own address, {at}"));
    }
    if !over.udp {
        return Finding::skipped(
            "router",
            format!("behind a router at {at}; without UDP its type cannot be determined"),
        );
    }
    let how_far = match found.two_addresses {
        true => "",
        false => ", as far as two ports of the tracker show",
    };
    match found.mapping {
        Some(Mapping::EndpointIndependent) => Finding::good(
            "router",
            format!(
                "behind a router at {at} that maps a port to the same public port for every destination \
                 (endpoint-independent mapping{how_far}): two machines behind such routers connect directly"
            ),
        ),
        Some(Mapping::AddressDependent | Mapping::AddressAndPortDependent) => {
            let (each, name) = match found.mapping {
                Some(Mapping::AddressDependent) => ("address", "address-dependent"),
                _ => ("address and port", "address- and port-dependent"),
            };
            Finding::poor(
                "router",
                format!(
                    "behind a symmetric router at {at}: it maps a port to another public port for each {each} ({name} \
                     mapping), so peers cannot know in advance where to reach this machine"
                ),
                "Forward a port in the router, or enable UPnP or PCP there; else only open ports are reached directly",
            )
        }
        _ => Finding::poor(
            "router",
            format!(
                "behind a router at {at}; its port mapping could not be tested, because no other port of the tracker \
                 was reached"
            ),
            "It may be symmetric, or the tracker's firewall lets in only one port; all ways are tried anyway",
        ),
    }
}

/// Whom it lets in unasked, or a firewall if there is no router.
fn inbound(found: &Reachability, translated: bool, over: Over) -> Finding {
    let who = if translated { "the router" } else { "a firewall, here or on the way," };
    let tcp = if found.tcp { "TCP gets in" } else { "TCP does not" };
    match found.filtering {
        Some(Filtering::EndpointIndependent) => {
            Finding::good("inbound", format!("UDP from everyone gets in (endpoint-independent filtering); {tcp}"))
        }
        Some(Filtering::AddressDependent) if !found.two_addresses && found.tcp && !translated => {
            Finding::good("inbound", "the ports of this machine are open: UDP and TCP get in unasked")
        }
        Some(Filtering::AddressDependent) => {
            let others = match found.two_addresses {
                true => "gets in from addresses that this machine has sent to (address-dependent filtering)",
                false => {
                    "gets in from other ports of the tracker (endpoint-independent or address-dependent filtering)"
                }
            };
            Finding::good("inbound", format!("UDP {others}; {tcp}"))
        }
        Some(_) if translated => Finding::good(
            "inbound",
            format!(
                "{who} lets UDP in only from addresses and ports that this machine has sent to (address- and \
                 port-dependent filtering); {tcp}"
            ),
        ),
        Some(_) => Finding::poor(
            "inbound",
            format!("{who} lets UDP in only from addresses and ports that this machine has sent to; {tcp}"),
            "To be reached by everyone, let in the port that -p names, UDP and TCP",
        ),
        None if found.tcp => Finding::good("inbound", "TCP gets in unasked; UDP was not tried"),
        None if over.tcp => Finding::poor(
            "inbound",
            format!("{who} lets nobody in over TCP"),
            "Without UDP, others are reached only where their port is open, or through a relay",
        ),
        None => Finding::skipped("inbound", "not tried"),
    }
}

/// Whether the router forwards a port when it is asked. The tracker may see this machine at another address than the router says.
fn forwarding(mapped: &Mapped, seen: Option<IpAddr>) -> Finding {
    let by = mapped.by.unwrap_or("some protocol");
    match (mapped.ports.first(), &mapped.reason) {
        (Some(port), _) => {
            let at = port.address.ip();
            if let Some(seen) = seen.filter(|seen| seen.is_ipv4() == at.is_ipv4() && *seen != at) {
                return Finding::poor(
                    "mapping",
                    format!(
                        "the router forwards a port when it is asked ({by}), but at {at}, and the tracker sees this machine at {seen}: \
                         another router or a VPN is in front, so that nobody reaches that port from outside"
                    ),
                    "Share with -i and a tracker that both sides reach; started with --relay, it carries what cannot be sent directly",
                );
            }
            let found = format!("the router forwards a port when it is asked ({by}): {}, given back now", port.address);
            Finding::good("mapping", format!("{found}. `share` asks for one"))
        }
        (None, Some(reason)) => Finding::skipped("mapping", format!("no port is forwarded on request: {reason}")),
        (None, None) => Finding::skipped("mapping", "no port is forwarded on request: the router has not answered"),
    }
}

/// What transfers will use.
fn way(found: &Reachability, over: Over, forwarded: bool) -> Finding {
    let rest = match found.relays {
        true => "others through the tracker's relay",
        false => "others are not reached",
    };
    let open = !over.udp && found.tcp || over.udp && found.filtering == Some(Filtering::EndpointIndependent);
    let udp_open = matches!(found.filtering, Some(Filtering::AddressDependent)) && !found.two_addresses && found.tcp;
    let (verdict, found) = if !over.udp {
        let sentence = match found.tcp {
            true => format!("TCP, directly with everyone who can use it; {rest}"),
            false => format!("TCP, directly where the other side's port is open; {rest}"),
        };
        (if found.relays || found.tcp { Verdict::Good } else { Verdict::Poor }, sentence)
    } else if open || udp_open {
        (Verdict::Good, "QUIC, directly with everyone, as this machine's ports are reached".to_owned())
    } else {
        let (verdict, sentence) = match found.mapping {
            Some(Mapping::EndpointIndependent) => (
                Verdict::Good,
                format!(
                    "QUIC, directly where the other side's port is open or its router is not symmetric (both sides \
                     dial at once); {rest}"
                ),
            ),
            _ => (
                if found.relays { Verdict::Good } else { Verdict::Poor },
                format!("QUIC, directly where the other side's port is open; {rest}"),
            ),
        };
        // Nothing but a share asks for it.
        let sentence = match forwarded {
            true => {
                format!("`share` is reached by everyone, as the router forwards its port; anything else: {sentence}")
            }
            false => sentence,
        };
        (verdict, sentence)
    };
    let advice = match verdict {
        Verdict::Poor => {
            "Start the tracker with --relay, forward a port here, or share from a machine with a public address"
        }
        _ => "",
    };
    Finding { name: "way", verdict, found, advice: advice.to_owned() }
}

/// Whose firewall it is, if UDP does not get to the tracker and TCP does.
pub(super) fn whose_firewall(error: &TransportError, udp_works: Option<bool>) -> Finding {
    let found = format!("QUIC does not get through, TCP does: {error}");
    let (found, advice) = match udp_works {
        Some(true) => (
            format!("{found}. Others reach the tracker over UDP, so it is the firewall of this network that drops it"),
            "Let UDP pass in the firewall here; until then TCP is used, or the relay",
        ),
        Some(false) => (
            format!("{found}. Nobody elsewhere has reached the tracker over UDP so far: its own firewall may drop it"),
            "Let UDP pass in the tracker's firewall, on its port; if that is so, in the one here. Until then TCP is used, or the relay",
        ),
        None => {
            (found, "Let UDP pass in the firewall, on the tracker's port and on those of peers; until then TCP is used")
        }
    };
    Finding::poor("udp", found, advice)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::session::mapped::MappedPort;

    const BOTH: Over = Over { udp: true, tcp: true };
    const TCP: Over = Over { udp: false, tcp: true };

    fn seen(mapping: Option<Mapping>, filtering: Option<Filtering>, tcp: bool, relays: bool) -> Reachability {
        let mut found = Reachability::at("192.0.2.1:9000".parse().unwrap());
        (found.mapping, found.filtering, found.tcp, found.relays) = (mapping, filtering, tcp, relays);
        found
    }

    fn way_of(found: &Reachability, over: Over, mapped: Option<&Mapped>) -> (Verdict, String) {
        let findings = judge(Ok(found), &["10.0.0.2".parse().unwrap()], over, mapped);
        let way = findings.into_iter().find(|finding| finding.name == "way").unwrap();
        (way.verdict, way.found)
    }

    #[test]
    fn what_will_be_used_follows_from_router_relay_and_forwarded_ports() {
        use Filtering::{AddressAndPortDependent as Closed, EndpointIndependent as Open};
        let symmetric = Some(Mapping::AddressAndPortDependent);
        let (verdict, said) = way_of(&seen(symmetric, Some(Closed), false, false), BOTH, None);
        assert!(verdict == Verdict::Poor && said.contains("are not reached"), "{said}");
        let (verdict, said) = way_of(&seen(symmetric, Some(Closed), false, true), BOTH, None);
        assert!(verdict == Verdict::Good && said.contains("through the tracker's relay"), "{said}");
        let (verdict, said) = way_of(&seen(symmetric, Some(Closed), false, false), BOTH, Some(&forwards("192.0.2.1")));
        assert!(verdict == Verdict::Poor && said.starts_with("`share` is reached by everyone"), "{said}");
        assert!(said.contains("are not reached") && !said.contains("directly with everyone"), "{said}");
        let (_, said) = way_of(&seen(symmetric, Some(Closed), false, false), BOTH, Some(&forwards("192.0.3.1")));
        assert!(!said.contains("`share`"), "{said}");
        let (_, said) = way_of(&seen(symmetric, Some(Open), false, false), BOTH, None);
        assert!(said.contains("directly with everyone"), "{said}");
        let (verdict, said) = way_of(&seen(None, None, false, true), TCP, None);
        assert!(verdict == Verdict::Good && said.starts_with("TCP") && said.contains("relay"), "{said}");
    }

    /// A router that forwards a port at this address.
    fn forwards(ip: &str) -> Mapped {
        let port = MappedPort { port: 9000, address: SocketAddr::new(ip.parse().unwrap(), 9000) };
        Mapped { ports: vec![port], asked: true, ..Mapped::default() }
    }

    #[test]
    fn a_port_that_is_forwarded_behind_another_router_is_of_no_use() {
        let said = |seen: &str| forwarding(&forwards("192.0.3.1"), Some(seen.parse().unwrap()));
        assert_eq!(said("192.0.3.1").verdict, Verdict::Good);
        assert_eq!(said("2001:db8::1").verdict, Verdict::Good, "it says nothing of IPv4");
        let behind = said("198.51.100.4");
        assert!(behind.verdict == Verdict::Poor && behind.found.contains("sees this machine at 198.51.100.4"));
        assert_eq!(forwarding(&forwards("192.0.3.1"), None).verdict, Verdict::Good);
    }

    #[test]
    fn a_firewall_is_here_where_others_reach_the_tracker_over_udp() {
        let error = TransportError::Unreachable("192.0.2.9:9999".parse().unwrap());
        let said = |udp_works| whose_firewall(&error, udp_works).words(None).join(" ");
        assert!(said(Some(true)).contains("of this network"), "{}", said(Some(true)));
        assert!(said(Some(false)).contains("its own firewall"), "{}", said(Some(false)));
        assert!(said(None).contains("Let UDP pass"), "{}", said(None));
    }

    #[test]
    fn a_tracker_that_cannot_tell_is_said_to() {
        let refused = ReachabilityError::Refused("this share is private: only its ticket opens it".to_owned());
        let findings = judge(Err(&refused), &[], BOTH, None);
        assert!(!format!("{findings:?}").contains("only its ticket"), "who asks has it: {findings:?}");
        let findings = judge(Err(&ReachabilityError::OldTracker), &[], BOTH, None);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].verdict == Verdict::Skipped && findings[0].found.contains("earlier version"));
    }
}
