//! Answering one question: slices of the map go to the transport as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::{Answer, PieceRange, RefusalReason};
use storage::StorageError;
use swarm::{Event, ServeId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use transport::frame::send_message;
use transport::{Connection, SendStream, TransportError};

use crate::counters::Counting;
use crate::disk::content::ContentStore;
use crate::disk::workers::Workers;
use crate::net::asked_manifests::ManifestTurn;
use crate::net::link;
use crate::net::loads::{Loads, PART, SLICE};
use crate::net::rate::RateCap;
use crate::report::Report;

/// One part must be taken by the other side within this time: slow links are served, too, and even they take some 4 KB a
/// second.
const TAKEN: Duration = Duration::from_secs(30);

/// Sends a manifest when it is its turn. It may be large, and anyone may ask for it: the cap is for it too.
pub(crate) async fn manifest(
    connection: Arc<dyn Connection>,
    (mut stream, turn): (Box<dyn SendStream>, ManifestTurn),
    bytes: Bytes,
    cap: Arc<RateCap>,
) {
    let step = PART.min(cap.step());
    let answering = async {
        let Some(mut sending) = turn.wait(bytes.len() as u64).await else {
            link::refuse(stream, RefusalReason::Busy).await;
            return Ok(());
        };
        begin(&mut *stream, bytes.len() as u64).await?;
        for at in (0..bytes.len()).step_by(step) {
            let slice = bytes.slice(at..bytes.len().min(at + step));
            cap.take(slice.len()).await;
            sending.sends(slice.len());
            hand_over(&mut *stream, slice).await?;
        }
        stream.finish()
    };
    // While it waits for the rate limit, it does not notice that the connection has ended, and would keep all bytes
    // until then.
    tokio::select! {
        _ = answering => {}
        _ = connection.closed() => {}
    }
}

/// Says at once which pieces will be sent, so that they are not asked for again meanwhile; the stream, if that was taken.
pub(crate) async fn choose(
    mut stream: Box<dyn SendStream>,
    run: PieceRange,
    bytes: u64,
) -> Option<Box<dyn SendStream>> {
    send_message(&mut *stream, &Answer::Pieces { run, bytes }, TAKEN).await.ok()?;
    Some(stream)
}

/// Where an answer goes.
pub(crate) enum Answering {
    /// Nothing is said yet.
    Quiet(Box<dyn SendStream>),
    /// Which pieces come is said, or being said.
    Chosen(JoinHandle<Option<Box<dyn SendStream>>>),
}

async fn begin(stream: &mut dyn SendStream, len: u64) -> Result<(), TransportError> {
    send_message(stream, &Answer::Bytes(len), TAKEN).await
}

async fn hand_over(stream: &mut dyn SendStream, bytes: Bytes) -> Result<(), TransportError> {
    timeout(TAKEN, stream.send(bytes)).await.map_err(|_| TransportError::TimedOut("send"))?
}

/// Serves a run of pieces that is held.
pub(crate) struct PieceServe {
    pub(crate) serve: ServeId,
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) store: Arc<ContentStore>,
    pub(crate) run: PieceRange,
    pub(crate) workers: Arc<Workers>,
    pub(crate) cap: Arc<RateCap>,
    /// Counts what is sent to this peer.
    pub(crate) sent: Arc<AtomicU64>,
    /// Counts what the node sends.
    pub(crate) counting: Arc<Counting>,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl PieceServe {
    /// Sends the pieces and says that it is over, well or not.
    pub(crate) async fn run(self, answering: Answering) {
        let connection = self.connection.clone();
        let mut bytes = 0;
        let sent = tokio::select! {
            sent = self.send(answering, &mut bytes) => sent,
            // While it waits for the rate limit or for a worker, it does not notice that the connection has ended.
            _ = connection.closed() => Ok(()),
        };
        match sent {
            Ok(()) => {}
            // The content is as good as before. The stream breaks off, and the other side asks again in a moment.
            Err(error @ StorageError::TooManyOpen(_)) => tracing::info!(%error, "busy: pieces are not sent"),
            Err(error @ StorageError::Unreachable(_)) => tracing::warn!("pieces are not sent: {error}"),
            Err(error) => {
                let store = self.store.clone();
                let looking = tokio::task::spawn_blocking(move || store.why_not_given(error));
                if let Ok(error) = looking.await {
                    let source_failed = Report::SourceFailed { content: self.store.id(), error };
                    let _ = self.reports.send(source_failed).await;
                }
            }
        }
        let (serve, pieces) = (self.serve, self.pieces_of(bytes));
        let _ = self.reports.send(Report::Event(Event::Served { serve, pieces })).await;
    }

    /// How many pieces are whole in the first bytes of the answer.
    fn pieces_of(&self, bytes: u64) -> u32 {
        let geometry = self.store.manifest().geometry();
        let first = geometry.piece(self.run.first).map_or(0, |piece| piece.len as u64);
        if bytes < first { 0 } else { geometry.pieces_within(self.run.first, bytes).min(self.run.count) }
    }

    /// Counts the bytes that it sends. A broken stream is no error: the other side asks again. A broken source is.
    async fn send(&self, answering: Answering, count: &mut u64) -> Result<(), StorageError> {
        let geometry = self.store.manifest().geometry();
        let mut stream = match answering {
            Answering::Quiet(mut stream) => match begin(&mut *stream, geometry.bytes(self.run)).await {
                Ok(()) => stream,
                Err(_) => return Ok(()),
            },
            Answering::Chosen(said) => match said.await {
                Ok(Some(stream)) => stream,
                _ => return Ok(()),
            },
        };
        let mut loads = Loads::new(self.store.clone(), self.workers.clone(), geometry.blocks(self.run, SLICE));
        while let Some(loaded) = loads.next().await {
            match self.hand_over_all(&mut *stream, loaded?, count).await {
                Ok(within) => loads.was_taken(within),
                Err(_) => return Ok(()),
            }
        }
        let _ = stream.finish();
        Ok(())
    }

    /// Hands bytes over part by part. Says how long the slowest of them took.
    async fn hand_over_all(
        &self,
        stream: &mut dyn SendStream,
        bytes: Bytes,
        count: &mut u64,
    ) -> Result<Duration, TransportError> {
        let step = PART.min(self.cap.step());
        let mut slowest = Duration::ZERO;
        for at in (0..bytes.len()).step_by(step) {
            let slice = bytes.slice(at..bytes.len().min(at + step));
            self.cap.take(slice.len()).await;
            let len = slice.len() as u64;
            let began = Instant::now();
            let handed = timeout(TAKEN, stream.send(slice)).await;
            slowest = slowest.max(began.elapsed());
            let Ok(sent) = handed else {
                // What it asked for and does not take costs others their turn.
                self.connection.close(1, "it does not read");
                return Err(TransportError::Closed);
            };
            sent?;
            *count += len;
            self.store.count_sent(len);
            self.sent.fetch_add(len, Ordering::Relaxed);
            let relayed = usize::from(self.connection.transport() == transport::RELAY);
            self.counting.sent[relayed].fetch_add(len, Ordering::Relaxed);
        }
        Ok(slowest)
    }
}
