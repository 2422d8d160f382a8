//! Models that nobody has published, by the gateway's own hub.

mod client;
#[allow(dead_code)]
#[path = "../../../tests/src/hub.rs"]
mod hub;
#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

use std::ops::Range;
use std::time::Duration;

use client::{Client, Peers, noise, serve};
use hub::{COMMIT, MockHub};
use origins::Limits;
use origins::hub::Hub;
use p2p_fileshare_gateway::{Options, Origins, Swarm};
use peer::{Node, TrackerAddress};
use web::{Response, Sending};

/// A patience that only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn gateway(peers: &Peers, peer: &str, tracker: &TrackerAddress, hub: &MockHub) -> (Node, Client) {
    gateway_with(peers, peer, tracker, hub, |origins| origins).await
}

async fn gateway_with(
    peers: &Peers,
    peer: &str,
    tracker: &TrackerAddress,
    hub: &MockHub,
    with: impl FnOnce(Origins) -> Origins,
) -> (Node, Client) {
    let limits = Limits::default().pause(Duration::from_millis(5)).patience(Duration::from_millis(200));
    let node = peers.joined(peer, tracker).await;
    let swarm = Swarm::new(node.clone(), "all").all().output(peers.at(peer, "out"));
    let mut options = Options::default();
    let hub = Hub::new(&hub.url(), None, &limits).unwrap();
    options.origins = Some(with(Origins::new(peers.at(peer, "out")).patience(PATIENCE).hub(hub)));
    (node, serve(vec![swarm], options).await)
}

fn files_read(hub: &MockHub, path: &str) -> usize {
    let requests = hub.server().requests();
    requests.iter().filter(|request| request.method == "GET" && request.path.ends_with(path)).count()
}

#[tokio::test]
async fn a_model_that_nobody_has_comes_from_the_hub_once() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let weights = noise(3_000_001);
    hub.put("models/org/model", "config.json", b"{}", false);
    hub.put("models/org/model", "sub/model.safetensors", &weights, true);
    hub.tag("models/org/model", "v1", COMMIT);
    let (_node, client) = gateway(&peers, "gateway", &peers.tracker(), &hub).await;
    let info = client.get("/api/models/org/model/revision/v1", &[]).await.text();
    assert!(info.contains(COMMIT) && info.contains("sub/model.safetensors"), "{info}");
    let tree: serde_json::Value = serde_json::from_slice(
        &client.get(&format!("/api/models/org/model/tree/{COMMIT}?recursive=true"), &[]).await.body,
    )
    .unwrap();
    let file = tree.as_array().unwrap().iter().find(|entry| entry["path"] == "sub/model.safetensors").unwrap();
    let sha256 = file["lfs"]["oid"].as_str().unwrap().to_owned();
    let path = "/org/model/resolve/main/sub/model.safetensors";
    let head = client.ask("HEAD", path, &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("3000001")));
    assert_eq!(head.header("x-repo-commit"), Some(COMMIT));
    assert_eq!(head.header("etag"), Some(format!("\"{sha256}\"").as_str()));
    assert_eq!(head.header("x-xet-hash"), None);
    assert_eq!(files_read(&hub, "model.safetensors"), 0);
    let range = [("range", "bytes=2999000-")];
    let (one, two, part) = tokio::join!(client.get(path, &[]), client.get(path, &[]), client.get(path, &range));
    assert!(one.is_success() && one.body == weights && two.body == weights);
    assert!(part.status == 206 && part.body == weights[2_999_000..]);
    assert_eq!(client.get("/org/model/resolve/v1/config.json", &[]).await.body, b"{}");
    assert_eq!(client.get("/org/model/resolve/main/config.json", &[]).await.body, b"{}");
    assert_eq!((files_read(&hub, "model.safetensors"), files_read(&hub, "config.json")), (1, 1));
    for (path, code) in [
        ("/org/model/resolve/main/none", "EntryNotFound"),
        ("/org/none/resolve/main/a", "RepoNotFound"),
        ("/org/model/resolve/v2/a", "RevisionNotFound"),
    ] {
        let answer = client.get(path, &[]).await;
        assert_eq!((answer.status, answer.header("x-error-code")), (404, Some(code)), "{path}");
    }
}

