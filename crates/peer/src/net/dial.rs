//! Reaching other peers: which of a peer's addresses are dialled, when, and what comes of it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{PeerAddress, PeerId};
use swarm::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use transport::{Connection, Transport, TransportError};

use crate::config::MOST_ANNOUNCED;
use crate::net::dial_book::DialBook;
use crate::net::dial_filter::nearest_first;
use crate::net::dial_limiter::DialLimiter;
use crate::net::relay::Through;
use crate::report::Report;

/// All addresses of one peer are given up after this long: time for each to have its turn, and for the last to answer.
const DIAL: Duration = Duration::from_secs(8);
/// An address is tried when the one before has not answered for this long (RFC 8305, 8).
const APART: Duration = Duration::from_millis(250);
/// A relay is asked only once no address has answered for this long, or all have failed.
const RELAY_LATER: Duration = Duration::from_millis(700);

/// How a peer is dialled.
pub(crate) enum DialRoute {
    /// At its addresses, and if that takes too long through the relay, if there is one.
    First(Option<Through>),
    /// At its addresses alone, beside a connection through the relay that stands.
    BesideRelay,
}

/// A dial that is under way. It ends when this is dropped: the peer was first.
pub(crate) struct PendingDial {
    _needed: oneshot::Sender<()>,
    further: Option<oneshot::Sender<Vec<SocketAddr>>>,
}

impl PendingDial {
    /// The peer is at these addresses, too: they are tried at once. Further ones only once.
    pub(crate) fn also_at(&mut self, addresses: Vec<SocketAddr>) {
        if let Some(further) = self.further.take() {
            let _ = further.send(addresses); // the dial may be over
        }
    }
}

/// What a dial hears while it is under way.
pub(crate) struct UnderWay {
    unneeded: oneshot::Receiver<()>,
    further: oneshot::Receiver<Vec<SocketAddr>>,
}

/// A dial that is about to begin, and what it hears.
pub(crate) fn pending() -> (PendingDial, UnderWay) {
    let ((needed, unneeded), (further, heard)) = (oneshot::channel(), oneshot::channel());
    (PendingDial { _needed: needed, further: Some(further) }, UnderWay { unneeded, further: heard })
}

/// What it takes to dial peers.
pub(crate) struct Dialler {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) limiter: Arc<DialLimiter>,
    pub(crate) book: Arc<DialBook>,
    /// Whether the tracker has named the peer, or it has given something: others may be made up.
    pub(crate) vouched: bool,
}

impl Dialler {
    /// Tries all addresses of a peer; the first that answers as that peer wins. Where it is reached through a relay meanwhile, its
    /// addresses are tried on. Ends without a word when it is `unneeded`: the peer was first. As nothing is said on a connection
    /// before it is reported, the other side has not let this one in by then.
    pub(crate) async fn dial(
        self,
        (peer, manner): (PeerAddress, DialRoute),
        under_way: UnderWay,
        reports: mpsc::Sender<Report>,
    ) {
        let UnderWay { unneeded, further } = under_way;
        tokio::select! {
            biased;
            () = self.reach(peer, manner, further, reports) => {}
            _ = unneeded => {}
        }
    }

