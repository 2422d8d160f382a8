//! A connection that may be talked to, or may be soon, as it is handed to the driver.

use std::sync::Arc;

use protocol::{ContentId, PeerMessage};
use swarm::Place;
use transport::frame::MessageReceiver;
use transport::{Connection, SendStream};

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

/// A peer that may be the sharer of a private share.
pub(crate) struct Approached {
    /// By what trackers know the share.
    pub(crate) swarm: ContentId,
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) control: Control,
    /// What it has said to prove the secret: not looked at yet.
    pub(crate) proofs: Vec<[u8; 32]>,
}
