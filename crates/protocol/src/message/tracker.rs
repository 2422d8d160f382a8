//! What peers and trackers say to each other: who takes part in what, and questions that a tracker can answer.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::watch::{MAX_WATCHED, PeerProgress, WatchedPeer};
use super::{MAX_ADDRESSES, MAX_FRAME, MAX_MATCHES, MAX_PEERS, PeerAddress, Role};
use crate::code::{MailboxEvent, MailboxRequest};
use crate::codec::{Wire, bounded};
use crate::instance::TrackerInstance;
use crate::lease::{LeaseEvent, LeaseRequest};
use crate::private::MAX_PROOFS;
use crate::probe::{ProbeEvent, ProbeRequest};
use crate::relay::{Carried, LegKey};
use crate::second_address::{AddressToken, MAX_OWN_ADDRESSES};
use crate::{ContentId, PeerId};

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

/// What a peer says to a tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrackerRequest {
    /// First message.
    Hello {
        /// [`VERSION`](crate::VERSION) of the sender.
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
    /// How the sender stands with a content: for [`REPORT_SECONDS`](crate::REPORT_SECONDS) after
    /// [`report_mark`](crate::report_mark), once a second at most.
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
    /// Answer to `SecondAddress`.
    AddressToken {
        /// What to show over the other family, within a few seconds and once.
        token: AddressToken,
        /// Where the tracker may be reached over that family, as far as it knows. At most [`MAX_OWN_ADDRESSES`].
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_OWN_ADDRESSES>")]
        at: Vec<SocketAddr>,
    },
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
    use crate::DecodeError;

    #[test]
    fn a_proof_of_a_second_address_has_no_more_listeners_than_a_hello() {
        let also_at = |count: usize| {
            let at = |port| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port));
            let listeners = (1..=count as u16).map(at).collect();
            TrackerRequest::AlsoAt { token: AddressToken([7; 16]), listeners }
        };
        let given = |count| {
            let at = vec![SocketAddr::from(([192, 0, 2, 1], 9)); count];
            TrackerEvent::AddressToken { token: AddressToken([7; 16]), at }.encode().unwrap()
        };
        assert!(TrackerEvent::decode(&given(MAX_OWN_ADDRESSES)).is_ok());
        assert!(matches!(TrackerEvent::decode(&given(MAX_OWN_ADDRESSES + 1)), Err(DecodeError::Invalid(_))));
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
}
