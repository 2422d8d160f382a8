//! A thousand readers of a gateway, each at another place of what comes slowly, who take what they get.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use testbed::event::Gateway;
use testbed::files::random_file;
use testbed::program::Program;
use testbed::programs::Programs;
use tool::interrupt::check_interrupted;
use tool::usage::Watch;

use super::figure::{Figure, Target};
use super::lab::{self, READY};

const READERS: u64 = 1000;
/// Bytes of a range.
const RANGE: u64 = 32 << 20;
/// The most that a gateway's bodies and a peer take of their own: 128 and 64 MiB.
const MEMORY: u64 = (128 + 64) << 20;
/// For so long they read.
const READING: Duration = Duration::from_secs(30);
/// Time between two looks at all of them.
const LOOK: Duration = Duration::from_millis(100);

/// Measures the most memory that the gateway takes of its own.
pub fn measure(size: u64, programs: &Programs, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let file = random_file(folder, size)?;
    let home = |name: &str| -> anyhow::Result<_> {
        let home = folder.join(name);
        std::fs::create_dir_all(&home)?;
        Ok(home)
    };
    let mut command = Command::new(&programs.tracker);
    command.args(["-p0", "--bind=127.0.0.1"]);
    let mut tracker = Program::start("the tracker", command, &home("tracker")?)?;
    let id = tracker.find("its id", READY, |line| line.strip_prefix("Tracker id: ").map(str::to_owned))?;
    let address = tracker.find("its address", READY, testbed::tracker::address)?;
    let port = address.port().to_string();
    let flags = ["-i", "127.0.0.1", "-d", &port, "--tracker-id", &id, "--bind=127.0.0.1"];
    let mut command = Command::new(&programs.peer);
    command.args(["share", "--json", "--open", "--up-rate=20MiB"]).args(flags).arg(file);
    let (_share, content) = lab::share(command, &home("share")?)?;
    let mut command = Command::new(&programs.peer);
    command.args(["gateway", "--json", "--open", "--gateway=127.0.0.1:0"]).args(flags);
    let mut gateway = Program::start("the gateway", command, &home("gateway")?)?;
    let Gateway { url, .. } = gateway.event(READY)?;
    let at: SocketAddr = url.trim_start_matches("http://").parse()?;
    let process = gateway.process.number();
    let watch = Watch::start([process]);
    let mut readers = Vec::new();
    for number in 0..READERS {
        let first = number * size.saturating_sub(RANGE) / READERS;
        let mut reader = TcpStream::connect(at).with_context(|| format!("reader {number} is not let in"))?;
        let range = format!("bytes={first}-{}", first + RANGE - 1);
        write!(reader, "GET /content/{content} HTTP/1.1\r\nHost: {at}\r\nRange: {range}\r\n\r\n")?;
        reader.set_nonblocking(true)?;
        readers.push((reader, false));
    }
    let (until, mut block) = (Instant::now() + READING, vec![0; 16 << 10]);
    while Instant::now() < until {
        check_interrupted()?;
        for (reader, answered) in &mut readers {
            match reader.read(&mut block) {
                Ok(read) => *answered |= block[..read].starts_with(b"HTTP/1.1 206"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("a reader is cut off"),
            }
        }
        std::thread::sleep(LOOK);
    }
    let usage = watch.usage(process).context("the gateway has ended")?;
    let answered = readers.iter().filter(|(_, answered)| *answered).count();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(vec![
        Figure::new("1,000 readers: the gateway's own memory, MiB", mib(usage.anonymous), Target::AtMost(mib(MEMORY))),
        Figure::new("of them answered within 30 s", answered as f64, Target::None),
    ])
}
