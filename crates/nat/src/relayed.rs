//! How much memory a tracker takes that relays many connections at once.
//!
//! Behind each of two symmetric routers are machines in plenty: sharers of one content behind the one, and receivers behind the other,
//! each of which takes from all sharers through the relay. They take more slowly than they are sent, so that all connections stand
//! for as long as it takes to look, and the relay holds what nobody reads yet.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytesize::ByteSize;
use testbed::event::Ticket;
use testbed::files::random_file;
use testbed::program::Program;
use testbed::programs::Programs;
use tool::interrupt::check_interrupted;
use tool::usage::{memory, most_memory_of};

use crate::lab::{Lab, Side, TRACKER};
use crate::places::Place;

/// Each receiver is connected to each sharer.
const SHARERS: usize = 14;
const RECEIVERS: usize = 15;
/// So many connections have to stand at once, and the tracker may take so much memory then.
const CONNECTIONS: usize = 200;
const MOST: u64 = 64 << 20;
/// All receivers ask from one address, which may have half of all connections.
const ALLOWED: &str = "--relay-connections=500";
/// It takes minutes to come at this rate.
const SIZE: u64 = 32 << 20;
const RATE: &str = "--down-rate=128KiB";
/// What starts says so within this time, and all connections stand within it.
const START: Duration = Duration::from_secs(60);
const ALL_STAND: Duration = Duration::from_secs(240);
/// So long they are looked at.
const LOOKS: u32 = 15;
const LOOK: Duration = Duration::from_secs(1);

pub fn run(programs: &Programs, folder: &Path) -> anyhow::Result<()> {
    let file = random_file(folder, SIZE)?;
    let lab = Lab::build(Place::Sym, Place::Sym)?;
    let own = |name: &str| {
        let own = folder.join(name);
        std::fs::create_dir_all(&own).map(|()| own)
    };
    let mut command = lab.tracker(&programs.tracker);
    command.args(["--bind", "0.0.0.0", "--relay", ALLOWED, "--commands"]);
    let mut tracker = Program::start("the tracker", command, &own("tracker")?)?;
    let id = tracker.find("its id", START, |line| line.strip_prefix("Tracker id: ").map(str::to_owned))?;

    let (mut sharers, mut tickets) = (Vec::new(), Vec::new());
    for number in 0..SHARERS {
        let mut command = lab.command(Side::Sharer, &programs.peer);
        command.args(["share", "-i", TRACKER, "--tracker-id", &id, "--open", "--json"]).arg(&file);
        let name = format!("sharer {number}");
        let mut sharer = Program::start(&name, command, &own(&name)?)?;
        tickets.push(sharer.event::<Ticket>(START)?.ticket);
        sharers.push(sharer);
        check_interrupted()?;
    }
    let ticket = tickets.first().context("there are sharers")?;
    let mut receivers = Vec::new();
    for number in 0..RECEIVERS {
        let mut command = lab.command(Side::Getter, &programs.peer);
        command.args(["get", ticket, "--json", "-o", ".", RATE]);
        let name = format!("receiver {number}");
        receivers.push(Program::start(&name, command, &own(&name)?)?);
    }

    let until = Instant::now() + ALL_STAND;
    let mut stand = 0;
    while stand < CONNECTIONS {
        check_interrupted()?;
        ensure!(Instant::now() < until, "only {stand} relayed connections stand, of {}", SHARERS * RECEIVERS);
        std::thread::sleep(LOOK);
        stand = relayed(&mut tracker)?;
    }
    let process = tracker.process.number();
    let (mut fewest, mut anonymous) = (stand, 0);
    for _ in 0..LOOKS {
        check_interrupted()?;
        std::thread::sleep(LOOK);
        fewest = fewest.min(relayed(&mut tracker)?);
        anonymous = memory(process).map_or(0, |[own, _]| own).max(anonymous);
    }
    let most = most_memory_of(process).context("the tracker has gone")?;
    let words = |bytes: u64| ByteSize(bytes).display().iec();
    println!(
        "{fewest} relayed connections stood for {} s: the tracker took {} of memory at most ({} of its own)",
        LOOKS * LOOK.as_secs() as u32,
        words(most),
        words(anonymous)
    );
    drop((receivers, sharers, tracker, lab));
    ensure!(fewest >= CONNECTIONS, "fewer than {CONNECTIONS} relayed connections stood");
    ensure!(most <= MOST, "the tracker may take {} at most", words(MOST));
    Ok(())
}

/// How many connections the tracker carries, as it says.
fn relayed(tracker: &mut Program) -> anyhow::Result<usize> {
    tracker.process.type_line("status");
    tracker.find("how many connections it carries", START, |line| {
        let (before, _) = line.split_once(" relayed connection")?;
        before.rsplit(' ').next()?.parse().ok()
    })
}
