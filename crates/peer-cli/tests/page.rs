//! A daemon's control over HTTP, compared with its document, and its page in a browser. Where there is no Python or no Chromium, those
//! parts say that they were skipped.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// After this long a test hangs.
const PATIENCE: Duration = Duration::from_secs(120);
const TOKEN: &str = "a-token-of-32-characters-or-so!!";

/// A daemon that is ended with the test.
struct Daemon {
    child: Child,
    address: String,
    folder: PathBuf,
    token: bool,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.head, self.body))
    }
}

impl Daemon {
    /// Starts one with a gateway.
    fn start(folder: &Path, token: bool, more: &[&str]) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("token"), TOKEN).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer-cli"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("P2P_")) {
            command.env_remove(name);
        }
        for name in ["XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA"] {
            command.env_remove(name);
        }
        command.current_dir(folder).env("HOME", folder).env("USERPROFILE", folder).env("P2P_NO_LAN", "true");
        command.args(["daemon", "-p0", "--bind=127.0.0.1", "--gateway=0", "--state=state", "--socket"]);
        command.arg(folder.join("control")).args(more);
        if token {
            command.args(["--gateway-token", "token"]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find_map(|line| Some(line.strip_prefix("Page at http://")?.to_owned()));
        let address = line.expect("it says where its page is").split('/').next().unwrap().to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Daemon { child, address, folder: folder.to_owned(), token }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn raw(&self, head: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length =
            if head.starts_with("POST") { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        stream.write_all(format!("{head}\r\nConnection: close\r\n{length}\r\n{body}").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn head(&self, method: &str, path: &str) -> String {
        let token = if self.token { format!("\r\nAuthorization: Bearer {TOKEN}") } else { String::new() };
        format!("{method} {path} HTTP/1.1\r\nHost: {}{token}", self.address)
    }

    fn get(&self, path: &str) -> Answer {
        self.raw(&self.head("GET", path), "")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let head = self.head("POST", path);
        self.raw(&format!("{head}\r\nContent-Type: application/json"), &body.to_string())
    }

    /// Events of a stream, until all of these have come: their names and data.
    fn events(&self, path: &str, wanted: &[&str]) -> Vec<(String, Value)> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{}\r\n\r\n", self.head("GET", path)).as_bytes()).unwrap();
        let (mut events, mut name) = (Vec::new(), String::new());
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(found) = line.strip_prefix("event: ") {
                found.clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                events.push((name.clone(), serde_json::from_str(data).unwrap()));
                if wanted.iter().all(|wanted| events.iter().any(|(name, _)| name == wanted)) {
                    return events;
                }
            }
        }
        panic!("the stream ended before {wanted:?}: {events:?}");
    }
}

fn until<T>(what: &str, mut finds: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = finds() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A Python that has this package, if the tests were given one.
fn python(package: &str) -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("P2P_TEST_PYTHON")?);
    let found = Command::new(&python).args(["-c", &format!("import {package}")]).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success()).then_some(python)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../page/python").join(name)
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.is_file())
}

/// What was asked and answered, to be compared with the document.
struct Exchanges {
    document: Value,
    seen: BTreeSet<(String, &'static str)>,
    answers: Vec<Value>,
}

impl Exchanges {
    fn note(&mut self, method: &'static str, path: &str, answer: &Answer) {
        let documented = &self.document["paths"][path][method]["responses"][answer.status.to_string()];
        assert!(documented.is_object(), "{method} {path} answers {}, which the document does not have", answer.status);
        self.seen.insert((path.to_owned(), method));
        let is_json = answer.head.contains("content-type: application/json");
        let body = if is_json { answer.json() } else { answer.body.clone().into() };
        self.answers.push(json!({ "path": path, "method": method, "status": answer.status, "body": body }));
    }

