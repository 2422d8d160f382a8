//! The client of one tracker: it announces contents once, reports changes, and keeps the connection for as long as the
//! node runs.
//!
//! When this machine's addresses change, or the tracker sees it at another address, a new connection replaces the old
//! one, because only a handshake proves an address.
//!
//! When the connection is lost, the client reconnects after a random delay, so that a thousand peers do not reconnect
//! at once, and announces everything again. Nothing else in the node waits for it.
//!
//! A peer that knows several trackers has a client for each. Such a client asks first which tracker it has come to.

mod address;
mod claims;
mod liveness;
pub(crate) mod names;
mod refusals;
pub(crate) mod request;
mod second_address;
mod unsaid;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{
    Announce, COME_AGAIN, ContentId, ContentMatch, Mac, PROOF_LABEL, PeerId, ProvenShare, Role, Secret, TrackerEvent,
    TrackerInstance, TrackerRequest, Turn, VERSION, check_name, printable, relay_mark, report_mark,
    second_address_mark,
};
use swarm::Shares;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use transport::frame::{encode, receive_message};
use transport::{Connection, RecvStream, SendStream, Transport, TransportError};

use crate::PeerError;
use crate::net::dial::{self, For};
use crate::net::dial_book::DialBook;
use crate::net::dial_filter::{DialFilter, Source, nearest_first};
use crate::report::{Report, TrackerNews};
use crate::resolver::Resolver;
use crate::tracker_status::TrackerNumber;
pub use address::TrackerAddress;
use claims::Claim;
pub(crate) use claims::Claims;
use liveness::{Liveness, Look};
use refusals::{Refusals, shortened};
use request::Passage;
pub(crate) use request::ToClient;
pub use request::{Page, WatchedPage};
use second_address::{Prover, SecondAddress};
use unsaid::Unsaid;
use waiting::{Inbox, QUEUE, Waiting};

/// A tracker must say welcome within this time, and name servers where it is.
const WELCOME: Duration = Duration::from_secs(5);
/// A tracker must take a message within this time: one that was restarted hears thousands of contents from many peers at once.
const TAKEN: Duration = Duration::from_secs(30);
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);
/// At most this many messages are sent before the tracker's welcome: it may still refuse us.
const AHEAD: usize = 64;
/// Most reasons why a tracker is not back that are told, each once: two addresses may take turns.
const REASONS: usize = 8;
/// Longest wait between two tries, and the shortest before the first.
const LONGEST: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(200);
/// A connection that took the place of another is not replaced itself before this: addresses may come and go, and a tracker
/// send us away, as often as they like.
const SETTLED: Duration = Duration::from_secs(5);
/// An address that led to a tracker which another client has is tried again after this long.
const TAKEN_AGAIN: Duration = Duration::from_secs(60);

/// Most trackers that a node deals with, besides those that a name does not lead to any more.
pub const MOST_TRACKERS: usize = 16;

/// A tracker that was joined: see [`crate::Node::join_private`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The tracker's whole id. A ticket may have had half of it.
    pub tracker: PeerId,
    /// The private share of which the secret was proven.
    pub told: Option<ContentMatch>,
}

/// Where the result of the first connection is sent.
type First = oneshot::Sender<Result<Joined, PeerError>>;

/// What a client knows of private shares.
pub(crate) struct Private {
    /// All that the node takes part in.
    pub(crate) shares: Arc<Shares>,
    /// The secret to prove to the tracker, if that is the sharer's own.
    pub(crate) secret: Option<Secret>,
}

/// What all clients of a node share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) transport: Arc<dyn Transport>,
    /// Where others may reach this peer.
    pub(crate) listeners: watch::Receiver<Vec<SocketAddr>>,
    pub(crate) dialled: Arc<DialFilter>,
    pub(crate) book: Arc<DialBook>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) resolver: Resolver,
    /// Whether there are several trackers.
    pub(crate) several: Arc<AtomicBool>,
    pub(crate) claims: Arc<Claims>,
}

