//! Peers that claim the manifest and never give all of it.

use hostile::{Answers, Behaviour, Hosts};

use super::attack::{Aim, Attack, Setup};
use super::report::Report;
use super::{Case, Ground, MEMORY};

pub const CASES: &[Case] = &[
    Case {
        name: "manifests-endless",
        fault: "20 and 60 peers give 40 MiB of a manifest but the last byte",
        run: endless,
    },
    Case { name: "manifests-trickle", fault: "20 and 60 peers give a manifest at 1 KB/s", run: trickle },
    Case { name: "manifests-crawl", fault: "20 and 60 peers give a manifest at 1 MB/s", run: crawl },
];

const NUMBERS: [usize; 2] = [20, 60];
const SLOWER: f64 = 1.3;

fn endless(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside(ground, report, Answers::AllButOne)
}

fn trickle(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside(ground, report, Answers::Trickle(1000))
}

fn crawl(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside(ground, report, Answers::Trickle(1_000_000))
}

fn beside(ground: &Ground, report: &mut Report, manifest: Answers) -> anyhow::Result<()> {
    let setup = Setup { seeders: 1, ..Setup::default() };
    for number in ground.attackers(&NUMBERS) {
        // They refuse pieces, so that nothing but the manifest holds the downloader up.
        let behaviour = Behaviour { manifest, ..Behaviour::seeder(Answers::Busy) };
        let attack = Attack { behaviours: vec![behaviour; number], hosts: Hosts::Own, aim: Aim::Downloader };
        let outcome = ground.attacked(&format!("{}-{number}", report.case), &setup, attack)?;
        report.at_most(&format!("{number}: time"), outcome.time(), SLOWER * ground.calm(&setup)?, "s");
        report.at_most("memory", outcome.memory[0], MEMORY, "MiB");
    }
    Ok(())
}
