//! What else clap knows how to make of a program's flags: completions for shells, and man pages that name variables.

use std::path::Path;

use clap::Command;
pub use clap_complete::Shell;

use crate::{Names, given, variable};

/// A shell's completions, as a script.
pub fn completions(mut command: Command, shell: Shell) -> String {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes a man page for the program, and one for each of its subcommands, into a folder that is there.
pub fn man_pages(names: &Names, command: Command, folder: &Path) -> std::io::Result<()> {
    clap_mangen::generate_to(with_variables(names, command).disable_help_subcommand(true), folder)
}

/// Only for pages: what a variable says is read elsewhere.
fn with_variables(names: &Names, command: Command) -> Command {
    let named = |arg: clap::Arg| match given::long(&arg).filter(|_| arg.get_env().is_none()) {
        Some(long) => arg.env(variable(names, &long)).hide_env_values(true),
        None => arg,
    };
    let command = command.mut_args(named).mut_subcommands(|subcommand| with_variables(names, subcommand));
    // A page has its examples at the end.
    let texts = [command.get_before_long_help().or(command.get_before_help()), command.get_after_long_help()];
    let texts: Vec<_> = texts.into_iter().flatten().map(ToString::to_string).collect();
    if texts.is_empty() { command } else { command.after_long_help(texts.join("\n\n")) }
}
