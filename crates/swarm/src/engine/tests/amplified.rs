//! What a few bytes have an engine look at, where there are many peers, contents or connections.

use super::hostile::{closed, wants};
use super::*;
use crate::engine::upload::offers::tests::LOOKS;

const PIECES: u32 = 2048;

fn say(engine: &mut Engine, now: Duration, conn: ConnId, message: PeerMessage) -> Vec<Action> {
    let mut actions = Vec::new();
    engine.handle(now, Event::Message { conn, message }, &mut actions);
    actions
}

fn join(content: ContentId, pieces: u32, wants: bool) -> PeerMessage {
    PeerMessage::Join { content, pieces: Some(pieces), wants }
}

fn number(n: usize) -> ContentId {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&(n as u64).to_be_bytes());
    ContentId(Digest(digest))
}

/// Some seconds pass.
fn pass(engine: &mut Engine, now: &mut Duration) {
    for _ in 0..40 {
        *now += TICK;
        engine.handle(*now, Event::Tick, &mut Vec::new());
    }
}

/// An engine that has all of a content, and so many peers that want it and skip all of it.
fn beside_those_who_skip_all(peers: u64) -> Engine {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let (have, wanted) = (PieceSet::full(PIECES), PieceSet::empty(0));
    let event = Event::Content { content: content(), geometry: geometry(PIECES), have, wanted };
    engine.handle(Duration::ZERO, event, &mut Vec::new());
    for conn in 1..=peers {
        greet(&mut engine, conn, stranger(conn), &mut Vec::new());
        say(&mut engine, Duration::ZERO, conn, join(content(), PIECES, true));
        let runs = vec![PieceRange { first: 0, count: PIECES }];
        say(&mut engine, Duration::ZERO, conn, PeerMessage::Skip { content: content(), runs });
    }
    engine
}

#[test]
fn what_one_peer_says_has_the_others_looked_at_once_a_tick() {
    let crowd = 99;
    let mut engine = beside_those_who_skip_all(crowd);
    let (loud, mut now) = (crowd + 1, Duration::ZERO);
    greet(&mut engine, loud, stranger(loud), &mut Vec::new());
    say(&mut engine, now, loud, join(content(), PIECES, true));
    // It takes nothing that it is offered, and is offered nothing more for a while.
    pass(&mut engine, &mut now);
    LOOKS.set(0);
    let (messages, end) = (1000, now + TICK);
    for turn in 0..messages {
        let in_flight = if turn % 2 == 0 { vec![PieceRange { first: 5, count: 1 }] } else { Vec::new() };
        say(&mut engine, now, loud, PeerMessage::Have { content: content(), runs: Vec::new(), in_flight });
        now = (now + Duration::from_micros(200)).min(end);
    }
    assert!(engine.conns.contains_key(&loud), "it is no flood");
    let all = 63 * (crowd + 1);
    assert!(LOOKS.get() <= 4 * all, "{} looks for {messages} messages", LOOKS.get());
}

#[test]
fn an_honest_peer_beside_those_is_offered_what_it_lacks_at_once() {
    let (mut engine, mut now) = (beside_those_who_skip_all(99), Duration::ZERO);
    let honest = 100;
    // What the others were offered before they skipped it is taken back.
    pass(&mut engine, &mut now);
    greet(&mut engine, honest, stranger(honest), &mut Vec::new());
    let offers = |actions: &[Action]| {
        let is_offer = |action: &&Action| matches!(action, Action::Send { message: PeerMessage::Offer { .. }, .. });
        actions.iter().filter(is_offer).count()
    };
    // That it joins has all looked at; what it says later has it alone looked at.
    engine.early = Duration::from_secs(60);
    engine.contents.get_mut(&content()).unwrap().offers_in_vain = true;
    assert!(offers(&say(&mut engine, now, honest, join(content(), PIECES, true))) > 0);
    assert!(engine.contents[&content()].offers_in_vain);
}

