//! What peers say to each other: on the control stream, and a request and its answer on a stream of their own.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{MAX_ADDRESSES, MAX_FRAME, MAX_IN_FLIGHT, MAX_OFFERS, MAX_PEERS, MAX_RECEIVERS, MAX_RUNS, PeerAddress};
use crate::codec::{Wire, bounded};
use crate::private::MAX_PROOFS;
use crate::{ContentId, PeerId, PieceRange};

/// What peers say on the control stream of their connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// First message of both sides.
    Hello {
        /// [`VERSION`](crate::VERSION) of the sender.
        version: u16,
        /// Ports that the sender listens on, as in its announce, so that it can be told to others.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_ADDRESSES>")]
        listeners: Vec<SocketAddr>,
        /// Name of the place that the sender is in, at most [`MAX_SITE`](crate::MAX_SITE) bytes; empty if it did not say.
        /// Peers of one place are near each other.
        site: String,
    },
    /// The sender takes part in this content.
    Join {
        /// The content.
        content: ContentId,
        /// Pieces of the content; nothing while the sender has no manifest.
        pieces: Option<u32>,
        /// Whether it wants the pieces that it lacks.
        wants: bool,
    },
    /// The sender has these pieces now, and will serve them.
    Have {
        /// The content.
        content: ContentId,
        /// New pieces.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_RUNS>")]
        runs: Vec<PieceRange>,
        /// All pieces that are on their way to it at the moment, as far as they fit; replaces what it said before.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_IN_FLIGHT>")]
        in_flight: Vec<PieceRange>,
    },
    /// Whether the sender (still) wants the pieces that it lacks.
    Interest {
        /// The content.
        content: ContentId,
        /// Yes or no.
        interested: bool,
    },
    /// The sender would serve these runs to the receiver next, one after another: each is to be asked for or declined.
    Offer {
        /// The content.
        content: ContentId,
        /// What is offered.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_OFFERS>")]
        runs: Vec<PieceRange>,
    },
    /// The sender will not ask for these pieces that it was offered.
    Decline {
        /// The content.
        content: ContentId,
        /// What is declined.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_OFFERS>")]
        runs: Vec<PieceRange>,
    },
    /// Peers that the sender is connected to.
    Peers {
        /// The content that they take part in.
        content: ContentId,
        /// A few of them.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PEERS>")]
        peers: Vec<PeerAddress>,
    },
    /// The sender takes no part in this content any more; what it said it has is withdrawn.
    Withdraw {
        /// The content.
        content: ContentId,
    },
    /// The sender leaves.
    Bye,
    /// The sender will never ask for these pieces: it wants some files of a folder alone.
    Skip {
        /// The content.
        content: ContentId,
        /// Pieces that are not wanted.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_RUNS>")]
        runs: Vec<PieceRange>,
    },
    /// The sender has the secrets of private shares: a proof for each in its [`Turn::First`](crate::Turn). Said first by who
    /// dialled for one, before any hello; later for more of them.
    Prove {
        /// The proofs.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PROOFS>")]
        proofs: Vec<[u8; 32]>,
    },
    /// Answer to `Prove`: of those proofs that were right the sender's own, in its [`Turn::Second`](crate::Turn).
    Proven {
        /// The proofs.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PROOFS>")]
        proofs: Vec<[u8; 32]>,
    },
}

/// The content that a message is about, if it is about one: shared or mutable, as the message is borrowed.
macro_rules! content_in {
    ($message:expr) => {
        match $message {
            PeerMessage::Join { content, .. }
            | PeerMessage::Have { content, .. }
            | PeerMessage::Interest { content, .. }
            | PeerMessage::Offer { content, .. }
            | PeerMessage::Decline { content, .. }
            | PeerMessage::Peers { content, .. }
            | PeerMessage::Withdraw { content }
            | PeerMessage::Skip { content, .. } => Some(content),
            PeerMessage::Hello { .. } | PeerMessage::Bye | PeerMessage::Prove { .. } | PeerMessage::Proven { .. } => {
                None
            }
        }
    };
}

impl PeerMessage {
    /// The content that it is about.
    pub fn content(&self) -> Option<ContentId> {
        content_in!(self).copied()
    }

    /// The same message about another content, if it is about one.
    pub fn about(mut self, other: ContentId) -> Self {
        if let Some(content) = content_in!(&mut self) {
            *content = other;
        }
        self
    }
}

