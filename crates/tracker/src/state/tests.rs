//! What the tracker keeps of sessions that end, move or make room, without a network.

use std::sync::Barrier;
use std::time::Duration;

use protocol::{AddressToken, Digest, Role, TrackerEvent};
use transport::{ForwardConnection, LinkStats, MemoryNetwork, MemoryTransport, Transport, TransportError};

use super::*;

/// A connection over which packets come from elsewhere.
struct Moved(Arc<dyn Connection>);

impl ForwardConnection for Moved {
    fn inner(&self) -> &dyn Connection {
        &*self.0
    }
    fn figures(&self, stats: LinkStats) -> LinkStats {
        LinkStats { moved: true, ..stats }
    }
}

/// A tracker in a network within the process, and peers that have dialled it.
struct World {
    tracker: MemoryTransport,
    peers: Vec<MemoryTransport>,
    /// What each peer holds of its connection, and what the tracker does.
    connections: Vec<(Arc<dyn Connection>, Arc<dyn Connection>)>,
}

impl World {
    async fn new(peers: &[&str]) -> Self {
        World::of((1..).zip(peers.iter().copied())).await
    }

    /// The same with peers of these ids; one may come from several addresses.
    async fn of(peers: impl IntoIterator<Item = (u8, &str)>) -> Self {
        let network = MemoryNetwork::new();
        let bind = |id: u8, at: &str| network.bind(PeerId(Digest([id; 32])), vec![at.parse().unwrap()]).unwrap();
        let tracker = bind(0, "10.0.0.1:9999");
        let peers: Vec<_> = peers.into_iter().map(|(id, at)| bind(id, at)).collect();
        let mut connections = Vec::new();
        for peer in &peers {
            let dialled = peer.dial(tracker.listeners()[0], tracker.peer_id());
            let (dialled, accepted) = tokio::join!(dialled, tracker.accept());
            connections.push((dialled.unwrap(), accepted.unwrap()));
        }
        World { tracker, peers, connections }
    }
}

#[tokio::test]
async fn a_peer_that_is_seen_elsewhere_is_sent_away_to_prove_it() {
    let world = World::new(&["10.0.0.2:9000", "10.0.0.3:9000"]).await;
    let state = State::new(ServerConfig::default());
    let [(moved, there), (stayed, here)] = &world.connections[..] else { panic!() };
    let there: Arc<dyn Connection> = Arc::new(Moved(there.clone()));
    assert!(state.open(1, &there) && state.open(2, here));
    state.send_moved_away();
    assert!(matches!(moved.closed().await, TransportError::ClosedByPeer { code: COME_AGAIN, .. }));
    let ended = tokio::time::timeout(Duration::from_millis(10), stayed.closed()).await;
    assert!(ended.is_err(), "who is where it was stays");
}

#[tokio::test]
async fn a_first_claim_of_a_strangers_name_hides_no_other_and_goes_with_the_stranger() {
    let World { tracker: _tracker, peers, connections } = World::new(&["10.0.0.2:9000", "10.0.9.3:9000"]).await;
    let [stranger, seeder] = &peers[..] else { panic!() };
    let (state, content) = (State::new(ServerConfig::default()), ContentId(Digest([7; 32])));
    for (session, (peer, name)) in (1..).zip([(stranger, "evil"), (seeder, "model.bin")]) {
        let (_, accepted) = &connections[session as usize - 1];
        assert!(state.open(session, accepted));
        state.enter(session, accepted, Arc::default(), &peer.listeners());
        let about = Some((name.to_owned(), 5));
        state.announce(session, peer.peer_id(), Announce { content, about, role: Role::Seeder });
    }
    let named = |query: &str| {
        state.find(query, PeerId::of_public_key(b"asker")).into_iter().map(|found| found.name).collect::<Vec<_>>()
    };
    assert_eq!((named("evil"), named("model.bin")), (vec!["evil".to_owned()], vec!["model.bin".to_owned()]));
    state.exit(1, stranger.peer_id());
    assert_eq!((named("evil"), named("model.bin")), (vec![], vec!["model.bin".to_owned()]));
    assert_eq!(state.list(None).0[0].name, "model.bin");
    state.exit(2, seeder.peer_id());
    assert_eq!((state.counts(), state.bytes(), named("model.bin")), ((0, 0), 0, vec![]));
}

