//! Progress: a download beside an honest seeder always completes, whatever a third peer does.
//!
//! Two engines, a seeder and a downloader, live in virtual time; the seeder's uplink sends a copy in a few seconds. The third
//! peer does what the bytes say, again and again from their beginning: it connects under old and new ids, says what is valid,
//! answers slowly, wrongly or never, asks and does not read, and leaves. What the shell promises is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{
    ContentId, Digest, Geometry, PeerAddress, PeerId, PeerMessage, PieceRange, PieceSet, RefusalReason, VERSION,
};
use sim::ActionLog;
use swarm::{Action, Config, ConnId, Engine, Event, Failure, RequestId, ServeId};

use crate::input::Input;

const PIECES: u32 = 64;
const PIECE: u64 = 1 << 20;
const DOWNLOADER: usize = 0;
const SEEDER: usize = 1;
/// Ids that the third peer has, one after another.
const IDS: usize = 200;
/// The uplink's time for a piece, one way between any two, and the time of a manifest.
const SENT: Duration = Duration::from_millis(50);
const LATENCY: Duration = Duration::from_millis(1);
/// What comes too early is looked at again after this time.
const HELD: Duration = Duration::from_millis(1);
const MANIFEST: Duration = Duration::from_millis(10);
/// As in the shell: who does not read, or does not send the manifest, is given up after this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// A dial without an answer.
const DIAL: Duration = Duration::from_secs(2);
/// Alone, the two take four seconds.
const BOUND: Duration = Duration::from_secs(120);

fn content() -> ContentId {
    ContentId(Digest([9; 32]))
}

fn peer(number: usize) -> PeerId {
    PeerId(Digest([number as u8 + 1; 32]))
}

/// Ids of the third peer take turns at two addresses: its own, and the seeder's.
fn address(number: usize) -> SocketAddr {
    let host = match number {
        DOWNLOADER => 1,
        SEEDER => 2,
        _ if number.is_multiple_of(2) => 3,
        _ => 2,
    };
    SocketAddr::from(([10, 0, 0, host], 9000 + number as u16))
}

fn hello(number: usize) -> PeerMessage {
    PeerMessage::Hello { version: VERSION, listeners: vec![address(number)], site: String::new() }
}

/// The other end of a connection: an engine with its number for it, or the third peer.
#[derive(Clone, Copy)]
enum End {
    Honest(usize, ConnId),
    Third,
}

enum Due {
    Tell(usize, Event),
    /// Bytes and pieces of an honest answer, to the downloader.
    Came {
        request: RequestId,
        piece: u32,
    },
    Act,
}

/// What the downloader has asked of the third peer.
struct Asked {
    run: PieceRange,
    came: u64,
    judged: u32,
}

struct World<'a> {
    bytes: &'a [u8],
    input: Input<'a>,
    now: Duration,
    engines: [Engine; 2],
    due: BTreeMap<(Duration, u64), Due>,
    next: u64,
    ends: BTreeMap<(usize, ConnId), End>,
    /// The third peer's connections: with whom, and as whom.
    third: BTreeMap<(usize, ConnId), usize>,
    asked: BTreeMap<RequestId, Asked>,
    /// Questions that the seeder was asked: by an honest request, or by the third peer.
    serves: BTreeMap<(usize, ServeId), Option<(RequestId, PieceRange)>>,
    /// Requests for first pieces of which it is not known yet where those go.
    held: BTreeSet<RequestId>,
    uplink_free: Duration,
    newest: usize,
    complete: bool,
    log: &'a mut ActionLog,
}

/// Panics if the download takes longer than it may.
pub fn progress(bytes: &[u8]) {
    progress_actions(bytes, &mut ActionLog::default());
}

