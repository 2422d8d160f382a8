//! Peers in one process, a gateway, and a client that says exactly what it is told to.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use p2p_fileshare_gateway::{Gateway, Options, Swarm};
use peer::{ContentId, Identity, MemoryNetwork, Node, PeerAddress, TrackerAddress, Transport};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that look like any others, the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(len as u64).fill(&mut bytes);
    bytes
}

/// Peers over a network in memory, a folder each.
pub struct Peers {
    folder: TempDir,
    network: MemoryNetwork,
}

impl Peers {
    pub fn new() -> Self {
        Peers { folder: tempfile::tempdir().unwrap(), network: MemoryNetwork::new() }
    }

    pub fn at(&self, peer: &str, path: &str) -> PathBuf {
        self.folder.path().join(peer).join(path)
    }

    pub fn put(&self, peer: &str, path: &str, bytes: &[u8]) {
        let path = self.at(peer, path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn node(&self, peer: &str, up: Option<u64>) -> Node {
        let transport =
            self.network.bind(&Identity::generate().unwrap(), vec!["127.0.0.1:0".parse().unwrap()]).unwrap();
        let builder = Node::builder(Arc::new(transport)).hashes(self.at(peer, "hashes")).output(self.at(peer, "out"));
        builder.up_rate(up).start()
    }

    pub async fn share(&self, peer: &str, name: &str, bytes: &[u8]) -> (Node, ContentId) {
        self.put(peer, name, bytes);
        self.share_path(peer, name).await
    }

    pub async fn share_path(&self, peer: &str, path: &str) -> (Node, ContentId) {
        let node = self.node(peer, None);
        let share = node.share(self.at(peer, path)).await.unwrap();
        (node, share.content())
    }

    /// An address of their network.
    pub fn bind(&self) -> Arc<dyn Transport> {
        Arc::new(self.network.bind(&Identity::generate().unwrap(), vec!["127.0.0.1:0".parse().unwrap()]).unwrap())
    }

    /// A tracker for them, until the test ends.
    pub fn tracker(&self) -> TrackerAddress {
        let at = "127.0.0.1:0".parse().unwrap();
        let transport = Arc::new(self.network.bind(&Identity::generate().unwrap(), vec![at]).unwrap());
        let (id, addresses) = (transport.peer_id(), transport.listeners());
        tokio::spawn(async move { tracker::Server::new(transport, Default::default()).run().await });
        TrackerAddress { addresses, id, name: None }
    }

    /// A node that has joined a tracker.
    pub async fn joined(&self, peer: &str, tracker: &TrackerAddress) -> Node {
        let node = self.node(peer, None);
        node.join(tracker.clone()).await.unwrap();
        node
    }

    /// Tells a node of a sharer once it wants the content.
    pub async fn introduce(node: &Node, content: ContentId, sharer: &Node) {
        while node.status(content).await.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let address = PeerAddress { id: sharer.id(), addresses: sharer.listeners().to_vec() };
        node.add_peer(content, address).await.unwrap();
    }
}

/// Serves these swarms for the rest of the test.
pub async fn serve(swarms: Vec<Swarm>, options: Options) -> Client {
    let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), swarms, options).await.unwrap();
    let address = gateway.address();
    tokio::spawn(gateway.serve());
    Client(address)
}

pub struct Client(pub SocketAddr);

pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Client {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0)
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let host = self.0;
        self.raw(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")).await
    }

    pub async fn raw(&self, request: &str) -> Answer {
        self.try_raw(request).await.unwrap_or_else(|| panic!("no answer to {request}"))
    }

    /// Says something, and reads until the other side ends; nothing if it does not answer.
    pub async fn try_raw(&self, request: &str) -> Option<Answer> {
        let mut stream = self.open(request).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let body = bytes.split_off(end + 4);
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        Some(Answer { status, headers, body: if chunked { unchunked(&body)? } else { body } })
    }

    pub async fn open(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.0).await.unwrap();
        // The other side may have heard enough before the end.
        let _ = stream.write_all(request.as_bytes()).await;
        stream
    }
}

impl Answer {
    /// Whether all came that was promised, and the status says that it is what was asked for.
    pub fn is_success(&self) -> bool {
        let promised = self.header("content-length").and_then(|len| len.parse::<usize>().ok());
        matches!(self.status, 200 | 206) && promised == Some(self.body.len())
    }
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let len = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        bytes = &bytes[end + 2..];
        if len == 0 {
            return Some(body);
        }
        body.extend(bytes.get(..len)?);
        bytes = bytes.get(len + 2..)?;
    }
}
