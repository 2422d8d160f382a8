//! The world: engines, what is under way between them, and the books that they are checked against.
//!
//! It is cut by what happens: `connections` (dial, say, close), `transfers` (ask, serve, cancel), `tracker`
//! (announce, introduce), `peers` (come and go).

mod connections;
mod faults;
mod invariants;
mod peers;
mod tracker;
mod transfers;

use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, Geometry, PeerMessage, PieceSet, RefusalReason};
use swarm::{Action, Config, ConnId, Event, Failure};

use crate::network::{LinkId, Network};
use crate::outcome::{Outcome, Sample};
use crate::plan::Plan;
use crate::queue::{Queue, Time};
use connections::Connections;
use peers::Peer;
use tracker::{Announcement, Tracker};
use transfers::{TransferId, Transfers};

/// A peer's number.
pub(crate) type PeerIx = u32;

pub(crate) const SECOND: Time = 1_000_000_000;

/// Something that will happen.
enum Happening {
    /// A peer comes.
    Arrive(PeerIx),
    /// A peer crashes.
    Crash(PeerIx),
    /// The tracker has not heard of a peer for too long.
    Forgotten(PeerIx),
    /// An engine asked to be called.
    Tick(PeerIx),
    /// Something happens to an engine, unless its peer is gone by then.
    Tell(PeerIx, Event),
    /// A message comes to one end of a connection.
    Say(ConnId, PeerMessage),
    /// A dial comes to its end.
    Dialled { from: PeerIx, to: PeerIx },
    /// The dialled side learns of it.
    Accepted(ConnId),
    /// One end learns that the other has closed.
    Closed(ConnId),
    /// A manifest comes to one end of a connection.
    Manifest { conn: ConnId, content: usize },
    /// A question comes to whoever is to serve it.
    Asked(TransferId),
    /// A refusal comes to whoever asked.
    Refused(TransferId, RefusalReason),
    /// A flow of an uplink has sent something worth telling, if its rates are still those of this version.
    Uplink(LinkId, u32),
    /// Bytes come to whoever asked.
    Came { transfer: TransferId, bytes: u64, piece: Option<u32>, last: bool },
    /// Whoever serves learns that nobody waits for it any more.
    Cancelled(TransferId),
    /// The tracker hears of a peer.
    Announced(Announcement),
    /// The swarm is looked at.
    Sample,
}

/// One content.
struct Content {
    id: ContentId,
    geometry: Arc<Geometry>,
    /// How many peers that take part have each piece.
    copies: Vec<u32>,
}

/// A plan that is running.
pub(crate) struct World {
    now: Time,
    queue: Queue<Happening>,
    config: Config,
    latency: Time,
    copy_seconds: f64,
    contents: Vec<Content>,
    peers: Vec<Peer>,
    connections: Connections,
    transfers: Transfers,
    network: Network,
    tracker: Tracker,
    actions: Vec<Vec<Action>>,
    /// Downloads that are not complete.
    open: usize,
    downloads: usize,
    between_sites: Option<LinkId>,
    crossed: f64,
    seeded: f64,
    sent: f64,
    useful: u64,
    samples: Vec<Sample>,
    random: fastrand::Rng,
    trace: u64,
    events: u64,
    seed: u64,
    bound: f64,
}

