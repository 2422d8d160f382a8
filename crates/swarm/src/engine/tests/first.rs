//! What is asked of a peer before it has said what it has: the manifest, and with it the pieces that it offers first.

use super::hostile::closed;
use super::*;
use crate::engine::download::first::MOST;

fn ask_for(engine: &mut Engine, number: u8, actions: &mut Vec<Action>) -> ContentId {
    let content = ContentId(Digest([number; 32]));
    engine.handle(Duration::ZERO, Event::Want { content }, actions);
    let peers = vec![PeerAddress { id: peer(1), addresses: vec![address(1)] }];
    engine.handle(Duration::ZERO, Event::Found { content, peers }, actions);
    content
}

fn connect(engine: &mut Engine, conn: ConnId, actions: &mut Vec<Action>) {
    let id = peer(conn as usize);
    let connected = Event::Connected { conn, peer: id, remote: address(1), dialled: true, relayed: false };
    engine.handle(Duration::ZERO, connected, actions);
}

/// An engine that wants a content, is connected and has asked; and the request for first pieces, and how many bytes may be held.
fn asking() -> (Engine, Vec<Action>, RequestId, u64) {
    let (mut engine, mut actions) = (Engine::new(Config::default(), peer(0), hello(0), 1), Vec::new());
    ask_for(&mut engine, 9, &mut actions);
    connect(&mut engine, 1, &mut actions);
    let (request, most) = first_of(&actions).expect("it asks at once");
    (engine, actions, request, most)
}

fn first_of(actions: &[Action]) -> Option<(RequestId, u64)> {
    actions.iter().find_map(|action| match *action {
        Action::FetchFirst { request, most, .. } => Some((request, most)),
        _ => None,
    })
}

fn content_comes(engine: &mut Engine, actions: &mut Vec<Action>) {
    let (geometry, have, wanted) = (geometry(100), PieceSet::empty(100), PieceSet::full(100));
    engine.handle(Duration::ZERO, Event::Content { content: content(), geometry, have, wanted }, actions);
}

fn cancels(actions: &[Action], of: RequestId) -> bool {
    actions.iter().any(|action| matches!(action, Action::Cancel { request } if *request == of))
}

#[test]
fn first_pieces_are_taken_once_and_no_piece_is_sent_twice() {
    let mut world = World::new(2, 64, 1);
    world.seed(1, PieceSet::full(64));
    world.want(0);
    world.run(Duration::from_secs(5));
    assert_eq!((world.have(0), world.sent[1]), (64, 64));
    let (mut engine, mut actions, request, _) = asking();
    let run = PieceRange { first: 3, count: 2 };
    let offer = PeerMessage::Offer { content: content(), runs: vec![run] };
    let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
    for message in [hello(1), join, offer] {
        engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
    }
    for said_first in [true, false] {
        if said_first {
            engine.handle(Duration::ZERO, Event::FirstPieces { request, run }, &mut actions);
        } else {
            content_comes(&mut engine, &mut actions);
        }
    }
    assert!(actions.contains(&Action::TakeFirst { request, content: content(), run }));
    assert_eq!(fetches(&actions), [], "what comes already is not asked for again");
}

