//! Machines in network namespaces, and what runs on them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use testbed::event::{Gateway, Sharing};
use testbed::namespaces::Namespaces;
use testbed::program::Program;
use testbed::programs::Programs;

/// A program must be ready within this time, and a transfer be over.
pub const READY: Duration = Duration::from_secs(60);
pub const TRANSFER: Duration = Duration::from_secs(900);

/// The port of the tracker.
const TRACKER_PORT: &str = "9999";

/// Machines, and the folder in which each has its own.
pub struct Lab<'a> {
    pub folder: &'a Path,
    pub programs: &'a Programs,
    pub network: Namespaces,
    machines: usize,
}

impl<'a> Lab<'a> {
    /// Without a machine yet.
    pub fn new(folder: &'a Path, programs: &'a Programs) -> anyhow::Result<Self> {
        Ok(Lab { folder, programs, network: Namespaces::new()?, machines: 0 })
    }

    /// Adds a machine, and gives its address.
    pub fn machine(&mut self, name: &str) -> anyhow::Result<String> {
        self.machines += 1;
        self.network.join(name, self.machines)?;
        Ok(self.network.address(self.machines))
    }

    /// A new folder below that of the row.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// `peer-cli` on a machine.
    pub fn peer(&self, machine: &str) -> Command {
        self.network.command(machine, &self.programs.peer)
    }

    /// Starts the tracker on a machine, and gives the flags that lead to it.
    pub fn tracker(&self, machine: &str, address: &str) -> anyhow::Result<(Program, Vec<String>)> {
        let mut command = self.network.command(machine, &self.programs.tracker);
        command.args(["-p", TRACKER_PORT, "--bind", address]);
        let mut tracker = Program::start("the tracker", command, &self.folder("tracker")?)?;
        let id = tracker.find("its id", READY, |line| line.strip_prefix("Tracker id: ").map(str::to_owned))?;
        let flags = ["-i", address, "-d", TRACKER_PORT, "--tracker-id", &id];
        Ok((tracker, flags.map(str::to_owned).into()))
    }

    /// Starts a gateway on a machine, in a folder of its own, and gives where it serves.
    pub fn gateway(
        &self,
        machine: &str,
        folder: &str,
        tracker: &[String],
        more: &[&str],
    ) -> anyhow::Result<(Program, String)> {
        let mut command = self.peer(machine);
        command.args(["gateway", "--json", "--open", "--gateway=8642"]).args(tracker).args(more);
        let mut gateway = Program::start("the gateway", command, &self.folder(folder)?)?;
        let Gateway { url, .. } = gateway.event(READY)?;
        Ok((gateway, url))
    }
}

/// Starts a share, and gives the content's id once it is served.
pub fn share(command: Command, folder: &Path) -> anyhow::Result<(Program, String)> {
    let mut share = Program::start("the share", command, folder)?;
    let Sharing { content, .. } = share.event(TRANSFER)?;
    Ok((share, content))
}

/// What a program prints that runs to its end.
pub fn output(mut command: Command, folder: &Path) -> anyhow::Result<String> {
    testbed::programs::without_settings(command.current_dir(folder));
    testbed::programs::at_home(&mut command, folder);
    let output = command.output().with_context(|| format!("{} does not run", command.get_program().display()))?;
    anyhow::ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
