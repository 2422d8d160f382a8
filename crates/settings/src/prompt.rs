//! What is typed while a program runs, as both programs read it: a command, whatever its case, and what it is about.

use crate::nearest;

/// The command of a line, in lower case, and what stands behind it, as it was typed; quotes around that are taken off. None for an
/// empty line.
pub fn command(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (!word.is_empty()).then(|| (word.to_lowercase(), without_quotes(rest.trim())))
}

/// A text without the quotes around it, as a file manager pastes a path.
pub fn without_quotes(text: &str) -> &str {
    ['"', '\''].iter().find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(text)
}

/// What is said of a word that is none of the commands.
pub fn unknown(word: &str, commands: &[&str]) -> String {
    match nearest(word, commands.iter().copied()) {
        Some(near) => format!("{word:?} is no command. Did you mean {near}? help lists all of them."),
        None => format!("{word:?} is no command: help lists all of them."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_trimmed_and_case_does_not_matter() {
        assert_eq!(command("  PrOg \r"), Some(("prog".to_owned(), "")));
        assert_eq!(command("add  My File.bin "), Some(("add".to_owned(), "My File.bin")));
        assert_eq!(command("stop 'a b'"), Some(("stop".to_owned(), "a b")));
        assert_eq!(command("stop \""), Some(("stop".to_owned(), "\"")));
        assert_eq!(command("  "), None);
    }

    #[test]
    fn a_mistyped_command_is_answered_with_the_nearest() {
        let said = unknown("exot", &["help", "exit", "quit"]);
        assert_eq!(said, "\"exot\" is no command. Did you mean exit? help lists all of them.");
        assert_eq!(unknown("xyzzy", &["help", "exit"]), "\"xyzzy\" is no command: help lists all of them.");
    }
}
