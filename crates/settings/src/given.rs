//! What the command line says already, and where more words can be put.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// A command line that was looked through.
pub(crate) struct Given {
    /// Long names of the flags that the command takes, or the subcommand that was named.
    flags: Vec<String>,
    on_the_line: BTreeSet<String>,
    /// Flags that have a variable by a name of their own, and it is set.
    in_the_environment: BTreeSet<String>,
    config: Option<OsString>,
    /// Where words go: behind the program's name or the subcommand's.
    place: usize,
    /// The subcommand that was named, by its own name.
    subcommand: Option<String>,
}

impl Given {
    /// Nothing if the line asks for help or the version. What is wrong in the line is for a later look to find.
    pub(crate) fn find(command: &Command, words: &[OsString]) -> Option<Self> {
        let matches = command.clone().ignore_errors(true).try_get_matches_from(words).ok()?;
        let subcommand = matches.subcommand_name().map(str::to_owned);
        let (mut command, mut matches, mut place) = (command, &matches, 1.min(words.len()));
        while let Some((name, deeper)) = matches.subcommand()
            && let Some(subcommand) = command.find_subcommand(name)
        {
            let named = |word: &OsString| word == name || subcommand.get_all_aliases().any(|alias| word == alias);
            place += words[place..].iter().position(named).map_or(0, |at| at + 1);
            (command, matches) = (subcommand, deeper);
        }
        let from = |source| {
            let of = |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(source);
            command.get_arguments().filter(of).filter_map(long).collect()
        };
        Some(Given {
            flags: command.get_arguments().filter_map(long).collect(),
            on_the_line: from(ValueSource::CommandLine),
            in_the_environment: from(ValueSource::EnvVariable),
            config: raw(matches, crate::CONFIG),
            place,
            subcommand,
        })
    }

    pub(crate) fn command(&self) -> Option<&str> {
        self.subcommand.as_deref()
    }

    /// Flags that the line has.
    pub(crate) fn typed(&self) -> Vec<String> {
        self.on_the_line.iter().cloned().collect()
    }

    /// Flags that can be set.
    pub(crate) fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.iter().map(String::as_str)
    }

    pub(crate) fn takes(&self, long: &str) -> bool {
        self.flags().any(|flag| flag == long)
    }

    pub(crate) fn on_the_line(&self, long: &str) -> bool {
        self.on_the_line.contains(long)
    }

    /// Whether the line says it, or a variable that the flag has by itself.
    pub(crate) fn anywhere(&self, long: &str) -> bool {
        self.on_the_line(long) || self.in_the_environment.contains(long)
    }

    /// The file that the line names.
    pub(crate) fn config(&self) -> Option<OsString> {
        self.config.clone().filter(|_| self.on_the_line(crate::CONFIG))
    }

    /// The line with more words in it.
    pub(crate) fn insert(&self, words: Vec<OsString>, more: impl Iterator<Item = OsString>) -> Vec<OsString> {
        let mut words = words;
        words.splice(self.place..self.place, more);
        words
    }
}

/// The name by which a flag can be set; none for help, the version and what is no flag.
pub(crate) fn long(arg: &Arg) -> Option<String> {
    use clap::ArgAction::{Help, HelpLong, HelpShort, Version};
    if matches!(arg.get_action(), Help | HelpLong | HelpShort | Version) {
        return None;
    }
    arg.get_long().map(str::to_owned)
}

fn raw(matches: &ArgMatches, id: &str) -> Option<OsString> {
    matches.try_get_raw(id).ok().flatten()?.next().map(ToOwned::to_owned)
}
