//! What those who know a content share on the local network, and others cannot read: tags and sealed cards.
//!
//! Nothing on the wire stays the same from one packet to the next. A tag is a MAC over the packet's random salt, so those who
//! know the content recognize it, and for others two packets about one content have nothing in common.

use std::fmt;
use std::sync::Arc;

use integrity::Key;
use protocol::{Digest, PeerId};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};

const TAGS: &str = "p2p-fileshare 2026-11-29 local network: key for tags";
const CARDS: &str = "p2p-fileshare 2026-11-29 local network: key for cards";

/// Bytes of a tag, of a card, and of a card that is sealed.
pub(crate) const TAG: usize = 16;
const CARD: usize = 36;
pub(crate) const SEALED: usize = CARD + MAX_TAG_LEN;

/// Bytes of the salt, which is the nonce of what is sealed, too.
pub(crate) const SALT: usize = 12;

/// Random bytes, anew in each packet.
pub(crate) type Salt = [u8; SALT];

/// By what a packet names a content.
pub(crate) type Tag = [u8; TAG];

/// Whether a tag asks or answers: a question that is sent back answers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Question,
    Answer,
}

/// What a holder says of itself, to those who know the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) peer: PeerId,
    /// Where the peer listens.
    pub(crate) port: u16,
    /// Where the tracker in its process listens; 0 if there is none.
    pub(crate) tracker: u16,
}

/// Names one content to those who know it, and to nobody else.
#[derive(Clone)]
pub struct ContentKey {
    tags: Key,
    /// Large, and the same for all who have the key.
    cards: Arc<LessSafeKey>,
}

impl ContentKey {
    /// From the key that follows from a private share's secret, or from an open content's id
    /// ([`protocol::ShareKey::lan_key`], [`protocol::ContentId::lan_key`]).
    pub fn new(key: &Key) -> Self {
        let cards = Key::derive(CARDS, key.bytes());
        let cards = UnboundKey::new(&CHACHA20_POLY1305, cards.bytes()).expect("a key of 32 bytes");
        ContentKey { tags: Key::derive(TAGS, key.bytes()), cards: Arc::new(LessSafeKey::new(cards)) }
    }

    /// What tells keys apart in this process.
    pub(crate) fn id(&self) -> KeyId {
        KeyId(*self.tags.bytes())
    }

    pub(crate) fn tag(&self, used: Use, salt: &Salt) -> Tag {
        let used: &[u8] = match used {
            Use::Question => b"question",
            Use::Answer => b"answer",
        };
        let mut tag = [0; TAG];
        tag.copy_from_slice(&self.tags.mac(&[used, salt]).bytes()[..TAG]);
        tag
    }

    /// Seals a card for the one packet of this salt.
    pub(crate) fn seal(&self, salt: &Salt, card: &Card) -> [u8; SEALED] {
        let mut sealed = [0; SEALED];
        let (text, mac) = sealed.split_at_mut(CARD);
        text[..32].copy_from_slice(&card.peer.0.0);
        text[32..34].copy_from_slice(&card.port.to_be_bytes());
        text[34..].copy_from_slice(&card.tracker.to_be_bytes());
        let made = self.cards.seal_in_place_separate_tag(nonce(salt), Aad::empty(), text).expect("a short text");
        mac.copy_from_slice(made.as_ref());
        sealed
    }

    /// The card, if somebody who knows the content has sealed it for the packet of this salt.
    pub(crate) fn open(&self, salt: &Salt, sealed: &[u8; SEALED]) -> Option<Card> {
        let mut text = *sealed;
        let text = self.cards.open_in_place(nonce(salt), Aad::empty(), &mut text).ok()?;
        let (peer, ports) = text.split_at_checked(32)?;
        let [a, b, c, d] = ports.try_into().ok()?;
        let peer = PeerId(Digest(peer.try_into().ok()?));
        Some(Card { peer, port: u16::from_be_bytes([a, b]), tracker: u16::from_be_bytes([c, d]) })
    }
}

impl PartialEq for ContentKey {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for ContentKey {}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(…)")
    }
}

/// Tells keys apart. It is as secret as the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyId([u8; 32]);

/// Each salt is random, and no key seals twice in one packet.
fn nonce(salt: &Salt) -> Nonce {
    let salt: &[u8; SALT] = salt;
    Nonce::assume_unique_for_key(*salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ContentKey {
        ContentKey::new(&Key::new([byte; 32]))
    }

    #[test]
    fn a_tag_depends_on_key_salt_and_use() {
        let tag = key(1).tag(Use::Answer, &[7; SALT]);
        assert_eq!(tag, key(1).tag(Use::Answer, &[7; SALT]));
        for other in [
            key(2).tag(Use::Answer, &[7; SALT]),
            key(1).tag(Use::Answer, &[8; SALT]),
            key(1).tag(Use::Question, &[7; SALT]),
        ] {
            assert_ne!(tag, other);
        }
    }

    #[test]
    fn a_card_opens_with_its_key_and_salt_alone() {
        let card = Card { peer: PeerId::of_public_key(b"peer"), port: 9000, tracker: 9999 };
        let sealed = key(1).seal(&[7; SALT], &card);
        assert_eq!(key(1).open(&[7; SALT], &sealed), Some(card));
        assert_eq!(key(2).open(&[7; SALT], &sealed), None);
        assert_eq!(key(1).open(&[8; SALT], &sealed), None);
        for byte in 0..SEALED {
            let mut other = sealed;
            other[byte] ^= 1;
            assert_eq!(key(1).open(&[7; SALT], &other), None, "byte {byte}");
        }
        assert!(!sealed.windows(8).any(|window| card.peer.0.0.windows(8).any(|own| own == window)));
    }
}
