//! Whole swarms of engines.

use super::*;

#[test]
fn everyone_gets_everything_from_one_seeder() {
    for seed in 0..20 {
        let mut world = World::new(5, 200, seed * 100);
        world.seed(0, PieceSet::full(200));
        (1..5).for_each(|n| world.want(n));
        world.run(Duration::from_secs(60));
        assert_eq!(world.completed.len(), 4, "seed {seed}");
        assert!((1..5).all(|n| world.have(n) == 200), "seed {seed}");
    }
}

#[test]
fn partial_seeders_complete_a_file_together() {
    let mut world = World::new(4, 90, 1);
    for n in 0..3 {
        let mut have = PieceSet::empty(90);
        have.insert_run(PieceRange { first: n as u32 * 30, count: 30 });
        world.seed(n, have);
    }
    world.want(3);
    world.run(Duration::from_secs(60));
    assert_eq!(world.completed, [3]);
    assert_eq!(world.sent[..3], [30, 30, 30]);
}

#[test]
fn every_seeder_gives_a_share() {
    let mut world = World::new(4, 300, 1);
    (0..3).for_each(|n| world.seed(n, PieceSet::full(300)));
    world.want(3);
    world.run(Duration::from_secs(60));
    assert_eq!(world.completed, [3]);
    assert!(world.sent[..3].iter().all(|&sent| sent > 30), "{:?}", world.sent);
}

#[test]
fn a_piece_that_nobody_has_is_said_and_waited_for() {
    let mut world = World::new(3, 50, 1);
    let mut have = PieceSet::full(50);
    have.remove(7);
    world.seed(0, have);
    world.want(2);
    world.run(Duration::from_secs(30));
    assert_eq!(world.have(2), 49);
    assert_eq!(world.lacking[2], [PieceRange { first: 7, count: 1 }]);
    // Someone comes who has it.
    world.seed(1, PieceSet::full(50));
    let peers = vec![PeerAddress { id: peer(1), addresses: vec![address(1)] }];
    world.events.push_back((2, Event::Found { content: content(), peers }));
    world.run(Duration::from_secs(300));
    assert_eq!(world.completed, [2]);
    assert_eq!(world.lacking[2], []);
}

#[test]
fn who_wants_a_part_gets_that_and_is_offered_nothing_else() {
    for seed in 0..20 {
        let mut world = World::new(3, 200, seed * 100);
        let mut part = PieceSet::empty(200);
        part.insert_run(PieceRange { first: 50, count: 30 });
        part.insert_run(PieceRange { first: 150, count: 10 });
        world.goals.insert(2, part);
        world.seed(0, PieceSet::full(200));
        (1..3).for_each(|n| world.want(n));
        world.run(Duration::from_secs(60));
        assert_eq!(world.completed.len(), 2, "seed {seed}");
        assert_eq!((world.have(1), world.have(2)), (200, 40), "seed {seed}");
        // First pieces are asked for before it is known which are wanted: one of them may be for nothing.
        let sent = world.sent.iter().sum::<u32>();
        assert!((240..=241).contains(&sent), "seed {seed}: {sent}");
        assert_eq!(world.engines[2].have(content()).unwrap().count(), 40, "seed {seed}");
        assert!(world.lacking.iter().all(Vec::is_empty), "seed {seed}: what nobody wants lacks nowhere");
    }
}

#[test]
fn a_liar_is_shut_out_and_its_pieces_come_from_others() {
    for seed in 0..20 {
        let mut world = World::new(3, 100, seed * 10);
        world.liar = Some(0);
        world.seed(0, PieceSet::full(100));
        world.seed(1, PieceSet::full(100));
        world.want(2);
        world.run(Duration::from_secs(120));
        assert_eq!(world.completed, [2], "seed {seed}");
        assert_eq!(world.banned, [(2, peer(0))], "seed {seed}");
    }
}

#[test]
fn a_peer_that_knows_only_itself_does_nothing() {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
    let peers = vec![PeerAddress { id: peer(0), addresses: vec![address(0)] }];
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers }, &mut actions);
    for n in 1..100 {
        engine.handle(Duration::from_millis(n * 250), Event::Tick, &mut actions);
        assert!(engine.next_timeout() > Duration::from_millis(n * 250), "no busy loop");
    }
    assert_eq!(actions, []);
}

#[test]
fn a_peer_of_both_ip_families_is_told_to_those_who_have_the_other_one() {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (ipv4, ipv6) = (at("192.0.2.1:9001"), at("[2001:db8::1]:9001"));
    let told = |named_by_tracker: bool, named_by_itself: bool| {
        let (mut engine, mut actions) = (lone_engine(false), Vec::new());
        let named = if named_by_tracker { vec![ipv6, ipv4] } else { vec![ipv6] };
        let peers = vec![PeerAddress { id: peer(1), addresses: named }];
        engine.handle(Duration::ZERO, Event::Found { content: content(), peers }, &mut actions);
        let listeners = if named_by_itself { vec![ipv6, ipv4] } else { vec![ipv6] };
        for (conn, remote, listeners) in [(1, ipv6, listeners), (2, at("198.51.100.2:9002"), Vec::new())] {
            let connected =
                Event::Connected { conn, peer: peer(conn as usize), remote, dialled: false, relayed: false };
            engine.handle(Duration::ZERO, connected, &mut actions);
            let hello = PeerMessage::Hello { version: VERSION, listeners, site: String::new() };
            for message in [hello, PeerMessage::Join { content: content(), pieces: Some(100), wants: true }] {
                engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
            }
        }
        (1..40).for_each(|tick| engine.handle(TICK * tick, Event::Tick, &mut actions));
        let told = actions.into_iter().filter_map(|action| match action {
            Action::Send { conn: 2, message: PeerMessage::Peers { peers, .. } } => Some(peers),
            _ => None,
        });
        told.flatten().flat_map(|peer| peer.addresses).collect::<Vec<_>>()
    };
    assert_eq!(told(true, true), [ipv6, ipv4]);
    assert_eq!((told(true, false), told(false, true)), (vec![ipv6], vec![ipv6]), "one of them may lie");
}
