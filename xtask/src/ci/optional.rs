//! Checks and tests the optional features, which are off by default, after everything else.
//!
//! Real clients are used if they are installed; clients in Python are installed into a separate folder.

use std::path::PathBuf;
use std::process::Command;

use testbed::programs::{self, Programs};

use super::tests;
use crate::cross::Skipped;
use crate::dist::there_is;

/// Packages that have optional parts, and the features that turn those on.
const PACKAGES: [&str; 7] = [
    "p2p-fileshare-gateway",
    "p2p-fileshare-origins",
    "p2p-fileshare-monitor",
    "p2p-fileshare-page",
    "p2p-fileshare-daemon",
    "tracker",
    "peer-cli",
];
const FEATURES: &str = "p2p-fileshare-gateway/http,p2p-fileshare-origins/client,p2p-fileshare-monitor/http,\
    p2p-fileshare-page/http,p2p-fileshare-daemon/http,\
    peer-cli/gateway,peer-cli/origins,peer-cli/port-mapping,metrics,web";
/// What tests use of Python.
const PYTHON: [&str; 5] = ["huggingface_hub", "moto[server]", "s5cmd", "jsonschema", "playwright"];
/// Other programs that tests talk to. `.ci/run` installs those that it can.
const CLIENTS: [&str; 9] =
    ["curl", "wget", "aria2c", "miniupnpd", "prometheus", "rclone", "skopeo", "docker-registry", "containerd"];
/// A browser for the pages, by the names that it has.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Where it is put.
const FOLDER: &str = "target/python";

/// Checks and tests all of them, as one build.
pub(super) fn run(once: bool, skipped: &mut Skipped) -> anyhow::Result<()> {
    let python = python();
    if python.is_none() {
        skipped.say("clients in Python: pip cannot install them here");
    }
    for program in CLIENTS.iter().filter(|program| !there_is(program)) {
        skipped.say(&format!("what is tested with {program}, which is not installed here"));
    }
    if !BROWSERS.iter().any(|name| there_is(name)) {
        skipped.say("pages in a browser: there is no Chromium here (apt install chromium)");
    }
    let chosen: Vec<_> = PACKAGES.iter().flat_map(|package| ["-p", package]).chain(["--features", FEATURES]).collect();
    super::cargo(&[&["clippy"], &chosen[..], &["--all-targets", "--", "-D", "warnings"]].concat())?;
    tests::run(&chosen, once, |command| {
        command.envs(python.iter().map(|python| ("P2P_TEST_PYTHON", python)));
    })
}

/// The programs with all optional parts, of which the tests have built nearly everything.
pub(super) fn programs() -> anyhow::Result<Programs> {
    let mut command = super::command();
    command.args(["build", "--bins"]).args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    programs::of_executables(&programs::executables(command.args(["--features", FEATURES]))?)
}

/// A Python that has what tests use of it.
pub(super) fn python() -> Option<PathBuf> {
    let folder = std::env::current_dir().ok()?.join(FOLDER);
    let bin = if cfg!(windows) { "Scripts" } else { "bin" };
    let python = folder.join(bin).join(if cfg!(windows) { "python.exe" } else { "python" });
    let succeeds = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    let is_there = python.exists() || succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "30", "--retries", "2"]);
    (is_there && succeeds(pip.args(PYTHON))).then_some(python)
}