/// Starts a client. `first` is told how the first connection went, and what the tracker has told of a private share; if it
/// failed the client ends, unless it is one of several.
pub(crate) fn start(
    around: Surroundings,
    number: TrackerNumber,
    tracker: TrackerAddress,
    private: Private,
    first: First,
) -> mpsc::Sender<ToClient> {
    let (commands, inbox) = mpsc::channel(QUEUE);
    let inbox = Inbox { commands: inbox, waiting: VecDeque::new() };
    let client = Client {
        listeners: around.listeners.clone(),
        around,
        number,
        tracker,
        private,
        told: None,
        instance: TrackerInstance::default(),
        claim: None,
        is_taken: false,
        announced: BTreeMap::new(),
        waiting: Waiting::default(),
        refusals: Refusals::default(),
        replaced: None,
    };
    tokio::spawn(client.run(inbox, first));
    commands
}

struct Client {
    around: Surroundings,
    /// What is seen of the node's addresses by this client.
    listeners: watch::Receiver<Vec<SocketAddr>>,
    number: TrackerNumber,
    tracker: TrackerAddress,
    private: Private,
    /// What the tracker has told of the share that was proven to it.
    told: Option<ContentMatch>,
    /// Which of several trackers it is, and that no other client has it.
    instance: TrackerInstance,
    claim: Option<Claim>,
    /// Whether another client has it.
    is_taken: bool,
    announced: BTreeMap<ContentId, Announce>,
    waiting: Waiting,
    /// What the tracker has refused.
    refusals: Refusals,
    /// When a connection took the place of another last.
    replaced: Option<Instant>,
}

/// How a tracker answers a hello.
enum Greeting {
    Welcome(Session),
    Refused(String),
    /// Another client of this node has this tracker already.
    Taken,
}

/// Why a session is over.
enum Over {
    /// This peer leaves.
    Left,
    /// The tracker is gone, or so it seems.
    Lost,
    /// This peer is reached elsewhere now: it is to come again.
    Moved,
}

/// Both proofs of a private share between a node and its tracker.
struct TrackerProof {
    first: [u8; 32],
    second: Mac,
}

impl TrackerProof {
    /// What the tracker tells of the share, if it has proven to know its secret.
    fn told(&self, shares: Vec<ProvenShare>) -> Option<ContentMatch> {
        let proven = shares.into_iter().find(|share| self.second.is(&share.proof))?;
        named(vec![proven.found]).pop()
    }
}

struct Session {
    connection: Arc<dyn Connection>,
    send: Box<dyn SendStream>,
    recv: Box<dyn RecvStream>,
    /// What is said behind the welcome.
    unsaid: Unsaid,
}

impl Client {
    async fn run(mut self, mut inbox: Inbox, first: First) {
        let mut session = match self.connect(&mut inbox).await {
            Some(Ok(Some(session))) => {
                if !self.is_welcome(session.connection.clone()).await {
                    return;
                }
                let _ = first.send(Ok(Joined { tracker: session.connection.peer_id(), told: self.told.take() }));
                Some(session)
            }
            Some(Ok(None)) => {
                drop(first);
                None
            }
            Some(Err(error)) => {
                let _ = first.send(Err(error));
                if !self.is_one_of_several() {
                    return;
                }
                None
            }
            None => return,
        };
        loop {
            if let Some(stands) = session.take() {
                match self.serve(stands, &mut inbox).await {
                    Over::Left => return,
                    Over::Moved => match self.come_again(&mut inbox).await {
                        Some(Some(again)) => {
                            if self.is_one_of_several() && !self.is_welcome(again.connection.clone()).await {
                                return;
                            }
                            session = Some(again);
                            continue;
                        }
                        Some(None) => {}
                        None => return,
                    },
                    Over::Lost => {}
                }
            }
            self.claim = None;
            self.waiting.give_up();
            let news = if self.is_taken { TrackerNews::Taken } else { TrackerNews::Lost };
            if !self.report(news).await {
                return;
            }
            let Some(again) = self.come_back(&mut inbox).await else { return };
            if !self.is_welcome(again.connection.clone()).await {
                return;
            }
            session = Some(again);
        }
    }

