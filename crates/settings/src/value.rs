//! A setting's value as words of the command line.

use std::ffi::{OsStr, OsString};

use crate::quotes::in_quotes;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use toml::de::DeValue;

/// Lets switches be given as `--fair=false`: a switch in a file can be taken back on the command line.
pub(crate) fn with_switches_that_can_be_off(command: Command) -> Command {
    let switch = |arg: Arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .hide_default_value(true)
            .hide_possible_values(true)
            .value_parser(BoolishValueParser::new()),
        _ => arg,
    };
    command.mut_args(switch).mut_subcommands(with_switches_that_can_be_off)
}

/// The words for what stands in an environment variable. A flag that may be given several times takes a list, as in
/// TOML, or one value.
pub(crate) fn of_variable(command: &Command, long: &str, text: &OsStr) -> Result<Vec<OsString>, String> {
    if let Some(text) = text.to_str().filter(|text| takes_several(command, long) && text.trim_start().starts_with('['))
        && let Ok(list) = DeValue::parse(text)
    {
        return of_value(command, long, list.get_ref());
    }
    let words = vec![word(long, text)];
    check(command, long, &words)?;
    Ok(words)
}

/// The words for a value of the file.
pub(crate) fn of_value(command: &Command, long: &str, value: &DeValue) -> Result<Vec<OsString>, String> {
    let single = |value: &DeValue| match value {
        DeValue::String(text) => Ok(word(long, OsStr::new(text.as_ref()))),
        DeValue::Integer(number) if number.radix() == 10 => Ok(word(long, OsStr::new(number.as_str()))),
        DeValue::Float(number) => Ok(word(long, OsStr::new(number.as_str()))),
        DeValue::Boolean(yes) => Ok(word(long, OsStr::new(if *yes { "true" } else { "false" }))),
        _ => Err("a value is a text in quotes, a number, true, false, or a list of those".to_owned()),
    };
    let words = match value {
        DeValue::Array(list) if takes_several(command, long) => {
            list.iter().map(|item| single(item.get_ref())).collect::<Result<_, _>>()?
        }
        DeValue::Array(_) => return Err("it takes one value, not a list".to_owned()),
        value => vec![single(value)?],
    };
    check(command, long, &words)?;
    Ok(words)
}

fn word(long: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(format!("--{long}="));
    word.push(value);
    word
}

fn takes_several(command: &Command, long: &str) -> bool {
    find(command, long).is_some_and(|(_, arg)| matches!(arg.get_action(), ArgAction::Append))
}

/// The (sub)command that has the flag, and the flag.
fn find<'a>(command: &'a Command, long: &str) -> Option<(Vec<&'a str>, &'a Arg)> {
    let here = command.get_arguments().find(|arg| arg.get_long() == Some(long));
    here.map(|arg| (Vec::new(), arg)).or_else(|| {
        command.get_subcommands().find_map(|subcommand| {
            let (mut path, arg) = find(subcommand, long)?;
            path.insert(0, subcommand.get_name());
            Some((path, arg))
        })
    })
}

/// What clap has against these words taken alone: values are judged, what goes with what is not.
fn check(command: &Command, long: &str, words: &[OsString]) -> Result<(), String> {
    let Some((path, _)) = find(command, long) else { return Ok(()) };
    let line = std::iter::once(command.get_name()).chain(path).map(OsString::from).chain(words.iter().cloned());
    let Err(error) = command.clone().try_get_matches_from(line) else { return Ok(()) };
    let about_values = matches!(
        error.kind(),
        ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::InvalidUtf8
            | ErrorKind::TooManyValues
            | ErrorKind::TooFewValues
            | ErrorKind::WrongNumberOfValues
    );
    if about_values { Err(reason(&error)) } else { Ok(()) }
}

/// What is wrong with a value, in the words of the flag that it is for.
fn reason(error: &clap::Error) -> String {
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.as_str(),
        _ => "",
    };
    if let Some(source) = std::error::Error::source(error) {
        return format!("{} is not valid: {source}", in_quotes(value));
    }
    if let Some(ContextValue::Strings(possible)) = error.get(ContextKind::ValidValue)
        && !possible.is_empty()
    {
        let near = crate::nearest(value, possible.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        return format!("{} is none of {}{near}", in_quotes(value), possible.join(", "));
    }
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
