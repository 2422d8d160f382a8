//! `peer-cli share` and `peer-cli get` on machines that know nothing of each other but a ticket: each a folder of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use protocol::{Code, ContentId, PeerId};
use tempfile::TempDir;
use testbed::event::{Ready, Sharing};
use testbed::programs::at_home;

use crate::{Process, peer_cli};

/// A folder for the sharer, and one for each receiver.
pub struct Machines(TempDir);

impl Default for Machines {
    fn default() -> Self {
        Machines::new()
    }
}

impl Machines {
    /// No machine yet.
    pub fn new() -> Self {
        Machines(tempfile::tempdir().unwrap())
    }

    /// The folder that the programs of a machine run in.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.0.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// The home of the user of a machine; empty at first.
    pub fn home(&self, name: &str) -> PathBuf {
        let home = self.0.path().join("homes").join(name);
        std::fs::create_dir_all(&home).unwrap();
        home
    }

    /// Puts a file there, and the folders that it is in.
    pub fn put(&self, machine: &str, path: &str, bytes: &[u8]) {
        let path = self.folder(machine).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// `peer-cli` on a machine, in its folder.
    pub fn command(&self, machine: &str, command: &str, arguments: &[&str]) -> Command {
        let mut program = peer_cli();
        program.current_dir(self.folder(machine)).args([command, "--bind=127.0.0.1"]).args(arguments);
        at_home(&mut program, &self.home(machine));
        // Apart from what else lies there, unless a story says otherwise.
        if command == "get" && !arguments.iter().any(|word| word.starts_with("-o") || word.starts_with("--output")) {
            program.arg("--output=output");
        }
        program
    }

    /// Starts `peer-cli share --json`, which takes commands.
    pub fn share(&self, machine: &str, arguments: &[&str]) -> Process {
        let arguments: Vec<_> = ["--json", "--commands"].iter().chain(arguments).copied().collect();
        Process::start(machine, self.command(machine, "share", &arguments))
    }

    /// Starts `peer-cli get`.
    pub fn get(&self, machine: &str, arguments: &[&str]) -> Process {
        Process::start(machine, self.command(machine, "get", arguments))
    }

    /// The bytes of a file.
    pub fn read(&self, machine: &str, path: &str) -> Vec<u8> {
        let path = self.folder(machine).join(path);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// A sharer, as everyone knows it who has seen its ports.
pub struct Sharer {
    /// The program.
    pub process: Process,
    /// Where it listens, and who it is.
    pub peer: (SocketAddr, PeerId),
    /// The same of its tracker.
    pub tracker: (SocketAddr, PeerId),
    /// What it shares.
    pub contents: Vec<ContentId>,
    /// A ticket for each of them.
    pub tickets: Vec<protocol::Ticket>,
}

/// Starts `peer-cli share` of these files with a tracker of its own, and waits for their tickets.
pub fn share(machines: &Machines, machine: &str, flags: &[&str], files: &[&str]) -> Sharer {
    let arguments: Vec<_> = ["-d=0"].iter().chain(flags).chain(files).copied().collect();
    let mut process = machines.share(machine, &arguments);
    let ready = process.event::<Ready>();
    let peer = (ready.listeners[0].parse().unwrap(), ready.id.parse().unwrap());
    let (mut contents, mut tickets) = (Vec::new(), Vec::new());
    for _ in files {
        contents.push(process.event::<Sharing>().content.parse().unwrap());
        tickets.push(ticket(&mut process).parse::<protocol::Ticket>().unwrap());
    }
    let tracker = (tickets[0].addresses()[0], ready.tracker.parse().unwrap());
    Sharer { process, peer, tracker, contents, tickets }
}

/// Another code of the same number.
pub fn another_code(code: &str) -> String {
    let code: Code = code.parse().unwrap();
    let other = [[0, 0], [1, 1]].map(|words| Code::new(code.mailbox(), words));
    other.iter().find(|other| **other != code).unwrap().to_string()
}

/// The next ticket that a sharer says.
pub fn ticket(sharer: &mut Process) -> String {
    sharer.event::<testbed::event::Ticket>().ticket
}
