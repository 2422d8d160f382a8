//! `cargo xtask bench`: how fast files move over loopback, beside what the machine can do at all, in the same run.
//!
//! Machines are noisy, so rounds alternate between all subjects, and what counts is each one's ratio to its floor: the
//! same bytes over the same transport without disk, hash or swarm. Memory has modes of its own.

mod chart;
mod floors;
mod history;
mod idle;
mod lock;
mod memory;
mod others;
mod reach;
mod report;
mod subject;
mod tracker;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use testbed::files::run_folder;
use testbed::programs;
use tool::interrupt::{Interrupted, check_interrupted, watch_interrupts};
use tool::usage::Usage;

use others::Other;
use subject::{Subject, Way};

/// What is measured.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What else there is to measure
    #[command(subcommand)]
    pub mode: Option<Mode>,
    /// Rounds: each runs every subject once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: u16,
    /// Everything: three shapes, three piece sizes, both hashes, one and four listeners, each transport. Takes half an hour
    #[arg(long)]
    pub all: bool,
    /// Only the subjects whose name has this in it, and their floors; several with several --only
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Bytes of the file from one seeder to one downloader; other shapes take a half and a quarter
    #[arg(long, default_value = "1GiB")]
    pub size: ByteSize,
    /// Other programs to time in the same run, those of them that are installed
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub against: Vec<Other>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is measured besides how fast files move.
#[derive(Debug, clap::Subcommand)]
pub enum Mode {
    /// The most memory that a peer takes: with 50 connections, a large file, large pieces, many pieces
    Memory(memory::Arguments),
    /// How many peers a tracker can know: memory, idle time, new connections, announcements, a flash crowd
    Tracker(tracker::Arguments),
    /// What origins and the gateway are to reach: fleets behind slow links, nginx beside the gateway, ranges of what is not here yet
    Reach(reach::Arguments),
    /// What peers use of a processor that have everything and are asked for nothing
    Idle(idle::Arguments),
    /// The ratios of earlier measurements, a column a commit, as Markdown
    History(history::Arguments),
}

/// One measured transfer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds from the start of the first receiving process until all have everything, verified by whatever means the
    /// program has.
    pub seconds: f64,
    /// Seconds until it was durable too; nothing where the program does not care.
    pub seconds_durable: Option<f64>,
    /// Seconds of processor time: of all senders, and of all receivers.
    pub cpu: [f64; 2],
    /// The process that used most memory on either side: senders, receivers.
    pub memory: [Usage; 2],
    /// Datagrams that had no room at a socket.
    pub lost: u64,
    /// How often the machine turned from one thread to another meanwhile, all programs' together.
    #[serde(default)]
    pub switches: u64,
}

/// One subject with all its rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// What it is.
    pub name: String,
    /// The floor that it is compared with.
    pub floor: Option<String>,
    /// Bytes that each receiver gets.
    pub bytes: u64,
    /// Receivers.
    pub receivers: u16,
    /// One a round.
    pub samples: Vec<Sample>,
}

fn main() -> ExitCode {
    tool::main("bench", run)
}

/// Builds, measures, prints, and adds to the history.
fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.mode {
        None => {}
        Some(Mode::Memory(arguments)) => return memory::run(arguments),
        Some(Mode::Tracker(arguments)) => return tracker::run(arguments),
        Some(Mode::Reach(arguments)) => return reach::run(arguments),
        Some(Mode::Idle(arguments)) => return idle::run(arguments),
        Some(Mode::History(arguments)) => return history::print(arguments),
    }
    let programs = programs::build_for_figures()?;
    let floors = programs::build_floors()?;
    watch_interrupts()?;
    let chosen =
        |subject: &&Subject| arguments.only.is_empty() || arguments.only.iter().any(|text| subject.name.contains(text));
    let size = arguments.size.as_u64();
    let mut subjects: Vec<Subject> = subject::ours(arguments.all, size).iter().filter(chosen).cloned().collect();
    for other in &arguments.against {
        match other.missing() {
            None => subjects.extend(subject::of_other(*other, size).iter().filter(chosen).cloned()),
            Some(hint) => eprintln!("{other} is not timed: {hint}"),
        }
    }
    ensure!(!subjects.is_empty(), "no subject has such a name");
    let needed: Vec<_> = subjects.iter().filter_map(|subject| subject.floor.clone()).collect();
    subjects.splice(
        0..0,
        subject::floors(size).into_iter().filter(|floor| floor.name == floors::COPY || needed.contains(&floor.name)),
    );
    let folder = run_folder(&programs.peer)?;
    let result = measure(arguments, &subjects, &subject::Tools { programs, floors }, &folder);
    std::fs::remove_dir_all(&folder)?;
    let measured = result?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print!("{}", report::table(&measured));
    }
    history::add(&measured)
}

fn measure(
    arguments: &Arguments,
    subjects: &[Subject],
    tools: &subject::Tools,
    folder: &Path,
) -> anyhow::Result<Vec<Measured>> {
    let mut measured: Vec<_> = subjects.iter().map(Subject::unmeasured).collect();
    let mut given_up = BTreeSet::new();
    let mut files = subject::Files::new(folder);
    for round in 1..=arguments.rounds {
        for (subject, measured) in subjects.iter().zip(&mut measured) {
            check_interrupted()?;
            if given_up.contains(&subject.name) {
                continue;
            }
            eprintln!("round {round} of {}: {}", arguments.rounds, subject.name);
            let file = files.of(subject.bytes)?;
            let own = folder.join("subject");
            std::fs::create_dir_all(&own)?;
            match subject.measure(tools, &file, &own) {
                Ok(sample) => measured.samples.push(sample),
                // Another program's trouble should not cost what was measured of ours.
                Err(error) if matches!(subject.way, Way::Other(..)) && !error.is::<Interrupted>() => {
                    eprintln!("{} is not timed any more: {error:#}", subject.name);
                    given_up.insert(&subject.name);
                }
                Err(error) => return Err(error),
            }
            std::fs::remove_dir_all(&own)?;
        }
    }
    measured.retain(|measured| !given_up.contains(&measured.name));
    Ok(measured)
}
