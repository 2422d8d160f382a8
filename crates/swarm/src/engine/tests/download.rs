//! What an engine asks for, and of whom; requests that stall, fail or are given up.

use super::*;

#[test]
fn a_silent_peer_is_dropped_and_its_pieces_go_elsewhere() {
    let (mut engine, actions) = downloader(&[1, 2]);
    let mut answered = fetches(&actions);
    let mut closed = false;
    let mut got = 0;
    for n in 0..400u64 {
        let now = Duration::from_millis(n * 100);
        let mut actions = Vec::new();
        engine.handle(now, Event::Tick, &mut actions);
        // Peer 2 answers everything, peer 1 nothing.
        while let Some((conn, request, run)) = answered.pop() {
            if conn != 2 {
                continue;
            }
            for piece in run.pieces() {
                engine.handle(now, Event::Progress { request, bytes: 1024 }, &mut actions);
                engine.handle(now, Event::Stored { content: content(), request, piece }, &mut actions);
            }
            engine.handle(now, Event::Finished { request, failure: None }, &mut actions);
            answered.extend(fetches(&actions));
            closed |= actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. }));
            actions.clear();
        }
        answered.extend(fetches(&actions));
        closed |= actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. }));
        got = engine.view(content()).unwrap().have;
    }
    assert_eq!(got, 100);
    // Though what it owed has come from elsewhere.
    assert!(closed);
}

#[test]
fn a_crawling_peer_is_dropped_if_another_is_much_faster() {
    for fast in [0, 100, 1000] {
        let (mut engine, actions) = downloader(&[1, 2]);
        let requests = fetches(&actions);
        let request_of = |peer| requests.iter().find(|&&(conn, ..)| conn == peer).map(|&(_, request, _)| request);
        let mut closed = false;
        for n in 1..120u64 {
            let (now, mut actions) = (Duration::from_millis(n * 250), Vec::new());
            for (peer, bytes) in [(1, 5), (2, fast)] {
                let request = request_of(peer).unwrap();
                engine.handle(now, Event::Progress { request, bytes }, &mut actions);
            }
            engine.handle(now, Event::Tick, &mut actions);
            closed |= actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. }));
        }
        assert_eq!(closed, fast == 1000, "beside one that gives {fast} bytes each time");
    }
}

#[test]
fn a_manifest_that_does_not_come_is_asked_of_someone_else() {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
    for conn in [1, 2] {
        let (id, remote) = (peer(conn as usize), address(conn as usize));
        engine.handle(
            Duration::ZERO,
            Event::Connected { conn, peer: id, remote, dialled: true, relayed: false },
            &mut actions,
        );
        let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
        for message in [hello(conn as usize), join] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
    }
    (0..8).for_each(|n| engine.handle(Duration::from_millis(n * 250), Event::Tick, &mut actions));
    let asked = actions.iter().filter_map(|action| match action {
        Action::FetchManifest { conn, .. } => Some(*conn),
        _ => None,
    });
    let asked: std::collections::BTreeSet<_> = asked.collect();
    assert_eq!(asked, [1, 2].into(), "within two seconds");
}

#[test]
fn pieces_in_flight_stay_within_the_budget() {
    let config = Config { budget: 8 * 1024, ..Config::default() };
    let mut engine = Engine::new(config, peer(0), hello(0), 1);
    let mut actions = Vec::new();
    let have = PieceSet::empty(100);
    let event = Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
    engine.handle(Duration::ZERO, event, &mut actions);
    for conn in 1..=4 {
        let (id, remote) = (peer(conn as usize), address(conn as usize));
        let connected = Event::Connected { conn, peer: id, remote, dialled: true, relayed: false };
        engine.handle(Duration::ZERO, connected, &mut actions);
        let runs = vec![PieceRange { first: 0, count: 100 }];
        for message in [
            hello(conn as usize),
            PeerMessage::Join { content: content(), pieces: Some(100), wants: false },
            PeerMessage::Have { content: content(), runs: runs.clone(), in_flight: vec![] },
            PeerMessage::Offer { content: content(), runs },
        ] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
    }
    let pieces: u32 = fetches(&actions).iter().map(|(_, _, run)| run.count).sum();
    assert!((2..=8 + 4).contains(&pieces), "{pieces} pieces under way");
}