/// A session that announced while another one of the same peer took its place once left a ghost in the content.
#[tokio::test]
async fn an_announcement_during_a_session_change_leaves_no_ghost() {
    let world = World::new(&["10.0.0.2:9000"]).await;
    let (_, connection) = &world.connections[0];
    let state = State::new(ServerConfig { seed: 1, ..ServerConfig::default() });
    let outbox = Arc::new(Outbox::default());
    let announce = |number| Announce { content: ContentId(Digest([number; 32])), about: None, role: Role::Seeder };
    let together = Barrier::new(2);
    for session in (0..4000).step_by(2) {
        assert!(state.open(session, connection) && state.open(session + 1, connection));
        state.enter(session, connection, outbox.clone(), &[]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                for number in 0..100 {
                    state.announce(session, connection.peer_id(), announce(number));
                }
                state.exit(session, connection.peer_id());
            });
            together.wait();
            state.enter(session + 1, connection, outbox.clone(), &[]);
        });
        state.exit(session + 1, connection.peer_id());
        assert_eq!((state.counts(), state.bytes()), ((0, 0), 0), "after session {session}");
    }
}

#[tokio::test]
async fn what_is_announced_again_and_again_counts_as_many_messages() {
    let world = World::new(&["10.0.0.2:9000"]).await;
    let (_, connection) = &world.connections[0];
    let state = State::new(ServerConfig::default());
    assert!(state.open(1, connection));
    state.enter(1, connection, Arc::default(), &world.peers[0].listeners());
    let content = ContentId(Digest([7; 32]));
    let mut announce = |role| {
        let about = Some(("model.bin".to_owned(), 5));
        state.announce(1, connection.peer_id(), Announce { content, about, role })
    };
    assert_eq!(announce(Role::Downloader), 0, "what is new is free");
    assert_eq!([Role::Partial, Role::Seeder].map(&mut announce), [1, 1]);
    let counts: Vec<u32> = (0..100).map(|n| announce([Role::Downloader, Role::Seeder][n % 2])).collect();
    assert!(counts[2..].iter().filter(|&&counts| counts == TOO_OFTEN).count() > 90, "{counts:?}");
}

const BOTH: [&str; 2] = ["10.0.0.2:9000", "[2001:db8::2]:9000"];

/// A state that knows two peers of a content: the first one may have addresses of both families, and each comes over IPv4. What the
/// second one is to hear is in its outbox.
fn introduced(world: &World, content: ContentId) -> (State, Arc<Outbox>) {
    let (state, outbox) = (State::new(ServerConfig::default()), Arc::new(Outbox::default()));
    let [(_, one), _, _, (_, other)] = &world.connections[..] else { panic!() };
    let addresses = BOTH.map(|at| at.parse().unwrap());
    assert!(state.open(1, one) && state.enter(1, one, Arc::default(), &addresses));
    assert!(state.open(2, other) && state.enter(2, other, outbox.clone(), &world.peers[3].listeners()));
    for (session, connection, role) in [(1, one, Role::Seeder), (2, other, Role::Downloader)] {
        state.announce(session, connection.peer_id(), Announce { content, about: None, role });
    }
    (state, outbox)
}

/// The first peer over IPv4 and IPv6, and from an address of IPv4 that it has not come from; and another peer.
async fn both_families() -> World {
    World::of([(1, BOTH[0]), (1, BOTH[1]), (1, "10.9.9.9:9000"), (2, "10.0.0.3:9000")]).await
}

