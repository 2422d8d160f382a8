//! What is wrong with a command line, in one sentence with the nearest name: clap says it in five lines.

use clap::error::{ContextKind, ContextValue, ErrorKind};

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
            format!("there is no command {typed:?}{}", meant(text(ContextKind::SuggestedSubcommand)))
        }
        ErrorKind::UnknownArgument => match text(ContextKind::InvalidArg) {
            typed if typed.starts_with('-') => {
                format!("there is no flag {typed}{}", meant(text(ContextKind::SuggestedArg)))
            }
            typed => match text(ContextKind::SuggestedSubcommand) {
                "" => format!("{typed:?} is one word too many"),
                near => format!("there is no command {typed:?}{}", meant(near)),
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
                (typed, "") => format!("{typed:?} is no value for {flag}"),
                (typed, possible) => {
                    let near = meant(text(ContextKind::SuggestedValue));
                    format!("{typed:?} is no value for {flag}, which takes {possible}{near}")
                }
            }
        }
        ErrorKind::MissingRequiredArgument => match error.get(ContextKind::InvalidArg) {
            // One is enough of what may be given several times.
            Some(ContextValue::Strings(missing)) => {
                let missing: Vec<_> = missing.iter().map(|name| name.trim_end_matches("...")).collect();
                format!("{} is missing", missing.join(" and "))
            }
            _ => as_one_line(error),
        },
        ErrorKind::ValueValidation => in_plain_words(&as_one_line(error)),
        _ => as_one_line(error),
    }
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
    known.unwrap_or_else(|| sentence.to_owned())
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
