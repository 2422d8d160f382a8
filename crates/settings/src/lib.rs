//! What both programs have in common around their command lines: settings, logs, signals, and the terminal. Above all: flags
//! need not stand on the command line. Each has an environment
//! variable, and may stand in a file; the command line wins over the environment, the environment over the file.
//!
//! No flag is listed twice. What the program's clap command says is asked for every name; what is found elsewhere is
//! turned into words of the command line and put before the user's own, so that clap checks everything in one way:
//! a `--ca` from the file conflicts with an `--identity` that was typed, and is named in the same sentence.
//!
//! Files are the user's own, the machine's, or one that `--config` names. What lies in the working folder may have been
//! downloaded: it counts only for command lines without a subcommand, and only for the flags that the program lists as harmless.
//!
//! # Example
//!
//! ```
//! use clap::Parser;
//! use p2p_fileshare_settings::{Names, Surroundings, parse};
//!
//! #[derive(Parser)]
//! struct Arguments {
//!     #[arg(long, default_value_t = 1)]
//!     port: u16,
//! }
//!
//! const NAMES: Names = Names { prefix: "EXAMPLE_", table: "example", others: &[], harmless: &["port"], plain: &[] };
//!
//! let words = ["example", "--port", "9000"].map(Into::into).to_vec();
//! let parsed = parse::<Arguments>(&NAMES, words, &Surroundings::default())?; // `EXAMPLE_PORT` would do as well
//! assert_eq!(parsed.arguments.port, 9000);
//! # Ok::<(), clap::Error>(())
//! ```

mod address_space;
mod file;
mod folders;
mod given;
mod granted;
mod harmless;
mod help;
mod log;
mod open_files;
mod optional;
mod pages;
mod panics;
pub mod prompt;
mod quotes;
mod recent;
mod refusal;
mod service_manager;
#[cfg(windows)]
mod session_end;
mod signals;
mod spelling;
mod stack;
mod surroundings;
mod table;
pub mod terminal;
mod value;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use clap::error::{ContextKind, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};

pub use address_space::spare_address_space;
use file::File;
pub use folders::Folders;
use given::Given;
pub use granted::with_limit_to_raise;
pub use harmless::harm_in_working_folder;
pub use help::{Idle, Layout};
pub use log::{LogFormat, draw_log_with, log_file, log_filter, reopen_log, start_log};
pub use open_files::raise_limit;
pub use optional::not_built;
pub use pages::{Shell, completions, man_pages};
pub use panics::{catch_panic, swallowed_panic};
pub use quotes::{in_quotes, unquoted};
pub use recent::{keep_recent_log, recent_log};
pub use refusal::sentence;
pub use service_manager::ServiceManager;
pub use signals::{Signal, Signals, end_when_stuck};
pub use stack::on_enough_stack;
pub use surroundings::Surroundings;
pub use table::keep_table;

/// The flag that names another file.
const CONFIG: &str = "config";

/// How a program's settings are called.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Begins every environment variable, as in `P2P_`.
    pub prefix: &'static str,
    /// Its table in the file, as in `peer-cli`.
    pub table: &'static str,
    /// Tables of other programs, which stand in the same file.
    pub others: &'static [&'static str],
    /// Long names of the flags that a file of the working folder may set, since they do no harm, no matter who put it there:
    /// numbers, rates, sizes and how much is said; nothing that names a path, a host, an identity or a file, or that does
    /// something else than what was typed.
    pub harmless: &'static [&'static str],
    /// Subcommands that are nothing but a name for the program without one: what counts there counts for them.
    pub plain: &'static [&'static str],
}

/// The environment variable of a flag, given its long name.
pub fn variable(names: &Names, long: &str) -> String {
    format!("{}{}", names.prefix, long.replace('-', "_").to_ascii_uppercase())
}

