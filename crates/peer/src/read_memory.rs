//! The memory that readers may take together: blocks that were read, until those who asked for them have let go of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much memory the blocks of several [`Reader`](crate::Reader)s may take at once: see
/// [`Reader::within`](crate::Reader::within). A block is read once there is room for it.
#[derive(Debug, Clone)]
pub struct ReadMemory {
    room: Arc<Semaphore>,
    most: u32,
    waiting: Arc<AtomicUsize>,
}

impl ReadMemory {
    /// So many bytes. A block that is larger than that takes all of them.
    pub fn new(bytes: u32) -> Self {
        let most = bytes.max(1);
        ReadMemory { room: Arc::new(Semaphore::new(most as usize)), most, waiting: Arc::default() }
    }

    /// Bytes that nobody has.
    pub fn free(&self) -> u64 {
        self.room.available_permits() as u64
    }

    /// All of its bytes.
    pub fn most(&self) -> u64 {
        u64::from(self.most)
    }

    /// Whether somebody waits for room.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Waits for room for so many bytes.
    pub async fn take(&self, bytes: usize) -> Room {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.most);
        let _waiting = WaitingReader::begin(&self.waiting);
        // It is never closed.
        Room { _permit: self.room.clone().acquire_many_owned(bytes).await.ok() }
    }
}

/// Somebody who waits for room, as long as this is there.
struct WaitingReader<'a>(&'a AtomicUsize);

impl<'a> WaitingReader<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        WaitingReader(waiting)
    }
}

impl Drop for WaitingReader<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A part of that memory.
#[derive(Debug)]
pub struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// These bytes, which give the room back when they are dropped.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(HeldRoom { bytes, _room: self })
    }
}

/// Bytes that take room.
struct HeldRoom {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for HeldRoom {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
