//! Peers that stall, starve or flood: what they cost an honest one, in virtual time.

use super::*;

/// Makes peer `n`'s connection `conn`, with a hello and all pieces, and has it offer them all.
pub(super) fn offers_all(
    engine: &mut Engine,
    now: Duration,
    conn: ConnId,
    id: PeerId,
    pieces: u32,
    actions: &mut Vec<Action>,
) {
    let remote = SocketAddr::from(([127, 0, 1, conn as u8], 9000));
    engine.handle(now, Event::Connected { conn, peer: id, remote, dialled: true, relayed: false }, actions);
    let all = vec![PieceRange { first: 0, count: pieces }];
    for message in [
        hello(1),
        PeerMessage::Join { content: content(), pieces: Some(pieces), wants: false },
        PeerMessage::Have { content: content(), runs: all.clone(), in_flight: vec![] },
        PeerMessage::Offer { content: content(), runs: all },
    ] {
        engine.handle(now, Event::Message { conn, message }, actions);
    }
}

/// An engine that wants a content of so many pieces.
pub(super) fn wants(pieces: u32) -> Engine {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let have = PieceSet::empty(pieces);
    let wanted = PieceSet::full(pieces);
    let event = Event::Content { content: content(), geometry: geometry(pieces), have, wanted };
    engine.handle(Duration::ZERO, event, &mut Vec::new());
    engine
}

pub(super) fn bytes_asked(actions: &[Action], of: ConnId) -> u64 {
    fetches(actions).iter().filter(|(conn, ..)| *conn == of).map(|(.., run)| u64::from(run.count * PIECE)).sum()
}

pub(super) fn closed(actions: &[Action], of: ConnId) -> bool {
    actions.iter().any(|action| matches!(action, Action::Close { conn, .. } if *conn == of))
}

#[test]
fn wide_offers_of_strangers_take_a_part_of_the_budget() {
    let (mut engine, mut actions) = (wants(100_000), Vec::new());
    (1..=50).for_each(|conn| offers_all(&mut engine, Duration::ZERO, conn, stranger(conn), 100_000, &mut actions));
    assert_eq!(bytes_asked(&actions, 1), 1 << 20);
    let all: u64 = (1..=50).map(|conn| bytes_asked(&actions, conn)).sum();
    assert!(all < Config::default().budget / 3, "{all} bytes");
}

#[test]
fn silent_peers_hold_an_honest_one_up_for_little_time() {
    for (silent, seed) in [(1, 1), (1, 2), (20, 3), (20, 4)] {
        let mut world = World::new(2 + silent, 2000, seed * 100);
        world.silent = (2..2 + silent).collect();
        (1..2 + silent).for_each(|n| world.seed(n, PieceSet::full(2000)));
        world.want(0);
        world.run(Duration::from_secs(4));
        assert_eq!(world.have(0), 2000, "{silent} silent ones, seed {seed}, after {:?}", world.now);
    }
}

#[test]
fn a_trickle_is_judged_like_silence() {
    let (mut engine, mut actions) = (wants(2000), Vec::new());
    offers_all(&mut engine, Duration::ZERO, 1, stranger(1), 2000, &mut actions);
    let trickles: Vec<_> = fetches(&actions);
    actions.clear();
    offers_all(&mut engine, Duration::ZERO, 2, stranger(2), 2000, &mut actions);
    let mut honest = fetches(&actions);
    for tick in 1..=12 {
        let (now, mut actions) = (Duration::from_millis(tick * 250), Vec::new());
        for &(_, request, _) in &trickles {
            engine.handle(now, Event::Progress { request, bytes: 1 }, &mut actions);
        }
        while let Some((_, request, run)) = honest.pop().filter(|(conn, ..)| *conn == 2) {
            for piece in run.pieces() {
                engine.handle(now, Event::Progress { request, bytes: u64::from(PIECE) }, &mut actions);
                engine.handle(now, Event::Stored { content: content(), request, piece }, &mut actions);
            }
            engine.handle(now, Event::Finished { request, failure: None }, &mut actions);
            honest.extend(fetches(&actions));
            actions.clear();
            // An honest seeder offers again what is open.
            let open = engine.have(content()).unwrap().missing().collect::<PieceSet>().runs();
            let message = PeerMessage::Offer { content: content(), runs: open.into_iter().take(256).collect() };
            engine.handle(now, Event::Message { conn: 2, message }, &mut actions);
            honest.extend(fetches(&actions));
        }
        engine.handle(now, Event::Tick, &mut actions);
        honest.extend(fetches(&actions));
    }
    assert_eq!(engine.view(content()).unwrap().have, 2000);
}

