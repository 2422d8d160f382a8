//! Contents whose pieces stay at their origin: the manifest is made in one read, each part is read once however many ask, and what
//! was read is there after a restart.

#[allow(dead_code)]
#[path = "../../../tests/src/hub.rs"]
mod hub;
#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hub::{COMMIT, MockHub};
use integrity::Algorithm;
use p2p_fileshare_origins::hub::{Hub, Repo};
use p2p_fileshare_origins::{
    Cache, KeptManifests, Limits, Listing, Options, Origin, OriginError, OriginStorage, Pieces, bytes_from_origins,
    make_manifest,
};
use protocol::Manifest;
use storage::{Remote, StorageError};
use web::{Response, Sending, WebServer};

const PIECES: Pieces = Pieces { algorithm: Algorithm::Blake3, size: None };

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn limits() -> Limits {
    Limits::default().pause(Duration::from_millis(2))
}

fn open(server: &WebServer) -> Origin {
    Origin::open(&format!("{}/file.bin", server.url()), &Options::default().limits(limits())).unwrap()
}

fn cache(folder: &Path) -> Arc<Cache> {
    Arc::new(Cache::open(folder, 1 << 30).unwrap())
}

async fn made(origin: &Origin, cache: Option<&Arc<Cache>>) -> (Listing, Arc<Manifest>) {
    let listing = origin.list().await.unwrap();
    let manifest = make_manifest(origin, &listing, PIECES, cache, |_, _| {}).await.unwrap();
    (listing, Arc::new(manifest))
}

/// A file of 9 MiB and something, which has three parts.
fn file_server(bytes: &[u8]) -> WebServer {
    let file = bytes.to_owned();
    WebServer::start(move |request| Response::of_bytes(request, &file, "\"v1\""))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_origin_is_a_storage_for_reading() {
    let handle = tokio::runtime::Handle::current();
    let suite = move || {
        let hubs = Mutex::new(Vec::new());
        storage::conformance::run_reading(|files| {
            let server = MockHub::start();
            for (number, bytes) in files.iter().enumerate() {
                server.put("models/org/model", &format!("{number}"), bytes, number % 2 == 0);
            }
            let hub = Hub::new(&server.url(), None, &limits()).unwrap();
            let origin = hub.origin(&Repo::model("org/model").unwrap(), "main");
            hubs.lock().unwrap().push(server);
            let storage = handle.block_on(async {
                let (listing, manifest) = made(&origin, None).await;
                OriginStorage::new(origin, listing, manifest, None, None).unwrap()
            });
            Arc::new(storage)
        });
    };
    tokio::task::spawn_blocking(suite).await.unwrap();
}

#[tokio::test]
async fn a_manifest_is_that_of_the_same_file_on_disk_and_costs_one_read() {
    let bytes = pattern((9 << 20) + 12_345);
    let server = file_server(&bytes);
    let origin = open(&server);
    let progress = Mutex::new(Vec::new());
    let listing = origin.list().await.unwrap();
    let before = bytes_from_origins();
    let told = |done, total| progress.lock().unwrap().push((done, total));
    let manifest = make_manifest(&origin, &listing, PIECES, None, told).await.unwrap();
    assert_eq!(manifest.header().files[0].root.to_string(), blake3_of(&bytes));
    assert_eq!(manifest.header().name, "file.bin");
    let size = bytes.len() as u64;
    assert_eq!(progress.lock().unwrap().last(), Some(&(size, size)));
    // One byte more: of the look at the file.
    assert_eq!(server.sent(), size + 1);
    assert!(bytes_from_origins() - before >= size, "other tests of this process read, too");
}

fn blake3_of(bytes: &[u8]) -> String {
    let size = 16 << 20;
    assert!(bytes.len() < size);
    Algorithm::Blake3.integrity().piece(integrity::Place { offset: 0, alone: true }, bytes).to_string()
}

#[tokio::test]
async fn a_version_is_never_read_twice_for_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let server = file_server(&pattern(100_000));
    let origin = open(&server);
    let kept = KeptManifests::new(folder.path().join("origins"));
    let (listing, manifest) = made(&origin, None).await;
    assert!(kept.find(&origin, &listing, PIECES).is_none());
    kept.keep(&origin, &listing, &manifest).unwrap();
    assert_eq!(kept.find(&origin, &listing, PIECES).unwrap().id(), manifest.id());
    assert!(kept.find(&origin, &listing, Pieces { size: Some(4096), ..PIECES }).is_none());
    let mut other = listing.clone();
    other.objects[0].version = p2p_fileshare_origins::Version::ETag("\"v2\"".to_owned());
    assert!(kept.find(&origin, &other, PIECES).is_none());
    // What lies there may be torn, or of something else.
    for file in std::fs::read_dir(folder.path().join("origins")).unwrap() {
        std::fs::write(file.unwrap().path(), "half of one").unwrap();
    }
    assert!(kept.find(&origin, &listing, PIECES).is_none());
}

