//! The command line of a tool that `cargo xtask` starts, and its exit status.

use std::process::ExitCode;

use clap::{Args, Command};

use crate::interrupt::Interrupted;

/// Exit status of a run that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Does what the tool of this name does, with the arguments of this process.
pub fn main<A: Args>(name: &'static str, run: impl FnOnce(&A) -> anyhow::Result<()>) -> ExitCode {
    let about = launcher::tool(name).map_or("", |tool| tool.about);
    let command = A::augment_args(Command::new(format!("cargo xtask {name}")).bin_name(format!("cargo xtask {name}")));
    let matches = command.about(about).get_matches();
    let arguments = A::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    exit_code(run(&arguments))
}

/// Says what went wrong.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<Interrupted>() { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
        }
    }
}
