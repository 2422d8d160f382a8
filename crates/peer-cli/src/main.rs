//! The program `peer-cli`: arguments in, exit status out. What a peer does is in the library `peer`.

mod arguments;
mod connect;
mod events;
mod exit_code;
mod get;
mod hash;
mod progress;
mod prompt;
mod range_flags;
mod screen;
mod share;
mod sizes;
mod start;
mod swarm;
mod terminal;

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::arguments::{Arguments, Command};
use crate::exit_code::Failure;

fn main() -> ExitCode {
    let arguments = arguments::parse();
    let filter = EnvFilter::try_new(&arguments.log_level).unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            eprintln!("peer-cli: {message}");
            ExitCode::from(code as u8)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Some(Command::Hash { file, cut, hashes }) => hash::hash(&file, &cut, &hashes),
        Some(Command::Verify { file, manifest, hashes }) => hash::verify(&file, manifest.as_ref(), &hashes),
        Some(Command::Share(arguments)) => in_runtime(share::run(arguments)),
        Some(Command::Get(arguments)) => in_runtime(get::run(arguments)),
        None => in_runtime(swarm::run(arguments.swarm)),
    }
}

fn in_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(exit_code::ExitCode::Other, error.to_string()))?;
    let result = runtime.block_on(work);
    // A file may still be hashed, or a block written: nothing that anyone waits for.
    runtime.shutdown_background();
    result
}
