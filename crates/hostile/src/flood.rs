//! Floods of messages that are small on the wire and affect many pieces.

use protocol::{ContentId, MAX_IN_FLIGHT, MAX_OFFERS, MAX_RUNS, PeerMessage, PieceRange};

use super::behaviour::parts;
use super::said;

/// A kind of flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Interest in the content, on and off, of a peer that has every other piece.
    Interest,
    /// Haves in which other pieces are on their way each time.
    Coming,
    /// Joins, haves of half the content, and withdraws.
    JoinAndWithdraw,
    /// Offers of everything, and declines of everything.
    Offers,
    /// That pieces will never be asked for, and joins that begin again.
    Skips,
}

impl Flood {
    /// What is said once after the hello, and what is then said again and again.
    pub(super) fn messages(self, content: ContentId, pieces: u32) -> (Vec<u8>, Vec<u8>) {
        let join = |wants| said(&PeerMessage::Join { content, pieces: Some(pieces), wants });
        let have = |runs, in_flight| said(&PeerMessage::Have { content, runs, in_flight });
        let withdraw = said(&PeerMessage::Withdraw { content });
        let half = (pieces / 2).max(1);
        match self {
            Flood::Interest => {
                let every_other: Vec<PieceRange> =
                    (0..pieces).step_by(2).map(|first| PieceRange { first, count: 1 }).collect();
                let haves = every_other.chunks(MAX_RUNS).flat_map(|runs| have(runs.to_vec(), vec![]));
                let before = join(true).into_iter().chain(haves).collect();
                let interest = |interested| said(&PeerMessage::Interest { content, interested });
                (before, [interest(false), interest(true)].concat())
            }
            Flood::Coming => {
                let blocks = parts(pieces, 2 * MAX_IN_FLIGHT as u32);
                let every_other =
                    |from: usize| blocks.iter().skip(from).step_by(2).copied().take(MAX_IN_FLIGHT).collect();
                (join(true), [have(vec![], every_other(0)), have(vec![], every_other(1))].concat())
            }
            Flood::JoinAndWithdraw => {
                let first_half = have(vec![PieceRange { first: 0, count: half }], vec![]);
                (Vec::new(), [join(true), first_half, withdraw].concat())
            }
            Flood::Offers => {
                let everything = parts(pieces, MAX_OFFERS as u32);
                let before = [join(true), have(vec![PieceRange { first: 0, count: pieces }], vec![])].concat();
                let offer = said(&PeerMessage::Offer { content, runs: everything.clone() });
                (before, [offer, said(&PeerMessage::Decline { content, runs: everything })].concat())
            }
            Flood::Skips => {
                let skip = said(&PeerMessage::Skip { content, runs: vec![PieceRange { first: 0, count: half }] });
                (Vec::new(), [join(true), skip, withdraw].concat())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, MAX_FRAME, Wire};

    use super::*;

    const ALL: [Flood; 5] = [Flood::Interest, Flood::Coming, Flood::JoinAndWithdraw, Flood::Offers, Flood::Skips];

    #[test]
    fn floods_are_valid_messages() {
        for pieces in [1, 2, 2048, 262_144] {
            for flood in ALL {
                let (before, cycle) = flood.messages(ContentId(Digest([1; 32])), pieces);
                let mut bytes = &[before, cycle][..].concat()[..];
                while !bytes.is_empty() {
                    let len = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
                    assert!(len <= MAX_FRAME, "{flood:?}");
                    PeerMessage::decode(&bytes[4..4 + len]).unwrap();
                    bytes = &bytes[4 + len..];
                }
            }
        }
    }
}
