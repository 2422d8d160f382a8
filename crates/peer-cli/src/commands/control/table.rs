//! The contents of a daemon as a table: what `status` shows.

use daemon::control::{ContentStatus, Doing};

use crate::ui::amounts;
use crate::ui::live::{Column, Kind, Table};

fn state_word(content: &ContentStatus) -> &'static str {
    match content.state {
        Doing::Waiting => "waiting",
        Doing::Hashing => "hashing",
        Doing::Checking => "checking",
        Doing::Queued => "queued",
        Doing::Downloading => "downloading",
        Doing::Finishing => "finishing",
        Doing::Sharing => "sharing",
        Doing::Paused => "paused",
        Doing::Failed => "failed",
        _ => "?",
    }
}

/// Whether it is known to have no bytes: what is shared is known whole, and of others the size may be still to come.
fn is_empty(content: &ContentStatus) -> bool {
    content.size == 0 && content.state == Doing::Sharing
}

/// How far it is, where there is something to come.
fn done(content: &ContentStatus) -> String {
    match content.hashed {
        [done, total] if total > 0 => percent(done, total),
        _ if is_empty(content) => "100%".to_owned(),
        _ if content.pieces == 0 => String::new(),
        _ => percent(content.have.into(), content.pieces.into()),
    }
}

/// Rounded down: what is not complete never shows 100%.
fn percent(done: u64, total: u64) -> String {
    format!("{}%", u128::from(done.min(total)) * 100 / u128::from(total))
}

/// A row for each.
pub(super) fn table(contents: &[ContentStatus]) -> Table {
    let row = |content: &ContentStatus| {
        let is_known = content.size > 0 || is_empty(content);
        let size = if is_known { amounts::amount(content.size) } else { "?".to_owned() };
        let name = if content.name.is_empty() { "(no name yet)".to_owned() } else { content.name.clone() };
        let rate = if content.rate == 0 { String::new() } else { amounts::rate(content.rate) };
        let (peers, sent) = (content.peers.to_string(), amounts::amount(content.sent));
        vec![content.number.to_string(), state_word(content).to_owned(), done(content), size, rate, sent, peers, name]
    };
    Table {
        columns: vec![
            Column::new("#", Kind::Number, 9),
            Column::new("STATE", Kind::List, 8),
            Column::new("DONE", Kind::Number, 7),
            Column::new("SIZE", Kind::Number, 4),
            Column::new("RATE", Kind::Number, 6),
            Column::new("SENT", Kind::Number, 3),
            Column::new("PEERS", Kind::Number, 5),
            Column::new("NAME", Kind::Name, 10),
        ],
        rows: contents.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_complete() {
        let content = |state| ContentStatus { state, name: "zero".to_owned(), ..ContentStatus::default() };
        let words = |state| {
            let line = table(&[content(state)]).lines(80).pop().unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(Doing::Sharing), "0 sharing 100% 0 B 0 B 0 zero");
        assert_eq!(words(Doing::Hashing), "0 hashing ? 0 B 0 zero");
    }

    #[test]
    fn the_table_fits_and_names_stay() {
        let content = ContentStatus {
            number: 3,
            name: "a\u{1b}[2J.bin".to_owned(),
            state: Doing::Downloading,
            size: 4 << 20,
            pieces: 4,
            have: 1,
            ..ContentStatus::default()
        };
        let lines = table(&[content]).lines(60);
        assert!(lines[1].contains("downloading") && lines[1].contains("25"), "{lines:?}");
        assert!(lines[1].contains(r"a\u{1b}[2J.bin"), "{lines:?}");
    }
}
