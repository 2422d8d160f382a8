//! Reaching a peer through a relay of its trackers, where no address of it answers.

use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, PeerId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use transport::{Connection, Transport, TransportError};

use crate::net::tracker::request::{Passage, ToClient};

/// The tracker answers within this time.
const ANSWER: Duration = Duration::from_secs(5);

/// Who can be asked for a passage.
pub(crate) struct Through {
    /// The trackers that know that this node takes part in it: the peer stands at one of them at least.
    pub(crate) trackers: Vec<mpsc::Sender<ToClient>>,
    /// What this node wants of the peer, as it was announced: of a private content that is given up meanwhile, no tracker is to
    /// learn the id.
    pub(crate) announced: ContentId,
}

impl Through {
    /// A connection through the relay. Nothing if there is no relay.
    pub(crate) async fn connect(
        &self,
        transport: &dyn Transport,
        peer: PeerId,
    ) -> Option<Result<Arc<dyn Connection>, TransportError>> {
        let over = transport.over_relay()?;
        let mut refused = None;
        for tracker in &self.trackers {
            match self.passage(tracker, peer).await {
                Some(Ok(Passage { relay, carried })) => return Some(over.dial_through(relay, carried, peer).await),
                Some(Err(sentence)) => refused = Some(Err(TransportError::NotCarried(sentence))),
                None => {}
            }
        }
        refused
    }

    /// What one tracker says; nothing if it is no relay.
    async fn passage(&self, tracker: &mpsc::Sender<ToClient>, peer: PeerId) -> Option<Result<Passage, String>> {
        let (reply, answer) = oneshot::channel();
        tracker.try_send(ToClient::Relay { peer, content: self.announced, reply }).ok()?;
        match timeout(ANSWER, answer).await {
            Ok(Ok(Ok(passage))) => Some(Ok(passage)),
            Ok(Ok(Err(Some(sentence)))) => Some(Err(sentence)),
            _ => None,
        }
    }
}
