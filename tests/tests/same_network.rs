//! Machines in one network find each other without an address and without a tracker; others there learn nothing of contents.
#![cfg(target_os = "linux")]

use std::net::Ipv4Addr;
use std::process::Command;

use protocol::Ticket;
use testbed::event::{self, Kind, Listed, Ready, TrackerLost};
use tests::machines::{Machines, another_code, ticket};
use tests::namespaces::Network;
use tests::{Process, Swarm, noise};

const A: &str = "10.9.9.1";
const B: &str = "10.9.9.2";
const C: &str = "10.9.9.3";

fn network() -> Option<Network> {
    Network::new(&[("a", A), ("b", B), ("c", C)])
}

/// A tracker on a machine, and its id.
fn tracker(network: &Network, machines: &Machines, machine: &str) -> (Process, String) {
    let mut inner = tests::tracker();
    inner.current_dir(machines.folder(machine));
    let mut tracker = Process::start("tracker", network.on(machine, &inner));
    let id = tracker.wait_for("its id", |line| {
        let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        line.split_whitespace().find(is_id).map(str::to_owned)
    });
    (tracker, id)
}

#[test]
fn an_open_share_is_listed_and_got_by_name_without_an_address() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    let bytes = noise(200_000, 1);
    machines.put("a", "a file.bin", &bytes);
    let mut sharer = network.start_for_user(&machines, "a", &["share", "--open", "--json", "a file.bin"]);
    let id = sharer.event::<Ready>().tracker;
    ticket(&mut sharer);
    let listed = network.start_for_user(&machines, "b", &["ls", "--json"]).event::<Listed>();
    assert_eq!((listed.name.as_str(), listed.size), ("a file.bin", 200_000));
    let mut table = network.start_for_user(&machines, "b", &["ls"]);
    assert!(table.line("a file.bin").ends_with(A));
    // Who shares it is not known here, and nobody can be asked.
    let mut stranger = network.start_for_user(&machines, "b", &["get", "a file.bin"]);
    stranger.ends_with(2);
    let said = stranger.errors();
    assert!(said.contains(&format!("by {A}")) && said.contains(&format!("--tracker-id {id}")), "{said}");
    network.start_for_user(&machines, "b", &["get", "a file.bin", "--tracker-id", &id]).ends_with(0);
    assert!(machines.read("b", "a file.bin") == bytes);
    // By its id, nobody needs to be trusted.
    network.start_for_user(&machines, "c", &["get", &listed.content]).ends_with(0);
    assert!(machines.read("c", "a file.bin") == bytes);
    network.start_for_user(&machines, "c", &["get", "another.bin"]).ends_with(4);
}

#[test]
fn a_code_works_without_an_address() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    let bytes = noise(200_000, 1);
    machines.put("a", "a file.bin", &bytes);
    let mut sharer = network.start_for_user(&machines, "a", &["share", "--json", "a file.bin"]);
    let command = sharer.event::<event::Code>().command;
    let code = command.split_whitespace().last().unwrap();
    network.start_for_user(&machines, "c", &["get", &another_code(code)]).ends_with(10);
    network.start_for_user(&machines, "b", &["get", code]).ends_with(0);
    assert!(machines.read("b", "a file.bin") == bytes);
    // Whom it does not reach on the network, it does not reach at all.
    network.start_for_user(&machines, "c", &["get", code, "--no-lan"]).ends_with(2);
}