#[test]
fn what_is_asked_early_of_one_without_the_manifest_is_asked_of_the_next_at_once() {
    let (mut engine, mut actions, request, _) = asking();
    let content = content();
    connect(&mut engine, 2, &mut actions);
    let manifests = |actions: &[Action]| {
        let asked = actions.iter().filter_map(|action| match action {
            Action::FetchManifest { conn, .. } => Some(*conn),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    assert_eq!(manifests(&actions), [1], "one at a time");
    let failure = Some(Failure::Refused(RefusalReason::NotHeld));
    engine.handle(Duration::ZERO, Event::Finished { request, failure }, &mut actions);
    engine.handle(Duration::ZERO, Event::ManifestFailed { content, conn: 1, lied: false }, &mut actions);
    let join = PeerMessage::Join { content, pieces: Some(100), wants: false };
    for message in [hello(2), join] {
        engine.handle(Duration::ZERO, Event::Message { conn: 2, message }, &mut actions);
    }
    engine.handle(Duration::ZERO, Event::Tick, &mut actions);
    assert_eq!(manifests(&actions), [1, 2]);
    assert!(!closed(&actions, 1), "it has done nothing wrong");
}

#[test]
fn pieces_that_do_not_exist_or_are_more_than_was_asked_for_end_the_connection() {
    let most = (MOST / u64::from(PIECE)) as u32;
    for (run, pieces) in [((0, 0), 100), ((99, 2), 100), ((u32::MAX, u32::MAX), 100), ((0, most + 1), most + 1)] {
        let (mut engine, mut actions, request, _) = asking();
        let run = PieceRange { first: run.0, count: run.1 };
        engine.handle(Duration::ZERO, Event::FirstPieces { request, run }, &mut actions);
        let (geometry, have, wanted) = (geometry(pieces), PieceSet::empty(pieces), PieceSet::full(pieces));
        engine.handle(Duration::ZERO, Event::Content { content: content(), geometry, have, wanted }, &mut actions);
        assert!(closed(&actions, 1) && cancels(&actions, request), "{run:?}");
    }
}

#[test]
fn what_is_not_said_or_waits_for_its_manifest_is_given_up_in_time() {
    for (said, after) in [(false, 4), (true, 11)] {
        let (mut engine, mut actions, request, _) = asking();
        if said {
            engine.handle(
                Duration::ZERO,
                Event::FirstPieces { request, run: PieceRange { first: 0, count: 1 } },
                &mut actions,
            );
        }
        engine.handle(Duration::from_millis(900), Event::Tick, &mut actions);
        assert!(!cancels(&actions, request));
        engine.handle(Duration::from_secs(after), Event::Tick, &mut actions);
        assert!(cancels(&actions, request));
    }
}

#[test]
fn what_is_held_of_all_contents_stays_within_the_part_for_strangers() {
    let config = Config { budget: 8 << 20, ..Config::default() };
    let (mut engine, mut actions) = (Engine::new(config, peer(0), hello(0), 1), Vec::new());
    let contents: Vec<_> = (1..=20).map(|number| ask_for(&mut engine, number, &mut actions)).collect();
    connect(&mut engine, 1, &mut actions);
    let held = |actions: &[Action]| {
        let most = actions.iter().filter_map(|action| match action {
            Action::FetchFirst { most, .. } => Some(*most),
            _ => None,
        });
        most.sum::<u64>()
    };
    assert_eq!(held(&actions), 2 << 20, "a quarter");
    // What is not wanted any more makes room.
    contents.into_iter().for_each(|content| engine.handle(Duration::ZERO, Event::Withdraw { content }, &mut actions));
    ask_for(&mut engine, 77, &mut actions);
    let before = held(&actions);
    engine.handle(Duration::ZERO, Event::Disconnected { conn: 1 }, &mut actions);
    connect(&mut engine, 1, &mut actions);
    assert!(held(&actions) > before);
}

#[test]
fn a_question_for_first_pieces_waits_for_its_offer_and_no_longer_than_a_second() {
    let mut engine = lone_engine(false);
    let mut actions = Vec::new();
    greet(&mut engine, 1, peer(1), &mut actions);
    let first = |serve, content| Event::RequestedFirst { conn: 1, serve, content, most: 4 * u64::from(PIECE) };
    engine.handle(Duration::ZERO, first(1, content()), &mut actions);
    engine.handle(Duration::ZERO, first(2, content()), &mut actions);
    engine.handle(Duration::ZERO, first(3, ContentId(Digest([1; 32]))), &mut actions);
    let refused = |actions: &[Action]| {
        let refused = actions.iter().filter_map(|action| match *action {
            Action::Refuse { serve, reason } => Some((serve, reason)),
            _ => None,
        });
        refused.collect::<Vec<_>>()
    };
    assert_eq!(refused(&actions), [(2, RefusalReason::Busy), (3, RefusalReason::NotHeld)], "one waits");
    let join = PeerMessage::Join { content: content(), pieces: None, wants: true };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message: join }, &mut actions);
    let chosen = actions.iter().find_map(|action| match *action {
        Action::Choose { serve: 1, run } => Some(run),
        _ => None,
    });
    let chosen = chosen.expect("it is offered something now");
    assert!((1..=4).contains(&chosen.count), "{chosen:?}");
    assert!(actions.contains(&Action::Serve { serve: 1 }));
    let mut engine = lone_engine(false);
    let mut actions = Vec::new();
    greet(&mut engine, 1, peer(1), &mut actions);
    engine.handle(Duration::ZERO, first(1, content()), &mut actions);
    engine.handle(Duration::from_secs(2), Event::Tick, &mut actions);
    assert_eq!(refused(&actions), [(1, RefusalReason::Busy)]);
}

#[test]
fn of_a_piece_that_is_larger_than_what_was_asked_for_nothing_is_sent() {
    let mut engine = lone_engine(false);
    let mut actions = Vec::new();
    greet(&mut engine, 1, peer(1), &mut actions);
    let join = PeerMessage::Join { content: content(), pieces: None, wants: true };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message: join }, &mut actions);
    let most = u64::from(PIECE) - 1;
    engine.handle(Duration::ZERO, Event::RequestedFirst { conn: 1, serve: 1, content: content(), most }, &mut actions);
    assert!(actions.contains(&Action::Refuse { serve: 1, reason: RefusalReason::Busy }), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::Choose { .. } | Action::Serve { .. })));
}
