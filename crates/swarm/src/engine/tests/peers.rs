//! Whom an engine dials, keeps and shuts out.

use super::*;
use crate::engine::ParticipantView;

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
    let connected = Event::Connected { conn: 3, peer: peer(1), remote: address(1), dialled: true, relayed: false };
    engine.handle(Duration::from_secs(7), connected, &mut actions);
    assert!(actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. })), "the new one counts");
}

/// A message of a few bytes has the driver look at how its sender stands, and at nobody else.
#[test]
fn how_one_stands_is_seen_without_a_look_at_others() {
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    let other = ContentId(Digest([8; 32]));
    let run = |first, count| vec![PieceRange { first, count }];
    for conn in 1..=2 {
        greet(&mut engine, conn, peer(conn as usize), &mut actions);
        for message in [
            PeerMessage::Join { content: content(), pieces: Some(100), wants: true },
            PeerMessage::Have { content: content(), runs: run(0, 10), in_flight: vec![] },
            PeerMessage::Skip { content: content(), runs: run(5, 25) },
        ] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
    }
    let view = |conn, wants| ParticipantView { conn, have: 10, pieces: 80, wants, came_whole: false };
    assert_eq!(engine.views_over(1), [(content(), view(1, true))]);
    assert_eq!(engine.participant_views(content()), [view(1, true), view(2, true)]);
    assert_eq!((engine.participant_view(1, other), engine.views_over(3)), (None, vec![]));
    let message = PeerMessage::Interest { content: content(), interested: false };
    engine.handle(Duration::ZERO, Event::Message { conn: 2, message }, &mut actions);
    assert_eq!(engine.participant_view(2, content()), Some(view(2, false)), "to say so again is no news");
}

/// Of who has everything when it first says what it has, nobody says that it got it.
#[test]
fn who_comes_with_everything_is_told_from_who_gets_it() {
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    // The last one is to have no more than these.
    for (conn, counts, skipped) in [(1, vec![100], 0), (2, vec![99, 100], 0), (3, vec![25], 75)] {
        greet(&mut engine, conn, peer(conn as usize), &mut actions);
        let mut says = |message| engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        says(PeerMessage::Join { content: content(), pieces: Some(100), wants: true });
        for count in counts {
            let runs = vec![PieceRange { first: 0, count }];
            says(PeerMessage::Have { content: content(), runs, in_flight: vec![] });
        }
        if skipped > 0 {
            let runs = vec![PieceRange { first: 100 - skipped, count: skipped }];
            says(PeerMessage::Skip { content: content(), runs });
        }
        let view = engine.participant_view(conn, content()).unwrap();
        assert_eq!((view.have, view.pieces, view.came_whole), (100 - skipped, 100 - skipped, conn != 2));
    }
}

#[test]
fn connections_that_are_here_for_nothing_make_room() {
    let (mut engine, _) = downloader(&[1, 2]);
    let mut closed = Vec::new();
    for conn in 3..500u64 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&conn.to_le_bytes());
        let connected =
            Event::Connected { conn, peer: PeerId(Digest(id)), remote: address(3), dialled: false, relayed: false };
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
    let event = Event::Connected { conn: 7, peer: peer(1), remote: address(1), dialled: true, relayed: false };
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

/// Nobody answers at their addresses, and each dial takes long.
#[test]
fn made_up_peers_take_half_of_the_dials_at_most() {
    let (mut engine, mut actions) = (lone_engine(true), Vec::new());
    for conn in 1..=3 {
        greet(&mut engine, conn, peer(conn as usize), &mut actions);
        let made_up = |n| PeerAddress { id: stranger(conn * 64 + n), addresses: vec![address(4); 32] };
        let message = PeerMessage::Peers { content: content(), peers: (0..64).map(made_up).collect() };
        engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
    }
    let wait = |engine: &mut Engine, seconds: std::ops::Range<u64>, actions: &mut Vec<Action>| {
        seconds.for_each(|second| engine.handle(Duration::from_secs(second), Event::Tick, actions));
        let dials = std::mem::take(actions).into_iter().filter_map(|action| match action {
            Action::Dial { peer } => Some(peer),
            _ => None,
        });
        dials.collect::<Vec<_>>()
    };
    let dialled = wait(&mut engine, 1..20, &mut actions);
    assert_eq!(dialled.len(), Config::default().connections / 2);
    assert!(dialled.iter().all(|peer| peer.addresses.len() == 8), "the likeliest");
    let peers = (4..24).map(|n| PeerAddress { id: peer(n), addresses: vec![address(n)] }).collect();
    engine.handle(Duration::from_secs(20), Event::Found { content: content(), peers }, &mut actions);
    let mut named: Vec<_> = wait(&mut engine, 20..23, &mut actions).iter().map(|peer| peer.id).collect();
    named.sort_unstable();
    assert_eq!(named, (4..24).map(peer).collect::<Vec<_>>(), "all of the tracker's, and no others");
}

