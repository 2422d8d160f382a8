//! `cargo xtask bench idle`: what a peer uses of a processor while it has everything and nobody asks it for anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testbed::files::{random_file, run_folder};
use testbed::programs::{self, Programs};
use testbed::swarm::{self, Idle, Live};
use tool::interrupt::watch_interrupts;

use super::report::median;

/// Bytes that all have.
const BYTES: u64 = 16 << 20;

/// Who is watched, and for how long.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Peers that have downloaded from one seeder
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub downloaders: u16,
    /// Seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub seconds: u16,
    /// A folder with `tracker` and `peer-cli`, instead of those that are built
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
}

/// Builds, runs a swarm over each transport, watches, prints.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let programs = match &arguments.programs {
        Some(folder) => Programs::of_folder_or_built(Some(folder))?,
        None => programs::build_for_figures()?,
    };
    watch_interrupts()?;
    println!(
        "{:6}{:>24}{:>24}  (each for one peer: seeder, downloaders' median)",
        "", "% of a core", "switches a second"
    );
    for transport in ["quic", "tcp", "auto"] {
        let folder = run_folder(&std::env::current_exe()?)?;
        let watched = watch(arguments, transport, &programs, &folder);
        std::fs::remove_dir_all(&folder)?;
        let (seeder, downloaders) = watched?;
        let both = |of: fn(&Idle) -> f64, digits: usize| {
            format!("{:.digits$}, {:.digits$}", of(&seeder), median(downloaders.iter().map(of)))
        };
        println!("{transport:6}{:>24}{:>24}", both(|idle| idle.of_core * 100.0, 3), both(|idle| idle.switches, 1));
    }
    Ok(())
}

/// The seeder and the downloaders.
fn watch(
    arguments: &Arguments,
    transport: &str,
    programs: &Programs,
    folder: &Path,
) -> anyhow::Result<(Idle, Vec<Idle>)> {
    let flags = [
        "--seeders=1".to_owned(),
        format!("--downloaders={}", arguments.downloaders),
        format!("--transport={transport}"),
    ];
    let mut swarm = swarm::Arguments::of(&flags)?;
    swarm.file = vec![random_file(folder, BYTES)?];
    let mut plan = swarm::plan(&swarm, folder)?;
    plan.idle = Some(Duration::from_secs(arguments.seconds.into()));
    let outcome = swarm::conduct(&plan, programs, folder, &Live::silent())?;
    let mut idle = outcome.peers.iter().filter_map(|peer| peer.idle);
    let seeder = idle.next().unwrap_or(Idle { of_core: 0.0, switches: 0.0 });
    Ok((seeder, idle.collect()))
}