    async fn reach(
        self,
        peer: PeerAddress,
        manner: DialRoute,
        further: oneshot::Receiver<Vec<SocketAddr>>,
        reports: mpsc::Sender<Report>,
    ) {
        let Dialler { transport, limiter, book, vouched } = self;
        let addresses = nearest_first(in_turns(peer.addresses));
        let (through, beside) = match manner {
            DialRoute::First(through) => (through, false),
            DialRoute::BesideRelay => (None, true),
        };
        if !beside {
            book.begins(peer.id, &addresses);
        }
        let (tried, held_back) = (AtomicBool::new(false), AtomicBool::new(false));
        // Each is counted when it is its turn: where the first one answers, the others have no part in it.
        let may_dial = |address| {
            let may = limiter.may_dial(address, vouched);
            let counted = if may { &tried } else { &held_back };
            counted.store(true, Ordering::Relaxed);
            may
        };
        let direct = async {
            let further = async {
                match further.await {
                    Ok(addresses) => addresses,
                    Err(_) => std::future::pending().await,
                }
            };
            let dialling = first_of(transport.clone(), peer.id, (addresses, further), For::Peer, may_dial);
            let dialled = timeout(DIAL, dialling).await.map_err(|_| None)?;
            let connection = dialled.map_err(|error| Some(error).filter(|_| tried.load(Ordering::Relaxed)))?;
            limiter.answered(connection.remote_addr());
            let _ = reports.send(Report::Connected { connection, dialled: true }).await;
            Ok(())
        };
        tokio::pin!(direct);
        let (failed, refused) = match through {
            None => match direct.await {
                Ok(()) => return,
                Err(failed) => (failed, None),
            },
            Some(through) => {
                let mut failed = match timeout(RELAY_LATER, &mut direct).await {
                    Ok(Ok(())) => return,
                    Ok(Err(failed)) => Some(failed),
                    Err(_) => None,
                };
                let carry = through.connect(&*transport, peer.id);
                tokio::pin!(carry);
                let carried = tokio::select! {
                    biased;
                    dialled = &mut direct, if failed.is_none() => match dialled {
                        Ok(()) => return,
                        Err(error) => {
                            failed = Some(error);
                            carry.await
                        }
                    },
                    carried = &mut carry => carried,
                };
                let refused = match carried {
                    Some(Ok(connection)) => {
                        let _ = reports.send(Report::Connected { connection, dialled: true }).await;
                        if failed.is_none() {
                            let _ = direct.await; // what comes of it takes the place of the other one
                        }
                        return;
                    }
                    carried => carried.and_then(Result::err),
                };
                match failed {
                    Some(failed) => (failed, refused),
                    None => match direct.await {
                        Ok(()) => return,
                        Err(failed) => (failed, refused),
                    },
                }
            }
        };
        // The relay was asked, if there is one: then it was tried.
        if refused.is_none() && held_back.load(Ordering::Relaxed) && !tried.load(Ordering::Relaxed) {
            let _ = reports.send(Report::Event(Event::DialHeldBack { peer: peer.id })).await;
            return;
        }
        if !beside {
            let reason = reason(failed, refused);
            tracing::info!(peer = %peer.id, reason = reason.as_ref().map(tracing::field::display), "no address of it answers");
            book.failed(peer.id, reason);
        }
        let _ = reports.send(Report::Event(Event::DialFailed { peer: peer.id })).await;
    }
}

/// Why a peer is not reached: what its addresses said, unless that is silence and the relay said more.
fn reason(failed: Option<TransportError>, refused: Option<TransportError>) -> Option<TransportError> {
    match (failed, refused) {
        (Some(said @ (TransportError::NotAdmitted(_) | TransportError::WrongPeer { .. })), _) => Some(said),
        (_, Some(refused @ TransportError::NotCarried(_))) => Some(refused),
        (failed, refused) => failed.or(refused),
    }
}

/// Addresses in the order in which they are tried: that of the one who names them, likeliest first; but those of one IP take
/// turns with those of others, and which of its ports comes first is random, so that connections spread over a peer's
/// listeners. All are tried: with a dozen networks of containers, the one that leads there may be any of them.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut order = Vec::new();
    let mut by_ip: BTreeMap<IpAddr, Vec<SocketAddr>> = BTreeMap::new();
    for address in addresses {
        let ip = address.ip().to_canonical();
        by_ip.entry(ip).or_insert_with(|| {
            order.push(ip);
            Vec::new()
        });
        by_ip.entry(ip).and_modify(|ports| ports.push(address));
    }
    by_ip.values_mut().for_each(|ports| fastrand::shuffle(ports));
    let mut order = VecDeque::from(order);
    let mut turns = Vec::new();
    while let Some(ip) = order.pop_front() {
        if let Some(address) = by_ip.get_mut(&ip).and_then(Vec::pop) {
            turns.push(address);
            order.push_back(ip);
        }
    }
    turns.truncate(MOST_ANNOUNCED);
    turns
}

/// What a connection is to be for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum For {
    Peer,
    Tracker,
    /// A peer of whatever id.
    Anyone,
}

/// The first connection to `id` at one of these addresses. They are tried in order, each when the one before has failed or has
/// not answered for a while; that one is waited for nevertheless. Says why none succeeded: who else answered or why it was not
/// let in, or else what befell the likeliest.
pub(crate) async fn first(
    transport: Arc<dyn Transport>,
    id: PeerId,
    addresses: Vec<SocketAddr>,
    role: For,
) -> Result<Arc<dyn Connection>, TransportError> {
    first_of(transport, id, (addresses, std::future::pending()), role, |_| true).await
}