/// All of its addresses are in networks that one lets nobody choose: the relay may lead to it.
#[test]
fn a_peer_that_the_tracker_names_without_an_address_is_dialled_and_one_that_a_peer_names_is_not() {
    let (mut engine, mut actions) = (lone_engine(true), Vec::new());
    greet(&mut engine, 1, peer(1), &mut actions);
    let nowhere = |n| vec![PeerAddress { id: peer(n), addresses: vec![] }];
    let message = PeerMessage::Peers { content: content(), peers: nowhere(3) };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers: nowhere(2) }, &mut actions);
    (1..20).for_each(|s| engine.handle(Duration::from_secs(s), Event::Tick, &mut actions));
    let dialled: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Dial { peer } => Some((peer.id, peer.addresses.len())),
            _ => None,
        })
        .collect();
    assert_eq!(dialled, [(peer(2), 0)]);
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
        let connected =
            Event::Connected { conn: 1000, peer: stranger(1000), remote: address(5), dialled: false, relayed: false };
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

/// An engine that shares a whole content, and what it does when the tracker introduces these.
fn introduced(numbers: std::ops::Range<u64>) -> (Engine, Vec<Action>) {
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    let peers = numbers.map(|n| PeerAddress { id: stranger(n), addresses: (0..9).map(address).collect() }).collect();
    engine.handle(Duration::from_secs(1), Event::Found { content: content(), peers }, &mut actions);
    (engine, actions)
}

fn dialled(actions: &[Action]) -> Vec<PeerAddress> {
    let dialled = |action: &Action| match action {
        Action::Dial { peer } => Some(peer.clone()),
        _ => None,
    };
    actions.iter().filter_map(dialled).collect()
}

/// Lets time pass, as the driver of the engine does.
fn pass(engine: &mut Engine, until: Duration, actions: &mut Vec<Action>) {
    while engine.next_timeout() <= until {
        let now = engine.next_timeout();
        engine.handle(now, Event::Tick, actions);
    }
}

#[test]
fn a_seeder_dials_back_whom_the_tracker_introduces_unless_it_comes_first() {
    let (mut engine, mut actions) = introduced(1..3);
    assert!(dialled(&actions).is_empty(), "most come by themselves");
    let connected = Event::Connected { conn: 1, peer: stranger(1), remote: address(1), dialled: false, relayed: false };
    engine.handle(Duration::from_millis(1100), connected, &mut actions);
    pass(&mut engine, Duration::from_millis(1300), &mut actions);
    let dials = dialled(&actions);
    assert_eq!(dials.iter().map(|peer| peer.id).collect::<Vec<_>>(), [stranger(2)]);
    assert!(dials[0].addresses.len() == 4 && dials[0].addresses[0] == address(0), "at its likeliest addresses");
    // It is tried a few times, and then no more.
    for second in 2..30 {
        engine.handle(Duration::from_secs(second), Event::DialFailed { peer: stranger(2) }, &mut actions);
        pass(&mut engine, Duration::from_secs(second + 1), &mut actions);
    }
    assert_eq!(dialled(&actions).len(), 3);
}

#[test]
fn peers_that_other_peers_name_are_not_dialled_back() {
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    greet(&mut engine, 1, peer(1), &mut actions);
    let peers = vec![PeerAddress { id: peer(2), addresses: vec![address(2)] }];
    let message = PeerMessage::Peers { content: content(), peers };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
    pass(&mut engine, Duration::from_secs(60), &mut actions);
    assert!(dialled(&actions).is_empty());
}

#[test]
fn a_crowd_of_introductions_makes_few_dials() {
    let (mut engine, mut actions) = introduced(0..1000);
    for tenth in 10..160 {
        let now = Duration::from_millis(tenth * 100);
        pass(&mut engine, now, &mut actions);
        let failed = dialled(&std::mem::take(&mut actions));
        assert!(failed.len() <= 8, "a few at once");
        for peer in &failed {
            engine.handle(now, Event::DialFailed { peer: peer.id }, &mut actions);
        }
        let peers = (0..50).map(|n| PeerAddress { id: stranger(tenth * 1000 + n), addresses: vec![address(1)] });
        engine.handle(now, Event::Found { content: content(), peers: peers.collect() }, &mut actions);
    }
    let (mut engine, mut actions) = introduced(0..1000);
    pass(&mut engine, Duration::from_secs(11), &mut actions);
    assert!((8..=50).contains(&dialled(&actions).len()), "four a second: {}", dialled(&actions).len());
}

