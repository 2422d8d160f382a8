//! Strangers that name the downloader's site: what they claim to have must not keep it from an honest seeder elsewhere.

use hostile::{Answers, Behaviour, Hosts};

use super::attack::{Aim, Attack, Setup};
use super::report::Report;
use super::{Case, Ground};

pub const CASES: &[Case] = &[
    Case { name: "site-busy", fault: "1 and 20 strangers at the downloader's site answer busy", run: busy },
    Case { name: "site-silent", fault: "the same strangers never answer", run: silent },
    Case { name: "site-trickle", fault: "the same strangers answer at 1 KB/s", run: trickle },
];

const NUMBERS: [usize; 2] = [1, 20];
const SLOWER: f64 = 1.3;
const SITE: &str = "here";

fn busy(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside(ground, report, Answers::Busy)
}

fn silent(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside(ground, report, Answers::Silent)
}

fn trickle(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    beside(ground, report, Answers::Trickle(1000))
}

fn beside(ground: &Ground, report: &mut Report, answers: Answers) -> anyhow::Result<()> {
    let setup = Setup { seeders: 1, seeder: &["--site=there"], downloader: &["--site=here"] };
    for number in ground.attackers(&NUMBERS) {
        let behaviour = Behaviour { site: SITE, ..Behaviour::seeder(answers) };
        let attack = Attack { behaviours: vec![behaviour; number], hosts: Hosts::Own, aim: Aim::Downloader };
        let outcome = ground.attacked(&format!("{}-{number}", report.case), &setup, attack)?;
        report.at_most(&format!("{number}: time"), outcome.time(), SLOWER * ground.calm(&setup)?, "s");
    }
    Ok(())
}
