//! A small internet in network namespaces: a tracker and public machines on one bridge, and two routers with a machine behind
//! each. Nothing in it reaches any other network, and it is removed when it is dropped.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::places::Place;

/// Where the tracker is.
pub const TRACKER: &str = "203.0.113.1";
/// A name of it that leads to its addresses of both families.
pub const TRACKER_NAME: &str = "tracker.example";

/// How long a machine is without an address that gets another one, or without its router.
const WITHOUT_ADDRESS: Duration = Duration::from_secs(1);

/// The two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Sharer,
    Getter,
}

impl Side {
    fn number(self) -> u8 {
        match self {
            Side::Sharer => 1,
            Side::Getter => 2,
        }
    }
}

/// The namespaces of a run.
pub struct Lab {
    /// Begins the names of this run's namespaces, and of no other's.
    run: String,
    made: Vec<String>,
}

impl Lab {
    /// Builds it for two places.
    pub fn build(sharer: Place, getter: Place) -> anyhow::Result<Self> {
        let mut lab = Lab::none();
        let net = lab.add("net")?;
        ip(&["-n", &net, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &net, "link", "set", "bridge", "up"])?;
        lab.add("tracker")?;
        lab.plug_in("tracker", TRACKER)?;
        if sharer.has_ipv6() || getter.has_ipv6() {
            lab.give_ipv6("tracker", 1)?;
        }
        for (side, place) in [(Side::Sharer, sharer), (Side::Getter, getter)] {
            let (machine, number) = (machine(side), side.number());
            lab.add(machine)?;
            if place.has_router() {
                lab.add_router(side, place)?;
                if place.has_ipv6() {
                    lab.connect(machine)?;
                }
            } else {
                lab.plug_in(machine, &format!("203.0.113.{}", 4 + number))?;
            }
            if place.has_ipv6() {
                lab.give_ipv6(machine, 4 + number)?;
            }
            if let Some(refusal) = firewall(place) {
                lab.set_rules(machine, &refusal)?;
            }
        }
        Ok(lab)
    }

    /// None yet, and a name for this run: a process builds many.
    fn none() -> Self {
        static RUNS: AtomicU32 = AtomicU32::new(1);
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        Lab { run: format!("p2p-nat-{}-{number}", std::process::id()), made: Vec::new() }
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }

    fn add(&mut self, name: &str) -> anyhow::Result<String> {
        let name = self.name(name);
        ip(&["netns", "add", &name])?;
        self.made.push(name.clone());
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        Ok(name)
    }

    /// Gives it this address on the network between all.
    fn plug_in(&self, name: &str, address: &str) -> anyhow::Result<()> {
        self.connect(name)?;
        ip(&["-n", &self.name(name), "address", "add", &format!("{address}/24"), "dev", "wan"])
    }

    /// Connects it to the network between all, without an address.
    fn connect(&self, name: &str) -> anyhow::Result<()> {
        let (own, net) = (self.name(name), self.name("net"));
        ip(&["link", "add", "wan", "netns", &own, "type", "veth", "peer", "name", name, "netns", &net])?;
        ip(&["-n", &net, "link", "set", name, "master", "bridge", "up"])?;
        ip(&["-n", &own, "link", "set", "wan", "up"])
    }

    /// Gives it an address of IPv6 on the same network.
    fn give_ipv6(&self, name: &str, last: u8) -> anyhow::Result<()> {
        ip(&["-n", &self.name(name), "address", "add", &format!("2001:db8::{last}/64"), "dev", "wan", "nodad"])
    }

    /// Gives the tracker's machine a second address.
    pub fn give_tracker_another_address(&self) -> anyhow::Result<()> {
        ip(&["-n", &self.name("tracker"), "address", "add", "203.0.113.2/24", "dev", "wan"])
    }

    /// What the tracker sends and what it is sent passes a line of so many Mbit/s each way, whose queue holds 50 ms of it.
    pub fn limit_tracker(&self, line: u32) -> anyhow::Result<()> {
        let rate = format!("{line}mbit");
        for (at, device) in [("tracker", "wan"), ("net", "tracker")] {
            let at = self.name(at);
            let queue = ["rate", &rate, "burst", "32kb", "latency", "50ms"];
            call("tc", &[&["-n", &at, "qdisc", "add", "dev", device, "root", "tbf"], &queue[..]].concat(), None)?;
        }
        Ok(())
    }