/// Programs that read a header give up after ten seconds.
#[tokio::test]
async fn a_small_range_does_not_wait_for_all_of_a_file() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let weights = noise(20_000_000);
    hub.put("models/org/model", "weights.bin", &weights, true);
    let file = weights.clone();
    // All of it never comes, be it read from its beginning or where it broke off.
    hub.fault(move |request| {
        let is_all = request.headers.get("range").is_some_and(|range| range.ends_with("-19999999"));
        let stuck = || Response { sending: Sending::Stuck(1000), ..Response::of_bytes(request, &file, "\"x\"") };
        (request.path.ends_with("/weights.bin") && is_all).then(stuck)
    });
    let (_node, client) = gateway(&peers, "gateway", &peers.tracker(), &hub).await;
    let path = "/org/model/resolve/main/weights.bin";
    let get = async |range: Range<usize>| {
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let answer = client.get(path, &[("range", &header)]).await;
        assert!(answer.status == 206 && answer.body == weights[range.clone()], "{range:?}: {}", answer.status);
        assert_eq!(
            answer.header("content-range"),
            Some(format!("bytes {}-{}/20000000", range.start, range.end - 1).as_str())
        );
    };
    let (_, _) = tokio::join!(get(5_000_000..5_000_008), get(5_000_000..5_000_100));
    get(4_900_000..4_900_001).await;
    let began =
        |request: &web::Request| request.headers.get("range").is_some_and(|range| !range.ends_with("-19999999"));
    let requests = hub.server().requests();
    let parts: Vec<_> =
        requests.iter().filter(|request| request.path.ends_with("/weights.bin") && began(request)).collect();
    assert_eq!(parts.len(), 1, "one read for all of them: {parts:?}");
    // No more is read so than a sixteenth of a file, and never its end.
    for range in ["bytes=9000000-9000001", "bytes=19999990-19999999", "bytes=19999990-"] {
        let headers = [("range", range)];
        let waiting = client.get(path, &headers);
        assert!(tokio::time::timeout(Duration::from_secs(1), waiting).await.is_err(), "{range}");
    }
}

#[tokio::test]
async fn a_file_that_the_hub_does_not_list_so_is_never_a_success() {
    for is_lfs in [true, false] {
        for size in [1, 5000, 1_000_003] {
            let (peers, hub) = (Peers::new(), MockHub::start());
            let (right, mut wrong) = (noise(size), noise(size));
            wrong[size / 2] ^= 1;
            hub.put("models/org/model", "file", &right, is_lfs);
            hub.fault(move |request| {
                request.path.ends_with("/file").then(|| Response::of_bytes(request, &wrong, "\"x\""))
            });
            let (_node, client) = gateway(&peers, "gateway", &peers.tracker(), &hub).await;
            for range in ["", "Range: bytes=0-0\r\n", "Range: bytes=-3\r\n"] {
                let request = format!(
                    "GET /org/model/resolve/main/file HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{range}\r\n",
                    client.0
                );
                let answer = client.try_raw(&request).await;
                assert!(!answer.is_some_and(|answer| answer.is_success()), "{is_lfs} {size} {range}");
            }
            hub.fault(|_| None);
            let mended = client.get("/org/model/resolve/main/file", &[]).await;
            assert!(mended.is_success() && mended.body == right, "{is_lfs} {size}");
        }
    }
}

