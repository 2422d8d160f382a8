//! `peer-cli gateway`, and `--gateway` beside `share`, as processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// After this long a test hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that is ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(folder: &Path, words: &[&str]) -> Command {
    std::fs::create_dir_all(folder).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer-cli"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("P2P_")) {
        command.env_remove(name);
    }
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"] {
        command.env_remove(name);
    }
    let home = folder.join("home");
    command.env("HOME", &home).env("USERPROFILE", &home).env("P2P_NO_LAN", "true");
    command.args(words).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it, and reads its lines until each of these has come: what stands behind them.
fn start<const N: usize>(folder: &Path, words: &[&str], wanted: [&str; N]) -> (Program, [String; N]) {
    let mut child = command(folder, words).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let program = Program(child);
    let mut found = wanted.map(|_| String::new());
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    while let Some(line) = lines.next() {
        for (found, wanted) in found.iter_mut().zip(wanted) {
            if let Some(rest) = line.strip_prefix(wanted) {
                *found = rest.to_owned();
            }
        }
        if found.iter().all(|found| !found.is_empty()) {
            // What it says later is read, so that it can go on saying things.
            std::thread::spawn(move || lines.for_each(drop));
            return (program, found);
        }
    }
    let mut said = String::new();
    let _ = errors.read_to_string(&mut said);
    panic!("{words:?} ends before {wanted:?}: {found:?} {said}");
}

fn get(url: &str, path: &str, more: &str) -> (String, Vec<u8>) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec())
}

#[test]
fn what_is_shared_is_served_there_and_by_a_gateway_with_its_ticket() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    std::fs::create_dir(&here).unwrap();
    let bytes: Vec<u8> = (0..1_500_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(here.join("a.bin"), &bytes).unwrap();
    let words = ["share", "-d=0", "--no-code", "--bind", "127.0.0.1", "--gateway", "0", "a.bin"];
    let (_share, [ticket, url]) = start(&here, &words, ["peer-cli get ", "Gateway at "]);
    let (head, body) = get(&url, "/name/a.bin", "");
    assert!(head.starts_with("HTTP/1.1 200 OK") && body == bytes, "{head}");
    // Another machine has nothing but the ticket.
    let (_gateway, [url]) = start(&there, &["gateway", &ticket, "--gateway", "0"], ["Gateway at "]);
    let index = String::from_utf8(get(&url, "/", "").1).unwrap();
    let id = index.split("the content ").nth(1).unwrap().split(' ').next().unwrap();
    let (head, body) = get(&url, &format!("/content/{id}"), "Range: bytes=1000000-\r\n");
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert!(body == bytes[1_000_000..]);
}

#[test]
fn a_gateway_logs_that_its_tracker_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    std::fs::create_dir(&here).unwrap();
    std::fs::write(here.join("a.bin"), "something").unwrap();
    let (share, [ticket]) =
        start(&here, &["share", "-d=0", "--no-code", "--bind", "127.0.0.1", "a.bin"], ["peer-cli get "]);
    let words = ["gateway", &ticket, "--gateway", "0", "--log-file", "log"];
    let (_gateway, [_]) = start(&there, &words, ["Gateway at "]);
    drop(share);
    let until = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(there.join("log")).unwrap().contains("no tracker answers") {
        assert!(Instant::now() < until, "it logs nothing");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_sharer_is_told_who_gets_it_over_http() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "bytes").unwrap();
    std::fs::write(folder.path().join("token"), "0123456789abcdef").unwrap();
    for (more, who) in [
        (
            &["--gateway", "0"][..],
            "Only those on this machine who have this line can get it, and over HTTP everyone on this machine.",
        ),
        (
            &["--gateway", "0", "--gateway-token", "token"],
            "Only those on this machine who have this line can get it, and over HTTP those who know the gateway's token.",
        ),
    ] {
        let words = [&["share", "-d=0", "--no-code", "--bind", "127.0.0.1", "a"], more].concat();
        let (_share, [said]) = start(folder.path(), &words, ["Sharing a until it is stopped. "]);
        assert_eq!(said.trim_end(), who);
    }
}

#[test]
fn a_gateway_is_refused_where_it_is_not_clear_what_it_serves_and_to_whom() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "bytes").unwrap();
    std::fs::write(folder.path().join("short"), "short").unwrap();
    for (words, said) in [
        (&["gateway"][..], "which swarm?"),
        (&["gateway", "--oci-origin", "docker.io"], "--tracker-ip"),
        (&["gateway", "--hf-origin", "https://huggingface.co"], "--tracker-ip"),
        (&["gateway", "-i", "localhost", "--open", "--oci-origin", "ftp://host"], "begins with https://"),
        (&["gateway", "-i", "localhost", "--open", "--oci-origin", "https://me:word@host"], "without a password"),
        (&["gateway", "-i", "localhost", "--open", "--hf-origin", "host"], "such as https://huggingface.co"),
        (&["gateway", "-i", "localhost", "--open", "--s3-bucket", "bucket"], "is written s3://BUCKET/PREFIX/=NAME"),
        (&["share", "a", "-d=0", "--s3-bucket", "s3://b/=a"], "are for a gateway"),
        (&["gateway", "nonsense"], "is no ticket"),
        (&["gateway", "-i", "localhost"], "say --open if that is meant"),
        (&["share", "a", "-d=0", "--gateway-token", "short"], "are for a gateway"),
        (&["share", "a", "-d=0", "--gateway", "0.0.0.0:0"], "needs a token"),
        (&["share", "a", "-d=0", "--gateway", "0", "--receivers", "1"], "--receivers counts peers"),
        (&["share", "a", "-d=0", "--gateway", "0", "--gateway-token", "short"], "at least 16 characters"),
        (&["share", "a", "-d=0", "--gateway", "0", "--gateway-token", "missing"], "cannot be read"),
    ] {
        let output = command(folder.path(), words).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && errors.contains(said), "{words:?}: {errors}");
    }
}
