//! The limits of the machine: the same bytes moved without our code.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use anyhow::ensure;
use testbed::files::warm_up;
use testbed::process::Process;
use testbed::program::Program;
use tool::usage::{Watch, of_ended_children};

use super::Sample;

/// The names of the floors that others are compared with.
pub const QUIC: &str = "floor: raw quinn";
/// At Ethernet's size of datagrams.
pub const QUIC_ETHERNET: &str = "floor: raw quinn 1452";
/// TLS 1.3 over TCP.
pub const TLS: &str = "floor: raw TLS";
/// The disk.
pub const COPY: &str = "floor: cp";

/// A floor says where it serves within this time.
const READY: Duration = Duration::from_secs(10);

/// How to do without us.
#[derive(Debug, Clone, Copy)]
pub enum Floor {
    /// One quinn stream with datagrams of up to so many bytes.
    Quic(u16),
    /// One TLS connection.
    Tls,
    /// A copy on the same disk.
    Copy,
}

/// All floors.
pub const ALL: [(&str, Floor); 4] = [
    // 32,000 is what discovery ends at over loopback.
    (QUIC, Floor::Quic(32_000)),
    (QUIC_ETHERNET, Floor::Quic(1452)),
    (TLS, Floor::Tls),
    (COPY, Floor::Copy),
];

impl Floor {
    /// Does it once, with the program of floors.
    pub fn measure(self, floors: &Path, file: &Path, folder: &Path) -> anyhow::Result<Sample> {
        let bytes = file.metadata()?.len();
        let (kind, mtu) = match self {
            Floor::Copy => {
                warm_up(folder, bytes)?;
                let mut copy = Command::new("cp");
                copy.arg(file).arg(folder.join("copy"));
                return time(copy, folder, None);
            }
            Floor::Quic(mtu) => ("quic", Some(mtu.to_string())),
            Floor::Tls => ("tls", None),
        };
        let mut serve = Command::new(floors);
        serve.args(["serve", kind]).args(&mtu);
        let mut serving = Program::start("the floor", serve, folder)?;
        let port: u16 = serving.find("its port", READY, |line| line.trim().parse().ok())?;
        let mut fetch = Command::new(floors);
        fetch.args(["fetch", kind, &port.to_string(), &bytes.to_string()]).args(&mtu);
        time(fetch, folder, Some(serving.process.number()))
    }
}

/// Runs the receiving side to its end, while the sending side, if it is another process, is watched.
fn time(receive: Command, folder: &Path, sender: Option<u32>) -> anyhow::Result<Sample> {
    let watch = Watch::start(sender);
    // Nobody listens to it.
    let (said, _) = sync_channel(1);
    let (begin, cpu) = (Instant::now(), of_ended_children());
    let mut receiving = Process::start_as(receive, folder, "receiving", said)?;
    let receiver = receiving.number();
    watch.add(receiver);
    let status = receiving.end()?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(status.success(), "the receiving side ended with {status}: {}", receiving.last_words());
    let of = |process: Option<u32>| process.and_then(|process| watch.usage(process)).unwrap_or_default();
    let memory = [of(sender), of(Some(receiver))];
    let cpu = [memory[0].cpu_seconds, of_ended_children() - cpu];
    Ok(Sample { seconds, seconds_durable: None, cpu, memory, lost: 0, switches: 0 })
}
