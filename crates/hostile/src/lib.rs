//! Hostile peers, for tests and fault injection. A [`Hostile`] speaks the protocol: it joins the tracker, announces a content, and
//! then follows a [`Script`] with each peer that connects, byte for byte. A [`Crowd`] runs many at once, each with a
//! [`Behaviour`] instead of a script.
//!
//! ```no_run
//! use hostile::{Hostile, Script};
//!
//! # fn example(tracker: &peer::TrackerAddress, content: protocol::ContentId) {
//! // It announces all four pieces, and answers every request with garbage.
//! let script = Script::answers(content, 4, |_| Some(hostile::answer(&[7; 1024])));
//! let hostile = Hostile::seeder(tracker, content, "model.bin", script);
//! let after = hostile.is_shut_out("garbage in place of a piece");
//! println!("disconnected after {after:?}");
//! # }
//! ```

mod behaviour;
mod crowd;
mod flood;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use peer::TrackerAddress;
use protocol::{
    Announce, Answer, ContentId, MAX_FRAME, ManifestHeader, PeerId, PeerMessage, PieceRange, Request, Role,
    TrackerRequest, VERSION, Wire,
};
use tokio::runtime::Runtime;
use transport::frame::{frame, read_frame};
use transport::{Config, Connection, Identity, Quic, Stream, Transport, TransportError};

pub use behaviour::{Answers, Behaviour, Says, Takes, Tally, Victim, Wants};
pub use crowd::{Crowd, Hosts, Target};
pub use flood::Flood;

/// After this long nobody will do any more what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is answered to a question, answer and all; nothing for silence.
pub type Answering = Box<dyn Fn(&Request) -> Option<Vec<u8>> + Send + Sync>;

/// What a hostile peer does.
pub struct Script {
    /// What it says on the control stream, frames and all.
    pub control: Vec<u8>,
    /// Whether it ends the control stream after that.
    pub ends: bool,
    /// What it answers.
    pub answer: Answering,
}

impl Script {
    /// Says this on the control stream, and answers nothing.
    pub fn says(control: Vec<u8>) -> Self {
        Script { control, ends: false, answer: Box::new(|_| None) }
    }

    /// Says that it has all pieces of a content, and answers so.
    pub fn answers(
        content: ContentId,
        pieces: u32,
        answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Script { control: has_all(content, pieces), ends: false, answer: Box::new(answer) }
    }
}

/// A message as it travels.
pub fn said(message: &PeerMessage) -> Vec<u8> {
    frame(&message.encode().expect("it has an encoding")).to_vec()
}

/// A good hello.
pub fn hello() -> Vec<u8> {
    said(&PeerMessage::Hello { version: VERSION, listeners: vec![], site: String::new() })
}

/// A hello, and that all pieces of a content are here.
pub fn has_all(content: ContentId, pieces: u32) -> Vec<u8> {
    let join = PeerMessage::Join { content, pieces: Some(pieces), wants: false };
    let runs = if pieces == 0 { vec![] } else { vec![PieceRange { first: 0, count: pieces }] };
    [hello(), said(&join), said(&PeerMessage::Have { content, runs, in_flight: vec![] })].concat()
}

/// An answer with these bytes.
pub fn answer(bytes: &[u8]) -> Vec<u8> {
    [&claim(bytes.len() as u64), bytes].concat()
}

/// The beginning of an answer of so many bytes.
pub fn claim(len: u64) -> Vec<u8> {
    frame(&Answer::Bytes(len).encode().expect("it has an encoding")).to_vec()
}

/// A manifest that nothing has checked: this header, and so many digests of nothing.
pub fn forged(header: &ManifestHeader, digests: usize) -> Vec<u8> {
    let header = header.encode().expect("it has an encoding");
    let len = (header.len() as u32).to_le_bytes();
    [b"P2PM\x01", &len[..], &header, &vec![7; digests * 32]].concat()
}

/// A running one.
pub struct Hostile {
    runtime: Runtime,
    transport: Arc<dyn Transport>,
    ends: Receiver<Ended>,
    /// Kept, so that the tracker goes on naming it.
    _tracker: Option<Session>,
}

/// How a connection to it ended, and how long after it began, or after the last answer on it.
struct Ended {
    reason: TransportError,
    after: Duration,
}

