//! Peers that read slowly: a seeder must not wait for them while another peer could take everything that it sends.

use hostile::{Behaviour, Hosts, Takes, Wants};

use super::attack::{Aim, Attack, Setup};
use super::report::Report;
use super::{Case, Ground, MEMORY};

pub const CASES: &[Case] = &[
    Case { name: "takers-honest", fault: "8 honest peers take 60 KiB/s each", run: honest },
    Case { name: "takers-slow", fault: "50 peers read 16 KiB/s each", run: slow },
    Case { name: "takers-hostile", fault: "16 peers ask and read 1 KB/s, or never", run: hostile },
    Case { name: "takers-all", fault: "all of these at once", run: all },
    Case {
        name: "takers-urgent",
        fault: "a peer says that it waits for everything, and takes it at once",
        run: urgent,
    },
    Case {
        name: "takers-manifests",
        fault: "16 peers ask for the manifest on all streams, again and again",
        run: manifests,
    },
];

/// How much longer the fast one may take.
const SLOWER: f64 = 1.1;
const HONEST: usize = 8;
const SLOW: usize = 50;
const HOSTILE: usize = 16;
/// Who takes pieces as fast as others may have its part, and a little more.
const PART: f64 = 3.0;
/// A file of 256 MiB has a manifest of 8 MiB then. Each peer is given that once a minute, as any peer.
const PIECES: &str = "--piece-size=1KiB";
const BESIDE_MANIFESTS: f64 = 2.0;

fn slow_taker() -> Behaviour {
    Behaviour::taker(Takes { wants: Wants::Pieces, questions: 2, rate: 16 << 10, polite: true })
}

fn hostile_taker(number: usize) -> Behaviour {
    let rate = if number.is_multiple_of(2) { 0 } else { 1000 };
    Behaviour::taker(Takes { wants: Wants::Pieces, questions: 64, rate, polite: false })
}

fn honest(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside_takers(ground, report, HONEST, 0, 0)
}

fn slow(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside_takers(ground, report, 0, SLOW, 0)
}

fn hostile(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside_takers(ground, report, 0, 0, HOSTILE)
}

fn all(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside_takers(ground, report, HONEST, SLOW, HOSTILE)
}

fn urgent(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let setup = Setup { seeders: 1, ..Setup::default() };
    beside_greedy(ground, report, &setup, (Wants::Awaited, 1), PART)
}

fn manifests(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let setup = Setup { seeders: 1, seeder: &[PIECES], ..Setup::default() };
    beside_greedy(ground, report, &setup, (Wants::Manifest, HOSTILE), BESIDE_MANIFESTS)
}

/// Beside so many that ask for this on all their streams, and read it as fast as it comes.
fn beside_greedy(
    ground: &Ground,
    report: &mut Report,
    setup: &Setup<'_>,
    (wants, count): (Wants, usize),
    slower: f64,
) -> anyhow::Result<()> {
    let greedy = Behaviour::taker(Takes { wants, questions: 64, rate: 1 << 40, polite: false });
    let attack = Attack { behaviours: vec![greedy; count], hosts: Hosts::Own, aim: Aim::Seeder };
    let outcome = ground.attacked(&report.case.clone(), setup, attack)?;
    report.at_most("time of an honest one", outcome.time(), slower * ground.calm(setup)?, "s");
    report.at_most("memory of the seeder", outcome.memory[1], MEMORY, "MiB");
    Ok(())
}

fn beside_takers(
    ground: &Ground,
    report: &mut Report,
    honest: usize,
    slow: usize,
    hostile: usize,
) -> anyhow::Result<()> {
    let setup = Setup { seeders: 1, ..Setup::default() };
    let behaviours = std::iter::repeat_with(slow_taker).take(slow).chain((0..hostile).map(hostile_taker)).collect();
    let attack = Attack { behaviours, hosts: Hosts::Own, aim: Aim::Seeder };
    let name = report.case.clone();
    let mut served = 0;
    let outcome = ground.attacked_with(
        &name,
        &setup,
        attack,
        |stage| {
            for number in 1..=honest {
                let file = stage.wanted().display().to_string();
                let command = stage.command(&["-f", &file, "--down-rate=60KiB"]);
                stage.start(&format!("slow-{number}"), command)?;
            }
            Ok(())
        },
        |stage, _| served = stage.peers[1..=honest].iter().filter(|peer| peer.have() > 0).count(),
    )?;
    report.at_most("time of the fast one", outcome.time(), SLOWER * ground.calm(&setup)?, "s");
    if honest > 0 {
        report.at_least("honest slow ones that were served", served as f64, honest as f64, "");
    }
    if slow > 0 {
        report.at_least("bytes for the slow", outcome.taken as f64, 1.0, "");
    }
    Ok(())
}
