//! How stories are told: the real `tracker` and `peer-cli`, as processes, over loopback, each in a folder of its own.
//!
//! The programs are built once a run, so that no test looks for a stale binary. Every wait has a deadline that only
//! ends a test that hangs; no test judges how long something took.

pub mod false_tracker;
pub mod machines;
#[cfg(target_os = "linux")]
pub mod terminal;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use peer::TrackerAddress;
use serde_json::Value;
use tempfile::TempDir;
use testbed::programs::{Programs, without_settings};
use testbed::swarm::{Arguments, Live, Outcome};

/// After this long a story hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The built programs; builds them at the first call.
fn programs() -> &'static Programs {
    static BUILT: OnceLock<Programs> = OnceLock::new();
    BUILT.get_or_init(|| testbed::programs::build(false).expect("the programs build"))
}

/// `peer-cli`, in no folder in particular.
pub fn peer_cli() -> Command {
    quiet(&programs().peer)
}

/// `tracker`, in no folder in particular.
pub fn tracker() -> Command {
    quiet(&programs().tracker)
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    without_settings(&mut command);
    command
}

/// Runs a whole swarm as `cargo xtask swarm` with these arguments would, and gives what came of it. Panics if
/// anything is wrong with it.
pub fn swarm(arguments: &str) -> Outcome {
    let parsed = Arguments::of(arguments.split_whitespace()).unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = testbed::swarm::plan(&parsed, folder.path()).expect("a swarm that can be run");
    let outcome = testbed::swarm::conduct(&plan, programs(), folder.path(), &Live::silent());
    outcome.unwrap_or_else(|error| panic!("swarm {arguments}: {error:#}"))
}

/// A running program whose lines are read. It is killed when dropped.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    seen: VecDeque<String>,
    errors: Arc<Mutex<String>>,
    /// Reads its standard error until it is closed.
    reader: Option<JoinHandle<()>>,
    name: String,
}

impl Process {
    /// Starts `command` as `name`.
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, lines) = sync_channel(100_000);
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let errors = Arc::new(Mutex::new(String::new()));
        let (err, log) = (BufReader::new(child.stderr.take().expect("it is piped")), errors.clone());
        let reader = std::thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                let mut log = log.lock().expect("no panic holds it");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Process { child, lines, seen: VecDeque::new(), errors, reader: Some(reader), name: name.to_owned() }
    }

    /// What it has written to standard error.
    pub fn errors(&self) -> String {
        self.errors.lock().expect("no panic holds it").clone()
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        writeln!(input, "{line}").expect("the program reads");
    }

    /// Ends its input.
    pub fn end_input(&mut self) {
        self.child.stdin = None;
    }

    /// Waits until it ends, and demands this exit status.
    pub fn ends_with(&mut self, code: i32) {
        let status = self.wait();
        assert_eq!(status.code(), Some(code), "{}: {:#?}\n{}", self.name, self.seen, self.errors());
    }

    /// The next line, or nothing once it has ended.
    fn next(&mut self, until: Instant) -> Option<String> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.seen.push_back(line.clone());
                if self.seen.len() > 200 {
                    self.seen.pop_front();
                }
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} hangs; its last lines: {:#?}\n{}", self.name, self.seen, self.errors())
            }
        }
    }

    /// Reads until a line that fits.
    pub fn wait_for<T>(&mut self, what: &str, fits: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        while let Some(line) = self.next(until) {
            if let Some(found) = fits(&line) {
                return found;
            }
        }
        panic!("{} ended without {what}: {:#?}\n{}", self.name, self.seen, self.errors())
    }

    /// Reads until an event of this name (`--json`).
    pub fn event(&mut self, event: &str) -> Value {
        self.wait_for(event, |line| serde_json::from_str::<Value>(line).ok().filter(|value| value["event"] == event))
    }

    /// Reads until this text stands in a line.
    pub fn line(&mut self, text: &str) -> String {
        self.wait_for(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        while self.next(until).is_some() {}
        let status = self.child.wait().expect("it was started");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it only reads");
        }
        status
    }

    /// The most memory of its own that it has held so far, in bytes; 0 where the system does not tell.
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
    }

    /// Sends it a signal, as `kill -NAME` does.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("there is a program kill").success(), "{} is gone", self.name);
    }

    /// Reads until a progress event says that at least this many pieces are here.
    pub fn pieces(&mut self, at_least: u64) -> u64 {
        self.wait_for("progress", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            event["have"].as_u64().filter(|&have| event["event"] == "progress" && have >= at_least)
        })
    }

    /// Kills it at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A tracker and room for peers: a folder each, one `certs/` for all.