    fn note_events(&mut self, path: &str, events: Vec<(String, Value)>) {
        self.seen.insert((path.to_owned(), "get"));
        for (name, body) in events {
            let schema = match name.as_str() {
                "contents" => "Changes",
                "totals" => "Totals",
                "content" => "Close",
                "log" => "Log",
                "gone" => continue,
                other => panic!("an event {other} that the document does not have"),
            };
            self.answers.push(json!({ "schema": schema, "body": body }));
        }
    }
}

#[test]
fn every_answer_is_what_the_document_says() {
    let folder = tempfile::tempdir().unwrap();
    let giver = Daemon::start(&folder.path().join("giver"), true, &[]);
    let taker = Daemon::start(&folder.path().join("taker"), true, &["--output", "out"]);
    let document = giver.get("/api/v1/openapi.json").json();
    let in_docs =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")).unwrap();
    assert_eq!(document, serde_json::from_str::<Value>(&in_docs).unwrap(), "docs/openapi.json is another one");
    let mut all = Exchanges { document, seen: BTreeSet::new(), answers: Vec::new() };
    all.note("get", "/api/v1/openapi.json", &giver.get("/api/v1/openapi.json"));

    // Something is shared, and downloaded elsewhere by its ticket.
    let path = giver.put("big.bin", &noise(3 << 20));
    let added = giver.post("/api/v1/add", &json!({ "what": path }));
    assert_eq!(added.status, 200, "{}", added.body);
    all.note("post", "/api/v1/add", &added);
    let ticket = until("it is shared", || {
        let status = giver.get("/api/v1/status").json();
        status["contents"][0]["ticket"].as_str().filter(|ticket| !ticket.is_empty()).map(str::to_owned)
    });
    all.note("post", "/api/v1/add", &taker.post("/api/v1/add", &json!({ "what": ticket })));
    let detail = until("it is downloaded", || {
        let detail = taker.get("/api/v1/contents/1");
        (detail.json()["content"]["state"] == "sharing").then_some(detail)
    });
    let said = detail.json();
    assert!(said["map"].as_array().unwrap().iter().all(|part| part == 100), "{said}");
    assert_eq!(said["peers"][0]["received"], 3 << 20, "{said}");
    all.note("get", "/api/v1/contents/{number}", &detail);
    all.note("get", "/api/v1/contents/{number}", &taker.get("/api/v1/contents/99"));
    all.note("get", "/api/v1/contents/{number}", &taker.get("/api/v1/contents/x"));
    all.note("get", "/api/v1/status", &taker.get("/api/v1/status?from=0&most=1"));
    all.note("get", "/api/v1/status", &taker.get("/api/v1/status?from=5"));
    all.note("get", "/api/v1/status", &taker.get("/api/v1/status?from=-1"));
    all.note("get", "/api/v1/log", &taker.get("/api/v1/log"));
    all.note("get", "/api/v1/log", &taker.get("/api/v1/log?after=x"));
    all.note_events("/api/v1/events", taker.events("/api/v1/events", &["contents", "totals"]));
    let close = taker.events("/api/v1/contents/1/events", &["content"]);
    assert_eq!(close[0].1["peers_total"], 1);
    all.note_events("/api/v1/contents/{number}/events", close);
    all.note("get", "/api/v1/contents/{number}/events", &taker.get("/api/v1/contents/7/events"));

    // Everything that changes something, and what is no request.
    let one = json!({ "which": { "these": ["1"] } });
    for name in ["pause", "resume", "prioritise"] {
        let answer = taker.post(&format!("/api/v1/{name}"), &one);
        assert_eq!((answer.status, answer.json()["count"].as_u64()), (200, Some(1)), "{name}: {}", answer.body);
        all.note("post", &format!("/api/v1/{name}"), &answer);
    }
    let limited = taker.post("/api/v1/limit", &json!({ "up": 1_000_000 }));
    assert_eq!(limited.json()["up"], 1_000_000);
    all.note("post", "/api/v1/limit", &limited);
    all.note("post", "/api/v1/limit", &taker.post("/api/v1/limit", &json!({ "up": -3 })));
    all.note("post", "/api/v1/reload", &taker.post("/api/v1/reload", &json!({})));
    all.note("post", "/api/v1/add", &taker.post("/api/v1/add", &json!({ "what": "relative/path" })));
    all.note("post", "/api/v1/add", &taker.post("/api/v1/add", &json!({ "what": "/nowhere/at/all" })));
    let other = giver.put("other.bin", b"bytes");
    let other = giver.post("/api/v1/add", &json!({ "what": other })).json()["contents"][0]["ticket"].clone();
    let several = taker.post("/api/v1/add", &json!({ "what": format!("{ticket},{}", other.as_str().unwrap()) }));
    assert_eq!(several.status, 400, "{}", several.body);
    assert_eq!(several.json()["message"], "these are 2 tickets: give each on its own", "{}", several.body);
    all.note("post", "/api/v1/add", &several);
    all.note("post", "/api/v1/pause", &taker.post("/api/v1/pause", &json!({ "which": { "these": ["nothing"] } })));
    all.note("post", "/api/v1/pause", &taker.post("/api/v1/pause", &json!({ "which": "some" })));
    all.note("post", "/api/v1/remove", &taker.post("/api/v1/remove", &json!({ "which": "all" })));
    assert_eq!(taker.get("/api/v1/status").json()["total"], 0);
    let head = taker.head("POST", "/api/v1/pause");
    let form = taker.raw(&format!("{head}\r\nContent-Type: text/plain"), "{\"which\":\"all\"}");
    assert_eq!(form.status, 415);
    all.note("post", "/api/v1/pause", &form);

    let documented: BTreeSet<_> = all.document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    let seen: BTreeSet<_> = all.seen.iter().map(|(path, method)| (path.clone(), (*method).to_owned())).collect();
    assert_eq!(seen, documented, "each route of the document was asked");
    let Some(python) = python("jsonschema") else {
        eprintln!("skipped: answers are not compared with the schemas, for P2P_TEST_PYTHON has no jsonschema");
        return;
    };
    let mut validator = Command::new(python);
    let validator = validator.arg(script("validate.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut validator = validator.spawn().unwrap();
    let given = json!({ "document": all.document, "answers": all.answers }).to_string();
    validator.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = validator.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn without_a_token_nothing_is_changed_and_no_ticket_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), false, &[]);
    let path = daemon.put("a.bin", b"something");
    let mut control = Command::new(env!("CARGO_BIN_EXE_peer-cli"));
    let socket = folder.path().join("control");
    let added = control.args(["add", &path, "--socket"]).arg(socket).output().unwrap();
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let status = daemon.get("/api/v1/status");
    let content = &status.json()["contents"][0];
    assert_eq!((&content["name"], &content["ticket"], &content["path"]), (&json!("a.bin"), &json!(""), &json!("")));
    assert_eq!(daemon.get("/api/v1/log").status, 403);
    for name in ["add", "remove", "pause", "resume", "prioritise", "limit", "reload"] {
        let answer = daemon.post(&format!("/api/v1/{name}"), &json!({ "which": "all", "what": path }));
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("forbidden")), "{name}");
    }
    assert_eq!(daemon.get("/api/v1/status").json()["total"], 1);
    let (_, totals) = daemon.events("/api/v1/events", &["totals"]).pop().unwrap();
    assert_eq!(totals["trusted"], false);
}

