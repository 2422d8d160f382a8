//! Peers that take more than their part: what they leave to others.

use super::*;

#[test]
fn who_says_that_it_waits_for_everything_leaves_others_a_part() {
    const STEP: u64 = 10;
    let pieces = 4096;
    // Bytes a second of the uplink: it is slow, and then fast.
    for uplink in [1u64 << 20, 20 << 20] {
        for greedy in [1, 5] {
            let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
            let mut actions = Vec::new();
            let have = PieceSet::full(pieces);
            let (geometry, wanted) = (geometry(pieces), PieceSet::empty(0));
            engine.handle(Duration::ZERO, Event::Content { content: content(), geometry, have, wanted }, &mut actions);
            let honest = 100;
            for conn in (1..=greedy).chain([honest]) {
                greet(&mut engine, conn, stranger(conn), &mut actions);
                let join = PeerMessage::Join { content: content(), pieces: Some(pieces), wants: conn == honest };
                engine.handle(Duration::ZERO, Event::Message { conn, message: join }, &mut actions);
            }
            let (mut serve, mut sends, mut budget) = (0, VecDeque::new(), 0);
            let mut asked: BTreeMap<ServeId, (ConnId, PieceRange)> = BTreeMap::new();
            let mut sent: BTreeMap<ConnId, u64> = BTreeMap::new();
            for step in 0..1000 {
                let now = Duration::from_millis(step * STEP);
                let mut questions = Vec::new();
                for action in std::mem::take(&mut actions) {
                    match action {
                        Action::Send { conn, message: PeerMessage::Offer { runs, .. } } if conn == honest => {
                            questions.extend(runs.into_iter().map(|run| (conn, run, false)));
                        }
                        Action::Serve { serve } => sends.push_back(serve),
                        _ => {}
                    }
                }
                for conn in 1..=greedy {
                    // As much as one question may ask for, and less, and again at once.
                    for count in [2048, 512, 32, 8, 1] {
                        questions.extend([(conn, PieceRange { first: 0, count }, true); 4]);
                    }
                }
                for (conn, run, awaited) in questions {
                    serve += 1;
                    asked.insert(serve, (conn, run));
                    let event = Event::Requested { conn, serve, content: content(), run, awaited };
                    engine.handle(now, event, &mut actions);
                }
                budget += uplink * STEP / 1000;
                while let Some(&next) = sends.front() {
                    let (conn, run) = asked[&next];
                    let bytes = u64::from(run.count * PIECE);
                    if bytes > budget {
                        break;
                    }
                    (budget, _) = (budget - bytes, sends.pop_front());
                    *sent.entry(conn).or_default() += bytes;
                    engine.handle(now, Event::Served { serve: next, pieces: run.count }, &mut actions);
                    let message = PeerMessage::Have { content: content(), runs: vec![run], in_flight: vec![] };
                    engine.handle(now, Event::Message { conn, message }, &mut actions);
                }
                if sends.is_empty() {
                    budget = 0;
                }
                engine.handle(now, Event::Tick, &mut actions);
            }
            let (own, all) = (sent.get(&honest).copied().unwrap_or(0), sent.values().sum::<u64>());
            let whole = own >= u64::from(pieces * PIECE);
            // An even part would be one of as many as there are.
            assert!(whole || own * 3 * (greedy + 1) >= all, "{greedy} at {uplink}: {own} of {all}");
        }
    }
}

#[test]
fn who_makes_its_round_trip_long_is_not_waited_for_with_what_it_is_offered() {
    let pieces = 4096;
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let mut actions = Vec::new();
    let have = PieceSet::full(pieces);
    let event = Event::Content { content: content(), geometry: geometry(pieces), have, wanted: PieceSet::empty(0) };
    engine.handle(Duration::ZERO, event, &mut actions);
    let join = |engine: &mut Engine, now, conn, actions: &mut Vec<Action>| {
        let join = PeerMessage::Join { content: content(), pieces: Some(pieces), wants: true };
        engine.handle(now, Event::Message { conn, message: join }, actions);
    };
    for conn in (1..=30).chain([100]) {
        greet(&mut engine, conn, stranger(conn), &mut actions);
    }
    for conn in 1..=30 {
        join(&mut engine, Duration::ZERO, conn, &mut actions);
        engine.handle(Duration::ZERO, Event::RoundTrip { conn, rtt: Duration::from_secs(60) }, &mut actions);
    }
    // They never answer. One that has taken nothing yet either comes later.
    let (mut offered, honest) = (0, 100);
    for tick in 1..=40 {
        let now = Duration::from_millis(tick * 250);
        if tick == 4 {
            join(&mut engine, now, honest, &mut actions);
        }
        engine.handle(now, Event::Tick, &mut actions);
        for action in actions.drain(..) {
            if let Action::Send { conn, message: PeerMessage::Offer { runs, .. } } = action
                && conn == honest
            {
                offered += runs.iter().map(|run| run.count).sum::<u32>();
            }
        }
    }
    assert!(offered > 0, "ten seconds");
}

#[test]
fn questions_that_are_work_and_get_nothing_are_looked_at_so_often() {
    let pieces = 32 << 10;
    let (mut engine, mut actions) = (Engine::new(Config::default(), peer(0), hello(0), 1), Vec::new());
    let have = PieceSet::full(pieces);
    let event = Event::Content { content: content(), geometry: geometry(pieces), have, wanted: PieceSet::empty(0) };
    engine.handle(Duration::ZERO, event, &mut actions);
    greet(&mut engine, 1, stranger(1), &mut actions);
    let all = PieceRange { first: 0, count: pieces };
    let mut ask = |now, serve, run| {
        let mut actions = Vec::new();
        let event = Event::Requested { conn: 1, serve, content: content(), run, awaited: false };
        engine.handle(now, event, &mut actions);
        actions.iter().find_map(|action| match *action {
            Action::Refuse { serve: refused, reason } if refused == serve => Some(reason),
            _ => None,
        })
    };
    let beyond = PieceRange { first: 1, count: pieces };
    let heard = (0..1000).take_while(|&serve| ask(Duration::ZERO, serve, beyond) == Some(RefusalReason::Invalid));
    let heard = heard.count();
    assert!((5..40).contains(&heard), "{heard}");
    assert_eq!(ask(Duration::ZERO, 2000, all), Some(RefusalReason::Busy));
    let later = Duration::from_secs(1);
    assert_eq!(
        ask(later, 2001, all),
        Some(RefusalReason::Busy),
        "more than one who was offered nothing may have at once"
    );
    let modest = PieceRange { first: 0, count: (4 << 20) / PIECE };
    assert_eq!(ask(later, 2002, modest), None, "a second later it is heard again");
}