/// The tracker of the settings knows nothing of it, or is not there.
#[test]
fn a_code_of_a_sharer_nearby_works_where_another_tracker_is_set() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    let bytes = noise(200_000, 1);
    machines.put("a", "a file.bin", &bytes);
    let mut sharer = network.start_for_user(&machines, "a", &["share", "--json", "a file.bin"]);
    let mut next_code = || {
        let command = sharer.event::<event::Code>().command;
        command.split_whitespace().last().unwrap().to_owned()
    };
    let (mut tracker, id) = tracker(&network, &machines, "c");
    let code = next_code();
    let mut wrong = network.start_for_user(&machines, "b", &["get", "-i", C, &another_code(&code)]);
    wrong.ends_with(10);
    assert!(wrong.errors().contains("That code is wrong, or it has been used."), "{}", wrong.errors());
    network.start_for_user(&machines, "b", &["get", "-i", C, &code, "-o", "known"]).ends_with(0);
    tracker.kill();
    // Who it is is found out by asking there, or is said.
    for (folder, flags) in [("silent", &["-i", C][..]), ("named", &["-i", C, "--tracker-id", &id])] {
        let code = next_code();
        let arguments = [&["get", &code, "-o", folder], flags].concat();
        network.start_for_user(&machines, "b", &arguments).ends_with(0);
    }
    for folder in ["known", "silent", "named"] {
        assert!(machines.read("b", &format!("{folder}/a file.bin")) == bytes);
    }
}

#[test]
fn several_shares_of_one_user_are_all_found() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    let share = |name: &str, number| {
        machines.put("a", name, &noise(1000, number));
        let mut open = network.start_for_user(&machines, "a", &["share", "--open", "--json", name]);
        let id = open.event::<Ready>().tracker;
        let mut private = network.start_for_user(&machines, "a", &["share", "--json", name]);
        let command = private.event::<event::Code>().command;
        (id, command.split_whitespace().last().unwrap().to_owned(), [open, private])
    };
    let (one, other) = (share("one", 1), share("other", 2));
    assert_eq!(one.0, other.0, "they have one key");
    let mut ls = network.start_for_user(&machines, "b", &["ls", "--json"]);
    let mut names = [ls.event::<Listed>().name, ls.event::<Listed>().name];
    names.sort();
    assert_eq!(names, ["one", "other"]);
    network.start_for_user(&machines, "b", &["get", "other", "--tracker-id", &one.0]).ends_with(0);
    assert!(machines.read("b", "other") == noise(1000, 2));
    for (code, name, number) in [(&one.1, "one", 1), (&other.1, "other", 2)] {
        network.start_for_user(&machines, "c", &["get", code]).ends_with(0);
        assert!(machines.read("c", name) == noise(1000, number));
    }
}

#[test]
fn a_machine_without_a_network_is_told_so() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    machines.put("a", "file", &noise(1000, 1));
    let mut sharer = network.start_for_user(&machines, "a", &["share", "--open", "--json", "file"]);
    let id = sharer.event::<Ready>().tracker;
    let ticket = ticket(&mut sharer);
    let named = ["get", "file", "-i", A, "--tracker-id", &id];
    for change in ["link set eth0 down", "addr flush dev eth0"] {
        network.ip("b", change);
        for asked in [&["get", &*ticket][..], &named, &["get", "file"], &["get", "7-aardvark-zucchini"], &["ls"]] {
            let mut peer = network.start_for_user(&machines, "b", asked);
            peer.ends_with(3);
            assert!(peer.errors().contains("no address in any network"), "{change}: {asked:?}: {}", peer.errors());
        }
    }
    network.start_for_user(&machines, "b", &["doctor", "--json"]).find_event("its network", |event| {
        event::Check::from_event(event).filter(|check| check.check == "network" && check.status == "poor").map(drop)
    });
}

#[test]
fn two_contents_of_one_name_are_ambiguous() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    let mut ids = Vec::new();
    let mut sharers = Vec::new();
    for (number, machine) in [(1, "a"), (2, "c")] {
        machines.put(machine, "file", &noise(1000, number));
        let mut sharer = network.start_for_user(&machines, machine, &["share", "--open", "--json", "file"]);
        ids.push(sharer.event::<Ready>().tracker);
        ticket(&mut sharer);
        sharers.push(sharer);
    }
    let mut getter = network.start_for_user(&machines, "b", &["get", "file"]);
    getter.ends_with(2);
    let said = getter.errors();
    assert!(said.contains("2 contents on this network") && ids.iter().all(|id| said.contains(id)), "{said}");
    network.start_for_user(&machines, "b", &["get", "file", "--tracker-id", &ids[1]]).ends_with(0);
    assert!(machines.read("b", "file") == noise(1000, 2));
}

