//! One direction of one stream: a bounded queue of the sender's own buffers.
//!
//! Buffers are queued as they are and cut where the window ends; the only copy is the one into the
//! receiver's buffer, as it is over QUIC. Between processes memory is one end of it, and a socket the other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use crate::TransportError;

/// Most buffers that wait, however short: each takes some memory besides what is in it.
const BUFFERS: usize = 1024;

/// Shared by one sender and one receiver.
pub(crate) struct Pipe {
    /// Bytes that may wait for the receiver.
    window: usize,
    state: Mutex<State>,
    /// Wakes the receiver: bytes, end or reset. A permit is kept, so nothing is missed.
    pub(crate) readable: Notify,
    /// Wakes the sender: room or stop.
    pub(crate) writable: Notify,
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
pub(crate) enum Found {
    Bytes(usize),
    End,
    Reset(u32),
    Nothing,
}

impl Pipe {
    /// One in which so many bytes may wait.
    pub(crate) fn new(window: usize) -> Arc<Self> {
        Arc::new(Pipe { window, state: Mutex::default(), readable: Notify::new(), writable: Notify::new() })
    }

    /// Nothing here leaves it half changed, so a panic elsewhere does no harm.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that wait for the receiver.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Queues as much of `data` as there is room for and leaves the rest in it.
    pub(crate) fn push(&self, data: &mut Bytes) -> Result<usize, TransportError> {
        let mut state = self.state();
        if let Some(code) = state.stopped {
            return Err(TransportError::Reset(code));
        }
        let room = if state.queue.len() < BUFFERS { (self.window - state.waiting).min(data.len()) } else { 0 };
        if room > 0 {
            state.waiting += room;
            state.queue.push_back(data.split_to(room));
            self.readable.notify_one();
        }
        Ok(room)
    }

    pub(crate) fn finish(&self) {
        self.state().finished = true;
        self.readable.notify_one();
    }

    /// What was queued is lost, as it may be over QUIC: a reset overtakes.
    pub(crate) fn reset(&self, code: u32) {
        let mut state = self.state();
        state.reset = Some(code);
        state.queue = VecDeque::new();
        state.waiting = 0;
        self.readable.notify_one();
    }

    pub(crate) fn stop(&self, code: u32) {
        let mut state = self.state();
        state.stopped.get_or_insert(code);
        state.queue = VecDeque::new();
        state.waiting = 0;
        self.writable.notify_one();
    }

    pub(crate) fn pull(&self, buf: &mut [u8]) -> Found {
        let mut state = self.state();
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
        if state.queue.is_empty() {
            // A pipe that is quiet keeps no room for what once waited.
            state.queue = VecDeque::new();
        }
        if filled > 0 {
            state.waiting -= filled;
            self.writable.notify_one();
            return Found::Bytes(filled);
        }
        if state.finished { Found::End } else { Found::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_a_byte_at_a_time_takes_no_more_buffers_than_there_may_be() {
        let pipe = Pipe::new(1 << 20);
        let byte = || Bytes::from(vec![7]);
        let taken = (0..2 * BUFFERS).filter(|_| pipe.push(&mut byte()) == Ok(1)).count();
        assert_eq!(taken, BUFFERS);
        assert!(matches!(pipe.pull(&mut [0; 2]), Found::Bytes(2)));
        assert_eq!(pipe.push(&mut byte()), Ok(1), "there is room again");
    }

    #[test]
    fn a_pipe_in_which_nothing_waits_keeps_no_room() {
        let filled = || {
            let pipe = Pipe::new(1 << 20);
            (0..100).for_each(|_| assert_eq!(pipe.push(&mut Bytes::from_static(b"word")), Ok(4)));
            pipe
        };
        let [read, reset, stopped] = [filled(), filled(), filled()];
        while let Found::Bytes(_) = read.pull(&mut [0; 64]) {}
        reset.reset(1);
        stopped.stop(1);
        for pipe in [read, reset, stopped] {
            assert_eq!(pipe.state().queue.capacity(), 0);
        }
    }
}
