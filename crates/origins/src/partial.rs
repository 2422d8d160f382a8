//! Parts that are being read from an origin: their pieces are given on as they come, and what came of a read that failed is not read
//! again.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::OriginError;

/// Bytes at most that are kept of reads that have failed.
const MOST: u64 = 32 << 20;

/// What has come of a part: right pieces, in order.
#[derive(Clone, Default)]
pub(crate) struct Arriving {
    pieces: Vec<Bytes>,
    len: u64,
    ended: Option<Result<(), OriginError>>,
}

impl Arriving {
    /// Bytes that have come.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// One more piece.
    pub(crate) fn add(&mut self, piece: Bytes) {
        self.len += piece.len() as u64;
        self.pieces.push(piece);
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self, ended: Result<(), OriginError>) {
        self.ended = Some(ended);
    }

    /// Whether it is known how it is with all before `end`.
    pub(crate) fn settles(&self, end: u64) -> bool {
        self.len >= end || self.ended.is_some()
    }

    /// A range of it.
    ///
    /// # Errors
    /// If it has not come.
    pub(crate) fn bytes(&self, range: Range<u64>) -> Result<Bytes, OriginError> {
        if range.end > self.len {
            let lost = || OriginError::unreachable("the origin", "nothing more is to come");
            return Err(self.ended.clone().and_then(Result::err).unwrap_or_else(lost));
        }
        let (mut start, mut parts) = (0, Vec::new());
        for piece in &self.pieces {
            let end = start + piece.len() as u64;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                parts.push(piece.slice((from - start) as usize..(to - start) as usize));
            }
            start = end;
        }
        Ok(match &parts[..] {
            [one] => one.clone(),
            several => several
                .iter()
                .fold(BytesMut::new(), |mut all, part| {
                    all.extend_from_slice(part);
                    all
                })
                .freeze(),
        })
    }
}

/// What came of parts whose reads have failed, the oldest first to go.
pub(crate) struct Partial<At>(VecDeque<(At, Arriving)>);

impl<At> Default for Partial<At> {
    fn default() -> Self {
        Partial(VecDeque::new())
    }
}

impl<At: PartialEq> Partial<At> {
    /// Keeps what came of a part.
    pub(crate) fn keep(&mut self, at: At, arriving: Arriving) {
        if arriving.len == 0 {
            return;
        }
        self.0.push_back((at, arriving));
        while self.0.iter().map(|(_, arriving)| arriving.len).sum::<u64>() > MOST && self.0.len() > 1 {
            self.0.pop_front();
        }
    }

    /// What came of a part, to be gone on with.
    pub(crate) fn take(&mut self, at: At) -> Arriving {
        let found = self.0.iter().position(|(kept, _)| *kept == at);
        found.and_then(|place| self.0.remove(place)).map(|(_, arriving)| arriving).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&'static [u8]]) -> Arriving {
        let mut arriving = Arriving::default();
        pieces.iter().for_each(|piece| arriving.add(Bytes::from_static(piece)));
        arriving
    }

    #[test]
    fn what_has_come_can_be_had_before_the_rest() {
        let mut arriving = of(&[b"abcd", b"efgh"]);
        assert_eq!(arriving.bytes(1..3).unwrap(), "bc");
        assert_eq!(arriving.bytes(2..6).unwrap(), "cdef");
        assert!(arriving.settles(8) && !arriving.settles(9));
        assert!(arriving.bytes(7..9).is_err());
        arriving.end(Err(OriginError::NotFound("there".to_owned())));
        assert!(arriving.settles(9) && matches!(arriving.bytes(7..9), Err(OriginError::NotFound(_))));
    }

    #[test]
    fn a_part_is_gone_on_with_once() {
        let mut partial = Partial::default();
        partial.keep(1, of(&[b"ab"]));
        partial.keep(2, of(&[]));
        assert_eq!((partial.take(1).len(), partial.take(1).len(), partial.take(2).len()), (2, 0, 0));
    }
}
