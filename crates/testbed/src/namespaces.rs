//! Linux's network namespaces: machines with a network stack of their own, joined by a bridge in one namespace more. What they
//! send and receive may be as slow as a home's, and as late as over a long way. The machine's own network is not touched.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

/// The network inside the namespaces; it leads nowhere else.
const NETWORK: [u8; 2] = [10, 77];
/// Bytes that a link sends at once at least. QUIC hands over up to ten datagrams as one, some 15,000 bytes, and `tbf`
/// cuts up what is larger than this (as TCP's segments of up to 64 KiB), which costs time but loses nothing.
const SMALLEST_BURST: f64 = 16_384.0;
/// A faster link may send as much at once as it does in this many seconds: a timer's precision.
const BURST: f64 = 0.002;

/// The namespaces of a run. They are removed when it is dropped, and nothing else is.
pub struct Namespaces {
    /// Begins the names of this run's namespaces, and of no other's.
    run: String,
    made: Vec<String>,
}

impl Namespaces {
    /// A bridge, and nobody at it yet.
    pub fn new() -> anyhow::Result<Self> {
        let mut namespaces = Namespaces::none();
        let switch = namespaces.add("switch")?;
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "bridge", "up"])?;
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

    /// Makes a namespace with the [address](Self::address) of this number, plugged into the bridge.
    pub fn join(&mut self, name: &str, number: usize) -> anyhow::Result<()> {
        let (own, switch, port) = (self.add(name)?, self.name("switch"), port(number));
        let address = format!("{}/16", self.address(number));
        // Made where it belongs: it never lies among the machine's own interfaces.
        ip(&["link", "add", "uplink", "netns", &own, "type", "veth", "peer", "name", &port, "netns", &switch])?;
        ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"])?;
        ip(&["-n", &own, "address", "add", &address, "dev", "uplink"])?;
        ip(&["-n", &own, "link", "set", "lo", "up"])?;
        ip(&["-n", &own, "link", "set", "uplink", "up"])
    }

    /// Lets a namespace send at most so many bytes a second; each waits for the link for at most this long.
    pub fn limit_uplink(&self, name: &str, rate: f64, queue: Duration) -> anyhow::Result<()> {
        limit(&self.name(name), "uplink", rate, queue)
    }

    /// The same for what the one of this number receives.
    pub fn limit_downlink(&self, number: usize, rate: f64, queue: Duration) -> anyhow::Result<()> {
        limit(&self.name("switch"), &port(number), rate, queue)
    }

    /// Lets what a namespace sends arrive this much later, at this many bytes a second.
    pub fn delay_uplink(&self, name: &str, delay: Duration, rate: f64) -> anyhow::Result<()> {
        // Datagrams that may be on their way or wait: enough for a link of 1 Gbit/s.
        const ROOM: &str = "20000";
        let (delay, rate) = (format!("{}us", delay.as_micros()), format!("{:.0}bit", rate * 8.0));
        let netem = ["netem", "delay", &delay, "rate", &rate, "limit", ROOM];
        call("tc", &[&["-n", &self.name(name), "qdisc", "add", "dev", "uplink", "root"], &netem[..]].concat())
    }

    /// A program, to be started in this namespace. `ip` becomes the program, so that it can be watched and ended.
    pub fn command(&self, name: &str, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(name)]).arg(program);
        command
    }

    /// The address of the one of this number, from 1 on.
    pub fn address(&self, number: usize) -> String {
        let [a, b] = NETWORK;
        format!("{a}.{b}.{}.{}", number >> 8, number & 0xff)
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

/// The bridge's interface that leads to a namespace.
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
    const NEEDS: &str = "network namespaces need Linux, root, and the programs ip and tc (package iproute2)";
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{program} does not run; {NEEDS}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}` fails: {}; {NEEDS}", arguments.join(" "), reason.trim());
    }
    Ok(())
}
