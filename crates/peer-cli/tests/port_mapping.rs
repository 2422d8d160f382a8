//! A share behind a router that forwards ports to those who ask: miniupnpd, on a machine of network namespaces that this makes
//! itself. Where they cannot be made, or the daemon is not there, it says that it is skipped.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use protocol::Ticket;
use testbed::event::{Code, Kind, Ticket as Said};
use testbed::programs::{at_home, without_settings};
use tests::machines::Machines;
use tests::namespaces::{Network, ip};
use tests::{PATIENCE, Process, noise};

/// The router's address on the side of the others. It has to be a public one, or the daemon forwards nothing; all of this lies in
/// namespaces.
const OUTSIDE: &str = "45.10.0.1";

/// What a router with a firewall does; the daemon fills the chains of its name.
const RULES: &str = r#"
table inet filter {
 chain forward { type filter hook forward priority 0; policy drop;
  ct state established,related accept
  iifname "lan" accept
  jump miniupnpd
 }
 chain miniupnpd {
 }
 chain prerouting { type nat hook prerouting priority -100; policy accept;
  jump prerouting_miniupnpd
 }
 chain postrouting { type nat hook postrouting priority 100; policy accept;
  jump postrouting_miniupnpd
  oifname "eth0" masquerade
 }
 chain prerouting_miniupnpd {
 }
 chain postrouting_miniupnpd {
 }
}
"#;

/// A machine at home behind a router, and another one somewhere else.
struct Home {
    network: Network,
    machines: Machines,
    daemon: Option<Process>,
}

impl Home {
    fn new() -> Option<Self> {
        let network = Network::new(&[("router", OUTSIDE), ("far", "45.10.0.9"), ("home", "")])?;
        let (router, home) = (network.name("router"), network.name("home"));
        network.ip("home", "link del eth0");
        assert!(ip(&format!("link add lan netns {router} type veth peer name eth0 netns {home}")));
        network.ip("router", "addr add 10.0.1.1/24 dev lan");
        network.ip("router", "link set lan up");
        network.ip("home", "addr add 10.0.1.2/24 dev eth0");
        network.ip("home", "link set eth0 up");
        network.ip("home", "route add default via 10.0.1.1");
        let home = Home { network, machines: Machines::new(), daemon: None };
        let forwards = home.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"], None).is_some();
        if !forwards || home.run("nft", &["-f", "-"], Some(RULES)).is_none() {
            skip("the router needs nftables");
            return None;
        }
        Some(home)
    }

