//! A running program: its lines come through a channel, its logs are files, and it is killed when its owner is dropped.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::programs;
use tool::interrupt::check_interrupted;

/// What a program said: a line, or nothing more.
pub struct Said {
    /// Number that the program was started with.
    pub who: usize,
    /// The line; nothing at the end.
    pub line: Option<String>,
}

/// What several programs say, as it comes.
pub struct Lines {
    said: SyncSender<Said>,
    heard: Receiver<Said>,
}

impl Lines {
    /// Keeps so many that nobody has heard yet; programs wait for room for more.
    pub fn new(room: usize) -> Self {
        let (said, heard) = sync_channel(room);
        Lines { said, heard }
    }

    /// Starts a program in a folder, as [`Process::start`] does, and hears it from now on.
    pub fn start(&self, command: Command, folder: &Path, who: usize) -> anyhow::Result<Process> {
        Process::start(command, folder, who, self.said.clone())
    }

    /// The same, as [`Process::start_as`] does.
    pub fn start_as(&self, command: Command, folder: &Path, name: &str) -> anyhow::Result<Process> {
        Process::start_as(command, folder, name, self.said.clone())
    }

    /// The same, as [`Process::start_as_it_is`] does.
    pub fn start_as_it_is(&self, command: Command, logs: &Path, who: usize) -> anyhow::Result<Process> {
        Process::start_as_it_is(command, logs, who, self.said.clone())
    }

    /// What was said next; nothing if that takes longer than this. Fails once Ctrl-C was pressed.
    pub fn hear(&self, most: Duration) -> anyhow::Result<Option<Said>> {
        check_interrupted()?;
        Ok(self.heard.recv_timeout(most).ok())
    }
}

/// Files that a program's output is written to.
struct Logs {
    errors: PathBuf,
    output: PathBuf,
}

/// A running program. Dropping it kills it.
pub struct Process {
    child: Child,
    /// Where its standard error goes.
    pub log: PathBuf,
}

impl Process {
    /// Starts `command` in `folder`, which is its home as well; what it prints goes to `said` and, beside its log, to
    /// `output.log`.
    pub fn start(mut command: Command, folder: &Path, who: usize, said: SyncSender<Said>) -> anyhow::Result<Self> {
        programs::without_settings(command.current_dir(folder));
        programs::at_home(&mut command, folder);
        Process::start_as_it_is(command, folder, who, said)
    }

    /// The same for one of several that run in a folder: `name` begins the names of its logs.
    pub fn start_as(mut command: Command, folder: &Path, name: &str, said: SyncSender<Said>) -> anyhow::Result<Self> {
        programs::without_settings(command.current_dir(folder));
        programs::at_home(&mut command, folder);
        let log = |what: &str| folder.join(format!("{name}-{what}.log"));
        Process::spawn(command, Logs { errors: log("errors"), output: log("output") }, 0, said)
    }

    /// Starts `command` where, and with the settings that, it says itself: only its logs go to `folder`.
    pub fn start_as_it_is(command: Command, folder: &Path, who: usize, said: SyncSender<Said>) -> anyhow::Result<Self> {
        let logs = Logs { errors: folder.join("errors.log"), output: folder.join("output.log") };
        Process::spawn(command, logs, who, said)
    }

    fn spawn(mut command: Command, logs: Logs, who: usize, said: SyncSender<Said>) -> anyhow::Result<Self> {
        let mut copy = File::create(logs.output)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&logs.errors)?)
            .spawn()
            .with_context(|| format!("{} does not start", command.get_program().display()))?;
        let lines = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The log is for people: the run does not depend on it. It is written even if nobody listens any more.
                let _ = writeln!(copy, "{line}");
                let _ = said.send(Said { who, line: Some(line) });
            }
            let _ = said.send(Said { who, line: None });
        });
        Ok(Process { child, log: logs.errors })
    }

    /// The number by which the system knows it.
    pub fn number(&self) -> u32 {
        self.child.id()
    }

    /// Types a line; a program that has ended does not hear it.
    pub fn type_line(&mut self, line: &str) {
        if let Some(input) = &mut self.child.stdin {
            let _ = writeln!(input, "{line}");
        }
    }

    /// Ends its input.
    pub fn end_input(&mut self) {
        self.child.stdin = None;
    }

    /// Sends it a signal, as `kill -NAME` does.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let number = self.number().to_string();
        let status = Command::new("kill").arg(format!("-{name}")).arg(number).status().context("there is no kill")?;
        ensure!(status.success(), "it is gone");
        Ok(())
    }

    /// Kills it at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended, at most this long.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has ended, however long that takes, and not a moment longer: what is timed.
    pub fn end(&mut self) -> std::io::Result<ExitStatus> {
        self.child.stdin = None;
        self.child.wait()
    }

    /// What it has written to standard error.
    pub fn errors(&self) -> String {
        std::fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// What it wrote to standard error last.
    pub fn last_words(&self) -> String {
        self.errors().trim_end().lines().last().unwrap_or("it wrote no error").to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
