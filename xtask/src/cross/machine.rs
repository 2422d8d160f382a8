//! Machines of a story: folders in which programs of either platform run, over TCP and loopback, and say events.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use testbed::files::first_difference;
use testbed::interrupt::check_interrupted;
use testbed::process::{Process, Said};
use testbed::programs::Programs;
use testbed::tracker;

/// After this long without what is waited for a story has failed. Wine starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Whose programs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    Linux,
    Windows,
}

/// Where stories play.
pub(super) struct Ground<'a> {
    pub(super) linux: &'a Programs,
    pub(super) windows: &'a Programs,
    /// A command that is to run a program for Windows.
    pub(super) wine: &'a dyn Fn(&Path) -> Command,
    pub(super) folder: PathBuf,
}

impl Ground<'_> {
    /// The folder of a machine.
    pub(super) fn machine(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Puts a file there, and the folders that it is in.
    pub(super) fn put(&self, machine: &str, path: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.machine(machine)?.join(path);
        fs::create_dir_all(path.parent().context("it lies in a folder")?)?;
        fs::write(&path, bytes)?;
        Ok(path)
    }

    fn command(&self, platform: Platform, program: impl Fn(&Programs) -> &PathBuf) -> Command {
        match platform {
            Platform::Linux => Command::new(program(self.linux)),
            Platform::Windows => (self.wine)(program(self.windows)),
        }
    }

    /// Starts a tracker on a machine; gives its port, too.
    pub(super) fn tracker(&self, platform: Platform, machine: &str) -> anyhow::Result<(Process, u16)> {
        let mut command = self.command(platform, |programs| &programs.tracker);
        command.args(["--transport=tcp", "--bind=127.0.0.1", "-p0"]);
        let folder = self.machine(machine)?.join("tracker-says");
        fs::create_dir_all(&folder)?;
        command.args(["--certs", "../certs"]);
        let (process, address) = tracker::start(command, &folder, PATIENCE)?;
        Ok((process, address.port()))
    }

    /// Starts a peer on a machine, as `name`.
    pub(super) fn peer(
        &self,
        platform: Platform,
        machine: &str,
        name: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Peer> {
        let mut command = self.command(platform, |programs| &programs.peer);
        command.args(arguments).args(["--json", "--commands", "--transport=tcp", "--bind=127.0.0.1"]);
        let (said, lines) = sync_channel(1024);
        let process = Process::start_as(command, &self.machine(machine)?, name, said)?;
        Ok(Peer { process, lines, name: format!("{name} on {machine}") })
    }

    /// Fails if everyone may read a file: Wine makes modes of access lists, with the owner's rights for the group.
    pub(super) fn is_private(&self, machine: &str, path: &str) -> anyhow::Result<()> {
        let path = self.folder.join(machine).join(path);
        let others = rights_of_others(&path).with_context(|| format!("{}", path.display()))?;
        ensure!(others == 0, "{} is not for its owner alone", path.display());
        Ok(())
    }

    /// Fails unless a file came as it was.
    pub(super) fn is_equal(&self, original: &Path, machine: &str, path: &str) -> anyhow::Result<()> {
        let here = self.folder.join(machine).join(path);
        let differs = first_difference(original, &here).with_context(|| format!("{}", here.display()))?;
        ensure!(differs.is_none(), "{} differs from the original", here.display());
        Ok(())
    }
}

#[cfg(unix)]
fn rights_of_others(path: &Path) -> std::io::Result<u32> {
    Ok(std::os::unix::fs::MetadataExt::mode(&fs::metadata(path)?) & 0o007)
}

#[cfg(not(unix))]
fn rights_of_others(_: &Path) -> std::io::Result<u32> {
    Ok(0)
}

/// A running peer, which says events. It is killed when it is dropped.
pub(super) struct Peer {
    process: Process,
    lines: Receiver<Said>,
    name: String,
}

impl Peer {
    /// The next event of this name that `fits`.
    pub(super) fn until(&mut self, event: &str, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            check_interrupted()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let said = self.lines.recv_timeout(left).map_err(|_| self.problem("it took too long", event))?;
            let Some(line) = said.line else {
                let status = self.process.wait(PATIENCE)?;
                bail!(self.problem(&format!("it ended with {status}"), event));
            };
            let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
            ensure!(value["event"] != "error" || event == "error", self.problem("there was an error", event));
            if value["event"] == event && fits(&value) {
                return Ok(value);
            }
        }
    }

    fn problem(&self, why: &str, event: &str) -> anyhow::Error {
        let (name, words, log) = (&self.name, self.process.last_words(), self.process.log.display());
        anyhow::anyhow!("{name}: {why} before it said {event}: {words}. Its log is {log}")
    }

    /// The next event of this name.
    pub(super) fn event(&mut self, event: &str) -> anyhow::Result<Value> {
        self.until(event, |_| true)
    }

    /// Says `exit`, and waits until it has ended in order.
    pub(super) fn exit(mut self) -> anyhow::Result<()> {
        self.process.type_line("exit");
        self.event("bye")?;
        self.ends()
    }

    /// Waits until it has ended, with status 0.
    pub(super) fn ends(mut self) -> anyhow::Result<()> {
        let status = self.process.wait(PATIENCE).with_context(|| self.name.clone())?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// Kills it, as a crash would.
    pub(super) fn kill(mut self) {
        self.process.kill();
    }
}
