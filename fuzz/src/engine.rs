//! The engine, told anything that peers, trackers and networks can make happen, in any order.
//!
//! What comes from outside is arbitrary: messages, questions, introductions, connections that come and go. What the shell
//! promises is kept: a request ends once, and pieces that are stored belong to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{
    ContentId, Digest, Geometry, PeerAddress, PeerId, PeerMessage, PieceRange, PieceSet, RefusalReason, VERSION, Wire,
};
use sim::ActionLog;
use swarm::{Action, Config, ConnId, Engine, Event, Failure, RequestId, ServeId};

use crate::input::Input;

const CONTENTS: usize = 3;
const PEERS: usize = 6;
const BUDGET: u64 = 64 << 10;

fn content(number: usize) -> ContentId {
    ContentId(Digest([number as u8 + 100; 32]))
}

fn peer(number: usize) -> PeerId {
    PeerId(Digest([number as u8 + 1; 32]))
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number as u8], 9000))
}

/// What each content is, once it is known.
fn geometry(number: usize) -> Arc<Geometry> {
    let sizes = [vec![40 * 1024 - 5], vec![1000, 0, 70_000, 1024], vec![0]];
    Arc::new(Geometry::new(1024, sizes[number].clone()).expect("they are sizes"))
}

struct World {
    engine: Engine,
    now: Duration,
    actions: Vec<Action>,
    next: u64,
    /// Connections that stand, and who is there.
    conns: BTreeMap<ConnId, PeerId>,
    /// Requests for first pieces, and which pieces were said last to come of each.
    firsts: BTreeMap<RequestId, PieceRange>,
    requests: BTreeMap<RequestId, Request>,
    /// Requests that it has given up: bytes may still come, but none that count.
    given_up: BTreeSet<RequestId>,
    /// Questions that were neither answered nor refused, and what they ask for.
    asked: BTreeMap<ServeId, (ContentId, PieceRange)>,
    serving: BTreeSet<ServeId>,
    /// The pieces of each content that are wanted, as the engine was told.
    wanted: BTreeMap<ContentId, PieceSet>,
}

/// What it asked for and what it was told of that.
struct Request {
    content: ContentId,
    run: PieceRange,
    /// Bytes that have not come. A piece may have come long before its verdict.
    owed: u64,
    judged: PieceSet,
}

/// Tells an engine what the bytes say, and checks what it wants done.
pub fn engine(bytes: &[u8]) {
    engine_actions(bytes, &mut ActionLog::default());
    told(bytes, &mut ActionLog::default(), true);
}

/// The same, and adds what it wants done to a record.
pub(crate) fn engine_actions(bytes: &[u8], log: &mut ActionLog) {
    told(bytes, log, false);
}

/// Whether contents that are wanted can be read from an origin, too.
fn told(bytes: &[u8], log: &mut ActionLog, with_origin: bool) {
    let mut input = Input::new(bytes);
    let hello = PeerMessage::Hello { version: VERSION, listeners: vec![address(0)], site: String::new() };
    let mut config = Config::default();
    config.budget = BUDGET;
    config.request_bytes = 8 << 10;
    config.connections = 5;
    config.questions_per_connection = 4;
    config.upload_slots = 1 + input.below(3);
    config.fair = input.flag();
    let mut world = World {
        engine: Engine::new(config, peer(0), hello, u64::from(input.byte())),
        now: Duration::ZERO,
        actions: Vec::new(),
        next: 0,
        conns: BTreeMap::new(),
        requests: BTreeMap::new(),
        firsts: BTreeMap::new(),
        given_up: BTreeSet::new(),
        asked: BTreeMap::new(),
        serving: BTreeSet::new(),
        wanted: BTreeMap::new(),
    };
    while !input.is_empty() {
        let Some(event) = world.event(&mut input) else { continue };
        let now = world.now;
        let wanted = if let Event::Want { content } = &event { Some(*content) } else { None };
        world.engine.handle(now, event, &mut world.actions);
        if let Some(content) = wanted.filter(|_| with_origin) {
            world.engine.handle(now, Event::Origin { content, cap: None, spare: false }, &mut world.actions);
        }
        let actions = std::mem::take(&mut world.actions);
        actions.iter().for_each(|action| log.add(now, 0, action));
        actions.into_iter().for_each(|action| world.check(action));
        let counts = world.requests.iter().filter(|(request, _)| !world.given_up.contains(request));
        let in_flight: u64 = counts.map(|(_, request)| request.owed).sum();
        assert!(in_flight <= BUDGET.max(2 << 10), "{in_flight} bytes are asked for, over the budget");
    }
}

fn some<K: Copy, V>(map: &BTreeMap<K, V>, input: &mut Input) -> Option<K> {
    let at = input.below(map.len());
    map.keys().nth(at).copied()
}

fn run(input: &mut Input, pieces: u32) -> PieceRange {
    PieceRange { first: input.near(pieces), count: input.near(pieces) }
}

