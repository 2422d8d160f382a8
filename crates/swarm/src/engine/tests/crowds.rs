//! A hundred strangers at once, one of them honest: it is asked soon, for the manifest and for pieces.

use super::hostile::{bytes_asked, closed, offers_all, wants};
use super::*;

const SILENT: u64 = 100;
const HONEST: ConnId = SILENT + 1;

#[test]
fn a_crowd_of_silent_peers_leaves_an_honest_one_a_place() {
    let (mut engine, mut actions) = (wants(20_000), Vec::new());
    for conn in 1..=HONEST {
        offers_all(&mut engine, Duration::ZERO, conn, stranger(conn), 20_000, &mut actions);
    }
    for tick in 1..=2 {
        engine.handle(Duration::from_millis(tick * 250), Event::Tick, &mut actions);
    }
    assert!(bytes_asked(&actions, HONEST) > 0, "nothing is asked of the honest one");
}

#[test]
fn a_crowd_of_silent_peers_is_soon_asked_for_a_manifest() {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
    for conn in 1..=HONEST {
        greet(&mut engine, conn, stranger(conn), &mut actions);
        let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
        engine.handle(Duration::ZERO, Event::Message { conn, message: join }, &mut actions);
    }
    // Strangers on the same network: an answer would take a millisecond.
    while engine.next_timeout() <= Duration::from_millis(600) {
        let now = engine.next_timeout();
        engine.handle(now, Event::Tick, &mut actions);
    }
    let asked = |conn: ConnId| {
        let fetch = |action: &Action| matches!(action, Action::FetchManifest { conn: of, .. } if *of == conn);
        actions.iter().any(fetch)
    };
    let left = (1..=HONEST).filter(|&conn| !asked(conn)).count();
    assert_eq!(left, 0, "peers were not asked");
}

#[test]
fn room_for_a_part_of_an_offer_is_saved_up() {
    let (mut engine, mut actions) = (wants(20_000), Vec::new());
    offers_all(&mut engine, Duration::ZERO, 1, stranger(1), 20_000, &mut actions);
    // It sends what it is asked for, and each piece makes room for more.
    let (mut requests, mut pieces) = (0, 0);
    while pieces < 16_384 {
        let (_, request, run) = fetches(&actions).first().copied().expect("more is asked for");
        let first = actions.iter().position(|action| matches!(action, Action::Fetch { .. }));
        drop(actions.drain(..=first.unwrap_or(0)));
        (requests, pieces) = (requests + 1, pieces + run.count);
        for piece in run.pieces() {
            let bytes = u64::from(PIECE);
            engine.handle(Duration::ZERO, Event::Progress { request, bytes }, &mut actions);
            engine.handle(Duration::ZERO, Event::Stored { content: content(), request, piece }, &mut actions);
        }
        engine.handle(Duration::ZERO, Event::Finished { request, failure: None }, &mut actions);
    }
    assert!(requests <= 16_384 / 256 + 32, "{requests} requests for 16 MiB");
}

#[test]
fn offers_that_were_taken_back_while_the_manifest_came_are_not_asked_for() {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
    greet(&mut engine, 1, peer(1), &mut actions);
    let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message: join }, &mut actions);
    for (millis, first) in [(0, 10), (1_100, 20), (2_200, 30)] {
        let message = PeerMessage::Offer { content: content(), runs: vec![PieceRange { first, count: 2 }] };
        engine.handle(Duration::from_millis(millis), Event::Message { conn: 1, message }, &mut actions);
    }
    let have = PieceSet::empty(100);
    let event = Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
    engine.handle(Duration::from_millis(2_500), event, &mut actions);
    let asked: Vec<PieceRange> = fetches(&actions).into_iter().map(|(.., run)| run).collect();
    assert_eq!(asked, [PieceRange { first: 30, count: 2 }]);
}

