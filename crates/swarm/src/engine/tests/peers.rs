//! Whom an engine dials, keeps and shuts out.

use super::*;

#[test]
fn a_silent_peer_that_owes_something_is_dialled_beside_its_connection() {
    let (mut engine, _) = downloader(&[1, 2]);
    let peers = vec![PeerAddress { id: peer(1), addresses: vec![address(1)] }];
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers }, &mut actions);
    let dials = |actions: &[Action]| actions.iter().filter(|action| matches!(action, Action::Dial { .. })).count();
    assert_eq!(dials(&actions), 0, "it is connected");
    for second in 3..6 {
        engine.handle(Duration::from_secs(second), Event::Silence { conn: 1 }, &mut actions);
    }
    assert_eq!(dials(&actions), 1, "one try at a time");
    engine.handle(Duration::from_secs(6), Event::DialFailed { peer: peer(1) }, &mut actions);
    engine.handle(Duration::from_secs(6), Event::Silence { conn: 1 }, &mut actions);
    assert_eq!(dials(&actions), 2, "the next follows at once");
    let connected = Event::Connected { conn: 3, peer: peer(1), remote: address(1), dialled: true };
    engine.handle(Duration::from_secs(7), connected, &mut actions);
    assert!(actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. })), "the new one counts");
}

#[test]
fn connections_that_are_here_for_nothing_make_room() {
    let (mut engine, _) = downloader(&[1, 2]);
    let mut closed = Vec::new();
    for conn in 3..500u64 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&conn.to_le_bytes());
        let connected = Event::Connected { conn, peer: PeerId(Digest(id)), remote: address(3), dialled: false };
        let mut actions = Vec::new();
        engine.handle(Duration::from_millis(conn), connected, &mut actions);
        closed.extend(actions.iter().filter_map(|action| match action {
            Action::Close { conn, .. } => Some(*conn),
            _ => None,
        }));
    }
    let most = 2 * Config::default().connections as u64;
    // The oldest go, and nobody who takes part.
    assert_eq!(closed, (3..500 - (most - 2)).collect::<Vec<_>>());
}

/// A seeder whose file is edited serves wrong pieces until it notices, and then withdraws them.
#[test]
fn a_wrong_piece_withdrawn_within_a_second_is_forgiven() {
    let wrong = |engine: &mut Engine, at: Duration, actions: &mut Vec<Action>| {
        let requests = fetches(actions);
        let (_, request, run) = *requests.iter().rev().find(|(conn, ..)| *conn == 1).expect("it is asked");
        for piece in run.pieces().take(5) {
            engine.handle(at, Event::Corrupt { request, piece }, actions);
        }
    };
    let banned = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Banned { .. }));
    let say = |engine: &mut Engine, message, at, actions: &mut Vec<Action>| {
        engine.handle(at, Event::Message { conn: 1, message }, actions);
    };
    // It withdraws in time, three times; the fourth time is once too often.
    let (mut engine, mut actions) = downloader(&[1]);
    for round in 0..4 {
        let at = Duration::from_secs(round * 3);
        wrong(&mut engine, at, &mut actions);
        assert_eq!(banned(&actions), round == 3, "round {round}");
        say(&mut engine, PeerMessage::Withdraw { content: content() }, at + Duration::from_millis(500), &mut actions);
        engine.handle(at + Duration::from_secs(2), Event::Tick, &mut actions);
        assert_eq!(banned(&actions), round == 3, "round {round}, after it withdrew");
        let all = vec![PieceRange { first: 0, count: 100 }];
        for message in [
            PeerMessage::Join { content: content(), pieces: Some(100), wants: false },
            PeerMessage::Have { content: content(), runs: all.clone(), in_flight: vec![] },
            PeerMessage::Offer { content: content(), runs: all },
        ] {
            say(&mut engine, message, at + Duration::from_secs(2), &mut actions);
        }
    }
    // It does not, or leaves instead.
    for leaves in [false, true] {
        let (mut engine, mut actions) = downloader(&[1]);
        wrong(&mut engine, Duration::ZERO, &mut actions);
        if leaves {
            engine.handle(Duration::from_millis(500), Event::Disconnected { conn: 1 }, &mut actions);
        }
        engine.handle(Duration::from_secs(2), Event::Tick, &mut actions);
        assert!(banned(&actions), "leaves: {leaves}");
    }
}

#[test]
fn a_restarted_peer_replaces_its_old_connection() {
    let (mut engine, _) = downloader(&[1]);
    let mut actions = Vec::new();
    let event = Event::Connected { conn: 7, peer: peer(1), remote: address(1), dialled: true };
    engine.handle(Duration::from_secs(1), event, &mut actions);
    assert!(actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. })));
    assert_eq!(engine.connections().len(), 1);
}