#[test]
fn a_ticket_works_without_its_tracker_where_a_holder_is_near() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    let bytes = noise(300_000, 1);
    machines.put("a", "file", &bytes);
    let (mut tracker, id) = tracker(&network, &machines, "c");
    let arguments = ["share", "--json", "-i", C, "--tracker-id", &id, "file"];
    let mut sharer = network.start_for_user(&machines, "a", &arguments);
    let ticket = ticket(&mut sharer);
    tracker.kill();
    network.start_for_user(&machines, "b", &["get", &ticket]).ends_with(0);
    assert!(machines.read("b", "file") == bytes);
    // Without the local network nobody is found.
    network.start_for_user(&machines, "b", &["get", &ticket, "-o", "other", "--no-lan"]).ends_with(3);
}

#[test]
fn the_sharer_of_a_ticket_is_found_at_another_address() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    machines.put("a", "file", &noise(10_000, 1));
    let mut sharer = network.start_for_user(&machines, "a", &["share", "--json", "file"]);
    let before = ticket(&mut sharer);
    network.ip("a", "addr del 10.9.9.1/24 dev eth0");
    network.ip("a", "addr add 10.9.9.77/24 dev eth0");
    // It has noticed.
    ticket(&mut sharer);
    network.start_for_user(&machines, "b", &["get", &before, "--wait=20s"]).ends_with(0);
    assert!(machines.read("b", "file") == noise(10_000, 1));
}

#[test]
fn a_link_of_ipv6_without_addresses_is_enough() {
    let Some(network) = Network::new(&[("a", ""), ("b", "")]) else { return };
    let machines = Machines::new();
    machines.put("a", "file", &noise(10_000, 1));
    // Nobody sends from an address before it is known to be free.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let mut sharer = network.start_for_user(&machines, "a", &["share", "--open", "--json", "file"]);
    let id = sharer.event::<Ready>().tracker;
    ticket(&mut sharer);
    network.start_for_user(&machines, "b", &["get", "file", "--tracker-id", &id]).ends_with(0);
    assert!(machines.read("b", "file") == noise(10_000, 1));
}

/// The tracker and the only source go while it downloads; another source comes, whom no tracker introduces.
#[test]
fn a_download_whose_tracker_and_source_die_goes_on_with_who_comes() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    let bytes = noise(4 << 20, 1);
    machines.put("a", "file", &bytes);
    machines.put("c", "file", &bytes);
    let (mut tracker, id) = tracker(&network, &machines, "c");
    let slow = ["share", "--open", "--json", "--up-rate=500KiB", "-i", C, "--tracker-id", &id, "file"];
    let mut source = network.start_for_user(&machines, "a", &slow);
    let ticket = ticket(&mut source);
    let mut getter = network.start_for_user(&machines, "b", &["get", &ticket, "--json"]);
    getter.pieces(1);
    tracker.kill();
    source.kill();
    getter.event::<TrackerLost>();
    let _other = network.start_for_user(&machines, "c", &["share", "--open", "--json", "file"]);
    getter.ends_with(0);
    assert!(machines.read("b", "file") == bytes);
}