#[tokio::test]
async fn a_manifest_is_forgotten_when_a_piece_does_not_fit_it() {
    let folder = tempfile::tempdir().unwrap();
    let later = Arc::new(Mutex::new(false));
    let now = later.clone();
    // Its ETag says that it is the same.
    let server = WebServer::start(move |request| {
        Response::of_bytes(request, &[u8::from(*now.lock().unwrap()); 50_000], "\"v1\"")
    });
    let origin = open(&server);
    let kept = || KeptManifests::new(folder.path().join("origins"));
    let (listing, manifest) = made(&origin, None).await;
    kept().keep(&origin, &listing, &manifest).unwrap();
    let storage = OriginStorage::new(origin.clone(), listing.clone(), manifest, None, None).unwrap();
    let storage = storage.manifest_kept(kept());
    assert!(storage.fetch(0, 0, 10).await.is_ok() && kept().find(&origin, &listing, PIECES).is_some());
    *later.lock().unwrap() = true;
    let manifest = kept().find(&origin, &listing, PIECES).map(Arc::new).unwrap();
    let storage = OriginStorage::new(origin.clone(), listing.clone(), manifest, None, None).unwrap();
    let storage = storage.manifest_kept(kept());
    assert!(matches!(storage.fetch(0, 0, 10).await, Err(StorageError::Changed(_))));
    assert!(kept().find(&origin, &listing, PIECES).is_none(), "the next start makes it anew");
}

