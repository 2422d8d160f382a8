//! The engine of one peer: one event in, any number of actions out.
//!
//! It is made of parts that own their state, and of decisions about them, in a folder each: `peers` (whom to know, dial and
//! keep), `download` (what to ask for, of whom, and when to give up), `upload` (what to give to whom, and when). A
//! [`Connection`] has a part of each, and a [`Content`] is the books of pieces that all of them share. `messages` is what
//! peers say of a content, `participation` what the other side said of itself, `manifests` whom to ask for one, `rarity`
//! which pieces are rare, `rate` how fast a connection is. [`Actions`] collects what is to be done.
//! All state is in ordered maps, so that the order of decisions never depends on a hash.

mod actions;
mod bounded_map;
mod config;
mod content;
mod download;
mod in_flight;
mod manifest_fetches;
mod manifests;
mod messages;
mod participation;
mod peers;
mod rarity;
mod rate;
mod upload;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, Geometry, PeerId, PeerMessage, PieceSet};

use crate::event::{Action, ConnId, Event};
use actions::Actions;
pub use config::Config;
use content::Content;
use download::Downloads;
use participation::Participation;
use peers::Peers;
use peers::connection::{ConnectedPeer, Connection};
use peers::dial_backs::DialBacks;
use peers::knowers::Knowers;
use peers::known::PeerSource;
use upload::Uploads;

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

/// A peer's part in a content as a person wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantView {
    /// The connection with it.
    pub conn: ConnId,
    /// Pieces that it says it has.
    pub have: u32,
    /// Pieces that it is to have in the end; 0 while that is unknown.
    pub pieces: u32,
    /// Whether it wants the pieces that it lacks.
    pub wants: bool,
    /// Whether it had all pieces that it is to have when it first said which it has.
    pub came_whole: bool,
}

/// A connection as a person wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionView {
    /// The peer at the other end.
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
    /// When strangers of it were last wrong about what they have or get.
    deceived: Option<Duration>,
    rng: fastrand::Rng,
    now: Duration,
    next_tick: Duration,
    /// When all early ticks are made up for.
    early: Duration,
    /// When the first of the contents is announced of which there is something new, or earlier.
    announce_at: Option<Duration>,
    /// When more peers are asked for a manifest, if that is before the next tick.
    manifests_at: Option<Duration>,
    contents: BTreeMap<ContentId, Content>,
    conns: BTreeMap<ConnId, Connection>,
    /// How often anyone began to take part in a content.
    turns: u64,
    peers: Peers,
    knowers: Knowers,
    dial_backs: DialBacks,
    downloads: Downloads,
    uploads: Uploads,
    /// What is to be done; a caller's list while an event is handled.
    actions: Actions,
}