#[test]
fn a_peer_that_refuses_what_it_offers_is_asked_less_and_less() {
    let (mut engine, mut actions) = (wants(100), Vec::new());
    offers_all(&mut engine, Duration::ZERO, 1, stranger(1), 100, &mut actions);
    let mut asked = 0;
    for tick in 1..=240 {
        let now = Duration::from_millis(tick * 250);
        let mut next = Vec::new();
        for (_, request, _) in fetches(&actions) {
            asked += 1;
            let failure = Some(Failure::Refused(RefusalReason::Busy));
            engine.handle(now, Event::Finished { request, failure }, &mut next);
        }
        let message = PeerMessage::Offer { content: content(), runs: vec![PieceRange { first: 0, count: 100 }] };
        engine.handle(now, Event::Message { conn: 1, message }, &mut next);
        engine.handle(now, Event::Tick, &mut next);
        actions = next;
    }
    assert!(asked <= 16, "asked {asked} times in a minute");
}

#[test]
fn offering_and_withdrawing_earns_a_rest() {
    let (mut engine, mut asked) = (wants(100), 0);
    for round in 0..20 {
        let (now, mut actions) = (Duration::from_millis(round * 240), Vec::new());
        match round {
            0 => offers_all(&mut engine, now, 1, stranger(1), 100, &mut actions),
            _ => {
                let all = vec![PieceRange { first: 0, count: 100 }];
                for message in [
                    PeerMessage::Withdraw { content: content() },
                    PeerMessage::Join { content: content(), pieces: Some(100), wants: false },
                    PeerMessage::Have { content: content(), runs: all.clone(), in_flight: vec![] },
                    PeerMessage::Offer { content: content(), runs: all },
                ] {
                    engine.handle(now, Event::Message { conn: 1, message }, &mut actions);
                }
            }
        }
        asked += fetches(&actions).len();
    }
    assert!(asked <= 3, "asked {asked} times in five seconds");
}

#[test]
fn back_off_outlives_a_connection_but_not_a_delivery() {
    let (mut engine, mut actions) = (wants(2000), Vec::new());
    let mut now = Duration::ZERO;
    let mut conn = 0;
    let mut asked = 0;
    // The same id, again and again, each time beside someone who gives a piece.
    for _ in 0..20 {
        conn += 1;
        greet(&mut engine, conn + 100, stranger(conn + 100), &mut actions);
        for message in [
            PeerMessage::Join { content: content(), pieces: Some(2000), wants: false },
            PeerMessage::Have {
                content: content(),
                runs: vec![PieceRange { first: 0, count: 2000 }],
                in_flight: vec![],
            },
            PeerMessage::Offer { content: content(), runs: vec![PieceRange { first: conn as u32, count: 1 }] },
        ] {
            engine.handle(now, Event::Message { conn: conn + 100, message }, &mut actions);
        }
        for (_, request, run) in fetches(&std::mem::take(&mut actions)) {
            engine.handle(now, Event::Progress { request, bytes: u64::from(PIECE) }, &mut actions);
            engine.handle(now, Event::Stored { content: content(), request, piece: run.first }, &mut actions);
            engine.handle(now, Event::Finished { request, failure: None }, &mut actions);
        }
        actions.clear();
        offers_all(&mut engine, now, conn, stranger(1), 2000, &mut actions);
        asked += usize::from(bytes_asked(&actions, conn) > 0);
        for _ in 0..12 {
            now += Duration::from_millis(250);
            engine.handle(now, Event::Tick, &mut actions);
        }
        engine.handle(now, Event::Disconnected { conn }, &mut actions);
        engine.handle(now, Event::Disconnected { conn: conn + 100 }, &mut actions);
    }
    assert!(asked <= 5, "{asked} of 20 times in a minute");
}

