//! `peer-cli share URL` and `peer-cli publish`, as processes: from a web server, a hub, and S3 (moto, where Python has it).

#[allow(dead_code)]
mod user;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tests::hub::{COMMIT, MockHub};
use tests::web::{Response, WebServer};
use user::{Program, User, pattern, said};

#[test]
fn a_file_of_a_web_server_is_shared_with_one_read() {
    let bytes = pattern(6_000_000);
    let file = bytes.clone();
    let server = WebServer::start(move |request| Response::of_bytes(request, &file, "\"v1\""));
    let (one, other, url) = (User::new(), User::new(), format!("{}/a/file.bin?signature=secret", server.url()));
    let share = one.share(&[&url]);
    let (ticket, before) = share.ticket();
    assert!(!before.iter().any(|line| line.contains("secret")), "{before:?}");
    assert!(std::fs::read(other.get(&ticket, "file.bin")).unwrap() == bytes);
    let sent = server.sent();
    assert!(sent <= 6_000_010, "{sent} bytes of 6,000,000 were read");
    // Shared again, nothing is read for the manifest, nor for what is in the cache.
    drop(share);
    let (share, third) = (one.share(&[&url]), User::new());
    assert!(std::fs::read(third.get(&share.ticket().0, "file.bin")).unwrap() == bytes);
    assert!(server.sent() <= sent + 10, "{} bytes more were read", server.sent() - sent);
}

#[test]
fn a_model_of_a_hub_is_shared_as_a_folder_of_its_commit() {
    let server = MockHub::start();
    server.per_page(1);
    server.put("models/org/model", "config.json", b"{}", false);
    server.put("models/org/model", "weights/model.safetensors", &pattern(100_000), true);
    let user = User::new().with("HF_ENDPOINT", server.url());
    let (share, other) = (user.share(&["hf://org/model"]), User::new());
    let folder = other.get(&share.ticket().0, &format!("org--model@{COMMIT}"));
    assert!(std::fs::read(folder.join("weights/model.safetensors")).unwrap() == pattern(100_000));
    assert_eq!(std::fs::read(folder.join("config.json")).unwrap(), b"{}");
    // Some of it, as another content.
    let part = user.share(&["hf://org/model@main", "--only", "*.json"]);
    let third = User::new();
    let folder = third.get(&part.ticket().0, &format!("org--model@{COMMIT}"));
    assert!(folder.join("config.json").is_file() && !folder.join("weights").exists());
}

#[test]
fn a_changed_object_is_withdrawn_and_nothing_of_it_is_served() {
    let tag = Arc::new(Mutex::new("\"v1\""));
    let now = tag.clone();
    let server = WebServer::start(move |request| {
        let tag = *now.lock().unwrap();
        Response::of_bytes(request, &[tag.as_bytes()[2]; 100_000], tag)
    });
    let (user, other) = (User::new(), User::new());
    let share = user.share(&["--cache=0", &format!("{}/file.bin", server.url())]);
    let (ticket, _) = share.ticket();
    *tag.lock().unwrap() = "\"v2\"";
    let mut get = Program::start(other.command(&["get", &ticket, "--wait=1s"]));
    let (line, _) = share.line("Not sharing file.bin any more");
    assert!(line.contains("was changed"), "{line}");
    assert!(!get.child.wait().unwrap().success() && !other.folder.path().join("file.bin").exists());
}

#[test]
fn an_origin_that_fails_for_a_while_does_not_end_a_transfer() {
    let bytes = pattern(300_000);
    let (file, tries) = (bytes.clone(), Arc::new(AtomicU32::new(0)));
    let count = tries.clone();
    let server = WebServer::start(move |request| match count.load(Ordering::Relaxed) {
        1..4 => {
            count.fetch_add(1, Ordering::Relaxed);
            Response::new(503, "")
        }
        _ => Response::of_bytes(request, &file, "\"v1\""),
    });
    let (user, other) = (User::new(), User::new());
    let share = user.share(&["--cache=0", &format!("{}/file.bin", server.url())]);
    let (ticket, _) = share.ticket();
    tries.store(1, Ordering::Relaxed);
    assert!(std::fs::read(other.get(&ticket, "file.bin")).unwrap() == bytes);
    assert_eq!(tries.load(Ordering::Relaxed), 4, "it did fail");
}

#[test]
fn an_origin_that_fails_is_told_of_while_it_is_tried_again() {
    let server = WebServer::start(|_| Response::new(500, "").header("Retry-After", "5"));
    let (user, url) = (User::new(), format!("{}/file.bin?signature=SECRET", server.url()));
    let publish = Program::start(user.command(&["publish", &url]));
    for program in [publish, user.share(&[&url])] {
        let (line, _) = program.line("Trying again for ");
        assert!(line.contains("500 Internal Server Error") && !line.contains("SECRET"), "{line}");
    }
}

