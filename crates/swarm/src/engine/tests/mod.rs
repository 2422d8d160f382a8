//! Behaviour of the engine, in virtual time: a handful of engines talk through a world that delivers at once, or
//! one engine is told things that a bad peer would make happen.

mod crowds;
mod hostile;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, Digest, Geometry, PeerAddress, PeerId, PeerMessage, PieceSet, RefusalReason, Run, VERSION};

use super::noted::NOTED;
use super::{Config, Engine};
use crate::event::{Action, ConnId, Event, Failure, RequestId, ServeId};

const PIECE: u32 = 1024;

fn content() -> ContentId {
    ContentId(Digest([9; 32]))
}

fn peer(n: usize) -> PeerId {
    PeerId(Digest([n as u8 + 1; 32]))
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9000 + n as u16))
}

fn hello(n: usize) -> PeerMessage {
    PeerMessage::Hello { version: VERSION, listeners: vec![address(n)], site: String::new() }
}

fn geometry(pieces: u32) -> Arc<Geometry> {
    Arc::new(Geometry::new(PIECE, vec![u64::from(pieces * PIECE)]).unwrap())
}

/// Engines that reach each other at once, and whose pieces travel as fast as they are asked for.
struct World {
    now: Duration,
    engines: Vec<Engine>,
    events: VecDeque<(usize, Event)>,
    /// Both ends of each connection: who, and the other one's number for it.
    ends: BTreeMap<(usize, ConnId), (usize, ConnId)>,
    serves: BTreeMap<(usize, ServeId), (usize, RequestId, Run)>,
    pieces: u32,
    next: u64,
    /// Pieces that each engine sent.
    sent: Vec<u32>,
    /// What engines want that do not want everything.
    goals: BTreeMap<usize, PieceSet>,
    /// This one sends only wrong pieces.
    liar: Option<usize>,
    /// These answer nothing.
    silent: Vec<usize>,
    completed: Vec<usize>,
    lacking: Vec<Vec<Run>>,
    banned: Vec<(usize, PeerId)>,
}

impl World {
    fn new(count: usize, pieces: u32, seed: u64) -> Self {
        World {
            now: Duration::ZERO,
            engines: (0..count).map(|n| Engine::new(Config::default(), peer(n), hello(n), seed + n as u64)).collect(),
            events: VecDeque::new(),
            ends: BTreeMap::new(),
            serves: BTreeMap::new(),
            pieces,
            next: 0,
            sent: vec![0; count],
            goals: BTreeMap::new(),
            liar: None,
            silent: Vec::new(),
            completed: Vec::new(),
            lacking: vec![Vec::new(); count],
            banned: Vec::new(),
        }
    }

    fn seed(&mut self, n: usize, have: PieceSet) {
        let event =
            Event::Content { content: content(), geometry: geometry(self.pieces), have, wanted: PieceSet::empty(0) };
        self.events.push_back((n, event));
    }

    fn want(&mut self, n: usize) {
        self.events.push_back((n, Event::Want { content: content() }));
        let others = (0..self.engines.len()).filter(|&other| other != n);
        let peers = others.map(|other| PeerAddress { id: peer(other), addresses: vec![address(other)] }).collect();
        self.events.push_back((n, Event::Found { content: content(), peers }));
    }

