//! Reaching the sharer of a private share while its tracker is still asked what the share is: both listen on one port.
//!
//! The sharer's id is not known then. A peer that proves the secret, after this side has, may be talked to. Beside the proof nothing is
//! said until it is known which content the secret is of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Digest, PeerId, PeerMessage, ShareKey, Turn};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use transport::frame::{MessageReceiver, send_message};
use transport::{Transport, TransportError};

use crate::net::dial::{self, For};
use crate::net::dial_filter::nearest_first;
use crate::net::gate::{FIRST, Gate};
use crate::net::let_in::{Approached, Control};
use crate::report::Report;

/// It is reached, and proves what it has to, within this time.
const REACH: Duration = Duration::from_secs(8);
/// It is known within this time which content it is of.
const KNOWN: Duration = Duration::from_secs(5);
/// What is said must be taken within this time.
const SEND: Duration = Duration::from_secs(5);

/// What it takes to approach a sharer.
pub(crate) struct Approach {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) key: ShareKey,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl Approach {
    /// Reports it once it has answered, and then that it is time to let it go.
    pub(crate) async fn run(self) {
        match timeout(REACH, self.reach()).await {
            Ok(Ok(approached)) => {
                let _ = self.reports.send(Report::Approached(Box::new(approached))).await;
                sleep(KNOWN).await;
            }
            // Its tracker leads to it all the same.
            Ok(Err(error)) => tracing::debug!(%error, "the sharer was not reached without its tracker"),
            Err(_) => tracing::debug!("the sharer was not reached without its tracker"),
        }
        let _ = self.reports.send(Report::ApproachOver).await;
    }

    async fn reach(&self) -> Result<Approached, TransportError> {
        let addresses = nearest_first(self.addresses.clone());
        let nobody = PeerId(Digest([0; 32]));
        let connection = dial::first(self.transport.clone(), nobody, addresses, For::Anyone).await?;
        let channel = self.gate.channel(&*connection)?;
        let (mut send, recv) = connection.open().await?;
        let proof = self.key.proof(Turn::First, &channel.exporter, channel.me, channel.other).bytes();
        send_message(&mut *send, &PeerMessage::Prove { proofs: vec![proof] }, SEND).await?;
        let mut recv = MessageReceiver::new(recv).with_cap(FIRST);
        let Some(PeerMessage::Proven { proofs }) = recv.recv().await? else {
            connection.close(1, "it proves nothing");
            return Err(TransportError::Handshake("it proves nothing".to_owned()));
        };
        let control = Control { send, recv: recv.with_cap(usize::MAX), first: None };
        Ok(Approached { swarm: self.key.swarm(), connection, control, proofs })
    }
}
