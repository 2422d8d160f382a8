//! Linux's network namespaces: the tracker and each peer have a network stack of their own, joined by a bridge in one
//! more, and each peer's uplink and downlink may be as slow as a home's. The machine's own network is not touched.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use super::Rates;
use crate::swarm::{Plan, Sharing};

/// The network inside the namespaces; it leads nowhere else.
const NETWORK: [u8; 2] = [10, 77];
/// The tracker's number in it; peers have those that follow.
const TRACKER: usize = 1;
/// Bytes that a link sends at once at least. QUIC hands over up to ten datagrams as one, some 15,000 bytes, and `tbf`
/// cuts up what is larger than this (as TCP's segments of up to 64 KiB), which costs time but loses nothing.
const SMALLEST_BURST: f64 = 16_384.0;
/// A faster link may send as much at once as it does in this many seconds: a timer's precision.
const BURST: f64 = 0.002;

/// The namespaces of a run. They are removed when it is dropped, and nothing else is.
pub(in crate::swarm) struct Namespaces {
    /// Begins the names of this run's namespaces, and of no other's.
    run: String,
    made: Vec<String>,
}

impl Namespaces {
    /// Makes them. Each peer's links carry so much.
    pub(super) fn set_up(plan: &Plan, rates: &Rates) -> anyhow::Result<Self> {
        let mut namespaces = Namespaces::none();
        let switch = namespaces.add("switch")?;
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "bridge", "up"])?;
        namespaces.join("tracker", TRACKER)?;
        for (number, peer) in plan.peers.iter().enumerate() {
            let own = namespaces.join(&peer.name, TRACKER + 1 + number)?;
            let (uplink, downlink) = match peer.files {
                Sharing::Seeds => (rates.seeder_uplink.or(rates.uplink), None),
                Sharing::Wants(_) => (rates.uplink, rates.downlink),
            };
            if let Some(rate) = uplink {
                limit(&own, "uplink", rate, rates.queue)?;
            }
            if let Some(rate) = downlink {
                limit(&switch, &port(TRACKER + 1 + number), rate, rates.queue)?;
            }
        }
        Ok(namespaces)
    }

    /// None yet, and a name for this run: a process may have several runs.
    fn none() -> Self {
        static RUNS: AtomicU32 = AtomicU32::new(1);
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        Namespaces { run: format!("p2p-fileshare-{}-{number}", std::process::id()), made: Vec::new() }
    }

    fn add(&mut self, name: &str) -> anyhow::Result<String> {
        let name = self.name(name);
        ip(&["netns", "add", &name])?;
        self.made.push(name.clone());
        Ok(name)
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }

    /// Makes a namespace with this address, plugged into the switch.
    fn join(&mut self, name: &str, number: usize) -> anyhow::Result<String> {
        let (own, switch, port) = (self.add(name)?, self.name("switch"), port(number));
        let [a, b] = NETWORK;
        let address = format!("{a}.{b}.{}.{}/16", number >> 8, number & 0xff);
        // Made where it belongs: it never lies among the machine's own interfaces.
        ip(&["link", "add", "uplink", "netns", &own, "type", "veth", "peer", "name", &port, "netns", &switch])?;
        ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"])?;
        ip(&["-n", &own, "address", "add", &address, "dev", "uplink"])?;
        ip(&["-n", &own, "link", "set", "lo", "up"])?;
        ip(&["-n", &own, "link", "set", "uplink", "up"])?;
        Ok(own)
    }

    /// A program, to be started in this namespace. `ip` becomes the program, so that it can be watched and ended.
    pub(super) fn command(&self, name: &str, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(name)]).arg(program);
        command
    }

    pub(super) fn tracker_address(&self) -> String {
        let [a, b] = NETWORK;
        format!("{a}.{b}.0.{TRACKER}")
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // With a namespace go its interfaces, and with one end of a pair the other.
        for name in self.made.iter().rev() {
            if let Err(error) = ip(&["netns", "delete", name]) {
                eprintln!("The network namespace {name} is left: {error:#}. Remove it with `ip netns delete {name}`");
            }
        }
    }
}

/// Whether namespaces can be made here; if not, says why.
pub fn try_namespaces() -> anyhow::Result<()> {
    let mut namespaces = Namespaces::none();
    let name = namespaces.add("tc")?;
    call(
        "tc",
        &["-n", &name, "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "16384", "latency", "1s"],
    )
}

/// The switch's interface that leads to a namespace.
fn port(number: usize) -> String {
    format!("port-{number}")
}

/// Lets an interface send at most so many bytes a second.
fn limit(namespace: &str, interface: &str, rate: f64, queue: Duration) -> anyhow::Result<()> {
    let burst = (rate * BURST).max(SMALLEST_BURST);
    let (rate, burst) = (format!("{:.0}bit", rate * 8.0), format!("{burst:.0}"));
    let latency = format!("{}us", queue.as_micros());
    let queue = ["rate", &rate, "burst", &burst, "latency", &latency];
    let tbf = [&["-n", namespace, "qdisc", "add", "dev", interface, "root", "tbf"], &queue[..]].concat();
    call("tc", &tbf)
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    call("ip", arguments)
}

fn call(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    const NEEDS: &str = "--netns needs Linux, root, and the programs ip and tc (package iproute2)";
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{program} does not run; {NEEDS}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}` fails: {}; {NEEDS}", arguments.join(" "), reason.trim());
    }
    Ok(())
}
