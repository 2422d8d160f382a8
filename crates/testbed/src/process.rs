//! A running program: its lines come through a channel, its log lies in a file, and it never outlives its owner.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::programs;

/// What a program said: a line, or nothing more.
pub struct Said {
    /// Number that the program was started with.
    pub who: usize,
    /// The line; nothing at the end.
    pub line: Option<String>,
}

/// A running program. Dropping it kills it.
pub struct Process {
    child: Child,
    /// Where its standard error goes.
    pub log: PathBuf,
}

impl Process {
    /// Starts `command` in `folder`; what it prints goes to `said` and, beside its log, to `output.log`.
    pub fn start(command: Command, folder: &Path, who: usize, said: SyncSender<Said>) -> anyhow::Result<Self> {
        Process::start_with_logs(command, folder, ["errors.log", "output.log"], who, said)
    }

    /// The same for one of several that run in a folder: `name` begins the names of its logs.
    pub fn start_as(command: Command, folder: &Path, name: &str, said: SyncSender<Said>) -> anyhow::Result<Self> {
        let logs = [format!("{name}-errors.log"), format!("{name}-output.log")];
        Process::start_with_logs(command, folder, [&logs[0], &logs[1]], 0, said)
    }

    fn start_with_logs(
        mut command: Command,
        folder: &Path,
        [errors, output]: [&str; 2],
        who: usize,
        said: SyncSender<Said>,
    ) -> anyhow::Result<Self> {
        let log = folder.join(errors);
        let mut copy = File::create(folder.join(output))?;
        programs::without_settings(&mut command);
        let mut child = command
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
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
        Ok(Process { child, log })
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
            anyhow::ensure!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it wrote to standard error last.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.trim_end().lines().last().unwrap_or("it wrote no error").to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
