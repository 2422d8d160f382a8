//! Thousands of peers in one process. To a tracker they look real: each has its own key and connection, over the sockets of one
//! transport, sends the messages of a peer, and reads the answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use protocol::{Announce, ContentId, Digest, PeerId, Role, TrackerEvent, TrackerRequest, VERSION};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tool::interrupt::check_interrupted;
use transport::frame::{encode, receive_message};
use transport::{Config, Connection, Identity, Kind, Quic, SendStream, Tcp, Transport, TransportError};

use crate::lock::lock;

/// Peers that join at once.
const TOGETHER: usize = 64;
/// A peer tries so often, as real ones do for ever.
const TRIES: u32 = 5;
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(500);
/// A peer that is not answered within this time is not served.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who joins, and where.
#[derive(Clone)]
pub struct Crowd(Arc<Shared>);

struct Shared {
    sockets: Sockets,
    tracker: SocketAddr,
    id: PeerId,
    /// Tries that came to nothing.
    failed: AtomicU64,
}

enum Sockets {
    Quic(Quic),
    Tcp(Tcp),
}

/// One peer.
pub struct Member {
    connection: Arc<dyn Connection>,
    send: Box<dyn SendStream>,
    heard: Arc<Heard>,
}

/// What a peer is told.
#[derive(Default)]
struct Heard {
    /// The content of which it waits for an answer.
    awaited: Mutex<Option<(ContentId, oneshot::Sender<usize>)>>,
    messages: AtomicU64,
    ended: AtomicBool,
}

/// The content of this number.
pub fn content(number: u64) -> ContentId {
    ContentId(Digest::of(&number.to_le_bytes()))
}

impl Crowd {
    /// Peers at this address that join the tracker at another.
    pub fn at(kind: Kind, from: IpAddr, tracker: SocketAddr, id: PeerId) -> anyhow::Result<Self> {
        let config = Config::new(Identity::generate()?, vec![SocketAddr::new(from, 0)]);
        let sockets = match kind {
            Kind::Quic => Sockets::Quic(Quic::bind(config)?),
            Kind::Tcp => Sockets::Tcp(Tcp::bind(config)?),
            _ => bail!("either quic or tcp is measured"),
        };
        Ok(Crowd(Arc::new(Shared { sockets, tracker, id, failed: AtomicU64::new(0) })))
    }

    /// Tries to join that came to nothing so far, and were made again.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// So many more, each with a key of its own.
    pub async fn join(&self, identities: Vec<Identity>) -> anyhow::Result<Vec<Member>> {
        let (mut joining, mut members) = (JoinSet::new(), Vec::with_capacity(identities.len()));
        for identity in identities {
            check_interrupted()?;
            let crowd = self.clone();
            joining.spawn(async move { crowd.join_one(identity).await });
            while joining.len() >= TOGETHER {
                members.push(joining.join_next().await.context("someone joins")???);
            }
        }
        while let Some(member) = joining.join_next().await {
            members.push(member??);
        }
        Ok(members)
    }

    async fn join_one(&self, identity: Identity) -> anyhow::Result<Member> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.enter(&identity).await {
                Ok(member) => return Ok(member),
                Err(error) => last = Some(error),
            }
            self.0.failed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(AGAIN).await;
        }
        let last = last.context("there was a try")?;
        bail!("the tracker has not let a peer in that came {TRIES} times: {last}")
    }

    async fn enter(&self, identity: &Identity) -> Result<Member, TransportError> {
        let Shared { sockets, tracker, id, .. } = &*self.0;
        let connection = match sockets {
            Sockets::Quic(quic) => quic.dial_tracker_as(identity, *tracker, *id).await?,
            Sockets::Tcp(tcp) => tcp.dial_tracker_as(identity, *tracker, *id).await?,
        };
        let (mut send, mut recv) = connection.open().await?;
        let listeners = match sockets {
            Sockets::Quic(quic) => quic.listeners(),
            Sockets::Tcp(tcp) => tcp.listeners(),
        };
        send.send(encode(&TrackerRequest::Hello { version: VERSION, listeners })?).await?;
        match receive_message(&mut *recv).await? {
            TrackerEvent::Welcome { .. } => {}
            other => return Err(TransportError::Handshake(format!("it said {other:?}"))),
        }
        let heard = Arc::<Heard>::default();
        let hears = heard.clone();
        drop(connection.spawn(Box::pin(async move {
            while let Ok(event) = receive_message::<TrackerEvent>(&mut *recv).await {
                hears.hear(event);
            }
            hears.ended.store(true, Ordering::Relaxed);
            // Nobody is to wait for an answer any more.
            lock(&hears.awaited).take();
        })));
        Ok(Member { connection, send, heard })
    }
}

impl Heard {
    fn hear(&self, event: TrackerEvent) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        let TrackerEvent::Peers { content, joined, .. } = event else { return };
        let awaited = lock(&self.awaited).take_if(|(awaited, _)| *awaited == content);
        if let Some((_, answered)) = awaited {
            let _ = answered.send(joined.len());
        }
    }
}

impl Member {
    /// Announces a content, and waits for the answer: how many others it names.
    pub async fn announce(&mut self, content: ContentId, role: Role) -> anyhow::Result<usize> {
        let (answered, answer) = oneshot::channel();
        *lock(&self.heard.awaited) = Some((content, answered));
        let message = TrackerRequest::Announce(Announce { content, about: None, role });
        self.send.send(encode(&message)?).await?;
        timeout(PATIENCE, answer).await.context("an announcement is not answered")?.context("the connection has ended")
    }

    /// Whether the tracker has let it go.
    pub fn is_gone(&self) -> bool {
        self.heard.ended.load(Ordering::Relaxed)
    }

    /// Messages that it was told so far.
    pub fn messages(&self) -> u64 {
        self.heard.messages.load(Ordering::Relaxed)
    }

    /// Says goodbye.
    pub fn leave(&self) {
        self.connection.close(0, "done");
    }
}
