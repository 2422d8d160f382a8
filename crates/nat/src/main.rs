//! `cargo xtask nat`: a sharer and a getter, each in a place of its own, and a tracker that both reach. Whether the file
//! arrives, by which way, and how soon.

mod doctor;
mod lab;
mod pairs;
mod places;
mod relayed;
mod root;
mod run;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::Args;
use testbed::files::{random_file, run_folder};
use testbed::programs::Programs;
use tool::interrupt::watch_interrupts;

use pairs::Pairs;
use run::{Midway, Scene};
use table::Table;

/// What runs, how often, and with which programs.
#[derive(Debug, Args)]
#[command(after_help = places::HELP)]
struct Arguments {
    /// `all`, `smoke` (some of them), or pairs as `home-masq`: the sharer's place, and the getter's
    #[arg(long, default_value = "all")]
    pairs: Pairs,
    /// Runs of each pair
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// A folder with `tracker` and `peer-cli`, instead of those that are built
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Size of the file
    #[arg(long, default_value = "1MiB")]
    size: ByteSize,
    /// How long a getter may take, in seconds
    #[arg(long, default_value_t = 25, value_name = "SECONDS")]
    patience: u64,
    /// The tracker relays: every pair has to be complete
    #[arg(long)]
    relay: bool,
    /// Mbit/s that the tracker's line carries each way, with what is relayed: how fast that is, is printed
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u32).range(1..))]
    line: Option<u32>,
    /// Share with everyone, instead of with those who have the ticket
    #[arg(long)]
    open: bool,
    /// Bytes of a packet at most, between each machine and its network
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1280..=1500))]
    mtu: Option<u32>,
    /// What happens once the first piece has come; give a --size of some seconds at 4 MiB/s
    #[arg(long, value_name = "WHAT")]
    midway: Option<Midway>,
    /// Ask `peer-cli doctor` at each place what is in front of it, instead
    #[arg(long)]
    doctor: bool,
    /// How much memory a tracker takes that relays 200 connections at once, instead
    #[arg(long, conflicts_with = "doctor")]
    relayed: bool,
    /// Fail where the lab cannot be built, instead of saying so and ending well
    #[arg(long)]
    must_run: bool,
}

fn main() -> ExitCode {
    tool::main("nat", run)
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(status) = root::become_root()? {
        return match status {
            true => Ok(()),
            false => bail!("it failed as root of a namespace of its own"),
        };
    }
    if let Err(error) = lab::try_lab() {
        if arguments.must_run {
            return Err(error);
        }
        eprintln!("SKIPPED: no routers can be built here, and nothing was tried: {error:#}");
        return Ok(());
    }
    watch_interrupts()?;
    let programs = Programs::of_folder_or_built(arguments.programs.as_deref())?;
    let own = std::env::current_exe().context("this program has no path")?;
    let folder = run_folder(&own)?;
    if arguments.doctor || arguments.relayed {
        let run = if arguments.doctor { doctor::run } else { relayed::run };
        run(&programs, &folder)?;
        return std::fs::remove_dir_all(&folder).context("cannot remove what the runs have left");
    }
    let file = random_file(&folder, arguments.size.as_u64())?;
    let scene = Scene {
        programs: &programs,
        file: &file,
        folder: &folder,
        patience: Duration::from_secs(arguments.patience),
        relay: arguments.relay,
        line: arguments.line,
        open: arguments.open,
        mtu: arguments.mtu,
        midway: arguments.midway,
    };
    let mut table = Table::new(arguments.relay);
    for (sharer, getter) in arguments.pairs.list() {
        let runs = (0..arguments.runs).map(|number| scene.play(sharer, getter, number));
        table.add((sharer, getter), runs.collect::<anyhow::Result<Vec<_>>>()?);
    }
    std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    // It is empty unless a run failed.
    if std::fs::remove_dir(&folder).is_err() {
        println!("What the runs that failed have left, and their logs: {}", folder.display());
    }
    table.finish()
}
