//! Private shares: the secret that a ticket carries, what is derived from it, and how it is proven.
//!
//! Nobody sends the secret anywhere. Holders announce their part under an id that is derived from it, which tells a tracker
//! nothing else, and prove to each other that they have it: by a MAC over what TLS exports of their connection and both
//! ids, so that a proof is worth nothing on another connection, to another peer, or sent back.

use std::fmt;

use integrity::{Digest, Key, Mac};

use crate::{ContentId, PeerId};

/// Most proofs in one message.
pub const MAX_PROOFS: usize = 16;

/// What is exported from a connection for proofs.
pub const PROOF_LABEL: &str = "private share";

/// What the id of a private swarm begins with. A tracker lists no such id and finds it by the whole of it alone. 64 bits are
/// enough that no manifest's id begins so by chance.
const MARK: [u8; 8] = *b"private\0";

/// The purposes of what is derived from a secret.
const PROOFS: &str = "p2p-fileshare 2026-11-28 private share: key for proofs";
const SWARM: &str = "p2p-fileshare 2026-11-28 private share: id of the swarm";
const LAN: &str = "p2p-fileshare 2026-11-29 local network: key of a private share";
const OPEN_LAN: &str = "p2p-fileshare 2026-11-29 local network: key of an open content";

/// What holders of a ticket have and nobody else: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; Secret::BYTES]);

impl Secret {
    /// Bytes of a secret.
    pub const BYTES: usize = 16;

    /// The secret of these bytes, which must be random.
    pub fn new(bytes: [u8; Secret::BYTES]) -> Self {
        Secret(bytes)
    }

    /// Its bytes, for the ticket alone.
    pub(crate) fn bytes(&self) -> &[u8; Secret::BYTES] {
        &self.0
    }

    /// What proofs are made with.
    pub fn share_key(&self) -> ShareKey {
        let mut swarm = *Key::derive(SWARM, &self.0).bytes();
        swarm[..MARK.len()].copy_from_slice(&MARK);
        ShareKey {
            proofs: Key::derive(PROOFS, &self.0),
            swarm: ContentId(Digest(swarm)),
            lan: Key::derive(LAN, &self.0),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whose turn a proof is made in. The second one is made only after the first was found right, and is another one, so that
/// a first one that is sent back proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The side that asks: as a rule the one that dialled.
    First,
    /// Who answers.
    Second,
}

/// What is derived from a secret: the key for proofs, the id that trackers see, and the key for local networks.
#[derive(Debug, Clone, Copy)]
pub struct ShareKey {
    proofs: Key,
    swarm: ContentId,
    lan: Key,
}

impl ShareKey {
    /// The id under which holders announce themselves to trackers. It says nothing of the secret or the content.
    pub fn swarm(&self) -> ContentId {
        self.swarm
    }

    /// The key for what holders say to each other on a local network.
    pub fn lan_key(&self) -> Key {
        self.lan
    }

    /// The proof of `prover` to `verifier` over a connection, of which both have exported `exporter` for [`PROOF_LABEL`].
    pub fn proof(&self, turn: Turn, exporter: &[u8; 32], prover: PeerId, verifier: PeerId) -> Mac {
        let turn: &[u8] = match turn {
            Turn::First => b"dialler",
            Turn::Second => b"acceptor",
        };
        self.proofs.mac(&[turn, exporter, &prover.0.0, &verifier.0.0])
    }
}

impl ContentId {
    /// Whether it is the id of a private swarm, which only its holders know.
    pub fn is_private(&self) -> bool {
        self.0.0.starts_with(&MARK)
    }

    /// The key for what those who know an open content say to each other on a local network.
    pub fn lan_key(&self) -> Key {
        Key::derive(OPEN_LAN, &self.0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &[u8]) -> PeerId {
        PeerId::of_public_key(name)
    }

    #[test]
    fn a_swarm_id_is_marked_and_tells_secrets_apart() {
        let swarm = |byte| Secret::new([byte; 16]).share_key().swarm();
        assert!(swarm(1).is_private() && swarm(1) == swarm(1) && swarm(1) != swarm(2));
        assert!(!ContentId(Digest::of(b"a manifest")).is_private());
        assert_eq!(format!("{:?}", Secret::new([1; 16])), "Secret(…)");
    }

    #[test]
    fn a_proof_holds_for_one_turn_connection_direction_and_secret() {
        let (key, a, b) = (Secret::new([1; 16]).share_key(), id(b"a"), id(b"b"));
        let proof = key.proof(Turn::First, &[9; 32], a, b);
        assert!(proof.is(&key.proof(Turn::First, &[9; 32], a, b).bytes()));
        for (what, other) in [
            ("reflected", key.proof(Turn::First, &[9; 32], b, a)),
            ("sent back as an answer", key.proof(Turn::Second, &[9; 32], b, a)),
            ("as an answer of the same", key.proof(Turn::Second, &[9; 32], a, b)),
            ("replayed", key.proof(Turn::First, &[8; 32], a, b)),
            ("relayed", key.proof(Turn::First, &[9; 32], a, id(b"c"))),
            ("of another secret", Secret::new([2; 16]).share_key().proof(Turn::First, &[9; 32], a, b)),
        ] {
            assert!(!proof.is(&other.bytes()), "{what}");
        }
    }
}
