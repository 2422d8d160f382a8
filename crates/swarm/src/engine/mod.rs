//! The engine of one peer: one event in, any number of actions out.
//!
//! It is cut by what is decided: `connections` (whom to know, dial and keep), `sides` (what peers say of themselves),
//! `offers` (what to give to whom next), `upload` (when to serve), `download` (what to ask for, and when to give up),
//! `manifests` (whom to ask for one), `trust` (how much to ask of whom), `flood` (how much work a connection may make), `picker` and `rarity` (which pieces are rare), `rate` (how fast a connection is).
//! All state is in ordered maps, so that the order of decisions never depends on a hash.

mod coming;
mod connections;
mod download;
mod flood;
mod manifests;
mod noted;
mod offers;
mod picker;
mod rarity;
mod rate;
mod sides;
mod trust;
mod upload;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, Geometry, PeerId, PeerMessage, PieceSet, Run};

use crate::event::{Action, ConnId, Event, RequestId};
use connections::{Connection, Known, Word};
use download::Outgoing;
use manifests::ManifestFetches;
use noted::Noted;
use picker::Picker;
use rarity::Rarity;
use trust::Record;
use upload::Uploads;

/// What an engine may use and how patient it is. Bytes and times; the defaults are for a trusted fleet.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of pieces in flight over all connections: asked for, and not come. What came and waits for its verdict is the
    /// shell's to bound.
    pub budget: u64,
    /// Most bytes of one request (at least one piece).
    pub request_bytes: u64,
    /// Most connections; fewer than that are dialled.
    pub connections: usize,
    /// Most serves at once over all connections. One is enough where it fills the uplink.
    pub upload_slots: usize,
    /// Questions of one connection that may wait.
    pub questions_per_connection: usize,
    /// Wrong pieces after which a peer is shut out.
    pub wrong_pieces: u32,
    /// After this long without a byte, a request's pieces may be asked of others too.
    pub stall: Duration,
    /// After this long without a byte, a connection that owes us pieces is dropped.
    pub give_up: Duration,
    /// Haves are collected for this long.
    pub have_delay: Duration,
    /// Whether those who gave come before those who only take (tit for tat; Cohen 2003). In a trusted fleet it costs time
    /// and gains nothing.
    pub fair: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            budget: 32 << 20,
            request_bytes: 4 << 20,
            connections: 60,
            upload_slots: 16,
            questions_per_connection: 64,
            wrong_pieces: 3,
            stall: Duration::from_secs(2),
            give_up: Duration::from_secs(20),
            have_delay: Duration::from_millis(50),
            fair: false,
        }
    }
}

/// One content of this peer.
struct Content {
    geometry: Option<Arc<Geometry>>,
    have: PieceSet,
    /// The pieces that are to be here, how many of them lack, and whether one does, or it is not known yet which there are.
    goal: PieceSet,
    lacked: u32,
    wanted: bool,
    picker: Picker,
    /// How many requests owe each piece.
    asked: Vec<u8>,
    /// Pieces that somebody was asked for in vain: they wait for nobody else who has not proven itself.
    moved: BTreeSet<u32>,
    /// The last requests that were given up: pieces of them may be on their way to the disk.
    given_up: VecDeque<RequestId>,
    /// The pieces that are here, by how many of those who take them have them or will have them.
    spread: Rarity,
    /// Connected peers that want pieces.
    takers: u32,
    /// When something was last under way, or was offered.
    busy: Duration,
    /// When a piece was last stored.
    grew: Duration,
    known: BTreeMap<PeerId, Known>,
    manifests: ManifestFetches,
    unannounced: BTreeSet<u32>,
    announce_at: Option<Duration>,
    lacking: Vec<Run>,
    lacking_since: Option<Duration>,
}

/// A content as a person wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentView {
    /// Pieces stored here; of a download those that are wanted.
    pub have: u32,
    /// Pieces in all, or that are wanted; 0 while the manifest is unknown.
    pub pieces: u32,
    /// Connected peers that take part.
    pub peers: u32,
}

