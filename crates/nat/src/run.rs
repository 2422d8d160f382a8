//! One run of a pair: a tracker, a sharer, a getter, and what came of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use testbed::event::{Connected, Event, Kind, Progress, Ticket, Verified};
use testbed::files::first_difference;
use testbed::program::Program;
use testbed::programs::Programs;
use tool::interrupt::check_interrupted;

use crate::lab::{Lab, Side, TRACKER, TRACKER_NAME};
use crate::places::Place;

/// What starts says so within this time.
const START: Duration = Duration::from_secs(20);
/// What is told to stop ends within this time.
const END: Duration = Duration::from_secs(10);

/// What all runs have in common.
pub struct Scene<'a> {
    pub programs: &'a Programs,
    pub file: &'a Path,
    pub folder: &'a Path,
    pub patience: Duration,
    pub relay: bool,
    /// Mbit/s of the tracker's line, each way.
    pub line: Option<u32>,
    pub open: bool,
    /// Bytes of a packet at most, between a machine and its network.
    pub mtu: Option<u32>,
    /// What happens once the first piece has come.
    pub midway: Option<Midway>,
}

/// What happens in the middle of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Midway {
    /// The sharer gets another address
    SharerMoves,
    /// The getter gets another address
    GetterMoves,
    /// The routers of both sides start anew, and have forgotten their mappings
    RoutersRestart,
}

impl Midway {
    fn happens(self, lab: &mut Lab, sharer: Place, getter: Place) -> anyhow::Result<()> {
        match self {
            Midway::SharerMoves => lab.move_to_another_address(Side::Sharer, sharer),
            Midway::GetterMoves => lab.move_to_another_address(Side::Getter, getter),
            Midway::RoutersRestart => {
                lab.restart_router(Side::Sharer, sharer)?;
                lab.restart_router(Side::Getter, getter)
            }
        }
    }
}

/// Not everything is sent before.
const RATE: &str = "--up-rate=4MiB";

/// How bytes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    Relayed,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// From the start of the getter to the first verified piece; nothing if none came.
    pub first: Option<Duration>,
    /// Bytes a second of the file, from the first piece until all is verified; nothing if all came at once.
    pub rate: Option<f64>,
    pub complete: bool,
    pub equal: bool,
    pub way: Option<Way>,
    /// Over which transports the getter was connected.
    pub transports: Vec<String>,
    /// What the getter said when it failed.
    pub trouble: Option<String>,
}

impl Scene<'_> {
    pub fn play(&self, sharer: Place, getter: Place, number: u32) -> anyhow::Result<Outcome> {
        check_interrupted()?;
        let folder = self.folder.join(format!("{sharer}-{getter}-{number}"));
        let own = |name: &str| {
            let own = folder.join(name);
            std::fs::create_dir_all(&own).map(|()| own)
        };
        let (at_tracker, at_sharer, at_getter) = (own("tracker")?, own("sharer")?, own("getter")?);
        let mut lab = Lab::build(sharer, getter)?;
        if let Some(line) = self.line {
            lab.limit_tracker(line)?;
        }

        if let Some(mtu) = self.mtu {
            lab.limit_packets(Side::Sharer, sharer, mtu)?;
            lab.limit_packets(Side::Getter, getter, mtu)?;
        }

        let mut command = lab.tracker(&self.programs.tracker);
        let port = [sharer, getter].contains(&Place::Only443).then_some("443");
        command.args(port.map(|port| ["--port", port]).into_iter().flatten());
        let ipv6 = sharer.has_ipv6() || getter.has_ipv6();
        command.args(["--bind", if ipv6 { "::" } else { "0.0.0.0" }]);
        if self.relay {
            command.arg("--relay");
        }
        let mut tracker = Program::start("the tracker", command, &at_tracker)?;
        let id = tracker.find("its id", START, |line| line.strip_prefix("Tracker id: ").map(str::to_owned))?;

        let (mut command, named) = match sharer.has_ipv6() {
            true => (lab.command_with_names(Side::Sharer, &self.programs.peer, &folder)?, TRACKER_NAME),
            false => (lab.command(Side::Sharer, &self.programs.peer), TRACKER),
        };
        command.args(["share", "-i", named, "--tracker-id", &id, "--json"]).arg(self.file);
        // Over IPv6 both are in one network, and would find each other there.
        let no_lan = ipv6.then_some("--no-lan");
        command.args(no_lan);
        if self.open {
            command.arg("--open");
        }
        command.args(port.map(|port| ["-d", port]).into_iter().flatten());
        if self.midway.is_some() {
            command.arg(RATE);
        }
        log(&mut command);
        let mut share = Program::start("the sharer", command, &at_sharer)?;
        let ticket = share.event::<Ticket>(START)?.ticket;

        let mut command = lab.command(Side::Getter, &self.programs.peer);
        command.args(["get", &ticket, "--json", "-o", "."]).args(no_lan);
        log(&mut command);
        let began = Instant::now();
        let mut get = Program::start("the getter", command, &at_getter)?;
        let mut outcome = Outcome::default();
        let listened = self.listen(&mut get, began, &mut outcome, || match self.midway {
            Some(midway) => midway.happens(&mut lab, sharer, getter),
            None => Ok(()),
        });
        check_interrupted()?;
        match listened.and_then(|()| get.end(END)) {
            Ok(status) => outcome.complete = status.success(),
            Err(error) => outcome.trouble = error.to_string().lines().next().map(str::to_owned),
        }
        if outcome.complete {
            let name = self.file.file_name().context("the file has a name")?;
            outcome.equal = first_difference(self.file, &at_getter.join(name))?.is_none();
        }
        drop((get, share, tracker, lab));
        if outcome.equal || !(self.relay || sharer.reaches(getter)) {
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(outcome)
    }

    /// Hears what the getter says until everything is verified.
    fn listen(
        &self,
        get: &mut Program,
        began: Instant,
        outcome: &mut Outcome,
        mut first_came: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut moved = Ok(());
        let mut before = 0;
        let left = self.patience.saturating_sub(began.elapsed());
        get.find_event("a whole file", left, |event: Event| {
            if let Some(Connected { transport, .. }) = Connected::from_event(event.clone()) {
                let way = if transport.starts_with("relay") { Way::Relayed } else { Way::Direct };
                // What came over both ways came directly in the end.
                if outcome.way != Some(Way::Direct) {
                    outcome.way = Some(way);
                }
                outcome.transports.push(transport.to_string());
            }
            let progress = Progress::from_event(event.clone()).filter(|progress| progress.have > 0);
            let verified = Verified::from_event(event).is_some();
            if (progress.is_some() || verified) && outcome.first.is_none() {
                outcome.first = Some(began.elapsed());
                before = progress.map_or(u64::MAX, |progress| progress.received);
                moved = first_came();
            }
            verified.then_some(())
        })?;
        let size = std::fs::metadata(self.file)?.len();
        let lasted = outcome.first.map(|first| (began.elapsed() - first).as_secs_f64());
        outcome.rate = lasted.filter(|_| before < size).map(|seconds| (size - before) as f64 / seconds);
        moved
    }
}

/// What was dialled is worth knowing if it fails.
fn log(command: &mut std::process::Command) {
    command.env("RUST_LOG", "debug");
}
