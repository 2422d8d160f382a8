//! Floods of small messages that cause much work, against a downloader of a file with very many pieces.

use hostile::{Answers, Behaviour, Flood, Hosts, Says};

use super::attack::{Aim, Attack, Setup};
use super::report::Report;
use super::{Case, Ground, MEMORY};

pub const CASES: &[Case] = &[
    Case { name: "messages-interest", fault: "1 MB/s of interest on and off, 262,144 pieces", run: interest },
    Case { name: "messages-coming", fault: "1 MB/s of haves with changing `in_flight`, 262,144 pieces", run: coming },
    Case { name: "messages-join", fault: "1 MB/s of joins and withdraws, 262,144 pieces", run: join },
    Case { name: "messages-offers", fault: "1 MB/s of offers and declines, 262,144 pieces", run: offers },
    Case { name: "messages-skips", fault: "1 MB/s of joins and skips, 262,144 pieces", run: skips },
];

/// The part of its rate that the download keeps.
const KEPT: f64 = 0.7;
/// Bytes a second that the attacker says.
const RATE: u64 = 1_000_000;
/// A file of 256 MiB has 262,144 of them.
const PIECES: &str = "--piece-size=1KiB";

fn interest(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, Flood::Interest)
}

fn coming(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, Flood::Coming)
}

fn join(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, Flood::JoinAndWithdraw)
}

fn offers(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, Flood::Offers)
}

fn skips(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    flooded(ground, report, Flood::Skips)
}

fn flooded(ground: &Ground, report: &mut Report, flood: Flood) -> anyhow::Result<()> {
    let setup = Setup { seeders: 1, seeder: &[PIECES], ..Setup::default() };
    for number in ground.attackers(&[1]) {
        let says = Says::Floods(flood, RATE);
        let behaviour = Behaviour { says, ..Behaviour::seeder(Answers::Busy) };
        let attack = Attack { behaviours: vec![behaviour; number], hosts: Hosts::Own, aim: Aim::Downloader };
        let outcome = ground.attacked(&format!("{}-{number}", report.case), &setup, attack)?;
        let kept = ground.calm(&setup)? / outcome.time();
        report.at_least(&format!("{number}: part of the rate that is kept"), kept, KEPT, "");
        report.at_most("memory", outcome.memory[0], MEMORY, "MiB");
    }
    Ok(())
}
