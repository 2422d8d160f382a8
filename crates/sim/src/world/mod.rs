//! The world: engines, what is under way between them, and the books that they are checked against.
//!
//! It is cut by what happens: `connections` (dial, say, close), `transfers` with `asking` and `serving` (ask, serve, cancel), `tracker`
//! (announce, introduce), `peers` (who they are, how they come), `readers` (who reads what comes), `faults` (crashes, cuts, a tracker that dies), `hostile` (peers
//! that are no engine and mean harm), `origin` (a server that engines read from), `parts` (seeders that read it for others). `invariants` is what must never happen, `verdict` says whose fault it is when someone does not get everything.

mod asking;
mod connections;
mod faults;
mod hostile;
mod invariants;
mod origin;
mod parts;
mod peers;
mod readers;
mod serving;
mod tracker;
mod transfers;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, Geometry, PeerId, PeerMessage, PieceSet, RefusalReason};
use swarm::{Action, Config, ConnId, Event};

use crate::actions::ActionLog;
use crate::network::{LinkId, Network};
use crate::outcome::{Outcome, Sample};
use crate::plan::Plan;
use crate::queue::{Queue, Time};
use connections::{Connections, Saying};
use origin::OriginServer;
use peers::Peer;
use tracker::{Announcement, Tracker};
use transfers::{TransferId, Transfers};

/// A peer's number.
pub(crate) type PeerIx = u32;
/// Stands for the origin where a peer, or a connection, would.
const ORIGIN_PEER: PeerIx = PeerIx::MAX;
const ORIGIN_CONN: ConnId = ConnId::MAX;

/// A peer's number, from the end of its id; the rest is random, since engines go by the order of ids.
pub(super) fn number(id: PeerId) -> PeerIx {
    let [.., a, b, c, d] = id.0.0;
    PeerIx::from_be_bytes([a, b, c, d])
}

pub(crate) const SECOND: Time = 1_000_000_000;

/// Something that will happen.
enum SimEvent {
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
    /// A message comes to one end of each of these connections.
    Say(Box<(Vec<ConnId>, PeerMessage)>),
    /// A dial comes to its end.
    Dialled { from: PeerIx, to: PeerId },
    /// The dialled side learns of it.
    Accepted(ConnId),
    /// One end learns that the other has closed.
    Closed(ConnId),
    /// A manifest comes to one end of a connection.
    Manifest { conn: ConnId, content: usize },
    /// A question reaches the peer that is to serve it.
    Requested(TransferId),
    /// The peer that asked for whatever is offered first learns what that is.
    Chosen(TransferId),
    /// What it has got of that before is its own.
    Released(TransferId),
    /// A read reaches the origin.
    OriginAsked(TransferId),
    /// A refusal reaches the peer that asked.
    Refused(TransferId, RefusalReason),
    /// A flow of an uplink has sent something worth telling, if its rates are still those of this version.
    Uplink(LinkId, u32),
    /// Bytes reach the peer that asked.
    Came { transfer: TransferId, bytes: u64, piece: Option<u32>, last: bool },
    /// The serving peer learns that nobody waits for it any more.
    Cancelled(TransferId),
    /// The tracker hears of a peer.
    Announced(Announcement),
    /// A peer that was without the tracker has found it again.
    ComeBack(PeerIx),
    /// A cut begins.
    Cut(usize),
    /// A cut ends.
    Healed(usize),
    /// A hostile peer takes another id.
    FreshId(PeerIx),
    /// The tracker dies.
    TrackerDies,
    /// The tracker is there again.
    TrackerReturns,
    /// A peer has read a piece, and wants the next one.
    Read(PeerIx),
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
    queue: Queue<SimEvent>,
    config: Config,
    latency: Time,
    goodput: f64,
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
    sites_told: bool,
    origin: Option<OriginServer>,
    /// The peers of each cut.
    cuts: Vec<Vec<PeerIx>>,
    /// When there is no tracker.
    dark: Vec<(Time, Time)>,
    /// Bytes that went from site to site, left seeders, left anyone (of which some are lost), and were of use.
    crossed: f64,
    seeded: f64,
    sent: f64,
    lost: f64,
    useful: u64,
    samples: Vec<Sample>,
    random: fastrand::Rng,
    trace: u64,
    events: u64,
    /// What engines decide, if that is asked for.
    log: Option<ActionLog>,
    seed: u64,
    bound: f64,
    /// Name of the plan, and the command that repeats the run.
    plan: String,
    command: String,
}

