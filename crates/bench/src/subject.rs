//! What is measured: our own swarms in many shapes, baselines, and other programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use testbed::files::random_file;
use testbed::programs::Programs;
use testbed::swarm::{self, Live};
use tool::usage::{Usage, context_switches, datagrams_lost};

use super::floors::Floor;
use super::others::Other;
use super::{Measured, Sample, floors};

/// Something that moves a file.
#[derive(Debug, Clone)]
pub struct Subject {
    /// As the table calls it.
    pub name: String,
    /// The name of its floor.
    pub floor: Option<String>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Receivers.
    pub receivers: u16,
    /// How it is done.
    pub way: Way,
}

/// How a subject moves the file.
#[derive(Debug, Clone)]
pub enum Way {
    /// A swarm of ours, with these flags of `cargo xtask swarm`.
    Swarm(Vec<String>),
    /// A floor.
    Floor(Floor),
    /// Another program, with so many seeders.
    Other(Other, u16),
}

/// The programs that are run.
pub struct Tools {
    /// Ours.
    pub programs: Programs,
    /// The floors.
    pub floors: PathBuf,
}

/// Files of random bytes, made once.
pub struct Files<'a> {
    folder: &'a Path,
    made: BTreeMap<u64, PathBuf>,
}

impl<'a> Files<'a> {
    /// They are made in `folder`.
    pub fn new(folder: &'a Path) -> Self {
        Files { folder, made: BTreeMap::new() }
    }

    /// One of this size.
    pub fn of(&mut self, bytes: u64) -> anyhow::Result<PathBuf> {
        if let Some(path) = self.made.get(&bytes) {
            return Ok(path.clone());
        }
        let folder = self.folder.join(format!("file-{bytes}"));
        std::fs::create_dir_all(&folder)?;
        let path = random_file(&folder, bytes)?;
        self.made.insert(bytes, path.clone());
        Ok(path)
    }
}

/// Ours: the ones that the targets speak of, or every combination.
pub fn ours(all: bool, size: u64) -> Vec<Subject> {
    let mut subjects = Vec::new();
    let mut add = |shape: &str, wire: &str, more: &[&str]| subjects.push(of_ours(shape, wire, more, size));
    if !all {
        for (wire, more) in [
            ("quic", &[][..]),
            ("quic-1452", &[]),
            ("tcp", &[]),
            ("quic", &["--hash=sha256"]),
            ("quic-1452", &["--hash=sha256"]),
            ("quic", &["--listeners=4"]),
            ("quic", &["--piece-size=16KiB"]),
        ] {
            add("1-1", wire, more);
        }
        add("3-2", "quic", &[]);
        add("1-5", "quic", &[]);
        add("10MiB", "quic", &[]);
        add("10MiB", "tcp", &[]);
        return subjects;
    }
    for shape in ["1-1", "3-2", "1-5"] {
        for wire in ["quic", "quic-1452", "tcp"] {
            for piece in ["16KiB", "256KiB", "1MiB"] {
                for hash in ["blake3", "sha256"] {
                    for listeners in ["1", "4"] {
                        let more = [
                            format!("--piece-size={piece}"),
                            format!("--hash={hash}"),
                            format!("--listeners={listeners}"),
                        ];
                        add(shape, wire, &more.each_ref().map(String::as_str));
                    }
                }
            }
        }
    }
    subjects
}

fn of_ours(shape: &str, wire: &str, more: &[&str], size: u64) -> Subject {
    let (seeders, receivers, bytes) = match shape {
        "3-2" => (3, 2, size / 2),
        "1-5" => (1, 5, size / 4),
        "10MiB" => (1, 1, 10 << 20),
        _ => (1, 1, size),
    };
    let mut flags = vec![format!("--seeders={seeders}"), format!("--downloaders={receivers}")];
    let (transport, floor) = match wire {
        "quic-1452" => {
            flags.push("--mtu=1452".to_owned());
            ("quic", floors::QUIC_ETHERNET)
        }
        "tcp" => ("tcp", floors::TLS),
        _ => ("quic", floors::QUIC),
    };
    flags.push(format!("--transport={transport}"));
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    let details = more.iter().filter_map(|flag| flag.rsplit_once('=')).map(|(flag, value)| match flag {
        "--listeners" => format!(" {value} listeners"),
        _ => format!(" {value}"),
    });
    let name = format!("{shape} {wire}{}", details.collect::<String>());
    let floor = (seeders == 1 && receivers == 1 && shape != "10MiB").then(|| floor.to_owned());
    Subject { name, floor, bytes, receivers, way: Way::Swarm(flags) }
}

/// All floors, for a file of so many bytes.
pub fn floors(bytes: u64) -> Vec<Subject> {
    let subject = |(name, floor): (&str, Floor)| Subject {
        name: name.to_owned(),
        floor: None,
        bytes,
        receivers: 1,
        way: Way::Floor(floor),
    };
    floors::ALL.into_iter().map(subject).collect()
}

/// What another program is timed at.
pub fn of_other(other: Other, size: u64) -> Vec<Subject> {
    let subject = |shape: &str, seeders, receivers, bytes| Subject {
        name: format!("{shape} {other}"),
        floor: None,
        bytes,
        receivers,
        way: Way::Other(other, seeders),
    };
    let mut subjects = vec![subject("1-1", 1, 1, size)];
    if matches!(other, Other::Rqbit | Other::Aria2) {
        subjects.push(subject("3-2", 3, 2, size / 2));
    }
    subjects.extend([subject("1-5", 1, 5, size / 4), subject("10MiB", 1, 1, 10 << 20)]);
    subjects
}

impl Subject {
    /// It, without a sample yet.
    pub fn unmeasured(&self) -> Measured {
        let Subject { name, floor, bytes, receivers, .. } = self.clone();
        Measured { name, floor, bytes, receivers, samples: Vec::new() }
    }

    /// Moves the file once, in a folder of its own.
    pub fn measure(&self, tools: &Tools, file: &Path, folder: &Path) -> anyhow::Result<Sample> {
        let (lost, switches) = (datagrams_lost(), context_switches());
        let mut sample = match &self.way {
            Way::Swarm(flags) => run_swarm(flags, tools, file, folder)?,
            Way::Floor(floor) => floor.measure(&tools.floors, file, folder)?,
            Way::Other(other, seeders) => other.measure(file, folder, *seeders, self.receivers)?,
        };
        sample.lost = datagrams_lost() - lost;
        sample.switches = context_switches() - switches;
        Ok(sample)
    }
}

fn run_swarm(flags: &[String], tools: &Tools, file: &Path, folder: &Path) -> anyhow::Result<Sample> {
    let mut arguments = swarm::Arguments::of(flags)?;
    arguments.file = vec![file.to_owned()];
    let mut plan = swarm::plan(&arguments, folder)?;
    plan.warm_up = true;
    let outcome = swarm::conduct(&plan, &tools.programs, folder, &Live::silent())?;
    let side = |downloads: bool| -> Vec<Usage> {
        let peers = outcome.peers.iter().filter(|peer| (peer.downloaded > 0) == downloads);
        peers.filter_map(|peer| peer.usage).collect()
    };
    let (senders, receivers) = (side(false), side(true));
    Ok(Sample {
        seconds: outcome.seconds_verified,
        seconds_durable: Some(outcome.seconds),
        cpu: [&senders, &receivers].map(|side| side.iter().map(|usage| usage.cpu_seconds).sum()),
        memory: [&senders, &receivers].map(|side| Usage::most(side)),
        lost: 0,
        switches: 0,
    })
}