impl Wire for PeerMessage {
    const MAX_BYTES: usize = MAX_FRAME;
}

/// First frame on a stream of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The manifest of a content.
    Manifest {
        /// The content.
        content: ContentId,
    },
    /// A run of consecutive pieces. Their bytes follow the answer, one piece after another.
    Pieces {
        /// The content.
        content: ContentId,
        /// The pieces.
        run: PieceRange,
    },
    /// How many bytes a second the receiver sends of a content at most. A peer that does not know the question drops its stream,
    /// as with any that it cannot read.
    UpRate {
        /// The content.
        content: ContentId,
    },
    /// The same as `Pieces`, for pieces that somebody waits for: the receiver lets a few such questions wait for their turn though
    /// it has offered something else. A peer that does not know the question drops its stream.
    AwaitedPieces {
        /// The content.
        content: ContentId,
        /// The pieces.
        run: PieceRange,
    },
    /// As much of what the receiver offers first, as the asker does not know yet how the content is cut: up to so many bytes. A peer
    /// that does not know the question drops its stream.
    FirstPieces {
        /// The content.
        content: ContentId,
        /// Most bytes.
        most: u32,
    },
    /// The sender shares this private content with so many receivers at most, and names those that have a place among them: a
    /// [`ReceiverList`] follows. Who takes part sends nobody else any of it. There is no answer. A peer that does not know it drops its
    /// stream.
    Receivers {
        /// The content.
        content: ContentId,
        /// Most receivers.
        most: u32,
        /// The number of this list: an older one that comes late does not count.
        number: u64,
    },
}

impl Wire for Request {
    const MAX_BYTES: usize = 256;
}

/// Who has a place among the receivers of a private share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverList {
    /// Their ids.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_RECEIVERS>")]
    pub receivers: Vec<PeerId>,
}

impl Wire for ReceiverList {
    const MAX_BYTES: usize = MAX_FRAME;
}

/// First frame of the answer; raw bytes follow if it is not a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// So many bytes follow.
    Bytes(u64),
    /// Nothing follows.
    Refused(RefusalReason),
    /// Answer to `UpRate`: the cap, if there is one. Nothing follows.
    UpRate(Option<u64>),
    /// Answer to `FirstPieces`: these, in so many bytes, which follow when it is their turn.
    Pieces {
        /// The pieces.
        run: PieceRange,
        /// Bytes that follow.
        bytes: u64,
    },
}

impl Wire for Answer {
    const MAX_BYTES: usize = 64;
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalReason {
    /// The content, its manifest or a piece of the run is not held.
    NotHeld,
    /// Too many requests of this peer wait already.
    Busy,
    /// The run is empty, too long or lies outside the content.
    Invalid,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, Digest};

    #[test]
    fn messages_come_back_as_they_went() {
        let content = ContentId(Digest([7; 32]));
        let runs = (0..MAX_RUNS as u32).map(|n| PieceRange { first: n * 2, count: 1 }).collect();
        let message = PeerMessage::Have { content, runs, in_flight: vec![] };
        assert_eq!(PeerMessage::decode(&message.encode().unwrap()), Ok(message));
    }

    #[test]
    fn trailing_bytes_and_claimed_counts_are_refused() {
        let mut bytes = PeerMessage::Bye.encode().unwrap();
        bytes.push(0);
        assert_eq!(PeerMessage::decode(&bytes), Err(DecodeError::Trailing(1)));

        // A Have message whose run count claims 2^32 and then ends.
        let content = ContentId(Digest([7; 32]));
        let mut bytes = PeerMessage::Have { content, runs: vec![], in_flight: vec![] }.encode().unwrap();
        bytes.truncate(bytes.len() - 2);
        bytes.extend([252, 255, 255, 255, 255]);
        assert!(matches!(PeerMessage::decode(&bytes), Err(DecodeError::Invalid(_))));
    }

    #[test]
    fn too_many_runs_are_refused() {
        let content = ContentId(Digest([7; 32]));
        let runs = vec![PieceRange { first: 1, count: 1 }; MAX_RUNS + 1];
        let bytes = PeerMessage::Have { content, runs, in_flight: vec![] }.encode().unwrap();
        assert!(matches!(PeerMessage::decode(&bytes), Err(DecodeError::Invalid(_))));
    }
}