#[test]
fn what_came_makes_room_before_its_verdict_but_no_more_than_it_took() {
    let config = Config { budget: 8 * u64::from(PIECE), ..Config::default() };
    let mut engine = Engine::new(config, peer(0), hello(0), 1);
    let mut actions = Vec::new();
    let have = PieceSet::empty(100);
    let event = Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
    engine.handle(Duration::ZERO, event, &mut actions);
    let connected = Event::Connected { conn: 1, peer: peer(1), remote: address(1), dialled: true, relayed: false };
    engine.handle(Duration::ZERO, connected, &mut actions);
    // It does not say what it has: only what it offers is asked for, in two requests once it has given something.
    let offer = |engine: &mut Engine, runs, actions: &mut Vec<Action>| {
        let message = PeerMessage::Offer { content: content(), runs };
        engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, actions);
    };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message: hello(1) }, &mut actions);
    offer(&mut engine, vec![PieceRange { first: 99, count: 1 }], &mut actions);
    let (_, request, _) = fetches(&actions)[0];
    for event in [
        Event::Progress { request, bytes: u64::from(PIECE) },
        Event::Stored { content: content(), request, piece: 99 },
        Event::Finished { request, failure: None },
    ] {
        engine.handle(Duration::ZERO, event, &mut actions);
    }
    actions.clear();
    offer(&mut engine, vec![PieceRange { first: 0, count: 3 }, PieceRange { first: 10, count: 80 }], &mut actions);
    let asked = |actions: &[Action]| fetches(actions).iter().map(|&(_, _, run)| run).collect::<Vec<_>>();
    // An eighth is left for peers that have not given anything yet.
    assert_eq!(asked(&actions), [PieceRange { first: 0, count: 3 }, PieceRange { first: 10, count: 4 }]);
    let (_, first, _) = fetches(&actions)[0];
    for (bytes, makes_room) in [(u64::from(PIECE), Some(1)), (1 << 20, Some(2)), (1 << 20, None)] {
        let mut actions = Vec::new();
        engine.handle(Duration::ZERO, Event::Progress { request: first, bytes }, &mut actions);
        let counts: Vec<_> = asked(&actions).iter().map(|run| run.count).collect();
        assert_eq!(counts, makes_room.into_iter().collect::<Vec<_>>(), "{bytes} bytes came");
    }
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Finished { request: first, failure: None }, &mut actions);
    assert_eq!(asked(&actions), [], "its room was given back already");
}

#[test]
fn pieces_that_do_not_exist_end_the_connection() {
    let (mut engine, _) = downloader(&[1]);
    for run in [
        PieceRange { first: 99, count: 2 },
        PieceRange { first: u32::MAX, count: 1 },
        PieceRange { first: 0, count: 0 },
    ] {
        let mut actions = Vec::new();
        let (mut fresh, _) = downloader(&[1]);
        std::mem::swap(&mut engine, &mut fresh);
        let message = PeerMessage::Have { content: content(), runs: vec![run], in_flight: vec![] };
        engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
        assert!(actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. })), "{run:?}");
    }
}

/// Found by fuzzing: the old requests were counted as the new content's, which had no such pieces yet.
#[test]
fn a_content_that_is_wanted_again_before_its_requests_have_ended_starts_anew() {
    let (mut engine, actions) = downloader(&[1, 2]);
    let old = fetches(&actions);
    assert!(!old.is_empty());
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Withdraw { content: content() }, &mut actions);
    assert!(old.iter().all(|(_, request, _)| actions.contains(&Action::Cancel { request: *request })));
    for manifest_is_here in [false, true] {
        engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
        if manifest_is_here {
            let have = PieceSet::empty(100);
            let event =
                Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
            engine.handle(Duration::ZERO, event, &mut actions);
        }
        for seconds in 1..9 {
            engine.handle(Duration::from_secs(seconds), Event::Tick, &mut actions);
        }
    }
    for &(_, request, run) in &old {
        engine.handle(
            Duration::from_secs(9),
            Event::Stored { content: content(), request, piece: run.first },
            &mut actions,
        );
        engine.handle(Duration::from_secs(9), Event::Finished { request, failure: None }, &mut actions);
    }
    assert_eq!(engine.view(content()).unwrap().have, 0, "what came for the old one is not the new one's");
}

/// A link that failed once may be the only one there is.
#[test]
fn a_manifest_that_did_not_come_is_asked_for_again() {
    let (mut engine, mut actions) = (Engine::new(Config::default(), peer(0), hello(0), 1), Vec::new());
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
    greet(&mut engine, 1, peer(1), &mut actions);
    let message = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
    let asked = |actions: &mut Vec<Action>| {
        std::mem::take(actions).iter().filter(|action| matches!(action, Action::FetchManifest { .. })).count()
    };
    assert_eq!(asked(&mut actions), 1);
    let failed = Event::ManifestFailed { content: content(), conn: 1, lied: false };
    engine.handle(Duration::from_secs(1), failed, &mut actions);
    assert_eq!(asked(&mut actions), 0, "not at once, or it would never rest");
    engine.handle(Duration::from_secs(3), Event::Tick, &mut actions);
    assert_eq!(asked(&mut actions), 1);
}
