//! How a session with the tracker begins: the connection, which of several trackers it leads to, the hello, and the proof of a private
//! share.
//!
//! What is announced and asked follows the hello at once, which saves a round trip. A tracker that is a sharer's own hears no more than
//! the hello before it has proven that it knows the share.

use std::sync::Arc;
use std::time::Duration;

use protocol::{
    ContentMatch, Mac, PROOF_LABEL, ProvenShare, TrackerEvent, TrackerInstance, TrackerRequest, Turn, VERSION,
    check_name,
};
use tokio::time::timeout;
use transport::frame::{encode, receive_message};
use transport::{Connection, RecvStream, SendStream, TransportError};

use super::Client;
use super::unsaid::Unsaid;
use crate::net::dial::{self, For};
use crate::net::dial_filter::nearest_first;

/// A tracker must say welcome within this time, and name servers where it is.
pub(super) const WELCOME: Duration = Duration::from_secs(5);
/// At most this many messages are sent before the tracker's welcome: it may still refuse us.
const AHEAD: usize = 64;

/// How a tracker answers a hello.
pub(super) enum Greeting {
    Welcome(Session),
    Refused(String),
    /// Another client of this node has this tracker already.
    Taken,
}

pub(super) struct Session {
    pub(super) connection: Arc<dyn Connection>,
    pub(super) send: Box<dyn SendStream>,
    pub(super) recv: Box<dyn RecvStream>,
    /// What is said behind the welcome.
    pub(super) unsaid: Unsaid,
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

impl Client {
    async fn dial(&self) -> Result<Session, TransportError> {
        let addresses = nearest_first(self.tracker.addresses.clone());
        let connection = dial::first(self.around.transport.clone(), self.tracker.id, addresses, For::Tracker).await?;
        let (send, recv) = connection.open().await?;
        Ok(Session { connection, send, recv, unsaid: Unsaid::default() })
    }

    /// A connection; none if another client of this node has this tracker.
    pub(super) async fn reach(&mut self) -> Result<Option<Session>, TransportError> {
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

    pub(super) async fn greet(&mut self, mut session: Session) -> Result<Greeting, TransportError> {
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

pub(super) async fn say(send: &mut dyn SendStream, message: &TrackerRequest) -> Result<(), TransportError> {
    send.send(encode(message)?).await
}

pub(super) async fn hear(recv: &mut dyn RecvStream) -> Result<TrackerEvent, TransportError> {
    receive_message(recv).await
}

/// What a tracker says of contents, without what no manifest could be called: names are only claimed to it.
pub(super) fn named(mut contents: Vec<ContentMatch>) -> Vec<ContentMatch> {
    let wrong = contents.iter_mut().filter(|found| check_name(&found.name).is_err());
    wrong.for_each(|found| found.name = String::new());
    contents
}
