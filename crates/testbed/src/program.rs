//! A program whose output is read line by line until the expected line comes.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::event::{Event, Kind};
use crate::process::{Lines, Process, Said};

/// Lines that a complaint shows.
const SHOWN: usize = 200;
/// Time between two looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);
/// Lines that may come before they are waited for.
const ROOM: usize = 100_000;

/// A running program, and what it has said. It is killed when it is dropped.
pub struct Program {
    /// What runs.
    pub process: Process,
    lines: Lines,
    last: VecDeque<String>,
    ended: bool,
    name: String,
}

impl Program {
    /// Starts `command` in `folder`, as [`Process::start`] does. Complaints call it by this name.
    pub fn start(name: &str, command: Command, folder: &Path) -> anyhow::Result<Self> {
        let lines = Lines::new(ROOM);
        let process = lines.start(command, folder, 0)?;
        Ok(Program { process, lines, last: VecDeque::new(), ended: false, name: name.to_owned() })
    }

    /// The same for one of several programs in a folder: their names begin those of their logs.
    pub fn start_as(name: &str, command: Command, folder: &Path) -> anyhow::Result<Self> {
        let lines = Lines::new(ROOM);
        let process = lines.start_as(command, folder, name)?;
        Ok(Program { process, lines, last: VecDeque::new(), ended: false, name: name.to_owned() })
    }

    /// The same, as [`Process::start_as_it_is`] does.
    pub fn start_as_it_is(name: &str, command: Command, folder: &Path) -> anyhow::Result<Self> {
        let lines = Lines::new(ROOM);
        let process = lines.start_as_it_is(command, folder, 0)?;
        Ok(Program { process, lines, last: VecDeque::new(), ended: false, name: name.to_owned() })
    }

    /// The next line, or nothing once it has ended.
    fn next(&mut self, until: Instant) -> anyhow::Result<Option<String>> {
        while !self.ended {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.hear(left.min(LOOK))? {
                Some(Said { line: Some(line), .. }) => {
                    self.last.push_back(line.clone());
                    if self.last.len() > SHOWN {
                        self.last.pop_front();
                    }
                    return Ok(Some(line));
                }
                Some(Said { line: None, .. }) => self.ended = true,
                None => ensure!(!left.is_zero(), "{}", self.complaint("hangs")),
            }
        }
        Ok(None)
    }

    /// Reads until a line that fits, for this long at most.
    pub fn find<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut fits: impl FnMut(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + patience;
        while let Some(line) = self.next(until).with_context(|| format!("waiting for {what}"))? {
            if let Some(found) = fits(&line) {
                return Ok(found);
            }
        }
        bail!(self.complaint(&format!("ended without {what}")))
    }

    /// Reads until an event in which something is found; other lines are passed over.
    pub fn find_event<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut fits: impl FnMut(Event) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.find(what, patience, |line| fits(Event::parse(line).ok()?))
    }

    /// Reads until an event of this kind.
    pub fn event<E: Kind>(&mut self, patience: Duration) -> anyhow::Result<E> {
        self.find_event(E::NAME, patience, E::from_event)
    }

    /// Reads until it ends.
    pub fn end(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let until = Instant::now() + patience;
        while self.next(until).context("waiting for its end")?.is_some() {}
        self.process.wait(until.saturating_duration_since(Instant::now())).with_context(|| self.complaint("hangs"))
    }

    /// What went wrong, with what it said last.
    pub fn complaint(&self, what: &str) -> String {
        format!("{} {what}; its last lines: {:#?}\n{}", self.name, self.last, self.process.errors())
    }
}