    fn is_one_of_several(&self) -> bool {
        self.around.several.load(Ordering::Relaxed)
    }

    /// False if the node has ended.
    async fn report(&self, news: TrackerNews) -> bool {
        self.around.reports.send(Report::Tracker { number: self.number, news }).await.is_ok()
    }

    /// False if the node has ended.
    async fn is_welcome(&self, connection: Arc<dyn Connection>) -> bool {
        let (id, at) = (connection.peer_id(), connection.remote_addr());
        let leads_to = self.tracker.name.as_ref().map(|_| self.tracker.addresses.clone());
        self.report(TrackerNews::Welcome { id, instance: self.instance, at, leads_to }).await
    }

    /// A session, if this peer does not leave meanwhile; none if another client has this tracker.
    async fn connect(&mut self, inbox: &mut Inbox) -> Option<Result<Option<Session>, PeerError>> {
        (self.claim, self.is_taken) = (None, false);
        // All that were tried: the reason names one of them, which need not be the first.
        let tried: Vec<_> = self.tracker.addresses.iter().map(SocketAddr::to_string).collect();
        let address = tried.join(", ");
        let until = Instant::now() + WELCOME;
        let greeted = match inbox.unless_leaving(timeout_at(until, self.reach())).await? {
            Ok(Ok(Some(session))) => {
                self.take_in(inbox);
                inbox.unless_leaving(timeout_at(until, self.greet(session))).await?
            }
            Ok(Ok(None)) => Ok(Ok(Greeting::Taken)),
            Ok(Err(error)) => Ok(Err(error)),
            Err(late) => Err(late),
        };
        let error = match greeted {
            Ok(Ok(Greeting::Welcome(session))) => return Some(Ok(Some(session))),
            Ok(Ok(Greeting::Taken)) => {
                self.is_taken = true;
                return Some(Ok(None));
            }
            Ok(Ok(Greeting::Refused(reason))) => PeerError::Refused(shortened(reason)),
            Ok(Err(error @ TransportError::NotAdmitted(_))) => PeerError::Refused(error.to_string()),
            Ok(Err(TransportError::WrongPeer { addr: address, expected })) => {
                PeerError::WrongTracker { address, expected }
            }
            Ok(Err(reason)) => PeerError::Tracker { address, reason },
            Err(_) => {
                let silent = || TransportError::Lost("it does not answer".to_owned());
                let reason = self.tracker.addresses.first().copied().map_or_else(silent, TransportError::Unreachable);
                PeerError::Tracker { address, reason }
            }
        };
        self.claim = None;
        Some(Err(error))
    }

    /// Commands that arrived while dialling are sent right after the hello, which saves a round trip.
    fn take_in(&mut self, inbox: &mut Inbox) {
        for command in std::mem::take(&mut inbox.waiting) {
            match command {
                ToClient::Announce(announce) => drop(self.announced.insert(announce.content, announce)),
                ToClient::Find { query, reply } => self.waiting.finds.entry(query).or_default().push(reply),
                ToClient::List { before, reply } => self.waiting.lists.entry(before).or_default().push(reply),
                // A new session knows of nothing.
                ToClient::Leave(content) => drop(self.announced.remove(&content)),
                other => inbox.waiting.push_back(other),
            }
        }
    }

    async fn dial(&self) -> Result<Session, TransportError> {
        let addresses = nearest_first(self.tracker.addresses.clone());
        let connection = dial::first(self.around.transport.clone(), self.tracker.id, addresses, For::Tracker).await?;
        let (send, recv) = connection.open().await?;
        Ok(Session { connection, send, recv, unsaid: Unsaid::default() })
    }

    /// A connection; none if another client of this node has this tracker.
    async fn reach(&mut self) -> Result<Option<Session>, TransportError> {
        let mut session = self.dial().await?;
        self.instance = TrackerInstance::default();
        if self.is_one_of_several() {
            match session.which().await {
                Some(instance) => self.instance = instance,
                // An older tracker closes the connection at this question. Of older trackers with the same key, only
                // one is used.
                None => {
                    session.connection.close(0, "asked");
                    session = self.dial().await?;
                }
            }
            let key = (session.connection.peer_id(), self.instance.nonce);
            self.claim = self.around.claims.claim(key, self.number, session.connection.remote_addr());
            if self.claim.is_none() {
                session.connection.close(0, "known by another address");
                return Ok(None);
            }
        }
        Ok(Some(session))
    }

