//! What peers read of an origin: pinned, once, and of what a manifest names only what the user allowed.

#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use integrity::Algorithm;
use p2p_fileshare_origins::{Allowed, Limits, Options, Origin, OriginFallback, Pieces, make_manifest};
use protocol::{Manifest, OriginUrl};
use storage::{Fallback, StorageError};
use web::{Response, WebServer};

const PIECES: Pieces = Pieces { algorithm: Algorithm::Blake3, size: Some(1024) };

fn file_server(bytes: &[u8]) -> WebServer {
    let file = bytes.to_owned();
    WebServer::start(move |request| Response::of_bytes(request, &file, "\"v1\""))
}

async fn manifest(server: &WebServer) -> Arc<Manifest> {
    let origin = Origin::open(&format!("{}/file", server.url()), &Options::default()).unwrap();
    let listing = origin.list().await.unwrap();
    Arc::new(make_manifest(&origin, &listing, PIECES, None, |_, _| {}).await.unwrap())
}

/// All of a range.
async fn read(
    origin: &OriginFallback,
    manifest: &Arc<Manifest>,
    offset: u64,
    len: u64,
) -> Result<Vec<u8>, StorageError> {
    let (mut read, mut all) = (origin.read(manifest, 0, offset, len), Vec::new());
    while (all.len() as u64) < len {
        all.extend_from_slice(&read.next().await?);
    }
    Ok(all)
}

#[tokio::test]
async fn a_range_is_read_of_the_version_that_was_looked_at_first() {
    let tag = Arc::new(Mutex::new("\"v1\""));
    let now = tag.clone();
    let server = WebServer::start(move |request| Response::of_bytes(request, &[7; 5000], *now.lock().unwrap()));
    let manifest = manifest(&server).await;
    let origin = OriginFallback::new(&format!("{}/other-name", server.url()), &Options::default()).unwrap();
    assert_eq!(read(&origin, &manifest, 1024, 2000).await.unwrap(), [7; 2000]);
    *tag.lock().unwrap() = "\"v2\"";
    let error = read(&origin, &manifest, 0, 10).await.unwrap_err();
    assert!(matches!(error, StorageError::Changed(_)), "{error}");
}

#[tokio::test]
async fn a_failure_is_told_at_once_and_a_request_to_wait_is_kept_to() {
    let (asked, server) = (Arc::new(AtomicU32::new(0)), file_server(&[7; 5000]));
    let manifest = manifest(&server).await;
    let count = asked.clone();
    let busy = WebServer::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Response::new(503, "").header("Retry-After", "600")
    });
    let limits = Limits::default();
    let origin = OriginFallback::new(&format!("{}/file", busy.url()), &Options::default().limits(limits)).unwrap();
    for _ in 0..3 {
        let error = read(&origin, &manifest, 0, 10).await.unwrap_err();
        assert!(matches!(&error, StorageError::Unreachable(reason) if reason.contains("503")), "{error}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn another_file_than_the_content_was_made_of_is_not_read() {
    let (server, other) = (file_server(&[7; 5000]), file_server(&[7; 5001]));
    let manifest = manifest(&server).await;
    let origin = OriginFallback::new(&format!("{}/file", other.url()), &Options::default()).unwrap();
    let error = read(&origin, &manifest, 0, 10).await.unwrap_err().to_string();
    assert!(error.contains("since the content was made of it"), "{error}");
}

fn named(url: &str, allowed: &[&str]) -> Result<OriginFallback, p2p_fileshare_origins::OriginError> {
    let url: OriginUrl = url.parse().unwrap();
    let allowed = Allowed::new(allowed.iter().map(|&host| host.to_owned()));
    OriginFallback::named(&url, &allowed, &Options::default())
}

#[tokio::test]
async fn what_a_manifest_names_is_asked_nothing_unless_its_host_is_allowed() {
    let server = file_server(&[7; 5000]);
    let manifest = manifest(&server).await;
    let before = server.requests().len();
    let (by_address, port) = (format!("{}/file", server.url()), server.url().rsplit(':').next().unwrap().to_owned());
    let by_name = format!("http://localhost:{port}/file");
    for (url, allowed) in [(&by_address, &["localhost"][..]), (&by_name, &["127.0.0.1"]), (&by_name, &[])] {
        let error = named(url, allowed).err().expect("it is not allowed").to_string();
        assert!(error.contains("--origin-allow"), "{error}");
    }
    // Its name is allowed, and leads to this machine, which is not.
    let error = read(&named(&by_name, &["localhost"]).unwrap(), &manifest, 0, 10).await.unwrap_err().to_string();
    assert!(error.contains("private network"), "{error}");
    assert_eq!(server.requests().len(), before);
    for (url, allowed) in [(&by_address, &["127.0.0.1"][..]), (&by_name, &["localhost", "127.0.0.1"])] {
        assert_eq!(read(&named(url, allowed).unwrap(), &manifest, 0, 10).await.unwrap(), [7; 10]);
    }
}

#[tokio::test]
async fn an_allowed_host_redirects_to_no_private_address_that_is_not_allowed() {
    let manifest = manifest(&file_server(&[7; 5000])).await;
    for target in ["[::1]", "169.254.169.254", "10.0.0.1", "0xa.1", "[fd00::1]", "[::ffff:10.0.0.1]"] {
        let location = format!("http://{target}/file");
        let server = WebServer::start(move |_| Response::new(302, "").header("Location", location.clone()));
        let origin = named(&format!("{}/file", server.url()), &["127.0.0.1"]).unwrap();
        let error = read(&origin, &manifest, 0, 10).await.unwrap_err().to_string();
        assert!(error.contains("private network"), "{target}: {error}");
    }
}
