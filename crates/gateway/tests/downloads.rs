//! A gateway that does not have yet what it is asked for.

mod client;

use std::time::Duration;

use client::{Peers, noise, serve};
use p2p_fileshare_gateway::{Options, Swarm};
use tokio::io::AsyncReadExt;

/// A patience that only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_asked_for_is_downloaded_and_sent_while_it_comes() {
    let peers = Peers::new();
    let bytes = noise(5_000_000);
    let (sharer, id) = peers.share("seeder", "a.bin", &bytes).await;
    let node = peers.node("gateway", None);
    let swarm = Swarm::new(node.clone(), "a ticket").ticket(id, None).output(peers.at("gateway", "out"));
    let client = serve(vec![swarm], Options::default()).await;
    let path = format!("/content/{id}");
    let (answer, ()) = tokio::join!(client.get(&path, &[]), Peers::introduce(&node, id, &sharer));
    assert_eq!(answer.status, 200);
    assert!(answer.body == bytes);
    // It is here now, and goes on being so.
    assert!(client.get(&path, &[("range", "bytes=-9")]).await.body == bytes[bytes.len() - 9..]);
    assert_eq!(client.get("/name/a.bin", &[("range", "bytes=0-0")]).await.status, 206);
}

/// The sharer is slow, so that what comes first is seen: the rest would take minutes.
#[tokio::test]
async fn a_range_comes_before_the_rest() {
    let peers = Peers::new();
    let bytes = noise(256 << 20);
    peers.put("seeder", "a.bin", &bytes);
    let sharer = peers.node("seeder", Some(8 << 20));
    let id = sharer.share(peers.at("seeder", "a.bin")).await.unwrap().content();
    let node = peers.node("gateway", None);
    let swarm = Swarm::new(node.clone(), "a ticket").ticket(id, None).output(peers.at("gateway", "out"));
    let client = serve(vec![swarm], Options::default()).await;
    let at = 200 << 20;
    let range = format!("bytes={at}-{}", at + (1 << 20) - 1);
    let (path, headers) = (format!("/content/{id}"), [("range", range.as_str())]);
    let (answer, ()) = tokio::join!(client.get(&path, &headers), Peers::introduce(&node, id, &sharer));
    assert!(answer.body == bytes[at..at + (1 << 20)]);
    let status = node.status(id).await.unwrap();
    assert!(status.have < status.pieces / 2, "{} of {} pieces came before the range", status.have, status.pieces);
    // Another reader elsewhere has its turn while the first one goes on.
    let other = 100 << 20;
    let range = format!("bytes={other}-{}", other + 999);
    assert!(client.get(&path, &[("range", range.as_str())]).await.body == bytes[other..other + 1000]);
    let status = node.status(id).await.unwrap();
    assert!(
        status.have < status.pieces / 2,
        "{} of {} pieces came before the second range",
        status.have,
        status.pieces
    );
}

#[tokio::test]
async fn what_nobody_brings_is_said_in_time() {
    let peers = Peers::new();
    let (_sharer, id) = peers.share("seeder", "a.bin", b"bytes").await;
    let node = peers.node("gateway", None);
    let swarm = Swarm::new(node, "a ticket").ticket(id, None).output(peers.at("gateway", "out"));
    let mut options = Options::default();
    options.wait = Duration::from_millis(200);
    let client = serve(vec![swarm], options).await;
    let answer = client.get(&format!("/content/{id}"), &[]).await;
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("try again later"));
}

/// The sharer leaves when a part has come: the client must not take that for the whole.
#[tokio::test]
async fn an_answer_that_breaks_off_is_no_success() {
    let peers = Peers::new();
    let bytes = noise(32 << 20);
    peers.put("seeder", "a.bin", &bytes);
    let sharer = peers.node("seeder", Some(2 << 20));
    let id = sharer.share(peers.at("seeder", "a.bin")).await.unwrap().content();
    let node = peers.node("gateway", None);
    let swarm = Swarm::new(node.clone(), "a ticket").ticket(id, None).output(peers.at("gateway", "out"));
    let mut options = Options::default();
    options.wait = Duration::from_secs(2);
    let client = serve(vec![swarm], options).await;
    let request = format!("GET /content/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (mut stream, ()) = tokio::join!(client.open(&request), Peers::introduce(&node, id, &sharer));
    let mut first = vec![0; 1 << 20];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut first)).await.expect("it begins").unwrap();
    sharer.shutdown().await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends");
    assert!(first.len() + rest.len() < bytes.len());
}

#[tokio::test]
async fn a_thousand_readers_are_served() {
    let peers = Peers::new();
    let bytes = noise(16 << 20);
    let (sharer, id) = peers.share("seeder", "a.bin", &bytes).await;
    let node = peers.node("gateway", None);
    let swarm = Swarm::new(node.clone(), "a ticket").ticket(id, None).output(peers.at("gateway", "out"));
    let client = std::sync::Arc::new(serve(vec![swarm], Options::default()).await);
    let bytes = std::sync::Arc::new(bytes);
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..1000_usize {
        let (client, bytes) = (client.clone(), bytes.clone());
        readers.spawn(async move {
            let at = number * 16_000;
            let range = format!("bytes={at}-{}", at + 9_999);
            let answer = client.get(&format!("/content/{id}"), &[("range", range.as_str())]).await;
            assert!(answer.body == bytes[at..at + 10_000], "{number}");
        });
    }
    Peers::introduce(&node, id, &sharer).await;
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
}