#[test]
fn made_up_peers_that_are_named_again_have_nobody_looked_at() {
    let (mut engine, named) = (wants(100), 32);
    let (mut dials, mut actions) = (0, Vec::new());
    let peers = |conn: u64| {
        let address = |n: u64| SocketAddr::from(([10, 9, conn as u8, n as u8], 9000));
        (0..named).map(|n| PeerAddress { id: stranger(conn << 32 | n), addresses: vec![address(n)] }).collect()
    };
    for conn in 1..=13 {
        greet(&mut engine, conn, stranger(conn), &mut actions);
        say(&mut engine, Duration::ZERO, conn, join(content(), 100, false));
        let named = PeerMessage::Peers { content: content(), peers: peers(conn) };
        let actions = say(&mut engine, Duration::ZERO, conn, named);
        dials += actions.iter().filter(|action| matches!(action, Action::Dial { .. })).count();
    }
    assert_eq!(dials, 8, "half of those that may be dialled at once");
    let chance = engine.rng.clone().u64(..);
    let named = PeerMessage::Peers { content: content(), peers: peers(1) };
    say(&mut engine, Duration::from_millis(1), 1, named);
    assert_eq!(engine.rng.clone().u64(..), chance);
}

#[test]
fn peers_are_looked_up_in_the_contents_that_know_them() {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let known = |engine: &Engine| engine.contents.values().map(|content| content.known.ids().count()).sum::<usize>();
    let at = |n: u64| PeerAddress { id: stranger(n), addresses: vec![address(n as usize)] };
    for n in 0..20 {
        let (have, wanted) = (PieceSet::full(1), PieceSet::empty(0));
        let event = Event::Content { content: number(n), geometry: geometry(1), have, wanted };
        engine.handle(Duration::ZERO, event, &mut Vec::new());
        let peers = (n as u64..n as u64 + 5).map(at).collect();
        engine.handle(Duration::ZERO, Event::Found { content: number(n), peers }, &mut Vec::new());
    }
    assert_eq!((known(&engine), engine.knowers.count()), (100, 100));
    assert_eq!(engine.knowers.of(&stranger(4)).count(), 5);
    // It comes, and says what it is known for; it goes, and is not dialled again at once for any of them.
    greet(&mut engine, 1, stranger(4), &mut Vec::new());
    engine.handle(Duration::ZERO, Event::Disconnected { conn: 1 }, &mut Vec::new());
    assert!((0..5).all(|n| !engine.contents[&number(n)].known.due(Duration::ZERO).any(|(id, ..)| id == stranger(4))));
    engine.handle(Duration::ZERO, Event::Gone { content: number(0), peers: vec![stranger(0)] }, &mut Vec::new());
    engine.handle(Duration::ZERO, Event::Withdraw { content: number(1) }, &mut Vec::new());
    assert_eq!((known(&engine), engine.knowers.count()), (94, 94));
    // Those that nobody has met make room for others.
    let peers = (1000..1500).map(at).collect();
    engine.handle(Duration::ZERO, Event::Found { content: number(2), peers }, &mut Vec::new());
    let more = (2000..2100).map(at).collect();
    engine.handle(Duration::ZERO, Event::Found { content: number(3), peers: more }, &mut Vec::new());
    assert_eq!(known(&engine), engine.knowers.count());
}

#[test]
fn a_dial_that_is_held_back_is_no_failure_and_has_its_turn_soon() {
    let (mut engine, mut actions) = (wants(100), Vec::new());
    let peers = vec![PeerAddress { id: stranger(1), addresses: vec![address(1)] }];
    engine.handle(Duration::ZERO, Event::Found { content: content(), peers }, &mut actions);
    let mut dials = 0;
    for tick in 1..=40u32 {
        if actions.drain(..).any(|action| matches!(action, Action::Dial { .. })) {
            dials += 1;
            assert!(engine.is_vouched_for(stranger(1)));
            engine.handle(TICK * (tick - 1), Event::DialHeldBack { peer: stranger(1) }, &mut actions);
        }
        engine.handle(TICK * tick, Event::Tick, &mut actions);
    }
    assert!((9..=11).contains(&dials), "{dials} in ten seconds");
}