    fn add_router(&mut self, side: Side, place: Place) -> anyhow::Result<()> {
        let (router, wan) = (router(side), format!("203.0.113.{}", 10 + side.number()));
        self.add(&router)?;
        self.plug_in(&router, &wan)?;
        self.put_behind(&router, machine(side), side.number())?;
        self.set_rules(&router, &rules(place, &wan))
    }

    /// Starts the router of a side anew, if there is one: it is gone for a moment, and has forgotten its mappings.
    pub fn restart_router(&mut self, side: Side, place: Place) -> anyhow::Result<()> {
        if !place.has_router() {
            return Ok(());
        }
        let name = self.name(&router(side));
        ip(&["netns", "delete", &name])?;
        self.made.retain(|made| *made != name);
        std::thread::sleep(WITHOUT_ADDRESS);
        self.add_router(side, place)
    }

    /// No packet between a machine and its network may be larger, as in a VPN.
    pub fn limit_packets(&self, side: Side, place: Place, mtu: u32) -> anyhow::Result<()> {
        let (own, mtu) = (self.name(machine(side)), mtu.to_string());
        let behind = place.has_router().then(|| [(own.clone(), "eth0"), (self.name(&router(side)), "lan")]);
        let open = (!place.has_router() || place.has_ipv6()).then_some((own, "wan"));
        for (name, device) in behind.into_iter().flatten().chain(open) {
            ip(&["-n", &name, "link", "set", device, "mtu", &mtu])?;
        }
        Ok(())
    }

    fn put_behind(&self, router: &str, machine: &str, number: u8) -> anyhow::Result<()> {
        let (router, machine) = (self.name(router), self.name(machine));
        let (inside, own) = (format!("10.0.{number}.1"), format!("10.0.{number}.2"));
        ip(&["link", "add", "lan", "netns", &router, "type", "veth", "peer", "name", "eth0", "netns", &machine])?;
        ip(&["-n", &router, "address", "add", &format!("{inside}/24"), "dev", "lan"])?;
        ip(&["-n", &router, "link", "set", "lan", "up"])?;
        ip(&["-n", &machine, "address", "add", &format!("{own}/24"), "dev", "eth0"])?;
        ip(&["-n", &machine, "link", "set", "eth0", "up"])?;
        ip(&["-n", &machine, "route", "add", "default", "via", &inside])?;
        ip(&["netns", "exec", &router, "sysctl", "-qw", "net.ipv4.ip_forward=1"])
    }

    fn set_rules(&self, router: &str, rules: &str) -> anyhow::Result<()> {
        call("ip", &["netns", "exec", &self.name(router), "nft", "-f", "-"], Some(rules))
    }

    /// Gives a machine another address in its network, as a new lease does, after it had none for a moment.
    pub fn move_to_another_address(&self, side: Side, place: Place) -> anyhow::Result<()> {
        let (own, number) = (self.name(machine(side)), side.number());
        let (device, old, new, router) = if place.has_router() {
            let inside = |last: u8| format!("10.0.{number}.{last}");
            ("eth0", inside(2) + "/24", inside(3) + "/24", Some(inside(1)))
        } else {
            ("wan", format!("203.0.113.{}/24", 4 + number), format!("203.0.113.{}/24", 104 + number), None)
        };
        ip(&["-n", &own, "address", "delete", &old, "dev", device])?;
        std::thread::sleep(WITHOUT_ADDRESS);
        ip(&["-n", &own, "address", "add", &new, "dev", device])?;
        if let Some(router) = router {
            ip(&["-n", &own, "route", "add", "default", "via", &router])?;
        }
        Ok(())
    }

    /// A program, to be started on one of the machines. `ip` becomes the program, so that it can be watched and ended.
    pub fn command(&self, side: Side, program: &Path) -> Command {
        self.command_in(machine(side), program)
    }

