//! What is said first on a connection: who is let in, and to which private shares.
//!
//! A peer that dials for private shares proves first that it has their secrets, and says nothing else before the other side has
//! proven the same. The peer that is dialled says nothing at all before that, not even hello, unless it shares something openly.
//! Until then a connection has one of few places, a small frame, and a few seconds; the node does not know of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{ContentId, MAX_PROOFS, PROOF_LABEL, PeerId, PeerMessage};
use swarm::{Channel, Shares};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::frame::{MessageReceiver, send_message};
use transport::{Connection, Handshakes, TransportError};

use crate::net::let_in::{Control, LetIn};
use crate::report::Report;

/// Most bytes of what is said first: a hello or proofs.
pub(super) const FIRST: usize = 2048;
/// Connections that may be at this point at the same time. Where more come, those go from where most are.
const PLACES: usize = 256;
/// What is said must be taken within this time.
const SEND: Duration = Duration::from_secs(5);
/// A dialler hears proofs within this time.
const ANSWER: Duration = Duration::from_secs(5);

/// What a stranger is told.
pub(crate) const PRIVATE: &str = "this share is private: only its ticket opens it";

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
                tracing::info!(%peer, reason, "a dialled peer did not prove the secret of the private share");
                connection.close(1, &reason);
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
        let (mut proven, mut places) = (Vec::new(), Vec::new());
        if !asked.is_empty() {
            let channel = self.channel(&**connection)?;
            let proofs = asked.iter().filter_map(|&content| self.shares.prove(content, &channel)).collect();
            send_message(&mut *send, &PeerMessage::Prove { proofs }, SEND).await?;
            match recv.recv_within(ANSWER).await {
                Ok(Some(PeerMessage::Proven { proofs })) => {
                    let mut over = None;
                    for (content, place) in self.shares.answered(&channel, &asked, &proofs) {
                        match place {
                            Ok(place) => {
                                proven.push(content);
                                places.push(place);
                            }
                            Err(reason) => over = Some(reason),
                        }
                    }
                    if let Some(reason) = over.filter(|_| proven.is_empty() && !open) {
                        return Err(TransportError::Handshake(reason));
                    }
                }
                Ok(_) => return Err(TransportError::Handshake("it proves nothing".to_owned())),
                // Why it does not is said with the connection's end.
                Err(error) => return Err(timeout(SEND, connection.closed()).await.unwrap_or(error)),
            }
            if proven.is_empty() && !open {
                return Err(TransportError::Handshake("it proves nothing".to_owned()));
            }
        } else if !open && !self.strangers.load(Ordering::Relaxed) {
            // The content that it was dialled for has ended. The peer may be a stranger that a tracker has named, so it
            // gets no hello.
            return Err(TransportError::Handshake("it is not needed any more".to_owned()));
        }
        let control = Control { send, recv: recv.with_cap(usize::MAX), first: None };
        Ok(LetIn { connection: connection.clone(), dialled: true, control, proven, places })
    }

    /// Lets in who has dialled, if it may come.
    pub(crate) async fn accepted(self: Arc<Self>, connection: Arc<dyn Connection>, reports: mpsc::Sender<Report>) {
        let Some(mut place) = self.places.begin(connection.remote_addr().ip()) else {
            return connection.close(1, "too many connections from there");
        };
        let heard = tokio::select! {
            heard = place.run(self.hear(&connection)) => heard,
            ended = connection.closed() => Ok(Err(ended)),
        };
        let why = match heard {
            Ok(Ok(let_in)) => return drop(reports.send(Report::LetIn(Box::new(let_in))).await),
            Ok(Err(error)) => reason(&error),
            Err(given_up) => given_up.to_string(),
        };
        tracing::debug!(peer = %connection.peer_id(), reason = %why, "not let in");
        connection.close(1, &why);
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use protocol::{Secret, VERSION};
    use transport::{MemoryNetwork, MemoryTransport, Transport};

    use super::*;

    const CONTENT: ContentId = ContentId(protocol::Digest([7; 32]));

    fn bind(network: &MemoryNetwork, number: u32) -> MemoryTransport {
        let [_, a, b, c] = number.to_be_bytes();
        let address = SocketAddr::from(([10, a, b, c], 9000));
        network.bind(PeerId::of_public_key(&number.to_le_bytes()), vec![address]).unwrap()
    }

    fn gate(of: &MemoryTransport, secret: Option<u8>) -> Arc<Gate> {
        let shares = Arc::<Shares>::default();
        if let Some(secret) = secret {
            shares.add(CONTENT, Secret::new([secret; 16]).share_key());
        }
        Arc::new(Gate::new(of.peer_id(), shares))
    }

    async fn connect(from: &MemoryTransport, to: &MemoryTransport) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
        let (dialled, accepted) = tokio::join!(from.dial(to.listeners()[0], to.peer_id()), to.accept());
        (dialled.unwrap(), accepted.unwrap())
    }

    /// What becomes of a connection for a private share between holders of these secrets.
    async fn meet(dials: Option<u8>, accepts: Option<u8>) -> [Vec<ContentId>; 2] {
        let network = MemoryNetwork::new();
        let (one, two) = (bind(&network, 1), bind(&network, 2));
        let (dialled, accepted) = connect(&one, &two).await;
        let (reports, mut came) = mpsc::channel(4);
        let (other_reports, mut other_came) = mpsc::channel(4);
        tokio::join!(
            gate(&one, dials).dialled(dialled, vec![CONTENT], false, reports),
            gate(&two, accepts).accepted(accepted, other_reports),
        );
        let proven = |report| match report {
            Some(Report::LetIn(let_in)) => let_in.proven,
            _ => Vec::new(),
        };
        [proven(came.recv().await), proven(other_came.recv().await)]
    }

    #[tokio::test]
    async fn both_sides_are_let_in_if_both_have_the_secret() {
        assert_eq!(meet(Some(1), Some(1)).await, [vec![CONTENT], vec![CONTENT]]);
        for (dials, accepts) in [(Some(1), Some(2)), (None, Some(1)), (Some(1), None)] {
            assert_eq!(meet(dials, accepts).await, [vec![], vec![]], "{dials:?} {accepts:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_prove_nothing_are_few_and_soon_gone() {
        let network = MemoryNetwork::new();
        let node = bind(&network, 0);
        let gate = gate(&node, Some(1));
        let (reports, mut came) = mpsc::channel(4);
        let mut strangers = Vec::new();
        for number in 1..3 * PLACES as u32 {
            let stranger = bind(&network, number * 251);
            let (dialled, accepted) = connect(&stranger, &node).await;
            tokio::spawn(gate.clone().accepted(accepted, reports.clone()));
            tokio::task::yield_now().await;
            assert!(gate.places.under_way() <= PLACES);
            strangers.push((stranger, dialled));
        }
        for (_, dialled) in &strangers {
            timeout(ANSWER * 2, dialled.closed()).await.expect("silence has an end");
        }
        assert_eq!(gate.places.under_way(), 0);
        assert!(came.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_stranger_is_let_in_where_something_is_open_and_to_nothing_else() {
        let network = MemoryNetwork::new();
        let (one, two) = (bind(&network, 1), bind(&network, 2));
        let gate = gate(&two, Some(1));
        let hello = PeerMessage::Hello { version: VERSION, listeners: Vec::new(), site: String::new() };
        for (open, says) in
            [(false, hello.clone()), (true, hello), (true, PeerMessage::Prove { proofs: vec![[3; 32]] })]
        {
            gate.strangers.store(open, Ordering::Relaxed);
            let (dialled, accepted) = connect(&one, &two).await;
            let (mut send, _recv) = dialled.open().await.unwrap();
            send_message(&mut *send, &says, SEND).await.unwrap();
            let (reports, mut came) = mpsc::channel(4);
            gate.clone().accepted(accepted, reports).await;
            match came.recv().await {
                Some(Report::LetIn(let_in)) => assert!(open && let_in.proven.is_empty()),
                _ => assert!(!open),
            }
        }
    }
}
