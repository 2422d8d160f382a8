//! The tracker's page while a crowd gets a content: what its streams say, and what a browser shows of it. Where there is no Python or no
//! Chromium, that part says that it was skipped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use peer::{ContentId, Identity, Node, TrackerAddress, TransportConfig, TransportKind};
use serde_json::Value;

/// After this long a test hangs.
const PATIENCE: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;

/// A tracker that is ended with the test.
struct Tracker {
    child: Child,
    page: String,
    address: TrackerAddress,
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("P2P_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).env("HOME", folder).env("XDG_CONFIG_HOME", folder).stdin(Stdio::null());
    command.args(["-p", "0", "--bind", "127.0.0.1"]);
    command
}

impl Tracker {
    fn start(folder: &Path) -> Self {
        let mut child = command(folder).args(["--page", "0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut behind =
            |text: &str| lines.by_ref().find_map(|line| Some(line.strip_prefix(text)?.to_owned())).expect("a line");
        let listens: SocketAddr = behind("Listening on ").parse().unwrap();
        let id = behind("Tracker id: ").parse().unwrap();
        let page = behind("Page at http://").trim_end_matches('/').to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Tracker { child, page, address: TrackerAddress { addresses: vec![listens], id, name: None } }
    }

    fn get(&self, path: &str) -> String {
        let mut answer = String::new();
        open(&self.page, path).read_to_string(&mut answer).unwrap();
        answer
    }
}

fn open(page: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(page).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {page}\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// The first event of this name that is as wanted.
fn event(page: &str, path: &str, name: &str, mut is_wanted: impl FnMut(&Value) -> bool) -> Value {
    let mut is_next = false;
    for line in BufReader::new(open(page, path)).lines().map_while(Result::ok) {
        if let Some(found) = line.strip_prefix("event: ") {
            is_next = found == name;
        } else if let Some(data) = line.strip_prefix("data: ").filter(|_| is_next) {
            let event = serde_json::from_str(data).unwrap();
            if is_wanted(&event) {
                return event;
            }
        }
    }
    panic!("the stream ended");
}

async fn node(folder: &Path, tracker: &Tracker, up: u64) -> Node {
    let listeners = vec!["127.0.0.1:0".parse().unwrap()];
    let config = TransportConfig::new(Identity::generate().unwrap(), listeners);
    let transport = TransportKind::Auto.bind(config).unwrap();
    let node = Node::builder(transport).hashes(folder.join("hashes")).output(folder.join("out"));
    let node = node.up_rate(Some(up)).start();
    node.join(tracker.address.clone()).await.unwrap();
    node
}

/// A seeder of a content of so many bytes, and those who get it.
async fn crowd(folder: &Path, tracker: &Tracker, size: u64, peers: usize, up: u64) -> (ContentId, Vec<Node>) {
    let bytes: Vec<u8> = (0..size).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    let path = folder.join("crowd.bin");
    std::fs::write(&path, bytes).unwrap();
    let seeder = node(&folder.join("seeder"), tracker, up).await;
    let content = seeder.share(path).piece_size(256 << 10).await.unwrap().content();
    let mut nodes = vec![seeder];
    for number in 0..peers {
        let node = node(&folder.join(format!("peer-{number}")), tracker, up).await;
        nodes.push(node);
    }
    (content, nodes)
}

async fn download(nodes: &[Node], content: ContentId) {
    for node in &nodes[1..] {
        let download = node.download(content).start().await.unwrap();
        // It goes on without the handle.
        tokio::spawn(async move { drop(download.await) });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_shown_beside_the_best_possible() {
    let folder = tempfile::tempdir().unwrap();
    let tracker = Tracker::start(folder.path());
    let (content, nodes) = crowd(folder.path(), &tracker, 12 * MIB, 8, 2 * MIB).await;
    let (looks, looked) = tokio::sync::oneshot::channel();
    let watching = {
        let path = format!("/api/v1/contents/{content}/events?uplink={}", 2 * MIB);
        let (page, mut looks) = (tracker.page.clone(), Some(looks));
        let (mut most, mut flows, mut curves) = (0, 0, 0);
        tokio::task::spawn_blocking(move || {
            let last = event(&page, &path, "crowd", |event| {
                looks.take().map(|looks| looks.send(()));
                let peers = event["peers"].as_array().unwrap();
                most = most.max(event["peers_total"].as_u64().unwrap());
                flows += peers.iter().map(|peer| peer["from"].as_array().unwrap().len()).sum::<usize>();
                curves = curves.max(event["samples"]["curves"].as_object().unwrap().len());
                most == 9 && event["verdict"].as_str().unwrap().contains("had it after")
            });
            (last, flows, curves)
        })
    };
    looked.await.unwrap();
    download(&nodes, content).await;
    let (last, flows, curves) = watching.await.unwrap();
    assert!(flows > 0 && curves > 0, "nobody was seen to send: {last}");
    assert!(last["verdict"].as_str().unwrap().contains("with uplinks of 2.0 MiB/s"), "{last}");
    // Three doublings of a piece in forty-eight beside a copy of six seconds, less what they had when they were first seen.
    let best = last["best"].as_array().unwrap();
    let seconds = best[1][0].as_f64().unwrap() - best[0][0].as_f64().unwrap();
    assert!(seconds > 0.0 && seconds < 6.5, "{last}");
    let listed = event(&tracker.page, "/api/v1/events", "contents", |_| true);
    assert_eq!((&listed["contents"][0]["name"], &listed["total"]), (&"crowd.bin".into(), &1.into()), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_followed_before_anybody_looks() {
    let folder = tempfile::tempdir().unwrap();
    let tracker = Tracker::start(folder.path());
    let (content, nodes) = crowd(folder.path(), &tracker, 4 * MIB, 3, MIB).await;
    download(&nodes, content).await;
    // The list of all contents is no look at one of them.
    let page = tracker.page.clone();
    let all_have_it = move || {
        event(&page, "/api/v1/events", "contents", |event| {
            event["contents"].as_array().unwrap().iter().any(|content| content["seeders"] == 4)
        })
    };
    tokio::task::spawn_blocking(all_have_it).await.unwrap();
    let (page, path) = (tracker.page.clone(), format!("/api/v1/contents/{content}/events"));
    let last = tokio::task::spawn_blocking(move || {
        event(&page, &path, "crowd", |event| event["verdict"].as_str().unwrap().contains("had it after"))
    });
    let last = last.await.unwrap();
    // With those that were told before.
    let samples = &last["samples"];
    assert!(samples["keep"].as_u64().unwrap() + samples["times"].as_array().unwrap().len() as u64 > 1, "{last}");
}

#[test]
fn the_page_is_for_this_machine_or_for_those_who_know_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let refused = command(folder.path()).args(["--page", "0.0.0.0:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("--page-token"), "{said}");
    let tracker = Tracker::start(folder.path());
    let page = tracker.get("/");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("data-program=\"tracker\""), "{page}");
    assert!(tracker.get("/api/v1/contents/nonsense/events").starts_with("HTTP/1.1 400"));
}

fn python(package: &str) -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("P2P_TEST_PYTHON")?);
    let found = Command::new(&python).args(["-c", &format!("import {package}")]).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success()).then_some(python)
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.is_file())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crowd_is_seen_in_a_browser() {
    let (Some(python), Some(chromium)) = (python("playwright"), chromium()) else {
        eprintln!(
            "skipped: no browser, for P2P_TEST_PYTHON has no playwright, or there is no Chromium (apt install chromium)"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let tracker = Tracker::start(folder.path());
    let pictures = std::env::var("P2P_TEST_PICTURES").unwrap_or_default();
    // A picture takes a while to have something on it.
    let size = if pictures.is_empty() { 24 } else { 48 };
    let (content, nodes) = crowd(folder.path(), &tracker, size * MIB, 24, 3 * MIB).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../page/python/tracker.py");
    let mut browser = Command::new(python);
    browser.arg(script).arg(chromium).args([&format!("http://{}/", tracker.page), "24", &pictures]);
    let mut browser = browser.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(browser.stdout.take().unwrap());
    let looking = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        let _ = said.read_line(&mut line);
        // What it says later is little, and not read.
        (line, said)
    });
    let (line, _said) = looking.await.unwrap();
    if line.contains("looking") {
        download(&nodes, content).await;
    }
    let output = tokio::task::spawn_blocking(move || browser.wait_with_output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{line} {}", String::from_utf8_lossy(&output.stderr));
}