/// The same, without addresses that may not be dialled when it is their turn. Further ones that are heard of are tried at once.
async fn first_of(
    transport: Arc<dyn Transport>,
    id: PeerId,
    (mut addresses, further): (Vec<SocketAddr>, impl Future<Output = Vec<SocketAddr>>),
    role: For,
    may_dial: impl Fn(SocketAddr) -> bool,
) -> Result<Arc<dyn Connection>, TransportError> {
    let (mut tries, mut failed) = (tokio::task::JoinSet::new(), Vec::new());
    let mut left: VecDeque<usize> = (0..addresses.len()).collect();
    let mut is_known = false;
    tokio::pin!(further);
    loop {
        let next = std::iter::from_fn(|| left.pop_front()).find(|&turn| may_dial(addresses[turn]));
        if let Some(turn) = next {
            let address = addresses[turn];
            let transport = transport.clone();
            tries.spawn(async move {
                let dialled = match role {
                    For::Peer => transport.dial(address, id).await,
                    For::Tracker => transport.dial_tracker(address, id).await,
                    For::Anyone => transport.dial_anyone(address).await,
                };
                (turn, dialled)
            });
        }
        let more = !left.is_empty();
        let ended = tokio::select! {
            ended = tries.join_next() => ended,
            () = tokio::time::sleep(APART), if more => continue,
            found = &mut further, if !is_known => {
                is_known = true;
                let new: Vec<_> = found.into_iter().filter(|address| !addresses.contains(address)).collect();
                (addresses.len()..addresses.len() + new.len()).rev().for_each(|turn| left.push_front(turn));
                addresses.extend(nearest_first(new));
                continue;
            }
        };
        match ended {
            Some(Ok((_, Ok(connection)))) => return Ok(connection),
            Some(Ok((turn, Err(error)))) => {
                tracing::debug!(%error, "dial");
                failed.push((turn, error));
            }
            Some(Err(_)) => {}
            None if more => {}
            None => break,
        }
    }
    let own: Vec<_> = if_addrs::get_if_addrs().unwrap_or_default().iter().map(|interface| interface.ip()).collect();
    Err(telling(failed, &addresses, &own))
}

/// The reason that says most of why none of these addresses led there; of several, that of the likeliest address.
fn telling(failed: Vec<(usize, TransportError)>, addresses: &[SocketAddr], own: &[IpAddr]) -> TransportError {
    // What answers on this machine is no news of one that is elsewhere: many run a tracker of their own on the same port, and
    // networks of containers have the same addresses everywhere.
    let is_here = |address: &SocketAddr| {
        let ip = address.ip().to_canonical();
        ip.is_loopback() || own.contains(&ip)
    };
    let elsewhere = addresses.iter().any(|address| !is_here(address));
    let tells = |turn: usize, error: &TransportError| match error {
        TransportError::NotAdmitted(_) => 3,
        TransportError::WrongPeer { .. } | TransportError::NotTrusted(_) if elsewhere && is_here(&addresses[turn]) => 0,
        TransportError::WrongPeer { .. } | TransportError::NotTrusted(_) => 2,
        _ => 1,
    };
    let most = failed.into_iter().max_by_key(|(turn, error)| (tells(*turn, error), std::cmp::Reverse(*turn)));
    most.map_or_else(|| TransportError::Lost("it has no address".to_owned()), |(_, error)| error)
}

#[cfg(test)]
mod tests {
    use transport::{BoxFuture, OverRelay, Whom};

    use super::*;

    fn parse(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_dialled_apart_and_the_next_at_once_after_a_failure() {
        let network = transport::MemoryNetwork::new();
        let bind = |name: &[u8], at: &str| network.bind(PeerId::of_public_key(name), parse(&[at])).unwrap();
        let (dialler, peer) = (Arc::new(bind(b"dialler", "10.0.0.1:9")), bind(b"peer", "10.0.0.2:9"));
        let began = tokio::time::Instant::now();
        let nowhere = (3..10).map(|n| SocketAddr::from(([10, 0, 0, n], 9)));
        let addresses = nowhere.chain(parse(&["10.0.0.2:9"])).collect();
        let found = first(dialler, peer.peer_id(), addresses, For::Peer).await;
        assert_eq!(found.unwrap().remote_addr(), peer.listeners()[0]);
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody is there, so nothing is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_counts_as_dialled_when_it_is_its_turn() {
        let network = transport::MemoryNetwork::new();
        let bind = |name: &[u8], at: &str| network.bind(PeerId::of_public_key(name), parse(&[at])).unwrap();
        let (dialler, peer) = (Arc::new(bind(b"dialler", "10.0.0.1:9")), bind(b"peer", "10.0.0.2:9"));
        let counted = std::sync::Mutex::new(Vec::new());
        let addresses = parse(&["10.0.0.3:9", "10.0.0.4:9", "10.0.0.2:9", "10.0.0.5:9", "10.0.0.6:9"]);
        let may_dial = |address: SocketAddr| {
            counted.lock().unwrap().push(address);
            address.ip() != IpAddr::from([10, 0, 0, 4])
        };
        let no_others = std::future::pending();
        let found = first_of(dialler, peer.peer_id(), (addresses.clone(), no_others), For::Peer, may_dial).await;
        assert_eq!(found.unwrap().remote_addr(), peer.listeners()[0]);
        assert_eq!(counted.into_inner().unwrap(), addresses[..3], "those behind the one that answers do not");
    }

    /// Behind a firewall: nothing answers at this address.
    struct Walled(transport::MemoryTransport, SocketAddr);

    impl Transport for Walled {
        fn name(&self) -> &'static str {
            self.0.name()
        }

        fn peer_id(&self) -> PeerId {
            self.0.peer_id()
        }

        fn listeners(&self) -> Vec<SocketAddr> {
            self.0.listeners()
        }

        fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
            if addr == self.1 { Box::pin(std::future::pending()) } else { self.0.reach(addr, whom) }
        }

        fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
            self.0.accept()
        }

