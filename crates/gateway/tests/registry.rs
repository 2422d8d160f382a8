//! The gateway as a mirror of a registry.

mod client;
#[path = "client/images.rs"]
mod images;
#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

use std::time::Duration;

use client::{Answer, Client, Peers, noise, serve};
use images::{MANIFEST, MockRegistry, digest};
use origins::Limits;
use origins::registry::{Credentials, Registry};
use p2p_fileshare_gateway::{Options, Origins, Pace, Swarm, Token};
use peer::{Node, TrackerAddress};
use web::{Response, Sending};

/// A patience that only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits::default().pause(Duration::from_millis(5)).patience(Duration::from_millis(200))
}

fn options(peers: &Peers, peer: &str, registries: &[(&str, &MockRegistry)]) -> Options {
    let mut origins = Origins::new(peers.at(peer, "out")).patience(PATIENCE);
    for (name, registry) in registries {
        origins = origins.registry(*name, Registry::new(&registry.url(), None, &limits()).unwrap());
    }
    let mut options = Options::default();
    options.origins = Some(origins);
    options
}

/// A gateway of a swarm, with this registry behind.
async fn mirror(peers: &Peers, peer: &str, tracker: &TrackerAddress, registry: &MockRegistry) -> (Node, Client) {
    let node = peers.joined(peer, tracker).await;
    let swarm = Swarm::new(node.clone(), "all").all().output(peers.at(peer, "out"));
    (node, serve(vec![swarm], options(peers, peer, &[("docker.io", registry)])).await)
}

async fn alone(peers: &Peers, registry: &MockRegistry) -> Client {
    let tracker = peers.tracker();
    mirror(peers, "gateway", &tracker, registry).await.1
}

fn blob(name: &str, digest: &str) -> String {
    format!("/v2/{name}/blobs/{digest}?ns=docker.io")
}

#[tokio::test]
async fn an_image_is_mirrored_and_read_once() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let layer = noise(3_000_001);
    let (manifest, layer_digest) = registry.put_image("library/a", "latest", &layer);
    let client = alone(&peers, &registry).await;
    let base = client.get("/v2/", &[]).await;
    assert_eq!((base.status, base.header("docker-distribution-api-version")), (200, Some("registry/2.0")));
    let by_tag = "/v2/library/a/manifests/latest?ns=docker.io";
    let head = client.ask("HEAD", by_tag, &[]).await;
    assert_eq!((head.status, head.header("docker-content-digest")), (200, Some(manifest.as_str())));
    assert_eq!(head.header("content-type"), Some(MANIFEST));
    let found = client.get(by_tag, &[]).await;
    assert!(found.is_success() && digest(&found.body) == manifest);
    assert_eq!(head.header("content-length"), Some(found.body.len().to_string().as_str()));
    let by_digest = client.get(&format!("/v2/library/a/manifests/{manifest}?ns=docker.io"), &[]).await;
    assert_eq!((by_digest.body, by_digest.status), (found.body, 200));
    assert_eq!(registry.read(&format!("manifests/{manifest}")), 1);
    // Asking about a layer does not bring it.
    let path = blob("library/a", &layer_digest);
    let head = client.ask("HEAD", &path, &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("3000001")));
    assert_eq!(registry.read("/blobs/"), 0);
    // Many ask at once, and it is read once.
    let (one, two, three) = tokio::join!(client.get(&path, &[]), client.get(&path, &[]), client.get(&path, &[]));
    for answer in [one, two, three] {
        assert!(answer.is_success() && answer.body == layer);
        assert_eq!(answer.header("docker-content-digest"), Some(layer_digest.as_str()));
    }
    let part = client.get(&path, &[("range", "bytes=2000000-2000999")]).await;
    assert!(part.status == 206 && part.body == layer[2_000_000..2_001_000]);
    assert_eq!(client.get(&path, &[("range", "bytes=3000001-")]).await.status, 416);
    assert_eq!(registry.read("/blobs/"), 1);
}

