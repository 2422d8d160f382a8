//! Reaching a peer through the tracker's relay, where no address of it answers.

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
    pub(crate) tracker: mpsc::Sender<ToClient>,
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
        let (reply, answer) = oneshot::channel();
        self.tracker.try_send(ToClient::Relay { peer, content: self.announced, reply }).ok()?;
        let Passage { relay, carried } = match timeout(ANSWER, answer).await {
            Ok(Ok(Ok(passage))) => passage,
            Ok(Ok(Err(Some(sentence)))) => return Some(Err(TransportError::NotCarried(sentence))),
            _ => return None,
        };
        Some(over.dial_through(relay, carried, peer).await)
    }
}