impl World {
    pub(crate) fn new(plan: &Plan, seed: u64, config: &Config) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let pieces = plan.pieces.max(1);
        let piece_size = plan.piece_size.unwrap_or_else(|| 1 << ((64 << 20) / pieces).clamp(1 << 10, 16 << 20).ilog2());
        let geometry = Arc::new(
            Geometry::new(piece_size, vec![u64::from(piece_size) * u64::from(pieces)]).expect("a power of two"),
        );
        let mut content = |_| {
            let mut id = [0; 32];
            random.fill(&mut id);
            let (id, geometry) = (ContentId(protocol::Digest(id)), geometry.clone());
            Content { id, geometry, copies: vec![0; pieces as usize] }
        };
        let contents: Vec<Content> = (0..plan.contents).map(&mut content).collect();
        let command = plan.command(seed, config.fair);
        let mut config = config.clone();
        config.connections = plan.neighbours.map_or(config.connections, |count| count as usize);
        let mut world = World {
            now: 0,
            queue: Queue::new(),
            config,
            latency: (plan.latency_ms * 1e6) as Time,
            goodput: 1.0 - plan.loss,
            copy_seconds: plan.copy_seconds,
            tracker: Tracker::new(contents.len(), random.u64(..)),
            contents,
            peers: Vec::new(),
            connections: Connections::default(),
            transfers: Transfers::default(),
            network: Network::default(),
            actions: Vec::new(),
            open: 0,
            downloads: 0,
            between_sites: None,
            sites_told: true,
            origin: None,
            cuts: Vec::new(),
            dark: Vec::new(),
            crossed: 0.0,
            seeded: 0.0,
            sent: 0.0,
            lost: 0.0,
            useful: 0,
            samples: Vec::new(),
            random: random.fork(),
            trace: 0xcbf2_9ce4_8422_2325,
            events: 0,
            log: None,
            seed,
            bound: 0.0,
            plan: plan.name.clone(),
            command,
        };
        world.populate(plan, &mut random);
        world.plan_faults(plan);
        world.queue.push(0, SimEvent::Sample);
        world
    }

    pub(crate) fn record(mut self) -> ActionLog {
        self.log = Some(ActionLog::default());
        self.run_to_end();
        self.log.unwrap_or_default()
    }

    pub(crate) fn run(mut self) -> Outcome {
        self.run_to_end();
        self.outcome()
    }

    fn run_to_end(&mut self) {
        // A panic of the engine names no seed: this does.
        let _named = Named(self.command.clone());
        let end = ((self.bound * 20.0 + 120.0) * 1e9) as Time;
        while self.open > 0 && self.now < end {
            let Some((at, event)) = self.queue.pop() else { break };
            debug_assert!(at >= self.now);
            self.now = at;
            self.happen(event);
        }
        self.take_sample();
        self.check_everyone();
        self.stop_all();
    }

    fn outcome(self) -> Outcome {
        let seconds = |peer: &Peer| {
            let counts = |holding: &&Holding| holding.wanted && (!peer.crashed || holding.done.is_some());
            peer.holdings
                .iter()
                .filter(counts)
                .map(|holding| Some((holding.done?.saturating_sub(peer.arrived)) as f64 / SECOND as f64))
                .collect::<Vec<_>>()
        };
        let verdict = self.verdict();
        Outcome {
            seed: self.seed,
            seconds: self.peers.iter().flat_map(seconds).collect(),
            stuck: verdict.stuck,
            cut_off: verdict.cut_off,
            crashed: verdict.crashed,
            bound: self.bound,
            seeded: self.seeded / self.total(),
            from_origin: self.origin.as_ref().map_or(0.0, |origin| origin.sent) / self.total(),
            crossed: self.crossed / self.total(),
            sent: self.sent as u64,
            lost: self.lost as u64,
            wasted: (self.sent as u64).saturating_sub(self.useful),
            reading: self.peers.iter().filter_map(|peer| peer.reader.as_ref()?.outcome(self.now)).collect(),
            samples: self.samples,
            trace: self.trace,
            events: self.events,
        }
    }

    fn happen(&mut self, event: SimEvent) {
        match event {
            SimEvent::Arrive(peer) => self.arrive(peer),
            SimEvent::Crash(peer) => self.crash(peer),
            SimEvent::Forgotten(peer) => self.forgotten(peer),
            SimEvent::Tick(peer) => self.tick(peer),
            SimEvent::Tell(peer, event) => self.tell(peer, event),
            SimEvent::Say(said) => self.all_said(*said),
            SimEvent::Dialled { from, to } => self.dialled(from, to),
            SimEvent::Accepted(conn) => self.accepted(conn),
            SimEvent::Closed(conn) => self.closed(conn),
            SimEvent::Manifest { conn, content } => self.manifest_came(conn, content),
            SimEvent::Requested(transfer) => self.asked(transfer),
            SimEvent::Chosen(transfer) => self.chosen(transfer),
            SimEvent::Released(transfer) => self.released(transfer),
            SimEvent::OriginAsked(transfer) => self.origin_asked(transfer),
            SimEvent::Refused(transfer, reason) => self.refused(transfer, reason),
            SimEvent::Uplink(link, version) => self.uplink(link, version),
            SimEvent::Came { transfer, bytes, piece, last } => self.came(transfer, bytes, piece, last),
            SimEvent::Cancelled(transfer) => self.cancelled(transfer),
            SimEvent::Announced(announcement) => self.announced(announcement),
            SimEvent::ComeBack(peer) => self.come_back_to_tracker(peer),
            SimEvent::Cut(number) => self.cut(number),
            SimEvent::Healed(number) => self.healed(number),
            SimEvent::FreshId(peer) => self.take_fresh_id(peer),
            SimEvent::TrackerDies => self.tracker_dies(),
            SimEvent::TrackerReturns => self.tracker_returns(),
            SimEvent::Read(peer) => self.has_read(peer),
            SimEvent::Sample => {
                self.take_sample();
                self.check_everyone();
                self.queue.push(self.now + (self.copy_seconds * 1e9 / 80.0) as Time, SimEvent::Sample);
            }
        }
    }

    fn after(&mut self, wait: Time, event: SimEvent) {
        self.queue.push(self.now + wait, event);
    }

    /// Tells an engine something and does what it wants.
    fn tell(&mut self, peer: PeerIx, event: Event) {
        self.note(peer, &event);
        let mut actions = self.actions.pop().unwrap_or_default();
        let state = &mut self.peers[peer as usize];
        let Some(brain) = &mut state.brain else { return };
        brain.handle(Duration::from_nanos(self.now), event, &mut actions);
        if let Some(log) = &mut self.log {
            actions.iter().for_each(|action| log.add(Duration::from_nanos(self.now), peer, action));
        }
        let next = brain.next_timeout().as_nanos() as Time;
        if next < state.tick_at || state.tick_at <= self.now {
            let next = next.max(self.now + 1);
            state.tick_at = next;
            self.queue.push(next, SimEvent::Tick(peer));
        }
        // What is said to many at once travels as one thing: there are far more haves than anything else.
        let mut saying: Option<Saying> = None;
        for action in actions.drain(..) {
            if let Action::Send { conn, message } = action {
                saying = self.say(peer, saying, conn, message);
            } else {
                self.send_off(saying.take());
                self.act(peer, action);
            }
        }
        self.send_off(saying);
        self.actions.push(actions);
    }

    fn tick(&mut self, peer: PeerIx) {
        let state = &mut self.peers[peer as usize];
        let Some(brain) = &state.brain else { return };
        // Others may have been asked for since.
        if state.tick_at != self.now {
            return;
        }
        let next = brain.next_timeout().as_nanos() as Time;
        if next > self.now {
            state.tick_at = next;
            self.queue.push(next, SimEvent::Tick(peer));
        } else {
            self.tell(peer, Event::Tick);
        }
    }

    /// Adds to the digest of everything that happened (FNV-1a over words).
    fn note(&mut self, peer: PeerIx, event: &Event) {
        self.events += 1;
        let kind = match event {
            Event::Message { conn, .. } => 1 ^ conn << 8,
            Event::Requested { serve, run, .. } => 2 ^ serve << 8 ^ u64::from(run.first) << 40,
            Event::Progress { request, bytes } => 3 ^ request << 8 ^ bytes << 20,
            Event::Stored { request, piece, .. } => 4 ^ request << 8 ^ u64::from(*piece) << 40,
            Event::Finished { request, .. } => 5 ^ request << 8,
            Event::Served { serve, .. } => 6 ^ serve << 8,
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
            // A peer has one address here.
            Action::DialAlso { .. } | Action::Send { .. } => {}
            // What comes all the same is of no use to anyone.
            Action::CancelManifest { .. } => {}
            Action::FetchManifest { conn, content } => self.fetch_manifest(peer, conn, content),
            Action::Fetch { conn, request, content, run, awaited } => {
                self.ask(peer, conn, (request, awaited), content, run)
            }
            Action::FetchFirst { conn, request, content, most } => self.ask_first(peer, conn, request, content, most),
            Action::TakeFirst { request, .. } => self.take_first(peer, request),
            Action::Choose { serve, run } => self.choose(serve, run),
            Action::FetchFromOrigin { request, content, run } => self.ask_origin(peer, request, content, run),
            Action::Cancel { request } => self.cancel(peer, request),
            Action::Serve { serve } => self.serve(peer, serve),
            Action::Refuse { serve, reason } => self.refuse(serve, reason),
            Action::Completed { content } => self.complete(peer, content),
            Action::Banned { peer: banned } => self.check_ban(peer, banned),
            Action::FindMore { content } => {
                let content = self.content(content);
                self.announce(peer, content);
            }
            Action::Lacking { .. } => {}
        }
    }

    fn content(&self, id: ContentId) -> usize {
        self.contents.iter().position(|content| content.id == id).expect("engines know only the world's contents")
    }

    /// Bytes of all contents.
    fn total(&self) -> f64 {
        self.contents.iter().map(|content| content.geometry.total()).sum::<u64>() as f64
    }

    fn take_sample(&mut self) {
        let copies = || self.contents.iter().flat_map(|content| &content.copies).copied();
        let (pieces, all) = (copies().count(), copies().map(u64::from).sum::<u64>());
        let wanted = self.peers.iter().flat_map(|peer| &peer.holdings).filter(|holding| holding.wanted);
        let (there, whole) = wanted.fold((0, 0), |(there, whole), holding| {
            (there + u64::from(holding.have.count()), whole + u64::from(holding.have.len()))
        });
        self.samples.push(Sample {
            at: self.now as f64 / SECOND as f64,
            done: 1.0 - self.open as f64 / self.downloads.max(1) as f64,
            pieces: there as f64 / whole.max(1) as f64,
            least_copies: copies().min().unwrap_or(0),
            mean_copies: all as f64 / pieces.max(1) as f64,
            seeded: self.seeded / self.total(),
        });
    }
}

/// Says how to repeat the run in which something panicked.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat it with: {}", self.0);
        }
    }
}

/// What a peer has of one content, by the world's own books.
struct Holding {
    have: PieceSet,
    wanted: bool,
    manifest: bool,
    done: Option<Time>,
}
