//! What `peer-cli doctor` says of each place, with a tracker that has one address and with one that has two.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use testbed::event::{Check, Kind, Ticket};
use testbed::program::Program;
use testbed::programs::Programs;
use tool::interrupt::check_interrupted;

use crate::lab::{Lab, Side, TRACKER};
use crate::places::{ALL, Place};

/// What starts, or looks at something, says so within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a finding has to say: its name, how it is, and words of it.
type Expected = (&'static str, &'static str, &'static str);

/// What is to be found.
fn expected(place: Place, two_addresses: bool, relay: bool) -> Vec<Expected> {
    let mut all: Vec<Expected> = match place {
        Place::Public | Place::Dual => vec![
            ("router", "good", "no router"),
            ("inbound", "good", if two_addresses { "endpoint-independent filtering" } else { "are open" }),
            ("way", "good", "directly with everyone"),
        ],
        Place::Home | Place::Masq | Place::Six => vec![
            ("router", "good", "endpoint-independent mapping"),
            ("inbound", "good", "address- and port-dependent filtering"),
            ("way", "good", "both sides dial at once"),
        ],
        Place::Wall => vec![
            ("router", "good", "no router"),
            ("inbound", "good", "address- and port-dependent filtering"),
            ("way", "good", "both sides dial at once"),
        ],
        Place::Sym | Place::Lite => vec![
            ("router", "poor", "address- and port-dependent mapping"),
            ("inbound", "good", "address- and port-dependent filtering"),
            ("way", if relay { "good" } else { "poor" }, "where the other side's port is open"),
        ],
        Place::NoUdp | Place::Only443 => vec![
            ("udp", "poor", "QUIC does not get through, TCP does"),
            ("router", "skipped", "behind a router"),
            ("inbound", "poor", "nobody in over TCP"),
            ("way", if relay { "good" } else { "poor" }, "TCP, directly where"),
        ],
    };
    all.push(match relay {
        true => ("relay", "good", "relays connections"),
        false => ("relay", "skipped", "is no relay"),
    });
    all
}

/// How a sharer is reached from elsewhere: its place, that of the machine that asks, how the finding is, and words of it.
const PEERS: [(Place, Place, &str, &str); 4] = [
    (Place::Public, Place::Home, "good", "answers over UDP and TCP"),
    (Place::Home, Place::Masq, "good", "is reached directly over QUIC"),
    (Place::Home, Place::Sym, "poor", "through the tracker's relay"),
    (Place::NoUdp, Place::Home, "poor", "through the tracker's relay"),
];

/// Asks at each place. Fails if something else is found than there is.
pub fn run(programs: &Programs, folder: &Path) -> anyhow::Result<()> {
    let mut wrong = 0;
    for two_addresses in [false, true] {
        for place in ALL.into_iter().chain([Place::Wall]) {
            check_interrupted()?;
            let relay = two_addresses;
            let said = look(programs, folder, place, Asked { sharer: None, relay, two_addresses })?;
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
    for (sharer, getter, status, words) in PEERS {
        check_interrupted()?;
        let said = look(programs, folder, getter, Asked { sharer: Some(sharer), relay: true, two_addresses: false })?;
        let peer = said.iter().find(|check| check.check == "peer");
        println!("{sharer} as {getter} sees it:");
        println!(
            "  {}",
            peer.map_or("nothing".to_owned(), |peer| format!("{:8} peer      {}", peer.status, peer.found))
        );
        if !peer.is_some_and(|peer| peer.status == status && peer.found.contains(words)) {
            wrong += 1;
            println!("  WRONG: no peer that is {status} and says {words:?}");
        }
    }
    ensure!(wrong == 0, "doctor is wrong in {wrong} things");
    Ok(())
}

/// What is looked at.
struct Asked {
    /// Where somebody shares a file whose ticket is tried; if nowhere, only the tracker is.
    sharer: Option<Place>,
    relay: bool,
    two_addresses: bool,
}

fn look(programs: &Programs, folder: &Path, place: Place, asked: Asked) -> anyhow::Result<Vec<Check>> {
    let Asked { sharer, relay, two_addresses } = asked;
    let folder = folder.join(format!("doctor-{place}-{two_addresses}-{}", sharer.is_some()));
    let own = |name: &str| {
        let own = folder.join(name);
        std::fs::create_dir_all(&own).map(|()| own)
    };
    let (at_tracker, at_sharer, at_home) = (own("tracker")?, own("sharer")?, own("home")?);
    let lab = Lab::build(sharer.unwrap_or(Place::Public), place)?;
    if two_addresses {
        lab.give_tracker_another_address()?;
    }
    let mut command = lab.tracker(&programs.tracker);
    command.args(["--bind", "0.0.0.0"]).args(relay.then_some("--relay"));
    let mut tracker = Program::start("the tracker", command, &at_tracker)?;
    let id = tracker.find("its id", PATIENCE, |line| line.strip_prefix("Tracker id: ").map(str::to_owned))?;
    let mut command = lab.command(Side::Getter, &programs.peer);
    command.args(["doctor", "--json", "--output", "."]);
    let mut share = None;
    if sharer.is_some() {
        std::fs::write(at_sharer.join("file"), [7; 10_000])?;
        let mut sharing = lab.command(Side::Sharer, &programs.peer);
        sharing.args(["share", "-i", TRACKER, "--tracker-id", &id, "--json", "file"]);
        let mut program = Program::start("the sharer", sharing, &at_sharer)?;
        command.arg(program.event::<Ticket>(PATIENCE)?.ticket);
        share = Some(program);
    } else {
        command.args(["-i", TRACKER, "--tracker-id", &id]);
    }
    let last = if share.is_some() { "peer" } else { "way" };
    let mut doctor = Program::start("doctor", command, &at_home)?;
    let mut said = Vec::new();
    let heard = doctor.find_event("what is looked at last", PATIENCE, |event| {
        let check = Check::from_event(event)?;
        let is_last = check.check == last;
        said.push(check);
        is_last.then_some(())
    });
    if heard.is_err() {
        println!("  {}", doctor.complaint("ended"));
    }
    // Its exit status says whether it found something bad.
    let _ = doctor.end(PATIENCE);
    drop((doctor, share, tracker, lab));
    std::fs::remove_dir_all(&folder)?;
    Ok(said)
}
