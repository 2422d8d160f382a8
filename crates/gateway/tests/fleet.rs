//! Many gateways that are asked at once for what only an origin has: one reads it, the others take it from there.

mod client;
#[allow(dead_code)]
#[path = "../../../tests/src/hub.rs"]
mod hub;
#[path = "client/images.rs"]
mod images;
#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{Answer, Client, Peers, noise, serve};
use hub::MockHub;
use images::MockRegistry;
use origins::Limits;
use origins::hub::Hub;
use origins::registry::Registry;
use p2p_fileshare_gateway::{Options, Origins, Swarm};
use peer::{LeaseState, Node, OriginKey, TrackerAddress};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use transport::frame::{MessageReceiver, MessageSender};
use transport::{Connection, Transport};
use web::{Response, Sending};

/// A patience that only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const FLEET: usize = 5;
const MODEL: &str = "/org/model/resolve/main/model.safetensors";

fn limits() -> Limits {
    Limits::default().pause(Duration::from_millis(5)).patience(Duration::from_millis(200))
}

/// A gateway of a swarm, with these origins behind.
async fn gateway(
    peers: &Peers,
    peer: &str,
    tracker: &TrackerAddress,
    add: impl FnOnce(Origins) -> Origins,
) -> (Node, Arc<Client>) {
    gateway_with(peers, peer, tracker, Options::default(), add).await
}

async fn gateway_with(
    peers: &Peers,
    peer: &str,
    tracker: &TrackerAddress,
    mut options: Options,
    add: impl FnOnce(Origins) -> Origins,
) -> (Node, Arc<Client>) {
    let node = peers.joined(peer, tracker).await;
    let swarm = Swarm::new(node.clone(), "all").all().output(peers.at(peer, "out"));
    options.origins = Some(add(Origins::new(peers.at(peer, "out")).patience(PATIENCE)));
    (node, Arc::new(serve(vec![swarm], options).await))
}

async fn fleet(peers: &Peers, tracker: &TrackerAddress, hub: &MockHub, count: usize) -> Vec<(Node, Arc<Client>)> {
    let mut all = Vec::new();
    for number in 0..count {
        let hub = Hub::new(&hub.url(), None, &limits()).unwrap();
        all.push(gateway(peers, &format!("gateway-{number}"), tracker, |origins| origins.hub(hub)).await);
    }
    all
}

/// Asks all of them at once.
async fn ask_all(clients: impl IntoIterator<Item = Arc<Client>>, path: &str) -> Vec<Answer> {
    let mut asked = JoinSet::new();
    for client in clients {
        let path = path.to_owned();
        asked.spawn(async move { client.get(&path, &[]).await });
    }
    asked.join_all().await
}

fn clients(fleet: &[(Node, Arc<Client>)]) -> Vec<Arc<Client>> {
    fleet.iter().map(|(_, client)| client.clone()).collect()
}

/// How often a file was read, but for the few bytes that keep clients waiting.
fn files_read(hub: &MockHub) -> usize {
    let is_small = |range: &String| {
        let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let bounds = bounds.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
        bounds.is_some_and(|(first, last)| last - first < 16 << 10)
    };
    let requests = hub.server().requests();
    let files = requests.iter().filter(|request| request.method == "GET" && request.path.contains("/resolve/"));
    files.filter(|request| !request.headers.get("range").is_some_and(is_small)).count()
}

/// What other gateways call a file of LFS.
fn name_of(bytes: &[u8]) -> String {
    format!("sha256-{}", data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)))
}

#[tokio::test]
async fn a_model_is_read_once_for_all_gateways() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let (weights, vocabulary) = (noise(5_000_001), noise(300_001));
    hub.put("models/org/model", "model.safetensors", &weights, true);
    hub.put("models/org/model", "vocabulary.txt", &vocabulary, false);
    let fleet = fleet(&peers, &peers.tracker(), &hub, FLEET).await;
    for (path, bytes) in [(MODEL, &weights), ("/org/model/resolve/main/vocabulary.txt", &vocabulary)] {
        let before = files_read(&hub);
        let answers = ask_all(clients(&fleet), path).await;
        assert_eq!(answers.len(), FLEET);
        assert!(answers.iter().all(|answer| answer.is_success() && answer.body == *bytes), "{path}");
        assert_eq!(files_read(&hub) - before, 1, "{path}");
    }
    assert!(hub.server().sent() < (weights.len() + vocabulary.len()) as u64 * 105 / 100);
}

