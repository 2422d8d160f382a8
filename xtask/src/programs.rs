//! Builds `tracker` and `peer-cli`, and says where they lie: nobody looks for a stale binary.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

/// Paths of the built programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The tracker.
    pub tracker: PathBuf,
    /// The peer.
    pub peer: PathBuf,
}

/// Builds both, optimised for release or with the profile of tests.
pub fn build(release: bool) -> anyhow::Result<Programs> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "tracker", "-p", "peer-cli", "--bins", "--message-format=json-render-diagnostics"]);
    command.arg(if release { "--release" } else { "--quiet" });
    // cargo sets these for the program that it runs; a nested cargo that saw them would build some crates again.
    const OURS: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_PRIMARY_"];
    for (name, _) in std::env::vars_os() {
        if OURS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cargo does not run")?;
    ensure!(output.status.success(), "the programs do not build");
    let artifacts = String::from_utf8_lossy(&output.stdout);
    let executables: Vec<PathBuf> = artifacts
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect();
    let find = |name| {
        let found = executables.iter().find(|path| path.file_stem().is_some_and(|stem| stem == name));
        found.cloned().with_context(|| format!("cargo built no {name}"))
    };
    Ok(Programs { tracker: find("tracker")?, peer: find("peer-cli")? })
}