fn runs(input: &mut Input, pieces: u32) -> Vec<PieceRange> {
    (0..input.below(5)).map(|_| run(input, pieces)).collect()
}

fn peers(input: &mut Input) -> Vec<PeerAddress> {
    let one = |input: &mut Input| {
        let number = input.below(PEERS + 1);
        PeerAddress { id: peer(number), addresses: (0..input.below(3)).map(|_| address(number)).collect() }
    };
    (0..input.below(4)).map(|_| one(input)).collect()
}

fn message(input: &mut Input) -> PeerMessage {
    let number = input.below(CONTENTS + 1);
    let content = content(number);
    let pieces = if number < CONTENTS { geometry(number).pieces() } else { 10 };
    match input.below(13) {
        0..=1 => {
            let version = if input.below(8) == 0 { input.byte().into() } else { VERSION };
            let site = ["", "a", "b"][input.below(3)].to_owned();
            let listeners = (0..input.below(3)).map(address).collect();
            PeerMessage::Hello { version, listeners, site }
        }
        2..=3 => {
            let pieces = match input.below(8) {
                0 => None,
                1 => Some(input.near(pieces)),
                _ => Some(pieces),
            };
            PeerMessage::Join { content, pieces, wants: input.flag() }
        }
        4..=5 => PeerMessage::Have { content, runs: runs(input, pieces), in_flight: runs(input, pieces) },
        6 => PeerMessage::Interest { content, interested: input.flag() },
        7 => PeerMessage::Offer { content, runs: runs(input, pieces) },
        8 => PeerMessage::Decline { content, runs: runs(input, pieces) },
        9 => PeerMessage::Peers { content, peers: peers(input) },
        10 => PeerMessage::Withdraw { content },
        11 => PeerMessage::Skip { content, runs: runs(input, pieces) },
        _ => PeerMessage::Bye,
    }
}

impl World {
    fn event(&mut self, input: &mut Input) -> Option<Event> {
        let number = input.below(CONTENTS);
        let id = content(number);
        Some(match input.below(26) {
            0 => Event::Want { content: id },
            1 => {
                let geometry = geometry(number);
                let mut have = PieceSet::empty(geometry.pieces());
                for _ in 0..input.below(4) {
                    have.insert_run(run(input, geometry.pieces()));
                }
                // The shell opens a content once.
                if self.engine.view(id).is_some_and(|view| view.pieces > 0) {
                    return None;
                }
                let mut wanted = PieceSet::empty(geometry.pieces());
                for _ in 0..input.below(4) {
                    wanted.insert_run(run(input, geometry.pieces()));
                }
                self.wanted.insert(id, wanted.clone());
                Event::Content { content: id, geometry, have, wanted }
            }
            2 => Event::ManifestFailed { content: id, conn: some(&self.conns, input)?, lied: input.flag() },
            3 if input.below(4) == 0 => Event::Withdraw { content: id },
            4 => Event::Found { content: id, peers: peers(input) },
            5 => Event::Gone { content: id, peers: peers(input).into_iter().map(|peer| peer.id).collect() },
            6..=7 => {
                let number = 1 + input.below(PEERS);
                self.next += 1;
                self.conns.insert(self.next, peer(number));
                let remote = address(number);
                Event::Connected { conn: self.next, peer: peer(number), remote, dialled: input.flag(), relayed: false }
            }
            8 => {
                let peer = peer(input.below(PEERS + 1));
                if input.flag() { Event::DialHeldBack { peer } } else { Event::DialFailed { peer } }
            }
            9 => self.disconnect(some(&self.conns, input)?),
            10..=14 => Event::Message { conn: some(&self.conns, input)?, message: message(input) },
            15..=16 => {
                self.next += 1;
                let conn = some(&self.conns, input)?;
                let run = run(input, geometry(number).pieces());
                self.asked.insert(self.next, (id, run));
                Event::Requested { conn, serve: self.next, content: id, run, awaited: false }
            }
            17 => {
                let at = input.below(self.serving.len());
                let serve = *self.serving.iter().nth(at)?;
                self.serving.remove(&serve);
                Event::Served { serve, pieces: input.below(4) as u32 }
            }
            18 => {
                let (request, bytes) = (some(&self.requests, input)?, u64::from(input.number()) % (1 << 20));
                let asked = self.requests.get_mut(&request)?;
                asked.owed = asked.owed.saturating_sub(bytes);
                Event::Progress { request, bytes }
            }
            19..=20 => {
                let request = some(&self.requests, input)?;
                let asked = self.requests.get_mut(&request)?;
                let piece = asked.run.first + input.below(asked.run.count as usize) as u32;
                // Each piece has one verdict.
                if !asked.judged.insert(piece) {
                    return None;
                }
                let content = asked.content;
                if input.below(6) == 0 {
                    Event::Corrupt { request, piece }
                } else {
                    Event::Stored { content, request, piece }
                }
            }
            21 => {
                let request = some(&self.requests, input)?;
                self.requests.remove(&request);
                let failure = match input.below(5) {
                    0 => Some(Failure::Broken),
                    1 => Some(Failure::Invalid),
                    2 => Some(Failure::Refused([RefusalReason::NotHeld, RefusalReason::Busy][input.below(2)])),
                    _ => None,
                };
                Event::Finished { request, failure }
            }
            22 => {
                self.next += 1;
                let (conn, most) = (some(&self.conns, input)?, u64::from(input.number()) % (1 << 14));
                self.asked.insert(self.next, (id, PieceRange { first: 0, count: 0 }));
                Event::RequestedFirst { conn, serve: self.next, content: id, most }
            }
            23 => {
                let request = some(&self.firsts, input)?;
                let run = run(input, geometry(number).pieces());
                self.firsts.insert(request, run);
                Event::FirstPieces { request, run }
            }
            24 => {
                let rtt = Duration::from_micros(u64::from(input.number()) % 1_000_000);
                Event::RoundTrip { conn: some(&self.conns, input)?, rtt }
            }
            _ => {
                self.now += [1, 50, 250, 3_000, 30_000].map(Duration::from_millis)[input.below(5)];
                Event::Tick
            }
        })
    }