#[tokio::test]
async fn no_manifest_is_kept_by_a_version_that_is_not_exact() {
    let folder = tempfile::tempdir().unwrap();
    for weak in [Some("W/\"v1\""), None] {
        let server = WebServer::start(move |request| {
            let mut response = Response::of_bytes(request, &[7; 50_000], weak.unwrap_or_default());
            if weak.is_none() {
                response.headers.retain(|(name, _)| name != "ETag");
            }
            response.header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        });
        let origin = open(&server);
        let kept = KeptManifests::new(folder.path().join("origins"));
        let (listing, manifest) = made(&origin, None).await;
        kept.keep(&origin, &listing, &manifest).unwrap();
        assert!(kept.find(&origin, &listing, PIECES).is_none(), "{weak:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_part_is_read_once_however_many_ask() {
    let bytes = pattern((9 << 20) + 5);
    let server = file_server(&bytes);
    let origin = open(&server);
    let (listing, manifest) = made(&origin, None).await;
    let before = server.sent();
    let storage = OriginStorage::new(origin, listing, manifest, None, None).unwrap();
    let asked: Vec<_> = (0..40u64)
        .map(|number| {
            let offset = number * 233_000 % (9 << 20);
            (offset as usize, tokio::spawn(storage.fetch(0, offset, 5)))
        })
        .collect();
    for (offset, fetched) in asked {
        assert!(fetched.await.unwrap().unwrap()[..] == bytes[offset..offset + 5]);
    }
    assert_eq!(server.sent() - before, bytes.len() as u64);
    let all = storage.fetch(0, 0, bytes.len()).await.unwrap();
    assert!(all == bytes && server.sent() - before == bytes.len() as u64);
}

#[tokio::test]
async fn parts_that_are_asked_for_in_order_are_read_ahead_and_no_others() {
    const PART: u64 = 4 << 20;
    let bytes = pattern((17 << 20) + 5);
    let server = file_server(&bytes);
    let origin = open(&server);
    let (listing, manifest) = made(&origin, None).await;
    let (before, sent) = (server.requests().len(), server.sent());
    let storage = OriginStorage::new(origin, listing, manifest, None, None).unwrap();
    let is_asked_for = |part: u64| {
        let begin = format!("bytes={}-", part * PART);
        server.requests()[before..].iter().any(|asked| asked.headers["range"].starts_with(&begin))
    };
    // The end of a part comes last.
    let read = async |part: u64| {
        for offset in [PART - 10, PART - 5] {
            storage.fetch(0, part * PART + offset, 5).await.unwrap();
        }
    };
    read(3).await;
    read(0).await;
    assert!(!is_asked_for(4) && !is_asked_for(1), "nobody knows what comes next");
    read(1).await;
    while !is_asked_for(2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    read(2).await;
    assert!(!is_asked_for(4), "the part before that is not asked for anew");
    assert!(storage.fetch(0, 0, bytes.len()).await.unwrap() == bytes);
    assert_eq!(server.sent() - sent, bytes.len() as u64, "each byte once");
}

#[tokio::test]
async fn nothing_is_read_ahead_when_everything_was_asked_for() {
    const PART: usize = 4 << 20;
    // More than stays in memory of what was read last.
    let bytes = pattern(10 * PART + 5);
    let server = file_server(&bytes);
    let origin = open(&server);
    let (listing, manifest) = made(&origin, None).await;
    for begin in [0, 5] {
        let sent = server.sent();
        let storage = OriginStorage::new(origin.clone(), listing.clone(), manifest.clone(), None, None).unwrap();
        for part in (begin..11).chain(0..begin) {
            for offset in [part * PART, ((part + 1) * PART).min(bytes.len()) - 5] {
                assert!(storage.fetch(0, offset as u64, 5).await.unwrap()[..] == bytes[offset..offset + 5]);
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(server.sent() - sent, bytes.len() as u64, "from part {begin} on");
    }
}

#[tokio::test]
async fn what_was_read_for_the_manifest_is_served_from_the_cache_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = pattern((5 << 20) + 5);
    let server = file_server(&bytes);
    let origin = open(&server);
    let opened = cache(folder.path());
    let (listing, manifest) = made(&origin, Some(&opened)).await;
    drop(opened);
    drop(server);
    let opened = cache(folder.path());
    let storage = OriginStorage::new(origin, listing, manifest, Some(opened), None).unwrap();
    assert!(storage.fetch(0, 0, bytes.len()).await.unwrap() == bytes);
    assert!(storage.fetch(0, (4 << 20) - 7, 100).await.unwrap() == bytes[(4 << 20) - 7..(4 << 20) + 93]);
}

#[tokio::test]
async fn a_server_that_says_no_version_is_read_once_too() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = pattern((5 << 20) + 5);
    let file = bytes.clone();
    let server = WebServer::start(move |request| {
        let mut response = Response::of_bytes(request, &file, "");
        response.headers.retain(|(name, _)| name != "ETag");
        response
    });
    let origin = open(&server);
    let opened = cache(folder.path());
    let (listing, manifest) = made(&origin, Some(&opened)).await;
    let storage = OriginStorage::new(origin, listing, manifest, Some(opened), None).unwrap();
    assert!(storage.fetch(0, 0, bytes.len()).await.unwrap() == bytes);
    assert_eq!(server.sent(), bytes.len() as u64 + 1, "one read, and a byte of the look at it");
}

#[tokio::test]
async fn what_came_of_a_part_before_its_origin_failed_is_served_and_not_read_again() {
    let bytes = pattern(4 << 20);
    let (file, broken) = (bytes.clone(), Arc::new(Mutex::new(false)));
    let now = broken.clone();
    let server = WebServer::start(move |request| {
        let mut response = Response::of_bytes(request, &file, "\"v1\"");
        if *now.lock().unwrap() && response.body.len() > 3 << 20 {
            response.sending = Sending::Cut(3 << 20);
        } else if *now.lock().unwrap() {
            return Response::new(503, "");
        }
        response
    });
    let origin = open(&server).with_limits(limits().patience(Duration::from_millis(50)));
    let (listing, manifest) = made(&origin, None).await;
    let piece = manifest.header().piece_size as usize;
    assert!(piece <= 1 << 20);
    let storage = OriginStorage::new(origin, listing, manifest, None, None).unwrap();
    *broken.lock().unwrap() = true;
    let before = server.sent();
    assert!(storage.fetch(0, 0, piece).await.unwrap()[..] == bytes[..piece], "it does not wait for the rest");
    let end = (bytes.len() - piece) as u64;
    assert!(matches!(storage.fetch(0, end, piece).await, Err(StorageError::Unreachable(_))));
    *broken.lock().unwrap() = false;
    assert!(storage.fetch(0, end, piece).await.unwrap()[..] == bytes[end as usize..]);
    let read = server.sent() - before;
    assert!(read <= (bytes.len() + piece) as u64, "{read} bytes were read");
}

#[tokio::test]
async fn under_a_low_cap_something_comes_all_the_time_and_pieces_one_after_another() {
    let bytes = pattern(300_000);
    let server = file_server(&bytes);
    let rate = std::num::NonZeroU64::new(400_000);
    let options = Options::default().limits(limits()).rate(rate);
    let origin = Origin::open(&format!("{}/file.bin", server.url()), &options).unwrap();
    let listing = origin.list().await.unwrap();
    let mut reader = origin.reader(&listing.objects[0], 0..300_000).unwrap();
    let mut all = Vec::new();
    while let Some(part) = reader.next().await.unwrap() {
        assert!(part.len() <= 50_000, "an eighth of a second");
        all.extend_from_slice(&part);
    }
    assert!(all == bytes);
}

#[tokio::test]
async fn a_cache_that_rots_is_read_anew_from_the_origin() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = pattern(300_000);
    let server = file_server(&bytes);
    let origin = open(&server);
    let opened = cache(folder.path());
    let (listing, manifest) = made(&origin, Some(&opened)).await;
    for file in std::fs::read_dir(folder.path().join("parts-0")).unwrap() {
        let path = file.unwrap().path();
        let len = std::fs::metadata(&path).unwrap().len();
        if len > 0 {
            std::fs::write(&path, vec![7; len as usize]).unwrap();
        }
    }
    let storage = OriginStorage::new(origin, listing, manifest, Some(opened), None).unwrap();
    assert!(storage.fetch(0, 100, 1000).await.unwrap() == bytes[100..1100]);
    // A piece is there before all of its part is.
    assert!(storage.fetch(0, 0, 300_000).await.unwrap() == bytes[..]);
    assert_eq!(server.sent(), 2 * 300_000 + 1);
}

#[tokio::test]
async fn a_part_of_the_cache_that_was_cut_is_read_anew_from_the_origin() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = pattern(300_000);
    let server = file_server(&bytes);
    let origin = open(&server);
    let opened = cache(folder.path());
    let (listing, manifest) = made(&origin, Some(&opened)).await;
    drop(opened);
    for file in std::fs::read_dir(folder.path().join("parts-0")).unwrap() {
        let file = std::fs::File::options().write(true).open(file.unwrap().path()).unwrap();
        if file.metadata().unwrap().len() > 0 {
            file.set_len(10).unwrap();
        }
    }
    let opened = cache(folder.path());
    let storage = OriginStorage::new(origin, listing, manifest, Some(opened), None).unwrap();
    let fetched = tokio::time::timeout(Duration::from_secs(60), storage.fetch(0, 100, 1000)).await;
    assert!(fetched.expect("it comes to an end").unwrap() == bytes[100..1100]);
}

#[tokio::test]
async fn objects_at_different_urls_are_different_though_size_and_etag_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = WebServer::start(|request| {
        let id = request.query.strip_prefix("id=").and_then(|id| id.bytes().next()).unwrap_or_default();
        Response::of_bytes(request, &[id; 50_000], "\"v1\"")
    });
    let kept = KeptManifests::new(folder.path().join("origins"));
    let opened = cache(&folder.path().join("cache"));
    let open =
        |id: &str| Origin::open(&format!("{}/dl?id={id}", server.url()), &Options::default().limits(limits())).unwrap();
    let (listing, manifest) = made(&open("1"), Some(&opened)).await;
    kept.keep(&open("1"), &listing, &manifest).unwrap();
    assert!(kept.find(&open("1"), &listing, PIECES).is_some());
    let other = open("2").list().await.unwrap();
    assert_eq!(other, listing, "nothing but the URL tells them apart");
    assert!(kept.find(&open("2"), &other, PIECES).is_none());
    let (listing, manifest) = made(&open("2"), Some(&opened)).await;
    let storage = OriginStorage::new(open("2"), listing, manifest, Some(opened), None).unwrap();
    assert!(storage.fetch(0, 0, 50_000).await.unwrap() == [b'2'; 50_000][..]);
}

