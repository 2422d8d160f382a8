//! The program `peer-cli`: arguments in, exit status out. What a peer does is in the library `peer`.

mod cli;
mod commands;
mod error;
mod flags;
mod session;
mod ui;

use std::process::ExitCode;

use clap::CommandFactory;
use settings::Parsed;

use crate::cli::{Cli, Command};
use crate::commands::hash::Against;
use crate::commands::{doctor, get, hash, inspect, join, ls, share, watch};
use crate::error::Failure;
use crate::session::patience;
use crate::ui::{screen, terminal};

fn main() -> ExitCode {
    if let Err(sentence) = settings::spare_address_space() {
        screen::complain(&sentence);
        return ExitCode::from(error::ExitCode::Other as u8);
    }
    let Parsed { arguments, notes, .. } = cli::parse();
    notes.iter().for_each(|note| screen::complain(note));
    settings::raise_limit();
    storage::handle_signals();
    terminal::give_back_on_stop();
    settings::draw_log_with(screen::log_line);
    let log = settings::start_log(&arguments.log_level, arguments.log_file.as_deref());
    let events = arguments.events();
    let logged = log.map_err(|sentence| Failure::new(error::ExitCode::CannotWrite, sentence));
    let panicked = |sentence| Err(Failure::new(error::ExitCode::Other, sentence));
    match logged.and_then(|()| settings::catch_panic(|| run(arguments)).unwrap_or_else(panicked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(output_stream) = events.filter(|_| !failure.told) {
                screen::tell(output_stream, &failure.event());
            }
            screen::complain_at_length(&failure.message, &failure.lines);
            ExitCode::from(failure.code as u8)
        }
    }
}

fn run(arguments: Cli) -> Result<(), Failure> {
    match arguments.command {
        Some(Command::Hash { file, cut, links, hashes }) => hash::hash(&file, &cut, &links, &hashes),
        Some(Command::Verify { file, manifest, id, hashes }) => {
            let against = match (manifest, id) {
                (Some(path), _) => Against::File(path),
                (None, Some(id)) => Against::Id(id),
                (None, None) => Against::Own,
            };
            hash::verify(&file, &against, &hashes)
        }
        Some(Command::Share(arguments)) => in_runtime(share::run(arguments)),
        Some(Command::Get(arguments)) => in_runtime(get::run(arguments)),
        Some(Command::Ls(arguments)) => in_runtime(ls::run(*arguments)),
        Some(Command::Watch(arguments)) => in_runtime(watch::run(*arguments)),
        Some(Command::Doctor(arguments)) => in_runtime(doctor::run(*arguments)),
        Some(Command::Inspect(arguments)) => in_runtime(inspect::run(*arguments)),
        Some(Command::Completions { shell }) => screen::print_script(&settings::completions(Cli::command(), shell)),
        Some(Command::Man { folder }) => settings::man_pages(&cli::NAMES, Cli::command(), &folder)
            .map_err(|error| Failure::new(error::ExitCode::CannotWrite, format!("{}: {error}", folder.display()))),
        None => in_runtime(join::run(arguments.join)),
    }
}

fn in_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(error::ExitCode::Other, error.to_string()))?;
    let result = runtime.block_on(async {
        patience::keep_time();
        work.await
    });
    // A file may still be hashed, or a block written: nothing that anyone waits for.
    runtime.shutdown_background();
    result
}