/// A command line that was parsed.
#[derive(Debug)]
pub struct Parsed<T> {
    /// What it says, with the settings.
    pub arguments: T,
    /// Settings that were left alone, as sentences to tell the user.
    pub notes: Vec<String>,
    /// Long names of the flags that a file has set, each with the file.
    pub in_files: Vec<(String, String)>,
    /// Long names of the flags that files and the environment have set, each with the words that say so.
    pub set: Vec<(String, Vec<OsString>)>,
    /// The subcommand that was named, by its own name.
    pub command: Option<String>,
    /// Long names of the flags that were typed.
    pub typed: Vec<String>,
}

/// Parses a command line, with what the surroundings say where it is silent.
///
/// Errors are clap's, for `--help` and `--version` too: [`exit`] prints one and ends with its status.
pub fn parse<T: CommandFactory + FromArgMatches>(
    names: &Names,
    words: Vec<OsString>,
    surroundings: &Surroundings,
) -> Result<Parsed<T>, clap::Error> {
    parse_as(names, T::command(), words, surroundings)
}

/// The same, of a command whose help was arranged.
pub fn parse_as<T: FromArgMatches>(
    names: &Names,
    command: Command,
    words: Vec<OsString>,
    surroundings: &Surroundings,
) -> Result<Parsed<T>, clap::Error> {
    let plain = spelling::as_here(command);
    let mut command = value::with_switches_that_can_be_off(plain.clone());
    if cfg!(windows) {
        command = quotes::off_paths(command);
    }
    command.build();
    let Some(given) = Given::find(&command, &words) else {
        // Help and versions look nicer without the `=false` that hardly anyone needs.
        plain.try_get_matches_from(words)?;
        return Err(clap::Error::raw(ErrorKind::InvalidSubcommand, "this command line is only good for help\n"));
    };
    let mut found = from_environment(names, &command, &given, surroundings)?;
    let mut sources: Vec<_> = found.iter().map(|(long, _)| (long.clone(), variable(names, long))).collect();
    let (mut notes, mut in_files) = (Vec::new(), Vec::new());
    for file in files(names, &given, surroundings, &mut notes)? {
        let silent = |long: &str| !given.anywhere(long) && !found.iter().any(|(other, _)| other == long);
        let settings = file.settings(names, &command).map_err(wrong)?;
        let rest: Vec<_> = settings.into_iter().filter(|(long, _)| given.takes(long) && silent(long)).collect();
        let (rest, left): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|(long, words)| file.may_say(names, long, words));
        notes.extend(left.iter().map(|(long, _)| {
            format!(
                "{}: `{long}` is not read in the working folder, where others may have put it: say it on the command line, or \
                 name the file with --config",
                file.name()
            )
        }));
        in_files.extend(rest.iter().map(|(long, _)| (long.clone(), file.name())));
        found.extend(rest);
    }
    sources.extend_from_slice(&in_files);
    let set = found.clone();
    let more = found.into_iter().flat_map(|(_, words)| words);
    let words = given.insert(words, more);
    let matches = command.try_get_matches_from_mut(&words);
    let matches = matches.map_err(|error| {
        let error = refusal::with_what_needs_it(error, &command, &words);
        with_notes(with_sources(error, &sources), &notes)
    })?;
    let arguments = T::from_arg_matches(&matches)?;
    let command = given.command().map(str::to_owned);
    Ok(Parsed { arguments, notes, in_files, set, command, typed: given.typed() })
}

/// The files that have a say, in their order.
fn files(
    names: &Names,
    given: &Given,
    surroundings: &Surroundings,
    notes: &mut Vec<String>,
) -> Result<Vec<File>, clap::Error> {
    let named = || surroundings.variable(&variable(names, CONFIG)).filter(|path| !path.is_empty());
    if let Some(path) = given.config().or_else(named) {
        return Ok(vec![File::read(Path::new(&path)).map_err(wrong)?]);
    }
    let mut files = Vec::new();
    if given.command().is_none_or(|command| names.plain.contains(&command))
        && let Some(path) = surroundings.working()
    {
        match File::working(path) {
            Ok(file) => files.extend(file),
            Err(sentence) => notes.push(sentence),
        }
    }
    files.extend(File::first(&surroundings.files).map_err(wrong)?);
    Ok(files)
}

