//! `cargo xtask swarm`: runs a whole swarm on this machine, with processes and files, and compares every byte that arrives.

mod live;
mod network;
mod optimum;
mod plan;
mod report;
mod run;
mod scenario;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytesize::ByteSize;

pub use live::Live;
pub use network::{LinkOutcome, Network, Rates};
pub use optimum::{Optimum, Took};
pub use plan::{PeerPlan, Plan, Sharing};
pub use report::{Idle, Outcome, PeerOutcome};
pub use run::conduct;

use crate::files::{random_file, run_folder};
use crate::programs::Programs;
use crate::relay::{Link, duration, rate};
use tool::interrupt::{Interrupted, watch_interrupts};

/// What the swarm is made of.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// Number of seeders
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100), conflicts_with = "scenario")]
    pub seeders: u16,
    /// Number of downloaders
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100), conflicts_with = "scenario")]
    pub downloaders: u16,
    /// Bytes of the file, which is made of random ones
    #[arg(long, default_value = "64MiB", conflicts_with_all = ["file", "scenario"])]
    pub size: ByteSize,
    /// Real files instead of a random one; every downloader wants all of them
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "scenario")]
    pub file: Vec<PathBuf>,
    /// One of the original's eight runs, by its number
    #[arg(long, value_name = "NAME", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub scenario: Option<u8>,
    /// Hash of pieces: blake3 or sha256
    #[arg(long, default_value = "blake3", value_parser = ["blake3", "sha256"])]
    pub hash: String,
    /// Bytes of a piece, as 1MiB; chosen by the size of the file if not given
    #[arg(long, value_name = "SIZE")]
    pub piece_size: Option<String>,
    /// Ports that each peer listens on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub listeners: u16,
    /// Split the pieces among the seeders with -r1 and -r2, instead of giving each all of them
    #[arg(long, conflicts_with = "scenario")]
    pub ranges: bool,
    /// Most bytes a second that a peer sends, as 10MiB or 80mbit
    #[arg(long)]
    pub rate: Option<String>,
    /// Most bytes a second that a peer receives
    #[arg(long, value_name = "RATE")]
    pub down_rate: Option<String>,
    /// How pieces are kept: mmap, file or memory
    #[arg(long)]
    pub storage: Option<String>,
    /// How peers are reached: auto, quic or tcp
    #[arg(long)]
    pub transport: Option<String>,
    /// Largest datagram to try, in bytes
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<String>,
    /// How QUIC decides how fast to send: auto, delivery, cubic, newreno or bbr
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,
    /// Put a relay before each listener, so that each connection has a link like this: `rtt=50ms,loss=1%,rate=100mbit`;
    /// --help lists all. Peers use QUIC, with datagrams of 1,452 bytes unless --mtu is given
    #[arg(long, value_name = "LINK", long_help = long_help_of_link())]
    pub link: Option<Link>,
    /// Put such a relay before the tracker, too: it is as far away as the peers are
    #[arg(long, requires = "link")]
    pub far_tracker: bool,
    /// Give the tracker and each peer a network namespace of its own, joined by a bridge (Linux, as root)
    #[arg(long, conflicts_with = "link")]
    pub netns: bool,
    /// Most that each peer's network carries away from it, as 50mbit; unlimited if not given
    #[arg(long, value_name = "RATE", value_parser = rate, requires = "netns")]
    pub uplink: Option<f64>,
    /// The same of seeders, if it is something else
    #[arg(long, value_name = "RATE", value_parser = rate, requires = "uplink")]
    pub seeder_uplink: Option<f64>,
    /// Most that is carried to each downloader
    #[arg(long, value_name = "RATE", value_parser = rate, requires = "netns")]
    pub downlink: Option<f64>,
    /// How long a datagram may wait for one of these links
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "netns", default_value = "50ms")]
    pub queue: Duration,
    /// First port of the peers, each taking as many as it has listeners; free ones if not given
    #[arg(short, long)]
    pub port: Option<u16>,
    /// Port of the tracker; a free one if not given
    #[arg(short = 'd', long)]
    pub tracker_port: Option<u16>,
    /// Close the swarm: a CA is made, and everyone takes only those that it has signed
    #[arg(long)]
    pub closed: bool,
    /// A folder with `tracker` and `peer-cli`, instead of those that are built
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Leave the folder of the run, with files and logs
    #[arg(long)]
    pub keep: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// What `cargo xtask swarm` would take these words for.
    pub fn of<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Result<Self, clap::Error> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: Arguments,
        }
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        Ok(<Line as clap::Parser>::try_parse_from(std::iter::once("swarm".into()).chain(words))?.arguments)
    }
}

fn long_help_of_link() -> String {
    let what = "Put a relay before each listener, so that each connection has a link of its own. Peers use QUIC, with \
                datagrams of 1,452 bytes unless --mtu is given.";
    format!("{what}\n\n{}", Link::GRAMMAR)
}

/// Builds the programs unless they are given, runs the swarm, prints the table.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let programs = Programs::of_folder_or_built(arguments.programs.as_deref())?;
    watch_interrupts()?;
    let own = std::env::current_exe().context("this program has no path")?;
    let folder = run_folder(&own)?;
    let result = in_folder(arguments, &programs, &folder);
    let keeps = arguments.keep || result.as_ref().is_err_and(|error| !error.is::<Interrupted>());
    if keeps {
        eprintln!("Files and logs are in {}", folder.display());
    } else {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    result
}

fn in_folder(arguments: &Arguments, programs: &Programs, folder: &Path) -> anyhow::Result<()> {
    let plan = plan(arguments, folder)?;
    let outcome = conduct(&plan, programs, folder, &Live::new(&plan))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        println!("{outcome}");
    }
    Ok(())
}

/// The swarm that the arguments ask for; files that must be made are made in `folder`.
pub fn plan(arguments: &Arguments, folder: &Path) -> anyhow::Result<Plan> {
    let quic = arguments.transport.as_ref().is_none_or(|transport| transport == "quic");
    ensure!(
        cfg!(feature = "optimum") || arguments.uplink.is_none(),
        "--uplink needs a build of testbed with the feature `optimum`: `cargo xtask swarm` makes it"
    );
    ensure!(quic || arguments.link.is_none(), "--link carries datagrams only: use --transport quic, or leave it out");
    if let Some(number) = arguments.scenario {
        return scenario::plan(number, arguments, &samples());
    }
    let files = if arguments.file.is_empty() {
        vec![random_file(folder, arguments.size.as_u64())?]
    } else {
        arguments.file.clone()
    };
    let names: BTreeSet<_> = files.iter().map(|file| file.file_name()).collect();
    ensure!(
        names.len() == files.len(),
        "two of the files have the same name: a seeder's folder holds only one of them"
    );
    Ok(Plan::of(arguments, files))
}

/// The sample texts of the repository.
fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../input")
}