/// A connection to a tracker, with its one stream.
struct Session(#[expect(dead_code, reason = "to drop it is to leave")] (Arc<dyn Connection>, Stream));

impl Hostile {
    /// Someone who knows where everyone is, and does nothing yet. Nobody knows of it.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listeners = vec!["127.0.0.1:0".parse().expect("an address")];
        let identity = Identity::generate().expect("a key");
        let transport = runtime.block_on(async { Quic::bind(Config::new(identity, listeners)).expect("a port") });
        Hostile { runtime, transport: Arc::new(transport), ends: channel().1, _tracker: None }
    }

    /// Joins a swarm as a seeder of a content of this name, and treats all who come by its script.
    pub fn seeder(tracker: &TrackerAddress, content: ContentId, name: &str, script: Script) -> Self {
        let mut hostile = Hostile::new();
        let (ended, ends) = channel();
        hostile.ends = ends;
        hostile.runtime.spawn(meet_all(hostile.transport.clone(), Arc::new(script), ended));
        let listeners = hostile.transport.listeners();
        hostile._tracker =
            Some(hostile.announce(tracker, content, name, listeners).expect("the tracker takes everyone"));
        hostile
    }

    /// Tells the tracker that it seeds a content at an address that is not its own.
    pub fn fake(tracker: &TrackerAddress, content: ContentId, name: &str, address: SocketAddr) -> Self {
        let mut hostile = Hostile::new();
        hostile._tracker =
            Some(hostile.announce(tracker, content, name, vec![address]).expect("the tracker takes everyone"));
        hostile
    }

    /// Says to the tracker that it seeds a content at these addresses.
    fn announce(
        &self,
        tracker: &TrackerAddress,
        content: ContentId,
        name: &str,
        listeners: Vec<SocketAddr>,
    ) -> Result<Session, TransportError> {
        self.runtime.block_on(announce(&*self.transport, tracker, content, name, listeners))
    }

    /// The id that it proves.
    pub fn id(&self) -> PeerId {
        self.transport.peer_id()
    }

    /// Waits until someone has closed a connection to it, and says how long that took: from the last answer on it, or
    /// from its beginning. Where the goodbye is lost, the next packet is told that there is no such connection any more.
    pub fn is_shut_out(&self, what: &str) -> Duration {
        match self.ends.recv_timeout(PATIENCE) {
            Ok(Ended { reason: TransportError::ClosedByPeer { .. } | TransportError::Lost(_), after }) => after,
            Ok(Ended { reason, .. }) => panic!("{what}: {reason}"),
            Err(_) => panic!("{what}: nobody closes the connection"),
        }
    }

    /// The same, without a claim that it happens.
    pub fn is_shut_out_within(&self, most: Duration) -> Option<Duration> {
        self.ends.recv_timeout(most).ok().map(|ended| ended.after)
    }

    /// Dials someone, says this on the control stream, and asks these questions, each on a stream of its own. Gives what
    /// came back for each: its first frame, the end, or an error.
    pub fn asks(
        &self,
        address: SocketAddr,
        id: PeerId,
        control: Vec<u8>,
        questions: &[Vec<u8>],
    ) -> Vec<Result<Option<Vec<u8>>, TransportError>> {
        self.runtime.block_on(async {
            let connection = self.transport.dial(address, id).await.expect("it is there");
            let (mut send, _recv) = connection.open().await.expect("a stream");
            send.send(control.into()).await.expect("it listens");
            let mut answers = Vec::new();
            for question in questions {
                let asked = async {
                    let (mut send, mut recv) = connection.open().await?;
                    send.send(question.clone().into()).await?;
                    send.finish()?;
                    read_frame(&mut *recv, MAX_FRAME).await
                };
                answers.push(tokio::time::timeout(PATIENCE, asked).await.expect("every question has an end"));
            }
            connection.close(0, "done");
            answers
        })
    }

    /// Dials someone, begins the control stream with these bytes, opens so many streams, and says nothing more. The
    /// receiver is told how long that was borne.
    pub fn opens_streams(&self, address: SocketAddr, id: PeerId, control: Vec<u8>, count: usize) -> Receiver<Duration> {
        self.bothers(address, id, control, move |connection| async move {
            let mut streams = Vec::new();
            for _ in 0..count {
                let Ok((mut send, recv)) = connection.open().await else { break };
                let _ = send.send(vec![0xff].into()).await;
                streams.push((send, recv));
            }
            streams
        })
    }

    /// Dials someone, asks for one piece after another, and never reads what comes.
    pub fn never_reads(&self, address: SocketAddr, id: PeerId, content: ContentId, pieces: u32) -> Receiver<Duration> {
        let join = said(&PeerMessage::Join { content, pieces: Some(pieces), wants: true });
        self.bothers(address, id, [hello(), join].concat(), move |connection| async move {
            let mut streams = Vec::new();
            for first in (0..pieces).cycle() {
                let request = Request::Pieces { content, run: PieceRange { first, count: 1 } };
                let Ok((mut send, recv)) = connection.open().await else { break };
                let _ = send.send(frame(&request.encode().expect("it has an encoding"))).await;
                let _ = send.finish();
                streams.push((send, recv));
            }
            streams
        })
    }

    fn bothers<F, K>(
        &self,
        address: SocketAddr,
        id: PeerId,
        control: Vec<u8>,
        how: impl FnOnce(Arc<dyn Connection>) -> F + Send + 'static,
    ) -> Receiver<Duration>
    where
        F: Future<Output = K> + Send,
        K: Send,
    {
        let (ended, ends) = channel();
        let transport = self.transport.clone();
        self.runtime.spawn(async move {
            let Ok(connection) = transport.dial(address, id).await else { return };
            let since = Instant::now();
            let Ok((mut send, _recv)) = connection.open().await else { return };
            let _ = send.send(control.into()).await;
            let lasting = connection.clone();
            let bothering = async move {
                let _kept = how(connection).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = lasting.closed() => {}
                () = bothering => {}
            }
            let _ = ended.send(since.elapsed());
        });
        ends
    }
}

