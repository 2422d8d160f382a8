//! Many contents, and peers that say something of each: what one message costs does not grow with all of them.

use super::*;

fn number(n: usize) -> ContentId {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&(n as u64).to_be_bytes());
    ContentId(Digest(digest))
}

/// A seeder of so many contents of so many pieces.
fn seeder(contents: usize, pieces: u32) -> Engine {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    for n in 0..contents {
        let (have, wanted) = (PieceSet::full(pieces), PieceSet::empty(0));
        let event = Event::Content { content: number(n), geometry: geometry(pieces), have, wanted };
        engine.handle(Duration::ZERO, event, &mut Vec::new());
    }
    engine
}

fn join(content: ContentId, wants: bool) -> PeerMessage {
    PeerMessage::Join { content, pieces: Some(100), wants }
}

fn offers(actions: &[Action]) -> Vec<(ConnId, ContentId)> {
    let offer = |action: &Action| match action {
        Action::Send { conn, message: PeerMessage::Offer { content, .. } } => Some((*conn, *content)),
        _ => None,
    };
    actions.iter().filter_map(offer).collect()
}

#[test]
fn what_is_no_news_has_nothing_looked_at() {
    let (mut engine, mut actions) = (seeder(2, 100), Vec::new());
    greet(&mut engine, 1, stranger(1), &mut actions);
    let run = |first, count| vec![PieceRange { first, count }];
    let said = [
        join(number(0), true),
        PeerMessage::Have { content: number(0), runs: run(0, 10), in_flight: run(20, 5) },
        PeerMessage::Skip { content: number(0), runs: run(50, 50) },
        PeerMessage::Interest { content: number(0), interested: true },
        PeerMessage::Decline { content: number(0), runs: run(98, 1) },
    ];
    for message in said.clone() {
        engine.handle(Duration::from_millis(1), Event::Message { conn: 1, message }, &mut actions);
    }
    // The tick, and all that is random, stay as they are.
    let (tick, chance) = (engine.next_tick, engine.rng.clone());
    for millis in 2..200 {
        for message in said.clone() {
            engine.handle(Duration::from_millis(millis), Event::Message { conn: 1, message }, &mut actions);
        }
    }
    assert_eq!((engine.next_tick, engine.rng.clone().u64(..)), (tick, chance.clone().u64(..)));
    assert!(engine.conns.contains_key(&1));
}

#[test]
fn a_message_has_offers_made_of_its_content_alone() {
    let (mut engine, mut actions) = (seeder(2, 100), Vec::new());
    greet(&mut engine, 1, stranger(1), &mut actions);
    // The early ticks, which look at all contents, are used up.
    engine.early = Duration::from_secs(60);
    let mut say = |message| {
        let mut actions = Vec::new();
        engine.handle(Duration::from_millis(1), Event::Message { conn: 1, message }, &mut actions);
        offers(&actions)
    };
    assert_eq!(say(join(number(0), true)), [(1, number(0))]);
    assert_eq!(say(join(number(1), true)), [], "enough is promised");
    let all = vec![PieceRange { first: 0, count: 100 }];
    assert_eq!(say(PeerMessage::Have { content: number(0), runs: all, in_flight: vec![] }), []);
    actions.clear();
    engine.handle(TICK, Event::Tick, &mut actions);
    assert_eq!(offers(&actions), [(1, number(1))]);
}

#[test]
fn who_comes_and_goes_all_the_time_causes_few_ticks() {
    let (mut engine, mut actions) = (seeder(1, 1), Vec::new());
    greet(&mut engine, 1, stranger(1), &mut actions);
    let (mut ticks, mut tick) = (0, engine.next_tick);
    for millis in 0..60_000 {
        let content = number(0);
        let joins = PeerMessage::Join { content, pieces: Some(1), wants: false };
        let message = if millis % 2 == 0 { joins } else { PeerMessage::Withdraw { content } };
        engine.handle(Duration::from_millis(millis), Event::Message { conn: 1, message }, &mut actions);
        if std::mem::replace(&mut tick, engine.next_tick) != tick {
            ticks += 1;
        }
    }
    let (early, at_first) = (60_000 / EARLY.as_millis(), (MOST_EARLY.as_millis() / EARLY.as_millis()));
    assert!(ticks <= early + at_first + 240 + 2, "{ticks}");
}

#[test]
fn exchanges_of_many_contents_take_turns_and_tell_each_once() {
    let (conns, contents) = (20, 100);
    let (mut engine, mut actions) = (seeder(contents, 100), Vec::new());
    for conn in 1..=conns {
        greet(&mut engine, conn, stranger(conn), &mut actions);
        for n in 0..contents {
            engine.handle(Duration::ZERO, Event::Message { conn, message: join(number(n), false) }, &mut actions);
        }
    }
    let mut told: BTreeMap<(ConnId, ContentId, PeerId), u32> = BTreeMap::new();
    let mut most = 0;
    for tick in 0..100u32 {
        let mut actions = Vec::new();
        engine.handle(Duration::from_millis(250) * tick, Event::Tick, &mut actions);
        let mut messages = 0;
        for action in actions {
            let Action::Send { conn, message: PeerMessage::Peers { content, peers } } = action else { continue };
            messages += 1;
            for peer in peers {
                *told.entry((conn, content, peer.id)).or_default() += 1;
            }
        }
        most = most.max(messages);
    }
    assert!(most <= 20_000 / (conns - 1), "{most} in a tick");
    assert_eq!(told.len() as u64, conns * (conns - 1) * contents as u64);
    assert!(told.values().all(|&times| times == 1));
}

#[test]
fn work_is_granted_for_what_both_take_part_in_and_once() {
    let (mut engine, mut actions) = (seeder(30, 100), Vec::new());
    greet(&mut engine, 1, stranger(1), &mut actions);
    for _ in 0..2 {
        for n in 0..30 {
            engine.handle(Duration::ZERO, Event::Message { conn: 1, message: join(number(n), false) }, &mut actions);
        }
        assert_eq!(engine.conns[&1].conduct.messages.granted_pieces(), (3000, 3000));
        for n in 0..30 {
            let message = PeerMessage::Withdraw { content: number(n) };
            engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
        }
        assert_eq!(engine.conns[&1].conduct.messages.granted_pieces(), (0, 3000));
    }
}
