//! Two networks that meet nowhere but in the machine of a tracker, which forwards nothing: what one peer sends to the other is
//! dropped, until a route is opened. Each has a network namespace of its own (Linux, root).

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use testbed::namespaces::try_namespaces;
use testbed::programs::at_home;

use crate::{Process, peer_cli, tracker};

/// The machines: the tracker's, and one on each side of it.
const MACHINES: [&str; 3] = ["t", "a", "b"];
/// The address of `b`.
pub const B: &str = "10.71.2.2";

/// Both networks.
pub struct Halves {
    name: String,
    folder: TempDir,
}

impl Halves {
    /// Makes them, or says why that cannot be.
    pub fn new() -> Result<Self, String> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        try_namespaces().map_err(|error| format!("no network namespaces here: {error:#}"))?;
        let name = format!("halves-{}-{}-", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let halves = Halves { name, folder: tempfile::tempdir().unwrap() };
        for machine in MACHINES {
            std::fs::create_dir_all(halves.folder.path().join(machine)).unwrap();
            ip(&["netns", "add", &halves.netns(machine)]);
            ip(&["-n", &halves.netns(machine), "link", "set", "lo", "up"]);
        }
        let t = halves.netns("t");
        for (number, machine) in [("1", "a"), ("2", "b")] {
            let (own, port) = (halves.netns(machine), format!("to-{machine}"));
            let [gateway, address] = [1, 2].map(|host| format!("10.71.{number}.{host}"));
            ip(&["link", "add", "eth0", "netns", &own, "type", "veth", "peer", "name", &port, "netns", &t]);
            ip(&["-n", &t, "address", "add", &format!("{gateway}/24"), "dev", &port]);
            ip(&["-n", &own, "address", "add", &format!("{address}/24"), "dev", "eth0"]);
            ip(&["-n", &t, "link", "set", &port, "up"]);
            ip(&["-n", &own, "link", "set", "eth0", "up"]);
            ip(&["-n", &own, "route", "add", "default", "via", &gateway]);
        }
        halves.forward(false);
        Ok(halves)
    }

    fn netns(&self, machine: &str) -> String {
        format!("{}{machine}", self.name)
    }

    /// Runs a program of the system on a machine, to its end.
    pub fn run(&self, machine: &str, program: &str, arguments: &[&str]) {
        ip(&[&["netns", "exec", &self.netns(machine), program], arguments].concat());
    }

    /// Whether the two sides reach each other.
    pub fn forward(&self, forward: bool) {
        self.run("t", "sysctl", &["-qw", &format!("net.ipv4.ip_forward={}", u8::from(forward))]);
    }

    /// A firewall of a machine drops all UDP.
    pub fn drop_udp(&self, machine: &str) {
        self.run(machine, "nft", &["add table ip filter"]);
        for hook in ["input", "output"] {
            let chain = format!("add chain ip filter {hook} {{ type filter hook {hook} priority 0; }}");
            self.run(machine, "nft", &[&chain]);
            self.run(machine, "nft", &[&format!("add rule ip filter {hook} meta l4proto udp drop")]);
        }
    }

    /// A command on a machine, in a folder and a home of its own.
    fn command(&self, machine: &str, program: &Command, arguments: &[&str]) -> Command {
        let folder = self.folder.path().join(machine);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns(machine)]).arg(program.get_program()).args(arguments);
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        at_home(&mut command, &folder);
        command.current_dir(folder);
        command
    }

    /// Starts a tracker with these flags, and gives it with its id.
    pub fn tracker(&self, arguments: &[&str]) -> (Process, String) {
        let mut process = Process::start("tracker", self.command("t", &tracker(), arguments));
        let id = process.wait_for("its id", |line| line.strip_prefix("Tracker id: ").map(str::to_owned));
        (process, id)
    }

    /// Starts `peer-cli` on a machine.
    pub fn peer(&self, machine: &str, arguments: &[&str]) -> Process {
        Process::start(machine, self.command(machine, &peer_cli(), arguments))
    }

    /// Puts a file into a machine's folder.
    pub fn put(&self, machine: &str, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(machine).join(name), bytes).unwrap();
    }

    /// Reads a file of a machine's folder.
    pub fn read(&self, machine: &str, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(machine).join(name)).unwrap()
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        for machine in MACHINES {
            let _ = Command::new("ip").args(["netns", "delete", &self.netns(machine)]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
