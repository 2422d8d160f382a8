//! Behaviour of the engine, in virtual time: a handful of engines talk through a world that delivers at once, or
//! one engine is told things that a bad peer would make happen.

mod amplified;
mod crowds;
mod download;
mod first;
mod greedy;
mod hostile;
mod many;
mod origin;
mod peers;
mod sites;
mod swarms;
mod upload;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{
    ContentId, Digest, Geometry, PeerAddress, PeerId, PeerMessage, PieceRange, PieceSet, RefusalReason, VERSION,
};

use super::bounded_map::MOST_KEYS;
use super::{Config, EARLY, Engine, MOST_EARLY, TICK};
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
    serves: BTreeMap<(usize, ServeId), (usize, RequestId, PieceRange)>,
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
    lacking: Vec<Vec<PieceRange>>,
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
                let there = Event::Connected { conn: theirs, peer: id, remote, dialled: false, relayed: false };
                let here =
                    Event::Connected { conn: mine, peer: to.id, remote: address(other), dialled: true, relayed: false };
                self.events.push_back((n, here));
                self.events.push_back((other, there));
            }
            // A peer has one address here.
            Action::DialAlso { .. } => {}
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
            Action::CancelManifest { .. } | Action::FetchFromOrigin { .. } => {}
            // One manifest is enough: what else was asked for it is over then.
            Action::FetchManifest { .. } if self.knows_how_it_is_cut(n) => {}
            Action::FetchManifest { conn, content } => {
                let knows = |&(other, _): &(usize, ConnId)| {
                    self.engines[other].view(content).is_some_and(|view| view.pieces > 0)
                };
                let event = if self.ends.get(&(n, conn)).is_some_and(knows) {
                    let (geometry, have) = (geometry(self.pieces), PieceSet::empty(self.pieces));
                    let wanted = self.goals.get(&n).cloned().unwrap_or(PieceSet::full(self.pieces));
                    Event::Content { content, geometry, have, wanted }
                } else {
                    Event::ManifestFailed { content, conn, lied: false }
                };
                self.events.push_back((n, event));
            }
            Action::Fetch { conn, request, content, run, awaited } => match self.ends.get(&(n, conn)) {
                Some(&(other, theirs)) => {
                    self.next += 1;
                    self.serves.insert((other, self.next), (n, request, run));
                    let serve = self.next;
                    self.events.push_back((other, Event::Requested { conn: theirs, serve, content, run, awaited }));
                }
                None => self.finish(n, request, Some(Failure::Broken)),
            },
            Action::FetchFirst { conn, request, content, most } => match self.ends.get(&(n, conn)) {
                Some(&(other, theirs)) => {
                    self.next += 1;
                    let (serve, run) = (self.next, PieceRange { first: 0, count: 0 });
                    self.serves.insert((other, serve), (n, request, run));
                    self.events.push_back((other, Event::RequestedFirst { conn: theirs, serve, content, most }));
                }
                None => self.finish(n, request, Some(Failure::Broken)),
            },
            // Here the manifest comes before they do.
            Action::TakeFirst { .. } => {}
            Action::Choose { serve, run } => {
                let (asker, request, chosen) = self.serves.get_mut(&(n, serve)).unwrap();
                *chosen = run;
                let (asker, request) = (*asker, *request);
                self.events.push_back((asker, Event::FirstPieces { request, run }));
            }
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
                        Event::Corrupt { request, piece }
                    } else {
                        Event::Stored { content: content(), request, piece }
                    };
                    self.events.push_back((asker, came));
                }
                self.finish(asker, request, None);
                self.events.push_back((n, Event::Served { serve, pieces: run.count }));
            }
            Action::Completed { .. } => self.completed.push(n),
            Action::FindMore { .. } => {}
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

    /// Whether an engine has the manifest, or is about to be told of it.
    fn knows_how_it_is_cut(&self, n: usize) -> bool {
        let is_told = |(to, event): &(usize, Event)| *to == n && matches!(event, Event::Content { .. });
        self.engines[n].view(content()).is_some_and(|view| view.pieces > 0) || self.events.iter().any(is_told)
    }
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
        let connected = Event::Connected { conn, peer: id, remote, dialled: true, relayed: false };
        engine.handle(Duration::ZERO, connected, &mut actions);
        let runs = vec![PieceRange { first: 0, count: 100 }];
        for message in [
            hello(conn as usize),
            PeerMessage::Join { content: content(), pieces: Some(100), wants: false },
            PeerMessage::Have { content: content(), runs, in_flight: vec![] },
            PeerMessage::Offer { content: content(), runs: vec![PieceRange { first: number * part, count: part }] },
        ] {
            engine.handle(Duration::ZERO, Event::Message { conn, message }, &mut actions);
        }
    }
    (engine, actions)
}

fn fetches(actions: &[Action]) -> Vec<(ConnId, RequestId, PieceRange)> {
    let fetch = |action: &Action| match *action {
        Action::Fetch { conn, request, run, .. } => Some((conn, request, run)),
        _ => None,
    };
    actions.iter().filter_map(fetch).collect()
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
    let connected = Event::Connected { conn, peer, remote: address(1), dialled: false, relayed: false };
    engine.handle(Duration::ZERO, connected, actions);
    engine.handle(Duration::ZERO, Event::Message { conn, message: hello(1) }, actions);
}

fn stranger(number: u64) -> PeerId {
    let mut digest = [0xee; 32];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    PeerId(Digest(digest))
}

#[test]
fn the_same_seed_and_events_give_the_same_actions() {
    assert_eq!(downloader(&[1, 2, 3]).1, downloader(&[1, 2, 3]).1);
}