#[test]
fn many_contents_are_told_of_at_the_pace_at_which_they_may_be() {
    const CONTENTS: usize = 1000;
    const MEMBERS: u64 = 20;
    let engine = |n: usize| {
        let mut engine = Engine::new(Config::default(), peer(n), hello(n), 1);
        for n in 0..CONTENTS {
            let (have, wanted) = (PieceSet::full(1), PieceSet::empty(0));
            let event = Event::Content { content: number(n), geometry: geometry(1), have, wanted };
            engine.handle(Duration::ZERO, event, &mut Vec::new());
        }
        engine
    };
    let (mut tells, mut hears) = (engine(0), engine(1));
    for conn in 1..=MEMBERS {
        greet(&mut tells, conn, stranger(conn), &mut Vec::new());
    }
    greet(&mut hears, 1, peer(0), &mut Vec::new());
    for n in 0..CONTENTS {
        (1..=MEMBERS).for_each(|conn| drop(say(&mut tells, Duration::ZERO, conn, join(number(n), 1, false))));
        say(&mut hears, Duration::ZERO, 1, join(number(n), 1, false));
    }
    let (mut named, mut most) = (0, 0);
    for tick in 1..=200u32 {
        let (now, mut actions) = (TICK * tick, Vec::new());
        tells.handle(now, Event::Tick, &mut actions);
        let before = named;
        for action in actions {
            if let Action::Send { conn: 1, message: message @ PeerMessage::Peers { .. } } = action {
                if let PeerMessage::Peers { peers, .. } = &message {
                    named += peers.len();
                }
                assert!(!closed(&say(&mut hears, now, 1, message), 1), "it floods, after {named}");
            }
        }
        most = most.max(named - before);
    }
    assert_eq!(named as u64, CONTENTS as u64 * (MEMBERS - 1), "each of the others once for each");
    assert!(most <= 220, "{most} in a tick");
}

/// An office comes back after its network was down: what its machines tell of each other is more than strangers of one address may say.
#[test]
fn what_neighbours_of_one_address_tell_of_others_is_dropped_and_not_punished() {
    const CONTENTS: usize = 500;
    let (mut engine, last) = (Engine::new(Config::default(), peer(0), hello(0), 1), 100);
    for n in 0..CONTENTS {
        let (have, wanted) = (PieceSet::full(1), PieceSet::empty(0));
        let event = Event::Content { content: number(n), geometry: geometry(1), have, wanted };
        engine.handle(Duration::ZERO, event, &mut Vec::new());
    }
    (1..=last).for_each(|conn| greet(&mut engine, conn, stranger(conn), &mut Vec::new()));
    for n in 0..CONTENTS {
        assert!(!closed(&say(&mut engine, Duration::ZERO, last, join(number(n), 1, true)), last));
    }
    let address = |n: u64| SocketAddr::from(([10, 9, 9, n as u8], 9000));
    let named = |n: u64| PeerAddress { id: stranger(1000 + n), addresses: vec![address(n)] };
    let peers: Vec<PeerAddress> = (0..19).map(named).collect();
    let mut now = Duration::ZERO;
    for tick in 1..=CONTENTS as u32 / 10 {
        now = TICK * tick;
        let all = (tick - 1) as usize * 10;
        for n in all..all + 10 {
            let gossip = PeerMessage::Peers { content: number(n), peers: peers.clone() };
            assert!(!closed(&say(&mut engine, now, last, gossip), last), "it is let go after {n}");
        }
        engine.handle(now, Event::Tick, &mut Vec::new());
    }
    let told = (0..CONTENTS).filter(|&n| engine.knows(number(n), stranger(1000))).count();
    assert!((100..CONTENTS).contains(&told), "{told} were heard: there was no more to test");
    // What it says of itself is heard.
    let have =
        PeerMessage::Have { content: number(0), runs: vec![PieceRange { first: 0, count: 1 }], in_flight: vec![] };
    say(&mut engine, now, last, have);
    assert!(engine.conns[&last].has(&number(0), 0));
    assert!(!engine.peers.is_suspect(&stranger(2000), engine.conns[&last].peer.address.ip()));
}
