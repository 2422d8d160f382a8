//! Peers that read the first content in order while they download it: how soon they begin, and how long they stall.

use protocol::PieceRange;
use swarm::Event;

use super::{PeerIx, SECOND, SimEvent, World};
use crate::outcome::Reading;
use crate::plan::Reads;
use crate::queue::Time;

/// How far a peer has read.
pub(super) struct Reader {
    /// The piece that it wants next.
    next: u32,
    /// Bytes a second that it takes.
    rate: f64,
    /// Pieces that are fetched ahead.
    ahead: u32,
    /// Since when it could read; nothing before the manifest is there.
    began: Option<Time>,
    /// When it had its first piece.
    first: Option<Time>,
    /// Since when it waits for a piece, and how long it has done so in all, but for the first one.
    waits: Option<Time>,
    stalled: Time,
}

impl Reader {
    pub(super) fn new(reads: &Reads, pieces: u32, normal: f64) -> Self {
        let next = (f64::from(pieces) * reads.from) as u32;
        let (rate, ahead) = (normal * reads.rate, reads.ahead);
        Reader { next, rate, ahead, began: None, first: None, waits: None, stalled: 0 }
    }

    /// What came of it, if it could begin.
    pub(super) fn outcome(&self, now: Time) -> Option<Reading> {
        let seconds = |time: Time| time as f64 / SECOND as f64;
        let stalls = self.stalled + self.waits.filter(|_| self.first.is_some()).map_or(0, |since| now - since);
        let began = self.began?;
        Some(Reading { first: self.first.map(|first| seconds(first - began)), stalled: seconds(stalls) })
    }
}

impl World {
    /// The manifest is there: it reads from now on.
    pub(super) fn begin_reading(&mut self, peer: PeerIx) {
        let now = self.now;
        let Some(reader) = &mut self.peers[peer as usize].reader else { return };
        (reader.began, reader.waits) = (Some(now), Some(now));
        self.tell_window(peer);
        self.read_on(peer);
    }

    /// A piece has come: it may be the one that is waited for.
    pub(super) fn read_on(&mut self, peer: PeerIx) {
        let state = &mut self.peers[peer as usize];
        let Some(reader) = &mut state.reader else { return };
        let Some(since) = reader.waits.filter(|_| state.holdings[0].have.contains(reader.next)) else { return };
        reader.waits = None;
        match reader.first {
            Some(_) => reader.stalled += self.now - since,
            None => reader.first = Some(self.now),
        }
        let bytes = f64::from(self.contents[0].geometry.piece_size());
        let takes = (bytes / reader.rate * SECOND as f64) as Time;
        self.after(takes, SimEvent::Read(peer));
    }

    /// It has taken a piece, and wants the next one.
    pub(super) fn has_read(&mut self, peer: PeerIx) {
        let (now, pieces) = (self.now, self.contents[0].geometry.pieces());
        let Some(reader) = &mut self.peers[peer as usize].reader else { return };
        reader.next += 1;
        reader.waits = (reader.next < pieces).then_some(now);
        self.tell_window(peer);
        self.read_on(peer);
    }

    fn tell_window(&mut self, peer: PeerIx) {
        let (content, pieces) = (self.contents[0].id, self.contents[0].geometry.pieces());
        let Some(reader) = &self.peers[peer as usize].reader else { return };
        let count = (reader.ahead + 1).min(pieces.saturating_sub(reader.next));
        let window = (count > 0).then_some(PieceRange { first: reader.next, count });
        self.tell(peer, Event::Reading { content, reader: 0, window });
    }
}
