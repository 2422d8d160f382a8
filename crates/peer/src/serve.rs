//! Answering one question: slices of the map go to the transport as they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::{Answer, Run, Wire};
use storage::StorageError;
use swarm::{Event, ServeId};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::frame::frame;
use transport::{SendStream, TransportError};

use crate::inbox::Input;
use crate::rate::RateCap;
use crate::shelf::Shelf;

/// One slice must be taken by the other side within this time.
const TAKEN: Duration = Duration::from_secs(20);
/// Most bytes handed over at once.
const SLICE: usize = 1 << 20;

/// Sends a manifest.
pub(crate) async fn manifest(mut stream: Box<dyn SendStream>, bytes: Bytes) {
    let _ = async {
        begin(&mut *stream, bytes.len() as u64).await?;
        for at in (0..bytes.len()).step_by(SLICE) {
            hand_over(&mut *stream, bytes.slice(at..bytes.len().min(at + SLICE))).await?;
        }
        stream.finish()
    }
    .await;
}

async fn begin(stream: &mut dyn SendStream, len: u64) -> Result<(), TransportError> {
    let answer = Answer::Bytes(len).encode().map_err(|error| TransportError::Io(error.to_string()))?;
    hand_over(stream, frame(&answer)).await
}

async fn hand_over(stream: &mut dyn SendStream, bytes: Bytes) -> Result<(), TransportError> {
    timeout(TAKEN, stream.send(bytes)).await.map_err(|_| TransportError::Lost("it does not read".to_owned()))?
}

/// Serves a run of pieces that is held.
pub(crate) struct PieceServe {
    pub(crate) serve: ServeId,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) run: Run,
    pub(crate) stream: Box<dyn SendStream>,
    pub(crate) cap: Arc<RateCap>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

impl PieceServe {
    /// Sends the pieces and says that it is over, well or not.
    pub(crate) async fn run(mut self) {
        if let Err(error) = self.send().await {
            let _ = self.inputs.send(Input::SourceFailed { content: self.shelf.id(), error }).await;
        }
        let _ = self.inputs.send(Input::Event(Event::Served { serve: self.serve })).await;
    }

    /// A broken stream is no error: the other side asks again. A broken source is.
    async fn send(&mut self) -> Result<(), StorageError> {
        let geometry = self.shelf.manifest().geometry();
        let total = self.run.pieces().filter_map(|piece| geometry.piece(piece)).map(|piece| piece.len as u64).sum();
        if begin(&mut *self.stream, total).await.is_err() {
            return Ok(());
        }
        let step = SLICE.min(self.cap.step());
        for piece in self.run.pieces() {
            let bytes = self.shelf.load(piece)?;
            for at in (0..bytes.len()).step_by(step) {
                let slice = bytes.slice(at..bytes.len().min(at + step));
                self.cap.take(slice.len()).await;
                let len = slice.len() as u64;
                if hand_over(&mut *self.stream, slice).await.is_err() {
                    return Ok(());
                }
                self.shelf.count_sent(len);
            }
        }
        let _ = self.stream.finish();
        Ok(())
    }
}
