//! The server's promises, seen from its clients, over the in-process network.

use std::sync::Arc;
use std::time::Duration;

use protocol::{
    Announce, ContentId, ContentMatch, Digest, MAX_FRAME, MAX_MATCHES, PeerId, Stake, ToTracker, TrackerMessage,
    VERSION, Wire,
};
use tracker::{Server, ServerConfig};
use transport::frame::{frame, read_frame};
use transport::{Connection, Identity, MemoryNetwork, RecvStream, SendStream, Transport, TransportError};

struct World {
    network: MemoryNetwork,
    tracker: Arc<dyn Transport>,
    server: Arc<Server>,
}

struct Client {
    transport: Arc<dyn Transport>,
    connection: Arc<dyn Connection>,
    send: Box<dyn SendStream>,
    recv: Box<dyn RecvStream>,
}

impl World {
    fn new() -> Self {
        let network = MemoryNetwork::new();
        let tracker: Arc<dyn Transport> =
            Arc::new(network.bind(PeerId(Digest([0; 32])), vec!["127.0.0.1:9999".parse().unwrap()]).unwrap());
        let server = Arc::new(Server::new(tracker.clone(), ServerConfig { seed: 1, ..ServerConfig::default() }));
        let running = server.clone();
        tokio::spawn(async move { running.run().await });
        World { network, tracker, server }
    }

    fn bind(&self, id: PeerId) -> Arc<dyn Transport> {
        Arc::new(self.network.bind(id, vec!["127.0.0.1:0".parse().unwrap()]).unwrap())
    }

    async fn client(&self) -> Client {
        let transport = self.bind(Identity::generate().unwrap().peer_id());
        let mut client = self.silent(transport).await;
        let listeners = client.transport.listeners();
        client.say(ToTracker::Hello { version: VERSION, listeners }).await;
        assert!(matches!(client.hear().await, TrackerMessage::Welcome { .. }));
        client
    }

    async fn silent(&self, transport: Arc<dyn Transport>) -> Client {
        let connection = transport.dial(self.tracker.listeners()[0], self.tracker.peer_id()).await.unwrap();
        let (send, recv) = connection.open().await.unwrap();
        Client { transport, connection, send, recv }
    }

