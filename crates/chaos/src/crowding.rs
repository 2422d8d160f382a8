//! Many connections from one address to a seeder: honest peers must still get in.

use std::net::Ipv4Addr;

use hostile::{Behaviour, Hosts, Says};

use super::attack::{Aim, Attack, Setup};
use super::report::Report;
use super::{Case, Ground, MEMORY};

pub const CASES: &[Case] = &[
    Case { name: "crowd-quiet", fault: "120 and 1,000 connections of one address, without a hello", run: quiet },
    Case { name: "crowd-hello", fault: "the same connections say hello", run: hello },
    Case { name: "crowd-joined", fault: "the same connections join and ask for nothing", run: joined },
    Case { name: "crowd-at-home", fault: "the same as the last, at the honest downloader's address", run: at_home },
];

const NUMBERS: [usize; 2] = [120, 1000];
const SLOWER: f64 = 1.3;
const ELSEWHERE: Hosts = Hosts::One(Ipv4Addr::new(127, 0, 1, 1));

fn quiet(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    crowded(ground, report, Says::Nothing, ELSEWHERE)
}

fn hello(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    crowded(ground, report, Says::Hello, ELSEWHERE)
}

fn joined(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    crowded(ground, report, Says::Wants, ELSEWHERE)
}

fn at_home(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    crowded(ground, report, Says::Wants, Hosts::One(Ipv4Addr::LOCALHOST))
}

fn crowded(ground: &Ground, report: &mut Report, says: Says, hosts: Hosts) -> anyhow::Result<()> {
    let setup = Setup { seeders: 1, ..Setup::default() };
    for number in ground.attackers(&NUMBERS) {
        let attack = Attack { behaviours: vec![Behaviour::idle(says); number], hosts, aim: Aim::Seeder };
        let outcome = ground.attacked(&format!("{}-{number}", report.case), &setup, attack)?;
        report.at_most(&format!("{number}: time"), outcome.time(), SLOWER * ground.calm(&setup)?, "s");
        report.at_most("memory of the seeder", outcome.memory[1], MEMORY, "MiB");
    }
    Ok(())
}
