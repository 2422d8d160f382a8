//! `cargo xtask bench memory`: the peak memory of a peer, without mapped files, in the situations in which unbounded memory would
//! show: many connections, large files, large pieces, many pieces.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use bytesize::ByteSize;
use testbed::files::{random_file, run_folder};
use testbed::programs::{self, Programs};
use testbed::swarm::{self, Live};
use tool::interrupt::watch_interrupts;
use tool::usage::Usage;

/// What a peer may take of its own, whatever it shares and with 50 connections.
const LIMIT: u64 = 64 << 20;
/// Connections that a peer must have room for.
const CONNECTIONS: u16 = 50;

/// What is weighed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only the shapes whose name has this in it; several with several --only
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// How peers are reached: auto, quic or tcp
    #[arg(long, default_value = "quic")]
    pub transport: String,
}

/// The peer that is weighed.
#[derive(Clone, Copy, PartialEq)]
enum Weighed {
    Seeders,
    Downloaders,
    Both,
}

struct ContentShape {
    name: String,
    seeders: u16,
    downloaders: u16,
    bytes: u64,
    /// A file that is one hole.
    sparse: bool,
    piece_size: Option<&'static str>,
    weighed: Weighed,
}

fn shapes() -> Vec<ContentShape> {
    let pair = |name: &str, bytes, sparse, piece_size| ContentShape {
        name: name.to_owned(),
        seeders: 1,
        downloaders: 1,
        bytes,
        sparse,
        piece_size,
        weighed: Weighed::Both,
    };
    vec![
        ContentShape {
            name: format!("1 seeder, {CONNECTIONS} downloaders"),
            downloaders: CONNECTIONS,
            weighed: Weighed::Seeders,
            ..pair("", 256 << 20, false, None)
        },
        ContentShape {
            name: format!("{CONNECTIONS} seeders, 1 downloader"),
            seeders: CONNECTIONS,
            weighed: Weighed::Downloaders,
            ..pair("", 1 << 30, false, None)
        },
        pair("4 GiB", 4 << 30, true, None),
        pair("pieces of 16 MiB", 1 << 30, false, Some("16MiB")),
        pair("a million pieces", 1 << 30, false, Some("1KiB")),
    ]
}

/// Builds, weighs, prints; fails if a peer takes more than it may.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let programs = programs::build_for_figures()?;
    watch_interrupts()?;
    let chosen =
        |shape: &ContentShape| arguments.only.is_empty() || arguments.only.iter().any(|text| shape.name.contains(text));
    let shapes: Vec<_> = shapes().into_iter().filter(chosen).collect();
    ensure!(!shapes.is_empty(), "no shape has such a name");
    println!("{:28}{:>14}{:>14}  (MiB, the most at once)", "", "of its own", "mapped");
    let mut over = 0;
    for shape in &shapes {
        let folder = run_folder(&programs.peer)?;
        let result = weigh(shape, &arguments.transport, &programs, &folder);
        std::fs::remove_dir_all(&folder)?;
        for (side, usage) in result? {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let note = if usage.anonymous > LIMIT { format!("  more than {}", ByteSize(LIMIT)) } else { String::new() };
            over += usize::from(usage.anonymous > LIMIT);
            let name =
                if shape.weighed == Weighed::Both { format!("{}, {side}", shape.name) } else { shape.name.clone() };
            println!("{name:28}{:14.1}{:14.1}{note}", mib(usage.anonymous), mib(usage.mapped));
        }
    }
    ensure!(over == 0, "{over} take more memory than they may");
    Ok(())
}

/// Runs the swarm, and says what the peers took that are weighed.
fn weigh(
    shape: &ContentShape,
    transport: &str,
    programs: &Programs,
    folder: &Path,
) -> anyhow::Result<Vec<(&'static str, Usage)>> {
    let mut flags = vec![
        format!("--seeders={}", shape.seeders),
        format!("--downloaders={}", shape.downloaders),
        format!("--transport={transport}"),
    ];
    flags.extend(shape.piece_size.map(|size| format!("--piece-size={size}")));
    let mut arguments = swarm::Arguments::of(&flags)?;
    arguments.file = vec![if shape.sparse { hole(folder, shape.bytes)? } else { random_file(folder, shape.bytes)? }];
    let outcome = swarm::conduct(&swarm::plan(&arguments, folder)?, programs, folder, &Live::silent())?;
    let side = |downloads: bool| {
        let peers = outcome.peers.iter().filter(|peer| (peer.downloaded > 0) == downloads);
        Usage::most(&peers.filter_map(|peer| peer.usage).collect::<Vec<_>>())
    };
    let mut weighed = Vec::new();
    if shape.weighed != Weighed::Downloaders {
        weighed.push(("seeder", side(false)));
    }
    if shape.weighed != Weighed::Seeders {
        weighed.push(("downloader", side(true)));
    }
    Ok(weighed)
}

fn hole(folder: &Path, bytes: u64) -> anyhow::Result<PathBuf> {
    let path = folder.join("hole.bin");
    File::create(&path)?.set_len(bytes)?;
    Ok(path)
}