    async fn greet(&mut self, mut session: Session) -> Result<Greeting, TransportError> {
        match self.introduce(&mut session).await {
            Ok(None) => Ok(Greeting::Welcome(session)),
            Ok(Some(reason)) => Ok(Greeting::Refused(reason)),
            Err(error @ TransportError::Handshake(_)) => Err(error),
            // A stream may end before the connection does, and only that says why.
            Err(error) => Err(timeout(Duration::from_secs(1), session.connection.closed()).await.unwrap_or(error)),
        }
    }

    /// Says who we are and some of what we take part in and ask, or the tracker says why it refuses us. Only one that is to prove
    /// something first hears no more than that before it has.
    async fn introduce(&mut self, session: &mut Session) -> Result<Option<String>, TransportError> {
        let listeners = self.listeners.borrow_and_update().clone();
        let proof = self.first_proof(&*session.connection)?;
        if let Some(proof) = &proof {
            session.say(&TrackerRequest::Prove { proofs: vec![proof.first] }).await?;
        }
        session.say(&TrackerRequest::Hello { version: VERSION, listeners }).await?;
        session.unsaid = Unsaid::new(&self.announced, self.waiting.questions(), AHEAD);
        let ahead = if proof.is_some() { 0 } else { AHEAD };
        for _ in 0..ahead {
            let Some(message) = session.unsaid.next() else { break };
            session.say(&message).await?;
        }
        let mut heard = session.hear().await?;
        if let Some(proof) = proof {
            match heard {
                TrackerEvent::Proven { shares } => self.told = proof.told(shares),
                TrackerEvent::Refused(reason) => return Ok(Some(reason)),
                _ => {}
            }
            if self.told.is_none() {
                return Err(TransportError::Handshake("it does not know the share that the ticket is of".to_owned()));
            }
            heard = session.hear().await?;
        }
        match heard {
            TrackerEvent::Welcome { .. } => Ok(None),
            TrackerEvent::Refused(reason) => Ok(Some(reason)),
            _ => Err(TransportError::Handshake("it did not say welcome".to_owned())),
        }
    }

    /// What is proven to the tracker before anything else, if it is the sharer's own.
    fn first_proof(&self, connection: &dyn Connection) -> Result<Option<TrackerProof>, TransportError> {
        let Some(secret) = self.private.secret else { return Ok(None) };
        let (key, exporter) = (secret.share_key(), connection.exporter(PROOF_LABEL)?);
        let (me, tracker) = (self.around.transport.peer_id(), connection.peer_id());
        let first = key.proof(Turn::First, &exporter, me, tracker).bytes();
        Ok(Some(TrackerProof { first, second: key.proof(Turn::Second, &exporter, tracker, me) }))
    }

    /// Connects anew at once, if this peer does not leave meanwhile.
    async fn come_again(&mut self, inbox: &mut Inbox) -> Option<Option<Session>> {
        self.replaced = Some(Instant::now());
        Some(self.connect(inbox).await?.ok().flatten())
    }

