//! `cargo xtask cross`: the promise that this runs on Windows and macOS, kept on a Linux machine. Everything is checked for
//! both; the programs for Windows are built, and run under Wine.
//!
//! What it needs and does not find it fetches into a folder of its own; nothing is installed. What cannot be had is said
//! loudly and counted, and is no failure: a compiler's word that something is wrong is one.

mod compiler;
mod debian;
mod library;
mod machine;
mod stories;
mod units;
mod wine;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use testbed::programs::Programs;

pub(crate) use compiler::{Breadth, Compiler};
pub(crate) use debian::{once, output_of};
pub(crate) use library::From;

pub(crate) const WINDOWS: &str = "x86_64-pc-windows-gnu";
pub(crate) const MACOS: [&str; 2] = ["aarch64-apple-darwin", "x86_64-apple-darwin"];
/// Programs that run on any Linux of this kind of processor.
pub(crate) const MUSL: &str = "x86_64-unknown-linux-musl";
/// The same for ARM's.
pub(crate) const MUSL_ARM: &str = "aarch64-unknown-linux-musl";

const TOOLS: &str = "target/cross";

/// Minutes that a run of all checks has for this.
const MINUTES_OF_CI: u64 = 12;
/// What a check of the workspace takes where nothing of it is built yet, on two cores; and of the programs and libraries alone.
const CHECK: Duration = Duration::from_secs(200);
const SHORT_CHECK: Duration = Duration::from_secs(110);

/// What is done.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only check that everything compiles: build nothing, run nothing
    #[arg(long)]
    only_check: bool,
    /// Check for these targets instead of Windows and macOS
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Run the programs for Windows that lie in this folder, as out of an archive; check and build nothing
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["only_check", "target", "minutes"])]
    run: Option<PathBuf>,
    /// Only build the tests of crates for Windows, and run them under Wine
    #[arg(long, conflicts_with_all = ["only_check", "target", "minutes", "run"])]
    only_tests: bool,
    /// Begin nothing that would likely not be done within so many minutes: it is skipped
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u64>,
    /// Build the standard library from its source, even if there is a compiled one: to try that way
    #[arg(long)]
    from_source: bool,
    /// Folder for what has to be fetched: compilers, standard libraries, Wine
    #[arg(long, value_name = "FOLDER", default_value = TOOLS)]
    tools: PathBuf,
}

/// What could not be done here, each with why.
#[derive(Debug, Default)]
pub struct Skipped(Vec<String>);

impl Skipped {
    /// Keeps what was found; what is missing is said, and counted.
    pub(crate) fn unless<T>(&mut self, what: &str, found: anyhow::Result<T>) -> Option<T> {
        found.map_err(|why| self.say(&format!("{what}: {why:#}"))).ok()
    }

    pub(crate) fn say(&mut self, sentence: &str) {
        eprintln!("skipped: {sentence}");
        self.0.push(sentence.to_owned());
    }

    /// Says it all once more, at the end, where it is read.
    pub fn sum_up(&self) {
        if !self.0.is_empty() {
            eprintln!("{} skipped:", self.0.len());
            self.0.iter().for_each(|sentence| eprintln!("  {sentence}"));
        }
    }
}

/// The time that a run may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    ends: Option<Instant>,
}

impl Time {
    pub(crate) fn of_minutes(minutes: Option<u64>) -> Self {
        Time { ends: minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes)) }
    }

    fn left(self) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(Instant::now()))
    }

    /// Whether something that takes so long would be done in time.
    fn is_enough_for(self, takes: Duration) -> bool {
        self.left().is_none_or(|left| left >= takes)
    }

    /// The same; otherwise it is skipped.
    pub(crate) fn is_enough(self, what: &str, takes: Duration, skipped: &mut Skipped) -> bool {
        let is_enough = self.is_enough_for(takes);
        if !is_enough {
            let (takes, left) = (takes.as_secs(), self.left().unwrap_or_default().as_secs());
            skipped.say(&format!("{what}: it may take {takes} s, and {left} s of this run's time are left"));
        }
        is_enough
    }
}

/// Checks, builds and runs. Fails at the first thing that is wrong; what cannot be had here is skipped and summed up.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut skipped = Skipped::default();
    let result = run_all(arguments, &mut skipped);
    skipped.sum_up();
    result
}

