//! A peer that speaks the protocol and means harm. It joins the tracker, says that it has a content, and then does to
//! whoever comes what its script says, byte for byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use protocol::{
    Announce, Answer, ContentId, MAX_FRAME, PeerId, PeerMessage, Request, Run, Stake, ToTracker, VERSION, Wire,
};
use tokio::runtime::Runtime;
use transport::frame::{frame, read_frame};
use transport::{Config, Connection, Identity, Quic, Stream, Transport, TransportError};

use crate::{PATIENCE, Swarm};

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
    let runs = if pieces == 0 { vec![] } else { vec![Run { first: 0, count: pieces }] };
    [hello(), said(&join), said(&PeerMessage::Have { content, runs, coming: vec![] })].concat()
}

/// An answer with these bytes.
pub fn answer(bytes: &[u8]) -> Vec<u8> {
    [&claim(bytes.len() as u64), bytes].concat()
}

/// The beginning of an answer of so many bytes.
pub fn claim(len: u64) -> Vec<u8> {
    frame(&Answer::Bytes(len).encode().expect("it has an encoding")).to_vec()
}

/// A running one.
pub struct Hostile {
    runtime: Runtime,
    transport: Arc<dyn Transport>,
    ends: Receiver<TransportError>,
    /// Kept, so that the tracker goes on naming it.
    _tracker: Option<Session>,
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
    pub fn seeder(swarm: &Swarm, content: ContentId, name: &str, script: Script) -> Self {
        let mut hostile = Hostile::new();
        let (ended, ends) = channel();
        hostile.ends = ends;
        hostile.runtime.spawn(meet_all(hostile.transport.clone(), Arc::new(script), ended));
        let tracker =
            transport::peer_id_of_certificate_pem(&swarm.certs().join("tracker.pem")).expect("its certificate");
        let (transport, address) = (hostile.transport.clone(), SocketAddr::from(([127, 0, 0, 1], swarm.port)));
        let announce = Announce { content, about: Some((name.to_owned(), 5)), stake: Stake::Seeder };
        let joining = async move {
            let connection = transport.dial(address, tracker).await?;
            let (mut send, mut recv) = connection.open().await?;
            let hello = ToTracker::Hello { version: VERSION, listeners: transport.listeners() };
            for message in [hello, ToTracker::Announce(announce)] {
                send.send(frame(&message.encode().expect("it has an encoding"))).await?;
                read_frame(&mut *recv, MAX_FRAME).await?;
            }
            Ok::<_, TransportError>(Session((connection, (send, recv))))
        };
        hostile._tracker = Some(hostile.runtime.block_on(joining).expect("the tracker takes everyone"));
        hostile
    }

    /// The id that it proves.
    pub fn id(&self) -> PeerId {
        self.transport.peer_id()
    }

    /// Waits until someone has closed a connection to it. Where the goodbye is lost, the next packet is told that there is
    /// no such connection any more.
    pub fn is_shut_out(&self, what: &str) {
        match self.ends.recv_timeout(PATIENCE) {
            Ok(TransportError::ClosedByPeer { .. } | TransportError::Lost(_)) => {}
            Ok(other) => panic!("{what}: {other}"),
            Err(_) => panic!("{what}: nobody closes the connection"),
        }
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

    /// Opens so many streams at once and says nothing on them, for as long as it lives.
    pub fn opens_streams(&self, address: SocketAddr, id: PeerId, count: usize) {
        let transport = self.transport.clone();
        self.runtime.spawn(async move {
            let Ok(connection) = transport.dial(address, id).await else { return };
            let mut streams = Vec::new();
            for _ in 0..count {
                let Ok((mut send, recv)) = connection.open().await else { break };
                let _ = send.send(vec![0xff].into()).await;
                streams.push((send, recv));
            }
            std::future::pending::<()>().await;
        });
    }
}

impl Default for Hostile {
    fn default() -> Self {
        Self::new()
    }
}

async fn meet_all(transport: Arc<dyn Transport>, script: Arc<Script>, ended: Sender<TransportError>) {
    while let Some(connection) = transport.accept().await {
        tokio::spawn(meet(connection, script.clone(), ended.clone()));
    }
}

/// Whoever dials opens the control stream first; each later stream is a question.
async fn meet(connection: Arc<dyn Connection>, script: Arc<Script>, ended: Sender<TransportError>) {
    let Ok((mut send, _recv)) = connection.accept().await else { return };
    let _ = send.send(script.control.clone().into()).await;
    if script.ends {
        let _ = send.finish();
    }
    while let Ok((mut send, mut recv)) = connection.accept().await {
        let Ok(Some(bytes)) = read_frame(&mut *recv, Request::MAX_BYTES).await else { continue };
        let Ok(request) = Request::decode(&bytes) else { continue };
        match (script.answer)(&request) {
            Some(answer) => {
                tokio::spawn(async move {
                    let _ = send.send(answer.into()).await;
                    let _ = send.finish();
                });
            }
            // Silence: the stream stays open.
            None => std::mem::forget((send, recv)),
        }
    }
    let _ = ended.send(connection.closed().await);
}