#[tokio::test]
async fn a_layer_and_its_manifest_are_read_once_for_all_gateways() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let layer = noise(3_000_001);
    let (manifest, digest) = registry.put_image("library/a", "latest", &layer);
    let (tracker, mut fleet) = (peers.tracker(), Vec::new());
    for number in 0..FLEET {
        let registry = Registry::new(&registry.url(), None, &limits()).unwrap();
        let add = |origins: Origins| origins.registry("docker.io", registry);
        fleet.push(gateway(&peers, &format!("gateway-{number}"), &tracker, add).await);
    }
    let manifests = ask_all(clients(&fleet), "/v2/library/a/manifests/latest?ns=docker.io").await;
    assert!(manifests.iter().all(|answer| answer.is_success() && images::digest(&answer.body) == manifest));
    let layers = ask_all(clients(&fleet), &format!("/v2/library/a/blobs/{digest}?ns=docker.io")).await;
    assert!(layers.iter().all(|answer| answer.is_success() && answer.body == layer));
    assert_eq!(registry.read(&format!("manifests/{manifest}")), 1);
    assert!(registry.sent() < layer.len() as u64 * 105 / 100, "{}", registry.sent());
}

#[tokio::test]
async fn another_gateway_reads_when_the_first_dies_half_way() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let weights = noise(4_000_001);
    hub.put("models/org/model", "model.safetensors", &weights, true);
    let (begun, part) = (Arc::new(AtomicBool::new(false)), weights.clone());
    let begins = begun.clone();
    hub.fault(move |request| {
        let is_first = request.path.contains("/resolve/") && !begins.swap(true, Ordering::Relaxed);
        is_first.then(|| Response {
            sending: Sending::Stuck(part.len() / 2),
            ..Response::of_bytes(request, &part, "\"x\"")
        })
    });
    let fleet = fleet(&peers, &peers.tracker(), &hub, FLEET).await;
    let first = fleet[0].1.clone();
    let request = format!("GET {MODEL} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", first.0);
    let dies = tokio::spawn(async move { first.try_raw(&request).await });
    while !begun.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let others = tokio::spawn(ask_all(clients(&fleet[1..]), MODEL));
    // All of them stand in line by now, or will: either way nobody reads before the first is gone.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(files_read(&hub), 1);
    fleet[0].0.shutdown().await;
    let answers = others.await.unwrap();
    assert!(answers.iter().all(|answer| answer.is_success() && answer.body == weights));
    assert_eq!(files_read(&hub), 2);
    dies.abort();
}

#[tokio::test]
async fn what_a_liar_publishes_costs_one_more_reading() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let tracker = peers.tracker();
    let weights = noise(2_000_003);
    let mut wrong = weights.clone();
    wrong[1_000_000] ^= 1;
    hub.put("models/org/model", "model.safetensors", &weights, true);
    let fleet = fleet(&peers, &tracker, &hub, 3).await;
    let name = name_of(&weights);
    let liar = peers.joined("liar", &tracker).await;
    let lease = liar.lease(OriginKey::of(&name), weights.len() as u64, &[]).await.unwrap();
    assert_eq!(lease.state(), LeaseState::Granted);
    let first = tokio::spawn(ask_all(clients(&fleet), MODEL));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(files_read(&hub), 0, "they wait for the one that says it reads");
    peers.put("liar", &name, &wrong);
    let content = liar.share(peers.at("liar", &name)).await.unwrap().content();
    lease.publish(content);
    let answers = first.await.unwrap();
    assert!(answers.iter().all(|answer| !answer.is_success() || answer.body == weights), "never a wrong one");
    let mut answers = Vec::new();
    for (_, client) in &fleet {
        answers.push(client.get(MODEL, &[]).await);
    }
    assert!(answers.iter().all(|answer| answer.is_success() && answer.body == weights));
    assert_eq!(files_read(&hub), 1);
}

#[tokio::test]
async fn who_claims_and_goes_away_stops_nobody() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let tracker = peers.tracker();
    let weights = noise(1_000_003);
    hub.put("models/org/model", "model.safetensors", &weights, true);
    let fleet = fleet(&peers, &tracker, &hub, 2).await;
    let idle = peers.joined("idle", &tracker).await;
    let lease = idle.lease(OriginKey::of(&name_of(&weights)), 1, &[]).await.unwrap();
    let waiting = tokio::spawn(ask_all(clients(&fleet), MODEL));
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(lease);
    assert!(waiting.await.unwrap().iter().all(|answer| answer.is_success() && answer.body == weights));
    assert_eq!(files_read(&hub), 1);
}

