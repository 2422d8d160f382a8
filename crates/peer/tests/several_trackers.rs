//! A node with several trackers, which a test plays, over a network in memory and in virtual time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2p_fileshare::{Node, NodeBuilder, Resolver, TrackerAddress, TrackerState};
use protocol::{
    ContentId, ContentMatch, Digest, MAX_FRAME, PeerId, TrackerEvent, TrackerInstance, TrackerRequest, Wire,
};
use tokio::time::sleep;
use transport::frame::{frame, read_frame};
use transport::{Connection, MemoryNetwork, Transport};

/// What stands at a tracker.
type Announced = Arc<Mutex<BTreeSet<ContentId>>>;

struct FakeTracker {
    transport: Arc<dyn Transport>,
    announced: Announced,
}

/// What one of them is like.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// What tells it from others of its key.
    nonce: u8,
    /// Whether it leaves questions unanswered.
    silent: bool,
}

impl FakeTracker {
    fn start(network: &MemoryNetwork, key: &[u8], at: &str, manner: Manner) -> Self {
        let transport = network.bind(PeerId::of_public_key(key), vec![at.parse().unwrap()]).unwrap();
        let (transport, announced): (Arc<dyn Transport>, Announced) = (Arc::new(transport), Arc::default());
        let (listening, known) = (transport.clone(), announced.clone());
        tokio::spawn(async move {
            while let Some(connection) = listening.accept().await {
                tokio::spawn(answer(connection, manner, known.clone()));
            }
        });
        FakeTracker { transport, announced }
    }

    fn address(&self) -> TrackerAddress {
        TrackerAddress { addresses: self.transport.listeners(), id: self.transport.peer_id(), name: None }
    }

    fn knows(&self, content: ContentId) -> bool {
        self.announced.lock().unwrap().contains(&content)
    }
}

async fn answer(connection: Arc<dyn Connection>, manner: Manner, announced: Announced) {
    let Ok((mut send, mut recv)) = connection.accept().await else { return };
    while let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await {
        let message = match TrackerRequest::decode(&bytes).unwrap() {
            TrackerRequest::Instance => {
                TrackerEvent::Instance(TrackerInstance { label: [manner.nonce; 16], nonce: [manner.nonce; 16] })
            }
            TrackerRequest::Hello { .. } => TrackerEvent::Welcome { seen: connection.remote_addr() },
            TrackerRequest::Announce(announce) => {
                announced.lock().unwrap().insert(announce.content);
                continue;
            }
            TrackerRequest::Leave(content) => {
                announced.lock().unwrap().remove(&content);
                continue;
            }
            TrackerRequest::Bye => break,
            TrackerRequest::Find(query) if !manner.silent => {
                TrackerEvent::Found { query, matches: vec![found(1, 3), found(2 + manner.nonce, 1)] }
            }
            TrackerRequest::List { before } if !manner.silent => {
                let contents = vec![found(1, 3), found(2 + manner.nonce, 1)];
                TrackerEvent::Listed { before, contents, next: None }
            }
            _ => continue,
        };
        if send.send(frame(&message.encode().unwrap())).await.is_err() {
            break;
        }
    }
    announced.lock().unwrap().clear();
}

fn found(content: u8, seeders: u32) -> ContentMatch {
    let content = ContentId(Digest([content; 32]));
    ContentMatch { content, name: "a".to_owned(), size: 5, seeders, others: 0, downloaders: 0 }
}

fn builder(network: &MemoryNetwork, folder: &std::path::Path) -> NodeBuilder {
    let transport = network.bind(PeerId::of_public_key(b"node"), vec!["10.0.9.9:9000".parse().unwrap()]).unwrap();
    Node::builder(Arc::new(transport)).hashes(folder.join("hashes")).output(folder.join("output"))
}

