//! A peer's connection to its tracker: announced once, told of changes, kept up for as long as the peer lives.
//!
//! When it breaks, it comes back, at times spread so that a thousand peers do not come at once, and announces everything
//! again. Nothing else of the peer waits for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{
    Announce, ContentId, ContentMatch, MAX_FRAME, PeerId, Ticket, ToTracker, TrackerMessage, VERSION, Wire, check_name,
};
use swarm::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use transport::frame::{frame, read_frame};
use transport::{Connection, RecvStream, SendStream, Transport, TransportError};

use crate::PeerError;
use crate::dial_filter::{DialFilter, Source};
use crate::inbox::Input;
use crate::reach;

/// Where a tracker is, and who it must prove to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerAddress {
    /// Addresses to try side by side, likeliest first.
    pub addresses: Vec<SocketAddr>,
    /// Its id: the fingerprint that it prints at start.
    pub id: PeerId,
}

impl From<&Ticket> for TrackerAddress {
    fn from(ticket: &Ticket) -> Self {
        TrackerAddress { addresses: ticket.addresses().to_vec(), id: ticket.tracker() }
    }
}

/// What the driver asks of the client.
pub(crate) enum ToClient {
    Announce(Announce),
    Leave(ContentId),
    Find { query: String, reply: oneshot::Sender<Result<Vec<ContentMatch>, PeerError>> },
    List { before: Option<u64>, reply: oneshot::Sender<Result<Page, PeerError>> },
    Bye { done: oneshot::Sender<()> },
}

impl ToClient {
    /// No tracker hears it: whoever waits for an answer is told so.
    pub(crate) fn unheard(self) {
        match self {
            ToClient::Find { reply, .. } => drop(reply.send(Err(PeerError::NoTracker))),
            ToClient::List { reply, .. } => drop(reply.send(Err(PeerError::NoTracker))),
            ToClient::Announce(_) | ToClient::Leave(_) | ToClient::Bye { .. } => {}
        }
    }
}

/// A page of what a tracker knows, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most [`protocol::MAX_MATCHES`] contents.
    pub contents: Vec<ContentMatch>,
    /// What to ask for the next page; nothing on the last one.
    pub next: Option<u64>,
}

/// Who asked the same.
type Askers<T> = Vec<oneshot::Sender<Result<T, PeerError>>>;

/// What waits for the tracker's answers, by question.
#[derive(Default)]
struct Waiting {
    finds: BTreeMap<String, Askers<Vec<ContentMatch>>>,
    lists: BTreeMap<Option<u64>, Askers<Page>>,
}

impl Waiting {
    /// The tracker is gone: nobody answers.
    fn give_up(&mut self) {
        for waiting in std::mem::take(&mut self.finds).into_values().flatten() {
            let _ = waiting.send(Err(PeerError::NoTracker));
        }
        for waiting in std::mem::take(&mut self.lists).into_values().flatten() {
            let _ = waiting.send(Err(PeerError::NoTracker));
        }
    }
}

/// A tracker must say welcome within this time.
const WELCOME: Duration = Duration::from_secs(5);
/// Announcements that may wait to be sent: more than anyone shares at once.
const QUEUE: usize = 1 << 16;
/// Longest wait between two tries, and the shortest before the first.
const LONGEST: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(200);

/// Starts a client. `first` is told how the first connection went; if it failed the client ends.
pub(crate) fn start(
    transport: Arc<dyn Transport>,
    tracker: TrackerAddress,
    listeners: Vec<SocketAddr>,
    dialled: Arc<DialFilter>,
    inputs: mpsc::Sender<Input>,
    first: oneshot::Sender<Result<(), PeerError>>,
) -> mpsc::Sender<ToClient> {
    let (commands, inbox) = mpsc::channel(QUEUE);
    let client = Client {
        transport,
        tracker,
        listeners,
        dialled,
        inputs,
        announced: BTreeMap::new(),
        waiting: Waiting::default(),
    };
    tokio::spawn(client.run(inbox, first));
    commands
}

struct Client {
    transport: Arc<dyn Transport>,
    tracker: TrackerAddress,
    listeners: Vec<SocketAddr>,
    dialled: Arc<DialFilter>,
    inputs: mpsc::Sender<Input>,
    announced: BTreeMap<ContentId, Announce>,
    waiting: Waiting,
}