/// A connection as a person wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionView {
    /// Who is at the other end.
    pub peer: PeerId,
    /// Bytes a second that it gives us, at present.
    pub rate: u64,
}

/// Decides for one peer. See the crate's documentation.
pub struct Engine {
    config: Config,
    me: PeerId,
    hello: PeerMessage,
    /// The place that this peer is in; empty if it was not said.
    site: String,
    rng: fastrand::Rng,
    now: Duration,
    contents: BTreeMap<ContentId, Content>,
    conns: BTreeMap<ConnId, Connection>,
    /// How many sides ever joined.
    turns: u64,
    by_peer: BTreeMap<PeerId, ConnId>,
    /// Since when peers are being dialled.
    dialling: BTreeMap<PeerId, Duration>,
    /// Peers that are shut out.
    banned: Noted<PeerId, ()>,
    /// How often peers were forgiven what they sent wrong.
    pardons: Noted<PeerId, u32>,
    /// What is remembered of peers, and how often strangers of an address let us wait.
    records: Noted<PeerId, Record>,
    offences: Noted<IpAddr, u32>,
    requests: BTreeMap<RequestId, Outgoing>,
    next_request: RequestId,
    /// Bytes that are under way from peers that have proven themselves, and from others.
    in_flight: u64,
    probing: u64,
    /// Nothing has come for long, and nobody moves: whoever rests may be asked all the same.
    starves: bool,
    /// Bytes a second of the fastest, lately.
    fastest: f64,
    /// Connections whose offers wait for room.
    offering: BTreeSet<ConnId>,
    uploads: Uploads,
    /// The longest round trip to anyone who takes pieces from us.
    longest_rtt: Duration,
    next_tick: Duration,
}

/// Longest time between two ticks.
const TICK: Duration = Duration::from_millis(250);

impl Engine {
    /// An engine for the peer `me`, whose first message to everyone is `hello`. Same seed, same events: same actions.
    pub fn new(config: Config, me: PeerId, hello: PeerMessage, seed: u64) -> Self {
        let site = match &hello {
            PeerMessage::Hello { site, .. } => site.clone(),
            _ => String::new(),
        };
        Engine {
            config,
            me,
            hello,
            site,
            rng: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
            contents: BTreeMap::new(),
            conns: BTreeMap::new(),
            turns: 0,
            by_peer: BTreeMap::new(),
            dialling: BTreeMap::new(),
            banned: Noted::default(),
            pardons: Noted::default(),
            records: Noted::default(),
            offences: Noted::default(),
            requests: BTreeMap::new(),
            next_request: 0,
            in_flight: 0,
            probing: 0,
            starves: false,
            fastest: 0.0,
            offering: BTreeSet::new(),
            uploads: Uploads::default(),
            longest_rtt: Duration::ZERO,
            next_tick: Duration::ZERO,
        }
    }