async fn share(node: &Node, folder: &std::path::Path, name: &str) -> ContentId {
    let file = folder.join(name);
    std::fs::write(&file, name.repeat(1000)).unwrap();
    node.share(&file).await.unwrap().content()
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..2000 {
        if is_so().await {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

async fn up(node: &Node) -> Vec<String> {
    let up = node.trackers().await.into_iter().filter(|tracker| tracker.state == TrackerState::Up);
    let mut up: Vec<_> = up.map(|tracker| tracker.place).collect();
    up.sort();
    up
}

#[tokio::test(start_paused = true)]
async fn a_content_moves_when_a_tracker_dies_and_returns_with_it() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let keys: [&[u8]; 3] = [b"one", b"two", b"three"];
    let mut trackers: Vec<_> = (1..=3)
        .map(|number| {
            FakeTracker::start(&network, keys[number - 1], &format!("10.0.0.{number}:9999"), Manner::default())
        })
        .collect();
    let node = builder(&network, folder.path()).start();
    let joined = node.join_any(trackers.iter().map(FakeTracker::address).collect()).await.unwrap();
    assert!(trackers.iter().any(|tracker| tracker.address().id == joined.tracker));
    until("all answer", async || up(&node).await.len() == 3).await;
    let content = share(&node, folder.path(), "file").await;
    let knowing = |trackers: &[FakeTracker]| -> Vec<usize> {
        (0..trackers.len()).filter(|&number| trackers[number].knows(content)).collect()
    };
    until("two know it", async || knowing(&trackers).len() == 2).await;
    let before = knowing(&trackers);
    let (dies, stays) = (before[0], before[1]);
    let other = (0..3).find(|number| !before.contains(number)).unwrap();
    trackers[dies].transport.close().await;
    trackers[dies].announced.lock().unwrap().clear();
    until("it has moved", async || trackers[other].knows(content)).await;
    assert!(trackers[stays].knows(content));
    let at = trackers[dies].transport.listeners()[0].to_string();
    trackers[dies] = FakeTracker::start(&network, keys[dies], &at, Manner::default());
    until("it is back", async || knowing(&trackers) == before).await;
    assert_eq!(up(&node).await.len(), 3);
    node.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn one_tracker_that_is_there_is_enough_and_none_is_an_error() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let nobody = |number: u8| TrackerAddress {
        addresses: vec![SocketAddr::from(([10, 0, 0, number], 9999))],
        id: PeerId::of_public_key(&[number]),
        name: None,
    };
    let node = builder(&network, folder.path()).start();
    let error = node.join_any(vec![nobody(7), nobody(8)]).await.unwrap_err().to_string();
    assert!(error.contains("10.0.0.7:9999") && error.contains("10.0.0.8:9999"), "{error}");
    let tracker = FakeTracker::start(&network, b"one", "10.0.0.1:9999", Manner::default());
    node.join_any(vec![nobody(7), tracker.address(), nobody(8)]).await.unwrap();
    let content = share(&node, folder.path(), "file").await;
    until("the one that lives knows it", async || tracker.knows(content)).await;
    node.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn all_trackers_are_asked_and_one_that_is_silent_is_named() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let start = |key: &[u8], at: &str, manner| FakeTracker::start(&network, key, at, manner);
    let one = start(b"one", "10.0.0.1:9999", Manner { nonce: 1, silent: false });
    let two = start(b"two", "10.0.0.2:9999", Manner { nonce: 2, silent: false });
    let silent = start(b"silent", "10.0.0.3:9999", Manner { nonce: 3, silent: true });
    let node = builder(&network, folder.path()).start();
    node.join_any([&silent, &one, &two].map(FakeTracker::address).into()).await.unwrap();
    until("all are there", async || up(&node).await.len() == 3).await;
    let ids = |found: &[ContentMatch]| found.iter().map(|found| found.content.0.0[0]).collect::<Vec<_>>();
    let answer = node.find("a").await.unwrap();
    assert_eq!((ids(&answer), answer[0].seeders), (vec![1, 3, 4], 3), "each once, and its peers are not added up");
    assert_eq!(node.silent_trackers(), ["10.0.0.3:9999"]);
    let (mut listed, mut before) = (Vec::new(), None);
    loop {
        let page = node.list(before).await.unwrap();
        listed.extend(page.contents);
        let Some(next) = page.next else { break };
        assert!(before.is_none_or(|before| next < before));
        before = Some(next);
    }
    assert_eq!(ids(&p2p_fileshare::merged(listed)), [1, 3, 4]);
    assert_eq!(node.silent_trackers(), ["10.0.0.3:9999"]);
    node.shutdown().await;
}

/// A resolver whose answer a test changes.
fn resolver(answer: &Arc<Mutex<Vec<SocketAddr>>>) -> Resolver {
    let answer = answer.clone();
    Arc::new(move |_| {
        let found = answer.lock().unwrap().clone();
        Box::pin(async move { Ok(found) })
    })
}

/// As the replicas behind a headless Service are: with one key, told apart by what they say.
#[tokio::test(start_paused = true)]
async fn trackers_behind_a_name_come_and_go_with_it() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let all: Vec<_> = (1..=5)
        .map(|number| {
            let manner = Manner { nonce: number, silent: false };
            FakeTracker::start(&network, b"one key", &format!("10.0.0.{number}:9999"), manner)
        })
        .collect();
    let at: Vec<SocketAddr> = all.iter().map(|tracker| tracker.transport.listeners()[0]).collect();
    let answer = Arc::new(Mutex::new(vec![at[0]]));
    let node = builder(&network, folder.path()).resolver(resolver(&answer)).start();
    let name = Some("trackers.example:9999".to_owned());
    let named = TrackerAddress { addresses: vec![at[0]], id: all[0].address().id, name };
    node.join(named.clone()).await.unwrap();
    let watched = node.watch_trackers();
    let content = share(&node, folder.path(), "file").await;
    until("the only one knows it", async || all[0].knows(content)).await;
    // More replicas.
    *answer.lock().unwrap() = vec![at[1], at[0]];
    until("both know it", async || all[0].knows(content) && all[1].knows(content)).await;
    *answer.lock().unwrap() = at[..3].to_vec();
    until("the third is found", async || up(&node).await.len() == 3).await;
    // One is moved elsewhere.
    *answer.lock().unwrap() = at[1..3].to_vec();
    let left = [at[1].to_string(), at[2].to_string()];
    until("it is left", async || up(&node).await == left).await;
    until("the others know it", async || all[1].knows(content) && all[2].knows(content)).await;
    until("it has forgotten it", async || !all[0].knows(content)).await;
    // A rollout changes all addresses at once.
    *answer.lock().unwrap() = at[3..].to_vec();
    let new = [at[3].to_string(), at[4].to_string()];
    until("the old ones are left for the new", async || up(&node).await == new).await;
    until("the new ones know it", async || all[3].knows(content) && all[4].knows(content)).await;
    let told: Vec<_> = named.told_apart(&watched.borrow()).into_iter().map(|one| one.addresses).collect();
    assert!(told.len() == 2 && told.iter().all(|one| one.len() == 1 && at[3..].contains(&one[0])), "{told:?}");
    node.shutdown().await;
}

/// As replicas that are scaled down to one, which is then started elsewhere.
#[tokio::test(start_paused = true)]
async fn the_last_tracker_behind_a_name_is_followed_when_it_moves() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let start = |number: u8| {
        let manner = Manner { nonce: number, silent: false };
        FakeTracker::start(&network, b"one key", &format!("10.0.0.{number}:9999"), manner)
    };
    let [one, two, moved] = [1, 2, 3].map(start);
    let at = |tracker: &FakeTracker| tracker.transport.listeners()[0];
    let answer = Arc::new(Mutex::new(vec![at(&one), at(&two)]));
    let node = builder(&network, folder.path()).resolver(resolver(&answer)).start();
    let name = Some("trackers.example:9999".to_owned());
    let addresses = vec![at(&one), at(&two)];
    node.join(TrackerAddress { addresses, id: one.address().id, name }).await.unwrap();
    let content = share(&node, folder.path(), "file").await;
    until("both know it", async || one.knows(content) && two.knows(content)).await;
    *answer.lock().unwrap() = vec![at(&one)];
    until("one is left", async || up(&node).await == [at(&one).to_string()]).await;
    one.transport.close().await;
    *answer.lock().unwrap() = vec![at(&moved)];
    until("it is found where it is now", async || moved.knows(content)).await;
    assert_eq!(up(&node).await, [at(&moved).to_string()]);
    node.shutdown().await;
}

