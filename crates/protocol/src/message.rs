//! The messages: peer to peer on the control stream, a request and its answer on a stream of their own, and
//! peer to tracker. Each travels as one length-prefixed frame of at most [`MAX_FRAME`] bytes.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::code::{MailboxEvent, MailboxRequest};
use crate::codec::{Wire, bounded};
use crate::instance::TrackerInstance;
use crate::lease::{LeaseEvent, LeaseRequest};
use crate::private::MAX_PROOFS;
use crate::probe::{ProbeEvent, ProbeRequest};
use crate::relay::{Carried, LegKey};
use crate::second_address::AddressToken;
use crate::{ContentId, PeerId, PieceRange};

/// Version of the messages; a peer with another one is refused by name in the handshake's reason.
pub const VERSION: u16 = 1;
/// Code with which a tracker ends the connection of a peer that it sees at another address than before: the peer is to connect
/// again at once, since only a handshake proves where it is.
pub const COME_AGAIN: u32 = 2;
/// Code with which a sharer ends connections when its private share is over; the reason is a sentence for people.
pub const SHARE_OVER: u32 = 3;
/// Code with which a sharer's tracker ends the connection of a peer that proves nothing of what is shared yet, while something
/// is still being hashed.
pub const NOT_YET: u32 = 4;
/// What a sharer's tracker says to a peer whose proofs are of nothing that is shared there now. It may be later: a file that was moved
/// away may come back.
pub const NOT_SHARED_NOW: &str = "this share is private, and this ticket opens nothing that is shared there now";
/// How the reason begins with which a sharer's tracker refuses one receiver more than a private share is for. There may be room in a
/// moment: whoever broke off has its place until its silence is noticed.
pub const FOR_SO_MANY: &str = "this share is for ";
/// Most bytes of a frame on any stream.
pub const MAX_FRAME: usize = 64 * 1024;
/// Most runs in one message; more go into further messages.
pub const MAX_RUNS: usize = 4096;
/// Most runs of pieces on their way in one message.
pub const MAX_IN_FLIGHT: usize = 1024;
/// Most runs in one offer.
pub const MAX_OFFERS: usize = 256;
/// Most bytes of a site's name.
pub const MAX_SITE: usize = 64;
const MAX_PEERS: usize = 64;
const MAX_ADDRESSES: usize = 32;
/// Most peers of a content in one answer about how they stand; more go into further pages.
pub const MAX_WATCHED: usize = 64;
/// Most peers that one says it receives from.
pub const MAX_SOURCES: usize = 4;
/// Seconds for which a peer says how it stands after it was asked to.
pub const REPORT_SECONDS: u64 = 10;
/// Most contents in one answer of a tracker; more of a list go into further pages.
pub const MAX_MATCHES: usize = 64;

/// A peer and where to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAddress {
    /// Who must answer there.
    pub id: PeerId,
    /// Every address of every listener.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_ADDRESSES>")]
    pub addresses: Vec<SocketAddr>,
}

/// What peers say on the control stream of their connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// First message of both sides.
    Hello {
        /// [`VERSION`] of the sender.
        version: u16,
        /// Ports that the sender listens on, as in its announce, so that it can be told to others.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_ADDRESSES>")]
        listeners: Vec<SocketAddr>,
        /// Name of the place that the sender is in, at most [`MAX_SITE`] bytes; empty if it did not say. Peers of one
        /// place are near each other.
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

impl PeerMessage {
    /// The content that it is about.
    pub fn content(&self) -> Option<ContentId> {
        match self {
            PeerMessage::Join { content, .. }
            | PeerMessage::Have { content, .. }
            | PeerMessage::Interest { content, .. }
            | PeerMessage::Offer { content, .. }
            | PeerMessage::Decline { content, .. }
            | PeerMessage::Peers { content, .. }
            | PeerMessage::Withdraw { content }
            | PeerMessage::Skip { content, .. } => Some(*content),
            PeerMessage::Hello { .. } | PeerMessage::Bye | PeerMessage::Prove { .. } | PeerMessage::Proven { .. } => {
                None
            }
        }
    }

    /// The same message about another content, if it is about one.
    pub fn about(mut self, other: ContentId) -> Self {
        match &mut self {
            PeerMessage::Join { content, .. }
            | PeerMessage::Have { content, .. }
            | PeerMessage::Interest { content, .. }
            | PeerMessage::Offer { content, .. }
            | PeerMessage::Decline { content, .. }
            | PeerMessage::Peers { content, .. }
            | PeerMessage::Withdraw { content }
            | PeerMessage::Skip { content, .. } => *content = other,
            PeerMessage::Hello { .. } | PeerMessage::Bye | PeerMessage::Prove { .. } | PeerMessage::Proven { .. } => {}
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
}

impl Wire for Request {
    const MAX_BYTES: usize = 256;
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

/// What a peer holds of a content, as trackers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// All pieces.
    Seeder,
    /// It has some pieces and wants no more.
    Partial,
    /// It wants the pieces that it lacks.
    Downloader,
}

/// A peer takes part in a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The content.
    pub content: ContentId,
    /// Its name and total size in bytes, if the sender has the manifest.
    pub about: Option<(String, u64)>,
    /// What the sender holds.
    pub role: Role,
}

/// The id that stands among those that are gone when a tracker asks how a peer stands: somebody watches the content. Peers of
/// older versions take it for a peer that they never heard of. It is the hash of a text, and no key has it.
pub fn report_mark() -> PeerId {
    PeerId::of_public_key(b"p2p-fileshare/1 say how you stand")
}

/// Whom a peer receives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedSource {
    /// The peer.
    pub peer: PeerId,
    /// Payload bytes a second.
    pub rate: u64,
}

/// How a peer stands with a content, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PeerProgress {
    /// Pieces that are stored, of those that it wants or shares.
    pub have: u32,
    /// All of these.
    pub pieces: u32,
    /// Their bytes.
    pub size: u64,
    /// Payload bytes a second that it receives and sends.
    pub down: u64,
    /// The same, sent.
    pub up: u64,
    /// From whom most of it comes, most first.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_SOURCES>")]
    pub from: Vec<WatchedSource>,
}

