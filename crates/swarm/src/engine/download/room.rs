//! How much may be asked of whom: the budget for pieces that are under way, and the parts of it that strangers may have.

use std::time::Duration;

use super::Downloads;
use crate::engine::Engine;
use crate::engine::peers::connection::Connection;
use crate::event::ConnId;

/// Most bytes asked of a peer before its first piece came.
pub(super) const FIRST: u64 = 1 << 20;
/// Peers that have not proven themselves, and slow ones, may owe this part of the budget together: a quarter.
const PROBES: u64 = 4;
/// Proven peers always leave them this part of it.
const LEFT_FOR_PROBES: u64 = 8;
/// Beyond their part each of them may still owe one piece, as long as this part of the budget stays free of them, and of the content as well once
/// somebody has given something. Until then one piece does: the more strangers are tried, the sooner one gives something.
const LEFT_BY_PROBES: u64 = 4;
/// At most this part of a content is asked of them.
const PROBED: u64 = 2;
/// Bytes of memory for each piece of a content: its digest, and our books of it. A million of them take as much as the
/// budget does, and take it from there, but for so many bytes and not all.
const LISTED: u64 = 56;
const UNLISTED: u64 = 8 << 20;
const LEFT: u64 = 8;
/// A peer owes no more than it brings in this time: the rest of the budget is for others.
const HORIZON: Duration = Duration::from_secs(4);
/// The same while somebody reads what comes.
const READING: Duration = Duration::from_millis(250);
const SLOW_HORIZON: Duration = Duration::from_secs(2);
/// A peer this many times slower than the fastest counts among those who have to prove themselves.
const BESIDE: f64 = 16.0;

impl Downloads {
    /// Bytes that may be asked of a peer now, of a content of `total` bytes in pieces of `size`, while pieces under way may
    /// take so much memory.
    fn room(&self, state: &Connection, memory: u64, total: u64, size: u64, horizon: Duration) -> u64 {
        let (download, credit) = (&state.download, &state.download.credit);
        if credit.proven {
            let left = if memory / LEFT_FOR_PROBES < size { 0 } else { memory / LEFT_FOR_PROBES };
            let free = memory.saturating_sub(self.proven + self.probing.max(left));
            if free < size && self.proven + self.probing > 0 {
                return 0;
            }
            let lasting = state.rate.bytes_in(horizon).unwrap_or(u64::MAX);
            let most = (FIRST + credit.earned).min(lasting).max(FIRST).max(2 * size);
            return free.min(most.saturating_sub(download.owed));
        }
        let most = match (credit.verified, credit.strikes) {
            (0, 0) => FIRST,
            (0, _) => size,
            _ => state.rate.bytes_in(SLOW_HORIZON).unwrap_or(size),
        };
        let free = (memory / PROBES).min(total / PROBED).saturating_sub(self.probing);
        let free = free.min(memory.saturating_sub(self.proven + self.probing));
        let room = most.saturating_sub(download.owed).min(free);
        let probing = self.probing + size;
        // Of a small content, a piece for each of many would be all of it.
        let left = if self.proven > 0 || self.fastest > 0.0 { total / LEFT_BY_PROBES } else { size };
        let of_content = total.saturating_sub(left).max(2 * size);
        let beyond = (memory - memory / LEFT_BY_PROBES).min(of_content);
        let piece_fits = probing <= beyond && self.proven + probing <= memory;
        match room {
            _ if download.owed == 0 && piece_fits => room.max(size),
            // Less than a piece is no room, or a whole one would be asked for.
            _ if room < size => 0,
            _ => room,
        }
    }

    /// Bytes that peers who have not proven themselves may owe beyond what they do.
    pub(super) fn free_for_strangers(&self, memory: u64) -> u64 {
        let part = (memory / PROBES).saturating_sub(self.probing);
        part.min(memory.saturating_sub(self.proven + self.probing))
    }

    /// Whether a peer is so much slower than the fastest that it has to prove itself.
    pub(super) fn is_slow(&self, state: &Connection) -> bool {
        state.rate.average().max(state.download.credit.best) * BESIDE < self.fastest
    }
}

impl Engine {
    /// Bytes of memory for pieces that are under way, of contents in pieces of `size`: two of them always fit.
    pub(super) fn memory(&self, size: u64) -> u64 {
        let pieces: u64 = self.contents.values().map(|content| u64::from(content.pieces())).sum();
        let listed = (pieces * LISTED).saturating_sub(UNLISTED);
        let budget = self.config.budget.saturating_sub(listed).max(self.config.budget / LEFT);
        budget.max(2 * size)
    }

    /// Bytes that may be asked of a peer now, of a content of `total` bytes in pieces of `size`.
    pub(super) fn room(&self, state: &Connection, total: u64, size: u64) -> u64 {
        let download = &state.download;
        if download.credit.stalled || self.downloads.rests(download, self.now) || download.refuses(self.now) {
            return 0;
        }
        // What a reader asks for next should not wait for long behind what nobody waits for.
        let horizon = if self.somebody_reads() { READING.max(state.round_trip() * 4) } else { HORIZON };
        self.downloads.room(state, self.memory(size), total, size, horizon)
    }

    /// A verified piece of so many bytes came from a peer.
    pub(super) fn verified(&mut self, conn: ConnId, bytes: u64) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let first = state.download.credit.verified == 0;
        state.download.credit.verify(bytes);
        state.download.refusals = 0;
        state.conduct.messages.earn();
        if first && (!state.rate.measured() || !self.downloads.is_slow(state)) {
            self.downloads.prove(&mut state.download, true);
        }
    }

    /// Whether a peer may be asked for anything now.
    pub(crate) fn may_ask(&self, state: &Connection) -> bool {
        let resting = self.downloads.rests(&state.download, self.now);
        !state.download.credit.stalled && !resting && self.now >= state.download.not_before
    }
}
