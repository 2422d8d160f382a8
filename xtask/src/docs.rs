//! Writes the tables of flags in the docs. The programs' own tests compare the tables with clap's definitions, and write them on request.

use anyhow::{Context, ensure};

/// Has both programs write their tables.
pub fn run() -> anyhow::Result<()> {
    let mut command = launcher::cargo();
    command.args(["test", "--quiet", "-p", "peer-cli", "-p", "tracker", "--bins", "the_tables_of_flags"]);
    let status = command.env("UPDATE_DOCS", "1").status().context("cargo does not run")?;
    ensure!(status.success(), "the tables are not written");
    Ok(())
}
