//! What is said first on a connection: who is let in, and to which private shares.
//!
//! Whoever dials for private shares proves first that it has their secrets, and says nothing else before the other side has
//! proven the same. Whoever is dialled says nothing at all before that, not even hello, unless it shares something openly.
//! Until then a connection has one of few places, a small frame, and a few seconds; the node does not know of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{ContentId, MAX_PROOFS, PROOF_LABEL, PeerId, PeerMessage};
use swarm::{Channel, Place, Shares};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::frame::{MessageReceiver, send_message};
use transport::{Connection, Handshakes, SendStream, TransportError};

use crate::report::Report;

/// Most bytes of what is said first: a hello or proofs.
const FIRST: usize = 2048;
/// Connections that may be at this point at the same time. Where more come, those go from where most are.
const PLACES: usize = 256;
/// What is said must be taken within this time.
const SEND: Duration = Duration::from_secs(5);
/// A dialler hears proofs within this time.
const ANSWER: Duration = Duration::from_secs(5);

/// What a stranger is told.
pub(crate) const PRIVATE: &str = "this share is private: only its ticket opens it";

/// The control stream of a connection that was let in.
pub(crate) struct Control {
    pub(crate) send: Box<dyn SendStream>,
    pub(crate) recv: MessageReceiver<PeerMessage>,
    /// What the other side has said already.
    pub(crate) first: Option<PeerMessage>,
}

/// A connection that may be talked to.
pub(crate) struct LetIn {
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) dialled: bool,
    pub(crate) control: Control,
    /// Private shares that both sides have proven.
    pub(crate) proven: Vec<ContentId>,
    /// The other side's places among the receivers of those.
    pub(crate) places: Vec<Place>,
}

/// The gate of a node.
pub(crate) struct Gate {
    me: PeerId,
    pub(crate) shares: Arc<Shares>,
    /// Whether who proves nothing is talked to: something is shared openly.
    pub(crate) strangers: AtomicBool,
    places: Handshakes,
}

impl Gate {
    pub(crate) fn new(me: PeerId, shares: Arc<Shares>) -> Self {
        Gate { me, shares, strangers: AtomicBool::new(false), places: Handshakes::new(PLACES) }
    }

    /// The two ends of a connection.
    pub(crate) fn channel(&self, connection: &dyn Connection) -> Result<Channel, TransportError> {
        let exporter = connection.exporter(PROOF_LABEL)?;
        Ok(Channel { exporter, me: self.me, other: connection.peer_id() })
    }

    /// Lets in who was dialled for these private shares, and perhaps for open ones too.
    pub(crate) async fn dialled(
        self: Arc<Self>,
        connection: Arc<dyn Connection>,
        asked: Vec<ContentId>,
        open: bool,
        reports: mpsc::Sender<Report>,
    ) {
        let peer = connection.peer_id();
        let report = match timeout(ANSWER * 2, self.knock(&connection, asked, open)).await {
            Ok(Ok(let_in)) => Report::LetIn(Box::new(let_in)),
            failed => {
                let reason = match failed {
                    Ok(Err(error)) => reason(&error),
                    _ => "it does not answer".to_owned(),
                };
                tracing::info!(%peer, reason, "a peer is not of the private share that it was dialled for");
                connection.close(1, "it has not the secret");
                Report::NotLetIn { peer, reason }
            }
        };
        let _ = reports.send(report).await;
    }

    async fn knock(
        &self,
        connection: &Arc<dyn Connection>,
        mut asked: Vec<ContentId>,
        open: bool,
    ) -> Result<LetIn, TransportError> {
        let (mut send, recv) = connection.open().await?;
        let mut recv = MessageReceiver::new(recv).with_cap(FIRST);
        asked.truncate(MAX_PROOFS);
        let mut proven = Vec::new();
        if !asked.is_empty() {
            let channel = self.channel(&**connection)?;
            let proofs = asked.iter().filter_map(|&content| self.shares.prove(content, &channel)).collect();
            send_message(&mut *send, &PeerMessage::Prove { proofs }, SEND).await?;
            match recv.recv_within(ANSWER).await {
                Ok(Some(PeerMessage::Proven { proofs })) => proven = self.shares.answered(&channel, &asked, &proofs),
                Ok(_) => return Err(TransportError::Handshake("it proves nothing".to_owned())),
                // Why it does not is said with the connection's end.
                Err(error) => return Err(timeout(SEND, connection.closed()).await.unwrap_or(error)),
            }
            if proven.is_empty() && !open {
                return Err(TransportError::Handshake("it proves nothing".to_owned()));
            }
        }
        let control = Control { send, recv: recv.with_cap(usize::MAX), first: None };
        Ok(LetIn { connection: connection.clone(), dialled: true, control, proven, places: Vec::new() })
    }

    /// Lets in who has dialled, if it may come.
    pub(crate) async fn accepted(self: Arc<Self>, connection: Arc<dyn Connection>, reports: mpsc::Sender<Report>) {
        let Some(mut place) = self.places.begin(connection.remote_addr().ip()) else {
            return connection.close(1, "too many connections from there");
        };
        let heard = tokio::select! {
            heard = place.run(self.hear(&connection)) => heard,
            _ = connection.closed() => return,
        };
        match heard {
            Ok(Ok(let_in)) => drop(reports.send(Report::LetIn(Box::new(let_in))).await),
            Ok(Err(error)) => connection.close(1, &reason(&error)),
            Err(given_up) => connection.close(1, &given_up.to_string()),
        }
    }

    async fn hear(&self, connection: &Arc<dyn Connection>) -> Result<LetIn, TransportError> {
        let (mut send, recv) = connection.accept().await?;
        let mut recv = MessageReceiver::new(recv).with_cap(FIRST);
        let mut first = recv.recv().await?;
        let strangers = || self.strangers.load(Ordering::Relaxed);
        let refused = |reason: &str| TransportError::Handshake(reason.to_owned());
        let (mut proven, mut places) = (Vec::new(), Vec::new());
        if let Some(PeerMessage::Prove { proofs }) = &first {
            let mut over = None;
            let mut answers = Vec::new();
            for proof in self.shares.check(&self.channel(&**connection)?, proofs) {
                match proof.place {
                    Ok(place) => {
                        answers.push(proof.answer);
                        proven.push(proof.content);
                        places.push(place);
                    }
                    Err(reason) => over = Some(reason),
                }
            }
            if answers.is_empty() && !strangers() {
                return Err(refused(over.as_deref().unwrap_or(PRIVATE)));
            }
            send_message(&mut *send, &PeerMessage::Proven { proofs: answers }, SEND).await?;
            first = None;
        } else if !strangers() {
            return Err(refused(PRIVATE));
        }
        let control = Control { send, recv: recv.with_cap(usize::MAX), first };
        Ok(LetIn { connection: connection.clone(), dialled: false, control, proven, places })
    }
}

/// What the other side is told, or has told.
fn reason(error: &TransportError) -> String {
    match error {
        TransportError::ClosedByPeer { reason, .. } | TransportError::Handshake(reason) => reason.clone(),
        error => error.to_string(),
    }
}