/// Where the second peer hears that the first one is, if there is news.
fn told(state: &State, outbox: &Outbox, content: ContentId) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    while let Some(TrackerEvent::Peers { content: of, joined, .. }) = state.take(2, PeerId(Digest([2; 32])), outbox) {
        assert_eq!(of, content);
        all.extend(joined.into_iter().flat_map(|peer| peer.addresses));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_second_address_takes_a_token_of_the_session_that_is_fresh_and_shown_once() {
    let (world, content) = (both_families().await, ContentId(Digest([7; 32])));
    let (state, outbox) = introduced(&world, content);
    let [four, six] = BOTH.map(|at| at.parse::<SocketAddr>().unwrap());
    let [(_, one), (_, over_six), (_, over_four), (_, other)] = &world.connections[..] else { panic!() };
    let (me, listeners) = (one.peer_id(), [four, six]);
    assert!(state.open(3, over_six) && state.open(4, over_four));
    assert_eq!(told(&state, &outbox, content), [four]);
    let own = ["192.0.2.1:9999", "[2001:db8::1]:9999"].map(|at| at.parse::<SocketAddr>().unwrap());
    state.listens_at(own.to_vec());
    assert_eq!([1, 3].map(|session| state.also_reached_at(session)), [[own[1]], [own[0]]]);
    let prove =
        |connection: &Arc<dyn Connection>, token| state.prove_second_address(3, &**connection, token, &listeners);
    let another = async || {
        tokio::time::sleep(Duration::from_secs(5)).await;
        state.address_token(1, me).unwrap()
    };
    assert_eq!(prove(over_six, AddressToken([0; 16])), None, "none was given");
    let token = another().await;
    assert_eq!(state.address_token(1, me), None, "one after the other");
    assert_eq!(state.address_token(9, me), None, "for whom has no session");
    assert_eq!(prove(other, token), None, "somebody else has it");
    assert_eq!(prove(over_six, AddressToken([0; 16])), None);
    assert_eq!(prove(over_six, token), None, "a wrong guess takes it");
    let token = another().await;
    assert_eq!(prove(over_four, token), None, "that is the family of its session");
    let token = another().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(prove(over_six, token), None, "that took too long");
    let (token, before) = (another().await, state.bytes());
    assert_eq!(prove(over_six, token), Some(1));
    assert!(state.bytes() > before, "it is counted");
    assert_eq!(prove(over_six, token), None, "it is good once");
    state.readdress((1, me), content, true);
    assert_eq!(told(&state, &outbox, content), [four, six]);
    // What it takes part in later has both, too.
    let later = ContentId(Digest([8; 32]));
    for (session, connection) in [(1, one), (2, other)] {
        let announce = Announce { content: later, about: None, role: Role::Downloader };
        state.announce(session, connection.peer_id(), announce);
    }
    assert_eq!(told(&state, &outbox, later), [four, six]);
    state.exit(1, me);
    assert!(matches!(world.connections[1].0.closed().await, TransportError::ClosedByPeer { code: 0, .. }));
    (2..=4).for_each(|session| state.exit(session, PeerId(Digest([2; 32]))));
    assert_eq!((state.counts(), state.bytes()), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_second_address_is_believed_while_its_connection_stands_and_an_hour_after_it_was_finished() {
    let (world, content) = (both_families().await, ContentId(Digest([7; 32])));
    let (state, outbox) = introduced(&world, content);
    let [four, six] = BOTH.map(|at| at.parse::<SocketAddr>().unwrap());
    let [(_, one), (_, over_six), ..] = &world.connections[..] else { panic!() };
    let me = one.peer_id();
    assert!(state.open(3, over_six));
    let hour = Duration::from_secs(60 * 60);
    let mut all = told(&state, &outbox, content);
    for finished in [false, true] {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let token = state.address_token(1, me).unwrap();
        assert_eq!(state.prove_second_address(3, &**over_six, token, &[four, six]), Some(1));
        state.readdress((1, me), content, true);
        all.extend(told(&state, &outbox, content));
        tokio::time::sleep(hour * 9).await;
        assert_eq!(state.forget_old_second_addresses(), [], "it stands");
        if finished {
            state.second_address_finished(3, me);
            assert_eq!(state.second_address_lost(3, me), None);
            tokio::time::sleep(hour / 2).await;
            assert_eq!(state.forget_old_second_addresses(), []);
            tokio::time::sleep(hour / 2).await;
            assert_eq!(state.forget_old_second_addresses(), [(1, me)]);
        } else {
            assert_eq!(state.second_address_lost(9, me), None, "that is another connection");
            assert_eq!(state.second_address_lost(3, me), Some(1));
        }
        state.readdress((1, me), content, true);
        all.extend(told(&state, &outbox, content));
    }
    assert_eq!(all, [four, four, six, four, four, six, four]);
}

#[tokio::test(start_paused = true)]
async fn announcing_and_leaving_in_turn_is_announcing_too_often() {
    let world = World::new(&["10.0.0.2:9000"]).await;
    let (state, (_, connection)) = (State::new(ServerConfig::default()), &world.connections[0]);
    let (peer, content) = (connection.peer_id(), ContentId(Digest([7; 32])));
    assert!(state.open(1, connection) && state.enter(1, connection, Arc::default(), &[]));
    let announce = Announce { content, about: None, role: Role::Seeder };
    let turn = || {
        let counts = state.announce(1, peer, announce.clone());
        state.leave(1, peer, content);
        counts
    };
    assert_eq!([(); 5].map(|()| turn()), [0, 1, 1, 1, 1]);
    let before = state.bytes();
    assert!((0..1000).all(|_| turn() == TOO_OFTEN));
    assert_eq!(state.bytes(), before, "it is remembered once");
}