#[tokio::test]
async fn all_registries_together_are_read_no_faster_than_told() {
    let (peers, one, other) = (Peers::new(), MockRegistry::start(), MockRegistry::start());
    let (first, second) = (noise(200_000), noise(200_001));
    let [first_path, second_path] = [("one", one.put_blob("a", &first)), ("other", other.put_blob("a", &second))]
        .map(|(name, digest)| format!("/v2/a/blobs/{digest}?ns={name}"));
    let pace = Pace::new(std::num::NonZeroU64::new(400_000).unwrap());
    let paced =
        |registry: &MockRegistry| Registry::new(&registry.url(), None, &limits()).unwrap().paced(Some(pace.clone()));
    let mut options = Options::default();
    let origins = Origins::new(peers.at("gateway", "out")).patience(PATIENCE);
    options.origins = Some(origins.registry("one", paced(&one)).registry("other", paced(&other)));
    let node = peers.joined("gateway", &peers.tracker()).await;
    let swarm = Swarm::new(node, "all").all().output(peers.at("gateway", "out"));
    let client = serve(vec![swarm], options).await;
    let began = std::time::Instant::now();
    let (one, other) = tokio::join!(client.get(&first_path, &[]), client.get(&second_path, &[]));
    assert!(one.body == first && other.body == second);
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_not_there_or_not_mirrored_is_not_found_and_not_dialled() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    registry.put_image("a", "latest", b"layer");
    let client = alone(&peers, &registry).await;
    for (path, code) in [
        ("/v2/a/manifests/other?ns=docker.io".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("/v2/a/blobs/{}", digest(b"other")), "BLOB_UNKNOWN"),
        ("/v2/a/tags/list".to_owned(), "NAME_UNKNOWN"),
        ("/v2/a/../b/manifests/x".to_owned(), "NAME_UNKNOWN"),
    ] {
        let answer = client.get(&path, &[]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains(code), "{path}: {}", answer.text());
    }
    let asked = registry.asked();
    let inner = MockRegistry::start();
    inner.put_image("a", "latest", b"layer");
    let ns = inner.url().replace("http://", "");
    assert_eq!(client.get(&format!("/v2/a/manifests/latest?ns={ns}"), &[]).await.status, 404);
    assert_eq!((inner.asked(), registry.asked()), (0, asked));
    assert_eq!(client.ask("DELETE", "/v2/a/manifests/latest", &[]).await.status, 405);
}

#[tokio::test]
async fn a_layer_of_other_bytes_is_never_a_success() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    for size in [0, 1, 5000, 2_000_003] {
        let (right, mut wrong) = (noise(size), noise(size));
        match wrong.last_mut() {
            Some(last) => *last ^= 1,
            None => wrong.push(1),
        }
        let digest = registry.put_blob("a", &right);
        let client = alone(&peers, &registry).await;
        registry.fault(move |request| {
            request.path.contains("/blobs/").then(|| Response::of_bytes(request, &wrong, "\"x\""))
        });
        let path = blob("a", &digest);
        let is_wrong = |answer: Option<Answer>| !answer.is_some_and(|answer| answer.is_success());
        let ask =
            |headers: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", client.0);
        assert!(is_wrong(client.try_raw(&ask("")).await), "{size}");
        for range in ["bytes=0-0", "bytes=1-", "bytes=-10", "bytes=0-1,3-4"] {
            assert!(is_wrong(client.try_raw(&ask(&format!("Range: {range}\r\n"))).await), "{size} {range}");
        }
        registry.mend();
        let mended = client.get(&path, &[]).await;
        assert!(mended.is_success() && mended.body == right, "{size}: {}", mended.status);
    }
}

#[tokio::test]
async fn a_manifest_of_other_bytes_is_never_a_success() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let (manifest, _) = registry.put_image("a", "latest", b"layer");
    let client = alone(&peers, &registry).await;
    registry.fault(|request| {
        let wrong = format!(r#"{{"mediaType": "{MANIFEST}", "layers": [], "config": {{}}}}"#);
        let is_it = request.path.contains("/manifests/sha256") && request.method == "GET";
        is_it.then(|| Response::of_bytes(request, wrong.as_bytes(), "\"x\""))
    });
    for reference in ["latest", &manifest] {
        let answer = client.get(&format!("/v2/a/manifests/{reference}"), &[]).await;
        assert!(matches!(answer.status, 502 | 504), "{reference}: {}", answer.status);
        assert!(!answer.text().contains("layers"));
    }
    registry.mend();
    assert!(client.get("/v2/a/manifests/latest", &[]).await.is_success());
}