#[tokio::test]
#[ignore = "a minute"]
async fn a_liar_that_makes_progress_is_not_waited_for_for_ever() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let tracker = peers.tracker();
    let weights = noise(4_000_003);
    hub.put("models/org/model", "model.safetensors", &weights, true);
    let fleet = fleet(&peers, &tracker, &hub, 3).await;
    let liar = peers.joined("liar", &tracker).await;
    let mut lease = liar.lease(OriginKey::of(&name_of(&weights)), weights.len() as u64, &[]).await.unwrap();
    // The tracker would let it go on so for two minutes.
    let lies = tokio::spawn(async move {
        for second in 0.. {
            lease.progress(second * (33 << 10));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let began = std::time::Instant::now();
    let answers = ask_all(clients(&fleet), MODEL).await;
    assert!(answers.iter().all(|answer| answer.is_success() && answer.body == weights));
    assert!((1..=3).contains(&files_read(&hub)), "one that loses its patience, and others that do so meanwhile");
    println!("{:.1} s, {} readings", began.elapsed().as_secs_f64(), files_read(&hub));
    lies.abort();
}

#[tokio::test]
async fn an_origin_that_fails_is_tried_again_and_read_once_when_it_is_back() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let weights = noise(1_000_007);
    hub.put("models/org/model", "model.safetensors", &weights, true);
    let is_down = Arc::new(AtomicBool::new(true));
    let fails = is_down.clone();
    hub.fault(move |request| {
        let fails = request.path.contains("/resolve/") && fails.load(Ordering::Relaxed);
        fails.then(|| Response::new(503, ""))
    });
    let fleet = fleet(&peers, &peers.tracker(), &hub, 3).await;
    let answers = ask_all(clients(&fleet), MODEL).await;
    assert!(answers.iter().all(|answer| !answer.is_success() && !answer.body.is_empty()), "each is told something");
    is_down.store(false, Ordering::Relaxed);
    let before = files_read(&hub);
    let answers = ask_all(clients(&fleet), MODEL).await;
    assert!(answers.iter().all(|answer| answer.is_success() && answer.body == weights));
    assert_eq!(files_read(&hub) - before, 1);
}

#[tokio::test]
async fn what_a_liar_holds_up_is_waited_for_no_longer_than_anything_else() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let tracker = peers.tracker();
    let files = [("model.safetensors", noise(1_000_003)), ("config.json", noise(2_003)), ("empty", Vec::new())];
    let liar = peers.joined("liar", &tracker).await;
    let mut leases = Vec::new();
    for (path, bytes) in &files {
        hub.put("models/org/model", path, bytes, true);
        leases.push(liar.lease(OriginKey::of(&name_of(bytes)), bytes.len() as u64, &[]).await.unwrap());
    }
    let mut options = Options::default();
    options.wait = Duration::from_secs(1);
    let origin = Hub::new(&hub.url(), None, &limits()).unwrap();
    let (_node, client) = gateway_with(&peers, "gateway", &tracker, options, |origins| origins.hub(origin)).await;
    let range = |range| vec![("Range", range)];
    let asked = [
        ("config.json", vec![]),
        ("empty", vec![]),
        ("model.safetensors", range("bytes=500000-900000")),
        ("model.safetensors", range("bytes=0-1023")),
        ("model.safetensors", range("bytes=0-9,500000-500009")),
    ];
    for (path, headers) in asked {
        let answer = client.get(&format!("/org/model/resolve/main/{path}"), &headers).await;
        assert_eq!(answer.status, 504, "{path} {headers:?}");
    }
    assert_eq!(files_read(&hub), 0);
}