impl Default for Hostile {
    fn default() -> Self {
        Self::new()
    }
}

/// Says to the tracker that a seeder of a content listens at these addresses.
async fn announce(
    transport: &dyn Transport,
    tracker: &TrackerAddress,
    content: ContentId,
    name: &str,
    listeners: Vec<SocketAddr>,
) -> Result<Session, TransportError> {
    let announce = Announce { content, about: Some((name.to_owned(), 5)), role: Role::Seeder };
    let hello = TrackerRequest::Hello { version: VERSION, listeners };
    let connection = transport.dial_tracker(tracker.addresses[0], tracker.id).await?;
    let (mut send, mut recv) = connection.open().await?;
    for message in [hello, TrackerRequest::Announce(announce)] {
        send.send(frame(&message.encode().expect("it has an encoding"))).await?;
        read_frame(&mut *recv, MAX_FRAME).await?;
    }
    Ok(Session((connection, (send, recv))))
}

async fn meet_all(transport: Arc<dyn Transport>, script: Arc<Script>, ended: Sender<Ended>) {
    while let Some(connection) = transport.accept().await {
        tokio::spawn(meet(connection, script.clone(), ended.clone()));
    }
}

/// The dialler opens the control stream first; each later stream is a question.
async fn meet(connection: Arc<dyn Connection>, script: Arc<Script>, ended: Sender<Ended>) {
    let Ok((mut send, _recv)) = connection.accept().await else { return };
    let _ = send.send(script.control.clone().into()).await;
    if script.ends {
        let _ = send.finish();
    }
    let mut since = Instant::now();
    while let Ok((mut send, mut recv)) = connection.accept().await {
        let Ok(Some(bytes)) = read_frame(&mut *recv, Request::MAX_BYTES).await else { continue };
        let Ok(request) = Request::decode(&bytes) else { continue };
        match (script.answer)(&request) {
            Some(answer) => {
                since = Instant::now();
                tokio::spawn(async move {
                    let _ = send.send(answer.into()).await;
                    let _ = send.finish();
                });
            }
            // Silence: the stream stays open.
            None => std::mem::forget((send, recv)),
        }
    }
    let reason = connection.closed().await;
    let _ = ended.send(Ended { reason, after: since.elapsed() });
}