#[test]
fn the_tracker_is_asked_for_more_peers_while_nothing_comes() {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let searches = |engine: &mut Engine, seconds: std::ops::Range<u64>| {
        let mut actions = Vec::new();
        for tick in seconds.start * 4..seconds.end * 4 {
            engine.handle(Duration::from_millis(tick * 250), Event::Tick, &mut actions);
        }
        actions.iter().filter(|action| matches!(action, Action::FindMore { .. })).count()
    };
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut Vec::new());
    assert_eq!(searches(&mut engine, 0..1), 0, "the tracker has named all that it knows");
    let peers = (1..=50).map(|n| PeerAddress { id: stranger(n), addresses: vec![address(1)] }).collect();
    engine.handle(Duration::from_secs(1), Event::Found { content: content(), peers }, &mut Vec::new());
    assert_eq!(searches(&mut engine, 1..8), 2, "after 2 and 6 s");
    let have = PieceSet::empty(100);
    let event = Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
    engine.handle(Duration::from_secs(8), event, &mut Vec::new());
    assert_eq!(searches(&mut engine, 8..39), 2, "10 and 30 s after the manifest came");
}

#[test]
fn a_crowd_that_dials_us_leaves_room_to_dial_others() {
    let (mut engine, mut actions) = (wants(20_000), Vec::new());
    for conn in 1..=SILENT {
        let remote = SocketAddr::from(([127, 0, 1, conn as u8], 9000));
        let connected = Event::Connected { conn, peer: stranger(conn), remote, dialled: false, relayed: false };
        engine.handle(Duration::ZERO, connected, &mut actions);
        engine.handle(Duration::ZERO, Event::Message { conn, message: hello(1) }, &mut actions);
    }
    actions.clear();
    let honest = PeerAddress { id: stranger(HONEST), addresses: vec![address(1)] };
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers: vec![honest] }, &mut actions);
    let dials = actions.iter().any(|action| matches!(action, Action::Dial { .. }));
    assert!(dials, "the honest one is not dialled");
}

/// Says hello, and that it has the manifest.
fn has_manifest(engine: &mut Engine, now: Duration, conn: ConnId, actions: &mut Vec<Action>) {
    let remote = SocketAddr::from(([127, 0, 1, conn as u8], 9000));
    let connected = Event::Connected { conn, peer: stranger(conn), remote, dialled: false, relayed: false };
    let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
    for event in
        [connected, Event::Message { conn, message: hello(1) }, Event::Message { conn, message: join }, Event::Tick]
    {
        engine.handle(now, event, actions);
    }
}

/// Connections that are asked for the manifest, each time.
fn manifests_asked(actions: &[Action]) -> Vec<ConnId> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::FetchManifest { conn, .. } => Some(*conn),
        _ => None,
    });
    asked.collect()
}

fn manifest_fails(engine: &mut Engine, now: Duration, conn: ConnId, actions: &mut Vec<Action>) {
    engine.handle(now, Event::ManifestFailed { content: content(), conn, lied: false }, actions);
}

#[test]
fn a_hundred_silent_peers_are_asked_for_the_manifest_within_little_more_than_a_second() {
    let (mut engine, mut actions) = (Engine::new(Config::default(), peer(0), hello(0), 1), Vec::new());
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
    for conn in 1..=HONEST {
        has_manifest(&mut engine, Duration::ZERO, conn, &mut actions);
        // A round trip as there is on a busy machine.
        engine.handle(Duration::ZERO, Event::RoundTrip { conn, rtt: Duration::from_millis(90) }, &mut actions);
    }
    for tick in 1..=5 {
        engine.handle(Duration::from_millis(tick * 250), Event::Tick, &mut actions);
    }
    let asked: std::collections::BTreeSet<ConnId> = manifests_asked(&actions).into_iter().collect();
    assert_eq!(asked.len() as u64, HONEST, "each of them");
}