#[test]
fn who_floods_is_let_go_and_shunned_for_a_while() {
    let pieces = 100_000;
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    let have = PieceSet::full(pieces);
    let event = Event::Content { content: content(), geometry: geometry(pieces), have, wanted: PieceSet::empty(0) };
    engine.handle(Duration::ZERO, event, &mut actions);
    greet(&mut engine, 1, stranger(1), &mut actions);
    let join = PeerMessage::Join { content: content(), pieces: Some(pieces), wants: true };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message: join }, &mut actions);
    let mut said = 0;
    while !closed(&actions, 1) && said < 1000 {
        let message = PeerMessage::Interest { content: content(), interested: said % 2 == 1 };
        engine.handle(Duration::from_millis(said), Event::Message { conn: 1, message }, &mut actions);
        said += 1;
    }
    assert!(said < 20, "{said} changes of mind about {pieces} pieces");
    let connected =
        |conn| Event::Connected { conn, peer: stranger(1), remote: address(1), dialled: false, relayed: false };
    engine.handle(Duration::from_secs(1), connected(2), &mut actions);
    assert!(closed(&actions, 2));
    engine.handle(Duration::from_secs(10), connected(3), &mut actions);
    assert!(!closed(&actions, 3));
}

#[test]
fn what_an_honest_peer_says_of_a_large_content_is_no_flood() {
    let pieces = 100_000;
    let (mut engine, mut actions) = (wants(pieces), Vec::new());
    greet(&mut engine, 1, stranger(1), &mut actions);
    let join = PeerMessage::Join { content: content(), pieces: Some(pieces), wants: true };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message: join }, &mut actions);
    // It gets everything from elsewhere within ten seconds, and says so twenty times a second.
    let each = pieces / 200;
    for turn in 0..200 {
        let run = |turn: u32| vec![PieceRange { first: turn * each, count: each }];
        let in_flight = if turn < 199 { run(turn + 1) } else { vec![] };
        let message = PeerMessage::Have { content: content(), runs: run(turn), in_flight };
        engine.handle(Duration::from_millis(u64::from(turn) * 50), Event::Message { conn: 1, message }, &mut actions);
    }
    assert!(!closed(&actions, 1));
}

#[test]
fn manifests_without_end_make_room_for_an_honest_one() {
    for seed in 0..10 {
        let mut engine = Engine::new(Config::default(), peer(0), hello(0), seed);
        let mut actions = Vec::new();
        engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
        for conn in 1..=61 {
            greet(&mut engine, conn, stranger(conn), &mut actions);
            let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
            engine.handle(Duration::ZERO, Event::Message { conn, message: join }, &mut actions);
        }
        // All but the last one send a little of a large one for ever.
        let mut sending: BTreeMap<ConnId, u64> = BTreeMap::new();
        let (mut most, mut honest) = (0, None);
        for tick in 0..160 {
            let now = Duration::from_millis(tick * 125);
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::FetchManifest { conn: 61, .. } => honest = honest.or(Some(now)),
                    Action::FetchManifest { conn, .. } => drop(sending.insert(conn, 0)),
                    Action::CancelManifest { conn, .. } => drop(sending.remove(&conn)),
                    _ => {}
                }
            }
            for (&conn, came) in &mut sending {
                *came += 5_000;
                let event = Event::ManifestProgress { content: content(), conn, came: *came, total: 40 << 20 };
                engine.handle(now, event, &mut actions);
            }
            most = most.max(sending.len());
            if tick % 2 == 0 {
                engine.handle(now, Event::Tick, &mut actions);
            }
        }
        let asked = honest.expect("the honest one is asked");
        assert!(asked <= Duration::from_secs(15), "after {asked:?}, seed {seed}");
        assert!(most <= 16, "{most} at a time, seed {seed}");
    }
}

