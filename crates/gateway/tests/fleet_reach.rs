//! How long twenty gateways take that are asked at once for what only the hub has, and how much that sends. A measurement, and so nothing
//! that runs with the other tests:
//!
//! ```text
//! cargo test --profile quick -p p2p-fileshare-gateway --features http --test fleet_reach -- --ignored --nocapture
//! ```
//!
//! The hub sends 20 Mbit/s, each gateway's node as much; they talk over loopback. Two are asked by `hf download` where `P2P_TEST_PYTHON` says
//! which Python has it, the others by a client that only reads.

mod client;
#[allow(dead_code)]
#[path = "../../../tests/src/hub.rs"]
mod hub;
#[path = "client/programs.rs"]
mod programs;
#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Client, noise, serve};
use hub::MockHub;
use origins::Limits;
use origins::hub::Hub;
use p2p_fileshare_gateway::{Options, Origins, Swarm};
use peer::{Identity, Node, TrackerAddress, TransportConfig, TransportKind, Trust};
use programs::{must, run};
use tokio::task::JoinSet;

const GATEWAYS: usize = 20;
const BY_HF: usize = 2;
/// 20 Mbit/s.
const RATE: u64 = 2_500_000;
const SIZE: usize = 64 << 20;
const PATH: &str = "/org/model/resolve/main/model.safetensors";

fn anywhere() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn start_tracker() -> TrackerAddress {
    let config = tracker::transport_config(Identity::generate().unwrap(), Trust::Anyone, anywhere());
    let transport = TransportKind::Auto.bind(config).unwrap();
    let (id, addresses) = (transport.peer_id(), transport.listeners());
    tokio::spawn(async move { tracker::Server::new(transport, Default::default()).run().await });
    TrackerAddress { addresses, id, name: None }
}

async fn gateway(folder: &Path, tracker: &TrackerAddress, hub: &MockHub) -> (Node, Arc<Client>) {
    let config = TransportConfig::new(Identity::generate().unwrap(), vec![anywhere()]);
    let transport = TransportKind::Auto.bind(config).unwrap();
    let node = Node::builder(transport).hashes(folder.join("hashes")).output(folder.join("out"));
    let node = node.up_rate(Some(RATE)).start();
    node.join(tracker.clone()).await.unwrap();
    let swarm = Swarm::new(node.clone(), "all").all().output(folder.join("out"));
    let mut options = Options::default();
    let hub = Hub::new(&hub.url(), None, &Limits::default()).unwrap();
    options.origins = Some(Origins::new(folder.join("out")).hub(hub));
    (node, Arc::new(serve(vec![swarm], options).await))
}

/// Gets the model, by `hf download` if there is one. How long that took.
async fn get(client: Arc<Client>, hf: Option<String>, folder: std::path::PathBuf, bytes: Arc<Vec<u8>>) -> Duration {
    let began = Instant::now();
    match hf {
        Some(hf) => {
            let (home, url) = (folder.join("home"), client.url(""));
            let variables = [("HF_ENDPOINT", url.as_str()), ("HF_HOME", home.to_str().unwrap())];
            let into = ["download", "org/model", "--local-dir", "model"];
            must(&run(&hf, &into, &variables, &folder).await.unwrap());
            let took = began.elapsed();
            assert!(std::fs::read(folder.join("model/model.safetensors")).unwrap() == *bytes);
            took
        }
        None => {
            let answer = client.get(PATH, &[]).await;
            assert!(answer.is_success() && answer.body == *bytes, "{}", answer.status);
            began.elapsed()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, which takes a minute"]
async fn twenty_gateways_read_a_model_once() {
    let hf = std::env::var("P2P_TEST_PYTHON").ok().map(|python| Path::new(&python).with_file_name("hf"));
    let hf = hf.filter(|hf| hf.exists()).map(|hf| hf.to_string_lossy().into_owned());
    let (folder, hub, bytes) = (tempfile::tempdir().unwrap(), MockHub::start(), Arc::new(noise(SIZE)));
    hub.put("models/org/model", "model.safetensors", &bytes, true);
    hub.server().rate(RATE);
    let (tracker, mut fleet) = (start_tracker(), Vec::new());
    for number in 0..GATEWAYS {
        fleet.push(gateway(&folder.path().join(number.to_string()), &tracker, &hub).await);
    }
    let mut asked = JoinSet::new();
    for (number, (_, client)) in fleet.iter().enumerate() {
        let at = folder.path().join(format!("client-{number}"));
        // Not the first, which is likely to be the one that reads.
        let hf = hf.clone().filter(|_| (1..=BY_HF).contains(&number));
        asked.spawn(get(client.clone(), hf, at, bytes.clone()));
    }
    let mut took = asked.join_all().await;
    took.sort();
    let copy = SIZE as f64 / RATE as f64;
    let of = |time: &Duration| time.as_secs_f64() / copy;
    println!(
        "one copy from the hub takes {copy:.1} s; {} of {GATEWAYS} were asked by hf download",
        if hf.is_some() { BY_HF } else { 0 }
    );
    println!(
        "first {:.2}, median {:.2}, last {:.2} times that",
        of(&took[0]),
        of(&took[GATEWAYS / 2]),
        of(&took[GATEWAYS - 1])
    );
    println!("the hub sent {:.3} copies", hub.server().sent() as f64 / SIZE as f64);
    for (node, _) in &fleet {
        node.shutdown().await;
    }
}
