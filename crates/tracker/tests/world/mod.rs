//! A tracker in a network within the process, and clients of it that say what they are told to.
#![allow(dead_code, reason = "each test uses some of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use p2p_fileshare_tracker::{Server, ServerConfig};
use protocol::{
    Announce, ContentId, ContentMatch, Digest, MAX_FRAME, PeerId, Role, TrackerEvent, TrackerRequest, VERSION, Wire,
};
use transport::frame::{frame, read_frame};
use transport::{Connection, Identity, MemoryNetwork, RecvStream, SendStream, Transport};

pub struct World {
    network: MemoryNetwork,
    pub tracker: Arc<dyn Transport>,
    pub server: Arc<Server>,
}

pub struct Client {
    pub transport: Arc<dyn Transport>,
    pub connection: Arc<dyn Connection>,
    pub send: Box<dyn SendStream>,
    pub recv: Box<dyn RecvStream>,
}

impl World {
    pub fn new() -> Self {
        World::with(ServerConfig::default().seed(1))
    }

    pub fn with(config: ServerConfig) -> Self {
        World::of(|transport| Server::new(transport, config))
    }

    pub fn of(server: impl FnOnce(Arc<dyn Transport>) -> Server) -> Self {
        let network = MemoryNetwork::new();
        let tracker: Arc<dyn Transport> =
            Arc::new(network.bind(PeerId(Digest([0; 32])), vec!["127.0.0.1:9999".parse().unwrap()]).unwrap());
        let server = Arc::new(server(tracker.clone()));
        let running = server.clone();
        tokio::spawn(async move { running.run().await });
        World { network, tracker, server }
    }

    pub fn bind(&self, id: PeerId) -> Arc<dyn Transport> {
        self.bind_at(id, "127.0.0.1")
    }

    pub fn bind_at(&self, id: PeerId, address: &str) -> Arc<dyn Transport> {
        Arc::new(self.network.bind(id, vec![SocketAddr::new(address.parse().unwrap(), 0)]).unwrap())
    }

    pub async fn client(&self) -> Client {
        self.client_at("127.0.0.1").await
    }

    pub async fn client_at(&self, address: &str) -> Client {
        self.client_as(Identity::generate().unwrap().peer_id(), address).await
    }

    pub async fn client_as(&self, id: PeerId, address: &str) -> Client {
        let mut client = self.silent(self.bind_at(id, address)).await;
        let listeners = client.transport.listeners();
        client.say(TrackerRequest::Hello { version: VERSION, listeners }).await;
        assert!(matches!(client.hear().await, TrackerEvent::Welcome { .. }));
        client
    }

    /// A connection over which no hello was said, from an address of its own choice.
    pub async fn silent_at(&self, number: u32, address: &str) -> Client {
        self.silent(self.bind_at(PeerId::of_public_key(&number.to_le_bytes()), address)).await
    }

    pub async fn silent(&self, transport: Arc<dyn Transport>) -> Client {
        let connection = transport.dial(self.tracker.listeners()[0], self.tracker.peer_id()).await.unwrap();
        let (send, recv) = connection.open().await.unwrap();
        Client { transport, connection, send, recv }
    }

    /// Waits until the server knows this many peers and contents.
    pub async fn settled(&self, peers: usize, contents: usize) {
        for _ in 0..2000 {
            if self.server.counts() == (peers, contents) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("peers and contents are {:?}, not {:?}", self.server.counts(), (peers, contents));
    }
}

impl Client {
    pub fn id(&self) -> PeerId {
        self.transport.peer_id()
    }

    /// Where the tracker sees it.
    pub fn connection_address(&self) -> SocketAddr {
        self.transport.listeners()[0]
    }

    pub async fn say(&mut self, message: TrackerRequest) {
        self.send.send(frame(&message.encode().unwrap())).await.unwrap();
    }

    /// Reads what there is to read.
    pub async fn rest(&mut self) {
        const QUIET: Duration = Duration::from_millis(20);
        while tokio::time::timeout(QUIET, read_frame(&mut *self.recv, MAX_FRAME)).await.is_ok() {}
    }

    pub async fn hear(&mut self) -> TrackerEvent {
        let bytes = tokio::time::timeout(Duration::from_secs(30), read_frame(&mut *self.recv, MAX_FRAME));
        TrackerEvent::decode(&bytes.await.expect("an answer").unwrap().unwrap()).unwrap()
    }

    pub async fn announce(&mut self, content: ContentId, role: Role, name: &str) -> Vec<PeerId> {
        let about = Some((name.to_owned(), 5));
        self.say(TrackerRequest::Announce(Announce { content, about, role })).await;
        self.joined().await
    }

    pub async fn joined(&mut self) -> Vec<PeerId> {
        match self.hear().await {
            TrackerEvent::Peers { joined, gone, .. } if gone.is_empty() => joined.into_iter().map(|p| p.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn gone(&mut self) -> Vec<PeerId> {
        match self.hear().await {
            TrackerEvent::Peers { joined, gone, .. } if joined.is_empty() => gone,
            other => panic!("{other:?}"),
        }
    }

    pub async fn find(&mut self, query: &str) -> Vec<ContentMatch> {
        self.say(TrackerRequest::Find(query.to_owned())).await;
        match self.hear().await {
            TrackerEvent::Found { query: about, matches } if about == query => matches,
            other => panic!("{other:?}"),
        }
    }
}

pub fn content(first: u8) -> ContentId {
    ContentId(Digest([first; 32]))
}