/// As many as a node deals with, or nearly.
#[tokio::test(start_paused = true)]
async fn all_trackers_behind_a_name_may_be_replaced_at_once() {
    for count in [10, 16] {
        let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
        let start = |number| {
            let manner = Manner { nonce: number, silent: false };
            FakeTracker::start(&network, b"one key", &format!("10.0.0.{number}:9999"), manner)
        };
        let [old, new] = [1..=count, count + 1..=2 * count].map(|all| all.map(start).collect::<Vec<_>>());
        let places = |all: &[FakeTracker]| all.iter().map(|one| one.transport.listeners()[0]).collect::<Vec<_>>();
        let answer = Arc::new(Mutex::new(places(&old)));
        let node = builder(&network, folder.path()).resolver(resolver(&answer)).start();
        let name = Some("trackers.example:9999".to_owned());
        node.join(TrackerAddress { addresses: places(&old), id: old[0].address().id, name }).await.unwrap();
        until("the old ones are up", async || up(&node).await.len() == old.len()).await;
        *answer.lock().unwrap() = places(&new);
        let mut expected: Vec<_> = places(&new).iter().map(SocketAddr::to_string).collect();
        expected.sort();
        until("the new ones are, and they alone", async || {
            let mut up = up(&node).await;
            up.sort();
            up == expected
        })
        .await;
        node.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_has_moved_is_told_of_where_it_is_now() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let before = FakeTracker::start(&network, b"one", "10.0.0.1:9999", Manner::default());
    let answer = Arc::new(Mutex::new(before.transport.listeners()));
    let node = builder(&network, folder.path()).resolver(resolver(&answer)).start();
    let named = TrackerAddress { name: Some("tracker.example:9999".to_owned()), ..before.address() };
    node.join(named.clone()).await.unwrap();
    let mut watched = node.watch_trackers();
    assert_eq!(named.told_apart(&watched.borrow_and_update()), std::slice::from_ref(&named));
    let after = FakeTracker::start(&network, b"one", "10.0.0.7:9999", Manner::default());
    *answer.lock().unwrap() = after.transport.listeners();
    before.transport.close().await;
    until("it is found there", async || named.told_apart(&watched.borrow())[0].addresses == after.address().addresses)
        .await;
    assert!(watched.has_changed().unwrap());
    node.shutdown().await;
}

/// A machine with several addresses behind its name, or a name that was given twice.
#[tokio::test(start_paused = true)]
async fn two_addresses_of_one_tracker_are_one_session() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let places = ["10.0.0.1:9999", "10.0.0.1:9998"].map(|at| at.parse::<SocketAddr>().unwrap());
    let transport: Arc<dyn Transport> = Arc::new(network.bind(PeerId::of_public_key(b"one"), places.to_vec()).unwrap());
    let (listening, announced) = (transport.clone(), Announced::default());
    tokio::spawn(async move {
        while let Some(connection) = listening.accept().await {
            tokio::spawn(answer(connection, Manner::default(), announced.clone()));
        }
    });
    let node = builder(&network, folder.path()).start();
    let id = transport.peer_id();
    let name = Some("trackers.example:9999".to_owned());
    node.join(TrackerAddress { addresses: places.to_vec(), id, name }).await.unwrap();
    until("one is left", async || node.trackers().await.len() == 1 && up(&node).await.len() == 1).await;
    node.shutdown().await;
}