/// The same, and adds what both engines want done to a record.
pub(crate) fn progress_actions(bytes: &[u8], log: &mut ActionLog) {
    if bytes.is_empty() {
        return;
    }
    let engine = |number| Engine::new(Config::default(), peer(number), hello(number), number as u64);
    let mut world = World {
        bytes,
        input: Input::new(bytes),
        now: Duration::ZERO,
        engines: [engine(DOWNLOADER), engine(SEEDER)],
        due: BTreeMap::new(),
        next: 0,
        ends: BTreeMap::new(),
        third: BTreeMap::new(),
        asked: BTreeMap::new(),
        held: BTreeSet::new(),
        serves: BTreeMap::new(),
        uplink_free: Duration::ZERO,
        newest: 2,
        complete: false,
        log,
    };
    let wanted = PieceSet::empty(0);
    let have = PieceSet::full(PIECES);
    world.tell(SEEDER, Event::Content { content: content(), geometry: geometry(), have, wanted });
    world.tell(DOWNLOADER, Event::Want { content: content() });
    let both = [SEEDER, 2].map(|number| PeerAddress { id: peer(number), addresses: vec![address(number)] });
    world.tell(DOWNLOADER, Event::Found { content: content(), peers: both.to_vec() });
    world.after(Duration::ZERO, Due::Act);
    world.run();
    let have = world.engines[DOWNLOADER].view(content()).map_or(0, |view| view.have);
    assert!(world.complete, "{have} of {PIECES} pieces after {BOUND:?} beside an honest seeder");
}

fn geometry() -> Arc<Geometry> {
    Arc::new(Geometry::new(PIECE as u32, vec![PIECE * u64::from(PIECES)]).expect("they are sizes"))
}

