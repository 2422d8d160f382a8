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
mod commands;
mod events;
mod handshake;
mod liveness;
pub(crate) mod names;
mod reconnect;
mod refusals;
pub(crate) mod request;
mod second_address;
mod unsaid;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{
    Announce, COME_AGAIN, ContentId, ContentMatch, PeerId, Role, Secret, TrackerEvent, TrackerInstance, TrackerRequest,
};
use swarm::Shares;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use transport::{Connection, RecvStream, SendStream, Transport, TransportError};

use crate::PeerError;
use crate::net::dial_book::DialBook;
use crate::net::dial_filter::DialFilter;
use crate::report::{Report, TrackerNews};
use crate::resolver::Resolver;
use crate::tracker_status::TrackerNumber;
pub use address::TrackerAddress;
use claims::Claim;
pub(crate) use claims::Claims;
use commands::Next;
use handshake::{Greeting, Session, WELCOME, hear, say};
use liveness::{Liveness, Look};
use refusals::{Refusals, shortened};
pub(crate) use request::ToClient;
pub use request::{Page, WatchedPage};
use second_address::SecondAddress;
use unsaid::Unsaid;
use waiting::{Inbox, PendingQueries, QUEUE};

/// A tracker must take a message within this time: one that was restarted hears thousands of contents from many peers at once.
const TAKEN: Duration = Duration::from_secs(30);
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);
/// A connection that took the place of another is not replaced itself before this: addresses may come and go, and a tracker
/// send us away, as often as they like.
const SETTLED: Duration = Duration::from_secs(5);

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
        waiting: PendingQueries::default(),
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
    waiting: PendingQueries,
    /// What the tracker has refused.
    refusals: Refusals,
    /// When a connection took the place of another last.
    replaced: Option<Instant>,
}

/// A session that the tracker has welcomed.
struct Open {
    connection: Arc<dyn Connection>,
    unsaid: Unsaid,
    /// Whether the tracker was told that this peer takes connections through its relay.
    is_relay: bool,
    second: SecondAddress,
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

    /// Runs one session until it is over.
    async fn serve(&mut self, session: Session, inbox: &mut Inbox) -> Over {
        let Session { connection, send, recv, unsaid } = session;
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
        let (mut messages, reader) = read(recv);
        // A tracker that takes nothing for a while is heard all the same.
        let (say, mut writer) = write(send);
        let (mut liveness, mut bye) = (Liveness::new(), None);
        self.refusals.begin();
        let mut open = Open { connection, unsaid, is_relay: false, second: SecondAddress::new() };
        let over = loop {
            tokio::select! {
                () = liveness.due() => match liveness.look(open.connection.stats().received, self.is_waiting()) {
                    Look::Rest => {}
                    Look::Ask => open.connection.ping(),
                    Look::Gone => break Over::Lost,
                },
                // It does not take what is said, or has ended.
                () = say.closed() => break self.ended(&*open.connection, settled).await,
                room = say.reserve(), if !open.unsaid.is_empty() => match (room, open.unsaid.next()) {
                    (Ok(room), Some(message)) => room.send(message),
                    _ => break self.ended(&*open.connection, settled).await,
                },
                command = inbox.recv(), if !open.unsaid.is_full() => {
                    let Some(command) = command else { break Over::Left };
                    match self.request_for(command, &open) {
                        Next::Say(request) => open.unsaid.push(request),
                        Next::Nothing => {}
                        Next::End(over) => break over,
                        Next::Bye(done) => {
                            bye = Some(done);
                            break Over::Left;
                        }
                    }
                }
                () = &mut moved => break Over::Moved,
                () = open.second.asks() => open.unsaid.push(TrackerRequest::SecondAddress),
                message = messages.recv() => {
                    let Some(message) = message else { break self.ended(&*open.connection, settled).await };
                    if let Some(over) = self.tracker_event(message, &mut open).await {
                        break over;
                    }
                }
            }
        };
        if let Some(done) = bye {
            say_goodbye(say, &mut writer, done).await;
        }
        reader.abort();
        writer.abort();
        match over {
            Over::Left => {}
            Over::Lost => open.connection.close(0, "lost"),
            // Where this machine cannot send from its old address any more, the tracker hears of it by the new connection.
            Over::Moved => open.connection.close(0, "moved"),
        }
        over
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

/// Hears the tracker. Reading is not cancelled half way through a frame by what there is to say.
fn read(mut recv: Box<dyn RecvStream>) -> (mpsc::Receiver<TrackerEvent>, JoinHandle<()>) {
    let (heard, messages) = mpsc::channel(64);
    let reader = tokio::spawn(async move {
        while let Ok(message) = hear(&mut *recv).await {
            if heard.send(message).await.is_err() {
                break;
            }
        }
    });
    (messages, reader)
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

/// Says goodbye behind what is said already. A silent tracker must not keep us from leaving.
async fn say_goodbye(say: mpsc::Sender<TrackerRequest>, writer: &mut JoinHandle<()>, done: oneshot::Sender<()>) {
    let said = async {
        let _ = say.send(TrackerRequest::Bye).await;
        drop(say);
        let _ = writer.await;
    };
    let _ = timeout(GOODBYE, said).await;
    let _ = done.send(());
}

#[cfg(test)]
mod tests;
