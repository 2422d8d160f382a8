//! The key exchange: the only file that uses `spake2`, and the cipher for the ticket.
//!
//! What both sides know is bound to the key: the tracker over which they speak, the mailbox, and in the proofs who each side is.
//! So what is recorded, sent back or passed on through another tracker is worth nothing.

use protocol::{Code, Key, Mac, PeerId};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use spake2::{Ed25519Group, Identity, Password, Spake2};

const PROOF: &str = "p2p-fileshare 2026-11-29 code: the getter's proof";
const TICKET: &str = "p2p-fileshare 2026-11-29 code: key for the ticket";

/// Which side one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// It has the ticket.
    Sharer,
    /// It wants it.
    Getter,
}

/// One side of an exchange that has begun.
pub(super) struct Exchange(Spake2<Ed25519Group>);

/// What both sides have if both have the same code, and nobody else.
pub(super) struct SharedKey {
    proof: Mac,
    ticket: Key,
}

impl Exchange {
    /// Begins an exchange over this tracker. The bytes are for the other side.
    pub(super) fn begin(side: Side, code: &Code, tracker: PeerId) -> (Self, Vec<u8>) {
        let name = |side: &[u8]| {
            Identity::new(&[b"p2p-fileshare code: ", side, &tracker.0.0[..], &code.mailbox().to_le_bytes()].concat())
        };
        let (password, sharer, getter) = (Password::new(code.secret()), name(b"sharer "), name(b"getter "));
        let (state, element) = match side {
            Side::Sharer => Spake2::start_a(&password, &sharer, &getter),
            Side::Getter => Spake2::start_b(&password, &sharer, &getter),
        };
        (Exchange(state), element)
    }

    /// The key by what the other side has said; nothing if that is no element.
    pub(super) fn finish(self, element: &[u8], sharer: PeerId, getter: PeerId) -> Option<SharedKey> {
        let secret = self.0.finish(element).ok()?;
        let proof = Key::derive(PROOF, &secret).mac(&[&sharer.0.0, &getter.0.0]);
        Some(SharedKey { proof, ticket: Key::derive(TICKET, &secret) })
    }
}

impl SharedKey {
    /// What the getter proves with that it has the same key.
    pub(super) fn proof(&self) -> Mac {
        self.proof
    }

    /// A ticket that only who has the same key can open. A key seals one: so no two have the same nonce.
    pub(super) fn seal(self, ticket: &str) -> Option<Vec<u8>> {
        let mut sealed = ticket.as_bytes().to_vec();
        let (nonce, about) = (Nonce::assume_unique_for_key([0; 12]), Aad::from(self.proof.bytes()));
        self.cipher()?.seal_in_place_append_tag(nonce, about, &mut sealed).ok()?;
        Some(sealed)
    }

    /// The ticket, if it was sealed with the same key.
    pub(super) fn open(self, mut sealed: Vec<u8>) -> Option<String> {
        let (nonce, about) = (Nonce::assume_unique_for_key([0; 12]), Aad::from(self.proof.bytes()));
        let opened = self.cipher()?.open_in_place(nonce, about, &mut sealed).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, self.ticket.bytes()).ok().map(LessSafeKey::new)
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn id(byte: u8) -> PeerId {
        PeerId(Digest([byte; 32]))
    }

    /// Both keys of an exchange in which each side may think otherwise of these.
    fn keys(codes: [Code; 2], trackers: [u8; 2], sharers: [u8; 2], getters: [u8; 2]) -> [SharedKey; 2] {
        let (sharer, from_sharer) = Exchange::begin(Side::Sharer, &codes[0], id(trackers[0]));
        let (getter, from_getter) = Exchange::begin(Side::Getter, &codes[1], id(trackers[1]));
        [
            sharer.finish(&from_getter, id(sharers[0]), id(getters[0])).unwrap(),
            getter.finish(&from_sharer, id(sharers[1]), id(getters[1])).unwrap(),
        ]
    }

    fn are_equal([one, other]: [SharedKey; 2]) -> bool {
        let proven = one.proof().is(&other.proof().bytes());
        let opened = other.open(one.seal("p2pticket").unwrap());
        assert!(opened.is_none() || opened.as_deref() == Some("p2pticket"));
        assert_eq!(proven, opened.is_some());
        proven
    }

    #[test]
    fn both_have_one_key_if_all_is_the_same_to_both() {
        let code = Code::new(7, [1, 2]);
        assert!(are_equal(keys([code; 2], [1; 2], [2; 2], [3; 2])));
        for (what, other) in [
            ("words", keys([code, Code::new(7, [2, 1])], [1; 2], [2; 2], [3; 2])),
            ("mailboxes", keys([code, Code::new(8, [1, 2])], [1; 2], [2; 2], [3; 2])),
            ("trackers", keys([code; 2], [1, 9], [2; 2], [3; 2])),
            ("sharers", keys([code; 2], [1; 2], [2, 9], [3; 2])),
            ("getters", keys([code; 2], [1; 2], [2; 2], [3, 9])),
        ] {
            assert!(!are_equal(other), "other {what}");
        }
    }

    #[test]
    fn what_is_no_element_or_was_sent_back_makes_no_key() {
        let code = Code::new(7, [1, 2]);
        for side in [Side::Sharer, Side::Getter] {
            let begin = || Exchange::begin(side, &code, id(1));
            let (_, own) = begin();
            for element in [&[][..], &[0; 33], &[255; 33], &own, &own[..32], &[own[0]; 64]] {
                assert!(begin().0.finish(element, id(2), id(3)).is_none(), "{side:?} {element:?}");
            }
        }
    }

    #[test]
    fn a_changed_ticket_is_none() {
        let code = Code::new(7, [1, 2]);
        for at in 0..9 {
            let [sharer, getter] = keys([code; 2], [1; 2], [2; 2], [3; 2]);
            let mut sealed = sharer.seal("p2pticket").unwrap();
            sealed[at] ^= 1;
            assert_eq!(getter.open(sealed), None);
        }
    }
}
