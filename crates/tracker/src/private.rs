//! A tracker of private shares: in the sharer's process, and only for peers that have proven to have a ticket.

use std::sync::Arc;

use protocol::{ContentId, NOT_SHARED_NOW, PROOF_LABEL, PeerId};
use swarm::{Channel, Proof, Shares};
use transport::{Connection, TransportError};

/// What a stranger is told.
pub(crate) const REFUSED: &str = "this share is private: only its ticket opens it";
/// What a tracker that has no private shares tells a peer that proves something.
pub(crate) const OPEN: &str =
    "this ticket is of a private share, and what is shared there now is open to everyone: ask for a new ticket";
/// Why a connection ends while something is still being hashed.
pub(crate) const HASHING: &str = "what is shared there is still being hashed";
/// What a holder of a ticket is told of any other content, whether it is there or not.
pub(crate) const UNPROVEN: &str = "nobody takes part in what was not proven";

/// Private shares that a tracker is for, and for nothing else.
#[derive(Debug, Clone)]
pub struct PrivateTracker {
    /// The shares, which the node in this process knows too.
    pub shares: Arc<Shares>,
    /// The tracker's own id.
    pub me: PeerId,
    /// The node in this process, which need not prove anything.
    pub owner: PeerId,
}

impl PrivateTracker {
    /// The shares that a peer has proven, or a sentence if there is none.
    pub(crate) fn check(
        &self,
        connection: &dyn Connection,
        proofs: &[[u8; 32]],
    ) -> Result<Result<Vec<Proof>, String>, TransportError> {
        let exporter = connection.exporter(PROOF_LABEL)?;
        let channel = Channel { exporter, me: self.me, other: connection.peer_id() };
        let (proven, over): (Vec<_>, Vec<_>) =
            self.shares.check(&channel, proofs).into_iter().partition(|proof| proof.place.is_ok());
        let why = over.into_iter().find_map(|proof| proof.place.err());
        Ok(if proven.is_empty() { Err(why.unwrap_or_else(|| NOT_SHARED_NOW.to_owned())) } else { Ok(proven) })
    }
}

/// What a peer may ask for.
pub(crate) enum Permitted {
    /// Everything: this tracker is no private one, or the peer is its owner.
    Everything,
    /// What it has proven.
    Proven(Vec<Proof>),
}

impl Permitted {
    pub(crate) fn is_everything(&self) -> bool {
        matches!(self, Permitted::Everything)
    }

    pub(crate) fn includes(&self, announced: ContentId) -> bool {
        match self {
            Permitted::Everything => true,
            Permitted::Proven(proven) => proven.iter().any(|proof| proof.swarm == announced),
        }
    }
}
