//! Machines of a story: folders in which programs of either platform run, over TCP and loopback, and say events.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use testbed::event::{Bye, Event, Kind};
use testbed::files::first_difference;
use testbed::process::Process;
use testbed::program::Program;
use testbed::programs::Programs;
use testbed::tracker;

/// After this long without what is waited for a story has failed. Wine starts slowly on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// All goes over TCP and loopback.
pub(super) const TCP: [&str; 2] = ["--transport=tcp", "--bind=127.0.0.1"];

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
        command.args(TCP).arg("-p0");
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
        let arguments = [arguments, &["--json", "--commands"], &TCP].concat();
        Ok(Peer(self.program(platform, machine, name, &arguments)?))
    }

    /// The same with these arguments alone: it need not say events.
    pub(super) fn program(
        &self,
        platform: Platform,
        machine: &str,
        name: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Program> {
        let mut command = self.command(platform, |programs| &programs.peer);
        command.args(arguments);
        Program::start_as(name, command, &self.machine(machine)?)
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
pub(super) struct Peer(Program);

impl Peer {
    /// The next event of a kind.
    pub(super) fn event<E: Kind>(&mut self) -> anyhow::Result<E> {
        self.until(|_| true)
    }

    /// The next event of a kind that `fits`. An error that it says instead is one here.
    pub(super) fn until<E: Kind>(&mut self, fits: impl Fn(&E) -> bool) -> anyhow::Result<E> {
        let found = self.0.find_event(E::NAME, PATIENCE, |event| match event {
            Event::Error(error) => Some(Err(error.message)),
            event => E::from_event(event).filter(&fits).map(Ok),
        })?;
        found.map_err(|message| anyhow!("{}", self.0.complaint(&format!("says {message:?} before {}", E::NAME))))
    }

    /// Says `exit`, and waits until it has ended in order.
    pub(super) fn exit(mut self) -> anyhow::Result<()> {
        self.0.process.type_line("exit");
        self.event::<Bye>()?;
        self.ends()
    }

    /// Presses Ctrl-C.
    pub(super) fn interrupt(&self) -> anyhow::Result<()> {
        self.0.process.signal("INT")
    }

    /// The status with which it ends.
    pub(super) fn status(mut self) -> anyhow::Result<ExitStatus> {
        self.0.end(PATIENCE)
    }

    /// Waits until it has ended, with status 0.
    pub(super) fn ends(mut self) -> anyhow::Result<()> {
        let status = self.0.end(PATIENCE)?;
        ensure!(status.success(), "{}", self.0.complaint(&format!("ended with {status}")));
        Ok(())
    }

    /// Kills it, as a crash would.
    pub(super) fn kill(mut self) {
        self.0.process.kill();
    }
}
