//! The program `peer-cli`: arguments in, exit status out. What a peer does is in the library `peer`.

mod cli;
mod commands;
mod error;
mod features;
mod flags;
mod lock;
mod session;
mod ui;

use std::process::ExitCode;

use settings::Parsed;

use crate::cli::{Cli, Command};
use crate::commands::control::{self, Deed};
use crate::commands::hash::Against;
use crate::commands::{daemon, doctor, gateway, get, hash, inspect, join, ls, publish, share, watch};
use crate::error::Failure;
use crate::flags::own_folders::Keeps;
use crate::session::patience;
use crate::session::temp_folder::TempFolder;
use crate::ui::{screen, standard_output, terminal};

/// The least address space with which transfers work, buffers and threads included.
const ADDRESS_SPACE: u64 = 96 << 20;

fn main() -> ExitCode {
    settings::on_enough_stack("peer-cli", start)
}

fn start() -> ExitCode {
    if let Err(sentence) = settings::spare_address_space(ADDRESS_SPACE) {
        screen::complain(&sentence);
        return ExitCode::from(error::ExitCode::Other as u8);
    }
    let Parsed { mut arguments, notes, .. } = cli::parse();
    notes.iter().for_each(|note| screen::complain(note));
    settings::raise_limit();
    storage::handle_signals();
    terminal::give_back_on_stop();
    settings::draw_log_with(screen::log_line);
    let log = settings::start_log(&arguments.log_level, arguments.log_file.as_deref(), arguments.log_format);
    let events = arguments.events();
    // Removed at the end, whatever it was.
    let mut temporary = None;
    settle_folders(&mut arguments, &mut temporary);
    let logged = log.map_err(|sentence| Failure::new(error::ExitCode::CannotWrite, sentence));
    let panicked = |sentence| Err(Failure::new(error::ExitCode::Other, sentence));
    let result = logged.and_then(|()| settings::catch_panic(|| run(arguments)).unwrap_or_else(panicked));
    terminal::give_back();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.quiet => ExitCode::SUCCESS,
        Err(mut failure) => {
            // What fails because a task of ours has panicked says nothing of why.
            if failure.code == error::ExitCode::Other {
                failure.message = settings::swallowed_panic().unwrap_or(failure.message);
            }
            failure.message = settings::with_limit_to_raise(failure.message);
            if let Some(output_stream) = events.filter(|_| !failure.told) {
                screen::tell(output_stream, &failure.event());
            }
            screen::complain_at_length(&failure.message, &failure.lines);
            ExitCode::from(failure.code as u8)
        }
    }
}

fn run(arguments: Cli) -> Result<(), Failure> {
    if let Some(what) = arguments.needs_output() {
        standard_output::must_be_open(what)?;
    }
    match arguments.command {
        Some(Command::Hash { file, cut, links, hashes }) => hash::hash(&file, &cut, &links, &hashes),
        Some(Command::Verify { file, manifest, id, hashes }) => {
            let against = match (manifest, id) {
                (Some(path), _) => Against::File(path),
                (None, Some(id)) => Against::Id(id),
                (None, None) => Against::Own,
            };
            hash::verify(&file, &against, hashes.as_deref())
        }
        Some(Command::Publish(arguments)) => in_runtime(publish::run(*arguments)),
        Some(Command::Share(arguments)) => in_runtime(share::run(*arguments)),
        Some(Command::Get(arguments)) => in_runtime(get::run(*arguments)),
        Some(Command::Gateway(arguments)) => in_runtime(gateway::run(*arguments)),
        Some(Command::Ls(arguments)) => in_runtime(ls::run(*arguments)),
        Some(Command::Watch(arguments)) => in_runtime(watch::run(*arguments)),
        Some(Command::Doctor(arguments)) => in_runtime(doctor::run(*arguments)),
        Some(Command::Inspect(arguments)) => in_runtime(inspect::run(*arguments)),
        Some(Command::Daemon(arguments)) => in_runtime(daemon::run(*arguments, cli::daemon_again)),
        Some(Command::Add(arguments)) => in_runtime(control::add(arguments)),
        Some(Command::Rm(arguments)) => in_runtime(control::change(Deed::Remove, arguments)),
        Some(Command::Pause(arguments)) => in_runtime(control::change(Deed::Pause, arguments)),
        Some(Command::Resume(arguments)) => in_runtime(control::change(Deed::Resume, arguments)),
        Some(Command::Prioritise(arguments)) => in_runtime(control::change(Deed::Prioritise, arguments)),
        Some(Command::Limit(arguments)) => in_runtime(control::limit(arguments)),
        Some(Command::Status(arguments)) => in_runtime(control::status(arguments)),
        Some(Command::Completions { shell }) => screen::print_script(&settings::completions(cli::command(), shell)),
        Some(Command::Man { folder }) => settings::man_pages(&cli::NAMES, cli::command(), &folder)
            .map_err(|error| Failure::new(error::ExitCode::CannotWrite, format!("{}: {error}", folder.display()))),
        Some(Command::Join(arguments)) => in_runtime(join::run(*arguments)),
        None => in_runtime(join::run(arguments.join)),
    }
}

/// Says where a command keeps what is its own. The original's way of starting does so where it is started.
fn settle_folders(arguments: &mut Cli, temporary: &mut Option<TempFolder>) {
    let (peer, keeps) = match &mut arguments.command {
        Some(Command::Share(share)) => (&mut share.peer, Keeps::KeyAndManifests),
        Some(Command::Daemon(daemon)) => (&mut daemon.peer, Keeps::KeyAndManifests),
        Some(Command::Get(get)) => (&mut get.peer, Keeps::Manifests),
        Some(Command::Gateway(gateway)) => (&mut gateway.peer, Keeps::Manifests),
        Some(Command::Ls(ls)) => (&mut ls.query.peer, Keeps::Nothing),
        Some(Command::Watch(watch)) => (&mut watch.query.peer, Keeps::Nothing),
        Some(Command::Doctor(doctor)) => (&mut doctor.query.peer, Keeps::Nothing),
        Some(Command::Inspect(inspect)) => (&mut inspect.query.peer, Keeps::Nothing),
        Some(Command::Publish(publish)) => (&mut publish.query.peer, Keeps::Nothing),
        _ => return,
    };
    peer.settle_folders(keeps, || {
        *temporary = TempFolder::under(&std::env::temp_dir()).ok();
        temporary.as_ref().map(|folder| folder.path().to_owned())
    });
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
