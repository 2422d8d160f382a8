//! `cargo xtask certs`: has `tracker certs` make the files of a closed swarm.

use std::ffi::OsString;
use std::process::Command;

use anyhow::ensure;
use testbed::programs;

/// What `tracker --init-closed` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// As `--peers 5`, `--name NAME`, `--days 365`, `--rotate` or `--certs FOLDER`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<OsString>,
}

/// Builds the tracker and has it make what is missing.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let programs = programs::build(true)?;
    let status = Command::new(&programs.tracker).arg("--init-closed").args(&arguments.flags).status()?;
    ensure!(status.success(), "no certificates were made");
    Ok(())
}
