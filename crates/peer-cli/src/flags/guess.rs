//! What was likely meant by a command line that is wrong.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use protocol::{Code, Query, Ticket, TicketError};
use settings::in_quotes;

use crate::flags::tickets;

/// What is wrong with a command line, and what to type instead, in one sentence.
pub fn sentence(program: &clap::Command, words: &[OsString], error: &clap::Error) -> String {
    if let Some(tip) = tip(program, words, error) {
        return tip;
    }
    let said = settings::sentence(error);
    if error.kind() != ErrorKind::MissingRequiredArgument || error.get(ContextKind::PriorArg).is_some() {
        return said;
    }
    let named = words.iter().skip(1).find_map(|word| program.find_subcommand(word));
    let command = named.map_or_else(String::new, |command| format!(" {}", command.get_name()));
    format!("{said}: peer-cli{command} -h shows examples")
}

/// What other programs call what commands do here: by its letters alone `upload` would be `download`.
const OTHER_WORDS: [(&str, &[&str]); 4] = [
    ("share", &["upload", "push", "put", "seed", "serve", "host", "offer"]),
    ("get", &["fetch", "pull", "grab", "recv", "leech", "copy", "clone"]),
    ("ls", &["list", "dir", "find", "search"]),
    ("watch", &["top", "monitor", "progress"]),
];

/// The command that does what a word means elsewhere.
fn of_other_programs(typed: &str) -> Option<&'static str> {
    let typed = typed.to_lowercase();
    OTHER_WORDS.iter().find(|(_, words)| words.contains(&&*typed)).map(|(command, _)| *command)
}

/// The words as they are meant: some type `help` or `version`, as in other programs, and some paste all of the line that `share` prints
/// behind the beginning that they have typed.
pub fn as_meant(program: &clap::Command, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<_> = words.into_iter().collect();
    loop {
        match &words[..] {
            [_, first, name, second, ..] if takes_ticket(first) && name == "peer-cli" && second == "get" => {
                words.drain(2..4);
            }
            [_, name, _, ..] if name == "peer-cli" => drop(words.remove(1)),
            [_, help] if help == "help" => words[1] = "-h".into(),
            [_, version] if version == "version" => words[1] = "--version".into(),
            [_, help, command] if help == "help" && program.find_subcommand(command).is_some() => {
                words[1] = "--help".into();
                words.swap(1, 2);
            }
            _ => return words,
        }
    }
}

/// Whether a command takes a ticket.
fn takes_ticket(command: &OsString) -> bool {
    ["get", "add", "ls", "inspect", "doctor", "gateway"].iter().any(|taking| command == taking)
}

/// What to type instead, if that is clear.
fn tip(program: &clap::Command, words: &[OsString], error: &clap::Error) -> Option<String> {
    let kind = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        // What is no command is taken for one where flags stand before it.
        ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict => ContextKind::InvalidSubcommand,
        _ => return None,
    };
    let Some(ContextValue::String(typed)) = error.get(kind) else { return None };
    let named = words.iter().skip(1).filter_map(|word| program.find_subcommand(word)).next();
    match named {
        Some(command) if error.kind() == ErrorKind::ArgumentConflict => behind_flags(program, words, command),
        Some(command) if words.get(1).is_some_and(|first| first == &**typed) => {
            let belongs = !typed.starts_with('-') || has_flag(command, typed);
            let first = || command_first(words, command);
            if belongs { first() } else { of_another(program, command, typed) }
        }
        Some(command) if typed.starts_with('-') => of_another(program, command, typed),
        None if !typed.starts_with('-') => without_command(words, typed).or_else(|| {
            let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
            let names =
                commands.flat_map(|command| std::iter::once(command.get_name()).chain(command.get_all_aliases()));
            let near = of_other_programs(typed).or_else(|| settings::nearest(typed, names));
            let near = near.map(|name| format!("; did you mean {name}?"));
            let advice = near.unwrap_or(": peer-cli -h lists them".to_owned());
            Some(format!("there is no command {}{advice}", in_quotes(typed)))
        }),
        _ => None,
    }
}

/// The same where flags stand before a command: all that it has belong behind it.
fn behind_flags(program: &clap::Command, words: &[OsString], command: &clap::Command) -> Option<String> {
    let before = words.iter().skip(1).filter_map(|word| word.to_str()).take_while(|word| !is_called(command, word));
    let strange = before.filter(|word| word.starts_with('-')).find(|flag| !has_flag(command, flag));
    strange.map_or_else(|| command_first(words, command), |flag| of_another(program, command, flag))
}

fn is_called(command: &clap::Command, word: &str) -> bool {
    std::iter::once(command.get_name()).chain(command.get_all_aliases()).any(|name| name == word)
}

/// The words with the command before the rest.
fn command_first(words: &[OsString], command: &clap::Command) -> Option<String> {
    let words: Vec<&str> = words.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let at = words.iter().position(|word| is_called(command, word))?;
    let rest = words.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, word)| quoted(word));
    let line: Vec<_> = std::iter::once(words[at].to_owned()).chain(rest).collect();
    Some(format!("the command comes first: peer-cli {}", line.join(" ")))
}