/// How a tracker answers a hello.
enum Greeting {
    Welcome(Session),
    Refused(String),
}

struct Session {
    connection: Arc<dyn Connection>,
    send: Box<dyn SendStream>,
    recv: Box<dyn RecvStream>,
}

impl Client {
    async fn run(mut self, mut inbox: mpsc::Receiver<ToClient>, first: oneshot::Sender<Result<(), PeerError>>) {
        let mut session = match self.connect().await {
            Ok(session) => {
                let _ = first.send(Ok(()));
                session
            }
            Err(error) => {
                let _ = first.send(Err(error));
                return;
            }
        };
        loop {
            if self.serve(session, &mut inbox).await {
                return;
            }
            self.waiting.give_up();
            if self.inputs.send(Input::TrackerLost).await.is_err() {
                return;
            }
            session = match self.come_back(&mut inbox).await {
                Some(session) => session,
                None => return,
            };
            if self.inputs.send(Input::TrackerBack).await.is_err() {
                return;
            }
        }
    }

    async fn connect(&self) -> Result<Session, PeerError> {
        // All that were tried: the reason names one of them, which need not be the first.
        let tried: Vec<_> = self.tracker.addresses.iter().map(SocketAddr::to_string).collect();
        let address = tried.join(", ");
        match timeout(WELCOME, self.greet()).await {
            Ok(Ok(Greeting::Welcome(session))) => Ok(session),
            Ok(Ok(Greeting::Refused(reason))) => Err(PeerError::Refused(reason)),
            Ok(Err(error @ TransportError::NotAdmitted(_))) => Err(PeerError::Refused(error.to_string())),
            Ok(Err(TransportError::WrongPeer { addr: address, expected })) => {
                Err(PeerError::WrongTracker { address, expected })
            }
            Ok(Err(reason)) => Err(PeerError::Tracker { address, reason }),
            Err(_) => {
                let silent = || TransportError::Lost("it does not answer".to_owned());
                let reason = self.tracker.addresses.first().copied().map_or_else(silent, TransportError::Unreachable);
                Err(PeerError::Tracker { address, reason })
            }
        }
    }

    async fn greet(&self) -> Result<Greeting, TransportError> {
        let connection = reach::first(self.transport.clone(), self.tracker.id, self.tracker.addresses.clone()).await?;
        let (send, recv) = connection.open().await?;
        let mut session = Session { connection, send, recv };
        let listeners = self.listeners.clone();
        session.say(&ToTracker::Hello { version: VERSION, listeners }).await?;
        match session.hear().await? {
            TrackerMessage::Welcome { .. } => {}
            TrackerMessage::Refused(reason) => return Ok(Greeting::Refused(reason)),
            _ => return Err(TransportError::Handshake("it did not say welcome".to_owned())),
        }
        for announce in self.announced.values() {
            session.say(&ToTracker::Announce(announce.clone())).await?;
        }
        Ok(Greeting::Welcome(session))
    }

