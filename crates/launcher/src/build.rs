//! One call of cargo, whose progress is shown.

use std::env;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::progress;

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    without_cargo(&mut command);
    command
}

/// Keeps from a nested cargo what cargo sets for the program that it runs: it would build some crates again.
pub fn without_cargo(command: &mut Command) {
    const OURS: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_PRIMARY_"];
    for (name, _) in env::vars_os() {
        if OURS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}

/// Builds these parts, and says where the program of this name lies then.
pub(crate) fn build(parts: &[&str], profile: &str, program: &str) -> Result<PathBuf, String> {
    let target = target_folder().map_err(|error| format!("the folder of what is built is not known: {error}"))?;
    let folder = target.join(if profile == "dev" { "debug" } else { profile });
    if !folder.exists() {
        let names: Vec<_> = parts.windows(2).filter(|pair| pair[0] == "-p").map(|pair| pair[1]).collect();
        let names = names.join(", ");
        eprintln!("Building {names} (profile {profile}). The first time takes about two minutes on two cores.");
    }
    let terminal = io::stderr().is_terminal();
    let mut command = cargo();
    command.arg("build").args(parts).stdin(Stdio::null()).stderr(Stdio::piped());
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", progress::WIDTH.to_string());
    if terminal && cfg!(unix) && env::var_os("CARGO_TERM_COLOR").is_none() && env::var_os("NO_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut cargo = command.spawn().map_err(|error| format!("cargo does not run: {error}"))?;
    if let Some(said) = cargo.stderr.take() {
        progress::show(said, terminal);
    }
    let status = cargo.wait().map_err(|error| format!("cargo is lost: {error}"))?;
    if !status.success() {
        return Err(format!("{program} does not build"));
    }
    Ok(folder.join(program).with_extension(env::consts::EXE_EXTENSION))
}

/// The folder that cargo builds in: this program lies there, in the folder of a profile.
fn target_folder() -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    let folder = own.ancestors().nth(2).map(Path::to_owned);
    folder.ok_or_else(|| io::Error::other(format!("{} lies in no folder", own.display())))
}