    /// Runs until nothing happens any more, ticking for at most `most` of virtual time.
    fn run(&mut self, most: Duration) {
        let end = self.now + most;
        loop {
            while let Some((n, event)) = self.events.pop_front() {
                let mut actions = Vec::new();
                self.engines[n].handle(self.now, event, &mut actions);
                actions.into_iter().for_each(|action| self.act(n, action));
            }
            let Some(next) = self.engines.iter().map(Engine::next_timeout).min() else { return };
            self.now = self.now.max(next);
            if self.now > end {
                return;
            }
            for n in 0..self.engines.len() {
                if self.engines[n].next_timeout() <= self.now {
                    self.events.push_back((n, Event::Tick));
                }
            }
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        match action {
            Action::Dial { peer: to } => {
                let other = (0..self.engines.len()).find(|&other| peer(other) == to.id).unwrap();
                self.next += 2;
                let (mine, theirs) = (self.next, self.next + 1);
                self.ends.insert((n, mine), (other, theirs));
                self.ends.insert((other, theirs), (n, mine));
                let (id, remote) = (peer(n), address(n));
                let there = Event::Connected { conn: theirs, peer: id, remote, dialled: false };
                let here = Event::Connected { conn: mine, peer: to.id, remote: address(other), dialled: true };
                self.events.push_back((n, here));
                self.events.push_back((other, there));
            }
            Action::Close { conn, .. } => {
                if let Some((other, theirs)) = self.ends.remove(&(n, conn)) {
                    self.ends.remove(&(other, theirs));
                    self.events.push_back((other, Event::Disconnected { conn: theirs }));
                }
            }
            Action::Send { conn, message } => {
                if let Some(&(other, theirs)) = self.ends.get(&(n, conn)) {
                    self.events.push_back((other, Event::Message { conn: theirs, message }));
                }
            }
            Action::CancelManifest { .. } => {}
            Action::FetchManifest { conn, content } => {
                let event = if self.ends.contains_key(&(n, conn)) {
                    let (geometry, have) = (geometry(self.pieces), PieceSet::empty(self.pieces));
                    let wanted = self.goals.get(&n).cloned().unwrap_or(PieceSet::full(self.pieces));
                    Event::Content { content, geometry, have, wanted }
                } else {
                    Event::ManifestFailed { content, conn, lied: false }
                };
                self.events.push_back((n, event));
            }
            Action::Fetch { conn, request, content, run } => match self.ends.get(&(n, conn)) {
                Some(&(other, theirs)) => {
                    self.next += 1;
                    self.serves.insert((other, self.next), (n, request, run));
                    let serve = self.next;
                    self.events.push_back((other, Event::Asked { conn: theirs, serve, content, run }));
                }
                None => self.finish(n, request, Some(Failure::Broken)),
            },
            Action::Cancel { request } => self.finish(n, request, Some(Failure::Broken)),
            Action::Refuse { serve, reason } => {
                let (asker, request, _) = self.serves.remove(&(n, serve)).unwrap();
                self.finish(asker, request, Some(Failure::Refused(reason)));
            }
            Action::Serve { .. } if self.silent.contains(&n) => {}
            Action::Serve { serve } => {
                let (asker, request, run) = self.serves.remove(&(n, serve)).unwrap();
                for piece in run.pieces() {
                    self.sent[n] += 1;
                    let progress = Event::Progress { request, bytes: u64::from(PIECE) };
                    self.events.push_back((asker, progress));
                    let came = if self.liar == Some(n) {
                        Event::Wrong { request, piece }
                    } else {
                        Event::Stored { content: content(), request, piece }
                    };
                    self.events.push_back((asker, came));
                }
                self.finish(asker, request, None);
                self.events.push_back((n, Event::Served { serve }));
            }
            Action::Completed { .. } => self.completed.push(n),
            Action::Lacking { runs, .. } => self.lacking[n] = runs,
            Action::Banned { peer } => self.banned.push((n, peer)),
        }
    }

    fn finish(&mut self, n: usize, request: RequestId, failure: Option<Failure>) {
        self.events.push_back((n, Event::Finished { request, failure }));
    }

    fn have(&self, n: usize) -> u32 {
        self.engines[n].view(content()).unwrap().have
    }
}

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
        have.insert_run(Run { first: n as u32 * 30, count: 30 });
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
    assert_eq!(world.lacking[2], [Run { first: 7, count: 1 }]);
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
        part.insert_run(Run { first: 50, count: 30 });
        part.insert_run(Run { first: 150, count: 10 });
        world.goals.insert(2, part);
        world.seed(0, PieceSet::full(200));
        (1..3).for_each(|n| world.want(n));
        world.run(Duration::from_secs(60));
        assert_eq!(world.completed.len(), 2, "seed {seed}");
        assert_eq!((world.have(1), world.have(2)), (200, 40), "seed {seed}");
        assert_eq!(world.sent.iter().sum::<u32>(), 240, "seed {seed}");
        assert_eq!(world.engines[2].have(content()).unwrap().count(), 40, "seed {seed}");
        assert!(world.lacking.iter().all(Vec::is_empty), "seed {seed}: what nobody wants lacks nowhere");
    }
}