    /// Tries again and again, each time after a random wait.
    async fn come_back(&mut self, inbox: &mut mpsc::Receiver<ToClient>) -> Option<Session> {
        for tries in 0.. {
            let wait = sleep(pause(tries, fastrand::f64()));
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
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
                        question @ (ToClient::Find { .. } | ToClient::List { .. }) => question.unheard(),
                    },
                }
            }
            if let Ok(session) = self.connect().await {
                return Some(session);
            }
        }
        None
    }

    /// Runs one session; true if the client is to end.
    async fn serve(&mut self, session: Session, inbox: &mut mpsc::Receiver<ToClient>) -> bool {
        let Session { connection, mut send, mut recv } = session;
        let inputs = self.inputs.clone();
        let (heard, mut messages) = mpsc::channel(64);
        // Reading is not cancelled half way through a frame by what there is to say.
        let reader = tokio::spawn(async move {
            while let Ok(message) = hear(&mut *recv).await {
                if heard.send(message).await.is_err() {
                    break;
                }
            }
        });
        let over = loop {
            tokio::select! {
                command = inbox.recv() => {
                    let message = match command {
                        None => break true,
                        Some(ToClient::Announce(announce)) => {
                            self.announced.insert(announce.content, announce.clone());
                            ToTracker::Announce(announce)
                        }
                        Some(ToClient::Leave(content)) => {
                            self.announced.remove(&content);
                            ToTracker::Leave(content)
                        }
                        Some(ToClient::Find { query, reply }) => {
                            self.waiting.finds.entry(query.clone()).or_default().push(reply);
                            ToTracker::Find(query)
                        }
                        Some(ToClient::List { before, reply }) => {
                            self.waiting.lists.entry(before).or_default().push(reply);
                            ToTracker::List { before }
                        }
                        Some(ToClient::Bye { done }) => {
                            // A silent tracker must not keep us from leaving.
                            let _ = timeout(Duration::from_millis(500), say(&mut *send, &ToTracker::Bye)).await;
                            let _ = send.finish();
                            let _ = done.send(());
                            break true;
                        }
                    };
                    if !matches!(timeout(WELCOME, say(&mut *send, &message)).await, Ok(Ok(()))) {
                        break false;
                    }
                }
                message = messages.recv() => match message {
                    None => break false,
                    Some(TrackerMessage::Peers { content, mut joined, gone }) => {
                        self.dialled.keep(Source::Tracker(connection.remote_addr().ip()), &mut joined);
                        let found = Input::Event(Event::Found { content, peers: joined });
                        let gone = Input::Event(Event::Gone { content, peers: gone });
                        if inputs.send(found).await.is_err() || inputs.send(gone).await.is_err() {
                            break true;
                        }
                    }
                    Some(TrackerMessage::Found { query, matches }) => {
                        let matches = named(matches);
                        for reply in self.waiting.finds.remove(&query).unwrap_or_default() {
                            let _ = reply.send(Ok(matches.clone()));
                        }
                    }
                    Some(TrackerMessage::Listed { before, contents, next }) => {
                        let page = Page { contents: named(contents), next };
                        for reply in self.waiting.lists.remove(&before).unwrap_or_default() {
                            let _ = reply.send(Ok(page.clone()));
                        }
                    }
                    Some(TrackerMessage::Refused(reason)) => tracing::warn!(%reason, "the tracker refuses"),
                    Some(TrackerMessage::Welcome { .. }) => {}
                },
            }
        };
        reader.abort();
        if !over {
            connection.close(0, "lost");
        }
        over
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
    async fn say(&mut self, message: &ToTracker) -> Result<(), TransportError> {
        say(&mut *self.send, message).await
    }

    async fn hear(&mut self) -> Result<TrackerMessage, TransportError> {
        hear(&mut *self.recv).await
    }
}

async fn say(send: &mut dyn SendStream, message: &ToTracker) -> Result<(), TransportError> {
    let bytes = message.encode().map_err(|error| TransportError::Io(error.to_string()))?;
    send.send(frame(&bytes)).await
}

async fn hear(recv: &mut dyn RecvStream) -> Result<TrackerMessage, TransportError> {
    let bytes = read_frame(recv, MAX_FRAME).await?.ok_or(TransportError::Truncated)?;
    TrackerMessage::decode(&bytes).map_err(|error| TransportError::Io(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEERS: usize = 1000;

    /// When each of a thousand peers comes back to a tracker that all lost at 0 and that is there again at `back`.
    fn returns(back: Duration, random: &mut fastrand::Rng) -> Vec<Duration> {
        let mut one = || {
            let mut at = Duration::ZERO;
            for tries in 0.. {
                at += pause(tries, random.f64());
                if at >= back {
                    break;
                }
            }
            at
        };
        (0..PEERS).map(|_| one()).collect()
    }

    /// In no tenth of the time that it takes until all are back do more than three times as many come as on average.
    #[test]
    fn a_thousand_peers_come_back_without_a_stampede() {
        let mut random = fastrand::Rng::with_seed(1);
        for back in [1, 300, 600, 1_000, 2_000, 4_000, 8_000, 15_000, 60_000, 600_000].map(Duration::from_millis) {
            let times = returns(back, &mut random);
            let (first, last) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
            assert!(last - back <= LONGEST, "{back:?}: the last is back after {:?}", last - back);
            let mut tenths = [0; 11];
            for at in times {
                tenths[((at - first).as_secs_f64() / (last - first).as_secs_f64() * 10.0) as usize] += 1;
            }
            let peak = tenths.into_iter().max().unwrap();
            assert!(peak <= 3 * PEERS / 10, "{back:?}: {peak} of {PEERS} come in a tenth of the time");
        }
    }
}
