//! The packets of the beacon, byte for byte as docs/protocol.md has them.

use crate::key::{SALT, SEALED, Salt, TAG, Tag};

/// Every packet begins so: the name of the protocol, and its version.
const MARK: [u8; 5] = *b"p2pl\x01";
/// Most contents that one packet asks for or answers for.
pub(crate) const MOST: usize = 16;
/// The longest packet: it fits any network's datagram.
pub(crate) const LONGEST: usize = HEAD + MOST * (TAG + SEALED);
/// All before the tags.
const HEAD: usize = MARK.len() + 1 + 8 + SALT + 1 + 2 + 1;

const QUESTION: u8 = 1;
const ANSWER: u8 = 2;
const OPEN: u8 = 1;
const CODES: u8 = 2;

/// Which trackers in processes of sharers are meant, or there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trackers {
    pub(crate) open: bool,
    pub(crate) codes: bool,
}

impl Trackers {
    pub(crate) fn is_empty(self) -> bool {
        self == Trackers::default()
    }

    /// Whether one of those that are wanted is there.
    pub(crate) fn meets(self, wanted: Trackers) -> bool {
        (self.open && wanted.open) || (self.codes && wanted.codes)
    }

    fn bits(self) -> u8 {
        (u8::from(self.open) * OPEN) | (u8::from(self.codes) * CODES)
    }

    /// Bits of later versions mean nothing here.
    fn of_bits(bits: u8) -> Self {
        Trackers { open: bits & OPEN != 0, codes: bits & CODES != 0 }
    }
}

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Random for each process that sends.
    pub(crate) label: u64,
    pub(crate) salt: Salt,
    /// What is asked for, or offered.
    pub(crate) trackers: Trackers,
    pub(crate) body: Body,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// Who takes part in these?
    Question { tags: Vec<Tag> },
    /// This process takes part in these. The port is of a tracker in it that is for strangers, too.
    Answer { port: u16, records: Vec<Record> },
}

/// That a process takes part in a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) tag: Tag,
    pub(crate) sealed: [u8; SEALED],
}

impl Packet {
    /// The bytes of the packet. No more than [`MOST`] contents may be in it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LONGEST);
        let (kind, port, count) = match &self.body {
            Body::Question { tags } => (QUESTION, 0, tags.len()),
            Body::Answer { port, records } => (ANSWER, *port, records.len()),
        };
        debug_assert!(count <= MOST);
        bytes.extend(MARK);
        bytes.push(kind);
        bytes.extend(self.label.to_be_bytes());
        bytes.extend(self.salt);
        bytes.push(self.trackers.bits());
        bytes.extend(port.to_be_bytes());
        bytes.push(count as u8);
        match &self.body {
            Body::Question { tags } => tags.iter().for_each(|tag| bytes.extend(tag)),
            Body::Answer { records, .. } => records.iter().for_each(|record| {
                bytes.extend(record.tag);
                bytes.extend(record.sealed);
            }),
        }
        bytes
    }

    /// The packet of these bytes; nothing if they are no packet of this version, to the last byte.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Packet> {
        let rest = bytes.strip_prefix(&MARK)?;
        let (&[kind], rest) = rest.split_first_chunk()?;
        let (&label, rest) = rest.split_first_chunk()?;
        let (&salt, rest) = rest.split_first_chunk::<SALT>()?;
        let (&[trackers, a, b, count], rest) = rest.split_first_chunk()?;
        let (port, count) = (u16::from_be_bytes([a, b]), usize::from(count));
        if count > MOST {
            return None;
        }
        let body = match kind {
            QUESTION if rest.len() == count * TAG => {
                let (tags, _) = rest.as_chunks::<TAG>();
                Body::Question { tags: tags.to_vec() }
            }
            ANSWER if rest.len() == count * (TAG + SEALED) => {
                let record = |chunk: &[u8; TAG + SEALED]| {
                    let (mut tag, mut sealed) = ([0; TAG], [0; SEALED]);
                    tag.copy_from_slice(&chunk[..TAG]);
                    sealed.copy_from_slice(&chunk[TAG..]);
                    Record { tag, sealed }
                };
                let (records, _) = rest.as_chunks::<{ TAG + SEALED }>();
                Body::Answer { port, records: records.iter().map(record).collect() }
            }
            _ => return None,
        };
        Some(Packet { label: u64::from_be_bytes(label), salt, trackers: Trackers::of_bits(trackers), body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(count: usize) -> Packet {
        let tags = (0..count).map(|number| [number as u8; TAG]).collect();
        let trackers = Trackers { open: true, codes: false };
        Packet { label: 0x0102_0304_0506_0708, salt: [9; SALT], trackers, body: Body::Question { tags } }
    }

    fn answer(count: usize) -> Packet {
        let records = (0..count).map(|number| Record { tag: [number as u8; TAG], sealed: [0xee; SEALED] }).collect();
        let trackers = Trackers { open: false, codes: true };
        Packet { label: 7, salt: [9; SALT], trackers, body: Body::Answer { port: 9999, records } }
    }

    #[test]
    fn a_packet_comes_through_as_it_was() {
        for count in [0, 1, MOST] {
            for packet in [question(count), answer(count)] {
                let bytes = packet.encode();
                assert!(bytes.len() <= LONGEST && LONGEST <= 1200);
                assert_eq!(Packet::decode(&bytes), Some(packet));
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_documentation() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let head = "7032706c01";
        let asked = format!("{head}01{}{}01000001{}", "0102030405060708", "09".repeat(12), "00".repeat(16));
        assert_eq!(hex(question(1).encode()), asked);
        let answered =
            format!("{head}02{}{}02270f01{}{}", "0000000000000007", "09".repeat(12), "00".repeat(16), "ee".repeat(52));
        assert_eq!(hex(answer(1).encode()), answered);
    }

    #[test]
    fn what_is_cut_longer_or_of_another_version_is_no_packet() {
        for packet in [question(3), answer(3)] {
            let bytes = packet.encode();
            for length in 0..bytes.len() {
                assert_eq!(Packet::decode(&bytes[..length]), None, "{length}");
            }
            assert_eq!(Packet::decode(&[&bytes[..], &[0]].concat()), None);
            for (at, value) in [(0, b'q'), (4, 2), (5, 3), (HEAD - 1, MOST as u8 + 1), (HEAD - 1, 255)] {
                let mut other = bytes.clone();
                other[at] = value;
                assert_eq!(Packet::decode(&other), None, "byte {at}");
            }
        }
    }

    #[test]
    fn random_bytes_are_decoded_or_refused() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..random.usize(..LONGEST + 8)).map(|_| random.u8(..)).collect();
            let whole = bytes.len().min(MARK.len());
            bytes[..whole].copy_from_slice(&MARK[..whole]);
            if bytes.len() > HEAD {
                bytes[5] = random.u8(1..3);
                bytes[HEAD - 1] = random.u8(..20);
            }
            if let Some(packet) = Packet::decode(&bytes) {
                let unused = matches!(packet.body, Body::Question { .. }).then_some([0; 2]);
                let mut expected = bytes.clone();
                expected[26] &= OPEN | CODES;
                unused.into_iter().for_each(|zeros| expected[27..29].copy_from_slice(&zeros));
                assert_eq!(packet.encode(), expected);
            }
        }
    }
}
