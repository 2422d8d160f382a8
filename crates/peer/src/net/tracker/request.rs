//! What is asked of the tracker's client, and how it answers.

use std::net::SocketAddr;

use protocol::{Announce, Carried, ContentId, ContentMatch, PeerId, PeerProgress, WatchedPeer};
use tokio::sync::oneshot;

use crate::PeerError;

/// That the tracker carries a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passage {
    /// Where its relay is.
    pub(crate) relay: SocketAddr,
    pub(crate) carried: Carried,
}

/// Why there is none: a sentence, or nothing if the tracker is no relay.
pub(crate) type Refusal = Option<String>;

/// What the driver asks of the client.
pub(crate) enum ToClient {
    Announce(Announce),
    Leave(ContentId),
    Find {
        query: String,
        reply: oneshot::Sender<Result<Vec<ContentMatch>, PeerError>>,
    },
    List {
        before: Option<u64>,
        reply: oneshot::Sender<Result<Page, PeerError>>,
    },
    Watch {
        content: ContentId,
        after: Option<u64>,
        reply: oneshot::Sender<Result<WatchedPage, PeerError>>,
    },
    /// How we stand, since somebody watches.
    Progress {
        content: ContentId,
        progress: PeerProgress,
    },
    /// Carry a connection to this peer.
    Relay {
        peer: PeerId,
        content: ContentId,
        reply: oneshot::Sender<Result<Passage, Refusal>>,
    },
    /// There are several now: come again, and ask which one this is. Where it is now is its own place.
    OneOfSeveral,
    Bye {
        done: oneshot::Sender<()>,
    },
}

impl ToClient {
    /// No tracker hears it: a caller that waits for an answer is told so.
    pub(crate) fn unheard(self) {
        match self {
            ToClient::Find { reply, .. } => drop(reply.send(Err(PeerError::NoTracker))),
            ToClient::List { reply, .. } => drop(reply.send(Err(PeerError::NoTracker))),
            ToClient::Watch { reply, .. } => drop(reply.send(Err(PeerError::NoTracker))),
            ToClient::Relay { reply, .. } => drop(reply.send(Err(None))),
            ToClient::Announce(_)
            | ToClient::Leave(_)
            | ToClient::Progress { .. }
            | ToClient::OneOfSeveral
            | ToClient::Bye { .. } => {}
        }
    }
}

/// A page of what a tracker knows, newest first. Of several trackers, one is read after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// At most [`protocol::MAX_MATCHES`] contents.
    pub contents: Vec<ContentMatch>,
    /// What to ask for the next page; nothing on the last one.
    pub next: Option<u64>,
}

/// A page of those who take part in a content that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchedPage {
    /// At most [`protocol::MAX_WATCHED`] peers.
    pub peers: Vec<WatchedPeer>,
    /// What to ask for the next page; nothing on the last one.
    pub next: Option<u64>,
}
