//! A network within the process, and a folder for each node in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use p2p_fileshare::{Node, NodeBuilder, hash_content};
use protocol::{Algorithm, Manifest, PeerAddress, PeerId};
use transport::{Identity, MemoryNetwork, MemoryTransport};

/// Long before it is over something is wrong.
pub const LONG: Duration = Duration::from_secs(60);

pub struct World {
    pub network: MemoryNetwork,
    pub folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        World { network: MemoryNetwork::new(), folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is the same peer each time.
    pub fn bind(&self, name: &str) -> MemoryTransport {
        let id = PeerId::of_public_key(name.as_bytes());
        self.network.bind(id, vec!["127.0.0.1:0".parse().unwrap()]).unwrap()
    }

    /// A node with folders of its own, named so.
    pub fn node(&self, name: &str) -> Node {
        self.builder(name).start()
    }

    /// The same, of which something may be said.
    pub fn builder(&self, name: &str) -> NodeBuilder {
        let identity = Identity::generate().unwrap();
        self.builder_over(self.network.bind(&identity, vec!["127.0.0.1:0".parse().unwrap()]).unwrap(), name)
    }

    pub fn builder_over(&self, transport: MemoryTransport, name: &str) -> NodeBuilder {
        let folder = self.path(name);
        Node::builder(Arc::new(transport)).hashes(folder.join("hashes")).output(folder.join("output")).seed(7)
    }

    /// A file that has been there for a while: nobody has to wait until it is quiet.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
        path
    }

    /// Of a file that is no longer here.
    pub fn manifest(&self, bytes: &[u8]) -> Arc<Manifest> {
        let path = self.file("far.bin", bytes);
        let manifest = hash_content(&path, Algorithm::Blake3, Some(1024), |_, _| {}).unwrap().manifest;
        std::fs::remove_file(path).unwrap();
        Arc::new(manifest)
    }

    /// What the node has received under this name.
    pub fn output(&self, node: &str, name: &str) -> Vec<u8> {
        std::fs::read(self.path(node).join("output").join(name)).unwrap()
    }
}

/// Bytes that repeat nowhere near.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u8(..)).collect()
}

pub fn address(node: &Node) -> PeerAddress {
    PeerAddress { id: node.id(), addresses: node.listeners().to_vec() }
}
