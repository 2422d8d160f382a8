//! What `peer-cli doctor` says of each place, with a tracker that has one address and with one that has two.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use testbed::event::{Check, Kind};
use testbed::interrupt::check_interrupted;
use testbed::program::Program;
use testbed::programs::Programs;

use crate::lab::{Lab, Side, TRACKER};
use crate::places::{ALL, Place};

/// What starts, or looks at something, says so within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a finding has to say: its name, how it is, and words of it.
type Expected = (&'static str, &'static str, &'static str);

/// What is to be found.
fn expected(place: Place, two_addresses: bool, relay: bool) -> Vec<Expected> {
    let mut all: Vec<Expected> = match place {
        Place::Public => vec![
            ("router", "good", "none is in front"),
            ("inbound", "good", if two_addresses { "endpoint-independent filtering" } else { "are open" }),
            ("way", "good", "directly with everyone"),
        ],
        Place::Home | Place::Masq => vec![
            ("router", "good", "endpoint-independent mapping"),
            ("inbound", "good", "address- and port-dependent filtering"),
            ("way", "good", "both sides dial at once"),
        ],
        Place::Sym => vec![
            ("router", "poor", "address- and port-dependent mapping"),
            ("inbound", "good", "address- and port-dependent filtering"),
            ("way", if relay { "good" } else { "poor" }, "where the other side's port is open"),
        ],
        Place::NoUdp => vec![
            ("udp", "poor", "QUIC does not get through, TCP does"),
            ("router", "skipped", "one is in front"),
            ("inbound", "poor", "nobody in over TCP"),
            ("way", if relay { "good" } else { "poor" }, "TCP, directly where"),
        ],
    };
    all.push(match relay {
        true => ("relay", "good", "carries"),
        false => ("relay", "skipped", "carries nothing"),
    });
    all
}

/// Asks at each place. Fails if something else is found than there is.
pub fn run(programs: &Programs, folder: &Path) -> anyhow::Result<()> {
    let mut wrong = 0;
    for two_addresses in [false, true] {
        for place in ALL {
            check_interrupted()?;
            let relay = two_addresses;
            let said = ask(programs, folder, place, two_addresses, relay)?;
            println!("{place}, {} of the tracker:", if two_addresses { "two addresses" } else { "one address" });
            for check in said
                .iter()
                .filter(|check| ["udp", "router", "inbound", "mapping", "relay", "way"].contains(&&*check.check))
            {
                println!("  {:8} {:9} {}", check.status, check.check, check.found);
            }
            for (name, status, words) in expected(place, two_addresses, relay) {
                let fits =
                    |check: &&Check| check.check == name && check.status == status && check.found.contains(words);
                if !said.iter().any(|check| fits(&check)) {
                    wrong += 1;
                    println!("  WRONG: no {name} that is {status} and says {words:?}");
                }
            }
        }
    }
    ensure!(wrong == 0, "doctor is wrong in {wrong} things");
    Ok(())
}

fn ask(
    programs: &Programs,
    folder: &Path,
    place: Place,
    two_addresses: bool,
    relay: bool,
) -> anyhow::Result<Vec<Check>> {
    let folder = folder.join(format!("doctor-{place}-{two_addresses}"));
    let (at_tracker, at_home) = (folder.join("tracker"), folder.join("home"));
    std::fs::create_dir_all(&at_tracker)?;
    std::fs::create_dir_all(&at_home)?;
    let lab = Lab::build(Place::Public, place)?;
    if two_addresses {
        lab.give_tracker_another_address()?;
    }
    let mut command = lab.tracker(&programs.tracker);
    command.args(["--bind", "0.0.0.0"]).args(relay.then_some("--relay"));
    let mut tracker = Program::start("the tracker", command, &at_tracker)?;
    let id = tracker.find("its id", PATIENCE, |line| line.strip_prefix("Tracker id: ").map(str::to_owned))?;
    let mut command = lab.command(Side::Getter, &programs.peer);
    command.args(["doctor", "-i", TRACKER, "--tracker-id", &id, "--json", "--output", "."]);
    let mut doctor = Program::start("doctor", command, &at_home)?;
    let mut said = Vec::new();
    let way = doctor.find_event("what is used", PATIENCE, |event| {
        let check = Check::from_event(event)?;
        let is_last = check.check == "way";
        said.push(check);
        is_last.then_some(())
    });
    if way.is_err() {
        println!("  {:?}", doctor.complaint("ended"));
    }
    let _ = doctor.end(PATIENCE);
    drop((doctor, tracker, lab));
    std::fs::remove_dir_all(&folder)?;
    Ok(said)
}
