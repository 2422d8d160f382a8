//! Fault injection (`cargo xtask chaos`): a swarm of real processes under one fault at a time. Each case checks that every byte
//! arrives and is right, and how much longer that takes than without the fault.
//!
//! The swarm has three seeders and one downloader, whose download rate is capped so that two seeders still saturate it: if a case is
//! slower, the fault is the reason. Each family of cases has its own file.
//!
//! ```no_run
//! /// Runs all cases whose name begins with `crash`.
//! fn crashes(mut arguments: chaos::Arguments) -> anyhow::Result<()> {
//!     arguments.cases = vec!["crash".to_owned()];
//!     chaos::run(&arguments)
//! }
//! ```

mod attack;
mod crashes;
mod crowding;
mod disk;
mod edits;
mod floods;
mod handshakes;
mod liars;
mod links;
mod manifests;
mod message_floods;
mod misuse;
mod own_node;
mod proven;
mod report;
mod sites;
mod slow;
pub mod soak;
mod stage;
mod stallers;
mod strangers;
mod takers;
mod trackers;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytesize::ByteSize;
use testbed::files::{random_file, run_folder};
use testbed::programs::{self, Programs};
use tool::interrupt::{Interrupted, check_interrupted, watch_interrupts};

use report::Report;
use stage::Stage;

/// The command line.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// Names of cases, or how they begin; all cases if none is given
    #[arg(value_name = "CASE")]
    pub cases: Vec<String>,
    /// List all cases and exit
    #[arg(long)]
    pub list: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
    /// Size of the file, which has random bytes
    #[arg(long, default_value = "256MiB")]
    pub size: ByteSize,
    /// Seed of the random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the folders of passed cases, too
    #[arg(long)]
    pub keep: bool,
    /// Use `tracker` and `peer-cli` from this folder instead of building them
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Run attacks by crowds only with these numbers of peers
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub attackers: Vec<usize>,
}

/// One fault, and how the swarm is judged under it.
pub struct Case {
    name: &'static str,
    fault: &'static str,
    run: fn(&Ground, &mut Report) -> anyhow::Result<()>,
}

/// Bytes a second that the downloader takes, in all cases where time is judged.
const RATE: u64 = 10 << 20;
/// Memory of its own that a peer may have, in MiB: what `cargo xtask bench memory` holds it to.
const MEMORY: f64 = 64.0;

/// What all cases share.
pub struct Ground {
    programs: Programs,
    folder: PathBuf,
    file: PathBuf,
    size: u64,
    seed: u64,
    attackers: Vec<usize>,
    undisturbed: OnceCell<f64>,
    /// Seconds of a download without attackers, by how it is set up.
    calm: RefCell<BTreeMap<String, f64>>,
}

impl Ground {
    /// A new folder with a random file of so many bytes.
    fn prepare(size: u64, seed: u64) -> anyhow::Result<Self> {
        let programs = programs::build(true)?;
        let folder = run_folder(&programs.peer)?;
        Self::prepare_in(programs, folder, size, seed)
    }

    /// The same with programs that are built already.
    fn prepare_with(programs: &Path, size: u64, seed: u64) -> anyhow::Result<Self> {
        let programs = std::path::absolute(programs)?;
        let programs = Programs { tracker: programs.join("tracker"), peer: programs.join("peer-cli") };
        let folder = run_folder(&std::env::current_exe()?)?;
        Self::prepare_in(programs, folder, size, seed)
    }

    fn prepare_in(programs: Programs, folder: PathBuf, size: u64, seed: u64) -> anyhow::Result<Self> {
        watch_interrupts()?;
        let file = random_file(&folder, size)?;
        Ok(Self::of(programs, folder, file, size, seed))
    }

    fn of(programs: Programs, folder: PathBuf, file: PathBuf, size: u64, seed: u64) -> Self {
        let (undisturbed, calm) = (OnceCell::new(), RefCell::default());
        Ground { programs, folder, file, size, seed, attackers: Vec::new(), undisturbed, calm }
    }

    /// The numbers of attackers to try: those that were asked for on the command line, or else these.
    fn attackers(&self, numbers: &[usize]) -> Vec<usize> {
        if self.attackers.is_empty() { numbers.to_vec() } else { self.attackers.clone() }
    }

    /// The same with a file of so many bytes at most.
    fn smaller(&self, most: u64) -> anyhow::Result<Ground> {
        let size = self.size.min(most);
        let folder = self.folder.join(format!("file-{size}"));
        std::fs::create_dir_all(&folder)?;
        let file = random_file(&folder, size)?;
        let (programs, attackers) = (self.programs.clone(), self.attackers.clone());
        Ok(Ground { attackers, ..Self::of(programs, self.folder.clone(), file, size, self.seed) })
    }

    /// Removes the folder, or says where it is if it is of use.
    fn clear(&self, keep: bool) -> anyhow::Result<()> {
        if keep {
            eprintln!("Files and logs are in {}", self.folder.display());
            return Ok(std::fs::remove_file(&self.file)?);
        }
        std::fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }

