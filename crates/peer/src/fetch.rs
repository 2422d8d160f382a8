//! Asking one peer for a manifest or a run of pieces: receive, verify, store, report.
//!
//! Pieces are verified in memory, in one contiguous buffer each, and only then written. The tasks here never decide
//! anything: what came, or went wrong, is told to the engine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::{Answer, ContentId, DigestHasher, MAX_MANIFEST_BYTES, Manifest, Request, Run, Wire};
use storage::StorageError;
use swarm::{ConnId, Event, Failure, RequestId};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::frame::{frame, read_exact, read_frame};
use transport::{Connection, RecvStream, TransportError};

use crate::inbox::Input;
use crate::rate::RateCap;
use crate::shelf::Shelf;

/// The whole manifest must come within this time.
const MANIFEST: Duration = Duration::from_secs(60);
/// Progress is reported at least every so many bytes.
const REPORT: usize = 256 << 10;

/// Fetches a manifest and says how that went.
pub(crate) async fn manifest(
    conn: ConnId,
    connection: Arc<dyn Connection>,
    content: ContentId,
    inputs: mpsc::Sender<Input>,
) {
    let result = timeout(MANIFEST, receive_manifest(&*connection, content)).await;
    let input = match result {
        Ok(Ok(Some(bytes))) => {
            // Decoding checks every root, which takes a while for a million pieces.
            match tokio::task::spawn_blocking(move || Manifest::decode(bytes)).await {
                Ok(Ok(manifest)) => Input::Manifest { manifest: Arc::new(manifest) },
                _ => Input::Event(Event::ManifestFailed { content, conn, lied: true }),
            }
        }
        Ok(Ok(None)) => Input::Event(Event::ManifestFailed { content, conn, lied: true }),
        Ok(Err(_)) | Err(_) => Input::Event(Event::ManifestFailed { content, conn, lied: false }),
    };
    let _ = inputs.send(input).await;
}

/// The manifest's bytes, hashed as they come; nothing if they are not what the id stands for.
async fn receive_manifest(connection: &dyn Connection, content: ContentId) -> Result<Option<Bytes>, TransportError> {
    let (answer, mut recv) = ask(connection, &Request::Manifest { content }).await?;
    let Answer::Bytes(len) = answer else { return Err(TransportError::Truncated) };
    if len > MAX_MANIFEST_BYTES as u64 {
        return Ok(None);
    }
    // The buffer grows with what comes, not with what is claimed.
    let (mut bytes, mut hasher, mut part) = (Vec::new(), DigestHasher::default(), vec![0; 64 << 10]);
    while (bytes.len() as u64) < len {
        let most = part.len().min((len - bytes.len() as u64) as usize);
        let count = recv.recv(&mut part[..most]).await?;
        if count == 0 {
            return Err(TransportError::Truncated);
        }
        hasher.update(&part[..count]);
        bytes.extend_from_slice(&part[..count]);
    }
    Ok((ContentId(hasher.finish()) == content).then(|| bytes.into()))
}

async fn ask(connection: &dyn Connection, request: &Request) -> Result<(Answer, Box<dyn RecvStream>), TransportError> {
    let invalid = |error: String| TransportError::Io(error);
    let (mut send, mut recv) = connection.open().await?;
    let bytes = request.encode().map_err(|error| invalid(error.to_string()))?;
    send.send(frame(&bytes)).await?;
    send.finish()?;
    let bytes = read_frame(&mut *recv, Answer::MAX_BYTES).await?.ok_or(TransportError::Truncated)?;
    let answer = Answer::decode(&bytes).map_err(|error| invalid(error.to_string()))?;
    Ok((answer, recv))
}

/// One request for pieces.
pub(crate) struct PieceFetch {
    pub(crate) request: RequestId,
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) run: Run,
    pub(crate) cap: Arc<RateCap>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

enum Stop {
    Failed(Failure),
    Disk(StorageError),
    /// The node has ended.
    Over,
}

impl From<TransportError> for Stop {
    fn from(_: TransportError) -> Self {
        Stop::Failed(Failure::Broken)
    }
}

impl PieceFetch {
    /// Fetches the run and says how that went.
    pub(crate) async fn run(self) {
        let failure = match self.receive().await {
            Ok(()) => None,
            Err(Stop::Failed(failure)) => Some(failure),
            Err(Stop::Disk(error)) => {
                let _ = self.inputs.send(Input::DiskFailed { content: self.shelf.id(), error }).await;
                Some(Failure::Broken)
            }
            Err(Stop::Over) => return,
        };
        let _ = self.inputs.send(Input::Event(Event::Finished { request: self.request, failure })).await;
    }

    async fn receive(&self) -> Result<(), Stop> {
        let (request, geometry) = (self.request, self.shelf.manifest().geometry());
        let (answer, mut recv) =
            ask(&*self.connection, &Request::Pieces { content: self.shelf.id(), run: self.run }).await?;
        let expected: u64 = self.run.pieces().filter_map(|piece| geometry.piece(piece)).map(|p| p.len as u64).sum();
        match answer {
            Answer::Bytes(len) if len == expected => {}
            Answer::Bytes(_) => return Err(Stop::Failed(Failure::Invalid)),
            Answer::Refused(reason) => return Err(Stop::Failed(Failure::Refused(reason))),
        }
        let mut buffer = vec![0; geometry.piece_size() as usize];
        for piece in self.run.pieces() {
            let Some(at) = geometry.piece(piece) else { return Err(Stop::Failed(Failure::Invalid)) };
            let bytes = &mut buffer[..at.len];
            let step = REPORT.min(self.cap.step());
            for part in bytes.chunks_mut(step) {
                read_exact(&mut *recv, part).await?;
                self.cap.take(part.len()).await;
                self.tell(Input::Event(Event::Progress { request, bytes: part.len() as u64 })).await?;
            }
            if !self.shelf.manifest().verify(piece, bytes) {
                self.tell(Input::Event(Event::Wrong { request, piece })).await?;
                continue;
            }
            self.shelf.store(piece, bytes).map_err(Stop::Disk)?;
            self.tell(Input::Stored { request, piece, content: self.shelf.id(), len: at.len as u64 }).await?;
        }
        Ok(())
    }

    async fn tell(&self, input: Input) -> Result<(), Stop> {
        self.inputs.send(input).await.map_err(|_| Stop::Over)
    }
}