    /// Tries again and again, each time after a random wait. Reports each reason once why it does not succeed, where it is more
    /// than silence.
    async fn come_back(&mut self, inbox: &mut Inbox) -> Option<Session> {
        let mut reported = BTreeSet::new();
        for tries in 0.. {
            let wait = sleep(if self.is_taken { TAKEN_AGAIN } else { pause(tries, fastrand::f64()) });
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    // This machine has another network: the tracker may be reached again.
                    Ok(()) = self.listeners.changed() => break,
                    command = inbox.recv() => match command? {
                        ToClient::Announce(announce) => {
                            self.announced.insert(announce.content, announce);
                        }
                        ToClient::Leave(content) => {
                            self.announced.remove(&content);
                        }
                        ToClient::Bye { done } => {
                            let _ = done.send(());
                            return None;
                        }
                        other @ (ToClient::Find { .. }
                        | ToClient::List { .. }
                        | ToClient::Watch { .. }
                        | ToClient::Relay { .. }) => other.unheard(),
                        ToClient::OneOfSeveral => self.tracker.name = None,
                        ToClient::Progress { .. } => {}
                    },
                }
            }
            let was_taken = self.is_taken;
            let resolver = self.around.resolver.clone();
            inbox.unless_leaving(self.tracker.resolve_with(&resolver)).await?;
            let connected = self.connect(inbox).await?;
            if !matches!(connected, Ok(Some(_))) {
                self.waiting.give_up();
            }
            match connected {
                Ok(Some(session)) => return Some(session),
                Ok(None) if was_taken => {}
                Ok(None) => {
                    if !self.report(TrackerNews::Taken).await {
                        return None;
                    }
                }
                Err(PeerError::Tracker { reason, .. }) if !reason.is_failed_handshake() => {}
                Err(error) => {
                    let is_new = reported.len() < REASONS && reported.insert(error.to_string());
                    if is_new && !self.report(TrackerNews::Unfit(error)).await {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Runs one session until it is over.
    async fn serve(&mut self, session: Session, inbox: &mut Inbox) -> Over {
        let Session { connection, send, mut recv, mut unsaid } = session;
        let settled = self.replaced.map_or_else(Instant::now, |then| then + SETTLED);
        let mut listeners = self.listeners.clone();
        // The node has ended if they never change again: then so does the inbox.
        let moved = async {
            if listeners.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(settled).await;
        };
        tokio::pin!(moved);
        let (reports, number) = (self.around.reports.clone(), self.number);
        let (heard, mut messages) = mpsc::channel(64);
        // Reading is not cancelled half way through a frame by what there is to say.
        let reader = tokio::spawn(async move {
            while let Ok(message) = hear(&mut *recv).await {
                if heard.send(message).await.is_err() {
                    break;
                }
            }
        });
        // And a tracker that takes nothing for a while is heard all the same.
        let (say, mut writer) = write(send);
        let (mut is_relay, mut liveness, mut bye) = (false, Liveness::new(), None);
        self.refusals.begin();
        let mut second = SecondAddress::new();
        let over = loop {
            tokio::select! {
                () = liveness.due() => match liveness.look(connection.stats().received, self.is_waiting()) {
                    Look::Rest => {}
                    Look::Ask => connection.ping(),
                    Look::Gone => break Over::Lost,
                },
                // It does not take what is said, or has ended.
                () = say.closed() => break self.ended(&*connection, settled).await,
                room = say.reserve(), if !unsaid.is_empty() => match (room, unsaid.next()) {
                    (Ok(room), Some(message)) => room.send(message),
                    _ => break self.ended(&*connection, settled).await,
                },
                command = inbox.recv(), if !unsaid.is_full() => {
                    unsaid.push(match command {
                        None => break Over::Left,
                        Some(ToClient::Announce(announce)) => {
                            self.announced.insert(announce.content, announce.clone());
                            TrackerRequest::Announce(announce)
                        }
                        Some(ToClient::Leave(content)) => {
                            self.announced.remove(&content);
                            TrackerRequest::Leave(content)
                        }
                        Some(ToClient::Find { query, reply }) => {
                            self.waiting.finds.entry(query.clone()).or_default().push(reply);
                            TrackerRequest::Find(query)
                        }
                        Some(ToClient::List { before, reply }) => {
                            self.waiting.lists.entry(before).or_default().push(reply);
                            TrackerRequest::List { before }
                        }
                        Some(ToClient::Watch { content, after, reply }) => {
                            self.waiting.watches.entry((content, after)).or_default().push(reply);
                            TrackerRequest::Watch { content, after }
                        }
                        Some(ToClient::Progress { content, progress }) => TrackerRequest::Progress { content, progress },
                        Some(ToClient::Relay { peer, content, reply }) if is_relay => {
                            self.waiting.passages.insert(peer, reply);
                            TrackerRequest::Relay { peer, content }
                        }
                        Some(relay @ ToClient::Relay { .. }) => {
                            relay.unheard();
                            continue;
                        }
                        Some(ToClient::OneOfSeveral) => {
                            (self.tracker.name, self.tracker.addresses) = (None, vec![connection.remote_addr()]);
                            break Over::Moved;
                        }
                        Some(ToClient::Bye { done }) => {
                            bye = Some(done);
                            break Over::Left;
                        }
                    });
                }
                () = &mut moved => break Over::Moved,
                () = second.asks() => unsaid.push(TrackerRequest::SecondAddress),
                message = messages.recv() => match message {
                    None => break self.ended(&*connection, settled).await,
                    Some(TrackerEvent::Peers { content, mut joined, mut gone }) => {
                                                // The tracker knows a private content only by its swarm id.
                        let Some(content) = self.private.shares.content_of(content) else { continue };
                        // An older tracker would end the session if it were asked.
                        let mark = relay_mark();
                        if gone.contains(&mark) {
                            gone.retain(|peer| *peer != mark);
                            if !is_relay && self.around.transport.over_relay().is_some() {
                                is_relay = true;
                                unsaid.push(TrackerRequest::TakesLegs);
                            }
                        }
                        let mark = second_address_mark();
                        if gone.contains(&mark) {
                            gone.retain(|peer| *peer != mark);
                            second.begin(self.prover(&*connection));
                        }
                        let mark = report_mark();
                        if gone.contains(&mark) {
                            gone.retain(|peer| *peer != mark);
                            if reports.send(Report::Watched { number, content }).await.is_err() {
                                break Over::Left;
                            }
                        }
                        let source = Source::Tracker(connection.remote_addr().ip());
                        self.around.book.not_dialled(content, &self.around.dialled.keep(source, &mut joined));
                        if !is_relay {
                            // Others are reached through the relay at most.
                            joined.retain(|peer| !peer.addresses.is_empty());
                        }
                        if reports.send(Report::Introduced { number, content, joined, gone }).await.is_err() {
                            break Over::Left;
                        }
                    }
                    Some(TrackerEvent::Found { query, matches }) => {
                        let matches = named(matches);
                        for reply in self.waiting.finds.remove(&query).unwrap_or_default() {
                            let _ = reply.send(Ok(matches.clone()));
                        }
                    }
                    Some(TrackerEvent::Listed { before, contents, next }) => {
                        let page = Page { contents: named(contents), next };
                        for reply in self.waiting.lists.remove(&before).unwrap_or_default() {
                            let _ = reply.send(Ok(page.clone()));
                        }
                    }
                    Some(TrackerEvent::Watched { content, after, peers, next }) => {
                        let page = WatchedPage { peers, next };
                        for reply in self.waiting.watches.remove(&(content, after)).unwrap_or_default() {
                            let _ = reply.send(Ok(page.clone()));
                        }
                    }
                    Some(TrackerEvent::Relayed { peer, answer }) => {
                        if let Some(reply) = self.waiting.passages.remove(&peer) {
                            let passage = answer.map(|carried| Passage { relay: connection.remote_addr(), carried });
                            let _ = reply.send(passage.map_err(|sentence| Some(printable(&sentence).to_string())));
                        }
                    }
                    Some(TrackerEvent::AddressToken(token)) => second.is_given(token),
                    Some(TrackerEvent::Leg { from, address, key }) => {
                        tracing::debug!(peer = %from, "comes through the relay");
                        if let Some(over) = self.around.transport.over_relay() {
                            // Nowhere else but to the tracker itself.
                            over.accept_leg(connection.remote_addr(), address, key);
                        }
                    }
                    Some(TrackerEvent::Refused(reason)) => {
                        if let Some(reason) = self.refusals.one_more(reason) {
                            tracing::warn!(%reason, "the tracker refuses");
                        }
                        if self.refusals.are_too_many() {
                            break Over::Lost;
                        }
                    }
                    Some(
                        TrackerEvent::Welcome { .. }
                        | TrackerEvent::Proven { .. }
                        | TrackerEvent::Mailbox(_)
                        | TrackerEvent::Instance(_)
                        | TrackerEvent::Lease(_)
                        | TrackerEvent::AlsoSeen { .. }
                        | TrackerEvent::Probe(_),
                    ) => {}
                },
            }
        };
        if let Some(done) = bye {
            let said = async {
                let _ = say.send(TrackerRequest::Bye).await;
                drop(say);
                let _ = (&mut writer).await;
            };
            // A silent tracker must not keep us from leaving.
            let _ = timeout(GOODBYE, said).await;
            let _ = done.send(());
        }
        reader.abort();
        writer.abort();
        match over {
            Over::Left => {}
            Over::Lost => connection.close(0, "lost"),
            // Where this machine cannot send from its old address any more, the tracker hears of it by the new connection.
            Over::Moved => connection.close(0, "moved"),
        }
        over
    }

    /// What proves to the tracker of this session that this node is reached over the other family, too.
    fn prover(&self, connection: &dyn Connection) -> Prover {
        Prover {
            transport: self.around.transport.clone(),
            listeners: self.listeners.clone(),
            addresses: self.tracker.addresses.clone(),
            session: connection.remote_addr(),
            tracker: (connection.peer_id(), self.instance.nonce),
            claims: self.around.claims.clone(),
        }
    }

    /// Whether something is waited for that only the tracker can give.
    fn is_waiting(&self) -> bool {
        self.waiting.is_asked() || self.announced.values().any(|announce| announce.role == Role::Downloader)
    }

    /// What it means that the tracker says no more.
    async fn ended(&self, connection: &dyn Connection, settled: Instant) -> Over {
        // It has ended, or it is about to.
        match timeout(Duration::from_millis(200), connection.closed()).await {
            Ok(TransportError::ClosedByPeer { code: COME_AGAIN, .. }) if Instant::now() >= settled => Over::Moved,
            _ => Over::Lost,
        }
    }
}

/// What a tracker says of contents, without what no manifest could be called: names are only claimed to it.
fn named(mut contents: Vec<ContentMatch>) -> Vec<ContentMatch> {
    let wrong = contents.iter_mut().filter(|found| check_name(&found.name).is_err());
    wrong.for_each(|found| found.name = String::new());
    contents
}

/// How long to wait after so many tries, by a random number from 0 to 1. All peers lose a tracker at the same moment, and
/// short first waits that double keep them together for a while: so the first is spread over half of the longest wait, and
/// the others over the rest.
fn pause(tries: u32, random: f64) -> Duration {
    let (least, most) = if tries == 0 { (SHORTEST, LONGEST / 2) } else { (LONGEST / 2, LONGEST) };
    least + (most - least).mul_f64(random)
}

impl Session {
    async fn say(&mut self, message: &TrackerRequest) -> Result<(), TransportError> {
        say(&mut *self.send, message).await
    }

    /// Which of several trackers it is, if it knows the question.
    async fn which(&mut self) -> Option<TrackerInstance> {
        self.say(&TrackerRequest::Instance).await.ok()?;
        match self.hear().await {
            Ok(TrackerEvent::Instance(instance)) => Some(instance),
            _ => None,
        }
    }

    async fn hear(&mut self) -> Result<TrackerEvent, TransportError> {
        hear(&mut *self.recv).await
    }
}

/// Says what it is given, for as long as the tracker takes it.
fn write(mut send: Box<dyn SendStream>) -> (mpsc::Sender<TrackerRequest>, JoinHandle<()>) {
    let (to_say, mut messages) = mpsc::channel(1);
    let writer = tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            if !matches!(timeout(TAKEN, say(&mut *send, &message)).await, Ok(Ok(()))) {
                return;
            }
        }
        let _ = send.finish();
    });
    (to_say, writer)
}

async fn say(send: &mut dyn SendStream, message: &TrackerRequest) -> Result<(), TransportError> {
    send.send(encode(message)?).await
}

async fn hear(recv: &mut dyn RecvStream) -> Result<TrackerEvent, TransportError> {
    receive_message(recv).await
}

#[cfg(test)]
mod tests;