/// Longest time between two ticks.
const TICK: Duration = Duration::from_millis(250);
/// A tick that others cause is made up for by so much time without one, and once more for each thousand times that it looks at a content of
/// a connection; and so much may be owed.
const EARLY: Duration = Duration::from_millis(20);
const MOST_EARLY: Duration = Duration::from_secs(5);
/// A peer that has got nothing new for this long may get what a peer near it has already.
const STARVING: Duration = Duration::from_secs(5);

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
            deceived: None,
            rng: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
            next_tick: Duration::ZERO,
            early: Duration::ZERO,
            announce_at: None,
            manifests_at: None,
            contents: BTreeMap::new(),
            conns: BTreeMap::new(),
            turns: 0,
            peers: Peers::default(),
            knowers: Knowers::default(),
            dial_backs: DialBacks::default(),
            downloads: Downloads::default(),
            uploads: Uploads::default(),
            actions: Actions::default(),
        }
    }

    /// Takes one event in at time `now` (any origin, never going back) and appends what is to be done.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        self.actions.swap(actions);
        self.take_in(event);
        self.on_time();
        self.actions.swap(actions);
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Want { content } => self.want(content),
            Event::Content { content, geometry, have, wanted } => self.content(content, geometry, have, wanted),
            Event::ManifestProgress { content, conn, came, total } => {
                self.manifest_progress(content, conn, came, total)
            }
            Event::ManifestCame { content } => self.manifest_came(content),
            Event::ManifestFailed { content, conn, lied } => self.manifest_failed(content, conn, lied),
            Event::Reading { content, reader, window } => self.reading(content, reader, window),
            Event::ReadInParts { content, part } => self.read_in_parts(content, part),
            Event::Withdraw { content } => self.withdraw(content),
            Event::Origin { content, cap, spare } => self.use_origin(content, cap, spare),
            Event::Found { content, peers } => self.found(content, peers, PeerSource::Tracker),
            Event::Gone { content, peers } => self.gone(content, &peers),
            Event::Connected { conn, peer, remote, dialled, relayed } => {
                self.connected(conn, ConnectedPeer::new(peer, remote, dialled, self.now).relayed(relayed))
            }
            Event::DialFailed { peer } => self.dial_failed(peer),
            Event::DialHeldBack { peer } => self.dial_held_back(peer),
            Event::Disconnected { conn } => self.disconnected(conn),
            Event::Admitted { conn, content, late } => self.admitted(conn, content, late),
            Event::Message { conn, message } => self.message(conn, message),
            Event::Requested { conn, serve, content, run, awaited } => {
                self.requested(conn, serve, content, run, awaited)
            }
            Event::RequestedFirst { conn, serve, content, most } => self.requested_first(conn, serve, content, most),
            Event::FirstPieces { request, run } => self.first_pieces(request, run),
            Event::Served { serve, pieces } => self.served(serve, pieces),
            Event::Progress { request, bytes } => self.progress(request, bytes),
            Event::Stored { content, request, piece } => self.stored(content, request, piece),
            Event::Corrupt { request, piece } => self.corrupt(request, piece),
            Event::Finished { request, failure } => self.finished(request, failure),
            Event::RoundTrip { conn, rtt } => {
                if let Some(state) = self.conns.get_mut(&conn) {
                    state.rate.rtt = rtt;
                }
            }
            Event::Silence { conn } => self.dial_beside(conn),
            Event::Tick => {}
        }
    }

    /// When to send the next [`Event::Tick`] at the latest.
    pub fn next_timeout(&self) -> Duration {
        let others = [self.announce_at, self.manifests_at, self.dial_backs.next(self.now)];
        others.into_iter().flatten().fold(self.next_tick, Duration::min)
    }

    /// How a content stands.
    pub fn view(&self, content: ContentId) -> Option<ContentView> {
        let state = self.contents.get(&content)?;
        let all = state.goal.is_empty() || state.geometry.is_none();
        let (have, pieces) = match all {
            true => (state.have.count(), state.pieces()),
            false => (state.goal.count() - state.lacked, state.goal.count()),
        };
        let peers = self.conns.values().filter(|state| state.takes_part_in(&content)).count() as u32;
        Some(ContentView { have, pieces, peers })
    }

    /// How those stand who take part in a content over a connection.
    pub fn participant_views(&self, content: ContentId) -> Vec<ParticipantView> {
        self.conns.keys().filter_map(|&conn| self.participant_view(conn, content)).collect()
    }

    /// How the other end of a connection stands in a content, if it takes part in it.
    pub fn participant_view(&self, conn: ConnId, content: ContentId) -> Option<ParticipantView> {
        Some(Self::view_of(conn, self.conns.get(&conn)?.participation(&content)?))
    }

    /// How the other end of a connection stands in each content that it takes part in.
    pub fn views_over(&self, conn: ConnId) -> Vec<(ContentId, ParticipantView)> {
        let all = self.conns.get(&conn).into_iter().flat_map(|state| &state.participations);
        all.map(|(&content, theirs)| (content, Self::view_of(conn, theirs))).collect()
    }

    fn view_of(conn: ConnId, theirs: &Participation) -> ParticipantView {
        let pieces = theirs.wanted();
        let came_whole = theirs.came_with.is_some_and(|came_with| came_with > 0 && came_with >= pieces);
        ParticipantView { conn, have: theirs.have.count(), pieces, wants: theirs.takes, came_whole }
    }

    /// Where those are who take part in a content over a connection, as they say; nothing of those who say nothing.
    pub fn sites(&self, content: ContentId) -> Vec<(PeerId, &str)> {
        let takes_part = |state: &&Connection| state.takes_part_in(&content) && !state.peer.site.is_empty();
        self.conns.values().filter(takes_part).map(|state| (state.peer.id, state.peer.site.as_str())).collect()
    }

    /// Where the other end of a connection is reached, as it says.
    pub fn listeners(&self, conn: ConnId) -> &[SocketAddr] {
        self.conns.get(&conn).map(|state| &state.peer.listeners[..]).unwrap_or_default()
    }

    /// The connections over which the other side takes part in a content, and the peers that were heard of.
    pub fn participants(&self, content: ContentId) -> (Vec<ConnId>, Vec<PeerId>) {
        let takes_part = |(_, state): &(&ConnId, &Connection)| state.takes_part_in(&content);
        let connected = self.conns.iter().filter(takes_part).map(|(&conn, _)| conn).collect();
        let heard_of = self.contents.get(&content).map(|content| content.known.ids().collect());
        (connected, heard_of.unwrap_or_default())
    }

    /// Whether this peer was heard of as one of a content.
    pub fn knows(&self, content: ContentId, peer: PeerId) -> bool {
        self.contents.get(&content).is_some_and(|content| content.known.addresses(&peer).is_some())
    }

    /// Whether a peer that is being dialled was named by the tracker, or has given something: others may be made up.
    pub fn is_vouched_for(&self, peer: PeerId) -> bool {
        self.peers.is_dialled_vouched(&peer)
    }

    /// Where a peer of a content is said to be.
    pub fn addresses(&self, content: ContentId, peer: PeerId) -> &[SocketAddr] {
        self.contents.get(&content).and_then(|content| content.known.addresses(&peer)).unwrap_or_default()
    }

    /// What is said first over connections from now on: where others reach this peer has changed.
    pub fn set_hello(&mut self, hello: PeerMessage) {
        self.hello = hello;
        // There may be a direct path now.
        self.conns
            .values_mut()
            .filter_map(|state| state.peer.relayed.as_mut())
            .for_each(|relayed| relayed.next = self.now);
        self.next_tick = self.now;
    }

    /// The pieces of a content that are stored here.
    pub fn have(&self, content: ContentId) -> Option<&PieceSet> {
        self.contents.get(&content).map(|state| &state.have)
    }

    /// The connections that stand.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let view =
            |state: &Connection| ConnectionView { peer: state.peer.id, rate: state.rate.bytes_a_second(self.now) };
        self.conns.values().map(view).collect()
    }

    /// Something has changed that a tick looks after. Others may change something as often as they like, and a tick is work.
    fn tick_soon(&mut self) {
        let owed = self.early.max(self.now);
        if self.next_tick <= self.now || owed - self.now > MOST_EARLY {
            return;
        }
        let thousands = (self.contents.len() * self.conns.len() / 1000).min(1000) as u32;
        (self.early, self.next_tick) = (owed + EARLY * (1 + thousands), self.now);
    }

    fn on_time(&mut self) {
        self.announce_pieces();
        self.dial_back();
        if self.manifests_at.is_some_and(|at| self.now >= at) {
            self.fetch_manifests();
        }
        if self.now >= self.next_tick {
            self.next_tick = self.now + TICK;
            self.count_strangers();
            self.ban_condemned();
            self.drop_silent();
            self.review_pace();
            self.review_origins();
            self.doubt_sites();
            self.dial_more();
            self.dial_relayed();
            self.exchange_peers();
            self.review_first();
            self.fetch_manifests();
            self.review_promises();
            self.review_word();
            self.refuse_parked();
            self.answer_firsts();
            self.serve_next();
            self.offer_of_all();
            self.take_waiting_offers();
            self.ask_again();
            self.ask_on_own_account();
            self.read_origins();
            self.find_more();
            self.say_what_lacks();
        }
    }

    fn want(&mut self, id: ContentId) {
        let newest = self.turns;
        self.contents.entry(id).or_insert_with(|| {
            let mut content = Content::unknown();
            content.newest = newest;
            content
        });
        self.join_everyone(id);
        self.next_tick = self.now;
    }

    fn content(&mut self, id: ContentId, geometry: Arc<Geometry>, have: PieceSet, goal: PieceSet) {
        self.cancel_manifests(id);
        let pieces = geometry.pieces();
        let mut content = Content::new(Some(geometry), have, goal);
        if let Some(old) = self.contents.remove(&id) {
            (content.known, content.origin, content.first) = (old.known, old.origin, old.first);
        }
        (content.busy, content.grew, content.newest) = (self.now, self.now, self.turns);
        // What peers said before the manifest was known can be judged now.
        let mut liars = Vec::new();
        for (&conn, state) in &mut self.conns {
            if let Some(theirs) = state.participations.get_mut(&id)
                && !content.meet(theirs, pieces)
            {
                liars.push(conn);
            }
        }
        self.contents.insert(id, content);
        for liar in liars {
            self.close(liar, "it has pieces that do not exist");
        }
        self.join_everyone(id);
        self.origin_settles(id);
        self.adopt_first(id);
        self.take_waiting_offers();
        self.offer_more();
        self.next_tick = self.now;
    }

    fn read_in_parts(&mut self, id: ContentId, part: u64) {
        if let Some(content) = self.contents.get_mut(&id)
            && let Some(geometry) = &content.geometry
        {
            let pieces = (part / u64::from(geometry.piece_size())).max(1) as usize;
            let files = 0..geometry.sizes().len();
            content.spread.read_in_parts(files.flat_map(|file| geometry.pieces_of(file).step_by(pieces)).collect());
        }
    }

    fn withdraw(&mut self, id: ContentId) {
        if !self.contents.contains_key(&id) {
            return;
        }
        let taking_part = self.conns.iter().filter_map(|(&conn, state)| Some((conn, state.participation(&id)?)));
        let promised: Vec<(ConnId, u32)> =
            taking_part.flat_map(|(conn, theirs)| theirs.promised.keys().map(move |&piece| (conn, piece))).collect();
        promised.into_iter().for_each(|(conn, piece)| self.break_promise(conn, id, piece));
        for theirs in self.conns.values_mut().filter_map(|state| state.participations.get_mut(&id)) {
            theirs.forget_counts();
        }
        self.cancel_manifests(id);
        self.give_up_first(id);
        if let Some(content) = self.contents.remove(&id) {
            content.known.ids().for_each(|peer| self.knowers.remove(&peer, &id));
        }
        // Forgotten at once: should the content be wanted again before they have ended, they are none of its.
        for request in self.downloads.of_content(id) {
            self.forget_request(request);
            self.actions.cancel(request);
        }
        for (&conn, _) in self.conns.iter().filter(|(_, state)| state.takes_part_in(&id)) {
            self.actions.send(conn, PeerMessage::Withdraw { content: id });
        }
        self.refuse_content(id);
    }
}

#[cfg(test)]
mod tests;
