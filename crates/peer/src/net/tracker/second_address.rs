//! Shows the tracker that this node is reached over the other IP family, too.
//!
//! A session is over one family, and a tracker tells others only the addresses that a handshake has proven. So where this node and the
//! tracker have both, the tracker is dialled over the other one as well, from the sockets that are listened on, and shown a token
//! there that it has given over the session. Where this node knows it by one family alone, the tracker says with the token where else
//! it is.
//!
//! Where a router gives this node another address, that connection is kept: it keeps the router's mapping alive. Elsewhere it ends at
//! once, and the address is proven again before the tracker forgets it. What fails is tried again, more and more rarely, and
//! nobody is told: the family of the session works in any case.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{AddressToken, MAX_OWN_ADDRESSES, PeerId, TrackerEvent, TrackerRequest};
use swarm::Scope;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};
use transport::{Connection, RecvStream, SendStream, Transport, TransportError};

use super::claims::{Claims, Key};
use super::handshake::{WELCOME, hear, say};
use crate::net::dial::{self, For};
use crate::net::dial_filter::nearest_first;

/// A proof is repeated after this time, more or less: half of that for which trackers believe it.
const AGAIN: Duration = Duration::from_secs(30 * 60);
/// The first pause after a failure. Each further one is twice as long, up to that.
const SOON: Duration = Duration::from_secs(10);
/// Trackers listen above the ports of a system's services, or at the one of the session.
const LEAST_PORT: u16 = 1024;
/// A connection that is to stand and has ended before this was of no use.
const STEADY: Duration = Duration::from_secs(60);

/// The proofs of one session. They end with this.
pub(super) struct SecondAddress {
    task: JoinSet<()>,
    ask: mpsc::Sender<()>,
    asked: mpsc::Receiver<()>,
    tokens: Option<mpsc::Sender<Given>>,
}

/// What the tracker says when it is asked for a token.
pub(super) struct Given {
    pub(super) token: AddressToken,
    /// Where it may be reached over the other family.
    pub(super) at: Vec<SocketAddr>,
}

impl SecondAddress {
    /// None so far: the tracker has not said yet that it takes them.
    pub(super) fn new() -> Self {
        let (ask, asked) = mpsc::channel(1);
        SecondAddress { task: JoinSet::new(), ask, asked, tokens: None }
    }

    /// The tracker takes proofs.
    pub(super) fn begin(&mut self, prover: Prover) {
        if self.tokens.is_none() {
            let (tokens, given) = mpsc::channel(1);
            self.tokens = Some(tokens);
            self.task.spawn(prover.run(self.ask.clone(), given));
        }
    }

    /// Waits until the tracker is to be asked for a token. May be dropped before.
    pub(super) async fn asks(&mut self) {
        let _ = self.asked.recv().await; // never the end, as the other side is here, too
    }

    /// The tracker has given one.
    pub(super) fn is_given(&self, given: Given) {
        if let Some(tokens) = &self.tokens {
            let _ = tokens.try_send(given);
        }
    }
}

/// What it takes to prove a second address.
pub(super) struct Prover {
    pub(super) transport: Arc<dyn Transport>,
    /// Where others may reach this node.
    pub(super) listeners: watch::Receiver<Vec<SocketAddr>>,
    /// Where the tracker is reached, and over which family it is already.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) session: SocketAddr,
    /// Who it is; other clients may have come to it at further addresses.
    pub(super) tracker: Key,
    pub(super) claims: Arc<Claims>,
}

/// A connection that is kept, and its stream.
type Kept = (Arc<dyn Connection>, Box<dyn SendStream>, Box<dyn RecvStream>);