#[tokio::test]
async fn a_registry_that_breaks_off_is_gone_on_with() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let layer = noise(4_000_000);
    let digest = registry.put_blob("a", &layer);
    let bytes = layer.clone();
    // It dies in the middle, and for longer than it is waited for.
    let mut first = true;
    registry.fault(move |request| {
        if request.method != "GET" || !request.path.contains("/blobs/") {
            return None;
        }
        let answer = Response::of_bytes(request, &bytes, "\"x\"");
        let sending = if std::mem::take(&mut first) {
            Some(Response { sending: Sending::Cut(1_500_000), ..answer })
        } else {
            None
        };
        Some(sending.unwrap_or_else(|| Response::new(503, "")))
    });
    let client = alone(&peers, &registry).await;
    let path = blob("a", &digest);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", client.0);
    assert!(!client.try_raw(&request).await.is_some_and(|answer| answer.is_success()));
    registry.mend();
    let sent = registry.sent();
    let answer = client.get(&path, &[]).await;
    assert!(answer.is_success() && answer.body == layer);
    assert!(registry.sent() - sent < 3_000_000, "what had come is not read again");
}

#[tokio::test]
async fn another_gateway_takes_it_from_the_swarm() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let layer = noise(2_500_000);
    let (manifest, layer_digest) = registry.put_image("a", "latest", &layer);
    let tracker = peers.tracker();
    let (first_node, first) = mirror(&peers, "first", &tracker, &registry).await;
    let paths = [format!("/v2/a/manifests/{manifest}"), blob("a", &layer_digest)];
    for path in &paths {
        assert!(first.get(path, &[]).await.is_success());
    }
    for digest in [&manifest, &layer_digest] {
        listed(&first_node, &digest.replace(':', "-")).await;
    }
    let read = (registry.read("/manifests/"), registry.read("/blobs/"));
    let (_node, second) = mirror(&peers, "second", &tracker, &registry).await;
    for path in &paths {
        assert!(second.get(path, &[]).await.is_success(), "{path}");
    }
    assert!(second.get(&paths[1], &[]).await.body == layer);
    let again = (registry.read("/manifests/"), registry.read("/blobs/"));
    assert_eq!(again, read, "the registry is not read again");
}

