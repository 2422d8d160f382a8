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

/// An uplink of so many bytes a second that is sent over in turn, and how much word each peer says in one of these ways.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    /// It says at once what has come.
    Prompt,
    /// It takes so long for each piece, and says then that it has it. Buffers hold the rest.
    Slow(Duration),
    /// It asks for all that it can, and says nothing.
    Never,
}

/// How long the first of these takes for a content beside the others, and how many bytes were sent to each.
fn takes_beside(others: &[Word]) -> (Duration, Vec<u64>) {
    const STEP: Duration = Duration::from_millis(10);
    const UPLINK: u64 = 20 << 20;
    const SIZE: u32 = 128 << 10;
    const PIECES: u32 = 2048;
    let (mut engine, mut actions) = (Engine::new(Config::default(), peer(0), hello(0), 1), Vec::new());
    let geometry = Arc::new(Geometry::new(SIZE, vec![u64::from(SIZE) * u64::from(PIECES)]).unwrap());
    let (have, wanted) = (PieceSet::full(PIECES), PieceSet::empty(0));
    engine.handle(Duration::ZERO, Event::Content { content: content(), geometry, have, wanted }, &mut actions);
    let words: Vec<Word> = others.iter().copied().chain([Word::Prompt]).collect();
    let fast = words.len() - 1;
    let (mut serve, mut budget, mut got) = (0, 0, 0);
    let mut asked: BTreeMap<ServeId, (usize, PieceRange)> = BTreeMap::new();
    let (mut sends, mut says) = (VecDeque::new(), Vec::<(Duration, usize, PieceRange)>::new());
    let (mut sent, mut free, mut unasked) =
        (vec![0; words.len()], vec![Duration::ZERO; words.len()], vec![0; words.len()]);
    for step in 0..6000 {
        let now = STEP * step;
        // The others are there first.
        for at in (0..words.len()).filter(|&at| step == if at == fast { 100 } else { 1 }) {
            let (conn, join) = (at as u64, PeerMessage::Join { content: content(), pieces: Some(PIECES), wants: true });
            let connected =
                Event::Connected { conn, peer: stranger(conn), remote: address(at), dialled: false, relayed: false };
            for event in [connected, Event::Message { conn, message: hello(1) }, Event::Message { conn, message: join }]
            {
                engine.handle(now, event, &mut actions);
            }
        }
        let mut questions = Vec::new();
        for action in std::mem::take(&mut actions) {
            match action {
                Action::Send { conn, message: PeerMessage::Offer { runs, .. } } => {
                    questions.extend(runs.into_iter().map(|run| (conn as usize, run)));
                }
                Action::Serve { serve } => sends.push_back(serve),
                Action::Refuse { serve, .. } => {
                    if let Some((at, _)) = asked.remove(&serve) {
                        unasked[at] = 0;
                    }
                }
                _ => {}
            }
        }
        if step % 10 == 1 {
            let greedy = (0..words.len()).filter(|&at| words[at] == Word::Never && unasked[at] < 2).collect::<Vec<_>>();
            for at in greedy {
                unasked[at] += 1;
                questions.push((at, PieceRange { first: (step + at as u32 * 32) % (PIECES - 32), count: 32 }));
            }
        }
        for (at, run) in questions {
            serve += 1;
            asked.insert(serve, (at, run));
            let event = Event::Requested { conn: at as u64, serve, content: content(), run, awaited: false };
            engine.handle(now, event, &mut actions);
        }
        budget += UPLINK / 100;
        while let Some(&next) = sends.front() {
            let (at, run) = asked[&next];
            let bytes = u64::from(run.count * SIZE);
            if bytes > budget {
                break;
            }
            (budget, sent[at], unasked[at]) = (budget - bytes, sent[at] + bytes, 0);
            sends.pop_front();
            engine.handle(now, Event::Served { serve: next, pieces: run.count }, &mut actions);
            for piece in run.pieces() {
                let takes = match words[at] {
                    Word::Prompt => Duration::ZERO,
                    Word::Slow(takes) => takes,
                    Word::Never => continue,
                };
                free[at] = free[at].max(now) + takes;
                says.push((free[at].max(now + STEP * 5), at, PieceRange { first: piece, count: 1 }));
            }
        }
        if sends.is_empty() {
            budget = 0;
        }
        let (due, later) = says.into_iter().partition(|&(when, ..)| when <= now);
        says = later;
        for (_, at, run) in due {
            got += u32::from(at == fast);
            let message = PeerMessage::Have { content: content(), runs: vec![run], in_flight: vec![] };
            engine.handle(now, Event::Message { conn: at as u64, message }, &mut actions);
        }
        engine.handle(now, Event::Tick, &mut actions);
        // The last few of many it would ask for by itself.
        if got >= PIECES * 99 / 100 {
            return (now - STEP * 100, sent);
        }
    }
    panic!("{got} pieces of {PIECES} in a minute, and {sent:?}");
}

#[test]
fn those_who_do_not_read_what_they_are_sent_leave_the_fast_what_it_needs() {
    let alone = takes_beside(&[]).0;
    let slow = [Word::Slow(Duration::from_secs(8)); 50];
    let honest = [Word::Slow(Duration::from_millis(2100)); 8];
    for others in [&[Word::Never; 16][..], &slow, &honest, &[&slow[..], &honest, &[Word::Never; 16]].concat()] {
        let (took, sent) = takes_beside(others);
        let to_others = sent[..others.len()].iter().sum::<u64>() >> 10;
        assert!(took <= alone.mul_f64(1.1), "{took:?}, alone {alone:?}; {to_others} KiB to others: {sent:?}");
        assert!(sent[..others.len()].iter().all(|&sent| sent > 0), "each gets something: {sent:?}");
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
