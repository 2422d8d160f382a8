//! What becomes of the pieces of one request, wherever they come from: they are counted and capped as they come, verified and written
//! by a worker, and reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::{Block, PieceRange};
use swarm::{Event, Failure, RequestId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::disk::content::ContentStore;
use crate::disk::workers::Workers;
use crate::net::block_size::BlockSize;
use crate::net::buffers::{Buffer, Buffers};
use crate::net::rate::{RateCap, Turn};
use crate::report::Report;
use crate::stats::{Unstored, WaitKind, WaitStats};

/// Where the pieces of a request go.
pub(crate) struct Intake {
    pub(crate) request: RequestId,
    pub(crate) store: Arc<ContentStore>,
    pub(crate) run: PieceRange,
    /// Payload bytes that have come: read by others now and then, so that no message is needed for each part.
    pub(crate) came: Arc<AtomicU64>,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) waits: Arc<WaitStats>,
    pub(crate) cap: Arc<RateCap>,
    pub(crate) turn: Turn,
    pub(crate) blocks: Arc<BlockSize>,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl Intake {
    /// The answer begins.
    pub(super) async fn begins(&self) {
        self.report(Event::Progress { request: self.request, bytes: 0 }).await;
    }

    /// So many bytes have come, and more may once the cap allows.
    pub(super) async fn came(&self, count: usize) {
        self.came.fetch_add(count as u64, Ordering::Relaxed);
        self.waits.during(WaitKind::RateCap, self.cap.take_in_turn(count, self.turn)).await;
    }

    /// Has a block verified and written, away from the packets, and reported: that is added to what is under way.
    pub(super) async fn store(&self, block: Block, buffer: Buffer, storing: &mut Vec<JoinHandle<()>>) {
        let work = store_block(self.request, &self.store, (block, buffer), &self.waits, &self.reports);
        storing.retain(|work| !work.is_finished());
        storing.push(self.waits.during(WaitKind::Workers, self.workers.start(work)).await);
    }

    /// The request has ended.
    pub(super) async fn finished(&self, failure: Option<Failure>) {
        self.report(Event::Finished { request: self.request, failure }).await;
    }

    async fn report(&self, event: Event) {
        // An error means that the node has ended.
        let _ = self.reports.send(Report::Event(event)).await;
    }
}

/// Waits until all of this is stored.
pub(super) async fn all(storing: Vec<JoinHandle<()>>) {
    for work in storing {
        let _ = work.await;
    }
}

/// Verifies what has come of a request, writes what is right, and reports: for a worker.
fn store_block(
    request: RequestId,
    store: &Arc<ContentStore>,
    (block, buffer): (Block, Buffer),
    waits: &Arc<WaitStats>,
    reports: &mpsc::Sender<Report>,
) -> impl FnOnce() + Send + use<> {
    let (store, waits, reports) = (store.clone(), waits.clone(), reports.clone());
    let unstored = Unstored::of(&waits);
    move || {
        let result = store.write_verified(&block, &buffer, &waits);
        drop((buffer, unstored));
        let report = match result {
            Ok(verdicts) => Report::Stored { request, content: store.id(), verdicts },
            Err(error) => Report::DiskFailed { content: store.id(), error },
        };
        // An error means that the node has ended.
        let _ = reports.blocking_send(report);
    }
}