#[test]
fn what_someone_skips_is_not_offered_to_it() {
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    greet(&mut engine, 1, peer(1), &mut actions);
    let say = |message| Event::Message { conn: 1, message };
    let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: true };
    let skip = PeerMessage::Skip { content: content(), runs: vec![Run { first: 10, count: 90 }] };
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
    let offered: Vec<Run> = offered.flatten().copied().collect();
    assert!(!offered.is_empty() && offered.iter().all(|run| run.lies_within(10)), "{offered:?}");
    let beyond = PeerMessage::Skip { content: content(), runs: vec![Run { first: 99, count: 2 }] };
    engine.handle(Duration::from_secs(100), say(beyond), &mut actions);
    assert!(actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. })));
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

/// An engine that wants 100 pieces, connected to peers that say they have them all and offer an even part each; and its
/// actions so far.
fn downloader(conns: &[ConnId]) -> (Engine, Vec<Action>) {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let mut actions = Vec::new();
    let have = PieceSet::empty(100);
    let event = Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
    engine.handle(Duration::ZERO, event, &mut actions);
    let part = 100 / conns.len() as u32;
    for (&conn, number) in conns.iter().zip(0..) {
        let (id, remote) = (peer(conn as usize), address(conn as usize));
        let connected = Event::Connected { conn, peer: id, remote, dialled: true };
        engine.handle(Duration::ZERO, connected, &mut actions);
        let runs = vec![Run { first: 0, count: 100 }];
        for message in [
            hello(conn as usize),
            PeerMessage::Join { content: content(), pieces: Some(100), wants: false },
            PeerMessage::Have { content: content(), runs, coming: vec![] },
            PeerMessage::Offer { content: content(), runs: vec![Run { first: number * part, count: part }] },
        ] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
    }
    (engine, actions)
}

fn fetches(actions: &[Action]) -> Vec<(ConnId, RequestId, Run)> {
    let fetch = |action: &Action| match *action {
        Action::Fetch { conn, request, run, .. } => Some((conn, request, run)),
        _ => None,
    };
    actions.iter().filter_map(fetch).collect()
}

#[test]
fn the_same_seed_and_events_give_the_same_actions() {
    assert_eq!(downloader(&[1, 2, 3]).1, downloader(&[1, 2, 3]).1);
}

#[test]
fn a_silent_peer_is_dropped_and_its_pieces_go_elsewhere() {
    let (mut engine, actions) = downloader(&[1, 2]);
    let mut answered = fetches(&actions);
    let mut closed = false;
    let mut got = 0;
    for n in 0..400u64 {
        let now = Duration::from_millis(n * 100);
        let mut actions = Vec::new();
        engine.handle(now, Event::Tick, &mut actions);
        // Peer 2 answers everything, peer 1 nothing.
        while let Some((conn, request, run)) = answered.pop() {
            if conn != 2 {
                continue;
            }
            for piece in run.pieces() {
                engine.handle(now, Event::Progress { request, bytes: 1024 }, &mut actions);
                engine.handle(now, Event::Stored { content: content(), request, piece }, &mut actions);
            }
            engine.handle(now, Event::Finished { request, failure: None }, &mut actions);
            answered.extend(fetches(&actions));
            closed |= actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. }));
            actions.clear();
        }
        answered.extend(fetches(&actions));
        closed |= actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. }));
        got = engine.view(content()).unwrap().have;
    }
    assert_eq!(got, 100);
    // Though what it owed has come from elsewhere.
    assert!(closed);
}