#[test]
fn made_up_peers_do_not_hide_one_that_the_tracker_names() {
    let (mut engine, mut actions) = (lone_engine(true), Vec::new());
    greet(&mut engine, 1, peer(1), &mut actions);
    for page in 0..8u64 {
        let made_up = |n| PeerAddress { id: stranger(page * 64 + n), addresses: vec![address(3)] };
        let message = PeerMessage::Peers { content: content(), peers: (0..64).map(made_up).collect() };
        engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
    }
    let peers = vec![PeerAddress { id: peer(2), addresses: vec![address(2)] }];
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers }, &mut actions);
    let (mut now, mut dialled) = (Duration::ZERO, false);
    for _ in 0..3_000 {
        now += Duration::from_millis(100);
        engine.handle(now, Event::Tick, &mut actions);
        for action in std::mem::take(&mut actions) {
            if let Action::Dial { peer: to } = action {
                dialled |= to.id == peer(2);
                engine.handle(now, Event::DialFailed { peer: to.id }, &mut actions);
            }
        }
    }
    assert!(dialled);
}

#[test]
fn no_peer_rewrites_the_addresses_that_the_tracker_gave() {
    let (mut engine, mut actions) = (lone_engine(true), Vec::new());
    greet(&mut engine, 1, peer(1), &mut actions);
    let at = |n| vec![PeerAddress { id: peer(2), addresses: vec![address(n)] }];
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers: at(2) }, &mut actions);
    engine.handle(Duration::ZERO, Event::DialFailed { peer: peer(2) }, &mut actions);
    actions.clear();
    let message = PeerMessage::Peers { content: content(), peers: at(9) };
    engine.handle(Duration::from_millis(10), Event::Message { conn: 1, message }, &mut actions);
    (1..20).for_each(|s| engine.handle(Duration::from_secs(s), Event::Tick, &mut actions));
    let dialled: Vec<_> = actions.iter().filter(|action| matches!(action, Action::Dial { .. })).collect();
    assert!(!dialled.is_empty());
    for action in dialled {
        assert!(matches!(action, Action::Dial { peer } if peer.addresses == [address(2)]), "{action:?}");
    }
}

#[test]
fn strangers_that_join_and_do_nothing_make_room() {
    for wants in [false, true] {
        let (mut engine, mut actions) = (lone_engine(false), Vec::new());
        for conn in 1..=120 {
            greet(&mut engine, conn, stranger(conn), &mut actions);
            let message = PeerMessage::Join { content: content(), pieces: Some(100), wants };
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
        (1..=900).for_each(|n| engine.handle(Duration::from_millis(n * 100), Event::Tick, &mut actions));
        actions.clear();
        let connected = Event::Connected { conn: 1000, peer: stranger(1000), remote: address(5), dialled: false };
        engine.handle(Duration::from_secs(91), connected, &mut actions);
        let refused = |action: &Action| matches!(action, Action::Close { conn: 1000, .. });
        assert!(!actions.iter().any(refused), "wants: {wants}");
    }
}

/// Ids are free to make: the books on them do not grow with every one that misbehaves.
#[test]
fn bans_and_pardons_are_forgotten_oldest_first_and_only_for_room() {
    let mut engine = lone_engine(true);
    let all = vec![PieceRange { first: 0, count: 100 }];
    // Each sends five wrong pieces, and withdraws the content at once, or leaves.
    let mut misbehave = |number: u64, withdraws: bool| {
        let (conn, mut actions) = (number + 1, Vec::new());
        greet(&mut engine, conn, stranger(number), &mut actions);
        for message in [
            PeerMessage::Join { content: content(), pieces: Some(100), wants: false },
            PeerMessage::Have { content: content(), runs: all.clone(), in_flight: vec![] },
            PeerMessage::Offer { content: content(), runs: all.clone() },
        ] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
        for (_, request, run) in fetches(&actions).into_iter().take(1) {
            for piece in run.pieces().take(5) {
                engine.handle(Duration::ZERO, Event::Corrupt { request, piece }, &mut actions);
            }
        }
        let message = PeerMessage::Withdraw { content: content() };
        if withdraws {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
        engine.handle(Duration::ZERO, Event::Disconnected { conn }, &mut actions);
        (fetches(&actions).is_empty(), actions.iter().any(|action| matches!(action, Action::Banned { .. })))
    };
    let (most, numbered) = (MOST_KEYS as u64, |n: u64| n + 10_000);
    (0..=most).for_each(|n| assert_eq!(misbehave(n, false), (false, true), "{n} is new, and shut out"));
    assert_eq!(misbehave(most, false), (true, false), "it is not welcome");
    assert_eq!(misbehave(1, false), (true, false), "nor is the oldest for which there was room");
    assert_eq!(misbehave(0, false), (false, true), "the first is forgotten, and shut out anew");

    (0..3).for_each(|_| assert_eq!(misbehave(numbered(0), true), (false, false), "it is forgiven three times"));
    (0..3).for_each(|_| assert_eq!(misbehave(numbered(1), true), (false, false)));
    (2..=most).for_each(|n| assert_eq!(misbehave(numbered(n), true), (false, false)));
    assert_eq!(misbehave(numbered(1), true), (false, true), "and no more");
    assert_eq!(misbehave(numbered(0), true), (false, false), "but the first is forgotten");
}