/// Whether a command has a flag.
fn has_flag(command: &clap::Command, typed: &str) -> bool {
    let typed = typed.split_once('=').map_or(typed, |(flag, _)| flag);
    let is_it = |flag: &clap::Arg| match typed.strip_prefix("--") {
        Some(long) => flag.get_long() == Some(long),
        None => flag.get_short() == typed.chars().nth(1),
    };
    command.get_arguments().any(|flag| is_it(flag) && !flag.is_hide_set())
}

/// A flag that other commands have.
fn of_another(program: &clap::Command, command: &clap::Command, typed: &str) -> Option<String> {
    let typed = typed.split_once('=').map_or(typed, |(flag, _)| flag);
    let has = |other: &&clap::Command| has_flag(other, typed);
    let others: Vec<_> = program.get_subcommands().filter(has).map(clap::Command::get_name).collect();
    let (last, first) = others.split_last()?;
    let others = if first.is_empty() { (*last).to_owned() } else { format!("{} and {last}", first.join(", ")) };
    Some(format!("{typed} is a flag of {others}, not of {}", command.get_name()))
}

/// A file, a ticket or a code alone.
fn without_command(words: &[OsString], typed: &str) -> Option<String> {
    let line: Vec<_> = words.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    if let Some(Err(error @ TicketError::Several(_))) = Ticket::find(&line.join(" ")) {
        return Some(tickets::sentence(&error, "get"));
    }
    if typed.parse::<Ticket>().is_ok() || matches!(Code::find(typed), Some(Ok(_))) {
        return Some(format!("To get it: peer-cli get {typed}"));
    }
    let is_path = |word: &&str| !word.starts_with('-') && Path::new(word).exists();
    if is_path(&typed) {
        let paths = words.iter().skip(1).filter_map(|word| word.to_str()).filter(is_path).map(quoted);
        let paths: Vec<_> = paths.collect();
        let (typed, paths) = (in_quotes(typed), paths.join(" "));
        return Some(format!("there is no command {typed}. To send it: peer-cli share {paths}"));
    }
    // What is no name is a ticket that lacks something.
    let error = match Ticket::is_shortened(typed) {
        true => TicketError::Shortened.into(),
        false => typed.parse::<Query>().err()?,
    };
    Some(format!("{error}. To get what it is for: peer-cli get, and the ticket"))
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    quoted_on(word, cfg!(windows))
}

/// On Windows for PowerShell, and if that can be for `cmd`, too, which knows no other quotes than `"`.
fn quoted_on(word: &str, windows: bool) -> String {
    let marks = if windows { "._-+/:@%\\" } else { "._-+/:,@%" };
    let is_plain = |c: char| c.is_alphanumeric() || marks.contains(c);
    // With `@` in front PowerShell takes a word for a variable.
    if !word.is_empty() && word.chars().all(is_plain) && !(windows && word.starts_with('@')) {
        return word.to_owned();
    }
    if !windows {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    // Before a quote it would be taken for a part of the name; nothing that needs quotes is a drive alone.
    let word = word.trim_end_matches('\\');
    if !word.contains(['$', '`', '“', '”', '„']) {
        return format!("\"{word}\"");
    }
    // PowerShell takes these quotes for each other; twice they stand for themselves.
    let is_quote = |c| ['\'', '‘', '’', '‚', '‛'].contains(&c);
    let twice = word.chars().flat_map(|c| std::iter::repeat_n(c, if is_quote(c) { 2 } else { 1 }));
    format!("'{}'", twice.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_line_is_taken_behind_all_that_take_a_ticket() {
        let meant = |line: &str| {
            let words = as_meant(&clap::Command::new("peer-cli"), line.split(' ').map(OsString::from));
            words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        for command in ["get", "add", "ls", "inspect", "doctor", "gateway"] {
            assert_eq!(meant(&format!("peer-cli {command} peer-cli get p2p2")), format!("peer-cli {command} p2p2"));
        }
        assert_eq!(meant("peer-cli peer-cli get p2p2"), "peer-cli get p2p2");
        assert_eq!(meant("peer-cli share peer-cli get"), "peer-cli share peer-cli get", "files may be called so");
    }

    #[test]
    fn words_are_quoted_as_the_shell_at_hand_reads_them() {
        let both = |word: &str| [false, true].map(|windows| quoted_on(word, windows));
        for plain in ["a.bin", "models/v1.0@x", "ä-1"] {
            assert_eq!(both(plain), [plain, plain]);
        }
        assert_eq!(both("a b"), ["'a b'", "\"a b\""]);
        assert_eq!(both("it's $5 `a`"), [r"'it'\''s $5 `a`'", "'it''s $5 `a`'"]);
        assert_eq!(both("it’s"), ["'it’s'", "\"it’s\""]);
        assert_eq!(both("it’s $5"), ["'it’s $5'", "'it’’s $5'"]);
        assert_eq!(both("“a”"), ["'“a”'", "'“a”'"]);
        assert_eq!(both("@list"), ["@list", "\"@list\""]);
        assert_eq!(both("a,b"), ["a,b", "\"a,b\""]);
        assert_eq!(both(r"C:\models"), [r"'C:\models'", r"C:\models"]);
        assert_eq!(quoted_on("my folder\\", true), "\"my folder\"");
        assert_eq!(both(""), ["''", "\"\""]);
    }
}
