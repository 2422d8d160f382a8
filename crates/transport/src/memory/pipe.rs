//! One direction of one stream: a bounded queue of the sender's own buffers.
//!
//! Buffers are queued as they are and cut where the window ends; the only copy is the one into the
//! receiver's buffer, as it is over QUIC.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use super::lock::lock;
use crate::TransportError;

/// Bytes that may wait for the receiver, as over QUIC.
pub(super) const WINDOW: usize = 2 << 20;

/// Shared by one sender and one receiver.
#[derive(Default)]
pub(super) struct Pipe {
    state: Mutex<State>,
    /// Wakes the receiver: bytes, end or reset. A permit is kept, so nothing is missed.
    pub(super) readable: Notify,
    /// Wakes the sender: room or stop.
    pub(super) writable: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    waiting: usize,
    finished: bool,
    reset: Option<u32>,
    stopped: Option<u32>,
}

/// What a receiver found.
pub(super) enum Found {
    Bytes(usize),
    End,
    Reset(u32),
    Nothing,
}

impl Pipe {
    /// Queues as much of `data` as there is room for and leaves the rest in it.
    pub(super) fn push(&self, data: &mut Bytes) -> Result<usize, TransportError> {
        let mut state = lock(&self.state);
        if let Some(code) = state.stopped {
            return Err(TransportError::Reset(code));
        }
        let room = (WINDOW - state.waiting).min(data.len());
        if room > 0 {
            state.waiting += room;
            state.queue.push_back(data.split_to(room));
            self.readable.notify_one();
        }
        Ok(room)
    }

    pub(super) fn finish(&self) {
        lock(&self.state).finished = true;
        self.readable.notify_one();
    }

    /// What was queued is lost, as it may be over QUIC: a reset overtakes.
    pub(super) fn reset(&self, code: u32) {
        let mut state = lock(&self.state);
        state.reset = Some(code);
        state.queue.clear();
        state.waiting = 0;
        self.readable.notify_one();
    }

    pub(super) fn stop(&self, code: u32) {
        let mut state = lock(&self.state);
        state.stopped.get_or_insert(code);
        state.queue.clear();
        state.waiting = 0;
        self.writable.notify_one();
    }

    pub(super) fn pull(&self, buf: &mut [u8]) -> Found {
        let mut state = lock(&self.state);
        if let Some(code) = state.reset {
            return Found::Reset(code);
        }
        let mut filled = 0;
        while filled < buf.len() {
            let Some(front) = state.queue.front_mut() else { break };
            let part = front.len().min(buf.len() - filled);
            front.copy_to_slice(&mut buf[filled..filled + part]);
            filled += part;
            if front.is_empty() {
                state.queue.pop_front();
            }
        }
        if filled > 0 {
            state.waiting -= filled;
            self.writable.notify_one();
            return Found::Bytes(filled);
        }
        if state.finished { Found::End } else { Found::Nothing }
    }
}