    /// Takes one event in at time `now` (any origin, never going back) and appends what is to be done.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        match event {
            Event::Want { content } => self.want(content, actions),
            Event::Content { content, geometry, have, wanted } => {
                self.content(content, geometry, have, wanted, actions)
            }
            Event::ManifestProgress { content, conn, came, total } => {
                self.manifest_progress(content, conn, came, total)
            }
            Event::ManifestCame { content } => self.manifest_came(content, actions),
            Event::ManifestFailed { content, conn, lied } => self.manifest_failed(content, conn, lied, actions),
            Event::Withdraw { content } => self.withdraw(content, actions),
            Event::Found { content, peers } => self.found(content, peers, Word::Tracker, actions),
            Event::Gone { content, peers } => self.gone(content, &peers),
            Event::Connected { conn, peer, remote, dialled } => self.connected(conn, peer, remote, dialled, actions),
            Event::DialFailed { peer } => self.dial_failed(peer, actions),
            Event::Disconnected { conn } => self.disconnected(conn, actions),
            Event::Message { conn, message } => self.message(conn, message, actions),
            Event::Asked { conn, serve, content, run } => self.asked(conn, serve, content, run, actions),
            Event::Served { serve } => self.served(serve, actions),
            Event::Progress { request, bytes } => self.progress(request, bytes, actions),
            Event::Stored { content, request, piece } => self.stored(content, request, piece, actions),
            Event::Wrong { request, piece } => self.wrong(request, piece, actions),
            Event::Finished { request, failure } => self.finished(request, failure, actions),
            Event::RoundTrip { conn, rtt } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.rate.rtt = rtt;
                }
            }
            Event::Silence { conn } => self.dial_beside(conn, actions),
            Event::Tick => {}
        }
        self.on_time(actions);
    }

    /// When to send the next [`Event::Tick`] at the latest.
    pub fn next_timeout(&self) -> Duration {
        self.contents.values().filter_map(|content| content.announce_at).fold(self.next_tick, Duration::min)
    }

    /// How a content stands.
    pub fn view(&self, content: ContentId) -> Option<ContentView> {
        let state = self.contents.get(&content)?;
        let all = state.goal.is_empty() || state.geometry.is_none();
        let (have, pieces) = match all {
            true => (state.have.count(), state.pieces()),
            false => (state.goal.count() - state.lacked, state.goal.count()),
        };
        Some(ContentView {
            have,
            pieces,
            peers: self.conns.values().filter(|conn| conn.sides.contains_key(&content)).count() as u32,
        })
    }

    /// The connections over which the other side takes part in a content, and the peers that were heard of.
    pub fn participants(&self, content: ContentId) -> (Vec<ConnId>, Vec<PeerId>) {
        let takes_part = |(_, conn): &(&ConnId, &Connection)| conn.sides.contains_key(&content);
        let connected = self.conns.iter().filter(takes_part).map(|(&number, _)| number).collect();
        let heard_of = self.contents.get(&content).map(|content| content.known.keys().copied().collect());
        (connected, heard_of.unwrap_or_default())
    }

    /// What is said first over connections from now on: where others reach this peer has changed.
    pub fn set_hello(&mut self, hello: PeerMessage) {
        self.hello = hello;
    }

    /// The pieces of a content that are stored here.
    pub fn have(&self, content: ContentId) -> Option<&PieceSet> {
        self.contents.get(&content).map(|state| &state.have)
    }

    /// The connections that stand.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let view = |conn: &Connection| ConnectionView { peer: conn.peer, rate: conn.rate.bytes_a_second(self.now) };
        self.conns.values().map(view).collect()
    }

    fn on_time(&mut self, actions: &mut Vec<Action>) {
        self.announce_pieces(actions);
        if self.now >= self.next_tick {
            self.next_tick = self.now + TICK;
            self.ban_condemned(actions);
            self.drop_silent(actions);
            self.review_pace(actions);
            self.doubt_sites();
            self.dial_more(actions);
            self.exchange_peers(actions);
            self.fetch_manifests(actions);
            self.review_promises();
            self.refuse_parked(actions);
            self.serve_next(actions);
            self.offer_more(actions);
            self.take_waiting_offers(actions);
            self.ask_again(actions);
            self.ask_on_own_account(actions);
            self.say_what_lacks(actions);
        }
    }

    fn want(&mut self, id: ContentId, actions: &mut Vec<Action>) {
        self.contents.entry(id).or_insert_with(|| Content::new(None, PieceSet::empty(0), PieceSet::empty(0)));
        self.join_everyone(id, actions);
        self.next_tick = self.now;
    }

    fn content(
        &mut self,
        id: ContentId,
        geometry: Arc<Geometry>,
        have: PieceSet,
        goal: PieceSet,
        actions: &mut Vec<Action>,
    ) {
        self.cancel_manifests(id, actions);
        let known = self.contents.remove(&id).map(|old| old.known).unwrap_or_default();
        let pieces = geometry.pieces();
        let mut content = Content::new(Some(geometry), have, goal);
        content.known = known;
        (content.busy, content.grew) = (self.now, self.now);
        // What peers said before the manifest was known can be judged now.
        let mut liars = Vec::new();
        for (&number, conn) in &mut self.conns {
            if let Some(side) = conn.sides.get_mut(&id)
                && !content.meet(side, pieces)
            {
                liars.push(number);
            }
        }
        self.contents.insert(id, content);
        for liar in liars {
            self.close(liar, "it has pieces that do not exist", actions);
        }
        self.join_everyone(id, actions);
        self.take_waiting_offers(actions);
        self.offer_more(actions);
        self.next_tick = self.now;
    }

    fn withdraw(&mut self, id: ContentId, actions: &mut Vec<Action>) {
        if !self.contents.contains_key(&id) {
            return;
        }
        let promised = self.conns.iter().filter_map(|(&conn, state)| Some((conn, state.sides.get(&id)?)));
        let promised: Vec<(ConnId, u32)> =
            promised.flat_map(|(conn, side)| side.promised.keys().map(move |&piece| (conn, piece))).collect();
        promised.into_iter().for_each(|(conn, piece)| self.break_promise(conn, id, piece));
        for side in self.conns.values_mut().filter_map(|state| state.sides.get_mut(&id)) {
            side.forget_counts();
        }
        self.cancel_manifests(id, actions);
        self.contents.remove(&id);
        // Forgotten at once: should the content be wanted again before they have ended, they are none of its.
        let requests = self.requests.iter().filter(|(_, request)| request.content == id);
        let requests: Vec<_> = requests.map(|(&request, outgoing)| (request, outgoing.conn)).collect();
        for (request, conn) in requests {
            if let Some(state) = self.conns.get_mut(&conn) {
                state.requests.remove(&request);
            }
            self.forget_request(request);
            actions.push(Action::Cancel { request });
        }
        for (&conn, state) in &self.conns {
            if state.sides.contains_key(&id) {
                actions.push(Action::Send { conn, message: PeerMessage::Withdraw { content: id } });
            }
        }
        self.refuse_content(id, actions);
    }
}