    /// Runs a program on the router; gives what it said, if it went well.
    fn run(&self, program: &str, arguments: &[&str], input: Option<&str>) -> Option<String> {
        let mut command = self.network.on("router", Command::new(program).args(arguments));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        child.stdin.take()?.write_all(input.unwrap_or_default().as_bytes()).ok()?;
        let output = child.wait_with_output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts the daemon, which speaks UPnP, and PCP and NAT-PMP unless it is not to.
    fn forward(&mut self, pcp: bool) -> bool {
        let is_there = self.run("sh", &["-c", "command -v miniupnpd"], None).is_some();
        if !is_there {
            skip("there is no miniupnpd (Debian has it in miniupnpd-nftables)");
            return false;
        }
        let pcp = if pcp { "yes" } else { "no" };
        let settings = format!(
            "ext_ifname=eth0\nlistening_ip=lan\nport=0\nenable_natpmp={pcp}\nenable_upnp=yes\nsecure_mode=yes\n\
             uuid=8f0a1c5e-1d43-4a57-9b0e-0d9b7a4f6f11\nallow 1024-65535 0.0.0.0/0 1024-65535\n"
        );
        self.machines.put("router", "settings", settings.as_bytes());
        let folder = self.machines.folder("router");
        let mut command = Command::new("miniupnpd");
        command.current_dir(&folder).args(["-d", "-f", "settings", "-P"]).arg(folder.join("pid"));
        // It says on standard error what it does.
        let command = self.network.on("router", &command);
        let daemon = Process::start("miniupnpd", command);
        let until = Instant::now() + PATIENCE;
        while !daemon.errors().contains("HTTP listening") {
            assert!(Instant::now() < until, "miniupnpd does not start: {}", daemon.errors());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.daemon = Some(daemon);
        true
    }

    /// `peer-cli` on a machine, with nothing of the user's.
    fn start(&self, machine: &str, arguments: &[&str]) -> Process {
        let mut inner = Command::new(env!("CARGO_BIN_EXE_peer-cli"));
        without_settings(&mut inner);
        at_home(&mut inner, &self.machines.home(machine));
        inner.current_dir(self.machines.folder(machine)).env_remove("RUST_LOG").args(arguments);
        Process::start(machine, self.network.on(machine, &inner))
    }

    /// Shares a file of the machine at home.
    fn share(&self, arguments: &[&str]) -> Process {
        self.machines.put("home", "file", &noise(300_000, 1));
        self.start("home", &[&["share", "--json", "file"], arguments].concat())
    }

    /// Whether the router forwards anything.
    fn forwards(&self) -> bool {
        self.run("nft", &["list", "chain", "inet", "filter", "prerouting_miniupnpd"], None).unwrap().contains("dnat")
    }
}

/// Past what the test harness catches.
fn skip(reason: &str) {
    let mut uncaught = std::io::stderr();
    writeln!(uncaught, "skipped: {reason}").unwrap();
}

/// The first ticket that leads to the router, which may answer after the first one was printed.
fn ticket_from_outside(sharer: &mut Process) -> String {
    sharer.find_event("a ticket that leads here from outside", |event| {
        let text = Said::from_event(event)?.ticket;
        let ticket: Ticket = text.parse().unwrap();
        ticket.addresses().iter().any(|address| address.ip().to_string() == OUTSIDE).then_some(text)
    })
}

/// A share behind a router is had from outside while it lasts, and the router forwards nothing after it.
fn is_had_from_outside(pcp: bool, signal: &str, code: i32) {
    let Some(mut home) = Home::new() else { return };
    if !home.forward(pcp) {
        return;
    }
    let mut sharer = home.share(&[]);
    let ticket = ticket_from_outside(&mut sharer);
    assert!(home.forwards());
    let mut getter = home.start("far", &["get", "-o", ".", &ticket]);
    getter.ends_with(0);
    assert_eq!(home.machines.read("far", "file"), noise(300_000, 1));
    // So does the code below it, whether it was given before or not.
    let command = sharer.event::<Code>().command;
    let typed: Vec<_> = command.split(' ').skip(1).chain(["-o", "by-code"]).collect();
    assert!(typed.contains(&OUTSIDE), "{command}");
    home.start("far", &typed).ends_with(0);
    assert_eq!(home.machines.read("far", "by-code/file"), noise(300_000, 1));
    sharer.signal(signal);
    sharer.ends_with(code);
    assert!(!home.forwards(), "what was granted is given back");
}

#[test]
fn a_share_behind_a_router_with_pcp_is_reached_from_outside() {
    is_had_from_outside(true, "TERM", 0);
}

#[test]
fn a_share_behind_a_router_with_upnp_is_reached_from_outside() {
    is_had_from_outside(false, "INT", 0);
}

#[test]
fn no_router_is_asked_where_that_is_not_wanted() {
    let Some(mut home) = Home::new() else { return };
    if !home.forward(true) {
        return;
    }
    // Nor for those who are nobody in particular.
    for flag in ["--no-port-mapping", "--open"] {
        let mut sharer = home.share(&[flag]);
        let ticket: Ticket = sharer.event::<Said>().ticket.parse().unwrap();
        assert!(ticket.addresses().iter().all(|address| address.ip().to_string() != OUTSIDE), "{flag}: {ticket:?}");
        assert!(!home.forwards(), "{flag}");
        sharer.signal("TERM");
        sharer.ends_with(0);
    }
}
