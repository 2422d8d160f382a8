//! What is wrong with a command line, in one sentence with the nearest name: clap says it in five lines.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, Command};

use crate::quotes::in_quotes;

/// What clap found wrong, as a sentence.
pub fn sentence(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
        _ => "",
    };
    let meant = |near: &str| if near.is_empty() { String::new() } else { format!("; did you mean {near}?") };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let typed = text(ContextKind::InvalidSubcommand);
            format!("there is no command {}{}", in_quotes(typed), meant(text(ContextKind::SuggestedSubcommand)))
        }
        ErrorKind::UnknownArgument => match text(ContextKind::InvalidArg) {
            typed if typed.starts_with('-') => {
                format!("there is no flag {typed}{}", meant(text(ContextKind::SuggestedArg)))
            }
            typed => match text(ContextKind::SuggestedSubcommand) {
                "" => format!("{} is one word too many", in_quotes(typed)),
                near => format!("there is no command {}{}", in_quotes(typed), meant(near)),
            },
        },
        ErrorKind::InvalidValue => {
            let (flag, typed) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
            let possible = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(possible)) => possible.join(", "),
                _ => String::new(),
            };
            match (typed, &*possible) {
                ("", "") => format!("{flag} needs a value"),
                ("", possible) => format!("{flag} needs a value: one of {possible}"),
                (typed, "") => format!("{} is no value for {flag}", in_quotes(typed)),
                (typed, possible) => {
                    let near = meant(text(ContextKind::SuggestedValue));
                    format!("{} is no value for {flag}, which takes {possible}{near}", in_quotes(typed))
                }
            }
        }
        ErrorKind::MissingRequiredArgument => match (text(ContextKind::PriorArg), missing(error)) {
            (_, []) => as_one_line(error),
            ("", missing) => {
                let missing: Vec<_> = missing.iter().map(|name| shown(name)).collect();
                format!("{} {} missing", missing.join(" and "), if missing.len() == 1 { "is" } else { "are" })
            }
            (needs_it, missing) => {
                let missing: Vec<_> = missing.iter().map(|name| name_of(name)).collect();
                format!("{needs_it} needs {}", missing.join(" and "))
            }
        },
        ErrorKind::ValueValidation => in_plain_words(&as_one_line(error)),
        _ => as_one_line(error),
    }
}

/// What is missing, as clap writes it: `--ca <FILE>`.
fn missing(error: &clap::Error) -> &[String] {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) if error.kind() == ErrorKind::MissingRequiredArgument => missing,
        _ => &[],
    }
}

/// Without that a switch may be given a value, which hardly anyone needs; and one is enough of what may be given several times.
fn shown(missing: &str) -> &str {
    missing.split_once("[=").map_or(missing, |(flag, _)| flag).trim_end_matches("...")
}

/// A flag without its value.
fn name_of(missing: &str) -> &str {
    let shown = shown(missing);
    if shown.starts_with('-') { shown.split(' ').next().unwrap_or(shown) } else { shown }
}

/// The same error, and in it the flag that is of no use without the one that is missing, if that is why it is: clap does not say
/// that. Each flag of the line is tried alone.
pub(crate) fn with_what_needs_it(mut error: clap::Error, command: &Command, words: &[OsString]) -> clap::Error {
    let missing = missing(&error).to_vec();
    if !missing.is_empty()
        && let Some(flag) = what_needs(&missing, command, words)
    {
        error.insert(ContextKind::PriorArg, ContextValue::String(flag));
    }
    error
}

fn what_needs(missing: &[String], command: &Command, words: &[OsString]) -> Option<String> {
    let whole = command.clone().ignore_errors(true).try_get_matches_from(words).ok()?;
    let (mut line, mut of, mut matches) = (vec![words.first()?.clone()], command, &whole);
    while let Some((name, inner)) = matches.subcommand() {
        line.push(name.into());
        (of, matches) = (of.find_subcommand(name)?, inner);
    }
    let lacked_by = |line: &[OsString]| {
        let error = command.clone().try_get_matches_from(line).err();
        missing.iter().filter(|name| error.as_ref().is_some_and(|error| self::missing(error).contains(name))).count()
    };
    // It is missing whatever else stands there.
    if lacked_by(&line) > 0 {
        return None;
    }
    let typed =
        of.get_arguments().filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine));
    let flags = typed.filter_map(|arg| Some((arg, format!("--{}", arg.get_long()?))));
    let needs_it = |(arg, flag): &(&Arg, String)| {
        let most = arg.get_num_args().map_or(0, |values| values.min_values());
        let mut line = line.clone();
        line.push(flag.into());
        line.extend(matches.get_raw(arg.get_id().as_str()).into_iter().flatten().take(most).map(OsStr::to_owned));
        lacked_by(&line) == missing.len()
    };
    flags.into_iter().find(needs_it).map(|(_, flag)| flag)
}

/// Without what the standard library says of texts that are no values.
fn in_plain_words(sentence: &str) -> String {
    const WORDS: [(&str, &str); 5] = [
        ("invalid digit found in string", "that is no whole number"),
        ("cannot parse integer from empty string", "that is no whole number"),
        ("number too large to fit in target type", "that number is too large"),
        ("invalid float literal", "that is no number"),
        ("invalid IP address syntax", "that is no IP address"),
    ];
    let known = WORDS.iter().find_map(|(said, plain)| Some(format!("{}{plain}", sentence.strip_suffix(said)?)));
    known.or_else(|| outside(sentence)).unwrap_or_else(|| sentence.to_owned())
}

/// A number that is outside of what is allowed, without Rust's way to write that.
fn outside(sentence: &str) -> Option<String> {
    let (number, range) = sentence.rsplit_once(" is not in ")?;
    let (first, last) = match range.split_once("..=") {
        Some((first, last)) => (first, last.parse::<u64>().ok()?),
        None => {
            range.split_once("..").and_then(|(first, end)| Some((first, end.parse::<u64>().ok()?.checked_sub(1)?)))?
        }
    };
    // Where nothing bounds it but the room that a number takes.
    let typed = number.rsplit(' ').next().and_then(|typed| typed.parse::<i128>().ok());
    Some(match last >= u32::MAX.into() {
        true if typed.is_some_and(|typed| typed > i128::from(last)) => format!("{number} is more than {last}"),
        true => format!("{number} is less than {first}"),
        false => format!("{number} is not between {first} and {last}"),
    })
}

/// The first paragraph of what clap says, and notes about where something stands.
fn as_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.trim_start_matches("error: ");
    let is_said =
        |line: &&str| !line.is_empty() && !line.starts_with("For more information") && !line.starts_with("Usage:");
    let first = text.lines().take_while(|line| !line.is_empty());
    let notes = text.lines().skip_while(|line| !line.is_empty()).filter(|line| line.starts_with("note:"));
    let lines: Vec<_> = first.chain(notes).filter(is_said).map(str::trim).collect();
    lines.join(" ")
}