/// The status of both programs where something cannot be written.
const CANNOT_WRITE: i32 = 7;

/// Says what is wrong with a command line, or the help that it asks for, and ends the program with clap's status. Words from
/// elsewhere stand in it.
pub fn exit(error: &clap::Error) -> ! {
    let text = error.to_string();
    if text.chars().any(|c| c != '\n' && protocol::is_unprintable(c)) {
        let lines: Vec<_> = text.lines().map(protocol::printable).collect();
        let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
    } else {
        // Help that was asked for and cannot be shown is no success; a reader that has seen enough is.
        if let Err(lost) = error.print()
            && lost.kind() != std::io::ErrorKind::BrokenPipe
        {
            let _ = writeln!(std::io::stderr(), "standard output takes no more: {lost}");
            std::process::exit(CANNOT_WRITE);
        }
    }
    std::process::exit(error.exit_code())
}

/// If two flags contradict each other, the message says where the one that was not typed comes from.
fn with_sources(error: clap::Error, sources: &[(String, String)]) -> clap::Error {
    // What is no command was taken for one beside them.
    if error.get(ContextKind::InvalidSubcommand).is_some() {
        return error;
    }
    let text = error.to_string();
    let sentence = text.split("\n\n").next().unwrap_or_default();
    let named = |long: &str| sentence.split(['\'', ' ', '=']).any(|word| word.strip_prefix("--") == Some(long));
    let notes = sources.iter().filter(|(long, _)| error.kind() == ErrorKind::ArgumentConflict && named(long));
    let notes: String = notes.map(|(long, source)| format!("note: --{long} stands in {source}\n")).collect();
    if notes.is_empty() {
        return error;
    }
    clap::Error::raw(error.kind(), format!("{}\n{notes}", text.trim_start_matches("error: ").trim_end()))
}

/// If a flag is missing that stands in the working folder's file, the message says why it does not count.
fn with_notes(error: clap::Error, notes: &[String]) -> clap::Error {
    if notes.is_empty() || error.kind() != ErrorKind::MissingRequiredArgument {
        return error;
    }
    let text = error.to_string();
    let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
    clap::Error::raw(error.kind(), format!("{}\n{notes}", text.trim_start_matches("error: ").trim_end()))
}

/// Words by the long name of their flag.
type Found = Vec<(String, Vec<OsString>)>;

fn from_environment(
    names: &Names,
    command: &Command,
    given: &Given,
    surroundings: &Surroundings,
) -> Result<Found, clap::Error> {
    let mut found = Vec::new();
    for long in given.flags() {
        let name = variable(names, long);
        // An empty variable is as good as none.
        let Some(text) = surroundings.variable(&name).filter(|text| !text.is_empty()) else { continue };
        if given.on_the_line(long) {
            continue;
        }
        let words = value::of_variable(command, long, &text).map_err(|reason| wrong(format!("{name}: {reason}")))?;
        found.push((long.to_owned(), words));
    }
    Ok(found)
}

fn wrong(sentence: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{}\n", protocol::printable(&sentence)))
}

/// An address to listen on, of which the port is enough: then it is one of loopback.
pub fn loopback_unless_told(text: &str) -> Result<std::net::SocketAddr, String> {
    let port = text.trim_start_matches(':').parse::<u16>().map(|port| ([127, 0, 0, 1], port).into());
    let wrong = || format!("{text:?} is no address: write it like 9100, 127.0.0.1:9100 or [::]:9100");
    port.or_else(|_| text.parse()).map_err(|_| wrong())
}

/// The name among `names` that a mistyped one most likely stands for, if any is near.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let distance = |name: &str| strsim::normalized_damerau_levenshtein(&typed, &name.to_lowercase());
    let scored = names.into_iter().map(|name| (distance(name), name));
    // Half of the letters may be wrong or missing.
    scored.filter(|(score, _)| *score >= 0.5).max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