impl Content {
    fn new(geometry: Option<Arc<Geometry>>, have: PieceSet, goal: PieceSet) -> Self {
        let lacking = || have.missing().filter(|&piece| goal.contains(piece));
        let lacked = lacking().count() as u32;
        let wanted = geometry.is_none() || lacked > 0;
        let picker = Picker::new(have.len(), lacking());
        let mut spread = Rarity::new(have.len());
        have.iter().for_each(|piece| spread.list(piece));
        Content {
            asked: vec![0; have.len() as usize],
            moved: BTreeSet::new(),
            given_up: VecDeque::new(),
            spread,
            takers: 0,
            busy: Duration::ZERO,
            grew: Duration::ZERO,
            geometry,
            have,
            goal,
            lacked,
            wanted,
            picker,
            known: BTreeMap::new(),
            manifests: ManifestFetches::default(),
            unannounced: BTreeSet::new(),
            announce_at: None,
            lacking: Vec::new(),
            lacking_since: None,
        }
    }

    /// The pieces that are neither here nor wanted.
    fn unwanted(&self) -> Vec<Run> {
        self.have.missing().filter(|&piece| !self.goal.contains(piece)).collect::<PieceSet>().runs()
    }

    fn pieces(&self) -> u32 {
        self.geometry.as_ref().map_or(0, |geometry| geometry.pieces())
    }

    /// Bytes of all pieces; 0 while the manifest is unknown.
    fn total(&self) -> u64 {
        self.geometry.as_ref().map_or(0, |geometry| geometry.total())
    }

    /// Bytes of a piece, at least 1.
    fn piece_size(&self) -> u64 {
        self.geometry.as_ref().map_or(1, |geometry| u64::from(geometry.piece_size()))
    }

    /// Bytes of a run.
    fn bytes(&self, run: Run) -> u64 {
        self.geometry.as_ref().map_or(0, |geometry| geometry.bytes(run))
    }

    /// How many pieces from `first` have at most so many bytes; at least one.
    fn within(&self, first: u32, bytes: u64) -> u32 {
        self.geometry.as_ref().map_or(1, |geometry| geometry.pieces_within(first, bytes))
    }
}

#[cfg(test)]
mod tests;