/// A peer that takes part in a content that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedPeer {
    /// The peer.
    pub peer: PeerId,
    /// Where the one who watches would reach it, likeliest first; nothing if nowhere.
    pub address: Option<SocketAddr>,
    /// What it holds.
    pub role: Role,
    /// How it stands, if it has said so lately.
    pub progress: Option<PeerProgress>,
}

/// What a peer says to a tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrackerRequest {
    /// First message.
    Hello {
        /// [`VERSION`] of the sender.
        version: u16,
        /// Every address of every listener; the tracker adds those with the address that it sees.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_ADDRESSES>")]
        listeners: Vec<SocketAddr>,
    },
    /// The sender takes part, or its role has changed.
    Announce(Announce),
    /// The sender takes no part in this content any more.
    Leave(ContentId),
    /// Which content has this id, which have an id with this prefix, or else which have this name?
    Find(String),
    /// The sender leaves everything.
    Bye,
    /// What is shared? A page of it, newest first.
    List {
        /// Go on behind the last page, as that one said; nothing for the first.
        before: Option<u64>,
    },
    /// How the sender stands with a content: for [`REPORT_SECONDS`] after [`report_mark`], once a second at most.
    Progress {
        /// The content.
        content: ContentId,
        /// How it stands.
        progress: PeerProgress,
    },
    /// How do those stand who take part in this content? A page of them.
    Watch {
        /// The content.
        content: ContentId,
        /// Go on behind the last page, as that one said; nothing for the first.
        after: Option<u64>,
    },
    /// The sender has the secrets of private shares: a proof for each in its [`Turn::First`](crate::Turn). Said before the
    /// hello to a tracker that is the sharer's own, and to no other.
    Prove {
        /// The proofs.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PROOFS>")]
        proofs: Vec<[u8; 32]>,
    },
    /// Carry a connection to this peer, which takes part in the same content. Said only after [`relay_mark`](crate::relay_mark).
    Relay {
        /// Whom to reach.
        peer: PeerId,
        /// What both take part in.
        content: ContentId,
    },
    /// The sender opens legs when it is told to ([`TrackerEvent::Leg`]). Said once, after [`relay_mark`](crate::relay_mark).
    TakesLegs,
    /// About a mailbox for codes: on a connection of its own, and nothing else on that.
    Mailbox(MailboxRequest),
    /// How is the sender reached? First on a connection of its own, and nothing else on that.
    Probe(ProbeRequest),
    /// Which of several trackers is this? Said before the hello, by peers that know several. An older tracker ends the connection.
    Instance,
    /// Who reads from an origin what nobody has? On a connection of its own, and nothing else on that. An older tracker ends it.
    Lease(LeaseRequest),
    /// The sender would prove that it is reached over the other IP family, too: it asks for a token. Said only after
    /// [`second_address_mark`](crate::second_address_mark).
    SecondAddress,
    /// The sender is reached here, too: first on a connection of its own over the other family, and nothing else on that. It is kept
    /// for as long as a router in front of the sender is to remember it, or else finished once it was answered.
    AlsoAt {
        /// The answer to `SecondAddress`.
        token: AddressToken,
        /// As in `Hello`; the tracker adds those with the address that it sees here.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_ADDRESSES>")]
        listeners: Vec<SocketAddr>,
    },
}

impl Wire for TrackerRequest {
    const MAX_BYTES: usize = MAX_FRAME;
}

/// A content that fits a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentMatch {
    /// The content.
    pub content: ContentId,
    /// Its name; empty if nobody said.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Peers that have all of it.
    pub seeders: u32,
    /// Peers that have some of it or want it.
    pub others: u32,
    /// Those of the others that want more of it.
    pub downloaders: u32,
}

