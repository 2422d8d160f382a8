//! The order that makes a claim true: bytes written, bytes synced, and only then the journal.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use protocol::PieceSet;

use crate::lock::lock;
use crate::{Journal, Storage, StorageError};

/// A storage with its journal.
pub struct Checkpoint {
    storage: Arc<dyn Storage>,
    journal: Mutex<Journal>,
    pending: Mutex<Pending>,
}

struct Pending {
    pieces: Vec<u32>,
    bytes: u64,
    since: Instant,
}

impl Pending {
    fn new() -> Self {
        Pending { pieces: Vec::new(), bytes: 0, since: Instant::now() }
    }
}

/// A commit is due when this much waits for it, or something has waited for this long: what a crash can cost.
const DUE_BYTES: u64 = 64 << 20;
const DUE_AFTER: Duration = Duration::from_secs(1);

impl Checkpoint {
    /// The journal must be of what is in the storage.
    pub fn new(storage: Arc<dyn Storage>, journal: Journal) -> Self {
        Checkpoint { storage, journal: Mutex::new(journal), pending: Mutex::new(Pending::new()) }
    }

    /// Verified pieces of `bytes` bytes in all were written. Never waits for the disk. True if a commit is due.
    pub fn stored(&self, pieces: impl IntoIterator<Item = u32>, bytes: u64) -> bool {
        let mut pending = lock(&self.pending);
        pending.pieces.extend(pieces);
        pending.bytes += bytes;
        pending.bytes >= DUE_BYTES || pending.since.elapsed() >= DUE_AFTER
    }

    /// Makes what was stored before this call durable, and then claims it. After an error nothing of it is claimed,
    /// now or later: a failed sync may have dropped the bytes. Blocks.
    pub fn commit(&self) -> Result<(), StorageError> {
        // One commit at a time, and each takes what it is about to sync.
        let mut journal = lock(&self.journal);
        let batch = std::mem::replace(&mut *lock(&self.pending), Pending::new());
        if batch.pieces.is_empty() {
            return Ok(());
        }
        self.storage.flush()?;
        journal.commit(&batch.pieces.into_iter().collect::<PieceSet>().runs())
    }

    /// The pieces that were claimed, and those that were written since then.
    pub fn stored_pieces(&self) -> PieceSet {
        let journal = lock(&self.journal);
        let mut stored = journal.claimed().clone();
        lock(&self.pending).pieces.iter().for_each(|&piece| {
            stored.insert(piece);
        });
        stored
    }
}
