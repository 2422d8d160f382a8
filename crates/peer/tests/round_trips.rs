//! How many round trips pass from a start to the first byte of a piece, where the tracker is as far away as the seeder: counted in virtual
//! time, over a network whose round trip is the only thing that takes any.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use p2p_fileshare::{Node, Secret, TrackerAddress};
use protocol::{
    ContentId, ContentMatch, MAX_FRAME, PROOF_LABEL, PeerAddress, PeerId, ProvenShare, TrackerEvent, TrackerRequest,
    Turn, Wire,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use transport::frame::{frame, read_frame};
use transport::{
    BoxFuture, Connection, ForwardConnection, LinkStats, MemoryNetwork, MemoryTransport, OverRelay, SendStream, Stream,
    Transport, TransportError, Whom,
};

/// There and back.
const ROUND_TRIP: Duration = Duration::from_millis(200);
/// Long before it is over something is wrong.
const LONG: Duration = Duration::from_secs(60);
/// What pieces consist of, and nothing else does.
const MARK: &[u8] = b"bytes of a piece";

/// When bytes of a piece first arrived anywhere.
type Arrived = Arc<Mutex<Option<Instant>>>;

/// A transport to and from which everything takes half a round trip.
struct Far {
    inner: MemoryTransport,
    /// Where the tracker is that shares the port of a peer.
    tracker: Option<(SocketAddr, SocketAddr)>,
    arrived: Arrived,
}

struct FarConnection(Arc<dyn Connection>, Arrived);

enum Sent {
    Data(Bytes),
    Finish,
    Reset(u32),
}

/// What is sent is on its way for half a round trip.
struct FarSend(mpsc::UnboundedSender<(Instant, Sent)>);

impl FarSend {
    fn new(mut inner: Box<dyn SendStream>, arrived: Arrived) -> Self {
        let (queue, mut waiting) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some((at, sent)) = waiting.recv().await {
                sleep_until(at).await;
                match sent {
                    Sent::Data(data) => {
                        if data.windows(MARK.len()).any(|bytes| bytes == MARK) {
                            arrived.lock().unwrap().get_or_insert_with(Instant::now);
                        }
                        if inner.send(data).await.is_err() {
                            return;
                        }
                    }
                    Sent::Finish => drop(inner.finish()),
                    Sent::Reset(code) => inner.reset(code),
                }
            }
        });
        FarSend(queue)
    }

    fn queue(&self, sent: Sent) -> Result<(), TransportError> {
        self.0.send((Instant::now() + ROUND_TRIP / 2, sent)).map_err(|_| TransportError::Closed)
    }
}

impl SendStream for FarSend {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(std::future::ready(self.queue(Sent::Data(data))))
    }
    fn finish(&mut self) -> Result<(), TransportError> {
        self.queue(Sent::Finish)
    }
    fn reset(&mut self, code: u32) {
        let _ = self.queue(Sent::Reset(code));
    }
}

impl ForwardConnection for FarConnection {
    fn inner(&self) -> &dyn Connection {
        &*self.0
    }
    fn stream(&self, (send, recv): Stream) -> Stream {
        (Box::new(FarSend::new(send, self.1.clone())), recv)
    }
    fn figures(&self, stats: LinkStats) -> LinkStats {
        LinkStats { rtt: ROUND_TRIP, ..stats }
    }
}