#[tokio::test]
async fn a_hub_that_lies_changes_nothing_for_another_hub() {
    let folder = tempfile::tempdir().unwrap();
    let kept = KeptManifests::new(folder.path().join("origins"));
    let (lying, honest) = (MockHub::start(), MockHub::start());
    lying.put("models/org/model", "a", &[6; 1000], false);
    honest.put("models/org/model", "a", &[7; 1000], false);
    let open = |server: &MockHub| {
        Hub::new(&server.url(), None, &limits()).unwrap().origin(&Repo::model("org/model").unwrap(), "main")
    };
    let (listing, manifest) = made(&open(&lying), None).await;
    kept.keep(&open(&lying), &listing, &manifest).unwrap();
    assert!(kept.find(&open(&lying), &listing, PIECES).is_some());
    assert!(kept.find(&open(&honest), &listing, PIECES).is_none(), "it is of another hub");
    let listing = open(&honest).list().await.unwrap();
    assert!(kept.find(&open(&lying), &listing, PIECES).is_none(), "it has other digests");
}

#[tokio::test]
async fn an_object_that_has_changed_is_never_served() {
    // Its server takes no notice of If-Match, and gives no ETag: only its bytes show it.
    let later = Arc::new(Mutex::new(false));
    let now = later.clone();
    let server = WebServer::start(move |request| {
        let mut response = Response::of_bytes(request, &[u8::from(*now.lock().unwrap()); 50_000], "\"v1\"");
        response.headers.retain(|(name, _)| name != "ETag");
        response
    });
    let origin = open(&server);
    let (listing, manifest) = made(&origin, None).await;
    let storage = OriginStorage::new(origin, listing, manifest, None, None).unwrap();
    *later.lock().unwrap() = true;
    let read = storage.fetch(0, 0, 10).await;
    assert!(matches!(read, Err(StorageError::Changed(_))), "{read:?}");
}

