//! What an engine offers and serves.

use super::*;

#[test]
fn what_someone_skips_is_not_offered_to_it() {
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    greet(&mut engine, 1, peer(1), &mut actions);
    let say = |message| Event::Message { conn: 1, message };
    let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: true };
    let skip = PeerMessage::Skip { content: content(), runs: vec![PieceRange { first: 10, count: 90 }] };
    // Together, as they come: what was offered to the first alone may be declined.
    engine.handle(Duration::ZERO, say(join), &mut actions);
    engine.handle(Duration::ZERO, say(skip.clone()), &mut actions);
    engine.handle(Duration::ZERO, say(skip), &mut actions);
    actions.clear();
    for tick in 1..100 {
        engine.handle(Duration::from_secs(tick), Event::Tick, &mut actions);
    }
    let offered = actions.iter().filter_map(|action| match action {
        Action::Send { message: PeerMessage::Offer { runs, .. }, .. } => Some(runs),
        _ => None,
    });
    let offered: Vec<PieceRange> = offered.flatten().copied().collect();
    assert!(!offered.is_empty() && offered.iter().all(|run| run.lies_within(10)), "{offered:?}");
    let beyond = PeerMessage::Skip { content: content(), runs: vec![PieceRange { first: 99, count: 2 }] };
    engine.handle(Duration::from_secs(100), say(beyond), &mut actions);
    assert!(actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. })));
}

#[test]
fn questions_for_what_is_not_held_are_refused() {
    let (mut engine, _) = downloader(&[1]);
    for (run, reason) in [
        (PieceRange { first: 0, count: 1 }, RefusalReason::NotHeld),
        (PieceRange { first: 0, count: 0 }, RefusalReason::Invalid),
        (PieceRange { first: 99, count: 2 }, RefusalReason::Invalid),
        (PieceRange { first: u32::MAX, count: u32::MAX }, RefusalReason::Invalid),
    ] {
        let mut actions = Vec::new();
        let event = Event::Requested { conn: 1, serve: 5, content: content(), run, awaited: false };
        engine.handle(Duration::ZERO, event, &mut actions);
        assert!(actions.contains(&Action::Refuse { serve: 5, reason }), "{run:?}: {actions:?}");
    }
}

/// What it never took does not count as what the uplink sends: while that is unknown, others are sent to one after another.
#[test]
fn who_stops_its_answers_and_says_to_have_them_proves_nothing() {
    let pieces = 8192;
    let (mut engine, mut actions) = (Engine::new(Config::default(), peer(0), hello(0), 1), Vec::new());
    let have = PieceSet::full(pieces);
    let event = Event::Content { content: content(), geometry: geometry(pieces), have, wanted: PieceSet::empty(0) };
    engine.handle(Duration::ZERO, event, &mut actions);
    let join = PeerMessage::Join { content: content(), pieces: Some(pieces), wants: true };
    let liar = 1;
    greet(&mut engine, liar, stranger(liar), &mut actions);
    engine.handle(Duration::ZERO, Event::Message { conn: liar, message: join.clone() }, &mut actions);
    let (mut said, mut serve) = (0, 0);
    for step in 0..2000u64 {
        let (now, mut next) = (Duration::from_millis(step * 5), Vec::new());
        for action in std::mem::take(&mut actions) {
            let Action::Send { message: PeerMessage::Offer { runs, .. }, .. } = action else { continue };
            for run in runs {
                serve += 1;
                let event = Event::Requested { conn: liar, serve, content: content(), run, awaited: false };
                engine.handle(now, event, &mut next);
                engine.handle(now, Event::Served { serve, pieces: 0 }, &mut next);
                let message = PeerMessage::Have { content: content(), runs: vec![run], in_flight: vec![] };
                engine.handle(now, Event::Message { conn: liar, message }, &mut next);
                said += run.count;
            }
        }
        engine.handle(now, Event::Tick, &mut next);
        actions = next;
    }
    assert_eq!(said, pieces, "it is a peer like any other meanwhile");
    assert!(!engine.conns[&liar].was_of_use());
    actions.clear();
    let now = Duration::from_secs(11);
    for conn in [2, 3] {
        greet(&mut engine, conn, stranger(conn), &mut actions);
        engine.handle(now, Event::Message { conn, message: join.clone() }, &mut actions);
    }
    let mut served = 0;
    for action in std::mem::take(&mut actions) {
        let Action::Send { conn, message: PeerMessage::Offer { runs, .. } } = action else { continue };
        serve += 1;
        let event = Event::Requested { conn, serve, content: content(), run: runs[0], awaited: false };
        engine.handle(now, event, &mut actions);
        served += actions.drain(..).filter(|action| matches!(action, Action::Serve { .. })).count();
    }
    assert_eq!(served, 1, "how fast the uplink is remains unknown");
}

/// Else most of what is read would wait, while nothing that was read is left to be given.
#[test]
fn what_is_read_in_parts_is_offered_part_by_part() {
    const SIZES: [u32; 2] = [100, 60];
    const PART: u32 = 16;
    let pieces = SIZES.iter().sum();
    let geometry = Geometry::new(PIECE, SIZES.map(|pieces| u64::from(pieces * PIECE)).into()).unwrap();
    let (mut engine, mut actions) = (Engine::new(Config::default(), peer(0), hello(0), 1), Vec::new());
    let (have, wanted) = (PieceSet::full(pieces), PieceSet::empty(0));
    let event = Event::Content { content: content(), geometry: geometry.into(), have, wanted };
    engine.handle(Duration::ZERO, event, &mut actions);
    let parts = Event::ReadInParts { content: content(), part: u64::from(PART * PIECE) };
    engine.handle(Duration::ZERO, parts, &mut actions);
    for conn in 1..4 {
        greet(&mut engine, conn, stranger(conn), &mut actions);
        let join = PeerMessage::Join { content: content(), pieces: Some(pieces), wants: true };
        engine.handle(Duration::ZERO, Event::Message { conn, message: join }, &mut actions);
    }
    let (mut offered, mut serve) = (Vec::new(), 0);
    for step in 0..500u64 {
        let (now, mut next) = (Duration::from_millis(step * 5), Vec::new());
        for action in std::mem::take(&mut actions) {
            let Action::Send { conn, message: PeerMessage::Offer { runs, .. } } = action else { continue };
            for run in runs {
                serve += 1;
                offered.extend(run.pieces());
                let event = Event::Requested { conn, serve, content: content(), run, awaited: false };
                engine.handle(now, event, &mut next);
                engine.handle(now, Event::Served { serve, pieces: run.count }, &mut next);
                let message = PeerMessage::Have { content: content(), runs: vec![run], in_flight: vec![] };
                engine.handle(now, Event::Message { conn, message }, &mut next);
            }
        }
        engine.handle(now, Event::Tick, &mut next);
        actions = next;
    }
    let (first, second): (Vec<u32>, Vec<u32>) = (0..pieces).partition(|&piece| piece < SIZES[0]);
    let parts: Vec<_> =
        [first, second].iter().flat_map(|file| file.chunks(PART as usize).map(<[u32]>::to_vec)).collect();
    let mut once = offered.clone();
    once.truncate(pieces as usize);
    let mut begun = 0;
    for two in once.windows(2) {
        begun += usize::from(two[0] + 1 != two[1]);
        assert!(two[0] + 1 == two[1] || parts.iter().any(|part| part[0] == two[1]), "{once:?}");
    }
    assert!(begun < parts.len(), "each part is begun once: {once:?}");
}
