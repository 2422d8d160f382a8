//! `-r1 0.2` and `-r2=0.4`, as the original spelt them: clap takes a short flag to be one letter, so they are
//! rewritten to `--r1` and `--r2` before it sees them.
//!
//! Only whole arguments are rewritten, only before `--`, and never the value of another flag: a file may be called
//! `-r1`.

use std::ffi::OsString;

use clap::{ArgAction, Command};

/// The arguments with `-r1` and `-r2` in their long spelling. Which flags take a value is asked of `command`.
pub fn rewrite(arguments: impl IntoIterator<Item = OsString>, command: &Command) -> Vec<OsString> {
    let (mut value_follows, mut literal) = (false, false);
    let rewrite = |argument: OsString| {
        if std::mem::take(&mut value_follows) || literal {
            return argument;
        }
        let Some(text) = argument.to_str() else { return argument };
        if text == "--" {
            literal = true;
            return argument;
        }
        for flag in ["-r1", "-r2"] {
            if text.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')) {
                value_follows = text == flag;
                return format!("-{text}").into();
            }
        }
        value_follows = ends_with_flag_that_takes_a_value(text, command);
        argument
    };
    arguments.into_iter().map(rewrite).collect()
}

fn ends_with_flag_that_takes_a_value(text: &str, command: &Command) -> bool {
    // Flags that take many values take what looks like a number; a flag after them is a flag.
    let one_value = |arg: &&clap::Arg| {
        matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
            && arg.get_num_args().is_none_or(|count| count.max_values() == 1)
    };
    let valued = || command.get_arguments().filter(one_value);
    if let Some(long) = text.strip_prefix("--") {
        let is_it = |arg: &clap::Arg| {
            arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|names| names.contains(&long))
        };
        return valued().any(is_it);
    }
    let Some(letters) = text.strip_prefix('-') else { return false };
    // In `-Sf`, the value of `f` follows; in `-fS`, `S` is the value.
    let first = letters.char_indices().find(|(_, letter)| valued().any(|arg| arg.get_short() == Some(*letter)));
    first.is_some_and(|(at, letter)| at + letter.len_utf8() == letters.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn rewritten(line: &str) -> String {
        let words = rewrite(line.split(' ').map(OsString::from), &Cli::command());
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn both_spellings_become_the_long_one() {
        assert_eq!(rewritten("p -S -r1 0.2 -r2=0.4"), "p -S --r1 0.2 --r2=0.4");
        assert_eq!(rewritten("p -S --r1 0.2"), "p -S --r1 0.2");
        assert_eq!(rewritten("p -m 1 2 -r1 0.2"), "p -m 1 2 --r1 0.2");
    }

    #[test]
    fn the_value_of_another_flag_is_left_alone() {
        assert_eq!(rewritten("p -f -r1 -r2 1"), "p -f -r1 --r2 1");
        assert_eq!(rewritten("p -f=-r1"), "p -f=-r1");
        assert_eq!(rewritten("p -f-r1 -r1 1"), "p -f-r1 --r1 1");
        assert_eq!(rewritten("p -Sf -r1"), "p -Sf -r1");
        assert_eq!(rewritten("p -fS -r1 0"), "p -fS --r1 0");
        assert_eq!(rewritten("p --file -r1"), "p --file -r1");
        assert_eq!(rewritten("p --file=x -r1 0"), "p --file=x --r1 0");
        assert_eq!(rewritten("p --rate -r1"), "p --rate -r1");
    }

    #[test]
    fn only_whole_arguments_and_only_before_the_two_dashes() {
        assert_eq!(rewritten("p -r10.2 -r1x -r3"), "p -r10.2 -r1x -r3");
        assert_eq!(rewritten("p -- -r1 0.2"), "p -- -r1 0.2");
        assert_eq!(rewritten("p -f -- -r1 0.2"), "p -f -- --r1 0.2");
    }
}
