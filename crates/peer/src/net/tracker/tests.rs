//! A client and a tracker that a test plays, over a network in memory and in virtual time.

use std::collections::BTreeSet;

use protocol::{MAX_FRAME, Wire, second_address_mark};
use tokio::time::sleep;
use transport::MemoryNetwork;
use transport::frame::{frame, read_frame};

use super::reconnect::{LONGEST, TAKEN_AGAIN, pause};
use super::*;

const PEERS: usize = 1000;

/// A tracker of which a test is all that is behind it, and a client that it has welcomed.
struct World {
    tracker: Arc<dyn Transport>,
    listeners: watch::Sender<Vec<SocketAddr>>,
    commands: mpsc::Sender<ToClient>,
    reports: mpsc::Receiver<Report>,
    network: MemoryNetwork,
}

/// A peer as the tracker hears it.
struct Heard {
    connection: Arc<dyn Connection>,
    stream: (Box<dyn SendStream>, Box<dyn RecvStream>),
    listeners: Vec<SocketAddr>,
}

fn no_shares() -> Private {
    Private { shares: Arc::default(), secret: None }
}

fn at(text: &str) -> Vec<SocketAddr> {
    vec![text.parse().unwrap()]
}

fn bind(network: &MemoryNetwork, id: &[u8], place: &str) -> Arc<dyn Transport> {
    Arc::new(network.bind(PeerId::of_public_key(id), at(place)).unwrap())
}

/// What clients of a peer share, which is at its listeners.
fn around(peer: &Arc<dyn Transport>, reports: mpsc::Sender<Report>) -> (Surroundings, watch::Sender<Vec<SocketAddr>>) {
    let (listeners, watched) = watch::channel(peer.listeners());
    let around = Surroundings {
        transport: peer.clone(),
        listeners: watched,
        dialled: Arc::new(DialFilter::new(false, &[])),
        book: Arc::default(),
        reports,
        resolver: crate::resolver::of_system(),
        several: Arc::default(),
        claims: Arc::default(),
    };
    (around, listeners)
}

/// The next news of a tracker.
async fn news(reports: &mut mpsc::Receiver<Report>) -> TrackerNews {
    match reports.recv().await {
        Some(Report::Tracker { news, .. }) => news,
        _ => panic!("no news of a tracker"),
    }
}

async fn world() -> (World, Heard) {
    let network = MemoryNetwork::new();
    let (tracker, peer) = (bind(&network, b"tracker", "10.0.0.1:9999"), bind(&network, b"peer", "10.0.0.2:9000"));
    let address = TrackerAddress { addresses: tracker.listeners(), id: tracker.peer_id(), name: None };
    let (send, mut reports) = mpsc::channel(64);
    let (first, joined) = oneshot::channel();
    let (around, listeners) = around(&peer, send);
    let commands = start(around, 1, address, no_shares(), first);
    let mut world = World { tracker, listeners, commands, reports: mpsc::channel(1).1, network };
    let heard = world.hears().await;
    joined.await.unwrap().unwrap();
    assert!(matches!(news(&mut reports).await, TrackerNews::Welcome { .. }));
    world.reports = reports;
    (world, heard)
}

impl World {
    /// The next peer that says hello, which is welcome.
    async fn hears(&self) -> Heard {
        let connection = self.tracker.accept().await.unwrap();
        let (mut send, mut recv) = connection.accept().await.unwrap();
        let hello = read_frame(&mut *recv, MAX_FRAME).await.unwrap().unwrap();
        let TrackerRequest::Hello { listeners, .. } = TrackerRequest::decode(&hello).unwrap() else { panic!() };
        let welcome = TrackerEvent::Welcome { seen: connection.remote_addr() }.encode().unwrap();
        send.send(frame(&welcome)).await.unwrap();
        Heard { connection, stream: (send, recv), listeners }
    }
}

