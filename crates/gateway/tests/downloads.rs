//! A gateway that does not have yet what it is asked for.

mod client;

use std::time::Duration;

use client::{Client, Peers, noise, serve};
use p2p_fileshare_gateway::{Gateway, Options, Swarm};
use peer::ContentId;

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

/// The sharer is slow, so that what comes first is seen: the rest would take minutes, even where nothing else is slow.
#[tokio::test]
async fn a_range_comes_before_the_rest() {
    let peers = Peers::new();
    let bytes = noise(256 << 20);
    peers.put("seeder", "a.bin", &bytes);
    let sharer = peers.node("seeder", Some(4 << 20));
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
async fn what_a_ticket_is_of_is_served_by_its_name_from_the_beginning() {
    let (peers, bytes) = (Peers::new(), noise(300_000));
    let (sharer, id) = peers.share("seeder", "a.bin", &bytes).await;
    let node = peers.node("gateway", None);
    let swarm = Swarm::new(node.clone(), "a ticket").ticket(id, None).output(peers.at("gateway", "out"));
    let client = serve(vec![swarm], Options::default()).await;
    let (answer, ()) = tokio::join!(client.get("/name/a.bin", &[]), Peers::introduce(&node, id, &sharer));
    assert!(answer.status == 200 && answer.body == bytes, "{}", answer.status);
    assert_eq!(client.get("/name/b.bin", &[]).await.status, 404);
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

/// Who asks waits for less than it takes until the content is open.
#[tokio::test]
async fn what_comes_counts_even_if_who_asked_has_gone() {
    let peers = Peers::new();
    let (sharer, id) = peers.share("seeder", "a.bin", &noise(1_000_000)).await;
    let (other, large) = peers.share("other", "b.bin", &noise(3_000_000)).await;
    let node = peers.node("gateway", None);
    let swarm = Swarm::new(node.clone(), "tickets").ticket(id, None).ticket(large, None);
    let mut options = Options::default();
    options.wait = Duration::from_millis(1);
    options.cache = Some(2_000_000);
    let swarms = vec![swarm.output(peers.at("gateway", "out"))];
    let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), swarms, options).await.unwrap();
    let (client, kept) = (Client(gateway.address()), gateway.kept());
    tokio::spawn(gateway.serve());
    for content in [id, large] {
        assert_eq!(client.get(&format!("/content/{content}"), &[]).await.status, 504);
    }
    Peers::introduce(&node, id, &sharer).await;
    Peers::introduce(&node, large, &other).await;
    let is_done = async || kept().bytes == 1_000_000 && node.open(large).await.is_none();
    let folder = |content: ContentId| peers.at("gateway", "out").join(&content.to_string()[..16]);
    for _ in 0..1000 {
        if is_done().await && folder(id).exists() && !folder(large).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", kept());
}

#[tokio::test]
async fn a_gateway_that_removes_files_has_its_folder_for_itself() {
    let peers = Peers::new();
    let bind = async |cache| {
        let swarm = Swarm::new(peers.node("gateway", None), "a swarm").output(peers.at("gateway", "out"));
        let mut options = Options::default();
        options.cache = cache;
        Gateway::bind("127.0.0.1:0".parse().unwrap(), vec![swarm], options).await.map_err(|error| error.to_string())
    };
    let _first = bind(Some(1 << 20)).await.unwrap();
    for cache in [None, Some(1 << 20)] {
        let refused = bind(cache).await.err().unwrap();
        assert!(refused.contains("needs a folder of its own"), "{refused}");
    }
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
    let patient = serve(vec![swarm], Options::default()).await;
    let (path, range) = (format!("/content/{id}"), [("range", "bytes=0-1048575")]);
    let (first, ()) = tokio::join!(patient.get(&path, &range), Peers::introduce(&node, id, &sharer));
    assert!(first.body == bytes[..1 << 20]);
    sharer.shutdown().await;
    // What is here is sent by one that does not wait long for the rest.
    let mut options = Options::default();
    options.wait = Duration::from_secs(3);
    let client = serve(vec![Swarm::new(node, "what is here")], options).await;
    let answer = tokio::time::timeout(PATIENCE, client.get(&path, &[])).await.expect("it ends");
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("33554432")));
    assert!(answer.body.len() >= 1 << 20 && answer.body.len() < bytes.len(), "{}", answer.body.len());
}

#[tokio::test]
async fn downloads_that_are_complete_make_room_for_others() {
    let peers = Peers::new();
    let sharer = peers.node("seeder", None);
    let node = peers.node("gateway", None);
    let mut swarm = Swarm::new(node.clone(), "tickets").output(peers.at("gateway", "out"));
    let mut ids = Vec::new();
    let unknown = peers.node("unknown", None);
    for (name, of) in [("a", &sharer), ("b", &sharer), ("c", &sharer), ("d", &unknown), ("e", &unknown)] {
        peers.put("seeder", name, name.as_bytes());
        let id = of.share(peers.at("seeder", name)).await.unwrap().content();
        swarm = swarm.ticket(id, None);
        ids.push(id);
    }
    let mut options = Options::default();
    (options.downloads, options.wait) = (1, PATIENCE);
    let client = serve(vec![swarm], options).await;
    for (name, &id) in ["a", "b", "c"].iter().zip(&ids) {
        let path = format!("/content/{id}");
        let (answer, ()) = tokio::join!(client.get(&path, &[]), Peers::introduce(&node, id, &sharer));
        assert_eq!((answer.status, answer.text().as_str()), (200, *name));
        let mut status = node.open(id).await.unwrap().status();
        status.wait_for(|status| status.is_complete()).await.unwrap();
    }
    // One that nobody brings has the only place.
    let waiting = client.open(&format!("GET /content/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", ids[3])).await;
    while node.status(ids[3]).await.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.get(&format!("/content/{}", ids[4]), &[]).await.status, 503);
    assert_eq!(client.get(&format!("/content/{}", ids[0]), &[]).await.status, 200);
    drop(waiting);
}

#[tokio::test]
async fn hundreds_of_readers_are_served_at_once() {
    let peers = Peers::new();
    let bytes = noise(16 << 20);
    let (sharer, id) = peers.share("seeder", "a.bin", &bytes).await;
    let node = peers.node("gateway", None);
    let swarm = Swarm::new(node.clone(), "a ticket").ticket(id, None).output(peers.at("gateway", "out"));
    let client = std::sync::Arc::new(serve(vec![swarm], Options::default()).await);
    let bytes = std::sync::Arc::new(bytes);
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..300_usize {
        let (client, bytes) = (client.clone(), bytes.clone());
        readers.spawn(async move {
            let at = number * 50_000;
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
