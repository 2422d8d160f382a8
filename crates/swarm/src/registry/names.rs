//! What members say that their content is called.
//!
//! Only claims: the manifest shows what is true. A name stays for as long as someone who claims it takes part,
//! and a content is found by each of them: a stranger who announces an id first under a name of its own neither keeps
//! others from giving it theirs, nor leaves its own behind.

use std::net::IpAddr;

use protocol::{PeerId, Query, check_name};

/// Most different claims for one content. Where there are more, those of the network with most of them make room.
const MOST: usize = 8;

/// Which claim a member makes. Never used twice in a registry, so that a claim may go while members still have its number.
pub(super) type ClaimId = u32;

/// What a content is called, and by whom it was called so first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The name; safe as a name of a file, and none that reads as an id or a ticket.
    pub name: String,
    /// Bytes of the content.
    pub size: u64,
    /// Who claimed it first.
    pub peer: PeerId,
    /// The network that it came from.
    pub network: IpAddr,
}

/// All claims for one content, in the order in which they were made.
#[derive(Default)]
pub(super) struct Claims {
    made: Vec<Made>,
    next: ClaimId,
}

struct Made {
    id: ClaimId,
    claim: Claim,
    /// Members that make it.
    members: u32,
}

impl Claims {
    /// A member of this network makes a claim. Gives its number, and whether it is a new one; nothing if it is no name, or
    /// there is no room.
    pub(super) fn make(
        &mut self,
        (name, size): (String, u64),
        peer: PeerId,
        network: IpAddr,
    ) -> Option<(ClaimId, bool)> {
        if check_name(&name).is_err() || !Query::is_name(&name) {
            return None;
        }
        if let Some(made) = self.made.iter_mut().find(|made| made.claim.name == name && made.claim.size == size) {
            made.members += 1;
            return Some((made.id, false));
        }
        if self.made.len() >= MOST {
            let of = |network: IpAddr| self.made.iter().filter(|made| made.claim.network == network).count();
            let (most, crowd) = self.made.iter().map(|made| (of(made.claim.network), made.claim.network)).max()?;
            if of(network) + 1 >= most {
                return None;
            }
            let youngest = self.made.iter().rposition(|made| made.claim.network == crowd)?;
            self.made.remove(youngest);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        // Most contents are called the same by all.
        self.made.reserve_exact(1);
        self.made.push(Made { id, claim: Claim { name, size, peer, network }, members: 1 });
        Some((id, true))
    }

    /// A member makes this claim no more.
    pub(super) fn drop(&mut self, id: ClaimId) {
        let Some(at) = self.made.iter().position(|made| made.id == id) else { return };
        self.made[at].members -= 1;
        if self.made[at].members == 0 {
            self.made.remove(at);
        }
    }

    /// The claims, oldest first, with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (ClaimId, &Claim)> {
        self.made.iter().map(|made| (made.id, &made.claim))
    }

    pub(super) fn len(&self) -> usize {
        self.made.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> PeerId {
        PeerId::of_public_key(&n.to_le_bytes())
    }

    fn network(n: u8) -> IpAddr {
        [10, 0, n, 0].into()
    }

    #[test]
    fn claims_of_one_network_make_room_for_those_of_another() {
        let mut claims = Claims::default();
        for n in 0..100 {
            let made = claims.make((format!("evil-{n}"), 5), peer(n), network(1));
            assert_eq!(made.is_some(), (n as usize) < MOST, "claim {n}");
        }
        let (honest, new) = claims.make(("model.bin".to_owned(), 5), peer(200), network(2)).unwrap();
        assert!(new && claims.len() == MOST);
        assert_eq!(claims.make(("model.bin".to_owned(), 5), peer(201), network(3)), Some((honest, false)));
        // Who lost its claim to another still has its number, and gives it back.
        claims.drop(MOST as ClaimId - 1);
        claims.drop(honest);
        assert!(claims.all().any(|(id, _)| id == honest));
        claims.drop(honest);
        assert!(claims.all().all(|(id, _)| id != honest));
    }
}