/// A machine with two addresses behind its name, one of which is reached by nobody.
#[tokio::test(start_paused = true)]
async fn an_address_that_never_answers_is_no_tracker_of_its_own() {
    let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let tracker = FakeTracker::start(&network, b"one", "10.0.0.1:9999", Manner::default());
    let dead: SocketAddr = "10.0.0.2:9999".parse().unwrap();
    let addresses = vec![dead, tracker.transport.listeners()[0]];
    let named = TrackerAddress { addresses, name: Some("tracker.example:9999".to_owned()), ..tracker.address() };
    let node = builder(&network, folder.path()).start();
    node.join(named.clone()).await.unwrap();
    assert_eq!(node.find("a").await.unwrap().len(), 2);
    node.list(None).await.unwrap();
    assert_eq!(node.silent_trackers(), [""; 0]);
    assert_eq!(
        named.told_apart(&node.trackers_to_ask().await),
        std::slice::from_ref(&named),
        "a ticket names one tracker"
    );
    // It is one all the same, when it answers.
    let _other = FakeTracker::start(&network, b"one", "10.0.0.2:9999", Manner { nonce: 2, silent: false });
    until("both are there", async || up(&node).await.len() == 2).await;
    assert_eq!(named.told_apart(&node.trackers_to_ask().await).len(), 2);
    node.shutdown().await;
}