#[test]
fn of_two_manifests_for_which_there_is_no_memory_one_goes_on() {
    for (total, is_one) in [(19 << 20, false), (30 << 20, true)] {
        let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
        let mut actions = Vec::new();
        engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
        for conn in 1..=2 {
            greet(&mut engine, conn, stranger(conn), &mut actions);
            let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
            engine.handle(Duration::ZERO, Event::Message { conn, message: join }, &mut actions);
        }
        let (mut sends, mut cancelled): (BTreeMap<ConnId, u64>, _) = (BTreeMap::new(), 0);
        for tick in 0..12 {
            let now = Duration::from_millis(tick * 125);
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::FetchManifest { conn, .. } => drop(sends.insert(conn, 0)),
                    Action::CancelManifest { conn, .. } => {
                        assert!(sends.remove(&conn).is_some() && !sends.is_empty(), "the other goes on");
                        cancelled += 1;
                    }
                    _ => {}
                }
            }
            for (&conn, came) in &mut sends {
                *came += 100_000 * conn;
                let event = Event::ManifestProgress { content: content(), conn, came: *came, total };
                engine.handle(now, event, &mut actions);
            }
            engine.handle(now, Event::Tick, &mut actions);
        }
        assert_eq!(cancelled > 0, is_one, "{cancelled}, of {total} bytes");
        let strikes = (1..=2).map(|conn| engine.conns[&conn].download.credit.strikes);
        assert_eq!(strikes.sum::<u32>(), 0, "it was only slower");
    }
}

#[test]
fn a_willing_stranger_is_tried_where_slow_peers_keep_all_pieces() {
    const PIECES: u32 = 18_000;
    let (mut engine, mut actions) = (wants(PIECES), Vec::new());
    (1..=20).for_each(|conn| offers_all(&mut engine, Duration::ZERO, conn, stranger(conn), PIECES, &mut actions));
    // Each slow peer brings some five pieces a second.
    let mut owed: BTreeMap<RequestId, (PieceRange, u64)> = BTreeMap::new();
    let mut tried = None;
    for tick in 0..80 {
        let now = Duration::from_millis(tick * 250);
        let mut next = Vec::new();
        for (conn, request, run) in fetches(&actions) {
            match conn {
                100 => tried = tried.or(Some(now)),
                _ => drop(owed.insert(request, (run, 0))),
            }
        }
        actions.iter().for_each(|action| {
            if let Action::Cancel { request } = action {
                owed.remove(request);
            }
        });
        for (&request, (run, came)) in &mut owed {
            let before = *came / u64::from(PIECE);
            *came += u64::from(PIECE) * 5 / 4;
            engine.handle(now, Event::Progress { request, bytes: u64::from(PIECE) * 5 / 4 }, &mut next);
            for piece in before..(*came / u64::from(PIECE)).min(u64::from(run.count)) {
                engine.handle(
                    now,
                    Event::Stored { content: content(), request, piece: run.first + piece as u32 },
                    &mut next,
                );
            }
        }
        if tick == 16 {
            offers_all(&mut engine, now, 100, stranger(100), PIECES, &mut next);
        }
        engine.handle(now, Event::Tick, &mut next);
        actions = next;
    }
    assert!(tried.is_some_and(|at| at < Duration::from_secs(8)), "asked at {tried:?}");
}

#[test]
fn slow_takers_keep_no_slot_from_a_fast_one() {
    let pieces = 2000;
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let mut actions = Vec::new();
    let have = PieceSet::full(pieces);
    let event = Event::Content { content: content(), geometry: geometry(pieces), have, wanted: PieceSet::empty(0) };
    engine.handle(Duration::ZERO, event, &mut actions);
    let fast = 100;
    for conn in (1..=30).chain([fast]) {
        greet(&mut engine, conn, stranger(conn), &mut actions);
        let join = PeerMessage::Join { content: content(), pieces: Some(pieces), wants: true };
        engine.handle(Duration::ZERO, Event::Message { conn, message: join }, &mut actions);
    }
    // All ask for what they are offered; only the fast one takes it, at once, and says so.
    let (mut serve, mut served) = (0, 0);
    let mut asked: BTreeMap<ServeId, (ConnId, PieceRange)> = BTreeMap::new();
    for step in 0..2000u64 {
        let now = Duration::from_millis(step * 5);
        let mut next = Vec::new();
        for action in std::mem::take(&mut actions) {
            match action {
                Action::Send { conn, message: PeerMessage::Offer { runs, .. } } => {
                    for run in runs {
                        serve += 1;
                        asked.insert(serve, (conn, run));
                        engine.handle(
                            now,
                            Event::Requested { conn, serve, content: content(), run, awaited: false },
                            &mut next,
                        );
                    }
                }
                Action::Serve { serve } if asked[&serve].0 == fast => {
                    let (_, run) = asked[&serve];
                    served += run.count;
                    engine.handle(now, Event::Served { serve, pieces: run.count }, &mut next);
                    let message = PeerMessage::Have { content: content(), runs: vec![run], in_flight: vec![] };
                    engine.handle(now, Event::Message { conn: fast, message }, &mut next);
                }
                _ => {}
            }
        }
        engine.handle(now, Event::Tick, &mut next);
        actions = next;
    }
    assert_eq!(served, pieces, "after ten seconds");
}