impl Prover {
    async fn run(self, ask: mpsc::Sender<()>, mut given: mpsc::Receiver<Given>) {
        let mut failures = 0u32;
        loop {
            let began = Instant::now();
            let is_done = match self.prove(&ask, &mut given).await {
                Ok(None) => true,
                Ok(Some((connection, _send, _recv))) => {
                    let reason = connection.closed().await;
                    tracing::debug!(%reason, "what kept a second address has ended");
                    false
                }
                Err(error) => {
                    tracing::debug!(%error, "no second address");
                    false
                }
            };
            failures = if is_done || began.elapsed() >= STEADY { 0 } else { failures + 1 };
            let pause = if is_done { AGAIN } else { (SOON * 2u32.pow(failures.min(10))).min(AGAIN) };
            sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        }
    }

    /// Proves it once. Gives the connection if it is to be kept.
    async fn prove(
        &self,
        ask: &mpsc::Sender<()>,
        given: &mut mpsc::Receiver<Given>,
    ) -> Result<Option<Kept>, TransportError> {
        let known = self.others();
        let (connection, token) = if known.is_empty() {
            // The token is good for longer than this dial may take.
            let Given { token, at } = ask_for_token(ask, given).await?;
            (self.dial(may_be_dialled(at, self.session)).await?, token)
        } else {
            let connection = self.dial(known).await?;
            (connection, ask_for_token(ask, given).await?.token)
        };
        let (mut send, mut recv) = connection.open().await?;
        let listeners = self.listeners.borrow().clone();
        let said = async {
            say(&mut *send, &TrackerRequest::AlsoAt { token, listeners }).await?;
            hear(&mut *recv).await
        };
        let seen = match timeout(WELCOME, said).await.map_err(late)?? {
            TrackerEvent::AlsoSeen { seen } => seen,
            TrackerEvent::Refused(reason) => return Err(TransportError::Lost(reason)),
            _ => return Err(TransportError::Lost("it did not say where it sees this node".to_owned())),
        };
        tracing::debug!(%seen, "a second address");
        let is_own = self.listeners.borrow().iter().any(|own| own.ip().to_canonical() == seen.ip().to_canonical());
        // Over TCP nobody comes in by the port that is seen.
        if !is_own && connection.transport() != "tcp" {
            return Ok(Some((connection, send, recv)));
        }
        send.finish()?;
        let _ = timeout(WELCOME, recv.recv(&mut [0])).await;
        connection.close(0, "seen");
        Ok(None)
    }

    async fn dial(&self, addresses: Vec<SocketAddr>) -> Result<Arc<dyn Connection>, TransportError> {
        if addresses.is_empty() {
            return Err(TransportError::Lost("the tracker is known by one IP family alone".to_owned()));
        }
        let dialling = dial::first(self.transport.clone(), self.id(), nearest_first(addresses), For::Tracker);
        timeout(WELCOME, dialling).await.map_err(late)?
    }

    fn id(&self) -> PeerId {
        self.tracker.0
    }

    /// Where the tracker is over the other family, as far as that is known.
    fn others(&self) -> Vec<SocketAddr> {
        let is_ipv4 = |address: &SocketAddr| address.ip().to_canonical().is_ipv4();
        let known = self.addresses.iter().copied().chain(self.claims.also_at(&self.tracker));
        let other = known.filter(|at| is_ipv4(at) != is_ipv4(&self.session) && !at.ip().to_canonical().is_loopback());
        let mut seen = BTreeSet::new();
        other.filter(|address| seen.insert(*address)).collect()
    }
}

/// Asks the tracker for a token over the session. One that came too late before is not good any more.
async fn ask_for_token(ask: &mpsc::Sender<()>, given: &mut mpsc::Receiver<Given>) -> Result<Given, TransportError> {
    let lost = || TransportError::Lost("the session is over".to_owned());
    while given.try_recv().is_ok() {}
    ask.send(()).await.map_err(|_| lost())?;
    timeout(WELCOME, given.recv()).await.map_err(late)?.ok_or_else(lost)
}

fn late(_: Elapsed) -> TransportError {
    TransportError::TimedOut("the proof of a second address")
}