#[test]
fn who_comes_after_others_have_failed_is_asked_for_the_manifest_at_once() {
    let (mut engine, mut actions) = (Engine::new(Config::default(), peer(0), hello(0), 1), Vec::new());
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
    (1..=5).for_each(|conn| has_manifest(&mut engine, Duration::ZERO, conn, &mut actions));
    let mut failed = 0;
    while let Some(&conn) = manifests_asked(&actions).get(failed) {
        failed += 1;
        manifest_fails(&mut engine, Duration::from_millis(10), conn, &mut actions);
    }
    assert_eq!(failed, 5, "each is asked once");
    // A crowd of others that fail as fast.
    for conn in 6..=20 {
        let now = Duration::from_millis(conn * 45);
        actions.clear();
        has_manifest(&mut engine, now, conn, &mut actions);
        assert_eq!(manifests_asked(&actions), [conn], "it is asked at once, and nobody else");
        manifest_fails(&mut engine, now, conn, &mut actions);
        assert_eq!(manifests_asked(&actions), [conn], "once");
    }
    actions.clear();
    engine.handle(Duration::from_millis(1250), Event::Tick, &mut actions);
    assert!(!manifests_asked(&actions).is_empty(), "later failures do not put those off that failed at first");
}

/// Pieces of a small content that silent peers are asked for, once one that is honest and there before has, or has not, given its first one;
/// and what that one is asked for when it offers all of them then.
fn asked_of_a_small_content(gives: bool) -> (u64, u64) {
    let (mut engine, mut actions) = (wants(128), Vec::new());
    let all = PieceRange { first: 0, count: 128 };
    let say = |runs| PeerMessage::Offer { content: content(), runs };
    greet(&mut engine, HONEST, stranger(HONEST), &mut actions);
    let join = PeerMessage::Join { content: content(), pieces: Some(128), wants: false };
    let have = PeerMessage::Have { content: content(), runs: vec![all], in_flight: vec![] };
    for message in [join, have, say(vec![PieceRange { first: 0, count: 2 }])] {
        engine.handle(Duration::ZERO, Event::Message { conn: HONEST, message }, &mut actions);
    }
    if gives {
        let (_, request, run) = fetches(&actions)[0];
        engine.handle(Duration::ZERO, Event::Progress { request, bytes: u64::from(PIECE) }, &mut actions);
        engine.handle(Duration::ZERO, Event::Stored { content: content(), request, piece: run.first }, &mut actions);
    }
    actions.clear();
    for conn in 1..=SILENT {
        offers_all(&mut engine, Duration::ZERO, conn, stranger(conn), 128, &mut actions);
    }
    let silent = (1..=SILENT).map(|conn| bytes_asked(&actions, conn)).sum::<u64>();
    engine.handle(Duration::ZERO, Event::Message { conn: HONEST, message: say(vec![all]) }, &mut actions);
    (silent / u64::from(PIECE), bytes_asked(&actions, HONEST) / u64::from(PIECE))
}

#[test]
fn a_part_of_a_small_content_is_left_for_one_that_gives_some_of_it() {
    let (silent, honest) = asked_of_a_small_content(true);
    assert!((64..=96).contains(&silent) && honest >= 24, "{silent} and {honest}");
}

#[test]
fn while_nobody_gives_anything_of_a_small_content_as_many_as_can_be_are_tried() {
    assert_eq!(asked_of_a_small_content(false).0, 125, "two are asked of the other one, and one is left");
}

/// Most connections that an engine has.
const MOST: u64 = 120;

/// Comes from the address that all come from, and says that it wants all pieces.
fn comes_for_pieces(engine: &mut Engine, now: Duration, conn: ConnId, actions: &mut Vec<Action>) {
    let connected = Event::Connected { conn, peer: stranger(conn), remote: address(1), dialled: false, relayed: false };
    let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: true };
    for event in [connected, Event::Message { conn, message: hello(1) }, Event::Message { conn, message: join }] {
        engine.handle(now, event, actions);
    }
}

