//! What the tracker keeps of sessions that end, move or make room, without a network.

use std::sync::Barrier;
use std::time::Duration;

use protocol::{Digest, Role};
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
        let network = MemoryNetwork::new();
        let bind = |id: u8, at: &str| network.bind(PeerId(Digest([id; 32])), vec![at.parse().unwrap()]).unwrap();
        let tracker = bind(0, "10.0.0.1:9999");
        let peers: Vec<_> = (1..).zip(peers).map(|(id, at)| bind(id, at)).collect();
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