/// The same as a part of all checks, within its share of their time.
pub fn run_in_ci(skipped: &mut Skipped) -> anyhow::Result<()> {
    let (minutes, tools) = (Some(MINUTES_OF_CI), TOOLS.into());
    let arguments = Arguments {
        only_check: false,
        target: Vec::new(),
        run: None,
        only_tests: false,
        minutes,
        from_source: false,
        tools,
    };
    run_all(&arguments, skipped)
}

fn run_all(arguments: &Arguments, skipped: &mut Skipped) -> anyhow::Result<()> {
    let time = Time::of_minutes(arguments.minutes);
    let tools = tools(&arguments.tools)?;
    if let Some(folder) = &arguments.run {
        let program = |name| folder.join(name).canonicalize().with_context(|| format!("{} in --run", name));
        let programs = Programs { tracker: program("tracker.exe")?, peer: program("peer-cli.exe")? };
        return stories::run(&programs, &tools, skipped);
    }
    let from = if arguments.from_source { From::Source } else { From::Anywhere };
    if arguments.only_tests {
        let windows = skipped.unless(WINDOWS, Compiler::for_target(WINDOWS, &tools, from));
        return windows.map_or(Ok(()), |windows| units::run(&windows, &tools, true, skipped));
    }
    let check = |target: &str, skipped: &mut Skipped| {
        let all = format!("{target} (its tests and optional parts, where the rest is checked)");
        let breadth = match time.is_enough_for(CHECK) {
            true => Breadth::All,
            false if !time.is_enough(target, SHORT_CHECK, skipped) => return Ok(None),
            false => {
                time.is_enough(&all, CHECK, skipped);
                Breadth::Programs
            }
        };
        let compiler = skipped.unless(target, Compiler::for_target(target, &tools, from));
        compiler.as_ref().map_or(Ok(()), |compiler| compiler.check(breadth))?;
        anyhow::Ok(compiler)
    };
    if !arguments.target.is_empty() {
        return arguments.target.iter().try_for_each(|target| check(target, skipped).map(drop));
    }
    // In the order of what is worth most, should the time not be enough for all.
    let windows = check(WINDOWS, skipped)?;
    let windows = windows.filter(|_| !arguments.only_check);
    if let Some(windows) = &windows {
        stories::build_and_run(windows, &tools, time, skipped)?;
    }
    let [first, others @ ..] = &MACOS;
    check(first, skipped)?;
    if let Some(windows) = &windows {
        let is_all = time.ends.is_none();
        if is_all || time.is_enough("tests of some crates under Wine", units::FEW_TAKE, skipped) {
            units::run(windows, &tools, is_all, skipped)?;
        }
        if !is_all {
            skipped.say("tests of other crates under Wine: `cargo xtask cross` without --minutes runs them");
        }
    }
    others.iter().try_for_each(|target| check(target, skipped).map(drop))
}

/// Runs programs for Windows under Wine, where it can be had.
pub(crate) fn under_wine(windows: &Programs, tools: &Path, skipped: &mut Skipped) -> anyhow::Result<()> {
    stories::run(windows, tools, skipped)
}

/// A package of the distribution, unpacked beside with what it needs.
pub(crate) fn packages(name: &str, tools: &Path) -> anyhow::Result<PathBuf> {
    debian::once(tools.join(name), |folder| {
        let apt = debian::Apt::of_this_machine(tools)?;
        apt.unpack(&apt.with_dependencies(&[name])?, folder)
    })
}

/// The folder for tools, made and named in full: compilers are run in other folders.
pub(crate) fn tools(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder.canonicalize()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_time_is_not_enough_for_is_skipped_and_counted() {
        let mut skipped = Skipped::default();
        let (no_limit, minute) = (Time::of_minutes(None), Time::of_minutes(Some(1)));
        assert!(no_limit.is_enough("a", Duration::MAX, &mut skipped));
        assert!(minute.is_enough("b", Duration::from_secs(30), &mut skipped));
        assert!(!minute.is_enough("c", Duration::from_secs(90), &mut skipped));
        assert!(skipped.0.len() == 1 && skipped.0[0].starts_with("c: it may take 90 s, and "), "{skipped:?}");
    }
}
