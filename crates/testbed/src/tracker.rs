//! Starts a tracker for a run, and waits until it has printed its address.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::process::Process;
use crate::program::Program;

/// Starts it in `folder`, and waits for at most so long until it says its address.
pub fn start(command: Command, folder: &Path, patience: Duration) -> anyhow::Result<(Process, SocketAddr)> {
    let mut tracker = Program::start("the tracker", command, folder)?;
    let address = tracker.find("its address", patience, address);
    let address = address.with_context(|| {
        let Process { log, .. } = &tracker.process;
        format!("the tracker does not start: {}. Its log is {}", tracker.process.last_words(), log.display())
    })?;
    Ok((tracker.process, address))
}

/// Where a tracker that says this line listens.
pub fn address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("Listening on ")?.parse().ok()
}
