//! The files of a closed swarm, made by `tracker certs`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::programs::Programs;

/// Makes a CA, and certificates for a tracker and so many peers.
pub fn make(programs: &Programs, folder: &Path, peers: usize) -> anyhow::Result<()> {
    let mut command = Command::new(&programs.tracker);
    command.args(["--init-closed", "--peers"]).arg(peers.to_string()).arg("--certs").arg(folder);
    let output = command.output().context("the tracker does not start")?;
    ensure!(output.status.success(), "no certificates: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
