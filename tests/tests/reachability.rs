//! Peers that cannot be reached: what is said, and for how long they are waited for.

use std::net::{TcpListener, UdpSocket};
#[cfg(target_os = "linux")]
use std::time::Duration;

#[cfg(target_os = "linux")]
use testbed::event::Ready;
use testbed::event::{Check, Kind, TrackerLost, TrackerUnfit, Waiting};
use tests::machines::{Machines, ticket};
use tests::{Process, Swarm, noise, peer_cli};

/// A port that is open and silent: what a firewall makes of one that drops what comes.
struct Silent {
    _udp: UdpSocket,
    _tcp: TcpListener,
    address: String,
}

fn silent() -> Silent {
    for _ in 0..16 {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(address) {
            return Silent { _udp: udp, _tcp: tcp, address: address.to_string() };
        }
    }
    panic!("no port is free for both");
}

/// Shares a file that everyone hears of, at a port that does not answer; the tracker, which does, has a port of its own. Getters are
/// behind one, too, where they announce it: or else the sharer reaches them.
fn behind_a_firewall(machines: &Machines, silent: &Silent) -> (Process, String) {
    machines.put("here", "file", &noise(100_000, 1));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = format!("-p={free}");
    let mut sharer = machines.share("here", &["-d=0", &own, "--announce", &silent.address, "file"]);
    let ticket = ticket(&mut sharer);
    (sharer, ticket)
}

#[test]
fn get_says_which_address_does_not_answer_and_ends_after_the_wait() {
    let (machines, silent) = (Machines::new(), silent());
    let (_sharer, ticket) = behind_a_firewall(&machines, &silent);
    let mut getter = machines.get("there", &["--json", &ticket, "--wait=4s", "--announce", &silent.address]);
    // At first it has not answered yet, and then it is known what was tried.
    let waiting = getter.event::<Waiting>();
    assert!(waiting.reason.contains(&silent.address), "{waiting:?}");
    getter.ends_with(5);
    let errors = getter.errors();
    assert!(errors.contains(&silent.address) && errors.contains("within 4s"), "{errors}");
    // So it is where a file goes to standard output.
    machines.get("there", &[&ticket, "-o", "-", "--wait=1s", "--announce", &silent.address]).ends_with(5);
}

/// The first thing of this name that a doctor says, who ends with this status.
fn check_of(command: std::process::Command, name: &str, code: i32) -> Check {
    let mut doctor = Process::start("doctor", command);
    let found = doctor.find_event(name, |event| Check::from_event(event).filter(|check| check.check == name));
    doctor.ends_with(code);
    found
}

#[test]
fn doctor_tries_the_ports_of_peers() {
    let (machines, silent) = (Machines::new(), silent());
    let (mut sharer, ticket_of_silent) = behind_a_firewall(&machines, &silent);
    let doctor = |ticket: &str| check_of(machines.command("there", "doctor", &["--json", ticket]), "peer", 0);
    // Who can be dialled itself is reached all the same.
    let found = doctor(&ticket_of_silent);
    assert!(found.status == "good" && found.found.contains("because both sides dial"), "{found:?}");
    sharer.kill();
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    assert_eq!(doctor(&ticket).status, "good");
    // Nor does it matter that the manifest is here already.
    machines.get("there", &[&ticket]).ends_with(0);
    assert_eq!(doctor(&ticket).status, "good");
}