/// Behind firewalls on both sides, a peer gets in only while the other side dials it, at the address from which that dials.
#[test]
fn who_is_being_dialled_is_dialled_at_addresses_that_the_tracker_sees_meanwhile() {
    for wanted in [false, true] {
        let (mut engine, mut actions) = (lone_engine(wanted), Vec::new());
        let found = |ports: std::ops::Range<usize>| {
            let peers = vec![PeerAddress { id: peer(1), addresses: ports.map(address).collect() }];
            Event::Found { content: content(), peers }
        };
        let also = |actions: &[Action]| -> Vec<PeerAddress> {
            let also = |action: &Action| match action {
                Action::DialAlso { peer } => Some(peer.clone()),
                _ => None,
            };
            actions.iter().filter_map(also).collect()
        };
        let mut at = |millis, event, actions: &mut Vec<Action>| {
            engine.handle(Duration::from_millis(millis), event, actions);
            pass(&mut engine, Duration::from_millis(millis + 250), actions);
        };
        at(1000, found(0..1), &mut actions);
        assert_eq!(dialled(&actions).len(), 1, "wanted: {wanted}");
        at(1300, found(0..1), &mut actions);
        assert!(also(&actions).is_empty(), "nothing is new");
        at(1600, found(0..9), &mut actions);
        let new = PeerAddress { id: peer(1), addresses: (1..5).map(address).collect() };
        assert_eq!(also(&actions), [new], "the likeliest of those that are new");
        at(1900, found(0..20), &mut actions);
        assert_eq!(also(&actions).len(), 1, "a tracker that names one after another has none of these dialled");
        at(2200, Event::DialFailed { peer: peer(1) }, &mut actions);
        at(9000, Event::Tick, &mut actions);
        assert_eq!(dialled(&actions).len(), 2, "the next dial is at all that are known");
        at(9300, found(20..21), &mut actions);
        assert_eq!(also(&actions).len(), 2, "and has further ones of its own");
    }
}

#[test]
fn what_other_peers_say_adds_no_address_to_a_dial() {
    let (mut engine, mut actions) = (lone_engine(true), Vec::new());
    greet(&mut engine, 1, peer(1), &mut actions);
    let named = |number| vec![PeerAddress { id: peer(2), addresses: vec![address(number)] }];
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers: named(2) }, &mut actions);
    let message = PeerMessage::Peers { content: content(), peers: named(3) };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
    assert_eq!(dialled(&actions), named(2));
    assert!(!actions.iter().any(|action| matches!(action, Action::DialAlso { .. })));
}

#[test]
fn news_of_where_a_relayed_peer_is_has_it_dialled_soon_but_not_each_time() {
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    let found = |number: u64| {
        let peers = vec![PeerAddress { id: peer(1), addresses: vec![address(number as usize)] }];
        Event::Found { content: content(), peers }
    };
    engine.handle(Duration::ZERO, found(0), &mut actions);
    let connected = Event::Connected { conn: 1, peer: peer(1), remote: address(0), dialled: false, relayed: true };
    engine.handle(Duration::ZERO, connected, &mut actions);
    actions.clear();
    for tenth in 1..100 {
        let now = Duration::from_millis(tenth * 100);
        engine.handle(now, found(tenth), &mut actions);
        pass(&mut engine, now, &mut actions);
        engine.handle(now, Event::DialFailed { peer: peer(1) }, &mut actions);
    }
    let dials = dialled(&actions).len();
    assert!((6..=10).contains(&dials), "once a second: {dials}");
}

#[test]
fn a_seeder_with_enough_takers_dials_nobody_back() {
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    for conn in 1..=16 {
        greet(&mut engine, conn, stranger(conn), &mut actions);
        let message = PeerMessage::Join { content: content(), pieces: Some(100), wants: true };
        engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
    }
    let peers = vec![PeerAddress { id: peer(2), addresses: vec![address(2)] }];
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers }, &mut actions);
    pass(&mut engine, Duration::from_secs(10), &mut actions);
    assert!(dialled(&actions).is_empty());
}