fn asks(engine: &mut Engine, now: Duration, conn: ConnId, piece: u32, actions: &mut Vec<Action>) {
    let run = PieceRange { first: piece, count: 1 };
    let event = Event::Requested { conn, serve: conn, content: content(), run, awaited: true };
    engine.handle(now, event, actions);
}

/// An engine with all of a content, and as many connections as there may be from one address.
fn crowded() -> (Engine, Vec<Action>) {
    assert_eq!(MOST, 2 * Config::default().connections as u64);
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    (1..=MOST).for_each(|conn| comes_for_pieces(&mut engine, Duration::ZERO, conn, &mut actions));
    (engine, actions)
}

#[test]
fn who_waits_for_its_first_piece_is_not_crowded_out_by_those_who_come_again_and_again() {
    let (mut engine, mut actions) = crowded();
    asks(&mut engine, Duration::ZERO, 1, 7, &mut actions);
    // To be refused is no merit.
    asks(&mut engine, Duration::ZERO, 2, 100, &mut actions);
    for conn in MOST + 1..=MOST + 200 {
        comes_for_pieces(&mut engine, Duration::from_millis(5 * (conn - MOST)), conn, &mut actions);
    }
    assert!(!closed(&actions, 1), "its first piece is on its way");
    assert!(closed(&actions, 2) && closed(&actions, MOST + 1), "others make room");
}

#[test]
fn who_asked_long_ago_goes_before_one_that_has_just_come() {
    let (mut engine, mut actions) = crowded();
    (1..=MOST / 3).for_each(|conn| asks(&mut engine, Duration::ZERO, conn, 7, &mut actions));
    // The rest have made room for peers that came later.
    for conn in MOST + 1..=MOST + 130 {
        let now = Duration::from_millis(30_000 + conn);
        comes_for_pieces(&mut engine, now, conn, &mut actions);
        assert!(!closed(&actions, conn.max(MOST + 2) - 1), "the last one that came");
    }
    assert!((1..=MOST / 3).all(|conn| closed(&actions, conn)));
}

#[test]
fn a_crowd_that_asks_leaves_those_who_have_not_asked_yet_their_time() {
    let (mut engine, mut actions) = crowded();
    (1..=MOST).for_each(|conn| asks(&mut engine, Duration::ZERO, conn, 7, &mut actions));
    let honest = MOST + 1;
    for conn in honest..=honest + 40 {
        let now = Duration::from_millis(100 + conn);
        comes_for_pieces(&mut engine, now, conn, &mut actions);
        if conn != honest {
            asks(&mut engine, now, conn, 7, &mut actions);
        }
    }
    assert!(!closed(&actions, honest), "it was offered nothing yet");
}

#[test]
fn a_crowd_of_one_address_may_say_no_more_than_a_few_of_it() {
    // So many of one address say nearly as much as a stranger may; how many of them are still connected.
    let left = |strangers: u64, same: bool| {
        let (mut engine, mut actions) = (wants(1000), Vec::new());
        for conn in 1..=strangers {
            let remote = SocketAddr::from(([127, 0, 1, if same { 1 } else { conn as u8 }], 9000));
            let connected = Event::Connected { conn, peer: stranger(conn), remote, dialled: false, relayed: false };
            engine.handle(Duration::ZERO, connected, &mut actions);
            engine.handle(Duration::ZERO, Event::Message { conn, message: hello(1) }, &mut actions);
        }
        for step in 0..1000 {
            for conn in 1..=strangers {
                let runs = vec![PieceRange { first: 0, count: 500 }];
                let message = PeerMessage::Decline { content: content(), runs };
                engine.handle(Duration::from_millis(step * 10), Event::Message { conn, message }, &mut actions);
            }
            engine.handle(Duration::from_millis(step * 10), Event::Tick, &mut actions);
            actions.clear();
        }
        engine.connections().len()
    };
    assert_eq!(left(4, true), 4);
    assert_eq!(left(100, false), 100, "of as many addresses");
    assert!(left(100, true) <= 4, "{}", left(100, true));
}