impl Heard {
    async fn next(&mut self) -> TrackerRequest {
        let bytes = read_frame(&mut *self.stream.1, MAX_FRAME).await.unwrap().unwrap();
        TrackerRequest::decode(&bytes).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn new_addresses_are_announced_over_a_new_connection_and_nothing_asked_is_lost() {
    let (mut world, mut heard) = world().await;
    let (content, role) = (ContentId(protocol::Digest([7; 32])), protocol::Role::Seeder);
    let announce = Announce { content, about: None, role };
    world.commands.send(ToClient::Announce(announce.clone())).await.unwrap();
    let (reply, found) = oneshot::channel();
    world.commands.send(ToClient::Find { query: "a".to_owned(), reply }).await.unwrap();
    assert_eq!(heard.next().await, TrackerRequest::Announce(announce.clone()));
    world.listeners.send_replace(at("10.0.0.77:9000"));
    let mut again = world.hears().await;
    assert_eq!(again.listeners, at("10.0.0.77:9000"));
    assert_eq!(again.next().await, TrackerRequest::Announce(announce));
    assert_eq!(again.next().await, TrackerRequest::Find("a".to_owned()));
    let answer = TrackerEvent::Found { query: "a".to_owned(), matches: vec![] }.encode().unwrap();
    again.stream.0.send(frame(&answer)).await.unwrap();
    assert_eq!(found.await.unwrap().unwrap(), []);
    assert!(world.reports.try_recv().is_err(), "the tracker was never lost");
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_sees_it_elsewhere_is_met_again_without_a_word() {
    let (mut world, heard) = world().await;
    heard.connection.close(COME_AGAIN, "you have moved");
    let again = world.hears().await;
    assert!(world.reports.try_recv().is_err());
    // One that does nothing else is as good as one that is gone.
    again.connection.close(COME_AGAIN, "you have moved");
    let _again = world.hears().await;
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Lost));
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Welcome { .. }));
}

#[tokio::test(start_paused = true)]
async fn somebody_else_where_the_tracker_was_is_reported_once() {
    let (mut world, heard) = world().await;
    world.tracker.close().await;
    let other = bind(&world.network, b"with another key", "10.0.0.1:9999");
    heard.connection.close(0, "ends");
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Lost));
    let TrackerNews::Unfit(PeerError::WrongTracker { address, .. }) = news(&mut world.reports).await else {
        panic!("nothing was said of the other one");
    };
    assert_eq!(vec![address], other.listeners());
    sleep(LONGEST * 5).await;
    assert!(world.reports.try_recv().is_err(), "it is said once");
}

/// Two addresses of a tracker may take turns.
#[tokio::test(start_paused = true)]
async fn each_reason_why_the_tracker_is_not_back_is_reported_once() {
    let (mut world, heard) = world().await;
    world.tracker.close().await;
    let mut other = bind(&world.network, b"with another key", "10.0.0.1:9999");
    heard.connection.close(0, "ends");
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Lost));
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Unfit(_)));
    other.close().await;
    other = bind(&world.network, b"tracker", "10.0.0.1:9999");
    for _ in 0..2 {
        let connection = other.accept().await.unwrap();
        let (mut send, _recv) = connection.accept().await.unwrap();
        let refusal = TrackerEvent::Refused("it is full".to_owned()).encode().unwrap();
        send.send(frame(&refusal)).await.unwrap();
        connection.closed().await;
    }
    other.close().await;
    let _other = bind(&world.network, b"with another key", "10.0.0.1:9999");
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Unfit(PeerError::Refused(_))));
    sleep(LONGEST * 5).await;
    assert!(world.reports.try_recv().is_err(), "what was said before is not said again");
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_was_named_is_found_where_its_name_leads_now() {
    let network = MemoryNetwork::new();
    let (tracker, peer) = (bind(&network, b"tracker", "10.0.0.1:9999"), bind(&network, b"peer", "10.0.0.2:9000"));
    // What needs no name server is as good a name.
    let name = Some("10.0.0.99:9999".to_owned());
    let address = TrackerAddress { addresses: tracker.listeners(), id: tracker.peer_id(), name };
    let (send, mut reports) = mpsc::channel(64);
    let (first, joined) = oneshot::channel();
    let (around, listeners) = around(&peer, send);
    let commands = start(around, 1, address, no_shares(), first);
    let mut world = World { tracker, listeners, commands, reports: mpsc::channel(1).1, network };
    let heard = world.hears().await;
    joined.await.unwrap().unwrap();
    world.tracker.close().await;
    world.tracker = bind(&world.network, b"tracker", "10.0.0.99:9999");
    heard.connection.close(0, "ends");
    let _again = world.hears().await;
    assert!(matches!(news(&mut reports).await, TrackerNews::Welcome { .. }));
    assert!(matches!(news(&mut reports).await, TrackerNews::Lost));
    assert!(matches!(news(&mut reports).await, TrackerNews::Welcome { .. }));
}

/// A tracker that does not answer would hold up who leaves for as long as it may take to answer.
#[tokio::test(start_paused = true)]
async fn a_peer_that_connects_to_its_tracker_leaves_at_once() {
    let network = MemoryNetwork::new();
    let (tracker, peer) = (bind(&network, b"tracker", "10.0.0.1:9999"), bind(&network, b"peer", "10.0.0.2:9000"));
    let address = TrackerAddress { addresses: tracker.listeners(), id: tracker.peer_id(), name: None };
    let (send, _reports) = mpsc::channel(64);
    let (first, joined) = oneshot::channel();
    let (around, _listeners) = around(&peer, send);
    let commands = start(around, 1, address, no_shares(), first);
    // It accepts, and never says welcome.
    let _connection = tracker.accept().await.unwrap();
    let began = Instant::now();
    let (done, gone) = oneshot::channel();
    commands.send(ToClient::Bye { done }).await.unwrap();
    gone.await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(joined.await.is_err());
}