impl World<'_> {
    fn run(&mut self) {
        while !self.complete && self.now < BOUND {
            let tick = self.engines.iter().map(Engine::next_timeout).min().expect("there are two");
            match self.due.first_key_value().map(|(&(at, _), _)| at).filter(|&at| at <= tick) {
                Some(at) => {
                    self.now = self.now.max(at);
                    match self.due.pop_first().expect("it is there").1 {
                        // What comes before it is known where it goes waits.
                        Due::Came { request, piece } if self.held.contains(&request) => {
                            self.after(HELD, Due::Came { request, piece });
                        }
                        Due::Tell(who, Event::Finished { request, failure: None }) if self.held.contains(&request) => {
                            self.after(HELD * 2, Due::Tell(who, Event::Finished { request, failure: None }));
                        }
                        Due::Tell(who, event) => self.tell(who, event),
                        Due::Came { request, piece } => {
                            self.tell(DOWNLOADER, Event::Progress { request, bytes: PIECE });
                            self.tell(DOWNLOADER, Event::Stored { content: content(), request, piece });
                        }
                        Due::Act => self.act_third(),
                    }
                }
                None => {
                    self.now = self.now.max(tick);
                    for who in [DOWNLOADER, SEEDER] {
                        if self.engines[who].next_timeout() <= self.now {
                            self.tell(who, Event::Tick);
                        }
                    }
                }
            }
        }
    }

    fn after(&mut self, wait: Duration, due: Due) {
        self.next += 1;
        self.due.insert((self.now + wait, self.next), due);
    }

    fn tell(&mut self, who: usize, event: Event) {
        let mut actions = Vec::new();
        self.engines[who].handle(self.now, event, &mut actions);
        actions.iter().for_each(|action| self.log.add(self.now, who as u32, action));
        actions.into_iter().for_each(|action| self.act(who, action));
    }

    fn act(&mut self, who: usize, action: Action) {
        match action {
            Action::Dial { peer: to } => match (0..2 + IDS).find(|&number| peer(number) == to.id) {
                Some(other) if other < 2 => self.connect_honest(who, other),
                Some(other) if other == self.newest => self.connect_third(who, other, true),
                _ => self.after(DIAL, Due::Tell(who, Event::DialFailed { peer: to.id })),
            },
            Action::Close { conn, .. } => self.close(who, conn),
            Action::Send { conn, message } => {
                if let Some(&End::Honest(other, conn)) = self.ends.get(&(who, conn)) {
                    self.after(LATENCY, Due::Tell(other, Event::Message { conn, message }));
                }
            }
            // That dial comes to what it would have come to.
            Action::DialAlso { .. } | Action::CancelManifest { .. } => {}
            Action::FetchManifest { conn, content } => {
                let (wait, event) = match self.ends.get(&(who, conn)) {
                    Some(End::Honest(..)) => {
                        let (have, wanted) = (PieceSet::empty(PIECES), PieceSet::full(PIECES));
                        (MANIFEST, Event::Content { content, geometry: geometry(), have, wanted })
                    }
                    Some(End::Third) => (PATIENCE, Event::ManifestFailed { content, conn, lied: false }),
                    None => (Duration::ZERO, Event::ManifestFailed { content, conn, lied: false }),
                };
                // A second manifest is of no use to the shell.
                let known = |world: &Self| world.engines[who].view(content).is_some_and(|view| view.pieces > 0);
                if !matches!(event, Event::Content { .. }) || !known(self) {
                    self.after(wait, Due::Tell(who, event));
                }
            }
            Action::Fetch { conn, request, content, run, awaited } => match self.ends.get(&(who, conn)) {
                Some(&End::Honest(other, conn)) => {
                    self.next += 1;
                    let serve = self.next;
                    self.serves.insert((other, serve), Some((request, run)));
                    self.after(LATENCY, Due::Tell(other, Event::Requested { conn, serve, content, run, awaited }));
                }
                Some(End::Third) => drop(self.asked.insert(request, Asked { run, came: 0, judged: 0 })),
                None => self.finish(request, Some(Failure::Broken)),
            },
            Action::FetchFirst { conn, request, content, most } => match self.ends.get(&(who, conn)) {
                Some(&End::Honest(other, conn)) => {
                    self.next += 1;
                    let (serve, run) = (self.next, PieceRange { first: 0, count: 0 });
                    self.serves.insert((other, serve), Some((request, run)));
                    self.held.insert(request);
                    self.after(LATENCY, Due::Tell(other, Event::RequestedFirst { conn, serve, content, most }));
                }
                Some(End::Third) => self.after(PATIENCE, Due::Tell(who, Event::Finished { request, failure: None })),
                None => self.finish(request, Some(Failure::Broken)),
            },
            Action::TakeFirst { request, .. } => drop(self.held.remove(&request)),
            Action::Choose { serve, run } => {
                if let Some(Some((request, chosen))) = self.serves.get_mut(&(who, serve)) {
                    *chosen = run;
                    let request = *request;
                    self.after(LATENCY, Due::Tell(DOWNLOADER, Event::FirstPieces { request, run }));
                }
            }
            Action::Cancel { request } => {
                self.held.remove(&request);
                self.asked.remove(&request);
                self.finish(request, Some(Failure::Broken));
            }
            Action::Serve { serve } => match self.serves.remove(&(who, serve)).flatten() {
                Some((request, run)) => {
                    let mut at = self.uplink_free.max(self.now);
                    for piece in run.pieces() {
                        at += SENT;
                        self.after(at - self.now, Due::Came { request, piece });
                    }
                    self.uplink_free = at;
                    let finished = Due::Tell(DOWNLOADER, Event::Finished { request, failure: None });
                    self.after(at - self.now, finished);
                    self.after(at - self.now, Due::Tell(who, Event::Served { serve, pieces: run.count }));
                }
                // It does not read.
                None => self.after(PATIENCE, Due::Tell(who, Event::Served { serve, pieces: 0 })),
            },
            Action::Refuse { serve, reason } => {
                if let Some((request, _)) = self.serves.remove(&(who, serve)).flatten() {
                    self.finish(request, Some(Failure::Refused(reason)));
                }
            }
            Action::Completed { .. } => self.complete |= who == DOWNLOADER,
            Action::Banned { peer: banned } => assert!(banned != peer(SEEDER), "the honest one is shut out"),
            Action::FindMore { .. } | Action::Lacking { .. } => {}
            Action::FetchFromOrigin { .. } => unreachable!("nobody said that there is an origin"),
        }
    }

    fn finish(&mut self, request: RequestId, failure: Option<Failure>) {
        self.after(LATENCY, Due::Tell(DOWNLOADER, Event::Finished { request, failure }));
    }

    fn connect_honest(&mut self, who: usize, other: usize) {
        self.next += 2;
        let (mine, theirs) = (self.next, self.next - 1);
        self.ends.insert((who, mine), End::Honest(other, theirs));
        self.ends.insert((other, theirs), End::Honest(who, mine));
        for (at, conn, remote, dialled) in [(other, theirs, who, false), (who, mine, other, true)] {
            let event = Event::Connected { conn, peer: peer(remote), remote: address(remote), dialled, relayed: false };
            self.after(LATENCY, Due::Tell(at, event));
        }
    }

    fn connect_third(&mut self, who: usize, number: usize, dialled: bool) {
        self.next += 1;
        let conn = self.next;
        self.ends.insert((who, conn), End::Third);
        self.third.insert((who, conn), number);
        let event = Event::Connected { conn, peer: peer(number), remote: address(number), dialled, relayed: false };
        self.after(LATENCY, Due::Tell(who, event));
        for message in [hello(number), join(false), have(0, PIECES)] {
            self.after(LATENCY, Due::Tell(who, Event::Message { conn, message }));
        }
    }

    fn close(&mut self, who: usize, conn: ConnId) {
        self.third.remove(&(who, conn));
        if let Some(End::Honest(other, theirs)) = self.ends.remove(&(who, conn)) {
            self.ends.remove(&(other, theirs));
            self.after(LATENCY, Due::Tell(other, Event::Disconnected { conn: theirs }));
        }
    }

    /// The third peer does one thing, and another a while later.
    fn act_third(&mut self) {
        if self.input.is_empty() {
            self.input = Input::new(self.bytes);
        }
        let pause = [5, 20, 100, 1000][self.input.below(4)];
        self.after(Duration::from_millis(pause), Due::Act);
        let number = self.input.below(self.third.len());
        let conn = self.third.keys().nth(number).copied();
        let what = self.input.below(20);
        match (what, conn) {
            (0..=1, _) => {
                if self.input.flag() {
                    self.newest = 2 + (self.newest - 1) % IDS;
                }
                let who = self.input.below(2);
                self.connect_third(who, self.newest, false);
            }
            (2, Some((who, conn))) => {
                self.close(who, conn);
                self.tell(who, Event::Disconnected { conn });
            }
            (3..=8, Some((who, conn))) => {
                let message = self.message();
                self.tell(who, Event::Message { conn, message });
            }
            (9..=14, _) => self.answer(),
            (15, Some((who, conn))) => {
                self.next += 1;
                let (serve, run) = (self.next, self.any_run());
                self.serves.insert((who, serve), None);
                self.tell(who, Event::Requested { conn, serve, content: content(), run, awaited: false });
            }
            _ => {}
        }
    }

    fn any_run(&mut self) -> PieceRange {
        let first = self.input.below(PIECES as usize) as u32;
        PieceRange { first, count: 1 + self.input.below((PIECES - first) as usize) as u32 }
    }

    /// Something that an honest peer might say too.
    fn message(&mut self) -> PeerMessage {
        let content = content();
        let everything = vec![PieceRange { first: 0, count: PIECES }];
        match self.input.below(9) {
            0..=2 => PeerMessage::Offer { content, runs: everything },
            3 => PeerMessage::Offer { content, runs: (0..4).map(|_| self.any_run()).collect() },
            4 => PeerMessage::Decline { content, runs: everything },
            5 => join(self.input.flag()),
            6 => PeerMessage::Have { content, runs: everything, in_flight: vec![self.any_run()] },
            7 => PeerMessage::Interest { content, interested: self.input.flag() },
            _ => PeerMessage::Withdraw { content },
        }
    }

    /// Goes on with an answer to the downloader, or ends it.
    fn answer(&mut self) {
        let number = self.input.below(self.asked.len());
        let Some((&request, asked)) = self.asked.iter_mut().nth(number) else { return };
        let left = u64::from(asked.run.count) * PIECE - asked.came;
        match self.input.below(8) {
            what @ 0..=4 => {
                let bytes = [1, 1000, 50_000, PIECE, left][what].min(left);
                asked.came += bytes;
                if bytes > 0 {
                    self.tell(DOWNLOADER, Event::Progress { request, bytes });
                }
            }
            5 if asked.came >= u64::from(asked.judged + 1) * PIECE => {
                let piece = asked.run.first + asked.judged;
                asked.judged += 1;
                let wrong = self.input.below(4) == 0;
                let event = if wrong {
                    Event::Corrupt { request, piece }
                } else {
                    Event::Stored { content: content(), request, piece }
                };
                self.tell(DOWNLOADER, event);
            }
            6 => {
                self.asked.remove(&request);
                let reasons = [RefusalReason::Busy, RefusalReason::NotHeld, RefusalReason::Invalid];
                let failure = Some(Failure::Refused(reasons[self.input.below(3)]));
                self.tell(DOWNLOADER, Event::Finished { request, failure });
            }
            7 if self.input.flag() => {
                self.asked.remove(&request);
                self.tell(DOWNLOADER, Event::Finished { request, failure: Some(Failure::Broken) });
            }
            _ => {}
        }
    }
}

fn join(wants: bool) -> PeerMessage {
    PeerMessage::Join { content: content(), pieces: Some(PIECES), wants }
}

fn have(first: u32, count: u32) -> PeerMessage {
    PeerMessage::Have { content: content(), runs: vec![PieceRange { first, count }], in_flight: vec![] }
}
