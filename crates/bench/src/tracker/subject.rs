//! The tracker under test: the real program, and what it and the operating system report about it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytesize::ByteSize;
use protocol::PeerId;
use testbed::program::Program;
use testbed::tracker;
use tool::usage::{memory, processor_time};
use transport::{Kind, peer_id_of_certificate_pem};

/// It says where it listens, and answers what is typed, within this time.
const ANSWERS: Duration = Duration::from_secs(20);

/// A running tracker. It ends when this is dropped.
pub struct RunningTracker {
    program: Program,
    pub address: SocketAddr,
    pub id: PeerId,
    /// What it said of the room that it has, if it says so.
    pub room: Option<String>,
}

impl RunningTracker {
    /// Starts it, with so much memory.
    pub fn start(program: &Path, folder: &Path, limit: ByteSize) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut command = Command::new(program);
        command.args(["-p", "0", "--bind", "127.0.0.1", "--commands", "--memory", &limit.as_u64().to_string()]);
        command.arg("--certs").arg(folder.join("certs"));
        let mut program = Program::start("the tracker", command, folder)?;
        let address = program.find("its address", ANSWERS, tracker::address).context("the tracker does not start")?;
        // Versions of before do not say it.
        let room = program.find("how peers are started", ANSWERS, |line| match line.strip_prefix("Room for ") {
            Some(room) => Some(Some(room.to_owned())),
            None => line.starts_with("On another machine").then_some(None),
        })?;
        let id = peer_id_of_certificate_pem(&folder.join("certs/tracker.pem"))?;
        Ok(RunningTracker { program, address, id, room })
    }

    /// Fails if it says that it has no room for so many, before any of them come.
    pub fn has_room(&self, kind: Kind, peers: usize) -> anyhow::Result<()> {
        let Some(said) = &self.room else { return Ok(()) };
        let fits = room_over(kind, said).is_none_or(|room| peers <= room);
        ensure!(fits, "{peers} peers are too many over {kind:?} here. The tracker has room for {said}");
        Ok(())
    }

    /// Bytes of memory of its own.
    pub fn memory(&self) -> anyhow::Result<u64> {
        memory(self.program.process.number()).map(|[own, _]| own).context("only Linux tells a process's memory")
    }

    /// Seconds of processor time so far.
    pub fn busy(&self) -> anyhow::Result<f64> {
        processor_time(self.program.process.number()).context("only Linux tells a process's time")
    }

    /// What it says itself: peers, and bytes that it counts for them.
    pub fn status(&mut self) -> anyhow::Result<(u64, u64)> {
        self.program.process.type_line("status");
        self.program.find("its status", ANSWERS, status)
    }
}

/// Of a line like `21,000 peers over QUIC or 510 over TCP, as …`.
fn room_over(kind: Kind, said: &str) -> Option<usize> {
    let (before, _) = said.split_once(&format!(" over {}", format!("{kind:?}").to_uppercase()))?;
    let number = before.trim_end_matches(" peers").rsplit(' ').next()?;
    number.replace(',', "").parse().ok()
}

/// Of a line like `20 peers, 20 contents, 1.2 MiB of memory`.
fn status(line: &str) -> Option<(u64, u64)> {
    let mut parts = line.split(", ");
    let peers = parts.next()?.strip_suffix(" peers")?.parse().ok()?;
    let memory = parts.nth(1)?.strip_suffix(" of memory")?;
    Some((peers, memory.parse::<ByteSize>().ok()?.as_u64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_peers_and_bytes() {
        assert_eq!(status("20 peers, 1 content, 1.5 MiB of memory"), Some((20, 3 << 19)));
        assert_eq!(status("no such line"), None);
    }

    #[test]
    fn a_tracker_says_for_how_many_it_has_room() {
        let both = "21,000 peers over QUIC, as --memory 1.0 GiB allows, or for 510 over TCP, as the limit of open files allows";
        assert_eq!((room_over(Kind::Quic, both), room_over(Kind::Tcp, both)), (Some(21_000), Some(510)));
        let one = "7 peers over TCP, as --memory 1.0 GiB allows";
        assert_eq!((room_over(Kind::Quic, one), room_over(Kind::Tcp, one)), (None, Some(7)));
    }
}
