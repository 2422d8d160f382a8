//! A daemon that shares what is at a URL, and says nothing of what is secret in that.

#[allow(dead_code)]
mod user;

use std::process::Output;

use tests::web::{Response, WebServer};
use user::{Program, User, pattern, said};

/// A daemon of this user, which listens for what it is told.
fn daemon(user: &User) -> Program {
    let program =
        Program::start(user.command(&["daemon", "-p0", "--bind=127.0.0.1", "--state=state", "--socket=control"]));
    program.line("Controlled at ");
    program
}

fn control(user: &User, words: &[&str]) -> Output {
    user.run(&[words, &["--socket=control"]].concat())
}

/// Adds a URL, and gives the ticket.
fn add(user: &User, url: &str) -> String {
    let added = control(user, &["add", url]);
    assert!(added.status.success(), "{}", said(&added));
    let text = said(&added);
    assert!(!text.contains("SECRET"), "{text}");
    let ticket = text.lines().find_map(|line| line.strip_prefix("peer-cli get "));
    ticket.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_daemon_shares_a_url_and_goes_on_after_a_crash() {
    let bytes = pattern(3_000_001);
    let (served, sharer) = (bytes.clone(), User::new());
    let server = WebServer::start(move |request| match request.path.as_str() {
        "/a/file.bin" => Response::of_bytes(request, &served, "\"v1\""),
        _ => Response::new(404, ""),
    });
    let url = format!("{}/a/file.bin?signature=SECRET", server.url());
    let mut running = daemon(&sharer);
    let first = add(&sharer, &url);
    let read = server.sent();
    assert!(std::fs::read(User::new().get(&first, "file.bin")).unwrap() == bytes);
    let missing = control(&sharer, &["add", &format!("{}/none?signature=SECRET", server.url())]);
    let status = control(&sharer, &["status"]);
    for output in [&missing, &status] {
        assert!(!said(output).contains("SECRET"), "{}", said(output));
    }
    assert!(said(&missing).contains("is not there"), "{}", said(&missing));
    assert!(control(&sharer, &["rm", "2"]).status.success());
    running.child.kill().unwrap();
    drop(running);
    let _again = daemon(&sharer);
    let second = add(&sharer, &url);
    assert!(std::fs::read(User::new().get(&second, "file.bin")).unwrap() == bytes);
    // To look whether it has changed takes a byte.
    assert!(server.sent() <= read + 10, "its manifest and its bytes were kept: {} after {read}", server.sent());
    assert!(control(&sharer, &["rm", &url]).status.success());
}

#[test]
fn a_url_that_can_never_be_read_is_refused_and_not_stored() {
    let user = User::new();
    let _running = daemon(&user);
    for url in ["http://user:SECRET@127.0.0.1/x.bin", "hf://", "hf://org/model@", "s3://"] {
        let added = control(&user, &["add", url]);
        assert_eq!(added.status.code(), Some(2), "{url}: {}", said(&added));
        assert!(!said(&added).contains("SECRET"), "{}", said(&added));
    }
    let status = said(&control(&user, &["status"]));
    assert!(status.contains("Nothing is shared"), "{status}");
    let state = std::fs::read_to_string(user.folder.path().join("state/daemon.json")).unwrap_or_default();
    assert!(!state.contains("SECRET"), "{state}");
}

#[test]
fn the_status_of_add_says_why_a_url_is_not_shared() {
    let user = User::new();
    let server = WebServer::start(|request| match request.path.as_str() {
        "/denied" => Response::new(403, ""),
        "/unknown" => Response::new(401, ""),
        _ => Response::new(404, ""),
    });
    let _running = daemon(&user);
    for (path, status) in [("none", 4), ("denied", 10), ("unknown", 10)] {
        let added = control(&user, &["add", &format!("{}/{path}", server.url())]);
        assert_eq!(added.status.code(), Some(status), "{path}: {}", said(&added));
    }
}

/// What `add` is told by Ctrl-C, the daemon is not.
#[cfg(unix)]
#[test]
fn why_a_url_is_not_shared_yet_is_said_and_how_to_forget_it() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let server = WebServer::start(|_| Response::new(500, "").header("Retry-After", "5"));
    let sharer = User::new();
    let _running = daemon(&sharer);
    let url = format!("{}/file.bin", server.url());
    let mut add = Program::start(sharer.command(&["add", &url, "--socket=control"]));
    add.line("500 Internal Server Error. Trying again for ");
    let status = control(&sharer, &["status"]);
    assert!(said(&status).contains("500 Internal Server Error"), "{}", said(&status));
    kill(Pid::from_raw(add.child.id() as i32), Signal::SIGINT).unwrap();
    add.line("number 1: `peer-cli rm 1` forgets it");
    assert_eq!(add.child.wait().unwrap().code(), Some(130));
    assert!(control(&sharer, &["rm", "1"]).status.success());
}
