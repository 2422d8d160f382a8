//! Reading models and data sets, from a hub that answers by the public one's contract.

#[allow(dead_code)]
#[path = "../../../tests/src/hub.rs"]
mod hub;
#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

use std::time::Duration;

use hub::{COMMIT, MockHub};
use p2p_fileshare_origins::hub::{Hub, Repo};
use p2p_fileshare_origins::{FileDigest, Limits, Options, Origin, OriginError, Pace};
use sha2::{Digest, Sha256};
use web::{Response, WebServer};

fn limits() -> Limits {
    Limits::default().pause(Duration::from_millis(5))
}

fn client(server: &MockHub) -> Hub {
    Hub::new(&server.url(), None, &limits()).unwrap()
}

fn weights(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn a_model_is_listed_at_a_commit_with_pages() {
    let server = MockHub::start();
    server.per_page(2);
    for number in 0..7 {
        server.put("models/org/model", &format!("part {number}/weights.bin"), &weights(1000 + number), number % 2 == 0);
    }
    let (hub, repo) = (client(&server), Repo::model("org/model").unwrap());
    let commit = hub.commit(&repo, "main").await.unwrap();
    assert_eq!(commit, COMMIT);
    let files = hub.files(&repo, &commit).await.unwrap();
    assert_eq!(files.len(), 7);
    let sizes: Vec<_> = files.iter().map(|file| file.size).collect();
    assert_eq!(sizes, (1000..1007).collect::<Vec<u64>>());
    let sha256: [u8; 32] = Sha256::digest(weights(1000)).into();
    assert_eq!(files[0].digest(), Some(FileDigest::Sha256(sha256)));
    assert!(matches!(files[1].digest(), Some(FileDigest::GitBlob(_))));
    let listing = hub.origin(&repo, "main").list().await.unwrap();
    assert_eq!((listing.name, listing.folder), (format!("org--model@{COMMIT}"), true));
}

#[tokio::test]
async fn a_hub_and_a_web_server_are_read_at_one_pace_together() {
    let server = MockHub::start();
    server.put("models/org/model", "weights.bin", &weights(200_000), true);
    let web = WebServer::start(|request| Response::of_bytes(request, &weights(200_000), "\"v1\""));
    let pace = Some(Pace::new(std::num::NonZeroU64::new(400_000).unwrap()));
    let (hub, repo) = (client(&server).paced(pace.clone()), Repo::model("org/model").unwrap());
    let files = hub.files(&repo, COMMIT).await.unwrap();
    let options = Options::default().limits(limits()).pace(pace);
    let file = Origin::open(&format!("{}/file.bin", web.url()), &options).unwrap();
    let listing = file.list().await.unwrap();
    let began = std::time::Instant::now();
    let (one, other) =
        tokio::join!(hub.read(&repo, COMMIT, &files[0], 0..200_000), file.read(&listing.objects[0], 0..200_000));
    assert!(one.unwrap() == weights(200_000) && other.unwrap() == weights(200_000));
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_list_of_files_that_is_cut_short_or_endless_is_an_error() {
    // A link to the page itself, to nowhere, and one that leads in a circle.
    for link in ["<?recursive=true&expand=false>; rel=\"next\"", "<http://[>; rel=\"next\"", "<?page=2>; rel=\"next\""]
    {
        let server = MockHub::start();
        server.put("models/org/model", "a", b"a", false);
        server.fault(move |request| {
            let page = || Response::new(200, r#"[{"type":"file","path":"a","size":1,"oid":"00"}]"#);
            request.path.contains("/tree/").then(|| page().header("Link", link))
        });
        let files = client(&server).files(&Repo::model("org/model").unwrap(), COMMIT).await;
        let said = files.expect_err("it is not all").to_string();
        assert!(said.contains("does not end"), "{link}: {said}");
    }
}

#[tokio::test]
async fn a_list_of_files_with_endless_names_is_refused_before_it_fills_the_memory() {
    let server = MockHub::start();
    let count = std::sync::atomic::AtomicU32::new(0);
    server.fault(move |request| {
        let page = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let body = format!(r#"[{{"type":"file","path":"{page}{}","size":1}}]"#, "x".repeat(8 << 20));
        let link = format!("<?page={page}>; rel=\"next\"");
        request.path.contains("/tree/").then(|| Response::new(200, body).header("Link", link))
    });
    let files = client(&server).files(&Repo::model("org/model").unwrap(), COMMIT).await;
    let said = files.expect_err("no content has such names").to_string();
    assert!(said.contains("longer than those of a content"), "{said}");
}

#[tokio::test]
async fn ranges_of_a_file_are_read() {
    let server = MockHub::start();
    let bytes = weights(300_000);
    server.put("datasets/org/set", "a b%/c.bin", &bytes, true);
    let (hub, repo) = (client(&server), Repo::dataset("org/set").unwrap());
    let files = hub.files(&repo, COMMIT).await.unwrap();
    for range in [0..1, 0..300_000, 299_999..300_000, 1000..200_000, 5..5] {
        let found = hub.read(&repo, COMMIT, &files[0], range.clone()).await.unwrap();
        assert!(found[..] == bytes[range.start as usize..range.end as usize], "{range:?}");
    }
    let outside = hub.read(&repo, COMMIT, &files[0], 0..300_001).await;
    assert!(matches!(outside, Err(OriginError::OutOfRange { .. })), "{outside:?}");
}

#[tokio::test]
async fn what_a_hub_does_not_have_is_said() {
    let server = MockHub::start();
    server.put("models/org/model", "a", b"a", false);
    let hub = client(&server);
    let none = hub.commit(&Repo::model("org/other").unwrap(), "main").await;
    assert_eq!(none, Err(OriginError::NotFound("hf://org/other@main".to_owned())));
    let none = hub.commit(&Repo::model("org/model").unwrap(), "v9").await;
    assert_eq!(none, Err(OriginError::NotFound("hf://org/model@v9".to_owned())));
}

#[tokio::test]
async fn a_closed_model_needs_the_token_of_the_hub() {
    let server = MockHub::start();
    server.put("models/org/model", "a", b"a", false);
    server.token("hf_secret");
    let repo = Repo::model("org/model").unwrap();
    let without = client(&server).commit(&repo, "main").await.unwrap_err().to_string();
    assert!(without.contains("HF_TOKEN"), "{without}");
    let with = Hub::new(&server.url(), Some("hf_secret".to_owned()), &limits()).unwrap();
    let files = with.files(&repo, &with.commit(&repo, "main").await.unwrap()).await.unwrap();
    assert_eq!(&with.read(&repo, COMMIT, &files[0], 0..1).await.unwrap()[..], b"a");
}

#[tokio::test]
async fn a_token_does_not_follow_a_redirect_to_another_server() {
    let store = web::WebServer::start(|request| Response::of_bytes(request, b"abc", "\"other tag\""));
    let server = MockHub::start();
    server.put("models/org/model", "a", b"abc", true);
    server.token("hf_secret");
    let elsewhere = store.url();
    server.fault(move |request| {
        let redirects = request.path.contains("/resolve/");
        redirects.then(|| Response::new(302, "").header("Location", format!("{elsewhere}/signed?a=b")))
    });
    let hub = Hub::new(&server.url(), Some("hf_secret".to_owned()), &limits()).unwrap();
    let repo = Repo::model("org/model").unwrap();
    let files = hub.files(&repo, COMMIT).await.unwrap();
    assert_eq!(&hub.read(&repo, COMMIT, &files[0], 1..3).await.unwrap()[..], b"bc");
    assert!(store.requests().iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(!store.requests().is_empty());
}

#[tokio::test]
async fn a_hub_that_is_busy_for_a_while_is_asked_again() {
    let server = MockHub::start();
    server.put("models/org/model", "a", b"a", false);
    let mut left = 3;
    server.fault(move |_| {
        left -= 1;
        (left >= 0).then(|| Response::new(if left % 2 == 0 { 429 } else { 503 }, "").header("Retry-After", "0"))
    });
    let repo = Repo::model("org/model").unwrap();
    assert_eq!(client(&server).commit(&repo, "main").await.unwrap(), COMMIT);
}

#[tokio::test]
async fn an_answer_that_is_no_hubs_is_said() {
    let server = MockHub::start();
    server.fault(|_| Some(Response::new(200, "<html>Please log in to the network</html>")));
    let error = client(&server).commit(&Repo::model("org/model").unwrap(), "main").await.unwrap_err().to_string();
    assert!(error.contains("does not answer as a hub does"), "{error}");
}
