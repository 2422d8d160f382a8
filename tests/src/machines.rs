//! `peer-cli share` and `peer-cli get` on machines that know nothing of each other but a ticket: each a folder of its own.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use testbed::event::Ticket;
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

/// The next ticket that a sharer says.
pub fn ticket(sharer: &mut Process) -> String {
    sharer.event::<Ticket>().ticket
}