/// Of the addresses that a tracker says it has, those of the other family that a tracker may have: it must not have this node dial what
/// is in its network, nor a service elsewhere.
fn may_be_dialled(mut at: Vec<SocketAddr>, session: SocketAddr) -> Vec<SocketAddr> {
    let is_ipv4 = |address: SocketAddr| address.ip().to_canonical().is_ipv4();
    at.retain(|&address| {
        let is_port = address.port() >= LEAST_PORT || address.port() == session.port();
        is_port && Scope::of(address.ip()) == Scope::Public && is_ipv4(address) != is_ipv4(session)
    });
    at.truncate(MAX_OWN_ADDRESSES);
    at
}

#[cfg(test)]
mod tests {
    use protocol::{MAX_FRAME, Wire};
    use transport::MemoryNetwork;
    use transport::frame::{frame, read_frame};

    use super::*;

    const FOUR: &str = "10.0.0.2:9000";
    const SIX: &str = "[2001:db8::2]:9000";

    fn parse(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// A tracker and a peer of both families, whose session is over IPv4 already.
    struct World {
        tracker: Arc<dyn Transport>,
        claims: Arc<Claims>,
        second: SecondAddress,
        _listeners: watch::Sender<Vec<SocketAddr>>,
        asked: Vec<Instant>,
    }

    fn world(known: &[&str]) -> World {
        let network = MemoryNetwork::new();
        let bind = |id: &[u8], at: &[&str]| network.bind(PeerId::of_public_key(id), parse(at)).unwrap();
        let tracker = bind(b"tracker", &["10.0.0.1:9999", "[2001:db8::1]:9999"]);
        let peer: Arc<dyn Transport> = Arc::new(bind(b"peer", &[FOUR, SIX]));
        let (listeners, watched) = watch::channel(peer.listeners());
        let claims = Arc::<Claims>::default();
        let mut second = SecondAddress::new();
        second.begin(Prover {
            transport: peer,
            listeners: watched,
            addresses: parse(known),
            session: parse(&["10.0.0.1:9999"])[0],
            tracker: (tracker.peer_id(), [7; 16]),
            claims: claims.clone(),
        });
        World { tracker: Arc::new(tracker), claims, second, _listeners: listeners, asked: Vec::new() }
    }

    const BOTH: [&str; 2] = ["10.0.0.1:9999", "[2001:db8::1]:9999"];

    impl World {
        /// Gives the token that is asked for next; what is shown then, and the connection over which.
        async fn is_shown(&mut self) -> (TrackerRequest, Kept) {
            let connection = self.tracker.accept().await.unwrap();
            self.second.asks().await;
            self.asked.push(Instant::now());
            self.give(&[]);
            self.shown_over(connection).await
        }

        fn give(&self, at: &[&str]) {
            self.second.is_given(Given { token: AddressToken([5; 16]), at: parse(at) });
        }

        async fn shown_over(&self, connection: Arc<dyn Connection>) -> (TrackerRequest, Kept) {
            let (send, mut recv) = connection.accept().await.unwrap();
            let shown = read_frame(&mut *recv, MAX_FRAME).await.unwrap().unwrap();
            (TrackerRequest::decode(&shown).unwrap(), (connection, send, recv))
        }
    }

    async fn answer((_, send, _): &mut Kept, event: TrackerEvent) {
        send.send(frame(&event.encode().unwrap())).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_of_ones_own_is_proven_and_again_before_it_is_forgotten() {
        let mut world = world(&BOTH);
        for _ in 0..3 {
            let (shown, mut kept) = world.is_shown().await;
            let listeners = parse(&[FOUR, SIX]);
            assert_eq!(shown, TrackerRequest::AlsoAt { token: AddressToken([5; 16]), listeners });
            let seen = kept.0.remote_addr();
            assert_eq!(seen, parse(&[SIX])[0], "it comes over the other family");
            answer(&mut kept, TrackerEvent::AlsoSeen { seen }).await;
            let mut recv = kept.2;
            assert_eq!(read_frame(&mut *recv, MAX_FRAME).await, Ok(None), "it is finished");
        }
        let asked = &world.asked;
        assert!(asked.windows(2).all(|two| (AGAIN / 2..AGAIN * 2).contains(&(two[1] - two[0]))), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_a_router_is_to_remember_stands_and_comes_again() {
        let mut world = world(&BOTH);
        for _ in 0..2 {
            let (_, mut kept) = world.is_shown().await;
            answer(&mut kept, TrackerEvent::AlsoSeen { seen: parse(&["[2001:db8:9::9]:40001"])[0] }).await;
            assert!(timeout(AGAIN * 9, kept.0.closed()).await.is_err(), "it stands");
            kept.0.close(protocol::COME_AGAIN, "you are elsewhere");
        }
        // With the session ends what stands for it.
        let (_, mut kept) = world.is_shown().await;
        answer(&mut kept, TrackerEvent::AlsoSeen { seen: parse(&["[2001:db8:9::9]:40001"])[0] }).await;
        let World { second, tracker: _tracker, .. } = world;
        drop(second);
        kept.0.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_more_and_more_rarely() {
        let mut world = world(&BOTH);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(24 * 3600) {
            let (_, mut kept) = world.is_shown().await;
            answer(&mut kept, TrackerEvent::Refused("no".to_owned())).await;
        }
        let tries = world.asked.len();
        assert!((40..80).contains(&tries), "{tries} in a day");
    }

    #[tokio::test(start_paused = true)]
    async fn a_tracker_that_is_known_by_one_family_says_where_it_is_over_the_other() {
        let mut world = world(&["10.0.0.1:9999", "10.0.0.9:9999", "[::1]:9999"]);
        // It has none that this node would dial.
        for at in [&[][..], &["10.0.0.9:9999"], &["[fd00::1]:9999"]] {
            world.second.asks().await;
            world.give(at);
        }
        world.second.asks().await;
        world.give(&[BOTH[1]]);
        let connection = world.tracker.accept().await.unwrap();
        let (shown, mut kept) = world.shown_over(connection).await;
        let listeners = parse(&[FOUR, SIX]);
        assert_eq!(shown, TrackerRequest::AlsoAt { token: AddressToken([5; 16]), listeners });
        let seen = kept.0.remote_addr();
        assert_eq!(seen, parse(&[SIX])[0]);
        answer(&mut kept, TrackerEvent::AlsoSeen { seen }).await;
        // Another client of this node has come to the same tracker there: now it is known.
        let key = (world.tracker.peer_id(), [7; 16]);
        let _own = world.claims.claim(key, 1, parse(&[BOTH[0]])[0]);
        assert!(world.claims.claim(key, 2, parse(&[BOTH[1]])[0]).is_none());
        let (_, kept) = world.is_shown().await;
        assert_eq!(kept.0.remote_addr(), parse(&[SIX])[0]);
    }

    #[test]
    fn a_tracker_has_nobody_dial_what_no_tracker_has() {
        let kept = |at: &[&str], session: &str| may_be_dialled(parse(at), parse(&[session])[0]);
        let (good, own_port) = ("[2001:db8::1]:9999", "[2001:db8::1]:443");
        let bad = ["[2001:db8::1]:53", "[fd00::1]:9999", "[::1]:9999", "[fe80::1]:9999", "192.0.2.1:9999"];
        let all = [&bad[..], &[own_port, good, good]].concat();
        assert_eq!(kept(&all, "192.0.2.9:443"), parse(&[own_port, good]));
        assert_eq!(kept(&all, "10.0.0.1:9999"), parse(&[good, good]));
        assert_eq!(kept(&all, "[2001:db8::9]:9999"), parse(&["192.0.2.1:9999"]));
    }
}
