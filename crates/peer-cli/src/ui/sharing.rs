//! What a sharer is told of those who get what it shares.

use peer::Participant;

use crate::ui::amounts::{amount, took};
use crate::ui::pace::Pace;
use crate::ui::row::{Bar, Label, Row};

/// Somebody gets a content: a row.
pub fn taker_row(who: String, what: &str, taker: &Participant, pace: Pace) -> Row {
    // When it will be done is for the one who waits for it.
    let pace = match pace {
        Pace::Flowing { rate, .. } => Pace::Flowing { rate, left: None },
        other => other,
    };
    let label = Label::Taker { who, what: what.to_owned() };
    Row::Bar(Bar { label, done: taker.have, size: taker.size, pace, note: None, peers: None, drawn: false })
}

/// Many get something: their sum, as a row. The takers come with how fast each is.
pub fn sum_row(what: &str, takers: &[(Participant, Pace)]) -> Row {
    let sum = |of: fn(&Participant) -> u64| takers.iter().map(|(taker, _)| of(taker)).sum();
    let rates = takers.iter().filter_map(|(_, pace)| match pace {
        Pace::Flowing { rate, .. } => Some(*rate),
        _ => None,
    });
    let rate = rates.sum::<u64>();
    let pace = if rate > 0 { Pace::Flowing { rate, left: None } } else { Pace::Starting };
    let label = Label::Taker { who: format!("{} peers", takers.len()), what: what.to_owned() };
    let (done, size) = (sum(|taker| taker.have), sum(|taker| taker.size));
    Row::Bar(Bar { label, done, size, pace, note: None, peers: None, drawn: false })
}

/// Somebody has got all that it wanted of a content that has so many bytes: all of it, or some files.
pub fn has_all_words(who: &str, what: &str, whole: u64, taker: &Participant) -> String {
    let Participant { size, sent, time, .. } = taker;
    let came = if sent >= size { amount(*size) } else { format!("{} of {} from here,", amount(*sent), amount(*size)) };
    let part = if *size < whole { "the files that it wanted" } else { "all" };
    format!("  {who} has {part} of {what} ({came} in {})", took(*time))
}

/// Somebody has left before it had all.
pub fn left_words(who: &str, what: &str, taker: &Participant) -> String {
    let percent = (u128::from(taker.have) * 100).checked_div(taker.size.into()).unwrap_or(0);
    format!("  {who} has left with {percent}% of {what}")
}

/// Sharing ends before somebody has got all of a content.
pub fn part_words(who: &str, what: &str, taker: &Participant) -> String {
    let percent = (u128::from(taker.have) * 100).checked_div(taker.size.into()).unwrap_or(0);
    format!("  {who} has {percent}% of {what}, and not the rest")
}

/// The end of a share.
pub fn stopped_words(sent: u64, given: &str) -> String {
    if sent == 0 { "Stopped sharing: nothing was sent.".to_owned() } else { format!("Stopped sharing: sent {given}.") }
}