#[test]
fn of_a_private_share_nothing_is_readable_in_the_network() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    machines.put("a", "Zeugnis.pdf", &noise(100_000, 1));
    let listener = network.listen("c", Ipv4Addr::new(10, 9, 9, 3));
    let mut sharer = network.start_for_user(&machines, "a", &["share", "--json", "Zeugnis.pdf"]);
    let ready = sharer.event::<Ready>();
    let shared = sharer.event::<testbed::event::Sharing>();
    let ticket = ticket(&mut sharer);
    network.start_for_user(&machines, "b", &["ls"]).line("Nobody on this network");
    let mut getter = network.start_for_user(&machines, "b", &["get", &ticket, "--json"]);
    let receiver = getter.event::<Ready>();
    getter.ends_with(0);
    let heard = [listener.from(A), listener.from(B)].concat();
    assert!(!listener.from(A).is_empty() && !listener.from(B).is_empty(), "{}", heard.len());
    let secret = ticket.parse::<Ticket>().unwrap().secret().unwrap().share_key();
    let host = Command::new("hostname").output().map(|output| output.stdout).unwrap_or_default();
    let user = std::env::var("USER").unwrap_or_default();
    let mut secrets: Vec<Vec<u8>> = ["Zeugnis", "pdf", &user].iter().map(|text| text.as_bytes().to_vec()).collect();
    secrets.push(host.trim_ascii().to_vec());
    secrets.push(100_000u32.to_be_bytes().to_vec());
    secrets.push(100_000u32.to_le_bytes().to_vec());
    secrets.push(secret.swarm().0.0[8..].to_vec());
    secrets.push(secret.lan_key().bytes().to_vec());
    for id in [&ready.id, &ready.tracker, &shared.content, &receiver.id] {
        secrets.push(id.as_bytes()[..8].to_vec());
        secrets.push(u32::from_str_radix(&id[..8], 16).unwrap().to_be_bytes().to_vec());
    }
    for secret in secrets.iter().filter(|secret| secret.len() >= 3) {
        let says = heard.iter().filter(|packet| packet.windows(secret.len()).any(|window| window == secret)).count();
        assert_eq!(says, 0, "{:?} is readable", String::from_utf8_lossy(secret));
    }
    // And nothing but the label of a process is twice the same.
    for (number, packet) in heard.iter().enumerate() {
        for other in &heard[..number] {
            assert!(!packet[14..].windows(6).any(|window| {
                window.iter().any(|byte| *byte != 0) && other[14..].windows(6).any(|other| other == window)
            }));
        }
    }
}

#[test]
fn with_no_lan_in_closed_swarms_and_as_the_original_nothing_is_sent() {
    let Some(network) = network() else { return };
    let machines = Machines::new();
    let swarm = Swarm::closed();
    let copied = Command::new("cp").arg("-r").arg(swarm.certs()).arg(machines.folder("a").join("closed")).status();
    assert!(copied.is_ok_and(|status| status.success()));
    machines.put("a", "file", &noise(1000, 1));
    machines.put("a", "input/file", &noise(1000, 1));
    let listener = network.listen("c", Ipv4Addr::new(10, 9, 9, 3));
    let (_tracker, id) = tracker(&network, &machines, "c");
    let original = ["-i", C, "--tracker-id", &id, "-S", "--json"];
    for silent in [
        &["share", "--no-lan", "--json", "file"][..],
        &["share", "--certs=closed", "--ca=closed/ca.pem", "--json", "file"],
        &original,
    ] {
        let mut sharer = network.start_for_user(&machines, "a", silent);
        sharer.event::<testbed::event::Sharing>();
        // The question is heard, and nobody answers.
        network.start_for_user(&machines, "b", &["ls"]).line("Nobody on this network");
        assert_eq!(listener.from(A), Vec::<Vec<u8>>::new(), "{silent:?}");
    }
    assert!(!listener.from(B).is_empty());
    let mut sharer = network.start_for_user(
        &machines,
        "a",
        &["share", "--certs=closed", "--ca=closed/ca.pem", "--lan", "--json", "file"],
    );
    ticket(&mut sharer);
    network.start_for_user(&machines, "b", &["ls"]).line("Nobody on this network");
    assert!(!listener.from(A).is_empty(), "it was asked to");
}