    /// Waits until the server knows this many peers and contents.
    async fn settled(&self, peers: usize, contents: usize) {
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
    fn id(&self) -> PeerId {
        self.transport.peer_id()
    }

    async fn say(&mut self, message: ToTracker) {
        self.send.send(frame(&message.encode().unwrap())).await.unwrap();
    }

    async fn hear(&mut self) -> TrackerMessage {
        let bytes = tokio::time::timeout(Duration::from_secs(30), read_frame(&mut *self.recv, MAX_FRAME));
        TrackerMessage::decode(&bytes.await.expect("an answer").unwrap().unwrap()).unwrap()
    }

    async fn announce(&mut self, content: ContentId, stake: Stake, name: &str) -> Vec<PeerId> {
        let about = Some((name.to_owned(), 5));
        self.say(ToTracker::Announce(Announce { content, about, stake })).await;
        self.joined().await
    }

    async fn joined(&mut self) -> Vec<PeerId> {
        match self.hear().await {
            TrackerMessage::Peers { joined, gone, .. } if gone.is_empty() => joined.into_iter().map(|p| p.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    async fn gone(&mut self) -> Vec<PeerId> {
        match self.hear().await {
            TrackerMessage::Peers { joined, gone, .. } if joined.is_empty() => gone,
            other => panic!("{other:?}"),
        }
    }

    async fn find(&mut self, query: &str) -> Vec<ContentMatch> {
        self.say(ToTracker::Find(query.to_owned())).await;
        match self.hear().await {
            TrackerMessage::Found { query: about, matches } if about == query => matches,
            other => panic!("{other:?}"),
        }
    }
}

fn content(first: u8) -> ContentId {
    ContentId(Digest([first; 32]))
}

#[tokio::test]
async fn peers_are_introduced_told_of_changes_and_forgotten() {
    let world = World::new();
    let (mut seeder, mut downloader) = (world.client().await, world.client().await);
    assert_eq!(seeder.announce(content(1), Stake::Seeder, "a").await, []);
    assert_eq!(downloader.announce(content(1), Stake::Downloader, "a").await, [seeder.id()]);
    assert_eq!(seeder.joined().await, [downloader.id()]);
    // A clean leave.
    downloader.say(ToTracker::Leave(content(1))).await;
    assert_eq!(seeder.gone().await, [downloader.id()]);
    assert_eq!(downloader.announce(content(1), Stake::Downloader, "a").await, [seeder.id()]);
    assert_eq!(seeder.joined().await, [downloader.id()]);
    // A goodbye.
    downloader.say(ToTracker::Bye).await;
    assert_eq!(seeder.gone().await, [downloader.id()]);
    // A crash.
    let mut other = world.client().await;
    assert_eq!(other.announce(content(1), Stake::Downloader, "a").await, [seeder.id()]);
    seeder.connection.close(9, "crash");
    assert_eq!(other.gone().await, [seeder.id()]);
    drop(other);
    world.settled(0, 0).await;
}

#[tokio::test]
async fn a_leave_that_is_unknown_or_repeated_harms_nothing() {
    let world = World::new();
    let mut client = world.client().await;
    client.say(ToTracker::Leave(content(9))).await;
    client.announce(content(1), Stake::Seeder, "a").await;
    client.say(ToTracker::Leave(content(1))).await;
    client.say(ToTracker::Leave(content(1))).await;
    assert_eq!(client.find("a").await, []);
    client.announce(content(1), Stake::Seeder, "a").await;
    assert_eq!(client.find("a").await.len(), 1);
    world.settled(1, 1).await;
}

#[tokio::test]
async fn contents_are_found_by_name_by_id_and_by_the_beginning_of_an_id() {
    let world = World::new();
    let mut client = world.client().await;
    client.announce(content(1), Stake::Seeder, "a").await;
    client.announce(content(2), Stake::Downloader, "a").await;
    let found = client.find("a").await;
    let expected = |number, seeders, others| ContentMatch {
        content: content(number),
        name: "a".to_owned(),
        size: 5,
        seeders,
        others,
        downloaders: others,
    };
    assert_eq!(found, [expected(2, 0, 1), expected(1, 1, 0)]);
    assert_eq!(client.find(&content(1).to_string()).await, [expected(1, 1, 0)]);
    assert_eq!(client.find("020202").await, [expected(2, 0, 1)]);
    assert_eq!(client.find("b").await, []);
}

#[tokio::test]
async fn everything_is_listed_page_by_page() {
    let world = World::new();
    let mut client = world.client().await;
    for number in 0..=2 * MAX_MATCHES as u8 {
        client.announce(content(number), if number == 7 { Stake::Partial } else { Stake::Seeder }, "a").await;
    }
    let (mut listed, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        client.say(ToTracker::List { before }).await;
        let TrackerMessage::Listed { before: asked, contents, next } = client.hear().await else { panic!("a page") };
        assert_eq!(asked, before);
        listed.extend(contents);
        pages += 1;
        before = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert!(listed.iter().map(|found| found.content).eq((0..=2 * MAX_MATCHES as u8).rev().map(content)));
    let partial = listed.iter().find(|found| found.content == content(7)).unwrap();
    assert_eq!((partial.seeders, partial.others, partial.downloaders), (0, 1, 0));
    // A number that nobody was given is as good as any.
    client.say(ToTracker::List { before: Some(0) }).await;
    assert!(matches!(client.hear().await, TrackerMessage::Listed { contents, next: None, .. } if contents.is_empty()));
}

#[tokio::test]
async fn whoever_comes_back_replaces_its_old_connection() {
    let world = World::new();
    let mut watcher = world.client().await;
    watcher.announce(content(1), Stake::Downloader, "a").await;
    let mut old = world.client().await;
    old.announce(content(1), Stake::Seeder, "a").await;
    assert_eq!(watcher.joined().await, [old.id()]);
    // The same peer over a new connection, while the old one seems to live.
    let connection = old.transport.dial(world.tracker.listeners()[0], world.tracker.peer_id()).await.unwrap();
    let (send, recv) = connection.open().await.unwrap();
    let mut new = Client { transport: old.transport.clone(), connection, send, recv };
    new.say(ToTracker::Hello { version: VERSION, listeners: new.transport.listeners() }).await;
    assert!(matches!(new.hear().await, TrackerMessage::Welcome { .. }));
    assert_eq!(watcher.gone().await, [new.id()]);
    new.announce(content(1), Stake::Seeder, "a").await;
    assert_eq!(watcher.joined().await, [new.id()]);
    assert!(matches!(old.connection.closed().await, TransportError::ClosedByPeer { .. }));
    world.settled(2, 1).await;
}

#[tokio::test]
async fn another_version_is_told_so() {
    let world = World::new();
    let mut client = world.silent(world.bind(Identity::generate().unwrap().peer_id())).await;
    client.say(ToTracker::Hello { version: 99, listeners: vec![] }).await;
    let TrackerMessage::Refused(sentence) = client.hear().await else { panic!("it is welcome") };
    assert!(sentence.contains("99"), "{sentence}");
}

#[tokio::test]
async fn garbage_ends_only_its_own_connection() {
    let world = World::new();
    let mut honest = world.client().await;
    let mut liar = world.silent(world.bind(Identity::generate().unwrap().peer_id())).await;
    liar.send.send(frame(&[0xff; 100])).await.unwrap();
    assert!(matches!(liar.connection.closed().await, TransportError::ClosedByPeer { .. }));
    assert_eq!(honest.find("a").await, []);
}

#[tokio::test]
async fn whoever_breaks_the_protocol_loses_its_own_connection_only() {
    let world = World::new();
    let mut honest = world.client().await;
    let hello = |version| frame(&ToTracker::Hello { version, listeners: vec![] }.encode().unwrap()).to_vec();
    let said = |message: ToTracker| frame(&message.encode().unwrap()).to_vec();
    let then = |more: Vec<u8>| [hello(VERSION), more].concat();
    let mut trailing = ToTracker::Bye.encode().unwrap();
    trailing.push(0);
    let rows = [
        ("a frame of 4 GiB", then(vec![0xff; 4])),
        ("a frame just over the limit", then((MAX_FRAME as u32 + 1).to_le_bytes().to_vec())),
        ("a cut frame", then([&100u32.to_le_bytes()[..], b"abc"].concat())),
        ("a cut length", then(vec![1, 0])),
        ("an unknown message", then(frame(&[200]).to_vec())),
        ("an empty message", then(frame(&[]).to_vec())),
        ("bytes behind a message", then(frame(&trailing).to_vec())),
        ("a text of 2^63 bytes", then(frame(&[3, 253, 255, 255, 255, 255, 255, 255, 255, 127]).to_vec())),
        ("hello twice", then(hello(VERSION))),
        ("no hello", said(ToTracker::Find("a".to_owned()))),
        ("another version", hello(VERSION + 1)),
    ];
    for (what, bytes) in rows {
        let mut hostile = world.silent(world.bind(Identity::generate().unwrap().peer_id())).await;
        hostile.send.send(bytes.into()).await.unwrap();
        let _ = hostile.send.finish();
        let end = tokio::time::timeout(Duration::from_secs(30), hostile.connection.closed()).await;
        assert!(matches!(end, Ok(TransportError::ClosedByPeer { .. })), "{what}: {end:?}");
        assert_eq!(honest.find("a").await, [], "{what}");
    }
    world.settled(1, 0).await;
}

#[tokio::test]
async fn two_thousand_peers_take_part_and_a_sample_stays_small() {
    let world = World::new();
    let mut clients = Vec::new();
    for number in 0..2000u32 {
        let id = PeerId::of_public_key(&number.to_le_bytes());
        let mut client = world.silent(world.bind(id)).await;
        let listeners = client.transport.listeners();
        client.say(ToTracker::Hello { version: VERSION, listeners }).await;
        assert!(matches!(client.hear().await, TrackerMessage::Welcome { .. }));
        let stake = if number % 10 == 0 { Stake::Seeder } else { Stake::Downloader };
        let sample = client.announce(content(1), stake, "a").await;
        assert!(sample.len() <= 50 && !sample.contains(&id));
        assert!(number < 100 || sample.len() == 50, "{number}: {}", sample.len());
        clients.push(client);
    }
    world.settled(2000, 1).await;
    drop(clients);
    world.settled(0, 0).await;
}