#[test]
fn a_strangers_word_about_its_site_starves_nobody() {
    let pieces = 100;
    let there = |n: usize, site: &str| PeerMessage::Hello {
        version: VERSION,
        listeners: vec![address(n)],
        site: site.to_owned(),
    };
    let mut engine = Engine::new(Config::default(), peer(0), there(0, "here"), 1);
    let mut actions = Vec::new();
    let (have, wanted) = (PieceSet::empty(pieces), PieceSet::full(pieces));
    let event = Event::Content { content: content(), geometry: geometry(pieces), have, wanted };
    engine.handle(Duration::ZERO, event, &mut actions);
    let all = vec![PieceRange { first: 0, count: pieces }];
    for (conn, site) in [(1, "here"), (2, "elsewhere")] {
        let connected =
            Event::Connected { conn, peer: stranger(conn), remote: address(1), dialled: true, relayed: false };
        engine.handle(Duration::ZERO, connected, &mut actions);
        for message in [
            there(1, site),
            PeerMessage::Join { content: content(), pieces: Some(pieces), wants: false },
            PeerMessage::Have { content: content(), runs: all.clone(), in_flight: vec![] },
        ] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
    }
    actions.clear();
    let message = PeerMessage::Offer { content: content(), runs: all };
    let after = Duration::from_secs(4);
    engine.handle(after, Event::Message { conn: 2, message }, &mut actions);
    assert!(bytes_asked(&actions, 2) > 0, "the far one is asked, for the near one has given nothing");
}

#[test]
fn a_crowd_of_one_network_makes_room_for_others() {
    let (mut engine, mut actions) = (wants(2000), Vec::new());
    // One that has given something, from the network of the crowd.
    offers_all(&mut engine, Duration::ZERO, 1, stranger(1), 2000, &mut actions);
    let (_, request, run) = fetches(&actions)[0];
    engine.handle(Duration::ZERO, Event::Progress { request, bytes: u64::from(PIECE) }, &mut actions);
    engine.handle(Duration::ZERO, Event::Stored { content: content(), request, piece: run.first }, &mut actions);
    for conn in 2..=400u64 {
        let remote = SocketAddr::from(([127, 0, 1, (conn % 250) as u8], 9000));
        let event = Event::Connected { conn, peer: stranger(conn), remote, dialled: false, relayed: false };
        engine.handle(Duration::from_millis(conn), event, &mut actions);
        engine.handle(Duration::from_millis(conn), Event::Message { conn, message: hello(1) }, &mut actions);
        let join = PeerMessage::Join { content: content(), pieces: Some(2000), wants: true };
        engine.handle(Duration::from_millis(conn), Event::Message { conn, message: join }, &mut actions);
    }
    let remote = SocketAddr::from(([10, 0, 0, 1], 9000));
    let event = Event::Connected { conn: 1000, peer: stranger(1000), remote, dialled: false, relayed: false };
    engine.handle(Duration::from_millis(401), event, &mut actions);
    for conn in 1001..=1200u64 {
        let remote = SocketAddr::from(([127, 0, 1, (conn % 250) as u8], 9000));
        let event = Event::Connected { conn, peer: stranger(conn), remote, dialled: false, relayed: false };
        engine.handle(Duration::from_millis(conn), event, &mut actions);
    }
    assert!(!closed(&actions, 1000), "a newcomer from elsewhere stays");
    assert!(!closed(&actions, 1), "a peer that has given something stays");
}

