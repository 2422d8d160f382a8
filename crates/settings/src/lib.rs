//! What the command lines of both programs have in common. Above all: flags need not stand there. Each has an environment
//! variable, and may stand in a file; the command line wins over the environment, the environment over the file.
//!
//! No flag is listed twice. What the program's clap command says is asked for every name; what is found elsewhere is
//! turned into words of the command line and put before the user's own, so that clap checks everything in one way:
//! a `--ca` from the file conflicts with an `--identity` that was typed, and is named in the same sentence.

mod file;
mod given;
mod log;
mod open_files;
mod pages;
mod surroundings;
mod value;

use std::ffi::OsString;

use clap::{Command, CommandFactory, FromArgMatches, error::ErrorKind};

use file::File;
use given::Given;
pub use log::{log_filter, start_log};
pub use open_files::raise_limit;
pub use pages::{Shell, completions, man_pages};
pub use surroundings::Surroundings;

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
}

/// The environment variable of a flag, given its long name.
pub fn variable(names: &Names, long: &str) -> String {
    format!("{}{}", names.prefix, long.replace('-', "_").to_ascii_uppercase())
}

/// Parses a command line, with what the surroundings say where it is silent.
///
/// Errors are clap's, for `--help` and `--version` too: whoever prints one with `clap::Error::exit` ends with its status.
pub fn parse<T: CommandFactory + FromArgMatches>(
    names: &Names,
    words: Vec<OsString>,
    surroundings: &Surroundings,
) -> Result<T, clap::Error> {
    let plain = T::command();
    let mut command = value::with_switches_that_can_be_off(plain.clone());
    command.build();
    let Some(given) = Given::find(&command, &words) else {
        // Help and versions look nicer without the `=false` that hardly anyone needs.
        plain.try_get_matches_from(words)?;
        return Err(clap::Error::raw(ErrorKind::InvalidSubcommand, "this command line is only good for help\n"));
    };
    let mut found = from_environment(names, &command, &given, surroundings)?;
    let mut sources: Vec<_> = found.iter().map(|(long, _)| (long.clone(), variable(names, long))).collect();
    let named = || surroundings.variable(&variable(names, CONFIG)).filter(|path| !path.is_empty());
    let chosen = given.config().or_else(named);
    if let Some(file) = File::open(chosen, surroundings).map_err(wrong)? {
        let settings = file.settings(names, &command).map_err(wrong)?;
        let silent = |long: &str| !given.anywhere(long) && !found.iter().any(|(other, _)| other == long);
        let rest: Vec<_> = settings.into_iter().filter(|(long, _)| given.takes(long) && silent(long)).collect();
        sources.extend(rest.iter().map(|(long, _)| (long.clone(), file.name())));
        found.extend(rest);
    }
    let more = found.into_iter().flat_map(|(_, words)| words);
    let matches = command.try_get_matches_from(given.insert(words, more));
    T::from_arg_matches(&matches.map_err(|error| with_sources(error, &sources))?)
}

/// Whoever is told that two flags contradict each other must know where the one that was not typed comes from.
fn with_sources(error: clap::Error, sources: &[(String, String)]) -> clap::Error {
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
    clap::Error::raw(ErrorKind::ValueValidation, format!("{sentence}\n"))
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
