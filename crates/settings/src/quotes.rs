//! What was typed, and quotation marks: how it is shown in them, and paths that were typed in them on Windows with a backslash at
//! their end, `"C:\my folder\"`, as completion leaves them.
//!
//! PowerShell before 7.3 and cmd hand that on so that the backslash makes a character of the quote behind it, and all that
//! follows on the line is part of the path. No name on Windows has a quotation mark, so what was meant is known, or nobody's guess.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser, ValueParser};
use clap::{Arg, Command};

/// The command, with this done to all paths that it takes.
pub(crate) fn off_paths(command: Command) -> Command {
    let path = ValueParser::path_buf().type_id();
    let unquoted = |arg: Arg| match arg.get_value_parser().type_id() == path {
        true => arg.value_parser(PathBufValueParser::new().try_map(unquoted)),
        false => arg,
    };
    command.mut_args(unquoted).mut_subcommands(off_paths)
}

/// A path as it was meant that has a quotation mark. The error says why it has one if more follows on it.
///
/// ```
/// # use p2p_fileshare_settings::unquoted;
/// assert_eq!(unquoted("my folder\"".into()), Ok("my folder".into()));
/// assert_eq!(unquoted("D:\"".into()), Ok(r"D:\".into()));
/// assert!(unquoted("my folder\" -o there".into()).is_err());
/// ```
pub fn unquoted(path: PathBuf) -> Result<PathBuf, String> {
    let text = path.to_str().filter(|text| !text.contains("://"));
    let Some((before, behind)) = text.and_then(|text| text.split_once('"')) else { return Ok(path) };
    if behind.is_empty() {
        // Without its backslash a drive is the folder in which one is there.
        let stroke = if before.ends_with(':') { "\\" } else { "" };
        return Ok(format!("{before}{stroke}").into());
    }
    Err("no name has a quotation mark. Leave out the backslash at the end of a path in quotes".to_owned())
}

/// What was typed, as a sentence names it: in quotation marks, and paths of Windows with as many backslashes as they have.
///
/// ```
/// assert_eq!(p2p_fileshare_settings::in_quotes(r"C:\files\a.bin"), r#""C:\files\a.bin""#);
/// ```
pub fn in_quotes(typed: &str) -> String {
    format!("\"{}\"", protocol::printable(typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_at_the_end_of_a_quoted_path_makes_its_quote_no_part_of_any_path() {
        let path = || clap::value_parser!(PathBuf);
        let command = Command::new("peer-cli")
            .arg(Arg::new("output").short('o').value_parser(path()))
            .arg(Arg::new("name").long("name"))
            .subcommand(Command::new("share").arg(Arg::new("paths").num_args(1..).value_parser(path())));
        let matches = |words: &[&str]| off_paths(command.clone()).try_get_matches_from(words);
        let both = matches(&["peer-cli", "-o", "my folder\"", "--name", "a\""]).unwrap();
        assert_eq!(both.get_one::<PathBuf>("output"), Some(&"my folder".into()));
        assert_eq!(both.get_one::<String>("name").unwrap(), "a\"", "a name of others may have one");
        let share = matches(&["peer-cli", "share", "a", "https://host/a\"b"]).unwrap();
        let paths: Vec<_> = share.subcommand_matches("share").unwrap().get_many::<PathBuf>("paths").unwrap().collect();
        assert_eq!(paths, [&PathBuf::from("a"), &PathBuf::from("https://host/a\"b")]);
        let error = matches(&["peer-cli", "share", "my folder\" b.bin"]).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (clap::error::ErrorKind::ValueValidation, 2));
        assert!(error.to_string().contains("Leave out the backslash"), "{error}");
    }
}