impl World {
    /// Has so many contents announced.
    async fn announces(&self, many: u32) {
        for number in 0..many {
            let content = ContentId(protocol::Digest(std::array::from_fn(|at| (number >> (at % 4 * 8)) as u8)));
            let announce = Announce { content, about: None, role: Role::Seeder };
            self.commands.send(ToClient::Announce(announce)).await.unwrap();
        }
    }
}

/// As one that was restarted does, which hears of thousands of files from many peers at once.
#[tokio::test(start_paused = true)]
async fn a_tracker_that_reads_slowly_hears_of_all_contents() {
    const CONTENTS: u32 = 5000;
    let (mut world, heard) = world().await;
    world.announces(CONTENTS).await;
    heard.connection.close(0, "ends");
    let mut again = world.hears().await;
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Lost));
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Welcome { .. }), "before it has heard of all");
    let mut contents = BTreeSet::new();
    for number in 0..CONTENTS {
        if number % 250 == 0 {
            sleep(Duration::from_secs(1)).await;
        }
        let TrackerRequest::Announce(announce) = again.next().await else { panic!("an announcement is expected") };
        contents.insert(announce.content);
    }
    assert_eq!(contents.len(), CONTENTS as usize);
    assert!(world.reports.try_recv().is_err(), "it is not lost meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_takes_nothing_is_lost_and_keeps_nobody_from_leaving() {
    let (mut world, _heard) = world().await;
    let began = Instant::now();
    world.announces(5000).await;
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Lost));
    assert!((TAKEN..TAKEN * 2).contains(&began.elapsed()));
    let _again = world.hears().await;
    assert!(matches!(news(&mut world.reports).await, TrackerNews::Welcome { .. }));
    let began = Instant::now();
    let (done, gone) = oneshot::channel();
    world.commands.send(ToClient::Bye { done }).await.unwrap();
    gone.await.unwrap();
    assert!(began.elapsed() <= GOODBYE);
}

/// When each of a thousand peers comes back to a tracker that all lost at 0 and that is there again at `back`.
fn returns(back: Duration, random: &mut fastrand::Rng) -> Vec<Duration> {
    let mut one = || {
        let mut at = Duration::ZERO;
        for tries in 0.. {
            at += pause(tries, random.f64());
            if at >= back {
                break;
            }
        }
        at
    };
    (0..PEERS).map(|_| one()).collect()
}

/// In no tenth of the time that it takes until all are back do more than three times as many come as on average.
#[test]
fn a_thousand_peers_come_back_without_a_stampede() {
    let mut random = fastrand::Rng::with_seed(1);
    for back in [1, 300, 600, 1_000, 2_000, 4_000, 8_000, 15_000, 60_000, 600_000].map(Duration::from_millis) {
        let times = returns(back, &mut random);
        let (first, last) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        assert!(last - back <= LONGEST, "{back:?}: the last is back after {:?}", last - back);
        let mut tenths = [0; 11];
        for at in times {
            tenths[((at - first).as_secs_f64() / (last - first).as_secs_f64() * 10.0) as usize] += 1;
        }
        let peak = tenths.into_iter().max().unwrap();
        assert!(peak <= 3 * PEERS / 10, "{back:?}: {peak} of {PEERS} come in a tenth of the time");
    }
}