#[tokio::test]
async fn a_published_model_is_taken_from_the_swarm_as_far_as_it_is_the_hubs() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let tracker = peers.tracker();
    let (right, same) = (noise(1_500_000), noise(700_000));
    let mut wrong = right.clone();
    wrong[9] ^= 1;
    hub.put("models/org/model", "a.safetensors", &right, true);
    hub.put("models/org/model", "b.safetensors", &same, true);
    let name = format!("org--model@{COMMIT}");
    peers.put("publisher", &format!("{name}/a.safetensors"), &wrong);
    peers.put("publisher", &format!("{name}/b.safetensors"), &same);
    let publisher = peers.joined("publisher", &tracker).await;
    let wrong_content = publisher.share(peers.at("publisher", &name)).await.unwrap().content();
    let folder = peers.at("gateway", &format!("out/{}", &wrong_content.to_string()[..16]));
    while !publisher.find(&name).await.unwrap().iter().any(|found| found.seeders > 0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (node, client) = gateway(&peers, "gateway", &tracker, &hub).await;
    let get = async |path: &str| client.get(&format!("/org/model/resolve/main/{path}"), &[]).await;
    assert!(get("b.safetensors").await.body == same);
    assert_eq!(files_read(&hub, "b.safetensors"), 0, "the swarm has it");
    assert!(folder.exists());
    let request = format!(
        "GET /org/model/resolve/main/a.safetensors HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        client.0
    );
    let first = client.try_raw(&request).await;
    assert!(!first.is_some_and(|answer| answer.is_success() && answer.body != right));
    assert!(get("a.safetensors").await.body == right, "it comes from the hub then");
    // What is wrong is not kept, nor shared.
    while node.contents().await.contains(&wrong_content) || folder.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_a_hub_lists_and_does_not_give_is_said_to_be_so_and_not_asked_for_again_at_once() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    for name in ["gated", "gone"] {
        hub.put("models/org/model", name, &noise(1000 + name.len()), true);
    }
    hub.fault(|request| {
        let gated = || Response::new(403, "").header("X-Error-Code", "GatedRepo");
        let is_of = |name| request.path.ends_with(name);
        is_of("/gated").then(gated).or_else(|| is_of("/gone").then(|| Response::new(404, "")))
    });
    let (_node, client) = gateway(&peers, "gateway", &peers.tracker(), &hub).await;
    for (name, status, code) in [("gated", 403, "GatedRepo"), ("gone", 404, "EntryNotFound")] {
        let path = format!("/org/model/resolve/main/{name}");
        assert_eq!(client.ask("HEAD", &path, &[]).await.status, 200, "it is listed");
        for method in ["GET", "GET", "HEAD"] {
            let answer = client.ask(method, &path, &[]).await;
            assert_eq!((answer.status, answer.header("x-error-code")), (status, Some(code)), "{method} {name}");
        }
        assert_eq!(files_read(&hub, name), 1, "{name}");
    }
}

#[tokio::test]
async fn a_disk_without_room_is_said_to_be_full() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    hub.put("models/org/model", "a", &noise(1000), true);
    let full = |origins: Origins| origins.keep_free(Some(1 << 60));
    let (_node, client) = gateway_with(&peers, "gateway", &peers.tracker(), &hub, full).await;
    assert_eq!(client.get("/org/model/resolve/main/a", &[]).await.status, 507);
}

#[tokio::test]
async fn a_gateway_that_starts_while_the_hub_is_down_knows_what_it_said_last() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    let tracker = peers.tracker();
    let (path, bytes) = ("/org/model/resolve/main/a", noise(1000));
    hub.put("models/org/model", "a", &bytes, true);
    let (_node, client) = gateway(&peers, "gateway", &tracker, &hub).await;
    assert!(client.get(path, &[]).await.is_success());
    // As if it were the same one, with the file in the swarm.
    let answers = |peer: &str| peers.at(peer, "out").join("origins-0").join(".answers");
    std::fs::create_dir_all(answers("again")).unwrap();
    for entry in std::fs::read_dir(answers("gateway")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, answers("again").join(path.file_name().unwrap())).unwrap();
    }
    hub.fault(|_| Some(Response::new(503, "")));
    let (_again, client) = gateway(&peers, "again", &tracker, &hub).await;
    assert_eq!(client.ask("HEAD", path, &[]).await.status, 200);
    loop {
        let found = client.get(path, &[]).await;
        if found.is_success() {
            assert!(found.body == bytes);
            break;
        }
        // The file is not announced yet.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_was_asked_for_stays_while_the_hub_is_down() {
    let (peers, hub) = (Peers::new(), MockHub::start());
    hub.put("models/org/model", "a", &noise(1000), true);
    hub.put("models/org/model", "b", &noise(1001), true);
    let (_node, client) = gateway(&peers, "gateway", &peers.tracker(), &hub).await;
    assert!(client.get("/org/model/resolve/main/a", &[]).await.is_success());
    hub.fault(|_| Some(Response::new(503, "")));
    assert!(client.get("/org/model/resolve/main/a", &[]).await.is_success());
    assert_eq!(client.get("/org/other/resolve/main/a", &[]).await.status, 504);
    assert!(!client.get("/org/model/resolve/main/b", &[]).await.is_success());
}
