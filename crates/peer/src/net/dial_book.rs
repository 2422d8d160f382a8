//! What became of dialling peers: so that a user who waits for a download can be told which address does not answer.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Mutex;

use protocol::{ContentId, PeerId};
use transport::TransportError;

use crate::lock::lock;

/// Peers, and addresses that were not dialled, that are remembered. The oldest goes first.
const PEERS: usize = 256;
pub(crate) const NOT_DIALLED: usize = 16;
/// Peers that one report names.
const NAMED: usize = 16;

/// A peer that was dialled and has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The peer.
    pub peer: PeerId,
    /// Where it was dialled, likeliest address first.
    pub addresses: Vec<SocketAddr>,
    /// Why the last try failed: the most telling reason of all its addresses. Nothing while the first one is under way.
    pub reason: Option<TransportError>,
    /// Whether a connection to it stood before, or stands and does nothing.
    pub lost: bool,
}

/// A peer that was dialled, and where: see [`crate::Node::dialled`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialledPeer {
    /// The peer.
    pub peer: PeerId,
    /// Where it was dialled, likeliest address first.
    pub addresses: Vec<SocketAddr>,
}

/// What a download waits for at the moment: see [`crate::Node::waiting_for`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitingFor {
    /// The tracker, which is gone: nobody else is known who takes part in it, and only the tracker can name someone.
    Tracker,
    /// Someone who takes part in it. These addresses were named and are not dialled, since the peer that named them is in another
    /// network: [`crate::NodeBuilder::dial_private`].
    Peers {
        /// The addresses.
        not_dialled: Vec<SocketAddr>,
    },
    /// An answer of peers that were heard of, of which none is connected.
    Answers {
        /// Those that were dialled; the others were not yet.
        unanswered: Vec<Unanswered>,
    },
    /// The manifest, from peers that are connected.
    Manifest {
        /// Where they are.
        from: Vec<SocketAddr>,
        /// Bytes of it that have come.
        came: u64,
    },
    /// Pieces, of peers that are connected.
    Pieces {
        /// Where they are.
        from: Vec<SocketAddr>,
        /// Others that were dialled in vain.
        unanswered: Vec<Unanswered>,
    },
    /// The origin, which nobody who takes part in it is beside: its first bytes, or the manifest.
    Origin {
        /// The URL, as it may be shown.
        origin: String,
    },
    /// Nobody else: this machine looks through what is here, or writes.
    Disk,
}

/// What is known of dialling.
#[derive(Default)]
pub(crate) struct DialBook(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By the number of the first try, so that the oldest can go.
    peers: BTreeMap<PeerId, (u64, DialRecord)>,
    next: u64,
    not_dialled: VecDeque<(ContentId, SocketAddr)>,
}

struct DialRecord {
    addresses: Vec<SocketAddr>,
    reason: Option<TransportError>,
    answered: bool,
    /// Whether a connection was lost since it last answered, or is as good as that: no other could be made beside it.
    lost: bool,
}

impl DialBook {
    /// A peer is dialled at these addresses.
    pub(crate) fn begins(&self, peer: PeerId, addresses: &[SocketAddr]) {
        let mut inner = lock(&self.0);
        let number = inner.next;
        inner.next += 1;
        if inner.peers.len() >= PEERS && !inner.peers.contains_key(&peer) {
            let oldest = inner.peers.iter().min_by_key(|(_, (number, _))| *number).map(|(&peer, _)| peer);
            oldest.and_then(|oldest| inner.peers.remove(&oldest));
        }
        let entry = DialRecord { addresses: Vec::new(), reason: None, answered: false, lost: false };
        let (_, entry) = inner.peers.entry(peer).or_insert((number, entry));
        entry.addresses = addresses.to_vec();
    }

    /// None of them answered, for this reason if it is known.
    pub(crate) fn failed(&self, peer: PeerId, reason: Option<TransportError>) {
        let mut inner = lock(&self.0);
        if let Some((_, entry)) = inner.peers.get_mut(&peer) {
            let silent = || entry.addresses.first().copied().map(TransportError::Unreachable);
            let reason = reason.or_else(silent);
            (entry.reason, entry.lost, entry.answered) = (reason, entry.lost || entry.answered, false);
        }
    }

    /// A connection to or from this peer stands.
    pub(crate) fn connected(&self, peer: PeerId) {
        let mut inner = lock(&self.0);
        if let Some((_, entry)) = inner.peers.get_mut(&peer) {
            (entry.reason, entry.answered, entry.lost) = (None, true, false);
        }
    }

