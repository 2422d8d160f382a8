//! How far each reader of a content is, and how much is fetched ahead of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use protocol::PieceRange;
use tokio::time::Instant;

use crate::command::{ReaderPlace, Reply};
use crate::read_memory::ReadMemory;

/// What is fetched ahead of a reader: what it reads in this time, within these bounds.
const AHEAD: Duration = Duration::from_secs(8);
const LEAST_AHEAD: u64 = 4 << 20;
const MOST_AHEAD: u64 = 32 << 20;

/// Those who read one content, by their numbers.
pub(super) type Readers = BTreeMap<u64, ReaderState>;

/// How far a reader is.
pub(super) struct ReaderState {
    pub(super) alive: Weak<()>,
    /// The pieces of its file from where it is, and the bytes of the first one before that; found once for each block.
    pub(super) at: Option<(Range<u32>, usize)>,
    pub(super) offset: u64,
    pub(super) end: u64,
    /// Where the block goes that it waits for.
    pub(super) waiting: Option<Reply<Bytes>>,
    /// When it was given a block last, and how large that was.
    pub(super) given: Option<(Instant, u64)>,
    /// Bytes that are fetched ahead of it.
    pub(super) ahead: u64,
    /// Most of them, as it says.
    pub(super) most_ahead: u64,
    /// What its blocks may take, if that is bounded.
    pub(super) memory: Option<ReadMemory>,
    /// What the engine knows of it.
    pub(super) told: Option<PieceRange>,
}

impl ReaderState {
    pub(super) fn new(place: &ReaderPlace) -> Self {
        ReaderState {
            alive: place.alive.clone(),
            at: None,
            offset: place.offset,
            end: place.end,
            waiting: None,
            given: None,
            ahead: LEAST_AHEAD,
            most_ahead: place.most_ahead,
            memory: place.memory.clone(),
            told: None,
        }
    }

    /// It wants the block at this place.
    pub(super) fn asks(&mut self, place: &ReaderPlace, reply: Reply<Bytes>) {
        if let Some((since, bytes)) = self.given.take() {
            let pace = bytes as f64 / since.elapsed().as_secs_f64().max(0.001);
            self.ahead = ((pace * AHEAD.as_secs_f64()) as u64).clamp(LEAST_AHEAD, MOST_AHEAD);
        }
        self.most_ahead = place.most_ahead;
        (self.offset, self.end, self.at, self.waiting) = (place.offset, place.end, None, Some(reply));
    }

    pub(super) fn is_gone(&self) -> bool {
        self.alive.strong_count() == 0
    }
}
