//! Asking one peer for a manifest or a run of pieces: receive, verify, store, report.
//!
//! Pieces are received into contiguous buffers where the packets are handled, verified there in memory by a worker, and
//! only then written. The tasks here never decide anything: what came, or went wrong, is told to the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::{Answer, ContentId, DigestHasher, MAX_MANIFEST_BYTES, Manifest, ManifestError, PieceRange, Request};
use swarm::{ConnId, Event, Failure, RequestId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use transport::frame::{encode, receive_message};
use transport::{Connection, RecvStream, TransportError};

use crate::net::intake::{Intake, all};
use crate::net::manifest_memory::{FIRST_PARTS, ManifestMemory, PART};
use crate::report::Report;
use crate::stats::WaitKind;

/// A part of a manifest must come within this time, and all of it, which may be many MiB over a slow link, within that one.
const MANIFEST_PART: Duration = Duration::from_secs(20);
const MANIFEST: Duration = Duration::from_secs(15 * 60);
/// Bytes that must come from someone who never gave anything before a buffer is taken for the rest.
const PROBE: usize = 64 << 10;

/// How far a manifest has come: read by others now and then.
#[derive(Debug, Default)]
pub(crate) struct ManifestProgress {
    came: AtomicU64,
    total: AtomicU64,
}

impl ManifestProgress {
    /// Bytes that have come, and bytes that the sender says there are.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.came.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// One request for a manifest.
pub(crate) struct ManifestFetch {
    pub(crate) conn: ConnId,
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) content: ContentId,
    pub(crate) progress: Arc<ManifestProgress>,
    pub(crate) memory: Arc<ManifestMemory>,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl ManifestFetch {
    /// Fetches the manifest and says how that went.
    pub(crate) async fn run(self) {
        let (content, conn) = (self.content, self.conn);
        // What waits for memory must not outlive its connection.
        let ends = async {
            tokio::select! {
                received = self.receive() => received,
                reason = self.connection.closed() => Err(reason),
            }
        };
        let report = match timeout(MANIFEST, ends).await {
            Ok(Ok(Some(bytes))) => {
                // Decoding checks every root, which takes a while for a million pieces.
                match tokio::task::spawn_blocking(move || Manifest::decode(bytes)).await {
                    Ok(Ok(manifest)) => Report::Manifest { manifest: Arc::new(manifest) },
                    // It is the right one, and no lie.
                    Ok(Err(ManifestError::Version(version))) => Report::ManifestTooNew { content, version },
                    _ => Report::Event(Event::ManifestFailed { content, conn, lied: true }),
                }
            }
            Ok(Ok(None)) => Report::Event(Event::ManifestFailed { content, conn, lied: true }),
            Ok(Err(_)) | Err(_) => Report::Event(Event::ManifestFailed { content, conn, lied: false }),
        };
        let _ = self.reports.send(report).await;
    }

    /// The manifest's bytes, hashed as they come; nothing if they are not what the id stands for.
    async fn receive(&self) -> Result<Option<Bytes>, TransportError> {
        let silent = |_| TransportError::Lost("the manifest does not come".to_owned());
        let request = Request::Manifest { content: self.content };
        let (answer, mut recv) = timeout(MANIFEST_PART, ask(&*self.connection, &request)).await.map_err(silent)??;
        let Answer::Bytes(len) = answer else { return Err(TransportError::Truncated) };
        if len > MAX_MANIFEST_BYTES as u64 {
            return Ok(None);
        }
        self.progress.total.store(len, Ordering::Relaxed);
        // As much is taken as comes, not as is claimed, and as far as there is memory for all that come.
        let (mut bytes, mut hasher, mut part) = (Vec::new(), DigestHasher::default(), vec![0; PART]);
        let mut taken: Option<OwnedSemaphorePermit> = None;
        while (bytes.len() as u64) < len {
            if bytes.len() >= (FIRST_PARTS + taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)) * PART {
                let no_memory = || TransportError::Lost("other manifests take all memory".to_owned());
                let more = self.memory.part().await.ok_or_else(no_memory)?;
                match &mut taken {
                    Some(taken) => taken.merge(more),
                    None => {
                        // What is not written to yet takes no memory; a buffer that grows by doubling is copied each time.
                        bytes.reserve_exact(len as usize - bytes.len());
                        taken = Some(more);
                    }
                }
            }
            let most = part.len().min((len - bytes.len() as u64) as usize);
            let count = timeout(MANIFEST_PART, recv.recv(&mut part[..most])).await.map_err(silent)??;
            if count == 0 {
                return Err(TransportError::Truncated);
            }
            hasher.update(&part[..count]);
            bytes.extend_from_slice(&part[..count]);
            self.progress.came.store(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok((ContentId(hasher.finish()) == self.content).then(|| bytes.into()))
    }
}

async fn ask(connection: &dyn Connection, request: &Request) -> Result<(Answer, Box<dyn RecvStream>), TransportError> {
    let (mut send, mut recv) = connection.open().await?;
    send.send(encode(request)?).await?;
    send.finish()?;
    let answer = receive_message(&mut *recv).await?;
    Ok((answer, recv))
}

/// One request for pieces.
pub(crate) struct PieceFetch {
    pub(crate) connection: Arc<dyn Connection>,
    /// Whether somebody waits for it.
    pub(crate) awaited: bool,
    /// Whether a piece came from there before.
    pub(crate) proven: bool,
    pub(crate) intake: Intake,
}

impl PieceFetch {
    /// Fetches the run and says how that went, once all of it was stored.
    pub(crate) async fn run(self) {
        let mut storing = Vec::new();
        let failure = self.receive(&mut storing).await.err();
        all(storing).await;
        self.intake.finished(failure).await;
    }

    async fn receive(&self, storing: &mut Vec<JoinHandle<()>>) -> Result<(), Failure> {
        let Intake { store, run, .. } = &self.intake;
        let (content, run, geometry) = (store.id(), *run, store.manifest().geometry());
        let question =
            if self.awaited { Request::AwaitedPieces { content, run } } else { Request::Pieces { content, run } };
        let (answer, mut recv) = ask(&*self.connection, &question).await.map_err(|_| Failure::Broken)?;
        match answer {
            Answer::Bytes(len) if len == geometry.bytes(run) => {}
            Answer::Bytes(_) | Answer::UpRate(_) | Answer::Pieces { .. } => return Err(Failure::Invalid),
            Answer::Refused(reason) => return Err(Failure::Refused(reason)),
        }
        // What is about to come can be offered to others, and the time that the answer waited for is no part of its rate.
        self.intake.begins().await;
        let probe = if self.proven { 0 } else { PROBE.min(geometry.bytes(run) as usize) };
        self.intake.take(&*self.connection, &mut *recv, (Vec::new(), probe), storing).await
    }
}

/// One request for first pieces, of a content of which it is not known yet how it is cut.
pub(crate) struct FirstFetch {
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) request: RequestId,
    pub(crate) content: ContentId,
    /// Most bytes that are held.
    pub(crate) most: u64,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl FirstFetch {
    /// Fetches them, and holds the beginning until it is `given` where they go.
    pub(crate) async fn run(self, given: oneshot::Receiver<Intake>) {
        let mut storing = Vec::new();
        let failure = self.receive(given, &mut storing).await.err();
        all(storing).await;
        let _ = self.reports.send(Report::Event(Event::Finished { request: self.request, failure })).await;
    }

    async fn receive(
        &self,
        mut given: oneshot::Receiver<Intake>,
        storing: &mut Vec<JoinHandle<()>>,
    ) -> Result<(), Failure> {
        let most = u32::try_from(self.most).unwrap_or(u32::MAX);
        let question = Request::FirstPieces { content: self.content, most };
        let (answer, mut recv) = ask(&*self.connection, &question).await.map_err(|_| Failure::Broken)?;
        let (run, bytes) = match answer {
            // What is not read would fill the connection, over which the manifest comes.
            Answer::Pieces { bytes, .. } if bytes > self.most => return Err(Failure::Invalid),
            Answer::Pieces { run, bytes } => (run, bytes),
            Answer::Bytes(_) | Answer::UpRate(_) => return Err(Failure::Invalid),
            Answer::Refused(reason) => return Err(Failure::Refused(reason)),
        };
        let _ = self.reports.send(Report::Event(Event::FirstPieces { request: self.request, run })).await;
        let (mut held, mut part) = (Vec::new(), vec![0; PART]);
        let limit = bytes as usize;
        let mut taken = None;
        while taken.is_none() && held.len() < limit {
            let room = part.len().min(limit - held.len());
            // What is being received is received to its end: half a frame is worth nothing.
            let mut receiving = recv.recv(&mut part[..room]);
            let count = loop {
                tokio::select! {
                    biased;
                    intake = &mut given, if taken.is_none() => taken = Some(intake.map_err(|_| Failure::Broken)?),
                    count = &mut receiving => break count.map_err(|_| Failure::Broken)?,
                }
            };
            drop(receiving);
            if count == 0 {
                return Err(Failure::Broken);
            }
            held.extend_from_slice(&part[..count]);
        }
        drop(part); // what follows may take long
        let intake = match taken {
            Some(intake) => intake,
            None => given.await.map_err(|_| Failure::Broken)?,
        };
        if bytes != intake.store.manifest().geometry().bytes(run) || run != intake.run {
            return Err(Failure::Invalid);
        }
        intake.begins().await;
        intake.take(&*self.connection, &mut *recv, (held, 0), storing).await
    }
}

impl Intake {
    /// Receives all of a request: what is held already, which was not counted and capped yet, and then the rest. So much more is received
    /// before a buffer is taken: what merely waits for its turn holds no memory; and what only trickles, from someone who never gave
    /// anything, holds little.
    async fn take(
        &self,
        from: &dyn Connection,
        recv: &mut dyn RecvStream,
        (mut held, probe): (Vec<u8>, usize),
        storing: &mut Vec<JoinHandle<()>>,
    ) -> Result<(), Failure> {
        let _flowing = self.waits.flowing();
        let mut probe = vec![0; probe];
        let geometry = self.store.manifest().geometry();
        let mut left = self.run;
        while let Some(block) = geometry.blocks(left, self.blocks.bytes()).next() {
            let began = Instant::now();
            let count: u32 = block.stretches.iter().map(|stretch| stretch.run.count).sum();
            left = PieceRange { first: left.first + count, count: left.count - count };
            if held.is_empty() && !probe.is_empty() {
                probe.truncate(block.len);
                self.fill(recv, &mut probe).await.map_err(|_| Failure::Broken)?;
            } else {
                probe = Vec::new();
            }
            let mut buffer = self.waits.during(WaitKind::Buffers, self.buffers.take(block.len)).await;
            let (begin, rest) = buffer.split_at_mut(held.len().min(block.len));
            // The cap may be changed meanwhile.
            let step = self.cap.step();
            for (to, part) in begin.chunks_mut(step).zip(held.chunks(step)) {
                to.copy_from_slice(&part[..to.len()]);
                self.came(to.len()).await;
            }
            held.drain(..begin.len());
            if held.is_empty() {
                held = Vec::new();
            }
            let (begin, rest) = rest.split_at_mut(probe.len());
            begin.copy_from_slice(&probe);
            probe = Vec::new();
            self.fill(recv, rest).await.map_err(|_| Failure::Broken)?;
            self.waits.came_from(from.peer_id(), block.len as u64);
            self.blocks.came(block.len, began.elapsed());
            self.store(block, buffer, storing).await;
        }
        Ok(())
    }

    async fn fill(&self, recv: &mut dyn RecvStream, mut part: &mut [u8]) -> Result<(), TransportError> {
        let step = self.cap.step();
        while !part.is_empty() {
            let most = part.len().min(step);
            let count = self.waits.during(WaitKind::Network, recv.recv(&mut part[..most])).await?;
            if count == 0 {
                return Err(TransportError::Truncated);
            }
            self.came(count).await;
            part = &mut part[count..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, PeerId};
    use tokio::time::sleep;
    use transport::{MemoryNetwork, MemoryTransport, Transport};

    use super::*;

    const CONTENT: ContentId = ContentId(Digest([7; 32]));

    /// Peers that give as long a manifest as there may be, and not the right one.
    struct Liars {
        network: MemoryNetwork,
        us: MemoryTransport,
        memory: Arc<ManifestMemory>,
        reports: mpsc::Sender<Report>,
        reported: mpsc::Receiver<Report>,
    }

    impl Liars {
        fn new() -> Self {
            let network = MemoryNetwork::new();
            let us = network.bind(PeerId::of_public_key(b"us"), vec![([10, 0, 0, 1], 1).into()]).unwrap();
            let (reports, reported) = mpsc::channel(32);
            Liars { network, us, memory: Arc::default(), reports, reported }
        }

        /// Asks another one.
        async fn ask(&self, number: u8) -> JoinHandle<()> {
            let id = PeerId::of_public_key(&[number]);
            let liar = self.network.bind(id, vec![([10, 0, 0, 2], u16::from(number)).into()]).unwrap();
            let (connection, accepted) = tokio::join!(self.us.dial(liar.listeners()[0], id), liar.accept());
            tokio::spawn(async move {
                let (liar, connection) = (liar, accepted.unwrap());
                let (mut send, _recv) = connection.accept().await.unwrap();
                let _ = send.send(encode(&Answer::Bytes(MAX_MANIFEST_BYTES as u64)).unwrap()).await;
                while send.send(Bytes::from_static(&[0; PART])).await.is_ok() {}
                liar.close().await;
            });
            let fetch = ManifestFetch {
                conn: u64::from(number),
                connection: connection.unwrap(),
                content: CONTENT,
                progress: Arc::default(),
                memory: self.memory.clone(),
                reports: self.reports.clone(),
            };
            tokio::spawn(fetch.run())
        }

        /// The next one ends: whether all of it came.
        async fn ends(&mut self) -> bool {
            match self.reported.recv().await.unwrap() {
                Report::Event(Event::ManifestFailed { lied, .. }) => lied,
                _ => panic!("it was none"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_send_without_end_have_little_by_the_time_that_they_are_judged() {
        let liars = Liars::new();
        let mut fetches = Vec::new();
        for number in 1..=16 {
            fetches.push(liars.ask(number).await);
        }
        sleep(Duration::from_millis(500)).await;
        assert!((1 << 20..=10 << 20).contains(&liars.memory.held()), "{} bytes", liars.memory.held());
        fetches.iter().for_each(JoinHandle::abort);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(liars.memory.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn two_of_the_largest_do_not_wait_for_each_other_for_long() {
        let mut liars = Liars::new();
        let (began, _fetches) = (Instant::now(), (liars.ask(1).await, liars.ask(2).await));
        assert!(!liars.ends().await, "one gives up");
        assert!(liars.ends().await, "all of the other comes");
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        assert_eq!(liars.memory.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_alone_has_all_memory() {
        let mut liars = Liars::new();
        let (began, _fetch) = (Instant::now(), liars.ask(1).await);
        assert!(liars.ends().await);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}