/// The same tracker by two addresses has one session, which neither client takes from the other.
#[tokio::test(start_paused = true)]
async fn two_addresses_of_one_tracker_are_one_tracker() {
    let network = MemoryNetwork::new();
    let places = vec!["10.0.0.1:9999".parse().unwrap(), "10.0.0.1:9998".parse().unwrap()];
    let tracker: Arc<dyn Transport> =
        Arc::new(network.bind(PeerId::of_public_key(b"tracker"), places.clone()).unwrap());
    let peer = bind(&network, b"peer", "10.0.0.2:9000");
    let instance = TrackerInstance { label: [1; 16], nonce: [2; 16] };
    let id = tracker.peer_id();
    let hellos = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = hellos.clone();
    tokio::spawn(async move {
        while let Some(connection) = tracker.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let (mut send, mut recv) = connection.accept().await.unwrap();
                while let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await {
                    let answer = match TrackerRequest::decode(&bytes).unwrap() {
                        TrackerRequest::Instance => TrackerEvent::Instance(instance),
                        _ => {
                            counted.fetch_add(1, Ordering::Relaxed);
                            TrackerEvent::Welcome { seen: connection.remote_addr() }
                        }
                    };
                    send.send(frame(&answer.encode().unwrap())).await.unwrap();
                }
            });
        }
    });
    let (send, mut reports) = mpsc::channel(64);
    let (around, _listeners) = around(&peer, send);
    around.several.store(true, Ordering::Relaxed);
    let start_at = |number: usize| {
        let address = TrackerAddress { addresses: vec![places[number]], id, name: None };
        let (first, joined) = oneshot::channel();
        (start(around.clone(), number as u64, address, no_shares(), first), joined)
    };
    let (_one, joined) = start_at(0);
    joined.await.unwrap().unwrap();
    assert!(matches!(news(&mut reports).await, TrackerNews::Welcome { instance: known, .. } if known == instance));
    let (_other, _) = start_at(1);
    assert!(matches!(news(&mut reports).await, TrackerNews::Taken));
    sleep(TAKEN_AGAIN * 3).await;
    assert!(reports.try_recv().is_err(), "that is said once");
    assert_eq!(hellos.load(Ordering::Relaxed), 1);
}

/// It does not know the question, and ends the connection.
#[tokio::test(start_paused = true)]
async fn an_older_tracker_is_one_of_several_all_the_same() {
    let network = MemoryNetwork::new();
    let (tracker, peer) = (bind(&network, b"tracker", "10.0.0.1:9999"), bind(&network, b"peer", "10.0.0.2:9000"));
    let address = TrackerAddress { addresses: tracker.listeners(), id: tracker.peer_id(), name: None };
    let (send, mut reports) = mpsc::channel(64);
    let (around, listeners) = around(&peer, send);
    around.several.store(true, Ordering::Relaxed);
    let (first, joined) = oneshot::channel();
    let commands = start(around, 1, address, no_shares(), first);
    let connection = tracker.accept().await.unwrap();
    let _stream = connection.accept().await.unwrap();
    connection.close(0, "done");
    let world = World { tracker, listeners, commands, reports: mpsc::channel(1).1, network };
    let _heard = world.hears().await;
    joined.await.unwrap().unwrap();
    let instance = TrackerInstance::default();
    assert!(matches!(news(&mut reports).await, TrackerNews::Welcome { instance: known, .. } if known == instance));
}

/// A tracker that takes proofs says so in the session, and gives a token there.
#[tokio::test(start_paused = true)]
async fn a_tracker_of_both_families_is_shown_the_token_over_the_other_one() {
    let network = MemoryNetwork::new();
    let bind = |id: &[u8], all: [&str; 2]| {
        let all = all.map(|text| text.parse().unwrap()).to_vec();
        Arc::new(network.bind(PeerId::of_public_key(id), all).unwrap()) as Arc<dyn Transport>
    };
    let tracker = bind(b"tracker", ["10.0.0.1:9999", "[2001:db8::1]:9999"]);
    let peer = bind(b"peer", ["10.0.0.2:9000", "[2001:db8::2]:9000"]);
    let address = TrackerAddress { addresses: tracker.listeners(), id: tracker.peer_id(), name: None };
    let (send, _reported) = mpsc::channel(64);
    let (first, joined) = oneshot::channel();
    let (around, listeners) = around(&peer, send);
    let commands = start(around, 1, address, no_shares(), first);
    let world = World { tracker, listeners, commands, reports: mpsc::channel(1).1, network };
    let mut heard = world.hears().await;
    joined.await.unwrap().unwrap();
    let token = protocol::AddressToken([5; 16]);
    let content = ContentId(protocol::Digest([7; 32]));
    // An older client takes the mark for a peer.
    let news = TrackerEvent::Peers { content, joined: vec![], gone: vec![second_address_mark()] };
    heard.stream.0.send(frame(&news.encode().unwrap())).await.unwrap();
    let other = world.tracker.accept().await.unwrap();
    assert_eq!(heard.next().await, TrackerRequest::SecondAddress);
    let given = TrackerEvent::AddressToken { token, at: Vec::new() }.encode().unwrap();
    heard.stream.0.send(frame(&given)).await.unwrap();
    let (_send, mut recv) = other.accept().await.unwrap();
    let shown = read_frame(&mut *recv, MAX_FRAME).await.unwrap().unwrap();
    let listeners = heard.listeners.clone();
    assert_eq!(TrackerRequest::decode(&shown).unwrap(), TrackerRequest::AlsoAt { token, listeners });
    assert_ne!(other.remote_addr().is_ipv4(), heard.connection.remote_addr().is_ipv4());
}
