//! Which trackers have named a peer of a content, and where: of several, none talks us out of what another has said.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::{ContentId, PeerAddress, PeerId};

use crate::tracker_status::TrackerNumber;

/// Most peers that are remembered of each tracker: none takes the room of another.
const MOST: usize = 1 << 12;
/// Addresses of a peer that count of each tracker, where several have named it.
const ADDRESSES: usize = 8;

/// What each tracker has said of each peer.
#[derive(Default)]
pub(super) struct Introduced {
    peers: BTreeMap<(ContentId, PeerId), BTreeMap<TrackerNumber, Vec<SocketAddr>>>,
    /// How many each tracker has named of them.
    named: BTreeMap<TrackerNumber, usize>,
}

impl Introduced {
    /// A tracker has named these. They are where it says, and where others have said.
    pub(super) fn joined(&mut self, number: TrackerNumber, content: ContentId, peers: &mut [PeerAddress]) {
        for PeerAddress { id, addresses } in peers {
            let key = (content, *id);
            let is_known = self.peers.get(&key).is_some_and(|by| by.contains_key(&number));
            let named = self.named.entry(number).or_default();
            if !is_known && *named >= MOST {
                continue;
            }
            *named += usize::from(!is_known);
            let by = self.peers.entry(key).or_default();
            by.insert(number, addresses.iter().copied().take(ADDRESSES).collect());
            if by.len() > 1 {
                addresses.truncate(ADDRESSES);
                for others in by.values() {
                    let new: Vec<_> = others.iter().copied().filter(|other| !addresses.contains(other)).collect();
                    addresses.extend(new);
                }
            }
        }
    }

    /// A tracker says that these are gone: keeps those of them that no other tracker has named.
    pub(super) fn gone(&mut self, number: TrackerNumber, content: ContentId, peers: &mut Vec<PeerId>) {
        peers.retain(|&peer| {
            let Some(by) = self.peers.get_mut(&(content, peer)) else { return true };
            if by.remove(&number).is_some() {
                let named = self.named.entry(number).or_default();
                *named = named.saturating_sub(1);
            }
            let is_gone = by.is_empty();
            if is_gone {
                self.peers.remove(&(content, peer));
            }
            is_gone
        });
    }

    /// A tracker is lost, and knows nobody when it is back.
    pub(super) fn forget_tracker(&mut self, number: TrackerNumber) {
        self.named.remove(&number);
        self.peers.retain(|_, by| {
            by.remove(&number);
            !by.is_empty()
        });
    }

    /// This node takes no part in a content any more.
    pub(super) fn forget_content(&mut self, content: ContentId) {
        let named = &mut self.named;
        self.peers.retain(|(of, _), by| {
            let stays = *of != content;
            for number in by.keys().filter(|_| !stays) {
                named.entry(*number).and_modify(|count| *count = count.saturating_sub(1));
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    const CONTENT: ContentId = ContentId(Digest([1; 32]));

    fn peer(number: u8) -> PeerId {
        PeerId::of_public_key(&[number])
    }

    fn join(introduced: &mut Introduced, by: TrackerNumber, number: u8, at: &[u16]) -> Vec<u16> {
        let addresses = at.iter().map(|&port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        let mut peers = [PeerAddress { id: peer(number), addresses }];
        introduced.joined(by, CONTENT, &mut peers);
        peers[0].addresses.iter().map(SocketAddr::port).collect()
    }

    fn is_gone(introduced: &mut Introduced, by: TrackerNumber, content: ContentId, number: u8) -> bool {
        let mut peers = vec![peer(number)];
        introduced.gone(by, content, &mut peers);
        !peers.is_empty()
    }

    #[test]
    fn a_peer_is_gone_when_every_tracker_that_named_it_says_so_or_is_lost() {
        let mut introduced = Introduced::default();
        join(&mut introduced, 1, 1, &[1]);
        join(&mut introduced, 1, 2, &[1]);
        join(&mut introduced, 2, 1, &[1]);
        assert!(!is_gone(&mut introduced, 3, CONTENT, 2), "this tracker has never named it");
        assert!(is_gone(&mut introduced, 2, ContentId(Digest([2; 32])), 2), "nobody has named it for that");
        assert!(!is_gone(&mut introduced, 2, CONTENT, 1));
        assert!(is_gone(&mut introduced, 1, CONTENT, 1));
        join(&mut introduced, 2, 2, &[1]);
        introduced.forget_tracker(1);
        assert!(is_gone(&mut introduced, 2, CONTENT, 2));
        join(&mut introduced, 1, 2, &[1]);
        introduced.forget_content(CONTENT);
        assert!(introduced.peers.is_empty() && introduced.named.values().all(|&count| count == 0));
    }

    #[test]
    fn a_tracker_that_names_very_many_leaves_room_for_what_others_name() {
        let mut introduced = Introduced::default();
        let named = |from: usize| (from..from + MOST).map(|number| PeerId::of_public_key(&number.to_le_bytes()));
        let mut many: Vec<_> = named(1 << 20).map(|id| PeerAddress { id, addresses: Vec::new() }).collect();
        introduced.joined(1, CONTENT, &mut many);
        join(&mut introduced, 2, 1, &[1]);
        assert!(!is_gone(&mut introduced, 1, CONTENT, 1));
        assert!(is_gone(&mut introduced, 2, CONTENT, 1));
    }

    #[test]
    fn no_tracker_hides_a_peer_by_false_addresses() {
        let mut introduced = Introduced::default();
        assert_eq!(join(&mut introduced, 1, 1, &[7, 8]), [7, 8]);
        assert_eq!(join(&mut introduced, 1, 1, &[9]), [9], "it has moved");
        let many: Vec<_> = (100..132).collect();
        let both = join(&mut introduced, 2, 1, &many);
        assert_eq!((both.len(), both.last()), (ADDRESSES + 1, Some(&9)));
        assert_eq!(join(&mut introduced, 1, 1, &[10])[0], 10, "who says it says it first");
    }
}
