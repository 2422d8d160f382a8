//! Reading from web servers that break off, are slow, change their files, or redirect for ever: never other bytes than those of the
//! object that was listed, and a sentence that says what happened.

#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2p_fileshare_origins::{Limits, Options, Origin, OriginError, Version};
use web::{Request, Response, Sending, WebServer};

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// What is waited for long enough on a slow machine, and tried again soon.
fn patient() -> Limits {
    Limits::default().pause(Duration::from_millis(2))
}

fn open(server: &WebServer, limits: Limits) -> Origin {
    Origin::open(&format!("{}/folder/file.bin?signature=secret", server.url()), &Options::default().limits(limits))
        .unwrap()
}

async fn whole(origin: &Origin) -> Result<Vec<u8>, OriginError> {
    let object = origin.list().await?.objects.remove(0);
    Ok(origin.read(&object, 0..object.size).await?.to_vec())
}

#[tokio::test]
async fn a_file_is_read_in_ranges_and_pinned_by_its_etag() {
    let bytes = pattern(200_000);
    let file = bytes.clone();
    let server = WebServer::start(move |request| Response::of_bytes(request, &file, "\"v1\""));
    let origin = open(&server, patient());
    let listing = origin.list().await.unwrap();
    assert_eq!((listing.name.as_str(), listing.folder), ("file.bin", false));
    let object = &listing.objects[0];
    assert_eq!((object.size, &object.version), (200_000, &Version::ETag("\"v1\"".to_owned())));
    assert!(origin.read(object, 1000..150_000).await.unwrap()[..] == bytes[1000..150_000]);
    let asked = server.requests().pop().unwrap();
    assert_eq!(asked.headers.get("if-match").map(String::as_str), Some("\"v1\""));
    assert_eq!(asked.headers.get("accept-encoding").map(String::as_str), Some("identity"));
}