#[test]
fn what_cannot_be_shared_is_said_with_what_to_do() {
    let server = WebServer::start(|request| match request.path.as_str() {
        "/closed" => Response::new(403, ""),
        "/loop" => Response::new(302, "").header("Location", "/loop"),
        "/whole" => Response::new(200, [7; 100]).header("ETag", "\"v1\""),
        _ => Response::new(404, ""),
    });
    let user = User::new();
    for (path, code, words) in [
        ("/none", 4, "is not there"),
        ("/closed", 10, "no permission"),
        ("/loop", 1, "redirects again and again"),
        ("/whole", 1, "ignores ranges"),
    ] {
        let url = format!("{}{path}", server.url());
        let output = user.run(&["publish", &url]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    for (words, expected) in [
        (["publish", "s3://"], "bucket/key"),
        (["publish", "hf://a/b/c"], "hf://org/name"),
        (["publish", "file.bin"], "peer-cli hash"),
        (["publish", "https://me:word@host/file"], "password"),
    ] {
        let output = user.run(&words);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(expected) && !said(&output).contains("me:word"), "{}", said(&output));
    }
}

#[test]
fn no_secret_of_a_url_is_in_any_message_however_wrong_the_url_is() {
    let user = User::new().with("AWS_ACCESS_KEY_ID", "a").with("AWS_SECRET_ACCESS_KEY", "b").with("AWS_REGION", "x");
    for url in [
        "https://u:SECRET@127.0.0.1:1/file",
        "https://u:SEC/SECRET@127.0.0.1:1/file",
        "https://host:99999/f?X-Amz-Signature=SECRET",
        "ftp://u:SECRET@host/file",
        "HTTPS://u:SECRET@host/file",
        "s3://AKIA:SECRET@bucket/key",
        "s3://AKIA:SE/SECRET@bucket/key",
        "s3://models/a//b?X-Amz-Signature=SECRET",
        "hf://u:SECRET@org/model",
        "hf://hf_SECRET@a//b",
    ] {
        for command in ["publish", "share"] {
            let output = user.run(&[command, url]);
            assert!(!output.status.success() && !said(&output).contains("SECRET"), "{url}: {}", said(&output));
        }
    }
    for endpoint in ["https://u:SECRET@host:99999", "https://u:SECRET@host", "u:SECRET@host"] {
        for url in ["s3://models/key", "gs://models/key", "az://models/key"] {
            let output = user.run(&["publish", url, "--endpoint", endpoint]);
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            assert!(!said(&output).contains("SECRET"), "{}", said(&output));
        }
    }
}

/// A bucket with one object `models/big`, which is one ETag whatever its bytes are, and what is answered else.
fn bucket(
    bytes: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    other: impl Fn(&tests::web::Request) -> Response + Send + Sync + 'static,
) -> (WebServer, impl Fn() -> User) {
    let server = WebServer::start(move |request| match request.path.as_str() {
        "/models/big" => {
            Response::of_bytes(request, &bytes(), "\"v1\"").header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        }
        _ => other(request),
    });
    let url = server.url();
    let user = move || {
        let user = User::new().with("AWS_ACCESS_KEY_ID", "a").with("AWS_SECRET_ACCESS_KEY", "b");
        user.with("AWS_REGION", "us-east-1").with("AWS_ENDPOINT_URL", url.clone())
    };
    (server, user)
}

#[test]
fn a_wrong_manifest_beside_an_object_is_not_taken_twice() {
    let (now, beside) = (Arc::new(Mutex::new(6u8)), Arc::new(Mutex::new(Vec::new())));
    let (byte, manifest) = (now.clone(), beside.clone());
    let (_server, user) = bucket(
        move || vec![*byte.lock().unwrap(); 100_000],
        move |request| match request.path.ends_with(".p2p-manifest") {
            true => Response::of_bytes(request, &manifest.lock().unwrap(), "\"m\"")
                .header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
            false => Response::new(404, ""),
        },
    );
    let writer = user();
    let published = writer.run(&["publish", "s3://models/big"]);
    assert!(published.status.success(), "{}", said(&published));
    let words = said(&published);
    let path = words.lines().find_map(|line| line.strip_prefix("manifest ")).expect("it is kept").trim();
    *beside.lock().unwrap() = std::fs::read(path).unwrap();
    // It is of other bytes than those that are there.
    *now.lock().unwrap() = 7;
    let (sharer, other) = (user(), User::new());
    let share = sharer.share(&["s3://models/big"]);
    let (ticket, _) = share.ticket();
    let mut get = Program::start(other.command(&["get", &ticket, "--wait=1s"]));
    share.line("Not sharing big any more");
    assert!(!get.child.wait().unwrap().success() && !other.folder.path().join("big").exists());
    drop(share);
    let share = sharer.share(&["s3://models/big"]);
    let other = User::new();
    assert!(std::fs::read(other.get(&share.ticket().0, "big")).unwrap() == [7; 100_000]);
}

#[test]
fn a_bucket_whose_list_is_endless_is_refused_before_it_fills_the_memory() {
    let (_server, user) = bucket(Vec::new, |_| Response::new(200, vec![b' '; 20 << 20]));
    let output = user().run(&["publish", "s3://models/all/"]);
    assert!(!output.status.success() && said(&output).contains("is longer than"), "{}", said(&output));
}

#[test]
fn a_store_that_redirects_is_not_followed() {
    let elsewhere = WebServer::start(|_| Response::new(200, ""));
    let location = format!("{}/models/other", elsewhere.url());
    let (_server, user) = bucket(Vec::new, move |_| Response::new(307, "").header("Location", location.clone()));
    let output = user().run(&["publish", "s3://models/other"]);
    assert!(!output.status.success() && said(&output).contains("redirects"), "{}", said(&output));
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
}

/// A server of S3 with a bucket `models`.
struct S3 {
    child: Child,
    input: ChildStdin,
    url: String,
}

const SERVER: &str = r#"
import sys, boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
s3.create_bucket(Bucket="models")
print("at", url, flush=True)
for line in sys.stdin:
    key, path = line.rstrip("\n").split("\t")
    s3.upload_file(path, "models", key)
    print("put", key, flush=True)
"#;

impl S3 {
    /// Nothing where Python has no moto.
    fn start() -> Option<(Self, BufReader<std::process::ChildStdout>)> {
        let python = std::env::var_os("P2P_TEST_PYTHON").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        command.args(["-c", SERVER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let mut output = BufReader::new(child.stdout.take()?);
        let url = loop {
            let mut line = String::new();
            if output.read_line(&mut line).ok()? == 0 {
                let _ = child.wait();
                return None;
            }
            if let Some(url) = line.strip_prefix("at ") {
                break url.trim().to_owned();
            }
        };
        let input = child.stdin.take()?;
        Some((S3 { child, input, url }, output))
    }

    fn put(&mut self, output: &mut impl BufRead, key: &str, file: &Path) {
        writeln!(self.input, "{key}\t{}", file.display()).unwrap();
        let mut line = String::new();
        while !line.starts_with("put ") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the server of S3 has ended");
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_bucket_is_published_and_shared_by_another_machine_without_reading_it_for_that() {
    let Some((mut s3, mut output)) = S3::start() else {
        eprintln!("skipped: Python has no moto[server]; set P2P_TEST_PYTHON to one that has");
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let (big, small) = (files.path().join("big.bin"), files.path().join("small"));
    std::fs::write(&big, pattern(5_000_000)).unwrap();
    std::fs::write(&small, "small").unwrap();
    s3.put(&mut output, "run 7/weights/big.bin", &big);
    s3.put(&mut output, "run 7/small", &small);
    let user = || {
        let user = User::new().with("AWS_ACCESS_KEY_ID", "a").with("AWS_SECRET_ACCESS_KEY", "b");
        user.with("AWS_REGION", "us-east-1").with("AWS_ENDPOINT_URL", s3.url.clone())
    };
    // The same content as the file, by the same name.
    let one = user();
    let published = one.run(&["publish", "s3://models/run 7/weights/big.bin"]);
    assert!(published.status.success(), "{}", said(&published));
    let hashed = one.run(&["hash", &big.display().to_string()]);
    let id = |output: &Output| said(output).lines().find(|line| line.starts_with("content id")).unwrap().to_owned();
    assert_eq!(id(&published), id(&hashed));
    let published = one.run(&["publish", "s3://models/run 7/", "--beside"]);
    assert!(said(&published).contains("beside      s3://models/run 7/"), "{}", said(&published));
    // Another machine finds the manifest there.
    let two = user();
    let share = two.share(&["s3://models/run 7/"]);
    let (ticket, before) = share.ticket();
    assert!(!before.iter().any(|line| line.starts_with("Hashing")), "{before:?}");
    let other = User::new();
    let folder = other.get(&ticket, "run 7");
    assert!(std::fs::read(folder.join("weights/big.bin")).unwrap() == pattern(5_000_000));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "the manifest there is no part of the content");
    // An object that is replaced is another version, for those who look anew and for those who read.
    std::fs::write(&small, "other").unwrap();
    s3.put(&mut output, "run 7/small", &small);
    let again = one.run(&["publish", "s3://models/run 7/"]);
    assert_ne!(id(&again), id(&published));
    s3.put(&mut output, "run 7/a//b", &small);
    let without = one.run(&["publish", "s3://models/run 7/"]);
    assert!(said(&without).contains("left out: \"run 7/a//b\"."), "{}", said(&without));
    assert_eq!(id(&without), id(&again));
    for (words, code) in
        [("s3://models/none", 4), ("s3://nobucket/x", 4), ("s3://nobucket/x/", 4), ("s3://models/run 7", 2)]
    {
        let refused = one.run(&["publish", words]);
        assert_eq!(refused.status.code(), Some(code), "{}", said(&refused));
    }
}