/// Neither can dial the other: one has TCP alone, and the other QUIC.
#[test]
fn doctor_names_the_port_that_does_not_answer() {
    let (swarm, silent) = (Swarm::new(), silent());
    swarm.put("seeder", "file", &noise(100_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &["--transport=tcp", "--announce", &silent.address]);
    let mut command = peer_cli();
    command.current_dir(swarm.folder("there")).args(["doctor", "--json", "--bind=127.0.0.1", "--transport=quic"]);
    command.args(["-i=127.0.0.1", "-d", &swarm.port.to_string(), "--output=."]);
    command.args(["--tracker-id", &swarm.tracker_address().id.to_string()]);
    let found = check_of(command, "peer", 5);
    assert_eq!(found.status, "bad", "{found:?}");
    assert!(found.found.contains(&silent.address), "{found:?}");
    assert!(found.advice.contains("firewall"), "{found:?}");
}

/// What is in front of machines is tried by `cargo xtask nat --doctor`, in namespaces.
#[test]
fn doctor_asks_the_tracker_how_this_machine_is_reached() {
    let mut swarm = Swarm::new();
    let look = |swarm: &Swarm| {
        let id = swarm.tracker_address().id.to_string();
        let mut command = peer_cli();
        command.current_dir(swarm.folder("there")).args(["doctor", "--json", "--bind=127.0.0.1", "-i=127.0.0.1", "-d"]);
        command.arg(swarm.port.to_string()).args(["--tracker-id", &id, "--output=."]);
        let mut doctor = Process::start("doctor", command);
        let mut checks = Vec::new();
        doctor.find_event("the relay", |event| {
            checks.extend(Check::from_event(event));
            checks.last().is_some_and(|check| check.check == "relay").then_some(())
        });
        doctor.ends_with(0);
        checks
    };
    let status = |checks: &[Check], name: &str| {
        let check = checks.iter().find(|check| check.check == name).unwrap_or_else(|| panic!("no {name}"));
        (check.status.to_string(), check.found.to_string())
    };
    let checks = look(&swarm);
    let (router, relay) = (status(&checks, "router"), status(&checks, "relay"));
    assert!(router.0 == "skipped" && router.1.contains("on this machine"), "{router:?}");
    assert!(relay.0 == "skipped" && relay.1.contains("is no relay"), "{relay:?}");
    swarm.restart_tracker_with(&["--relay"]);
    let relay = status(&look(&swarm), "relay");
    assert!(relay.0 == "good", "{relay:?}");
}

/// What the disk is tried with is 64 MiB of a hidden file.
#[cfg(unix)]
#[test]
fn doctor_that_is_stopped_leaves_nothing_on_the_disk() {
    let machines = Machines::new();
    let mut doctor = Process::start("doctor", machines.command("there", "doctor", &[]));
    doctor.line("clock");
    doctor.signal("INT");
    doctor.ends_with(130);
    let left: Vec<_> = std::fs::read_dir(machines.folder("there")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_tracker_that_is_gone_is_what_a_download_without_peers_waits_for() {
    let mut swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(4 << 20, 1));
    let mut seeder = swarm.seeder("seeder", 1, &["--piece-size=16KiB", "--up-rate=1MiB"]);
    let mut peer = swarm.downloader("peer", "file", &[]);
    peer.pieces(1);
    seeder.type_line("exit");
    seeder.ends_with(0);
    let reason = |peer: &mut Process| peer.event::<Waiting>().reason;
    let names_nobody = reason(&mut peer);
    assert!(names_nobody.contains("The tracker knows no other peer"), "{names_nobody}");
    assert!(names_nobody.contains("--wait"), "how to set an end: {names_nobody}");
    swarm.tracker.kill();
    peer.event::<TrackerLost>();
    let gone = reason(&mut peer);
    assert!(gone.contains("The tracker is gone"), "{gone}");
}

#[test]
fn get_waits_for_a_sharer_that_is_not_up_yet() {
    let machines = Machines::new();
    let bytes = noise(10_000, 1);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket_before = ticket(&mut sharer);
    let address = ticket_before.parse::<protocol::Ticket>().unwrap().addresses()[0];
    sharer.kill();
    let mut getter = machines.get("there", &["--json", &ticket_before, "--wait=60s"]);
    let reason = getter.event::<Waiting>().reason;
    assert!(reason.contains(&address.to_string()), "{reason}");
    let _sharer = machines.share("here", &["-d", &address.port().to_string(), "file"]);
    getter.ends_with(0);
    assert!(machines.read("there", "output/file") == bytes);
    // Without it nobody is waited for.
    drop(_sharer);
    machines.get("elsewhere", &[&ticket_before]).ends_with(3);
}

#[test]
fn a_tracker_with_a_new_key_is_named_on_a_running_peer() {
    let mut swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(1000, 1));
    let mut seeder = swarm.seeder("seeder", 1, &[]);
    swarm.tracker.kill();
    std::fs::remove_dir_all(swarm.certs()).unwrap();
    swarm.restart_tracker();
    seeder.event::<TrackerLost>();
    let reason = seeder.event::<TrackerUnfit>().reason;
    assert!(reason.contains("has another key") && reason.contains("--tracker-id"), "{reason}");
}

/// Machines of network namespaces, which only root can make.
#[cfg(target_os = "linux")]
mod namespaces {
    use tests::namespaces::{Network, ip};

    use super::*;

    #[test]
    fn share_works_where_ipv6_is_switched_off() {
        let Some(network) = Network::new(&[("a", "10.9.9.1"), ("b", "10.9.9.2")]) else { return };
        for machine in ["a", "b"] {
            let off = "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1";
            let name = network.name(machine);
            assert!(ip(&format!("netns exec {name} sysctl -qw {off}")), "sysctl");
        }
        let machines = Machines::new();
        machines.put("a", "file", &noise(10_000, 1));
        let mut sharer = network.start(&machines, "a", &["share", "--json", "file"]);
        let ticket = ticket(&mut sharer);
        network.start(&machines, "b", &["get", &ticket]).ends_with(0);
    }

    #[test]
    fn a_ticket_leads_past_a_dozen_container_bridges() {
        let Some(network) = Network::new(&[("a", "10.9.9.1"), ("b", "10.9.9.2")]) else { return };
        network.ip("a", "route add default via 10.9.9.254");
        for number in 1..=12 {
            network.ip("a", &format!("link add br{number} type bridge"));
            network.ip("a", &format!("addr add 172.{}.0.1/16 dev br{number}", 16 + number));
            network.ip("a", &format!("link set br{number} up"));
        }
        let machines = Machines::new();
        machines.put("a", "file", &noise(10_000, 1));
        let mut sharer = network.start(&machines, "a", &["share", "--json", "file"]);
        let ticket = ticket(&mut sharer);
        let first = ticket.parse::<protocol::Ticket>().unwrap().addresses()[0];
        assert_eq!(first.ip(), std::net::IpAddr::from([10, 9, 9, 1]));
        network.start(&machines, "b", &["get", &ticket]).ends_with(0);
    }

    /// A bridge of containers stays, wherever the machine goes.
    #[test]
    fn a_sharer_that_moves_with_its_container_bridge_gives_a_new_ticket() {
        let Some(network) = Network::new(&[("a", "10.9.9.1"), ("b", "10.9.9.2")]) else { return };
        network.ip("a", "link add docker0 type bridge");
        network.ip("a", "addr add 172.17.0.1/16 dev docker0");
        network.ip("a", "link set docker0 up");
        let machines = Machines::new();
        machines.put("a", "file", &noise(10_000, 1));
        let mut sharer = network.start(&machines, "a", &["share", "--json", "file"]);
        ticket(&mut sharer);
        network.ip("a", "addr del 10.9.9.1/24 dev eth0");
        network.ip("a", "addr add 10.9.9.77/24 dev eth0");
        let moved = ticket(&mut sharer);
        network.start(&machines, "b", &["get", &moved, "--wait=30s"]).ends_with(0);
    }

    /// The tracker is elsewhere, and tells where the sharer is now.
    #[test]
    fn a_download_goes_on_when_its_sharer_gets_another_address() {
        let machines = [("tracker", "10.9.9.3"), ("a", "10.9.9.1"), ("b", "10.9.9.2")];
        let Some(network) = Network::new(&machines) else { return };
        let (machines, bytes) = (Machines::new(), noise(12 << 20, 1));
        machines.put("tracker", "other", b"bytes");
        let mut tracker = network.start(&machines, "tracker", &["share", "--open", "--json", "other"]);
        let id = tracker.event::<Ready>().tracker;
        machines.put("a", "file", &bytes);
        let flags = ["share", "-i=10.9.9.3", "--tracker-id", &id, "--json", "--up-rate=3MiB", "file"];
        let mut sharer = network.start(&machines, "a", &flags);
        let ticket = ticket(&mut sharer);
        let mut getter = network.start(&machines, "b", &["get", &ticket, "--json"]);
        getter.pieces(1);
        network.ip("a", "addr del 10.9.9.1/24 dev eth0");
        network.ip("a", "addr add 10.9.9.77/24 dev eth0");
        getter.ends_with(0);
        assert!(machines.read("b", "file") == bytes);
    }

    #[test]
    fn a_share_without_a_network_says_that_its_ticket_leads_nowhere() {
        let Some(network) = Network::new(&[("a", "")]) else { return };
        let machines = Machines::new();
        machines.put("a", "file", b"bytes");
        let mut sharer = network.start(&machines, "a", &["share", "file"]);
        sharer.line("no address in any network");
        sharer.line("peer-cli get p2p");
    }

    /// The sharer starts before its network is up, and then moves: each time it gives a ticket that leads to it.
    #[test]
    fn a_sharer_that_moves_gives_a_new_ticket_and_is_found() {
        let Some(network) = Network::new(&[("a", ""), ("b", "10.9.9.2")]) else { return };
        let machines = Machines::new();
        machines.put("a", "file", &noise(10_000, 1));
        let mut sharer = network.start(&machines, "a", &["share", "--json", "file"]);
        let alone = ticket(&mut sharer).parse::<protocol::Ticket>().unwrap();
        assert!(alone.addresses().iter().all(|address| address.ip().is_loopback()), "{alone:?}");
        network.ip("a", "addr add 10.9.9.1/24 dev eth0");
        let up = ticket(&mut sharer);
        network.start(&machines, "b", &["get", &up, "--wait=30s", "-o", "up"]).ends_with(0);
        network.ip("a", "addr del 10.9.9.1/24 dev eth0");
        network.ip("a", "addr add 10.9.9.77/24 dev eth0");
        let moved = ticket(&mut sharer);
        std::thread::sleep(Duration::from_millis(100));
        network.start(&machines, "b", &["get", &moved, "--wait=30s", "-o", "moved"]).ends_with(0);
        assert!(machines.read("b", "moved/file") == machines.read("b", "up/file"));
    }
}