/// Whichever side dialled: the one that has it, or both at once, in any order.
#[test]
fn connections_that_cross_leave_one_that_both_join() {
    for (seed, order) in [(1, [0, 1]), (2, [1, 0])] {
        for shares in [0, 1] {
            let mut world = World::new(2, 20, seed);
            world.seed(shares, PieceSet::full(20));
            let wants = 1 - shares;
            world.events.push_back((wants, Event::Want { content: content() }));
            for n in order {
                let other = PeerAddress { id: peer(1 - n), addresses: vec![address(1 - n)] };
                world.events.push_back((n, Event::Found { content: content(), peers: vec![other.clone()] }));
                // As if it were dialled at this moment.
                world.act(n, Action::Dial { peer: other });
            }
            world.run(Duration::from_secs(5));
            assert_eq!(world.completed, [wants], "{shares} shares, {order:?}");
            assert_eq!([0, 1].map(|n| world.engines[n].connections().len()), [1, 1]);
        }
    }
}

#[test]
fn who_was_dialled_back_joins_what_it_wants() {
    let mut world = World::new(2, 20, 1);
    world.seed(0, PieceSet::full(20));
    let other = |n: usize| PeerAddress { id: peer(n), addresses: vec![address(n)] };
    world.events.push_back((1, Event::Want { content: content() }));
    world.events.push_back((0, Event::Found { content: content(), peers: vec![other(1)] }));
    world.act(0, Action::Dial { peer: other(1) });
    world.run(Duration::from_secs(5));
    assert_eq!(world.completed, [1], "the side that has it has dialled, and the other has not heard of it yet");
}

/// A peer that moved dials anew; whatever its id, the old connection is dead.
#[test]
fn a_later_connection_replaces_the_old_one_whichever_side_dialled() {
    for (from, dialled) in [(1, true), (1, false), (9, true), (9, false)] {
        let (mut engine, mut actions) = (Engine::new(Config::default(), peer(5), hello(0), 1), Vec::new());
        let connected =
            |conn, dialled| Event::Connected { conn, peer: peer(from), remote: address(1), dialled, relayed: false };
        engine.handle(Duration::ZERO, connected(1, dialled), &mut actions);
        engine.handle(Duration::from_secs(10), connected(2, !dialled), &mut actions);
        let closed = |action: &Action| matches!(action, Action::Close { conn: 1, .. });
        assert!(actions.iter().any(closed), "{from} {dialled}");
        assert_eq!(engine.connections().len(), 1);
    }
}

/// It does not matter which came first or which side dialled: the other rules are for connections of one kind.
#[test]
fn a_direct_connection_is_kept_and_a_relayed_one_is_not() {
    for dialled in [true, false] {
        for other in [true, false] {
            let connected =
                |conn, dialled, relayed| Event::Connected { conn, peer: peer(1), remote: address(1), dialled, relayed };
            let closed = |actions: &[Action], closed| {
                actions.iter().any(|action| matches!(action, Action::Close { conn, .. } if *conn == closed))
            };
            let (mut engine, mut actions) = (lone_engine(true), Vec::new());
            engine.handle(Duration::ZERO, connected(1, dialled, true), &mut actions);
            engine.handle(Duration::from_secs(1), connected(2, other, false), &mut actions);
            assert!(closed(&actions, 1) && !closed(&actions, 2), "the direct one came later");
            engine.handle(Duration::from_secs(2), connected(3, dialled, true), &mut actions);
            assert!(closed(&actions, 3) && !closed(&actions, 2), "the direct one was there");
        }
    }
}

#[test]
fn a_peer_behind_a_relay_is_dialled_directly_again_and_again() {
    let (mut engine, mut actions) = (lone_engine(true), Vec::new());
    let peers = vec![PeerAddress { id: peer(1), addresses: vec![address(1)] }];
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers }, &mut actions);
    let connected = Event::Connected { conn: 1, peer: peer(1), remote: address(1), dialled: true, relayed: true };
    engine.handle(Duration::ZERO, connected, &mut actions);
    actions.clear();
    let mut dials = Vec::new();
    for second in 1..600 {
        engine.handle(Duration::from_secs(second), Event::Tick, &mut actions);
        for action in actions.drain(..) {
            if let Action::Dial { peer } = action {
                dials.push((second, peer.id));
            }
        }
        engine.handle(Duration::from_secs(second), Event::DialFailed { peer: peer(1) }, &mut actions);
    }
    assert!(dials.iter().all(|(_, id)| *id == peer(1)));
    let pauses: Vec<_> = dials.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert_eq!((dials[0].0, &pauses[..4]), (5, &[10, 20, 40, 60][..]));
    assert!(pauses[4..].iter().all(|pause| *pause == 60), "{pauses:?}");
    // This machine has other addresses.
    let now = Duration::from_secs(601);
    engine.set_hello(hello(0));
    engine.handle(now, Event::Tick, &mut actions);
    assert!(actions.iter().any(|action| matches!(action, Action::Dial { .. })), "at once");
}