    fn disconnect(&mut self, conn: ConnId) -> Event {
        self.conns.remove(&conn);
        Event::Disconnected { conn }
    }

    fn check(&mut self, action: Action) {
        match action {
            Action::Dial { peer: to } | Action::DialAlso { peer: to } => assert!(to.id != peer(0), "it dials itself"),
            Action::Close { conn, .. } => assert!(self.conns.contains_key(&conn), "{conn} is closed, and is gone"),
            Action::Send { conn, message } => {
                assert!(self.conns.contains_key(&conn), "{conn} is told something, and is gone");
                let bytes = message.encode().expect("what is sent has an encoding");
                assert_eq!(PeerMessage::decode(&bytes), Ok(message), "what is sent is understood");
            }
            Action::FetchManifest { conn, .. } | Action::CancelManifest { conn, .. } => {
                assert!(self.conns.contains_key(&conn))
            }
            Action::Fetch { request, content: id, run, .. } | Action::FetchFromOrigin { request, content: id, run } => {
                if let Action::Fetch { conn, .. } = action {
                    assert!(self.conns.contains_key(&conn), "{conn} is asked, and is gone");
                }
                let number = (0..CONTENTS).find(|&number| content(number) == id).expect("it is known");
                let geometry = geometry(number);
                assert!(run.lies_within(geometry.pieces()), "{run:?} is asked for");
                let judged = PieceSet::empty(run.first + run.count);
                let new =
                    self.requests.insert(request, Request { content: id, run, owed: geometry.bytes(run), judged });
                assert!(new.is_none(), "a number of a request was used twice");
            }
            Action::FetchFirst { conn, request, most, .. } => {
                assert!(self.conns.contains_key(&conn), "{conn} is asked, and is gone");
                assert!(most <= BUDGET / 4, "strangers may not owe {most}");
                assert!(
                    self.firsts.insert(request, PieceRange { first: 0, count: 0 }).is_none(),
                    "a number was used twice"
                );
            }
            Action::TakeFirst { request, content: id, run } => {
                assert_eq!(self.firsts.remove(&request), Some(run), "what was said is taken");
                let number = (0..CONTENTS).find(|&number| content(number) == id).expect("it is known");
                let geometry = geometry(number);
                assert!(run.lies_within(geometry.pieces()), "{run:?} is taken");
                let judged = PieceSet::empty(run.first + run.count);
                self.requests.insert(request, Request { content: id, run, owed: geometry.bytes(run), judged });
            }
            Action::Choose { serve, run } => self.asked.get_mut(&serve).expect("it was asked").1 = run,
            Action::Cancel { request } => {
                self.firsts.remove(&request);
                self.given_up.insert(request);
            }
            Action::Serve { serve } => {
                let (id, run) = self.asked.remove(&serve).expect("a question is answered once");
                let have = self.engine.have(id);
                assert!(have.is_some_and(|have| run.pieces().all(|piece| have.contains(piece))), "it lacks {run:?}");
                self.serving.insert(serve);
            }
            Action::Refuse { serve, .. } => assert!(self.asked.remove(&serve).is_some(), "a question is answered once"),
            Action::Completed { content } => {
                let (have, wanted) = (self.engine.have(content).expect("it is open"), &self.wanted[&content]);
                let mut wanted = wanted.runs().into_iter().flat_map(|run| run.pieces());
                assert!(wanted.all(|piece| have.contains(piece)), "something is missing");
            }
            Action::FindMore { .. } | Action::Lacking { .. } | Action::Banned { .. } => {}
        }
    }
}
