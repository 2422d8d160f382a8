//! A record of what the engines of a run decided: a count for each kind of action, and a digest of all of them in order.
//!
//! Two runs with equal records took the same decisions at the same times. A change that is not meant to change behaviour is
//! held to a record that was made before it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use protocol::{ContentId, PeerMessage, PieceRange, RefusalReason, Wire};
use swarm::Action;

/// The actions of all engines of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionLog {
    /// FNV-1a over the bytes of all actions.
    digest: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl Default for ActionLog {
    fn default() -> Self {
        ActionLog { digest: 0xcbf2_9ce4_8422_2325, counts: BTreeMap::new() }
    }
}

impl ActionLog {
    /// Adds an action of the engine with this number. The reason of a closed connection is a sentence for people, and does
    /// not count.
    pub fn add(&mut self, at: Duration, engine: u32, action: &Action) {
        self.hash(&at.as_nanos().to_le_bytes());
        self.hash(&engine.to_le_bytes());
        let kind = match action {
            Action::Dial { peer } => {
                self.hash(&peer.id.0.0);
                peer.addresses.iter().for_each(|address| self.hash(address.to_string().as_bytes()));
                "dial"
            }
            Action::DialAlso { peer } => {
                self.hash(&peer.id.0.0);
                peer.addresses.iter().for_each(|address| self.hash(address.to_string().as_bytes()));
                "dial also"
            }
            Action::Close { conn, .. } => {
                self.number(*conn);
                "close"
            }
            Action::Send { conn, message } => {
                self.number(*conn);
                self.hash(&message.encode().expect("engines send what has an encoding"));
                message_kind(message)
            }
            Action::FetchManifest { conn, content } => {
                self.number(*conn);
                self.content(*content);
                "fetch-manifest"
            }
            Action::CancelManifest { conn, content } => {
                self.number(*conn);
                self.content(*content);
                "cancel-manifest"
            }
            Action::Fetch { conn, request, content, run, .. } => {
                self.number(*conn);
                self.number(*request);
                self.content(*content);
                self.pieces(*run);
                "fetch"
            }
            Action::FetchFirst { conn, request, content, most } => {
                self.number(*conn);
                self.number(*request);
                self.content(*content);
                self.number(*most);
                "fetch-first"
            }
            Action::TakeFirst { request, content, run } => {
                self.number(*request);
                self.content(*content);
                self.pieces(*run);
                "take-first"
            }
            Action::Choose { serve, run } => {
                self.number(*serve);
                self.pieces(*run);
                "choose"
            }
            Action::FetchFromOrigin { request, content, run } => {
                self.number(*request);
                self.content(*content);
                self.pieces(*run);
                "fetch-from-origin"
            }
            Action::Cancel { request } => {
                self.number(*request);
                "cancel"
            }
            Action::Serve { serve } => {
                self.number(*serve);
                "serve"
            }
            Action::Refuse { serve, reason } => {
                self.number(*serve);
                self.number(match reason {
                    RefusalReason::NotHeld => 0,
                    RefusalReason::Busy => 1,
                    RefusalReason::Invalid => 2,
                });
                "refuse"
            }
            Action::Completed { content } => {
                self.content(*content);
                "completed"
            }
            Action::FindMore { content } => {
                self.content(*content);
                "find-more"
            }
            Action::Lacking { content, runs } => {
                self.content(*content);
                runs.iter().for_each(|&run| self.pieces(run));
                "lacking"
            }
            Action::Banned { peer } => {
                self.hash(&peer.0.0);
                "banned"
            }
        };
        self.hash(kind.as_bytes());
        *self.counts.entry(kind).or_default() += 1;
    }

    fn content(&mut self, content: ContentId) {
        self.hash(&content.0.0);
    }

    fn pieces(&mut self, run: PieceRange) {
        self.hash(&run.first.to_le_bytes());
        self.hash(&run.count.to_le_bytes());
    }

    fn number(&mut self, number: u64) {
        self.hash(&number.to_le_bytes());
    }

    fn hash(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn message_kind(message: &PeerMessage) -> &'static str {
    match message {
        PeerMessage::Hello { .. } => "hello",
        PeerMessage::Join { .. } => "join",
        PeerMessage::Have { .. } => "have",
        PeerMessage::Interest { .. } => "interest",
        PeerMessage::Offer { .. } => "offer",
        PeerMessage::Decline { .. } => "decline",
        PeerMessage::Peers { .. } => "peers",
        PeerMessage::Withdraw { .. } => "withdraw",
        PeerMessage::Bye => "bye",
        PeerMessage::Skip { .. } => "skip",
        PeerMessage::Prove { .. } | PeerMessage::Proven { .. } => "proof",
    }
}

/// The digest, and the counts by kind.
impl fmt::Display for ActionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.digest)?;
        self.counts.iter().try_for_each(|(kind, count)| write!(f, " {kind}={count}"))
    }
}
