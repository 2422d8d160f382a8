//! The way to peers: whether those that share something answer at the ports that they announce, or by which other way they are
//! reached.
//!
//! A tracker may be reached while no peer with the content can be: a firewall that lets in the port of a ticket lets in that of a
//! tracker, and not those of peers. Behind a router, both sides have to dial at once, or the tracker carries what they say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use peer::{DialledPeer, Node, PeerEvent, TrackerAddress};
use protocol::{ContentId, ContentMatch, PeerId, Secret, Ticket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use transport::{RELAY, Transport, TransportError};

use super::finding::Finding;
use super::local_network;
use super::network::{LiveConnection, Whom, dial, transports};
use crate::commands::ls;
use crate::error::{ExitCode, Failure};
use crate::session::connect::{self, NamedBy};
use crate::session::patience::Patience;
use crate::session::query::{TrackerQuery, complain};
use crate::session::{bind, family};

/// Contents whose peers are asked for, the newest first, and peers that are tried.
const CONTENTS: usize = 4;
/// The newest contents may all be without anybody who has them, but for no longer than so many pages of the list.
const PAGES: usize = 64;
const PEERS: usize = 8;
/// For so long peers are heard of, and no longer than this after the first.
const HEARD_OF: Duration = Duration::from_secs(3);
const AFTER_FIRST: Duration = Duration::from_millis(500);
/// For so long after the first was heard of, connections to them may take: there may be a relay.
const CONNECTED: Duration = Duration::from_millis(2500);

/// Tries the ports of peers: those of one content, or some of those that the tracker knows.
pub(super) async fn ways_to_peers(
    query: &TrackerQuery,
    trackers: Vec<TrackerAddress>,
    ticket: Option<&Ticket>,
) -> Vec<Finding> {
    let peers = match some_peers(query, trackers, ticket).await {
        Ok(peers) => peers,
        Err(failure) => {
            let is_private = ticket.is_none() && failure.code == ExitCode::Refused;
            let advice =
                if is_private { "If it is a private share, give its ticket: peer-cli doctor TICKET" } else { "" };
            return vec![Finding::bad("peers", failure.code, failure.message, advice)];
        }
    };
    if peers.is_empty() {
        return vec![match ticket {
            Some(_) => Finding::bad(
                "peers",
                ExitCode::NotFound,
                "the tracker knows no peer that has it and that can be dialled from here",
                "Does the machine that the ticket is from still share it?",
            ),
            None => Finding::good("peers", "nobody shares anything there yet: no port to try"),
        }];
    }
    let [udp, tcp] = match transports(query) {
        Ok(transports) => transports,
        Err(failure) => return vec![Finding::bad("peers", failure.code, failure.message, "")],
    };
    let mut tries = JoinSet::new();
    for (peer, met) in peers {
        tries.spawn(try_peer(peer, met, udp.clone(), tcp.clone()));
    }
    let mut tried = tries.join_all().await;
    tried.sort_by_key(|tried| tried.peer.peer);
    udp.close().await;
    tcp.close().await;
    let some = tried.iter().any(|tried| tried.udp.is_ok() || tried.tcp.is_ok() || tried.met.is_some());
    tried.iter().map(|tried| tried.finding(some)).collect()
}

/// Peers that take part in what the tracker knows, or in one content.
async fn some_peers(
    query: &TrackerQuery,
    trackers: Vec<TrackerAddress>,
    ticket: Option<&Ticket>,
) -> Result<Vec<(DialledPeer, Met)>, Failure> {
    // Peers are dialled for a manifest only where it is not here already.
    let nowhere = query.peer.hashes().join("none");
    let private = ticket.is_some_and(|ticket| ticket.secret().is_some());
    let node = bind::bind(&query.peer, 0, 1)?.private(private).hashes(nowhere).output("output").start();
    let peers = async {
        let (mut secret, patience) = (None, Patience::new(None));
        let contents: Vec<ContentId> = match ticket {
            Some(ticket) => {
                let told = connect::join_by_ticket(&node, ticket, patience, &complain).await?.told;
                secret = ticket.secret();
                told.map(|told| told.content).or(ticket.content()).into_iter().collect()
            }
            None => {
                connect::join(&node, trackers, NamedBy::Doctor, patience, &complain).await?;
                let is_seeded = |found: &&ContentMatch| found.seeders + found.others > 0;
                let is_enough = |all: &[ContentMatch]| all.iter().filter(is_seeded).count() >= CONTENTS;
                let shared = ls::pages_until(&node, PAGES, is_enough).await?;
                shared.iter().filter(is_seeded).map(|found| found.content).take(CONTENTS).collect()
            }
        };
        Ok(heard_of(&node, &contents, secret).await)
    };
    let result = peers.await;
    node.shutdown().await;
    result
}

/// What carries a connection that the node itself has had with a peer, if it has: `quic`, `tcp`, or `relay`.
type Met = Option<&'static str>;

/// The peers that are dialled when the manifests of these are asked for, and by which way each was reached. Nothing is downloaded.
async fn heard_of(node: &Node, contents: &[ContentId], secret: Option<Secret>) -> Vec<(DialledPeer, Met)> {
    let (mut asking, mut events) = (JoinSet::new(), node.events());
    for &content in contents {
        let node = node.clone();
        asking.spawn(async move {
            match secret {
                Some(secret) => node.private_manifest(content, secret).await.map(drop),
                None => node.manifest(content).await.map(drop),
            }
        });
    }
    let mut met: BTreeMap<PeerId, &'static str> = BTreeMap::new();
    let until = Instant::now() + if contents.is_empty() { Duration::ZERO } else { HEARD_OF };
    let mut first: Option<Instant> = None;
    loop {
        while let Ok(event) = events.try_recv() {
            if let PeerEvent::Connected { peer, transport, .. } = event {
                let way = met.entry(peer).or_insert(transport);
                // A direct way that is found later is the one that is used.
                if *way == RELAY {
                    *way = transport;
                }
            }
        }
        let dialled = node.dialled();
        if first.is_none() && !dialled.is_empty() {
            first = Some(Instant::now());
        }
        let direct = |peer: &DialledPeer| met.get(&peer.peer).is_some_and(|way| *way != RELAY);
        let is_over = match first {
            None => Instant::now() >= until,
            Some(first) => {
                let since = first.elapsed();
                since >= CONNECTED || (since >= AFTER_FIRST && dialled.iter().all(direct))
            }
        };
        if is_over {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let peers = node.dialled().into_iter().take(PEERS);
    peers
        .map(|peer| {
            let met = met.get(&peer.peer).copied();
            (peer, met)
        })
        .collect()
}

/// How a peer answered.
struct Tried {
    peer: DialledPeer,
    met: Met,
    udp: Result<(), TransportError>,
    tcp: Result<(), TransportError>,
}

async fn try_peer(peer: DialledPeer, met: Met, udp: Arc<dyn Transport>, tcp: Arc<dyn Transport>) -> Tried {
    let over = async |transport: Arc<dyn Transport>| {
        let LiveConnection { connection, .. } = dial(transport, &peer.addresses, peer.peer, Whom::Peer).await?;
        connection.close(0, "only looking");
        Ok(())
    };
    let (udp, tcp) = tokio::join!(over(udp), over(tcp));
    Tried { peer, met, udp, tcp }
}

impl Tried {
    /// What to say of it, where `some` peer can be reached.
    fn finding(&self, some: bool) -> Finding {
        self.finding_where(some, family::lacking(&self.peer.addresses))
    }

    /// The same, where this machine may lack the family of all its addresses.
    fn finding_where(&self, some: bool, lacking: Option<&str>) -> Finding {
        let addresses = &self.peer.addresses;
        let more = if addresses.len() > 1 { format!(" (or at {} more)", addresses.len() - 1) } else { String::new() };
        let at = match addresses.first() {
            Some(address) => format!("{address}{more}"),
            None => "a peer without an address that may be dialled".to_owned(),
        };
        let firewall = "Does a firewall there let that port in? There, -p chooses the port to let in, UDP and TCP";
        match (&self.udp, &self.tcp) {
            (Ok(()), Ok(())) => Finding::good("peer", format!("{at} answers over UDP and TCP")),
            (Err(_), Err(_)) if self.met == Some(RELAY) => Finding::poor(
                "peer",
                format!("{at} is reached through the tracker's relay, and not directly"),
                "A port that is open or forwarded on one of both sides makes it direct",
            ),
            (Err(_), Err(_)) if self.met.is_some() => {
                let carrier = if self.met == Some("tcp") { "TCP" } else { "QUIC" };
                let found = format!("{at} is reached directly over {carrier}, because both sides dial (hole punching)");
                Finding::good("peer", found)
            }
            (Err(_), Ok(())) => Finding::poor(
                "peer",
                format!("{at} answers over TCP, and not over UDP"),
                "Let UDP pass in the firewall, on that port; until then TCP is used",
            ),
            (Ok(()), Err(_)) => Finding::poor(
                "peer",
                format!("{at} answers over UDP, and not over TCP"),
                "Peers in networks that drop UDP will not get through: let TCP pass on the same port",
            ),
            (Err(TransportError::Unreachable(_)), Err(TransportError::Unreachable(_))) => {
                let (found, advice) = match lacking {
                    Some(family) => (
                        format!("{at} is known by {family} alone, and this machine has no {family}"),
                        "A tracker with --relay would carry it, and so would anyone who takes part and has both"
                            .to_owned(),
                    ),
                    None => {
                        (format!("{at} answers neither UDP nor TCP"), local_network::advice_for(addresses, firewall))
                    }
                };
                if some {
                    Finding::poor("peer", found, advice)
                } else {
                    Finding::bad("peer", ExitCode::NobodyHasAPiece, found, advice)
                }
            }
            (Err(error), Err(_)) => {
                let found = format!("{at} is not reached: {error}");
                let advice = "It may have ended or moved a moment ago: try again";
                if some {
                    Finding::poor("peer", found, advice)
                } else {
                    Finding::bad("peer", ExitCode::NobodyHasAPiece, found, advice)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::PeerId;

    use super::*;
    use crate::commands::doctor::finding::Verdict;

    #[test]
    fn a_closed_port_is_bad_where_nobody_else_is_reached() {
        let at = "10.0.0.5:42347".parse().unwrap();
        let peer = || DialledPeer { peer: PeerId::of_public_key(b"peer"), addresses: vec![at] };
        let no = || Err(TransportError::Unreachable(at));
        let verdict = |udp, tcp, some| Tried { peer: peer(), met: None, udp, tcp }.finding_where(some, None).verdict;
        assert_eq!(verdict(Ok(()), Ok(()), true), Verdict::Good);
        assert_eq!(verdict(no(), Ok(()), true), Verdict::Poor);
        assert_eq!(verdict(Ok(()), no(), true), Verdict::Poor);
        assert_eq!(verdict(no(), no(), true), Verdict::Poor);
        assert_eq!(verdict(no(), no(), false), Verdict::Bad(ExitCode::NobodyHasAPiece));
        let met = |met| Tried { peer: peer(), met: Some(met), udp: no(), tcp: no() }.finding(true).verdict;
        assert_eq!((met("quic"), met(RELAY)), (Verdict::Good, Verdict::Poor), "behind a router");
        let said = |lacking| {
            let tried = Tried { peer: peer(), met: None, udp: no(), tcp: no() };
            tried.finding_where(false, lacking).words(None).join(" ")
        };
        let (closed, lacking) = (said(None), said(Some("IPv4")));
        assert!(
            closed.contains("10.0.0.5:42347 answers neither UDP nor TCP") && closed.contains("firewall"),
            "{closed}"
        );
        assert!(lacking.contains("this machine has no IPv4") && !lacking.contains("firewall"), "{lacking}");
    }
}
