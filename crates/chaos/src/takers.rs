//! Peers that take slowly: a seeder must not wait for them while another could take all that it gives.

use hostile::{Behaviour, Hosts, Takes};

use super::attack::{Aim, Attack, Setup};
use super::report::Report;
use super::{Case, Ground};

pub const CASES: &[Case] = &[
    Case { name: "takers-honest", fault: "8 honest peers take 60 KiB/s each", run: honest },
    Case { name: "takers-slow", fault: "50 peers read 16 KiB/s each", run: slow },
    Case { name: "takers-hostile", fault: "16 peers ask and read 1 KB/s, or never", run: hostile },
    Case { name: "takers-all", fault: "all of these at once", run: all },
];

/// How much longer the fast one may take.
const SLOWER: f64 = 1.1;
const HONEST: usize = 8;
const SLOW: usize = 50;
const HOSTILE: usize = 16;

fn slow_taker() -> Behaviour {
    Behaviour::taker(Takes { questions: 2, rate: 16 << 10, polite: true })
}

fn hostile_taker(number: usize) -> Behaviour {
    Behaviour::taker(Takes { questions: 64, rate: if number.is_multiple_of(2) { 0 } else { 1000 }, polite: false })
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