        fn over_relay(&self) -> Option<&dyn OverRelay> {
            None
        }

        fn close(&self) -> BoxFuture<'_, ()> {
            self.0.close()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_goes_on_at_addresses_that_are_named_meanwhile() {
        let network = transport::MemoryNetwork::new();
        let bind = |name: &[u8], at: &str| network.bind(PeerId::of_public_key(name), parse(&[at])).unwrap();
        let (own, peer) = (bind(b"dialler", "10.0.0.1:9"), bind(b"peer", "10.0.0.2:9"));
        let [walled, open] = ["10.0.0.3:9", "10.0.0.2:9"].map(|address| parse(&[address]));
        let transport: Arc<dyn Transport> = Arc::new(Walled(own, walled[0]));
        for named in [Some(open), None] {
            let (limiter, book) = (Arc::new(DialLimiter::default()), Arc::new(DialBook::default()));
            let dialler = Dialler { transport: transport.clone(), limiter, book, vouched: true };
            let (reports, mut reported) = mpsc::channel(4);
            let (mut dial, under_way) = pending();
            let addressed = PeerAddress { id: peer.peer_id(), addresses: walled.clone() };
            tokio::spawn(dialler.dial((addressed, DialRoute::First(None)), under_way, reports));
            let is_named = named.is_some();
            named.into_iter().for_each(|addresses| dial.also_at(addresses));
            match reported.recv().await {
                Some(Report::Connected { dialled: true, .. }) => assert!(is_named),
                Some(Report::Event(Event::DialFailed { .. })) => assert!(!is_named),
                _ => panic!("something else is reported"),
            }
            dial.also_at(parse(&["10.0.0.2:9"])); // too late, which is no fault
        }
    }

    #[test]
    fn every_interface_is_dialled_once_before_a_second_port() {
        let mut told = parse(&["10.9.9.1:1", "10.9.9.1:2"]);
        told.extend((16..28).map(|n| SocketAddr::from(([172, n, 0, 1], 1))));
        let turns = in_turns(told);
        assert_eq!(turns.len(), 14);
        assert_eq!(turns[0].ip(), IpAddr::from([10, 9, 9, 1]), "the likeliest is the first");
        assert_eq!(turns[13].ip(), IpAddr::from([10, 9, 9, 1]));
        let ports: std::collections::BTreeSet<_> =
            (0..100).map(|_| in_turns(parse(&["10.9.9.1:1", "10.9.9.1:2"]))[0].port()).collect();
        assert_eq!(ports.len(), 2, "connections spread over the listeners");
        assert_eq!(
            in_turns((1..100).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect()).len(),
            MOST_ANNOUNCED
        );
    }

    /// A ticket has loopback as its last address, and Docker's bridge is 172.17.0.1 on each machine.
    #[test]
    fn somebody_else_on_this_machine_hides_no_silence_elsewhere() {
        let expected = PeerId::of_public_key(b"wanted");
        let own = [IpAddr::from([172, 17, 0, 1])];
        let reason = |all: &[&str], wrong: &[&str]| {
            let (addresses, wrong) = (parse(all), parse(wrong));
            let failed = addresses.iter().enumerate().rev().map(|(turn, &addr)| match wrong.contains(&addr) {
                true => (turn, TransportError::WrongPeer { addr, expected }),
                false => (turn, TransportError::Unreachable(addr)),
            });
            telling(failed.collect(), &addresses, &own)
        };
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let here = ["127.0.0.1:9", "172.17.0.1:9", "[::1]:9"];
        let far = ["10.0.0.5:9", "10.0.0.6:9", "127.0.0.1:9", "172.17.0.1:9", "[::1]:9"];
        assert_eq!(reason(&far, &here), TransportError::Unreachable(at("10.0.0.5:9")), "the likeliest is named");
        assert_eq!(
            reason(&far, &["10.0.0.6:9", "127.0.0.1:9"]),
            TransportError::WrongPeer { addr: at("10.0.0.6:9"), expected }
        );
        let near = reason(&here, &["127.0.0.1:9"]);
        assert_eq!(near, TransportError::WrongPeer { addr: at("127.0.0.1:9"), expected }, "it should be here");
        assert!(matches!(telling(vec![], &[], &own), TransportError::Lost(_)));
    }
}