/// Slow, but not so slow that it counts as nothing.
#[test]
fn the_last_pieces_do_not_wait_for_a_slow_peer() {
    let (mut engine, mut actions) = (wants(4000), Vec::new());
    offers_all(&mut engine, Duration::ZERO, 1, stranger(1), 4000, &mut actions);
    let mut slow: VecDeque<_> = fetches(&actions).into_iter().map(|(_, request, run)| (request, run, 0)).collect();
    actions.clear();
    offers_all(&mut engine, Duration::ZERO, 2, stranger(2), 4000, &mut actions);
    let mut fast = fetches(&actions);
    let mut done = None;
    for tick in 1..=40 {
        let (now, mut actions) = (Duration::from_millis(tick * 250), Vec::new());
        // A piece takes the slow one 20 ms.
        let mut budget = 12;
        while let Some((request, run, came)) = slow.front_mut().filter(|_| budget > 0) {
            engine.handle(now, Event::Progress { request: *request, bytes: u64::from(PIECE) }, &mut actions);
            engine.handle(
                now,
                Event::Stored { content: content(), request: *request, piece: run.first + *came },
                &mut actions,
            );
            (*came, budget) = (*came + 1, budget - 1);
            if *came == run.count {
                engine.handle(now, Event::Finished { request: *request, failure: None }, &mut actions);
                slow.pop_front();
            }
        }
        let mut left = 2000;
        while let Some((conn, request, run)) = fast.pop() {
            if conn == 1 {
                slow.push_back((request, run, 0));
                continue;
            }
            left -= run.count.min(left);
            for piece in run.pieces() {
                engine.handle(now, Event::Progress { request, bytes: u64::from(PIECE) }, &mut actions);
                engine.handle(now, Event::Stored { content: content(), request, piece }, &mut actions);
            }
            engine.handle(now, Event::Finished { request, failure: None }, &mut actions);
            let open = engine.have(content()).unwrap().missing().collect::<PieceSet>().runs();
            let message = PeerMessage::Offer { content: content(), runs: open.into_iter().take(256).collect() };
            engine.handle(now, Event::Message { conn: 2, message }, &mut actions);
            fast.extend(fetches(&actions));
            actions.clear();
            if left == 0 {
                break;
            }
        }
        engine.handle(now, Event::Tick, &mut actions);
        let open = engine.have(content()).unwrap().missing().collect::<PieceSet>().runs();
        let message = PeerMessage::Offer { content: content(), runs: open.into_iter().take(256).collect() };
        engine.handle(now, Event::Message { conn: 2, message }, &mut actions);
        fast.extend(fetches(&actions));
        slow.retain(|(request, ..)| !actions.contains(&Action::Cancel { request: *request }));
        if engine.view(content()).unwrap().have == 4000 {
            done = done.or(Some(now));
        }
    }
    assert!(done.is_some_and(|done| done <= Duration::from_secs(5)), "{done:?}");
}

#[test]
fn a_piece_that_was_being_stored_when_its_request_was_given_up_counts() {
    let (mut engine, mut actions) = (wants(20_000), Vec::new());
    offers_all(&mut engine, Duration::ZERO, 1, stranger(1), 20_000, &mut actions);
    let (_, request, run) = fetches(&actions)[0];
    offers_all(&mut engine, Duration::ZERO, 2, stranger(2), 20_000, &mut actions);
    let (_, other, others) = *fetches(&actions).last().unwrap();
    actions.clear();
    for tick in 1..=12 {
        let now = Duration::from_millis(u64::from(tick) * 250);
        engine.handle(now, Event::Progress { request: other, bytes: u64::from(PIECE) }, &mut actions);
        let piece = others.first + tick;
        engine.handle(now, Event::Stored { content: content(), request: other, piece }, &mut actions);
        engine.handle(now, Event::Tick, &mut actions);
    }
    assert!(
        actions.iter().any(|action| matches!(action, Action::Cancel { request: given_up } if *given_up == request))
    );
    let now = Duration::from_secs(4);
    engine.handle(now, Event::Stored { content: content(), request, piece: run.first }, &mut actions);
    assert!(engine.have(content()).is_some_and(|have| have.contains(run.first)));
    // One of a request that there never was does not.
    let event = Event::Stored { content: content(), request: 1 << 40, piece: run.first + 1 };
    engine.handle(now, event, &mut actions);
    assert!(engine.have(content()).is_some_and(|have| !have.contains(run.first + 1)));
}