pub struct Swarm {
    folder: TempDir,
    /// The tracker.
    pub tracker: Process,
    /// Its port.
    pub port: u16,
}

impl Default for Swarm {
    fn default() -> Self {
        Swarm::new()
    }
}

impl Swarm {
    /// Starts a tracker.
    pub fn new() -> Self {
        Self::start(false)
    }

    /// Makes a CA with certificates for `peer-1` to `peer-5`, and starts a tracker that demands one.
    pub fn closed() -> Self {
        Self::start(true)
    }

    fn start(closed: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if closed {
            tracker_ends(folder.path(), &["--init-closed"], 0);
        }
        let authorities: &[&str] = if closed { &["--ca=certs/ca.pem"] } else { &[] };
        // It takes a free port itself: one that is looked for beforehand may be another's by then.
        let (tracker, port) = start_tracker(folder.path(), 0, authorities);
        Swarm { folder, tracker, port }
    }

    /// Starts the tracker again, on its port and with its key.
    pub fn restart_tracker(&mut self) {
        self.restart_tracker_with(&[]);
    }

    /// Starts the tracker again, with more flags.
    pub fn restart_tracker_with(&mut self, flags: &[&str]) {
        self.tracker.kill();
        (self.tracker, _) = start_tracker(self.folder.path(), self.port, flags);
    }

    /// Runs `tracker` where this swarm's `certs/` is, demands this exit status, and gives what it wrote to standard error.
    pub fn tracker_ends(&self, flags: &[&str], code: i32) -> String {
        tracker_ends(self.folder.path(), flags, code)
    }

    /// Where the tracker is, and who it is.
    pub fn tracker_address(&self) -> TrackerAddress {
        let id = transport::peer_id_of_certificate_pem(&self.certs().join("tracker.pem")).expect("its certificate");
        TrackerAddress { addresses: vec![([127, 0, 0, 1], self.port).into()], id }
    }

    /// The folder of the tracker's certificate.
    pub fn certs(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// The folder of a peer, with `input/` and `output/`.
    pub fn folder(&self, peer: &str) -> PathBuf {
        let folder = self.folder.path().join(peer);
        std::fs::create_dir_all(folder.join("input")).expect("a folder");
        folder
    }

    /// Gives a peer a file to share.
    pub fn put(&self, peer: &str, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder(peer).join("input").join(name), bytes).expect("a file");
    }

    /// What a peer has downloaded.
    pub fn output(&self, peer: &str, name: &str) -> Vec<u8> {
        let path = self.folder(peer).join("output").join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// `peer-cli` in a peer's folder, pointed at the tracker.
    pub fn command(&self, peer: &str, arguments: &[&str]) -> Command {
        let mut command = peer_cli();
        command.current_dir(self.folder(peer)).args(["-i", "127.0.0.1", "-d"]).arg(self.port.to_string());
        command.args(["-p", "0", "--bind", "127.0.0.1", "--certs"]).arg(self.certs());
        command.args(arguments);
        command
    }

    /// Starts a peer.
    pub fn peer(&self, peer: &str, arguments: &[&str]) -> Process {
        Process::start(peer, self.command(peer, arguments))
    }

    /// Starts a seeder that says events, and waits until it shares `files` files.
    pub fn seeder(&self, peer: &str, files: usize, arguments: &[&str]) -> Process {
        let arguments: Vec<_> = ["-S", "--json"].iter().chain(arguments).copied().collect();
        let mut process = self.peer(peer, &arguments);
        (0..files).for_each(|_| drop(process.event("sharing")));
        process
    }

    /// Starts a downloader that says events.
    pub fn downloader(&self, peer: &str, name: &str, arguments: &[&str]) -> Process {
        let arguments: Vec<_> = ["--json", "-f", name].iter().chain(arguments).copied().collect();
        self.peer(peer, &arguments)
    }
}

fn tracker_ends(folder: &Path, flags: &[&str], code: i32) -> String {
    let mut command = quiet(&programs().tracker);
    command.current_dir(folder).args(flags);
    let mut tracker = Process::start("tracker", command);
    tracker.ends_with(code);
    tracker.errors()
}

fn start_tracker(folder: &Path, port: u16, flags: &[&str]) -> (Process, u16) {
    let mut command = quiet(&programs().tracker);
    command.current_dir(folder).args(["--bind", "127.0.0.1", "-p"]).arg(port.to_string()).args(flags);
    let mut tracker = Process::start("tracker", command);
    let line = tracker.line("Listening on ");
    let port = line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it says its port");
    (tracker, port)
}

/// Bytes that look random and are the same every time.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64*, Vigna 2016.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