#[test]
fn what_is_not_there_is_said_as_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), true, &[]);
    let known = |answer: &Answer| {
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
        (answer.status, answer.json()["code"].as_str().unwrap().to_owned())
    };
    for path in ["/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/contents/1/nothing"] {
        assert_eq!(known(&daemon.get(path)), (404, "not_found".to_owned()), "{path}");
    }
    assert_eq!(known(&daemon.get("/api/v1/contents/%ff")), (400, "usage".to_owned()));
    for (method, path, allowed) in [("GET", "/api/v1/add", "allow: post"), ("DELETE", "/api/v1/status", "allow: get")] {
        let answer = daemon.raw(&daemon.head(method, path), "");
        assert_eq!(known(&answer), (405, "usage".to_owned()), "{method} {path}");
        assert!(answer.head.contains(allowed), "{}", answer.head);
    }
    let limited = daemon.post("/api/v1/limit", &json!({ "up": -5 }));
    assert!(limited.json()["message"].as_str().unwrap().contains("bytes a second"), "{}", limited.body);
}

#[test]
fn pages_of_other_sites_and_other_names_reach_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), true, &[]);
    let address = &daemon.address;
    let known = format!("Authorization: Bearer {TOKEN}");
    for path in ["/page", "/api/v1/status", "/api/v1/events", "/api/v1/log", "/api/v1/contents/1"] {
        let ask = |more: &str| {
            let answer = daemon.raw(&format!("GET {path} HTTP/1.1\r\n{more}"), "");
            if path.starts_with("/api/") {
                assert!(answer.json()["code"].is_string() && answer.json()["message"].is_string(), "{}", answer.body);
            }
            answer.status
        };
        assert_eq!(ask(&format!("Host: {address}")), 401, "{path}");
        assert_eq!(ask(&format!("Host: {address}\r\nAuthorization: Bearer {}", "x".repeat(32))), 401, "{path}");
        assert_eq!(ask(&format!("Host: rebound.example\r\n{known}")), 421, "{path}");
        assert_eq!(ask(&format!("Host: {address}\r\n{known}\r\nOrigin: http://evil.example")), 403, "{path}");
        assert_eq!(ask(&format!("Host: {address}\r\n{known}\r\nSec-Fetch-Site: cross-site")), 403, "{path}");
    }
    // With the password that a browser remembers, a form of another site changes nothing.
    let head = format!("POST /api/v1/limit HTTP/1.1\r\nHost: {address}\r\n{known}");
    for more in ["Sec-Fetch-Site: cross-site\r\nContent-Type: application/json", "Content-Type: text/plain", "X: y"] {
        let status = daemon.raw(&format!("{head}\r\n{more}"), "{\"up\":5}").status;
        assert!([403, 415].contains(&status), "{more}: {status}");
    }
    assert_eq!(daemon.get("/api/v1/status").json()["up"], 0);
    let page = daemon.get("/page");
    assert_eq!(page.status, 200);
    for header in
        ["content-security-policy: default-src 'none'", "frame-ancestors 'none'", "x-content-type-options: nosniff"]
    {
        assert!(page.head.contains(header), "{header}: {}", page.head);
    }
    assert!(!page.head.contains("access-control") && !page.body.contains(TOKEN));
}

