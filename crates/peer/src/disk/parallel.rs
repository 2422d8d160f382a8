//! Work on many pieces, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};

use storage::StorageError;

/// Does the work for each piece, on as many threads as there are cores; a thread ends with its first error.
pub(crate) fn on_all_cores(
    pieces: &[u32],
    work: impl Fn(u32) -> Result<(), StorageError> + Sync,
) -> Result<(), StorageError> {
    let next = AtomicUsize::new(0);
    let some = || {
        while let Some(&piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(piece)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(pieces.len());
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic is in it"))
    })
}