    /// The last connection with this peer has ended.
    pub(crate) fn lost(&self, peer: PeerId) {
        let mut inner = lock(&self.0);
        if let Some((_, entry)) = inner.peers.get_mut(&peer) {
            (entry.lost, entry.answered) = (entry.lost || entry.answered, false);
        }
    }

    /// These addresses were named by someone who must not choose what is dialled here.
    pub(crate) fn not_dialled(&self, content: ContentId, addresses: &[SocketAddr]) {
        let mut inner = lock(&self.0);
        for &address in addresses {
            if !inner.not_dialled.contains(&(content, address)) {
                inner.not_dialled.push_back((content, address));
            }
        }
        let surplus = inner.not_dialled.len().saturating_sub(NOT_DIALLED);
        inner.not_dialled.drain(..surplus);
    }

    /// What was named for this content and is not dialled.
    pub(crate) fn left_out(&self, content: ContentId) -> Vec<SocketAddr> {
        let inner = lock(&self.0);
        inner.not_dialled.iter().filter(|(of, _)| *of == content).map(|&(_, address)| address).collect()
    }

    /// Those of these peers that were dialled and have not answered, some of them.
    pub(crate) fn unanswered(&self, peers: &[PeerId]) -> Vec<Unanswered> {
        let inner = lock(&self.0);
        let silent = peers.iter().filter_map(|&peer| {
            let (_, entry) = inner.peers.get(&peer)?;
            let (addresses, reason, lost) = (entry.addresses.clone(), entry.reason.clone(), entry.lost);
            (!entry.answered).then_some(Unanswered { peer, addresses, reason, lost })
        });
        silent.take(NAMED).collect()
    }

    /// Everyone who was dialled, and where.
    pub(crate) fn dialled(&self) -> Vec<DialledPeer> {
        let inner = lock(&self.0);
        let all = inner.peers.iter();
        all.map(|(&peer, (_, entry))| DialledPeer { peer, addresses: entry.addresses.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    const CONTENT: ContentId = ContentId(Digest([1; 32]));

    fn peer(n: u32) -> PeerId {
        PeerId::of_public_key(&n.to_le_bytes())
    }

    #[test]
    fn a_peer_is_unanswered_until_it_is_connected() {
        let (book, at) = (DialBook::default(), SocketAddr::from(([10, 0, 0, 5], 9000)));
        book.begins(peer(1), &[at]);
        book.begins(peer(2), &[at]);
        let entry = |reason| Unanswered { peer: peer(1), addresses: vec![at], reason, lost: false };
        assert_eq!(book.unanswered(&[peer(1)]), [entry(None)]);
        book.failed(peer(1), None);
        assert_eq!(book.unanswered(&[peer(1), peer(3)]), [entry(Some(TransportError::Unreachable(at)))]);
        book.connected(peer(1));
        assert_eq!(book.unanswered(&[peer(1)]), []);
        assert_eq!(book.dialled().len(), 2);
    }

    #[test]
    fn a_peer_whose_connection_is_lost_is_unanswered_again() {
        let (book, at) = (DialBook::default(), SocketAddr::from(([10, 0, 0, 5], 9000)));
        let entry = |reason, lost| Unanswered { peer: peer(1), addresses: vec![at], reason, lost };
        book.begins(peer(1), &[at]);
        book.connected(peer(1));
        book.lost(peer(1));
        assert_eq!(book.unanswered(&[peer(1)]), [entry(None, true)]);
        book.begins(peer(1), &[at]);
        book.failed(peer(1), None);
        let silent = Some(TransportError::Unreachable(at));
        assert_eq!(book.unanswered(&[peer(1)]), [entry(silent, true)]);
        book.connected(peer(1));
        assert_eq!(book.unanswered(&[peer(1)]), []);
    }

    #[test]
    fn addresses_that_are_not_dialled_are_those_of_one_content() {
        let (book, at) = (DialBook::default(), SocketAddr::from(([10, 0, 0, 5], 9000)));
        book.not_dialled(CONTENT, &[at]);
        assert_eq!(book.left_out(CONTENT), [at]);
        assert_eq!(book.left_out(ContentId(Digest([2; 32]))), []);
    }

    #[test]
    fn made_up_peers_and_addresses_do_not_fill_memory() {
        let book = DialBook::default();
        for n in 0..10_000u32 {
            let at = SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 9000));
            book.begins(peer(n), &[at]);
            book.failed(peer(n), None);
            book.not_dialled(CONTENT, &[at]);
        }
        assert_eq!((book.dialled().len(), book.left_out(CONTENT).len()), (PEERS, NOT_DIALLED));
        assert!(!book.unanswered(&[peer(9_999)]).is_empty(), "the newest is known");
    }
}