#[test]
fn a_crawling_peer_is_dropped_if_another_is_much_faster() {
    for fast in [0, 100, 1000] {
        let (mut engine, actions) = downloader(&[1, 2]);
        let requests = fetches(&actions);
        let request_of = |peer| requests.iter().find(|&&(conn, ..)| conn == peer).map(|&(_, request, _)| request);
        let mut closed = false;
        for n in 1..120u64 {
            let (now, mut actions) = (Duration::from_millis(n * 250), Vec::new());
            for (peer, bytes) in [(1, 5), (2, fast)] {
                let request = request_of(peer).unwrap();
                engine.handle(now, Event::Progress { request, bytes }, &mut actions);
            }
            engine.handle(now, Event::Tick, &mut actions);
            closed |= actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. }));
        }
        assert_eq!(closed, fast == 1000, "beside one that gives {fast} bytes each time");
    }
}

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
fn whoever_withdraws_within_a_second_what_was_wrong_is_not_shut_out() {
    let wrong = |engine: &mut Engine, at: Duration, actions: &mut Vec<Action>| {
        let requests = fetches(actions);
        let (_, request, run) = *requests.iter().rev().find(|(conn, ..)| *conn == 1).expect("it is asked");
        for piece in run.pieces().take(5) {
            engine.handle(at, Event::Wrong { request, piece }, actions);
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
        let all = vec![Run { first: 0, count: 100 }];
        for message in [
            PeerMessage::Join { content: content(), pieces: Some(100), wants: false },
            PeerMessage::Have { content: content(), runs: all.clone(), coming: vec![] },
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
fn a_manifest_that_does_not_come_is_asked_of_someone_else() {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
    for conn in [1, 2] {
        let (id, remote) = (peer(conn as usize), address(conn as usize));
        engine.handle(Duration::ZERO, Event::Connected { conn, peer: id, remote, dialled: true }, &mut actions);
        let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
        for message in [hello(conn as usize), join] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
    }
    (0..8).for_each(|n| engine.handle(Duration::from_millis(n * 250), Event::Tick, &mut actions));
    let asked = actions.iter().filter_map(|action| match action {
        Action::FetchManifest { conn, .. } => Some(*conn),
        _ => None,
    });
    let asked: std::collections::BTreeSet<_> = asked.collect();
    assert_eq!(asked, [1, 2].into(), "within two seconds");
}

#[test]
fn pieces_in_flight_stay_within_the_budget() {
    let config = Config { budget: 8 * 1024, ..Config::default() };
    let mut engine = Engine::new(config, peer(0), hello(0), 1);
    let mut actions = Vec::new();
    let have = PieceSet::empty(100);
    let event = Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
    engine.handle(Duration::ZERO, event, &mut actions);
    for conn in 1..=4 {
        let (id, remote) = (peer(conn as usize), address(conn as usize));
        let connected = Event::Connected { conn, peer: id, remote, dialled: true };
        engine.handle(Duration::ZERO, connected, &mut actions);
        let runs = vec![Run { first: 0, count: 100 }];
        for message in [
            hello(conn as usize),
            PeerMessage::Join { content: content(), pieces: Some(100), wants: false },
            PeerMessage::Have { content: content(), runs: runs.clone(), coming: vec![] },
            PeerMessage::Offer { content: content(), runs },
        ] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
    }
    let pieces: u32 = fetches(&actions).iter().map(|(_, _, run)| run.count).sum();
    assert!((2..=8 + 4).contains(&pieces), "{pieces} pieces under way");
}

#[test]
fn what_came_makes_room_before_its_verdict_but_no_more_than_it_took() {
    let config = Config { budget: 8 * u64::from(PIECE), ..Config::default() };
    let mut engine = Engine::new(config, peer(0), hello(0), 1);
    let mut actions = Vec::new();
    let have = PieceSet::empty(100);
    let event = Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
    engine.handle(Duration::ZERO, event, &mut actions);
    let connected = Event::Connected { conn: 1, peer: peer(1), remote: address(1), dialled: true };
    engine.handle(Duration::ZERO, connected, &mut actions);
    // It does not say what it has: only what it offers is asked for, in two requests once it has given something.
    let offer = |engine: &mut Engine, runs, actions: &mut Vec<Action>| {
        let message = PeerMessage::Offer { content: content(), runs };
        engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, actions);
    };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message: hello(1) }, &mut actions);
    offer(&mut engine, vec![Run { first: 99, count: 1 }], &mut actions);
    let (_, request, _) = fetches(&actions)[0];
    for event in [
        Event::Progress { request, bytes: u64::from(PIECE) },
        Event::Stored { content: content(), request, piece: 99 },
        Event::Finished { request, failure: None },
    ] {
        engine.handle(Duration::ZERO, event, &mut actions);
    }
    actions.clear();
    offer(&mut engine, vec![Run { first: 0, count: 3 }, Run { first: 10, count: 80 }], &mut actions);
    let asked = |actions: &[Action]| fetches(actions).iter().map(|&(_, _, run)| run).collect::<Vec<_>>();
    // An eighth is left for whoever has not given anything yet.
    assert_eq!(asked(&actions), [Run { first: 0, count: 3 }, Run { first: 10, count: 4 }]);
    let (_, first, _) = fetches(&actions)[0];
    for (bytes, makes_room) in [(u64::from(PIECE), Some(1)), (1 << 20, Some(2)), (1 << 20, None)] {
        let mut actions = Vec::new();
        engine.handle(Duration::ZERO, Event::Progress { request: first, bytes }, &mut actions);
        let counts: Vec<_> = asked(&actions).iter().map(|run| run.count).collect();
        assert_eq!(counts, makes_room.into_iter().collect::<Vec<_>>(), "{bytes} bytes came");
    }
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Finished { request: first, failure: None }, &mut actions);
    assert_eq!(asked(&actions), [], "its room was given back already");
}

