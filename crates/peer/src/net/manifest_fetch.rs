//! Asking one peer for a manifest: receive, hash, decode, report.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::{Answer, ContentId, DigestHasher, MAX_MANIFEST_BYTES, Manifest, ManifestError, Request};
use swarm::{ConnId, Event};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::{Connection, TransportError};

use crate::net::fetch::ask;
use crate::net::manifest_memory::{ManifestMemory, PART};
use crate::report::Report;

/// A part of a manifest must come within this time, and all of it, which may be many MiB over a slow link, within that one.
const MANIFEST_PART: Duration = Duration::from_secs(20);
const MANIFEST: Duration = Duration::from_secs(15 * 60);

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
        let len = len as usize;
        let mut share = self.memory.share(self.content, len);
        let (mut bytes, mut hasher) = (Vec::with_capacity(share.granted()), DigestHasher::default());
        let mut part = vec![0; PART];
        while bytes.len() < len {
            if bytes.len() >= share.granted() {
                share.more().await;
                // What is not written to yet takes no memory; a buffer that grows by doubling is copied each time.
                bytes.reserve_exact(share.foreseen() - bytes.len());
            }
            let most = part.len().min(len - bytes.len());
            let count = tokio::select! {
                biased;
                count = timeout(MANIFEST_PART, recv.recv(&mut part[..most])) => count.map_err(silent)??,
                () = share.is_in_the_way(bytes.len()) => return Err(TransportError::Lost("others wait".to_owned())),
            };
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

#[cfg(test)]
mod tests {
    use protocol::PeerId;
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep};
    use transport::frame::encode;
    use transport::{MemoryNetwork, MemoryTransport, Transport};

    use super::*;

    const CONTENT: ContentId = ContentId(protocol::Digest([7; 32]));

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
            let (reports, reported) = mpsc::channel(8);
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

        async fn is_found_out(&mut self) {
            let reported = self.reported.recv().await.unwrap();
            assert!(matches!(reported, Report::Event(Event::ManifestFailed { lied: true, .. })));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_give_much_hold_little_at_first_and_go_on_one_after_the_other() {
        let mut liars = Liars::new();
        let _fetches = (liars.ask(1).await, liars.ask(2).await);
        sleep(Duration::from_secs(1)).await;
        let held = liars.memory.held();
        assert!((1..=8 << 20).contains(&held), "{held} bytes");
        liars.is_found_out().await;
        liars.is_found_out().await;
        assert_eq!(liars.memory.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_alone_is_not_held_up() {
        let mut liars = Liars::new();
        let began = Instant::now();
        let _fetch = liars.ask(1).await;
        liars.is_found_out().await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