impl Transport for Far {
    fn name(&self) -> &'static str {
        "far"
    }
    fn peer_id(&self) -> PeerId {
        self.inner.peer_id()
    }
    fn listeners(&self) -> Vec<SocketAddr> {
        self.inner.listeners()
    }
    /// As over QUIC: who dials may speak after a round trip, and is heard half a one later.
    fn reach(&self, addr: SocketAddr, whom: Whom) -> BoxFuture<'_, Result<Arc<dyn Connection>, TransportError>> {
        let tracker = self.tracker.filter(|(shared, _)| matches!(whom, Whom::Tracker(_)) && *shared == addr);
        Box::pin(async move {
            sleep(ROUND_TRIP).await;
            let connection = self.inner.reach(tracker.map_or(addr, |(_, at)| at), whom).await?;
            Ok(Arc::new(FarConnection(connection, self.arrived.clone())) as Arc<dyn Connection>)
        })
    }
    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        Box::pin(async move {
            let connection = self.inner.accept().await?;
            sleep(ROUND_TRIP / 2).await;
            Some(Arc::new(FarConnection(connection, self.arrived.clone())) as Arc<dyn Connection>)
        })
    }
    fn over_relay(&self) -> Option<&dyn OverRelay> {
        None
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

struct World {
    network: MemoryNetwork,
    folder: tempfile::TempDir,
    arrived: Arrived,
}

impl World {
    fn new() -> Self {
        World { network: MemoryNetwork::new(), folder: tempfile::tempdir().unwrap(), arrived: Arrived::default() }
    }

    fn bind(&self, name: &str, at: &str, tracker: Option<(SocketAddr, SocketAddr)>) -> Arc<dyn Transport> {
        let inner = self.network.bind(PeerId::of_public_key(name.as_bytes()), vec![address(at)]).unwrap();
        Arc::new(Far { inner, tracker, arrived: self.arrived.clone() })
    }

    fn node(&self, name: &str, transport: Arc<dyn Transport>) -> Node {
        let folder = self.folder.path().join(name);
        Node::builder(transport).hashes(folder.join("hashes")).output(folder.join("output")).dial_private(true).start()
    }

    fn file(&self) -> PathBuf {
        let path = self.folder.path().join("file");
        std::fs::write(&path, MARK.repeat((4 << 20) / MARK.len())).unwrap();
        let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
        path
    }

    /// Round trips since then until bytes of a piece were there.
    fn round_trips(&self, began: Instant) -> f64 {
        let arrived = self.arrived.lock().unwrap().expect("a piece has come");
        (arrived - began).as_secs_f64() / ROUND_TRIP.as_secs_f64()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What a tracker says of one content, and of whom it knows.
#[derive(Clone)]
struct Knows {
    found: ContentMatch,
    seeder: PeerAddress,
    secret: Option<Secret>,
}

/// A tracker that says what the real one does, as soon as it is asked.
fn start_tracker(transport: Arc<dyn Transport>, knows: Knows) {
    tokio::spawn(async move {
        while let Some(connection) = transport.accept().await {
            tokio::spawn(answer(transport.peer_id(), connection, knows.clone()));
        }
    });
}

async fn answer(me: PeerId, connection: Arc<dyn Connection>, knows: Knows) {
    let Ok((mut send, mut recv)) = connection.accept().await else { return };
    while let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await {
        let message = match TrackerRequest::decode(&bytes).unwrap() {
            TrackerRequest::Hello { .. } => TrackerEvent::Welcome { seen: connection.remote_addr() },
            TrackerRequest::Find(query) => TrackerEvent::Found { query, matches: vec![knows.found.clone()] },
            TrackerRequest::Announce(announce) => {
                let joined = vec![knows.seeder.clone()];
                TrackerEvent::Peers { content: announce.content, joined, gone: Vec::new() }
            }
            TrackerRequest::Prove { .. } => {
                let key = knows.secret.expect("it is private").share_key();
                let exporter = connection.exporter(PROOF_LABEL).unwrap();
                let proof = key.proof(Turn::Second, &exporter, me, connection.peer_id()).bytes();
                TrackerEvent::Proven { shares: vec![ProvenShare { proof, found: knows.found.clone() }] }
            }
            _ => continue,
        };
        if send.send(frame(&message.encode().unwrap())).await.is_err() {
            return;
        }
    }
}

fn knows(content: ContentId, seeder: &Node, secret: Option<Secret>) -> Knows {
    let found = ContentMatch { content, name: "file".to_owned(), size: 4 << 20, seeders: 1, others: 0, downloaders: 0 };
    let seeder = PeerAddress { id: seeder.id(), addresses: seeder.listeners().to_vec() };
    Knows { found, seeder, secret }
}

fn at(tracker: &dyn Transport, addresses: Vec<SocketAddr>) -> TrackerAddress {
    TrackerAddress { addresses, id: tracker.peer_id(), name: None }
}

async fn count(world: &World, began: Instant, download: p2p_fileshare::Download) -> f64 {
    timeout(LONG, download).await.expect("it ends").expect("it completes");
    let round_trips = world.round_trips(began);
    println!("{round_trips:.2} round trips");
    round_trips
}

/// As `get` does it with a ticket or an id: the tracker hears hello, find and announce in one breath.
#[tokio::test(start_paused = true)]
async fn an_open_content_takes_four_round_trips() {
    let world = World::new();
    let tracker = world.bind("tracker", "10.0.0.1:9999", None);
    let seeder = world.node("seeder", world.bind("seeder", "10.0.0.2:9000", None));
    let content = seeder.share(world.file()).piece_size(64 << 10).await.unwrap().content();
    start_tracker(tracker.clone(), knows(content, &seeder, None));
    let getter = world.node("getter", world.bind("getter", "10.0.0.3:9000", None));
    let began = Instant::now();
    let joining = getter.join(at(&*tracker, tracker.listeners()));
    let (joined, expected) = tokio::join!(joining, getter.expect(content, None));
    joined.unwrap();
    expected.unwrap();
    let query = content.to_string();
    let found = getter.find(&query);
    let (found, download) = tokio::join!(found, getter.download(content).start());
    assert_eq!(found.unwrap().len(), 1);
    let round_trips = count(&world, began, download.unwrap()).await;
    assert!(round_trips < 4.5, "{round_trips}");
}

/// As `get` does it with the ticket of a private share: the sharer is met beside its tracker.
#[tokio::test(start_paused = true)]
async fn a_private_share_of_one_process_takes_three() {
    let (world, secret) = (World::new(), Secret::new([5; 16]));
    let (shared, apart) = (address("10.0.0.2:9000"), address("10.0.0.2:9999"));
    let tracker = world.bind("tracker", "10.0.0.2:9999", None);
    let seeder = world.node("seeder", world.bind("seeder", "10.0.0.2:9000", None));
    let share = seeder.share(world.file()).piece_size(64 << 10).private(move |_| secret);
    let content = share.await.unwrap().content();
    start_tracker(tracker.clone(), knows(content, &seeder, Some(secret)));
    let getter = world.node("getter", world.bind("getter", "10.0.0.3:9000", Some((shared, apart))));
    let began = Instant::now();
    getter.approach(vec![shared], secret).await.unwrap();
    let joined = getter.join_private(at(&*tracker, vec![shared]), Some(secret)).await.unwrap();
    let content = joined.told.expect("its tracker tells it").content;
    let download = getter.download(content).private(Some(secret)).start().await.unwrap();
    let round_trips = count(&world, began, download).await;
    assert!(round_trips < 3.5, "{round_trips}");
}
