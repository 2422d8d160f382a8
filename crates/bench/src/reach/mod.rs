//! `cargo xtask bench reach`: what origins and the gateway are to reach, with real programs: nginx as the origin and as what the
//! gateway is compared with, `curl` and `hf download` as clients, and network namespaces with links of given rates.

mod figure;
mod fleet;
mod lab;
mod nginx;
mod ranges;
mod readers;
mod serving;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use bytesize::ByteSize;
use clap::ValueEnum;
use testbed::files::run_folder;
use testbed::programs::{self, Programs};
use tool::interrupt::watch_interrupts;

use figure::Figure;
use fleet::Shape;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is measured; all of it if nothing is named
    #[arg(value_name = "ROW")]
    pub rows: Vec<Row>,
    /// Bytes of the file, if not those of the target
    #[arg(long, value_name = "SIZE")]
    pub size: Option<ByteSize>,
    /// Peers of a fleet, and its gateways
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub peers: u8,
    /// How often a median's samples are taken: 50 ranges and 5 transfers unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: Option<u16>,
    /// Milliseconds of the download before a range of it is asked for
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub after: u64,
    /// Folder with the programs, with all their features; they are built otherwise
    #[arg(long, value_name = "FOLDER")]
    pub programs: Option<PathBuf>,
}

/// Something that origins and gateways are to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// A fleet gets what a seeder reads from a web server
    Seeder,
    /// The same without a seeder: peers read from the web server what none of them has
    Fallback,
    /// Gateways are asked at once for what only a hub has, two of them by `hf download`
    Fleet,
    /// A gateway beside nginx: a file by curl over loopback
    Nginx,
    /// How soon a range comes of what is not here yet
    Range,
    /// Whether a reader at 8 MB/s ever waits
    Reader,
    /// The memory that a gateway takes with 1,000 readers
    Readers,
}

/// Builds, measures, prints; fails if something is not reached.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let programs = match &arguments.programs {
        None => programs::build_for_people("release")?,
        Some(folder) => Programs::of_folder_or_built(Some(folder))?,
    };
    watch_interrupts()?;
    let all = Row::value_variants();
    let rows = if arguments.rows.is_empty() { all } else { &arguments.rows };
    println!("{:58}{:>12}{:>12}", "", "measured", "target");
    let (mut missed, mut uncounted) = (0, 0);
    for row in rows {
        let folder = std::fs::canonicalize(run_folder(&programs.peer)?)?;
        let figures = measure(*row, arguments, &programs, &folder);
        // Logs say why it failed.
        if figures.is_ok() {
            std::fs::remove_dir_all(&folder)?;
        } else {
            eprintln!("Files and logs are in {}", folder.display());
        }
        for figure in figures? {
            missed += usize::from(figure.is_missed());
            uncounted += usize::from(!figure.counts);
            println!("{figure}");
        }
    }
    ensure!(missed == 0, "{missed} of the targets are missed");
    ensure!(uncounted == 0, "{uncounted} figures do not count: the processors were the limit, and not the links");
    Ok(())
}

fn measure(row: Row, arguments: &Arguments, programs: &Programs, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let size = |target: u64| arguments.size.map_or(target, |size| size.as_u64());
    let rounds = |target: u16| arguments.rounds.unwrap_or(target);
    let (large, copy) = (size(1 << 30), size(64 << 20));
    let fleet = |shape| fleet::measure(shape, copy, arguments.peers, programs, folder);
    match row {
        Row::Seeder => fleet(Shape::Seeder),
        Row::Fallback => fleet(Shape::Fallback),
        Row::Fleet => fleet(Shape::Gateways),
        Row::Nginx => serving::measure(large, rounds(5), programs, folder),
        Row::Range => ranges::first_bytes(large, rounds(50), arguments.after, programs, folder),
        Row::Reader => ranges::steady_reader(large, programs, folder),
        Row::Readers => readers::measure(size(256 << 20), programs, folder),
    }
}