#[test]
fn pieces_that_do_not_exist_end_the_connection() {
    let (mut engine, _) = downloader(&[1]);
    for run in [Run { first: 99, count: 2 }, Run { first: u32::MAX, count: 1 }, Run { first: 0, count: 0 }] {
        let mut actions = Vec::new();
        let (mut fresh, _) = downloader(&[1]);
        std::mem::swap(&mut engine, &mut fresh);
        let message = PeerMessage::Have { content: content(), runs: vec![run], coming: vec![] };
        engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
        assert!(actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. })), "{run:?}");
    }
}

#[test]
fn questions_for_what_is_not_held_are_refused() {
    let (mut engine, _) = downloader(&[1]);
    for (run, reason) in [
        (Run { first: 0, count: 1 }, RefusalReason::NotHeld),
        (Run { first: 0, count: 0 }, RefusalReason::Invalid),
        (Run { first: 99, count: 2 }, RefusalReason::Invalid),
        (Run { first: u32::MAX, count: u32::MAX }, RefusalReason::Invalid),
    ] {
        let mut actions = Vec::new();
        let event = Event::Asked { conn: 1, serve: 5, content: content(), run };
        engine.handle(Duration::ZERO, event, &mut actions);
        assert!(actions.contains(&Action::Refuse { serve: 5, reason }), "{run:?}: {actions:?}");
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

/// Found by fuzzing: the old requests were counted as the new content's, which had no such pieces yet.
#[test]
fn a_content_that_is_wanted_again_before_its_requests_have_ended_starts_anew() {
    let (mut engine, actions) = downloader(&[1, 2]);
    let old = fetches(&actions);
    assert!(!old.is_empty());
    let mut actions = Vec::new();
    engine.handle(Duration::ZERO, Event::Withdraw { content: content() }, &mut actions);
    assert!(old.iter().all(|(_, request, _)| actions.contains(&Action::Cancel { request: *request })));
    for manifest_is_here in [false, true] {
        engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
        if manifest_is_here {
            let have = PieceSet::empty(100);
            let event =
                Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
            engine.handle(Duration::ZERO, event, &mut actions);
        }
        for seconds in 1..9 {
            engine.handle(Duration::from_secs(seconds), Event::Tick, &mut actions);
        }
    }
    for &(_, request, run) in &old {
        engine.handle(
            Duration::from_secs(9),
            Event::Stored { content: content(), request, piece: run.first },
            &mut actions,
        );
        engine.handle(Duration::from_secs(9), Event::Finished { request, failure: None }, &mut actions);
    }
    assert_eq!(engine.view(content()).unwrap().have, 0, "what came for the old one is not the new one's");
}

/// An engine that knows a content, wanted or whole.
fn lone_engine(wanted: bool) -> Engine {
    let mut engine = Engine::new(Config::default(), peer(0), hello(0), 1);
    let have = if wanted { PieceSet::empty(100) } else { PieceSet::full(100) };
    let content = Event::Content { content: content(), geometry: geometry(100), have, wanted: PieceSet::full(100) };
    engine.handle(Duration::ZERO, content, &mut Vec::new());
    engine
}

/// Someone dials the engine and says hello.
fn greet(engine: &mut Engine, conn: u64, peer: PeerId, actions: &mut Vec<Action>) {
    let connected = Event::Connected { conn, peer, remote: address(1), dialled: false };
    engine.handle(Duration::ZERO, connected, actions);
    engine.handle(Duration::ZERO, Event::Message { conn, message: hello(1) }, actions);
}

fn stranger(number: u64) -> PeerId {
    let mut digest = [0xee; 32];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    PeerId(Digest(digest))
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

/// A link that failed once may be the only one there is.
#[test]
fn a_manifest_that_did_not_come_is_asked_for_again() {
    let (mut engine, mut actions) = (Engine::new(Config::default(), peer(0), hello(0), 1), Vec::new());
    engine.handle(Duration::ZERO, Event::Want { content: content() }, &mut actions);
    greet(&mut engine, 1, peer(1), &mut actions);
    let message = PeerMessage::Join { content: content(), pieces: Some(100), wants: false };
    engine.handle(Duration::ZERO, Event::Message { conn: 1, message }, &mut actions);
    let asked = |actions: &mut Vec<Action>| {
        std::mem::take(actions).iter().filter(|action| matches!(action, Action::FetchManifest { .. })).count()
    };
    assert_eq!(asked(&mut actions), 1);
    let failed = Event::ManifestFailed { content: content(), conn: 1, lied: false };
    engine.handle(Duration::from_secs(1), failed, &mut actions);
    assert_eq!(asked(&mut actions), 0, "not at once, or it would never rest");
    engine.handle(Duration::from_secs(3), Event::Tick, &mut actions);
    assert_eq!(asked(&mut actions), 1);
}

/// Ids are free to make: the books on them do not grow with every one that misbehaves.
#[test]
fn whoever_was_shut_out_or_forgiven_first_is_forgotten_first_and_only_for_want_of_room() {
    let mut engine = lone_engine(true);
    let all = vec![Run { first: 0, count: 100 }];
    // Each sends five wrong pieces, and withdraws the content at once, or leaves.
    let mut misbehave = |number: u64, withdraws: bool| {
        let (conn, mut actions) = (number + 1, Vec::new());
        greet(&mut engine, conn, stranger(number), &mut actions);
        for message in [
            PeerMessage::Join { content: content(), pieces: Some(100), wants: false },
            PeerMessage::Have { content: content(), runs: all.clone(), coming: vec![] },
            PeerMessage::Offer { content: content(), runs: all.clone() },
        ] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
        for (_, request, run) in fetches(&actions).into_iter().take(1) {
            for piece in run.pieces().take(5) {
                engine.handle(Duration::ZERO, Event::Wrong { request, piece }, &mut actions);
            }
        }
        let message = PeerMessage::Withdraw { content: content() };
        if withdraws {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
        engine.handle(Duration::ZERO, Event::Disconnected { conn }, &mut actions);
        (fetches(&actions).is_empty(), actions.iter().any(|action| matches!(action, Action::Banned { .. })))
    };
    let (most, numbered) = (NOTED as u64, |n: u64| n + 10_000);
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
