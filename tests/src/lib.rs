//! The harness of the stories: the real `tracker` and `peer-cli`, as processes, over loopback, each in a folder of its own.
//!
//! The programs are built once a run, so that no test looks for a stale binary. Every wait has a deadline that only
//! ends a test that hangs; no test judges how long something took.

pub mod false_tracker;
#[cfg(target_os = "linux")]
pub mod halves;
pub mod hub;
pub mod machines;
#[cfg(target_os = "linux")]
pub mod namespaces;
#[cfg(target_os = "linux")]
pub mod terminal;
pub mod web;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use peer::TrackerAddress;
use tempfile::TempDir;
use testbed::event::{Event, Kind, Progress, Sharing};
use testbed::program::Program;
use testbed::programs::{Programs, at_home, without_settings};
use testbed::swarm::{Arguments, Live, Outcome};
use tool::usage;

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

/// A port that is free for UDP and TCP, and stays so: below those that systems give to sockets that ask for any.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        let random = RandomState::new().build_hasher().finish();
        let port = 10_000 + u16::try_from(random % 20_000).expect("a port");
        let address = ("127.0.0.1", port);
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return port;
        }
    }
    panic!("no port is free")
}

/// A running program whose lines are read; whatever goes wrong ends the story. It is killed when dropped.
pub struct Process {
    program: Program,
    /// Its standard output and error are kept here.
    _logs: TempDir,
}

impl Process {
    /// Starts `command` as `name`.
    pub fn start(name: &str, command: Command) -> Self {
        let logs = tempfile::tempdir().expect("a temporary folder");
        let program = must(Program::start_as_it_is(name, command, logs.path()));
        Process { program, _logs: logs }
    }

    /// What it has written to standard error.
    pub fn errors(&self) -> String {
        self.program.process.errors()
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.program.process.type_line(line);
    }

    /// Ends its input.
    pub fn end_input(&mut self) {
        self.program.process.end_input();
    }

    /// Waits until it ends, and demands this exit status.
    pub fn ends_with(&mut self, code: i32) {
        let status = self.wait();
        assert_eq!(status.code(), Some(code), "{}", self.program.complaint("ended with another status"));
    }

    /// Reads until a line that fits.
    pub fn wait_for<T>(&mut self, what: &str, fits: impl FnMut(&str) -> Option<T>) -> T {
        must(self.program.find(what, PATIENCE, fits))
    }

    /// Reads until an event of this kind (`--json`).
    pub fn event<E: Kind>(&mut self) -> E {
        must(self.program.event(PATIENCE))
    }

    /// Reads until an event in which something is found.
    pub fn find_event<T>(&mut self, what: &str, fits: impl FnMut(Event) -> Option<T>) -> T {
        must(self.program.find_event(what, PATIENCE, fits))
    }

    /// Reads until this text stands in a line.
    pub fn line(&mut self, text: &str) -> String {
        self.wait_for(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> ExitStatus {
        must(self.program.end(PATIENCE))
    }

    /// The most memory of its own that it has held so far, in bytes; 0 where the system does not tell.
    pub fn most_memory(&self) -> u64 {
        usage::most_memory_of(self.program.process.number()).unwrap_or(0)
    }

    /// Sends it a signal, as `kill -NAME` does.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        must(self.program.process.signal(name));
    }

    /// Reads until a progress event says that at least this many pieces are here.
    pub fn pieces(&mut self, at_least: u32) -> u32 {
        self.find_event("progress", |event| match event {
            Event::Progress(Progress { have, .. }) if have >= at_least => Some(have),
            _ => None,
        })
    }

    /// Kills it at once, as a crash would.
    pub fn kill(&mut self) {
        self.program.process.kill();
    }
}

/// What is there, or the end of the story.
fn must<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
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
        TrackerAddress { addresses: vec![([127, 0, 0, 1], self.port).into()], id, name: None }
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

    /// The home of a peer; empty at first.
    pub fn home(&self, peer: &str) -> PathBuf {
        let home = self.folder.path().join("homes").join(peer);
        std::fs::create_dir_all(&home).expect("a folder");
        home
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
        at_home(&mut command, &self.home(peer));
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
        (0..files).for_each(|_| drop(process.event::<Sharing>()));
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
    let address = tracker.wait_for("its address", testbed::tracker::address);
    (tracker, address.port())
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