    /// Seconds that the download takes when nothing goes wrong, from the start of the downloader's process until all is
    /// verified; measured when it is first asked for.
    fn undisturbed(&self) -> anyhow::Result<f64> {
        if let Some(&seconds) = self.undisturbed.get() {
            return Ok(seconds);
        }
        let mut stage = Stage::open(self, "undisturbed")?;
        stage.seeders(3)?;
        let downloader = stage.downloader("downloader", &[])?;
        let seconds = stage.verified(downloader)?;
        stage.close()?;
        Ok(*self.undisturbed.get_or_init(|| seconds))
    }
}

fn cases() -> impl Iterator<Item = &'static Case> {
    let families = [
        BASE,
        liars::CASES,
        slow::CASES,
        stallers::CASES,
        takers::CASES,
        manifests::CASES,
        crowding::CASES,
        sites::CASES,
        message_floods::CASES,
        trackers::CASES,
        crashes::CASES,
        disk::CASES,
        edits::CASES,
        links::CASES,
        floods::CASES,
        handshakes::CASES,
        strangers::CASES,
        misuse::CASES,
        proven::CASES,
    ];
    families.into_iter().flatten()
}

const BASE: &[Case] = &[Case { name: "base", fault: "none", run: base }];

fn base(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let least = ground.size as f64 / RATE as f64;
    report.at_most("time", ground.undisturbed()?, 1.1 * least + 1.0, "s");
    Ok(())
}

/// Runs the cases one after another, and prints what came of each. Fails if one does.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.list {
        cases().for_each(|case| println!("{:18}  {}", case.name, case.fault));
        return Ok(());
    }
    let asked = |case: &&Case| {
        arguments.cases.is_empty() || arguments.cases.iter().any(|name| case.name.starts_with(name.as_str()))
    };
    let chosen: Vec<_> = cases().filter(asked).collect();
    ensure!(!chosen.is_empty(), "no case has such a name: --list names them all");
    let (size, seed) = (arguments.size.as_u64(), arguments.seed);
    let mut ground = match &arguments.programs {
        Some(programs) => Ground::prepare_with(programs, size, seed)?,
        None => Ground::prepare(size, seed)?,
    };
    ground.attackers.clone_from(&arguments.attackers);
    let result = run_all(&ground, &chosen, arguments);
    ground.clear(result.is_err() || arguments.keep)?;
    result
}

fn run_all(ground: &Ground, chosen: &[&Case], arguments: &Arguments) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    for case in chosen {
        let mut report = Report::new(case.name, case.fault);
        if let Err(error) = (case.run)(ground, &mut report) {
            if error.is::<Interrupted>() {
                return Err(error);
            }
            report.broke(&error);
        }
        check_interrupted()?;
        eprintln!("{report}");
        let folder = ground.folder.join(case.name);
        if report.passed() && !arguments.keep && folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        reports.push(report);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        println!();
        reports.iter().for_each(|report| println!("{report}"));
    }
    let failed: Vec<_> = reports.iter().filter(|report| !report.passed()).map(|report| &*report.case).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} of {} cases failed: {}", failed.len(), reports.len(), failed.join(", "))
}

/// Time in which a write that was under way is over.
const WRITTEN: Duration = Duration::from_secs(1);

/// Whether everything that a download has written so far is right, block by block: what was not written yet is empty.
/// Gives the number of blocks that are neither. A block that is written at this moment may be read half old and half new
/// (on ext4 and others), so what looks wrong is looked at again.
fn wrong_blocks(part: &Path, whole: &Path) -> anyhow::Result<u64> {
    let (part, whole) = (std::fs::File::open(part)?, std::fs::File::open(whole)?);
    match wrong_now(&part, &whole)? {
        0 => Ok(0),
        _ => {
            std::thread::sleep(WRITTEN);
            // Others may be half written now; what is wrong for good is wrong each time.
            Ok((0..3).map(|_| wrong_now(&part, &whole)).collect::<Result<Vec<_>, _>>()?.into_iter().min().unwrap_or(0))
        }
    }
}

fn wrong_now(part: &std::fs::File, whole: &std::fs::File) -> anyhow::Result<u64> {
    use std::io::{Read, Seek};
    const BLOCK: usize = 4096;
    let mut files = [part, whole].map(std::io::BufReader::new);
    files.iter_mut().try_for_each(|file| file.rewind())?;
    let (mut seen, mut right, mut wrong) = ([0; BLOCK], [0; BLOCK], 0);
    loop {
        let mut fill = |at: usize, block: &mut [u8]| -> anyhow::Result<usize> {
            let mut len = 0;
            while len < block.len() {
                match files[at].read(&mut block[len..])? {
                    0 => break,
                    count => len += count,
                }
            }
            Ok(len)
        };
        let (len, expected) = (fill(0, &mut seen)?, fill(1, &mut right)?);
        if len == 0 && expected == 0 {
            return Ok(wrong);
        }
        let empty = seen[..len].iter().all(|&byte| byte == 0);
        wrong += u64::from(len != expected || !(empty || seen[..len] == right[..expected]));
    }
}