#[tokio::test]
async fn an_empty_file_has_no_bytes() {
    let server = WebServer::start(|request| Response::of_bytes(request, b"", "\"v1\""));
    assert_eq!(whole(&open(&server, patient())).await.unwrap(), b"");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_resumed_where_it_did() {
    let bytes = pattern(100_000);
    let file = bytes.clone();
    let tries = AtomicU32::new(0);
    let server = WebServer::start(move |request| {
        let mut response = Response::of_bytes(request, &file, "\"v1\"");
        if tries.fetch_add(1, Ordering::Relaxed) < 4 && response.body.len() > 1 {
            response.sending = Sending::Cut(30_000);
        }
        response
    });
    assert!(whole(&open(&server, patient())).await.unwrap() == bytes);
    assert!(server.sent() < 110_000, "{} bytes were sent", server.sent());
}

#[tokio::test]
async fn a_server_that_fails_for_a_while_is_asked_again() {
    let tries = AtomicU32::new(0);
    let server = WebServer::start(move |request| match tries.fetch_add(1, Ordering::Relaxed) {
        0..4 => Response::new(503, "busy"),
        _ => Response::of_bytes(request, b"bytes", "\"v1\""),
    });
    assert_eq!(whole(&open(&server, patient())).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn a_server_that_asks_for_an_endless_pause_is_given_up() {
    for seconds in ["18446744073709551615", "99999999999999"] {
        let server = WebServer::start(move |_| Response::new(503, "").header("Retry-After", seconds));
        let error = whole(&open(&server, patient())).await.unwrap_err();
        let OriginError::Unreachable { retry_after, .. } = error else { panic!("{error:?}") };
        assert_eq!(retry_after, Some(3600), "an hour at most");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_keeps_failing_is_given_up_with_what_it_says() {
    let server = WebServer::start(|_| Response::new(500, "out of order"));
    let error = whole(&open(&server, patient().patience(Duration::from_millis(50)))).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("500") && said.contains("file.bin") && !said.contains("secret"), "{said}");
}

#[tokio::test]
async fn an_object_that_changes_is_never_mixed() {
    // With and without a server that knows If-Match, and with another size.
    type Change = fn(&Request, bool) -> Response;
    let changes: [Change; 4] = [
        |request, later| {
            Response::of_bytes(request, &[u8::from(later); 50_000], if later { "\"v2\"" } else { "\"v1\"" })
        },
        |request, later| {
            let mut request = request.clone();
            request.headers.remove("if-match");
            Response::of_bytes(&request, &[u8::from(later); 50_000], if later { "\"v2\"" } else { "\"v1\"" })
        },
        |request, later| Response::of_bytes(request, &vec![7; if later { 40_000 } else { 50_000 }], "\"same\""),
        |request, later| {
            let mut response = Response::of_bytes(request, &[7; 50_000], "\"v1\"");
            response.headers.retain(|(name, _)| name != "ETag");
            response.header(
                "Last-Modified",
                if later { "Tue, 02 Jan 2024 00:00:00 GMT" } else { "Mon, 01 Jan 2024 00:00:00 GMT" },
            )
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let later = Arc::new(Mutex::new(false));
        let now = later.clone();
        let server = WebServer::start(move |request| change(request, *now.lock().unwrap()));
        let origin = open(&server, patient());
        let object = origin.list().await.unwrap().objects.remove(0);
        assert_eq!(origin.read(&object, 0..10).await.unwrap().len(), 10);
        *later.lock().unwrap() = true;
        let read = origin.read(&object, 10..50_000).await;
        assert!(matches!(read, Err(OriginError::Changed(_))), "change {number}: {read:?}");
    }
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_resumed_is_never_mixed() {
    let tries = AtomicU32::new(0);
    let server = WebServer::start(move |request| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Response::of_bytes(request, &[0; 50_000], "\"v1\""),
        1 => Response { sending: Sending::Cut(20_000), ..Response::of_bytes(request, &[0; 50_000], "\"v1\"") },
        _ => Response::of_bytes(request, &[1; 50_000], "\"v2\""),
    });
    let read = whole(&open(&server, patient())).await;
    assert!(matches!(read, Err(OriginError::Changed(_))), "{read:?}");
}

#[tokio::test]
async fn a_server_that_is_silent_or_slow_is_asked_anew() {
    let bytes = pattern(50_000);
    let file = bytes.clone();
    let tries = AtomicU32::new(0);
    let server = WebServer::start(move |request| {
        let mut response = Response::of_bytes(request, &file, "\"v1\"");
        if tries.fetch_add(1, Ordering::Relaxed) == 1 {
            response.sending = Sending::Stuck(10_000);
        }
        response
    });
    let limits = patient().window(Duration::from_millis(300), 20_000);
    assert!(whole(&open(&server, limits)).await.unwrap() == bytes);
    // One that always is ends with a sentence.
    let server = WebServer::start(|request| {
        let mut response = Response::of_bytes(request, &[7; 50_000], "\"v1\"");
        if response.body.len() > 1 {
            response.sending = Sending::Stuck(10);
        }
        response
    });
    let limits = Limits::default().window(Duration::from_millis(50), 20_000).patience(Duration::from_millis(100));
    let said = whole(&open(&server, limits)).await.unwrap_err().to_string();
    assert!(said.contains("too slow"), "{said}");
}

#[tokio::test]
async fn redirects_are_followed_and_have_an_end() {
    let server = WebServer::start(|request| match request.path.as_str() {
        "/folder/file.bin" => Response::new(302, "").header("Location", "/real?x=y"),
        _ => Response::of_bytes(request, b"bytes", "\"v1\""),
    });
    let origin = open(&server, patient());
    assert_eq!(origin.list().await.unwrap().name, "file.bin");
    assert_eq!(whole(&origin).await.unwrap(), b"bytes");
    let server = WebServer::start(|_| Response::new(307, "").header("Location", "/again"));
    let error = whole(&open(&server, patient())).await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("redirects again and again"), "{error}");
    assert!(server.requests().len() < 20, "{}", server.requests().len());
}

#[tokio::test]
async fn a_redirect_does_not_tell_the_other_server_what_the_url_was() {
    let other = WebServer::start(|request| Response::of_bytes(request, b"bytes", "\"v1\""));
    let location = format!("{}/file", other.url());
    let server = WebServer::start(move |_| Response::new(302, "").header("Location", location.clone()));
    assert_eq!(whole(&open(&server, patient())).await.unwrap(), b"bytes");
    let asked = other.requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| !format!("{request:?}").contains("secret")), "{asked:?}");
}

#[tokio::test]
async fn a_server_without_ranges_is_refused_with_a_way_out() {
    let server = WebServer::start(|_| Response::new(200, [7; 5000]).header("ETag", "\"v1\""));
    let error = whole(&open(&server, patient())).await.unwrap_err();
    assert!(matches!(error, OriginError::NoRanges(_)) && error.to_string().contains("share -"), "{error}");
}

#[tokio::test]
async fn wrong_ranges_and_compressed_answers_are_refused() {
    let tries = Arc::new(AtomicU32::new(0));
    let count = tries.clone();
    let server = WebServer::start(move |request| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Response::of_bytes(request, &[7; 5000], "\"v1\""),
        1 => Response::new(206, [7; 100]).header("ETag", "\"v1\"").header("Content-Range", "bytes 1-100/5000"),
        _ => Response::of_bytes(request, &[7; 5000], "\"v1\"").header("Content-Encoding", "gzip"),
    });
    let origin = open(&server, patient());
    let object = origin.list().await.unwrap().objects.remove(0);
    for expected in ["another range", "compresses"] {
        let said = origin.read(&object, 0..100).await.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn a_missing_or_forbidden_file_is_not_asked_for_again() {
    for (status, expected) in [(404, "is not there"), (403, "no permission"), (400, "cannot be read")] {
        let server = WebServer::start(move |_| Response::new(status, ""));
        let said = whole(&open(&server, patient())).await.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn nobody_at_an_address_is_said() {
    // It stays bound, so that nobody else gets it, and nobody listens.
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/file", bound.local_addr().unwrap());
    let options = Options::default().limits(patient().patience(Duration::from_millis(20)));
    let error = whole(&Origin::open(&url, &options).unwrap()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_host_whose_name_leads_nowhere_is_named() {
    let options = Options::default().limits(patient().patience(Duration::ZERO));
    let error = Origin::open("http://no-such-host.invalid/x", &options).unwrap().list().await.unwrap_err();
    assert!(matches!(error, OriginError::Unresolved { .. }) && error.is_transient(), "{error:?}");
    assert!(error.to_string().ends_with("no-such-host.invalid cannot be resolved"), "{error}");
}

#[tokio::test]
async fn what_fails_for_a_while_is_told_before_it_is_given_up() {
    let server = WebServer::start(|_| Response::new(503, "").header("Retry-After", "5"));
    let (sender, mut retries) = tokio::sync::mpsc::unbounded_channel();
    let limits = patient().on_retry(move |error, _| sender.send(error.to_string()).unwrap());
    let origin = open(&server, limits);
    tokio::select! {
        listed = origin.list() => panic!("{listed:?}"),
        said = retries.recv() => assert!(said.as_ref().is_some_and(|said| said.contains("503")), "{said:?}"),
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_on_plain_requests_may_take_only_https() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let refusing = WebServer::start(|_| Response::new(400, "<html>"));
    for url in [url, refusing.url()] {
        let options = Options::default().limits(patient().patience(Duration::ZERO));
        let error = Origin::open(&url, &options).unwrap().list().await.unwrap_err();
        assert!(error.to_string().contains("takes only https://"), "{error}");
    }
}