#[tokio::test]
async fn a_change_is_noticed_while_nobody_reads() {
    let tag = Arc::new(Mutex::new("\"v1\""));
    let now = tag.clone();
    let server = WebServer::start(move |request| Response::of_bytes(request, &[7; 5000], *now.lock().unwrap()));
    let origin = open(&server);
    let (listing, manifest) = made(&origin, None).await;
    let storage = OriginStorage::new(origin, listing, manifest, None, Some(Duration::from_millis(5))).unwrap();
    let watching = tokio::spawn(storage.changed());
    *tag.lock().unwrap() = "\"v2\"";
    let changed = tokio::time::timeout(Duration::from_secs(60), watching).await.unwrap().unwrap();
    assert!(matches!(changed, StorageError::Changed(_)), "{changed:?}");
}

#[tokio::test]
async fn an_origin_that_fails_for_a_while_is_busy_and_no_more() {
    let bytes = pattern(50_000);
    let file = bytes.clone();
    let failing = Arc::new(AtomicU32::new(0));
    let now = failing.clone();
    let server = WebServer::start(move |request| match now.load(Ordering::Relaxed) {
        0 => Response::of_bytes(request, &file, "\"v1\""),
        status => Response::new(status as u16, ""),
    });
    let origin = open(&server).with_limits(limits().patience(Duration::from_millis(20)));
    let (listing, manifest) = made(&origin, None).await;
    // Credentials expire, and are renewed.
    for status in [503, 401, 403, 400] {
        let storage = OriginStorage::new(origin.clone(), listing.clone(), manifest.clone(), None, None).unwrap();
        failing.store(status, Ordering::Relaxed);
        let read = storage.fetch(0, 0, 10).await;
        assert!(matches!(read, Err(StorageError::Unreachable(_))), "{read:?}");
        failing.store(0, Ordering::Relaxed);
        assert!(storage.fetch(0, 0, 10).await.unwrap() == bytes[..10], "the next one asks anew");
    }
}

#[tokio::test]
async fn a_model_is_a_folder_and_its_bytes_are_those_that_the_hub_says() {
    let server = MockHub::start();
    server.put("models/org/model", "config.json", b"{}", false);
    server.put("models/org/model", "weights/model.safetensors", &pattern(200_000), true);
    let hub = Hub::new(&server.url(), None, &limits()).unwrap();
    let origin = hub.origin(&Repo::model("org/model").unwrap(), "main");
    let (_, manifest) = made(&origin, None).await;
    assert_eq!(manifest.header().name, format!("org--model@{COMMIT}"));
    let paths: Vec<_> = manifest.header().files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["config.json", "weights/model.safetensors"]);
    // A proxy between gives other bytes.
    for path in ["config.json", "model.safetensors"] {
        server.fault(move |request| {
            let wrong = request.path.contains("/resolve/") && request.path.ends_with(path);
            let size = if path == "config.json" { 2 } else { 200_000 };
            wrong.then(|| Response::of_bytes(request, &vec![7; size], "\"same\""))
        });
        let listing = origin.list().await.unwrap();
        let error = make_manifest(&origin, &listing, PIECES, None, |_, _| {}).await.unwrap_err();
        assert!(error.to_string().contains("not those that its origin says"), "{path}: {error}");
    }
}

#[tokio::test]
async fn names_that_no_content_may_have_are_refused_before_anything_is_read() {
    for path in ["../up", "a/../b", "CON/..", "a//b"] {
        let server = MockHub::start();
        server.put("models/org/model", path, b"bytes", false);
        let hub = Hub::new(&server.url(), None, &limits()).unwrap();
        let origin = hub.origin(&Repo::model("org/model").unwrap(), "main");
        let listing = origin.list().await.unwrap();
        let error = make_manifest(&origin, &listing, PIECES, None, |_, _| panic!("it is read")).await.unwrap_err();
        assert!(matches!(error, OriginError::Url { .. }), "{path}: {error:?}");
    }
}