#[test]
fn the_page_is_used_in_a_browser() {
    let (Some(python), Some(chromium)) = (python("playwright"), chromium()) else {
        eprintln!(
            "skipped: no browser, for P2P_TEST_PYTHON has no playwright, or there is no Chromium (apt install chromium)"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let giver = Daemon::start(&folder.path().join("giver"), true, &["--up-rate", "4MiB"]);
    let taker = Daemon::start(&folder.path().join("taker"), true, &["--output", "out"]);
    let path = giver.put("big.bin", &noise(48 << 20));
    giver.post("/api/v1/add", &json!({ "what": path }));
    // The name is one that some file systems do not have.
    let hostile = taker.put("<img src=x onerror=alert(1)>.bin", b"a name");
    taker.post("/api/v1/add", &json!({ "what": hostile }));
    let ticket = until("it is shared", || {
        let status = giver.get("/api/v1/status").json();
        status["contents"][0]["ticket"].as_str().filter(|ticket| !ticket.is_empty()).map(str::to_owned)
    });
    let pictures = std::env::var("P2P_TEST_PICTURES").unwrap_or_default();
    let url = format!("http://{}/page", taker.address);
    let mut browser = Command::new(python);
    browser.arg(script("daemon.py")).arg(chromium).args([&url, TOKEN, &ticket, &pictures]);
    let output = browser.output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    assert!(output.status.success(), "{said:?}");
}