#[tokio::test]
async fn what_comes_beforehand_is_compared_with_the_whole_file() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let tracker = peers.tracker();
    let weights = noise(1_000_003);
    hub.put("models/org/model", "model.safetensors", &weights, true);
    let (sent, lies) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let (says, wrong) = (sent.clone(), vec![0; weights.len()]);
    hub.fault(move |request| {
        let lies = request.path.contains("/resolve/") && lies.swap(false, Ordering::Relaxed);
        says.fetch_or(lies, Ordering::Relaxed);
        let tag = format!("\"{}\"", name_of(&noise(wrong.len())).trim_start_matches("sha256-"));
        lies.then(|| Response::of_bytes(request, &wrong, &tag))
    });
    let reader = peers.joined("reader", &tracker).await;
    let name = name_of(&weights);
    let lease = reader.lease(OriginKey::of(&name), weights.len() as u64, &[]).await.unwrap();
    let fleet = fleet(&peers, &tracker, &hub, 1).await;
    let client = fleet[0].1.clone();
    // Who wants another part hears nothing, and holds nobody up.
    let middle = format!("GET {MODEL} HTTP/1.1\r\nHost: {}\r\nRange: bytes=500000-900000\r\n\r\n", client.0);
    let _middle = client.open(&middle).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let waits = tokio::spawn(async move { client.get(MODEL, &[]).await });
    while !sent.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    peers.put("reader", &name, &weights);
    lease.publish(reader.share(peers.at("reader", &name)).await.unwrap().content());
    let answer = waits.await.unwrap();
    assert!(answer.status == 200 && answer.body[..1024] == [0; 1024], "it was sent something wrong");
    assert!(!answer.is_success(), "and so it ends");
    let again = fleet[0].1.get(MODEL, &[]).await;
    assert!(again.is_success() && again.body == weights);
}

#[tokio::test]
async fn what_is_larger_than_all_that_may_be_kept_is_refused_while_another_reads_it() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let tracker = peers.tracker();
    let weights = noise(1_000_005);
    hub.put("models/org/model", "model.safetensors", &weights, true);
    let reader = peers.joined("reader", &tracker).await;
    let _lease = reader.lease(OriginKey::of(&name_of(&weights)), weights.len() as u64, &[]).await.unwrap();
    let mut options = Options::default();
    options.cache = Some(500_000);
    let origin = Hub::new(&hub.url(), None, &limits()).unwrap();
    let (_node, client) = gateway_with(&peers, "gateway", &tracker, options, |origins| origins.hub(origin)).await;
    let answer = client.get(MODEL, &[]).await;
    assert!(answer.status == 507 && answer.text().contains("raise --cache"), "{} {}", answer.status, answer.text());
}

#[tokio::test]
async fn nothing_is_claimed_that_the_registry_does_not_have() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let tracker = peers.tracker();
    registry.put_image("library/a", "latest", &noise(1000));
    let idle = peers.joined("idle", &tracker).await;
    let bytes = noise(77);
    let _lease = idle.lease(OriginKey::of(&name_of(&bytes)), 77, &[]).await.unwrap();
    let registry = Registry::new(&registry.url(), None, &limits()).unwrap();
    let add = |origins: Origins| origins.registry("docker.io", registry);
    let (_node, client) = gateway(&peers, "gateway", &tracker, add).await;
    let answer = client.get(&format!("/v2/library/a/blobs/{}?ns=docker.io", images::digest(&bytes)), &[]).await;
    assert_eq!(answer.status, 404);
}

/// A tracker that knows nothing, and ends connections on which it hears of leases.
async fn older_tracker(transport: Arc<dyn Transport>) {
    while let Some(connection) = transport.accept().await {
        tokio::spawn(older_session(connection));
    }
}

async fn older_session(connection: Arc<dyn Connection>) -> Option<()> {
    use protocol::{TrackerEvent, TrackerRequest};

    let (send, recv) = connection.accept().await.ok()?;
    let (mut send, mut recv) = (MessageSender::new(send, PATIENCE), MessageReceiver::<TrackerRequest>::new(recv));
    loop {
        let answer = match recv.recv().await.ok()?? {
            TrackerRequest::Hello { .. } => TrackerEvent::Welcome { seen: connection.remote_addr() },
            TrackerRequest::Find(query) => TrackerEvent::Found { query, matches: Vec::new() },
            TrackerRequest::Lease(_) => {
                connection.close(0, "done");
                return None;
            }
            _ => continue,
        };
        send.send(&answer).await.ok()?;
    }
}

#[tokio::test]
async fn with_an_older_tracker_each_gateway_reads_itself() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let weights = noise(500_009);
    hub.put("models/org/model", "model.safetensors", &weights, true);
    let transport = peers.bind();
    let tracker = TrackerAddress { addresses: transport.listeners(), id: transport.peer_id(), name: None };
    tokio::spawn(older_tracker(transport));
    let fleet = fleet(&peers, &tracker, &hub, 2).await;
    let answers = ask_all(clients(&fleet), MODEL).await;
    assert!(answers.iter().all(|answer| answer.is_success() && answer.body == weights));
    assert_eq!(files_read(&hub), 2);
}
