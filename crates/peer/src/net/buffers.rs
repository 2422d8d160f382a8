//! Buffers that pieces are received into: a bounded pool, so that memory does not grow with connections, and a fresh
//! page is not taken from the system (and zeroed by it) for every piece.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;

/// Permits are counted in this many bytes.
const UNIT: usize = 1024;

/// The pool.
pub(crate) struct Buffers {
    budget: usize,
    units: usize,
    room: Arc<Semaphore>,
    free: Mutex<Vec<Vec<u8>>>,
}

/// Bytes on loan; they go back when it is dropped.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Arc<Buffers>,
    _room: OwnedSemaphorePermit,
}

impl Buffers {
    /// At most three fourths of these bytes are on loan at a time: the rest is left to what has come and waits in a transport.
    pub(crate) fn new(budget: u64) -> Arc<Self> {
        let budget = budget as usize;
        let units = (budget / 4 * 3 / UNIT).clamp(2, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Arc::new(Buffers { budget, units, room: Arc::new(Semaphore::new(units)), free: Mutex::new(Vec::new()) })
    }

    /// Bytes of pieces that may be under way.
    pub(crate) fn budget(&self) -> u64 {
        self.budget as u64
    }

    /// Bytes that may be on loan at a time.
    pub(crate) fn most_on_loan(&self) -> u64 {
        (self.units * UNIT) as u64
    }

    /// Whether two pieces of this size, which must always pass, are more than the budget.
    pub(crate) fn exceeded_by(&self, piece: usize) -> bool {
        2 * piece > self.budget
    }

    /// A buffer of `len` bytes, whatever is in them, as soon as there is room. One that is larger than half of what may be on
    /// loan counts as half, so that two always pass.
    pub(crate) async fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let units = len.div_ceil(UNIT).clamp(1, self.units / 2) as u32;
        let room = self.room.clone().acquire_many_owned(units).await.expect("it is never closed");
        Buffer { bytes: self.bytes(len), len, home: self.clone(), _room: room }
    }

    fn bytes(&self, len: usize) -> Vec<u8> {
        let mut free = lock(&self.free);
        if let Some(fit) = free.iter().rposition(|bytes| bytes.len() >= len && bytes.len() <= 2 * len.max(UNIT)) {
            return free.swap_remove(fit);
        }
        // What lies here is of another size: let go of as much as is needed, so that the sum stays within the budget.
        let lent = (self.units - self.room.available_permits()) * UNIT;
        while !free.is_empty() && free.iter().map(Vec::len).sum::<usize>() + lent > self.units * UNIT {
            free.pop();
        }
        drop(free);
        vec![0; len]
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        lock(&self.home.free).push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of which a MiB may be on loan.
    const BUDGET: u64 = (4 << 20) / 3 + 4;

    #[tokio::test]
    async fn no_more_than_its_part_of_the_budget_is_on_loan() {
        let buffers = Buffers::new(BUDGET);
        let first = buffers.take(512 << 10).await;
        let _second = buffers.take(512 << 10).await;
        let third = buffers.take(1);
        tokio::pin!(third);
        assert!(futures_poll(third.as_mut()).is_none(), "there is no room");
        drop(first);
        assert_eq!(third.await.len(), 1);
    }

    #[tokio::test]
    async fn a_buffer_that_came_back_is_lent_again() {
        let buffers = Buffers::new(BUDGET);
        let address = buffers.take(100_000).await.as_ptr();
        assert_eq!(buffers.take(90_000).await.as_ptr(), address);
    }

    #[tokio::test]
    async fn two_buffers_pass_however_large_they_are() {
        let buffers = Buffers::new(BUDGET);
        let pair = (buffers.take(16 << 20).await, buffers.take(16 << 20).await);
        assert_eq!((pair.0.len(), pair.1.len()), (16 << 20, 16 << 20));
    }

    #[tokio::test]
    async fn buffers_of_another_size_do_not_pile_up() {
        let buffers = Buffers::new(BUDGET);
        for len in [1 << 10, 1 << 18, 1 << 12, 1 << 16, 1 << 19] {
            let taken = [buffers.take(len).await, buffers.take(len).await];
            drop(taken);
        }
        let kept: usize = buffers.free.lock().unwrap().iter().map(Vec::len).sum();
        assert!(kept <= (1 << 20) + (1 << 19), "{kept} bytes lie idle");
    }

    fn futures_poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }
}
