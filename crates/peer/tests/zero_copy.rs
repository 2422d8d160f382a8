//! From the map to the transport no byte is copied: every payload buffer that a connection is asked to send lies
//! inside a buffer that the storage handed out. (That the storage's buffers are slices of the map is tested there;
//! that QUIC hands a buffer on as it is, is `write_chunk`'s contract.)

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use p2p_fileshare::Node;
use protocol::PeerAddress;
use storage::{Access, Backend, FileSpec, MmapBackend, Storage, StorageError};
use transport::{
    BoxFuture, Connection, ForwardConnection, ForwardTransport, Identity, MemoryNetwork, SendStream, Stream, Transport,
    TransportError,
};

type Ranges = Arc<Mutex<Vec<Range<usize>>>>;

fn range(bytes: &Bytes) -> Range<usize> {
    let start = bytes.as_ptr() as usize;
    start..start + bytes.len()
}

/// Notes where the buffers lie that are handed out.
struct WatchedBackend(Ranges);

struct WatchedStorage(Arc<dyn Storage>, Ranges);

impl Backend for WatchedBackend {
    fn name(&self) -> &'static str {
        "watched"
    }
    fn persistent(&self) -> bool {
        true
    }
    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        Ok(Arc::new(WatchedStorage(MmapBackend.open(files, access)?, self.0.clone())))
    }
}

impl Storage for WatchedStorage {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let bytes = self.0.read(file, offset, len)?;
        self.1.lock().unwrap().push(range(&bytes));
        Ok(bytes)
    }
    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.0.write(file, offset, data)
    }
    fn flush(&self) -> Result<(), StorageError> {
        self.0.flush()
    }
    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        self.0.changed_by_others()
    }
    fn release(&self) {
        self.0.release();
    }
}

/// Notes where the buffers lie that are to be sent.
struct WatchedTransport(Arc<dyn Transport>, Ranges);

struct WatchedConnection(Arc<dyn Connection>, Ranges);

struct WatchedSend(Box<dyn SendStream>, Ranges);

impl ForwardTransport for WatchedTransport {
    fn inner(&self) -> &dyn Transport {
        &*self.0
    }
    fn around(&self, connection: Arc<dyn Connection>) -> Arc<dyn Connection> {
        Arc::new(WatchedConnection(connection, self.1.clone()))
    }
}

impl ForwardConnection for WatchedConnection {
    fn inner(&self) -> &dyn Connection {
        &*self.0
    }
    fn stream(&self, (send, recv): Stream) -> Stream {
        (Box::new(WatchedSend(send, self.1.clone())), recv)
    }
}

impl SendStream for WatchedSend {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        self.1.lock().unwrap().push(range(&data));
        self.0.send(data)
    }
    fn finish(&mut self) -> Result<(), TransportError> {
        self.0.finish()
    }
    fn reset(&mut self, code: u32) {
        self.0.reset(code);
    }
}

#[tokio::test]
async fn payload_goes_from_the_map_to_the_transport_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let size = 8 << 20;
    let mut random = fastrand::Rng::with_seed(1);
    std::fs::write(&path, (0..size).map(|_| random.u8(..)).collect::<Vec<_>>()).unwrap();

    let network = MemoryNetwork::new();
    let bind = || network.bind(&Identity::generate().unwrap(), vec!["127.0.0.1:0".parse().unwrap()]).unwrap();
    let (stored, sent) = (Ranges::default(), Ranges::default());
    let transport = Arc::new(WatchedTransport(Arc::new(bind()), sent.clone()));
    let seeder = Node::builder(transport)
        .storage(Arc::new(WatchedBackend(stored.clone())))
        .hashes(folder.path().join("s"))
        .start();
    let downloader =
        Node::builder(Arc::new(bind())).hashes(folder.path().join("d")).output(folder.path().join("output")).start();

    let content = seeder.share(&path).piece_size(64 << 10).await.unwrap().content();
    let download = downloader.download(content).start().await.unwrap();
    let seeder_address = PeerAddress { id: seeder.id(), addresses: seeder.listeners().to_vec() };
    downloader.add_peer(content, seeder_address).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), download).await.unwrap().unwrap();

    let stored = stored.lock().unwrap();
    let within = |sent: &&Range<usize>| stored.iter().any(|s| s.start <= sent.start && sent.end <= s.end);
    let payload: usize = sent.lock().unwrap().iter().filter(within).map(Range::len).sum();
    assert!(payload >= size, "only {payload} of {size} bytes came straight from the storage");
}
