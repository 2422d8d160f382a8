//! Where pieces are hashed, written and read: off the threads that handle packets, on as many cores as there are.
//!
//! The threads are tokio's pool for blocking work. It would start a new one for every block that waits, so how many
//! work at once is bounded here.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Runs work that must not be done beside packets.
pub(crate) struct Workers {
    pool: Handle,
    free: Arc<Semaphore>,
}

impl Workers {
    /// Workers of the current runtime, one a core and at least two: one waits for the disk while the other hashes.
    pub(crate) fn new() -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
        Arc::new(Workers { pool: Handle::current(), free: Arc::new(Semaphore::new(cores)) })
    }

    /// Starts `work` as soon as a worker is free. It is done to its end even if nobody waits for it any more.
    pub(crate) async fn start<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let worker = self.free.clone().acquire_owned().await.expect("it is never closed");
        self.pool.spawn_blocking(move || {
            let result = work();
            drop(worker);
            result
        })
    }
}