/// Waits until a tracker knows that somebody has a content of this name.
async fn listed(node: &Node, name: &str) {
    loop {
        if node.find(name).await.unwrap().iter().any(|found| found.seeders > 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_others_share_under_a_digest_is_not_believed() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let tracker = peers.tracker();
    for (case, size) in [("small", 5000), ("large", 2_000_003)] {
        let right = noise(size);
        let mut wrong = right.clone();
        wrong[size / 2] ^= 1;
        let digest = registry.put_blob("a", &right);
        let name = digest.replace(':', "-");
        let hostile = peers.joined(&format!("hostile-{case}"), &tracker).await;
        peers.put(&format!("hostile-{case}"), &name, &wrong);
        hostile.share(peers.at(&format!("hostile-{case}"), &name)).await.unwrap();
        listed(&hostile, &name).await;
        let gateway = format!("gateway-{case}");
        let (_node, client) = mirror(&peers, &gateway, &tracker, &registry).await;
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", blob("a", &digest), client.0);
        let first = client.try_raw(&request).await;
        assert!(!first.is_some_and(|answer| answer.is_success() && answer.body != right), "{case}");
        assert!(whole(&client, &request).await == right, "{case}: it comes from the registry then");
        // Who has the beginning of other bytes does not get the rest of these.
        let path = blob("a", &digest);
        let all = client.get(&path, &[("Range", "bytes=100-")]).await;
        assert!(all.status == 200 && all.body == right, "{case}: {}", all.status);
        let old = format!("\"{digest}\"");
        let all = client.get(&path, &[("Range", "bytes=100-"), ("If-Range", &old)]).await;
        assert!(all.status == 200 && all.body == right, "{case}: {}", all.status);
        let tag = all.header("etag").unwrap().to_owned();
        assert_eq!(client.ask("HEAD", &path, &[]).await.header("etag"), Some(tag.as_str()), "{case}");
        let rest = client.get(&path, &[("Range", "bytes=100-"), ("If-Range", &tag)]).await;
        assert!(rest.status == 206 && rest.body == right[100..], "{case}: {}", rest.status);
        let place = client.get(&path, &[("Range", "bytes=100-199")]).await;
        assert!(place.status == 206 && place.body == right[100..200], "{case}: {}", place.status);
        assert_eq!(client.get(&path, &[("If-None-Match", &old)]).await.status, 304, "it has all of it");
    }
}

#[tokio::test]
async fn tags_are_listed_as_the_registry_has_them() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    registry.fault(|request| {
        let answer = |tags: &str| Response::new(200, format!(r#"{{"name": "library/a", "tags": {tags}}}"#));
        let next = "</v2/library/a/tags/list?last=2&n=2>; rel=\"next\"";
        (request.path == "/v2/library/a/tags/list").then(|| match request.query.as_str() {
            "n=2" => answer(r#"["1", "2"]"#).header("Link", next),
            "n=2&last=2" => answer(r#"["3"]"#),
            _ => Response::new(400, ""),
        })
    });
    let client = alone(&peers, &registry).await;
    let first = client.get("/v2/docker.io/library/a/tags/list?n=2", &[]).await;
    assert!(first.is_success(), "{} {}", first.status, first.text());
    assert_eq!(first.text(), r#"{"name":"docker.io/library/a","tags":["1","2"]}"#);
    let link = first.header("link").unwrap();
    let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap().to_owned();
    assert_eq!(next, "/v2/docker.io/library/a/tags/list?n=2&last=2");
    let second = client.get(&next, &[]).await;
    assert!(second.is_success() && second.text().contains(r#"["3"]"#) && second.header("link").is_none());
    let asked = registry.read("/tags/");
    assert!(client.get(&next, &[]).await.is_success());
    assert_eq!(registry.read("/tags/"), asked, "it is remembered for a moment");
    assert_eq!(client.get("/v2/a/tags/list?last=..%2Fx", &[]).await.status, 400);
    // A part must not pass for all of it.
    registry.fault(|_| {
        let next = "</v2/library/a/tags/list?n=2&next_page=gAAAA>; rel=\"next\"";
        Some(Response::new(200, r#"{"name": "library/a", "tags": ["1", "2"]}"#).header("Link", next))
    });
    assert_eq!(client.get("/v2/library/a/tags/list", &[]).await.status, 504);
}

#[tokio::test]
async fn a_layer_may_be_named_by_its_sha_512() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let layer = noise(200_000);
    let digest = registry.put_blob_by_sha512("a", &layer);
    let client = alone(&peers, &registry).await;
    let path = blob("a", &digest);
    registry.fault(|request| {
        let is_it = request.method == "GET" && request.path.contains("/blobs/");
        is_it.then(|| Response::of_bytes(request, &[7; 200_000], "\"x\""))
    });
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", client.0);
    assert!(!client.try_raw(&request).await.is_some_and(|answer| answer.is_success()));
    registry.mend();
    let answer = client.get(&path, &[]).await;
    assert!(answer.is_success() && answer.body == layer, "{}", answer.status);
    assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
}

#[tokio::test]
async fn no_more_is_kept_than_may_be() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let digests: Vec<_> = (0..3).map(|number| registry.put_blob("a", &noise(600_000 + number))).collect();
    let large = registry.put_blob("a", &noise(2_000_000));
    let tracker = peers.tracker();
    let node = peers.joined("gateway", &tracker).await;
    let swarm = Swarm::new(node.clone(), "all").all().output(peers.at("gateway", "out"));
    let mut options = options(&peers, "gateway", &[("docker.io", &registry)]);
    options.cache = Some(1_500_000);
    let client = serve(vec![swarm], options).await;
    assert_eq!(client.get(&blob("a", &large), &[]).await.status, 507, "it is larger than all that may be kept");
    for digest in &digests[..2] {
        assert!(client.get(&blob("a", digest), &[]).await.is_success());
    }
    assert_eq!(client.get(&blob("a", &digests[2]), &[]).await.status, 507, "all were used a moment ago");
    assert!(client.get(&blob("a", &digests[0]), &[]).await.is_success());
}

/// A gateway that keeps so much, and lets go of what nobody reads at once. What it has brought is served from its file, or shared.
async fn small(peers: &Peers, peer: &str, registry: &MockRegistry, cache: u64, is_shared: bool) -> Client {
    let swarm = Swarm::new(peers.joined(peer, &peers.tracker()).await, "all");
    let swarm = if is_shared { swarm.all().output(peers.at(peer, "out")) } else { swarm };
    let mut options = options(peers, peer, &[("docker.io", registry)]);
    (options.cache, options.recent) = (Some(cache), Duration::ZERO);
    serve(vec![swarm], options).await
}

fn get(client: &Client, digest: &str) -> String {
    format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", blob("a", digest), client.0)
}

#[tokio::test]
async fn what_has_gone_is_brought_again() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let layers: Vec<_> = (0..3).map(|number| noise(600_000 + number)).collect();
    let digests: Vec<_> = layers.iter().map(|layer| registry.put_blob("a", layer)).collect();
    for (peer, is_shared) in [("alone", false), ("shared", true)] {
        let client = small(&peers, peer, &registry, 1_500_000, is_shared).await;
        let read = registry.read("/blobs/");
        for _ in 0..2 {
            for (digest, layer) in digests.iter().zip(&layers) {
                assert!(whole(&client, &get(&client, digest)).await == *layer, "{peer}");
            }
        }
        assert!(registry.read("/blobs/") - read > 3, "{peer}: some had gone");
    }
}

#[tokio::test]
async fn what_has_gone_in_part_is_begun_anew() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let (layer, other) = (noise(1_200_000), noise(600_000));
    let (digest, second) = (registry.put_blob("a", &layer), registry.put_blob("a", &other));
    let client = small(&peers, "gateway", &registry, 1_500_000, true).await;
    let (bytes, at) = (layer.clone(), format!("/v2/a/blobs/{digest}"));
    let mut first = true;
    registry.fault(move |request| {
        if request.method != "GET" || request.path != at {
            return None;
        }
        let answer = Response::of_bytes(request, &bytes, "\"x\"");
        let is_first = std::mem::take(&mut first);
        Some(if is_first { Response { sending: Sending::Cut(700_000), ..answer } } else { Response::new(503, "") })
    });
    assert!(!client.try_raw(&get(&client, &digest)).await.is_some_and(|answer| answer.is_success()));
    assert!(whole(&client, &get(&client, &second)).await == other, "the part of the first one goes");
    for _ in 0..100 {
        if !is_open_though_removed(&digest) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!is_open_though_removed(&digest), "it takes no room any more");
    registry.mend();
    for _ in 0..50 {
        let answer = client.get(&format!("/v2/a/blobs/{digest}"), &[]).await;
        // What has just come may not be let go of yet.
        if answer.status == 507 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        assert!(answer.is_success() && answer.body == layer, "{}", answer.status);
        return;
    }
    panic!("there is never room");
}

/// Whether this process has a file open of this digest that was removed, where the system says so.
fn is_open_though_removed(digest: &str) -> bool {
    let name = digest.replace(':', "-");
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let mut paths = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    paths.any(|path| path.to_string_lossy().contains(&name) && path.to_string_lossy().ends_with("(deleted)"))
}

#[tokio::test]
async fn what_others_share_is_taken_once_there_is_room_for_it() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let (large, layer) = (noise(24_000_000), noise(2_000_000));
    let (first, second) = (registry.put_blob("a", &large), registry.put_blob("a", &layer));
    let tracker = peers.tracker();
    let name = second.replace(':', "-");
    let sharer = peers.joined("sharer", &tracker).await;
    peers.put("sharer", &name, &layer);
    sharer.share(peers.at("sharer", &name)).await.unwrap();
    listed(&sharer, &name).await;
    let node = peers.joined("gateway", &tracker).await;
    let mut options = options(&peers, "gateway", &[("docker.io", &registry)]);
    (options.cache, options.recent) = (Some(25_000_000), Duration::ZERO);
    let client = serve(vec![Swarm::new(node, "all").all().output(peers.at("gateway", "out"))], options).await;
    assert!(whole(&client, &get(&client, &first)).await == large);
    // Who reads nothing of it holds on to it.
    let reader = client.open(&get(&client, &first)).await;
    let mut begun = [0; 4];
    reader.peek(&mut begun).await.unwrap();
    assert_eq!(client.get(&blob("a", &second), &[]).await.status, 507);
    drop(reader);
    assert!(whole(&client, &get(&client, &second)).await == layer);
    assert_eq!(registry.read(&second), 0, "it came from the one who shares it");
}

#[tokio::test]
async fn a_login_is_asked_for_when_the_registry_wants_one() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    let (peers, registry) = (Peers::new(), MockRegistry::start());
    registry.put_image("a", "latest", b"layer");
    registry.fault(|request| {
        let is_known = request.headers.get("authorization").is_some_and(|said| said == "Basic YTpi");
        (!is_known).then(|| Response::new(401, "").header("WWW-Authenticate", "Basic"))
    });
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let login = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Some(Credentials::Basic("YTpi".to_owned()))
    };
    let behind = Registry::new(&registry.url(), Some(Arc::new(login)), &limits()).unwrap();
    let mut options = Options::default();
    options.origins = Some(Origins::new(peers.at("gateway", "out")).registry("docker.io", behind));
    let node = peers.joined("gateway", &peers.tracker()).await;
    let client = serve(vec![Swarm::new(node, "all").all().output(peers.at("gateway", "out"))], options).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    for _ in 0..2 {
        assert!(client.get("/v2/a/manifests/latest", &[]).await.is_success());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// The first answer that is whole: one that found wrong bytes may not be over yet, and ends with them.
async fn whole(client: &Client, request: &str) -> Vec<u8> {
    for _ in 0..50 {
        match client.try_raw(request).await {
            Some(answer) if answer.is_success() => return answer.body,
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("never whole: {request}");
}

#[tokio::test]
async fn what_was_kept_is_digested_again() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    let layer = noise(1_000_000);
    let digest = registry.put_blob("a", &layer);
    let tracker = peers.tracker();
    let name = digest.replace(':', "-");
    {
        let (node, client) = mirror(&peers, "gateway", &tracker, &registry).await;
        assert!(client.get(&blob("a", &digest), &[]).await.is_success());
        listed(&node, &name).await;
        node.shutdown().await;
    }
    let kept = peers.at("gateway", &format!("out/origins-0/{name}/{name}"));
    assert!(std::fs::read(&kept).unwrap() == layer);
    // The first gateway of this process still has its folder.
    let other = peers.at("later", &format!("out/origins-0/{name}/{name}"));
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    let mut wrong = layer.clone();
    wrong[7] ^= 1;
    std::fs::write(&other, &wrong).unwrap();
    let own_tracker = peers.tracker();
    let (_node, client) = mirror(&peers, "later", &own_tracker, &registry).await;
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", blob("a", &digest), client.0);
    let first = client.try_raw(&request).await;
    assert!(!first.is_some_and(|answer| answer.is_success() && answer.body != layer));
    assert!(whole(&client, &request).await == layer);
    // What is right is not read again.
    let path = peers.at("right", &format!("out/origins-0/{name}/{name}"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &layer).unwrap();
    let read = registry.read("/blobs/");
    let (_node, client) = mirror(&peers, "right", &peers.tracker(), &registry).await;
    assert!(client.get(&blob("a", &digest), &[]).await.body == layer);
    assert_eq!(registry.read("/blobs/"), read);
}

#[tokio::test]
async fn a_registry_is_asked_with_a_token_of_its_service() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    registry.wants_token(None);
    let (_, layer) = registry.put_image("library/a", "latest", b"layer");
    let client = alone(&peers, &registry).await;
    assert!(client.get("/v2/library/a/manifests/latest", &[]).await.is_success());
    assert_eq!(client.get(&blob("library/a", &layer), &[]).await.body, b"layer");
    assert_eq!(registry.read("/token"), 1, "one a repository");
}

#[tokio::test]
async fn a_client_of_a_gateway_with_a_token_says_it() {
    let (peers, registry) = (Peers::new(), MockRegistry::start());
    registry.put_image("a", "latest", b"layer");
    let node = peers.joined("gateway", &peers.tracker()).await;
    let mut options = options(&peers, "gateway", &[("docker.io", &registry)]);
    options.token = Some(Token::new("0123456789abcdef").unwrap());
    let client = serve(vec![Swarm::new(node, "all").all().output(peers.at("gateway", "out"))], options).await;
    for path in ["/v2/", "/v2/a/manifests/latest", "/s3/", "/org/m/resolve/main/x"] {
        let answer = client.get(path, &[]).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").is_some_and(|wanted| wanted.starts_with("Basic")));
    }
    assert_eq!(registry.asked(), 0);
    let headers = [("authorization", "Bearer 0123456789abcdef")];
    assert!(client.get("/v2/a/manifests/latest", &headers).await.is_success());
}
