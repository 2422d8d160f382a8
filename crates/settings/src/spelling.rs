//! Paths in a program's help, spelt as one types them on this platform: sources have `/`, and PowerShell's completion and the
//! programs' own words have `\`.

use clap::builder::StyledStr;
use clap::{Arg, Command};

/// How paths begin that help names: the programs' own folders. Patterns and URLs keep their strokes.
const FOLDERS: [&str; 4] = ["input/", "output/", "hashes/", "certs/"];

/// The command with help for this platform.
pub(crate) fn as_here(command: Command) -> Command {
    if cfg!(windows) { with_backslashes(command) } else { command }
}

fn with_backslashes(command: Command) -> Command {
    let command = replaced(command, Command::get_about, Command::about);
    let command = replaced(command, Command::get_long_about, Command::long_about);
    let command = replaced(command, Command::get_before_help, Command::before_help);
    let command = replaced(command, Command::get_before_long_help, Command::before_long_help);
    let command = replaced(command, Command::get_after_help, Command::after_help);
    let command = replaced(command, Command::get_after_long_help, Command::after_long_help);
    let argument = |argument: Arg| {
        let argument = replaced(argument, Arg::get_help, Arg::help);
        replaced(argument, Arg::get_long_help, Arg::long_help)
    };
    command.mut_args(argument).mut_subcommands(with_backslashes)
}

/// The same with another text, if it has one.
fn replaced<T>(of: T, get: impl Fn(&T) -> Option<&StyledStr>, set: impl Fn(T, String) -> T) -> T {
    match get(&of).map(|text| spelt(&text.to_string())) {
        Some(text) => set(of, text),
        None => of,
    }
}

/// A text whose paths have backslashes.
fn spelt(text: &str) -> String {
    let word = |word: &str| {
        let path = word.trim_start_matches(['`', '(', '\'', '"']);
        if FOLDERS.iter().any(|folder| path.starts_with(folder)) { word.replace('/', "\\") } else { word.to_owned() }
    };
    text.split_inclusive(char::is_whitespace).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_spelt_with_backslashes_and_nothing_else() {
        let text = "Files in input/ (`hashes/by-id/`), as certs/ca.pem;\n  --only 'data/*' and both/neither";
        let expected = "Files in input\\ (`hashes\\by-id\\`), as certs\\ca.pem;\n  --only 'data/*' and both/neither";
        assert_eq!(spelt(text), expected);
    }

    #[test]
    fn all_parts_of_help_are_spelt() {
        let sub = Command::new("get").about("To output/").arg(Arg::new("x").long("x").help("As certs/ca.pem"));
        let command = Command::new("program").about("Shares input/").after_help("  get  into output/").subcommand(sub);
        let mut command = with_backslashes(command);
        let help = command.render_long_help().to_string();
        assert!(help.contains("Shares input\\") && help.contains("into output\\"), "{help}");
        let help = command.find_subcommand_mut("get").unwrap().render_help().to_string();
        assert!(help.contains("To output\\") && help.contains("As certs\\ca.pem"), "{help}");
    }
}