/// What a tracker says to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrackerEvent {
    /// Answer to `Hello`: the address that the tracker sees.
    Welcome {
        /// Where the peer's connection comes from.
        seen: SocketAddr,
    },
    /// Peers of a content: a random sample at first, then changes.
    Peers {
        /// The content.
        content: ContentId,
        /// Peers that take part.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PEERS>")]
        joined: Vec<PeerAddress>,
        /// Peers of which the tracker knows that they are gone.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PEERS>")]
        gone: Vec<PeerId>,
    },
    /// Answer to `Find`. Of a name, in an order in which nobody's contents hide another's, and then the first one first.
    Found {
        /// What was asked.
        query: String,
        /// The contents that fit, at most 64.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_MATCHES>")]
        matches: Vec<ContentMatch>,
    },
    /// The last message is refused, for this reason.
    Refused(String),
    /// Answer to `List`, newest first. What comes or goes between two pages is missed or not, but nothing else is.
    Listed {
        /// What was asked.
        before: Option<u64>,
        /// At most [`MAX_MATCHES`] contents.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_MATCHES>")]
        contents: Vec<ContentMatch>,
        /// What to ask for the next page; nothing on the last one.
        next: Option<u64>,
    },
    /// Answer to `Watch`.
    Watched {
        /// The content.
        content: ContentId,
        /// What was asked.
        after: Option<u64>,
        /// At most [`MAX_WATCHED`] peers.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_WATCHED>")]
        peers: Vec<WatchedPeer>,
        /// What to ask for the next page; nothing on the last one.
        next: Option<u64>,
    },
    /// Answer to `Prove`: the private shares whose secrets were proven.
    Proven {
        /// Each with the tracker's own proof.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PROOFS>")]
        shares: Vec<ProvenShare>,
    },
    /// Answer to `Relay`.
    Relayed {
        /// Who is to be reached.
        peer: PeerId,
        /// How, or a sentence why not.
        answer: Result<Carried, String>,
    },
    /// A peer has opened a leg of a relayed connection to the receiver: it is to open the other one, and to await the peer on it.
    Leg {
        /// Who has opened it.
        from: PeerId,
        /// Where the tracker sees that peer.
        address: SocketAddr,
        /// What the receiver's leg begins with.
        key: LegKey,
    },
    /// About a mailbox for codes.
    Mailbox(MailboxEvent),
    /// About how the receiver is reached.
    Probe(ProbeEvent),
    /// Answer to `Instance`.
    Instance(TrackerInstance),
    /// About leases, on such a connection.
    Lease(LeaseEvent),
    /// Answer to `SecondAddress`: what to show over the other family, within a few seconds and once.
    AddressToken(AddressToken),
    /// Answer to `AlsoAt`: the address that the tracker sees there, and tells others from now on.
    AlsoSeen {
        /// Where that connection comes from.
        seen: SocketAddr,
    },
}

/// What a sharer's own tracker says of a private share, to a peer that has proven to have its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenShare {
    /// The tracker's proof, in its [`Turn::Second`](crate::Turn).
    pub proof: [u8; 32],
    /// The content, its name and size, and who takes part.
    pub found: ContentMatch,
}

impl Wire for TrackerEvent {
    const MAX_BYTES: usize = MAX_FRAME;
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
    fn a_proof_of_a_second_address_has_no_more_listeners_than_a_hello() {
        let also_at = |count: usize| {
            let at = |port| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port));
            let listeners = (1..=count as u16).map(at).collect();
            TrackerRequest::AlsoAt { token: AddressToken([7; 16]), listeners }
        };
        let most = also_at(MAX_ADDRESSES);
        assert_eq!(TrackerRequest::decode(&most.encode().unwrap()), Ok(most));
        let bytes = also_at(MAX_ADDRESSES + 1).encode().unwrap();
        assert!(matches!(TrackerRequest::decode(&bytes), Err(DecodeError::Invalid(_))));
        // A count that nothing stands behind, and a token that is cut.
        let claims = [&[16][..], &[7; 16], &[253, 0, 0, 0, 0, 1, 0, 0, 0]].concat();
        assert!(matches!(TrackerRequest::decode(&claims), Err(DecodeError::Invalid(_))));
        let cut = [&[16][..], &[7; 15]].concat();
        assert!(matches!(TrackerRequest::decode(&cut), Err(DecodeError::Invalid(_))));
    }

    #[test]
    fn too_many_runs_are_refused() {
        let content = ContentId(Digest([7; 32]));
        let runs = vec![PieceRange { first: 1, count: 1 }; MAX_RUNS + 1];
        let bytes = PeerMessage::Have { content, runs, in_flight: vec![] }.encode().unwrap();
        assert!(matches!(PeerMessage::decode(&bytes), Err(DecodeError::Invalid(_))));
    }
}