impl World {
    pub(crate) fn new(plan: &Plan, seed: u64, config: &Config) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let pieces = plan.pieces.max(1);
        let piece_size = ((64 << 20) / pieces).clamp(1 << 10, 16 << 20);
        let piece_size = 1 << piece_size.ilog2();
        let geometry = Arc::new(
            Geometry::new(piece_size, vec![u64::from(piece_size) * u64::from(pieces)]).expect("a power of two"),
        );
        let mut id = [0; 32];
        random.fill(&mut id);
        let content = Content { id: ContentId(protocol::Digest(id)), geometry, copies: vec![0; pieces as usize] };
        let mut config = config.clone();
        config.connections = plan.neighbours.map_or(config.connections, |count| count as usize);
        let mut world = World {
            now: 0,
            queue: Queue::new(),
            config,
            latency: (plan.latency_ms * 1e6) as Time,
            copy_seconds: plan.copy_seconds,
            contents: vec![content],
            peers: Vec::new(),
            connections: Connections::default(),
            transfers: Transfers::default(),
            network: Network::default(),
            tracker: Tracker::new(1, random.u64(..)),
            actions: Vec::new(),
            open: 0,
            downloads: 0,
            between_sites: None,
            crossed: 0.0,
            seeded: 0.0,
            sent: 0.0,
            useful: 0,
            samples: Vec::new(),
            random: random.fork(),
            trace: 0xcbf2_9ce4_8422_2325,
            events: 0,
            seed,
            bound: 0.0,
        };
        world.populate(plan, &mut random);
        world.queue.push(0, Happening::Sample);
        world
    }

    pub(crate) fn run(mut self) -> Outcome {
        let end = ((self.bound * 20.0 + 120.0) * 1e9) as Time;
        while self.open > 0 && self.now < end {
            let Some((at, happening)) = self.queue.pop() else { break };
            debug_assert!(at >= self.now);
            self.now = at;
            self.happen(happening);
        }
        self.take_sample();
        let seconds = |peer: &Peer| {
            let counts = |holding: &&Holding| holding.wanted && (!peer.crashed || holding.done.is_some());
            peer.holdings
                .iter()
                .filter(counts)
                .map(|holding| Some((holding.done?.saturating_sub(peer.arrived)) as f64 / SECOND as f64))
                .collect::<Vec<_>>()
        };
        Outcome {
            seed: self.seed,
            seconds: self.peers.iter().flat_map(seconds).collect(),
            bound: self.bound,
            seeded: self.seeded / self.contents[0].geometry.total() as f64,
            crossed: self.crossed / self.contents[0].geometry.total() as f64,
            sent: self.sent as u64,
            wasted: (self.sent as u64).saturating_sub(self.useful),
            samples: self.samples,
            trace: self.trace,
            events: self.events,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive(peer) => self.arrive(peer),
            Happening::Crash(peer) => self.crash(peer),
            Happening::Forgotten(peer) => self.forgotten(peer),
            Happening::Tick(peer) => self.tick(peer),
            Happening::Tell(peer, event) => self.tell(peer, event),
            Happening::Say(conn, message) => self.said(conn, message),
            Happening::Dialled { from, to } => self.dialled(from, to),
            Happening::Accepted(conn) => self.accepted(conn),
            Happening::Closed(conn) => self.closed(conn),
            Happening::Manifest { conn, content } => self.manifest_came(conn, content),
            Happening::Asked(transfer) => self.asked(transfer),
            Happening::Refused(transfer, reason) => self.finish_asking(transfer, Some(Failure::Refused(reason))),
            Happening::Uplink(link, version) => self.uplink(link, version),
            Happening::Came { transfer, bytes, piece, last } => self.came(transfer, bytes, piece, last),
            Happening::Cancelled(transfer) => self.cancelled(transfer),
            Happening::Announced(announcement) => self.announced(announcement),
            Happening::Sample => {
                self.take_sample();
                self.check_everyone();
                self.queue.push(self.now + (self.copy_seconds * 1e9 / 80.0) as Time, Happening::Sample);
            }
        }
    }

    fn after(&mut self, wait: Time, happening: Happening) {
        self.queue.push(self.now + wait, happening);
    }

    /// Tells an engine something and does what it wants.
    fn tell(&mut self, peer: PeerIx, event: Event) {
        self.note(peer, &event);
        let mut actions = self.actions.pop().unwrap_or_default();
        let state = &mut self.peers[peer as usize];
        let Some(engine) = &mut state.engine else { return };
        engine.handle(Duration::from_nanos(self.now), event, &mut actions);
        let next = engine.next_timeout().as_nanos() as Time;
        if next < state.tick_at || state.tick_at <= self.now {
            let next = next.max(self.now + 1);
            state.tick_at = next;
            self.queue.push(next, Happening::Tick(peer));
        }
        for action in actions.drain(..) {
            self.act(peer, action);
        }
        self.actions.push(actions);
    }

    fn tick(&mut self, peer: PeerIx) {
        let state = &mut self.peers[peer as usize];
        let Some(engine) = &state.engine else { return };
        // Others may have been asked for since.
        if state.tick_at != self.now {
            return;
        }
        let next = engine.next_timeout().as_nanos() as Time;
        if next > self.now {
            state.tick_at = next;
            self.queue.push(next, Happening::Tick(peer));
        } else {
            self.tell(peer, Event::Tick);
        }
    }

    /// Adds to the digest of everything that happened (FNV-1a over words).
    fn note(&mut self, peer: PeerIx, event: &Event) {
        self.events += 1;
        let kind = match event {
            Event::Message { conn, .. } => 1 ^ conn << 8,
            Event::Asked { serve, run, .. } => 2 ^ serve << 8 ^ u64::from(run.first) << 40,
            Event::Progress { request, bytes } => 3 ^ request << 8 ^ bytes << 20,
            Event::Stored { request, piece } => 4 ^ request << 8 ^ u64::from(*piece) << 40,
            Event::Finished { request, .. } => 5 ^ request << 8,
            Event::Served { serve } => 6 ^ serve << 8,
            Event::Connected { conn, .. } => 7 ^ conn << 8,
            Event::Disconnected { conn } => 8 ^ conn << 8,
            _ => 9,
        };
        for word in [self.now, u64::from(peer), kind] {
            self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }

    fn act(&mut self, peer: PeerIx, action: Action) {
        match action {
            Action::Dial { peer: to } => self.dial(peer, to.id),
            Action::Close { conn, .. } => self.close(conn),
            Action::Send { conn, message } => self.say(conn, message),
            Action::FetchManifest { conn, content } => self.fetch_manifest(peer, conn, content),
            Action::Fetch { conn, request, content, run } => self.ask(peer, conn, request, content, run),
            Action::Cancel { request } => self.cancel(peer, request),
            Action::Serve { serve } => self.serve(peer, serve),
            Action::Refuse { serve, reason } => self.refuse(serve, reason),
            Action::Completed { content } => self.complete(peer, content),
            Action::Lacking { .. } | Action::Banned { .. } => {}
        }
    }

    fn content(&self, id: ContentId) -> usize {
        self.contents.iter().position(|content| content.id == id).expect("engines know only the world's contents")
    }

    fn take_sample(&mut self) {
        let content = &self.contents[0];
        let least = content.copies.iter().copied().min().unwrap_or(0);
        let all: u64 = content.copies.iter().map(|&copies| u64::from(copies)).sum();
        let wanted = self.peers.iter().flat_map(|peer| &peer.holdings).filter(|holding| holding.wanted);
        let there: u64 = wanted.map(|holding| u64::from(holding.have.count())).sum();
        self.samples.push(Sample {
            at: self.now as f64 / SECOND as f64,
            done: 1.0 - self.open as f64 / self.downloads.max(1) as f64,
            pieces: there as f64 / (self.downloads.max(1) as u64 * u64::from(content.geometry.pieces())) as f64,
            least_copies: least,
            mean_copies: all as f64 / content.copies.len() as f64,
            seeded: self.seeded / content.geometry.total() as f64,
        });
    }
}

/// What a peer has of one content, by the world's own books.
struct Holding {
    have: PieceSet,
    wanted: bool,
    manifest: bool,
    done: Option<Time>,
}
