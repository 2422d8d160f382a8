//! Builds `tracker` and `peer-cli`, and returns their paths, so that no test runs a stale binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
pub use launcher::without_cargo;
use serde_json::Value;

const PROGRAMS: [&str; 5] = ["-p", "tracker", "-p", "peer-cli", "--bins"];

/// Paths of the built programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The tracker.
    pub tracker: PathBuf,
    /// The peer.
    pub peer: PathBuf,
}

impl Programs {
    /// Those of this folder, or those that are built now, optimised.
    pub fn of_folder_or_built(folder: Option<&Path>) -> anyhow::Result<Self> {
        let Some(folder) = folder else { return build(true) };
        // Each runs in a folder of its own.
        let folder = folder.canonicalize().with_context(|| format!("there is no {}", folder.display()))?;
        let of = |name: &str| -> anyhow::Result<PathBuf> {
            let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
            ensure!(path.is_file(), "there is no {}", path.display());
            Ok(path)
        };
        Ok(Programs { tracker: of("tracker")?, peer: of("peer-cli")? })
    }
}

/// Where programs find their folders, beside `HOME`.
const FOLDERS: [&str; 5] = ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"];

/// Gives a program a home, so that it touches nobody else's. The folder need not be there.
pub fn at_home(command: &mut Command, home: &Path) {
    for name in FOLDERS {
        command.env_remove(name);
    }
    command.env("HOME", home);
    if cfg!(windows) {
        command.env("USERPROFILE", home).env("LOCALAPPDATA", home.join("AppData").join("Local"));
    }
}

/// Keeps what the user has set for peers of its own away from one of ours: variables, and what is in its home. There is no home
/// then, unless [`at_home`] gives one. And nothing is sent to the local network.
pub fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("P2P_")) {
        command.env_remove(name);
    }
    let nothing = if cfg!(windows) { "NUL" } else { "/dev/null" };
    command.env("P2P_CONFIG", nothing).env("P2P_TRACKER_CONFIG", nothing);
    // What runs here is nobody's business in the network that this machine is in.
    command.env("P2P_NO_LAN", "true");
    at_home(command, &Path::new(nothing).join("home"));
}

/// Builds both, optimised as far as is quick to build, or with the profile of tests.
pub fn build(optimised: bool) -> anyhow::Result<Programs> {
    build_as(if optimised { "quick" } else { "dev" })
}

/// Builds both as what is measured.
pub fn build_for_figures() -> anyhow::Result<Programs> {
    build_as("release")
}

/// The profile of what is handed out: optimised, and without symbols.
pub const FOR_PEOPLE: &str = "dist";
/// What it has beside what every build has.
pub const FEATURES_FOR_PEOPLE: [&str; 2] = ["--features", launcher::FEATURES_FOR_PEOPLE];

/// Builds both with this profile.
pub fn build_as(profile: &str) -> anyhow::Result<Programs> {
    of_executables(&cargo_build(&PROGRAMS, profile)?)
}

/// Builds both with this profile, as they are handed out.
pub fn build_for_people(profile: &str) -> anyhow::Result<Programs> {
    of_executables(&cargo_build(&[&PROGRAMS[..], &FEATURES_FOR_PEOPLE].concat(), profile)?)
}

/// Both programs among what was built.
pub fn of_executables(executables: &[PathBuf]) -> anyhow::Result<Programs> {
    Ok(Programs { tracker: find(executables, "tracker")?, peer: find(executables, "peer-cli")? })
}

/// Builds the floors that the data path is measured against.
pub fn build_floors() -> anyhow::Result<PathBuf> {
    find(&cargo_build(&["-p", "p2p-fileshare-transport", "--example", "floors"], "release")?, "floors")
}

fn find(executables: &[PathBuf], name: &str) -> anyhow::Result<PathBuf> {
    let found = executables.iter().find(|path| path.file_stem().is_some_and(|stem| stem == name));
    found.cloned().with_context(|| format!("cargo built no {name}"))
}

/// What cargo built.
fn cargo_build(what: &[&str], profile: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut command = launcher::cargo();
    command.arg("build").args(what).args(["--profile", profile]);
    if profile == "dev" {
        command.arg("--quiet");
    }
    executables(&mut command)
}

/// Both programs, as a command that is about to build them makes them.
pub fn build_by(command: &mut Command) -> anyhow::Result<Programs> {
    of_executables(&executables(command.args(PROGRAMS))?)
}

/// Programs that a build which is about to start makes.
pub fn executables(command: &mut Command) -> anyhow::Result<Vec<PathBuf>> {
    without_cargo(command.arg("--message-format=json-render-diagnostics"));
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cargo does not run")?;
    ensure!(output.status.success(), "it does not build");
    let artifacts = String::from_utf8_lossy(&output.stdout);
    let executables = artifacts
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    Ok(executables.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_a_folder_are_both_there() {
        let folder = tempfile::tempdir().unwrap();
        let of = || Programs::of_folder_or_built(Some(folder.path()));
        let path = |name: &str| folder.path().join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        std::fs::write(path("tracker"), b"").unwrap();
        assert!(of().unwrap_err().to_string().contains("peer-cli"));
        std::fs::write(path("peer-cli"), b"").unwrap();
        let Programs { tracker, peer } = of().unwrap();
        assert!(tracker.is_absolute() && tracker.is_file() && peer.is_file());
        assert!(Programs::of_folder_or_built(Some(&folder.path().join("none"))).is_err());
    }
}
