//! Peers that announce everything, offer it all at once, and then stall the downloader: the more of its budget they hold, the less
//! is left for honest peers.

use std::net::Ipv4Addr;
use std::time::Duration;

use hostile::{Answers, Behaviour, Hosts, Says};

use super::attack::{Aim, Attack, Setup};
use super::report::Report;
use super::{Case, Ground, MEMORY};

pub const CASES: &[Case] = &[
    Case { name: "stall-silent", fault: "1, 20 and 100 peers offer all and never answer", run: silent },
    Case { name: "stall-1B", fault: "the same peers answer at 1 B/s", run: one_byte },
    Case { name: "stall-1KB", fault: "the same peers answer at 1 KB/s", run: one_kilobyte },
    Case { name: "stall-50KB", fault: "the same peers answer at 50 KB/s", run: fifty_kilobytes },
    Case { name: "stall-busy", fault: "the same peers refuse every question as busy", run: busy },
    Case { name: "stall-withdraw", fault: "the same peers offer and withdraw in a loop", run: withdraw },
    Case { name: "stall-fresh-ids", fault: "the same peers have another key every 5 s", run: fresh_ids },
    Case { name: "stall-mix", fault: "peers of all these kinds", run: mix },
    Case {
        name: "stall-at-home",
        fault: "the same mix at the honest seeder's address, and four an address",
        run: at_home,
    },
];

const NUMBERS: [usize; 3] = [1, 20, 100];
/// How much longer a download may take with one honest seeder, and with three.
const BESIDE_ONE: f64 = 1.3;
const BESIDE_THREE: f64 = 1.1;
/// A small file, and the seconds that it may take.
const SMALL: u64 = 16 << 20;
const SMALL_TAKES: f64 = 3.0;
const FRESH: Duration = Duration::from_secs(5);

fn withdrawing() -> Behaviour {
    Behaviour { says: Says::OffersAndWithdraws, ..Behaviour::seeder(Answers::Silent) }
}

fn with_fresh_ids(answers: Answers) -> Behaviour {
    Behaviour { lifetime: Some(FRESH), ..Behaviour::seeder(answers) }
}

/// One after another of every kind.
fn all_kinds(number: usize) -> Behaviour {
    match number % 7 {
        0 => Behaviour::seeder(Answers::Trickle(1)),
        1 => Behaviour::seeder(Answers::Silent),
        2 => with_fresh_ids(Answers::Silent),
        3 => Behaviour::seeder(Answers::Trickle(1000)),
        4 => Behaviour::seeder(Answers::Busy),
        5 => Behaviour::seeder(Answers::Trickle(50_000)),
        _ => withdrawing(),
    }
}

fn silent(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    stall(ground, report, |_| Behaviour::seeder(Answers::Silent), Hosts::Own)
}

fn one_byte(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    stall(ground, report, |_| Behaviour::seeder(Answers::Trickle(1)), Hosts::Own)
}

fn one_kilobyte(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    stall(ground, report, |_| Behaviour::seeder(Answers::Trickle(1000)), Hosts::Own)
}

fn fifty_kilobytes(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    stall(ground, report, |_| Behaviour::seeder(Answers::Trickle(50_000)), Hosts::Own)
}

fn busy(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    stall(ground, report, |_| Behaviour::seeder(Answers::Busy), Hosts::Own)
}

fn withdraw(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    stall(ground, report, |_| withdrawing(), Hosts::Own)
}

fn fresh_ids(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    stall(ground, report, |_| with_fresh_ids(Answers::Silent), Hosts::Own)
}

fn mix(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    stall(ground, report, all_kinds, Hosts::Own)
}

fn at_home(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    stall(ground, report, all_kinds, Hosts::One(Ipv4Addr::LOCALHOST))?;
    let most = ground.attackers(&NUMBERS).into_iter().max().unwrap_or(0);
    let one = Setup { seeders: 1, ..Setup::default() };
    beside(ground, report, &one, most, all_kinds, Hosts::Fours, BESIDE_ONE)
}

/// Beside one honest seeder with each number of attackers, beside three with most of them, and for a small file.
fn stall(ground: &Ground, report: &mut Report, behaviour: fn(usize) -> Behaviour, hosts: Hosts) -> anyhow::Result<()> {
    let numbers = ground.attackers(&NUMBERS);
    let one = Setup { seeders: 1, ..Setup::default() };
    for &number in &numbers {
        beside(ground, report, &one, number, behaviour, hosts, BESIDE_ONE)?;
    }
    let most = numbers.into_iter().max().unwrap_or(0);
    let three = Setup { seeders: 3, ..Setup::default() };
    beside(ground, report, &three, most, behaviour, hosts, BESIDE_THREE)?;
    let small = ground.smaller(SMALL)?;
    let name = format!("{}-small", report.case);
    let outcome = small.attacked(&name, &one, attack(most, behaviour, hosts))?;
    report.at_most(&format!("{} MiB beside {most}", small.size >> 20), outcome.time(), SMALL_TAKES, "s");
    Ok(())
}

fn attack(number: usize, behaviour: fn(usize) -> Behaviour, hosts: Hosts) -> Attack {
    Attack { behaviours: (0..number).map(behaviour).collect(), hosts, aim: Aim::Downloader }
}

fn beside(
    ground: &Ground,
    report: &mut Report,
    setup: &Setup<'_>,
    number: usize,
    behaviour: fn(usize) -> Behaviour,
    hosts: Hosts,
    limit: f64,
) -> anyhow::Result<()> {
    let seeders = setup.seeders;
    let name = format!("{}-{number}-{seeders}", report.case);
    let outcome = ground.attacked(&name, setup, attack(number, behaviour, hosts))?;
    let what = format!("{number} beside {seeders}: time");
    report.at_most(&what, outcome.time(), limit * ground.calm(setup)?, "s");
    report.at_most("memory", outcome.memory[0], MEMORY, "MiB");
    Ok(())
}