    /// The same, where the tracker has a name. The file of names is written into this folder.
    pub fn command_with_names(&self, side: Side, program: &Path, folder: &Path) -> anyhow::Result<Command> {
        let names = folder.join("hosts");
        let text = format!("127.0.0.1 localhost\n{TRACKER} {TRACKER_NAME}\n2001:db8::1 {TRACKER_NAME}\n");
        std::fs::write(&names, text).with_context(|| format!("cannot write {}", names.display()))?;
        // What `ip` starts has mounts of its own.
        let mut command = self.command_in(machine(side), Path::new("sh"));
        command.args(["-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(names).arg(program);
        Ok(command)
    }

    /// The tracker's program.
    pub fn tracker(&self, program: &Path) -> Command {
        self.command_in("tracker", program)
    }

    fn command_in(&self, name: &str, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(name)]).arg(program);
        command
    }
}

fn machine(side: Side) -> &'static str {
    match side {
        Side::Sharer => "sharer",
        Side::Getter => "getter",
    }
}

fn router(side: Side) -> String {
    format!("router-{}", side.number())
}

impl Drop for Lab {
    fn drop(&mut self) {
        // With a namespace go its interfaces, and with one end of a pair the other.
        for name in self.made.iter().rev() {
            if let Err(error) = ip(&["netns", "delete", name]) {
                eprintln!("The network namespace {name} is left: {error:#}. Remove it with `ip netns delete {name}`");
            }
        }
    }
}

/// What a router does with packets. Without a rule for what comes in, a packet of the other side that is early would take the
/// place of the mapping that is about to be made.
fn rules(place: Place, wan: &str) -> String {
    let home = format!(
        "table ip nat {{
 map mapped {{
  type inet_service : ipv4_addr . inet_service
  flags dynamic,timeout
  timeout 300s
  size 65536
 }}
 chain pre {{ type nat hook prerouting priority dstnat; policy accept;
  iif \"wan\" meta l4proto udp dnat to udp dport map @mapped
 }}
 chain post {{ type nat hook postrouting priority srcnat; policy accept;
  oif \"wan\" meta l4proto udp update @mapped {{ udp sport timeout 300s : ip saddr . udp sport }}
  oif \"wan\" snat to {wan}
 }}
}}
"
    );
    let masquerade = |how: &str| {
        format!(
            "table ip nat {{
 chain post {{ type nat hook postrouting priority srcnat; policy accept;
  oif \"wan\" masquerade {how}
 }}
}}
"
        )
    };
    let filter = |forwarded: &str| {
        format!(
            "table ip filter {{
 chain inp {{ type filter hook input priority 0; policy accept;
  iif \"wan\" ct state established,related accept
  iif \"wan\" drop
 }}
 chain through {{ type filter hook forward priority 0; policy accept;
  {forwarded}
  iif \"wan\" ct state established,related accept
  iif \"wan\" drop
 }}
}}
"
        )
    };
    match place {
        Place::Public | Place::Dual | Place::Wall => String::new(),
        Place::Home | Place::Six => home + &filter(""),
        Place::Masq => masquerade("") + &filter(""),
        Place::Sym | Place::Lite => masquerade("random,fully-random") + &filter(""),
        Place::NoUdp => masquerade("") + &filter("meta l4proto udp drop"),
        Place::Only443 => masquerade("") + &filter("oif \"wan\" th dport != 443 drop"),
    }
}

/// What a firewall in front of a machine without a router does with packets: it lets in what answers.
fn firewall(place: Place) -> Option<String> {
    let refusal = match place {
        Place::Wall => "drop",
        Place::Lite => "meta l4proto tcp reject with tcp reset\n  iif \"wan\" reject",
        _ => return None,
    };
    Some(format!(
        "table inet wall {{
 chain inp {{ type filter hook input priority 0; policy accept;
  iif \"wan\" ct state established,related accept
  iif \"wan\" meta l4proto ipv6-icmp accept
  iif \"wan\" {refusal}
 }}
}}
"
    ))
}

/// Whether it can be built here; if not, says why.
pub fn try_lab() -> anyhow::Result<()> {
    Lab::build(Place::Home, Place::Sym).map(drop)
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    call("ip", arguments, None)
}

fn call(program: &str, arguments: &[&str], input: Option<&str>) -> anyhow::Result<()> {
    const NEEDS: &str = "the lab needs Linux with nftables, root or namespaces for users, and the programs ip and nft \
                         (packages iproute2 and nftables)";
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{program} does not run; {NEEDS}"))?;
    if let (Some(text), Some(stdin)) = (input, &mut child.stdin) {
        // One that ends before it has read all says why below.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}` fails: {}; {NEEDS}", arguments.join(" "), reason.trim());
    }
    Ok(())
}
