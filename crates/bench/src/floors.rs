//! What the machine can do at all: the same bytes without us.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use testbed::files::warm_up;
use testbed::usage::{Watch, of_ended_children};

use super::Sample;
use super::subject::{Subject, Tools, Way};

/// The names of the floors that others are compared with.
pub const QUIC: &str = "floor: raw quinn";
/// At Ethernet's size of datagrams.
pub const QUIC_ETHERNET: &str = "floor: raw quinn 1452";
/// TLS 1.3 over TCP.
pub const TLS: &str = "floor: raw TLS";
/// The disk.
pub const COPY: &str = "floor: cp";

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

/// All floors, for a file of so many bytes.
pub fn all(bytes: u64) -> Vec<Subject> {
    let floor =
        |name: &str, floor| Subject { name: name.to_owned(), floor: None, bytes, receivers: 1, way: Way::Floor(floor) };
    // 32,000 is what discovery ends at over loopback.
    vec![
        floor(QUIC, Floor::Quic(32_000)),
        floor(QUIC_ETHERNET, Floor::Quic(1452)),
        floor(TLS, Floor::Tls),
        floor(COPY, Floor::Copy),
    ]
}

/// Ends a program when it is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Floor {
    /// Does it once.
    pub fn measure(self, tools: &Tools, file: &Path, folder: &Path) -> anyhow::Result<Sample> {
        let bytes = file.metadata()?.len();
        let (kind, mtu) = match self {
            Floor::Copy => {
                warm_up(folder, bytes)?;
                let mut copy = Command::new("cp");
                return time(copy.arg(file).arg(folder.join("copy")), None);
            }
            Floor::Quic(mtu) => ("quic", Some(mtu.to_string())),
            Floor::Tls => ("tls", None),
        };
        let mut serve = Command::new(&tools.floors);
        serve.args(["serve", kind]).args(&mtu).stdout(Stdio::piped());
        let mut serving = Running(serve.spawn().context("the floor does not start")?);
        let mut port = String::new();
        BufReader::new(serving.0.stdout.take().context("its output is a pipe")?).read_line(&mut port)?;
        let mut fetch = Command::new(&tools.floors);
        fetch.args(["fetch", kind, port.trim(), &bytes.to_string()]).args(&mtu);
        time(&mut fetch, Some(serving.0.id()))
    }
}

/// Runs the receiving side to its end, while the sending side, if it is another process, is watched.
pub fn time(receive: &mut Command, sender: Option<u32>) -> anyhow::Result<Sample> {
    let watch = Watch::start(sender);
    let (begin, cpu) = (Instant::now(), of_ended_children());
    let mut receiving = Running(receive.spawn().context("the receiving side does not start")?);
    let receiver = receiving.0.id();
    watch.add(receiver);
    let status = receiving.0.wait()?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(status.success(), "{} ended with {status}", receive.get_program().display());
    let of = |process: Option<u32>| process.and_then(|process| watch.usage(process)).unwrap_or_default();
    let memory = [of(sender), of(Some(receiver))];
    let cpu = [memory[0].cpu_seconds, of_ended_children() - cpu];
    Ok(Sample { seconds, seconds_durable: None, cpu, memory, lost: 0 })
}
