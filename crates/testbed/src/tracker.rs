//! A tracker for a run: a program that is of use once it has said where it listens.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::process::{Process, Said};

/// Starts it in `folder`, and waits for at most so long between two lines until it says its address.
pub fn start(command: Command, folder: &Path, patience: Duration) -> anyhow::Result<(Process, SocketAddr)> {
    let (said, lines) = sync_channel(64);
    let process = Process::start(command, folder, 0, said)?;
    let problem =
        || anyhow!("the tracker does not start: {}. Its log is {}", process.last_words(), process.log.display());
    loop {
        let Said { line, .. } = lines.recv_timeout(patience).map_err(|_| problem())?;
        let line = line.ok_or_else(problem)?;
        if let Some(address) = line.strip_prefix("Listening on ") {
            let address = address.parse().context("it says its address")?;
            return Ok((process, address));
        }
    }
}
