//! What `--json` prints: one object a line, version 1. `docs/events.md` is the reference; fields are only ever added.

use std::collections::BTreeMap;

use protocol::is_unprintable;
use serde::Serialize;

/// Version of the schema. It changes when a field goes or means something else, never when one is added.
const VERSION: u32 = 1;

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    event: &'a Event,
}

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Ready {
        id: String,
        listeners: Vec<String>,
        tracker: String,
    },
    Hashing {
        path: String,
        done: u64,
        total: u64,
    },
    Skipped {
        path: String,
        reason: String,
    },
    Sharing {
        content: String,
        name: String,
        size: u64,
        pieces: u32,
        held: u32,
        left_out: u32,
    },
    Ticket {
        content: String,
        ticket: String,
        command: String,
    },
    Wanted {
        content: String,
        name: String,
    },
    Manifest {
        content: String,
        name: String,
        size: u64,
        pieces: u32,
        have: u32,
    },
    Progress {
        content: String,
        name: String,
        have: u32,
        pieces: u32,
        received: u64,
        sent: u64,
        peers: u32,
    },
    Connected {
        peer: String,
        address: String,
        transport: &'static str,
    },
    Lacking {
        content: String,
        pieces: Vec<[u32; 2]>,
    },
    Verified {
        content: String,
    },
    Completed {
        content: String,
        path: String,
        size: u64,
        seconds_verified: f64,
        seconds_durable: f64,
        sources: BTreeMap<String, u64>,
        limiter: &'static str,
        executable: Vec<String>,
    },
    Names {
        content: String,
        skipped: Vec<String>,
        renamed: Vec<[String; 2]>,
        unprintable: Vec<String>,
    },
    Withdrawn {
        content: String,
        reason: String,
    },
    Banned {
        peer: String,
    },
    Limiter {
        limiter: &'static str,
    },
    TrackerLost,
    TrackerBack,
    TrackerUnfit {
        reason: String,
    },
    Waiting {
        content: String,
        reason: String,
    },
    Listed {
        content: String,
        name: String,
        size: u64,
        seeders: u32,
        partial: u32,
        downloaders: u32,
        copies_at_least: u32,
        copies_exact: bool,
    },
    Check {
        check: &'static str,
        status: &'static str,
        found: String,
        advice: String,
    },
    Inspected {
        content: String,
        name: String,
        folder: bool,
        size: u64,
        hash: String,
        piece_size: u32,
        pieces: u32,
        files: Vec<InspectedFile>,
        empty_folders: Vec<String>,
    },
    Error {
        code: u8,
        message: String,
    },
    Bye {
        sent: u64,
        received: u64,
    },
}

/// A file of a manifest.
#[derive(Debug, Serialize)]
pub struct InspectedFile {
    pub path: String,
    pub size: u64,
    pub root: String,
    pub executable: bool,
}

impl Event {
    /// The line, without its end. What JSON may have as it is, and a terminal takes for more than text, is escaped too: it
    /// means the same to programs.
    pub fn line(&self) -> String {
        let line =
            serde_json::to_string(&Line { v: VERSION, event: self }).expect("an event has no maps with odd keys");
        if !line.chars().any(is_unprintable) {
            return line;
        }
        let mut escaped = String::new();
        for c in line.chars() {
            if is_unprintable(c) {
                escaped.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
            } else {
                escaped.push(c);
            }
        }
        escaped
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_line_moves_no_cursor_and_says_the_same() {
        let name = "\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\n\u{e0041}ü";
        let event = Event::Wanted { content: String::new(), name: name.to_owned() };
        assert!(!event.line().chars().any(is_unprintable), "{}", event.line());
        let read: serde_json::Value = serde_json::from_str(&event.line()).unwrap();
        assert_eq!(read["name"], name);
    }

    #[test]
    fn a_line_has_version_and_name_first() {
        let line = Event::Lacking { content: "ab".to_owned(), pieces: vec![[3, 2]] }.line();
        assert_eq!(line, r#"{"v":1,"event":"lacking","content":"ab","pieces":[[3,2]]}"#);
        assert_eq!(Event::TrackerLost.line(), r#"{"v":1,"event":"tracker_lost"}"#);
    }

    /// Every event, with lists that are not empty: their items are part of the schema.
    fn samples() -> Vec<Event> {
        let text = || "x".to_owned();
        let file = InspectedFile { path: text(), size: 1, root: text(), executable: false };
        vec![
            Event::Ready { id: text(), listeners: vec![text()], tracker: text() },
            Event::Hashing { path: text(), done: 1, total: 2 },
            Event::Skipped { path: text(), reason: text() },
            Event::Sharing { content: text(), name: text(), size: 1, pieces: 1, held: 1, left_out: 1 },
            Event::Ticket { content: text(), ticket: text(), command: text() },
            Event::Wanted { content: text(), name: text() },
            Event::Manifest { content: text(), name: text(), size: 1, pieces: 1, have: 1 },
            Event::Progress { content: text(), name: text(), have: 1, pieces: 1, received: 1, sent: 1, peers: 1 },
            Event::Connected { peer: text(), address: text(), transport: "quic" },
            Event::Lacking { content: text(), pieces: vec![[1, 1]] },
            Event::Verified { content: text() },
            Event::Completed {
                content: text(),
                path: text(),
                size: 1,
                seconds_verified: 1.0,
                seconds_durable: 1.0,
                sources: BTreeMap::from([(text(), 1)]),
                limiter: "disk",
                executable: vec![text()],
            },
            Event::Limiter { limiter: "disk" },
            Event::Names { content: text(), skipped: vec![], renamed: vec![], unprintable: vec![] },
            Event::Withdrawn { content: text(), reason: text() },
            Event::Banned { peer: text() },
            Event::TrackerLost,
            Event::TrackerBack,
            Event::TrackerUnfit { reason: text() },
            Event::Waiting { content: text(), reason: text() },
            Event::Listed {
                content: text(),
                name: text(),
                size: 1,
                seeders: 1,
                partial: 1,
                downloaders: 1,
                copies_at_least: 1,
                copies_exact: true,
            },
            Event::Check { check: "disk", status: "good", found: text(), advice: text() },
            Event::Inspected {
                content: text(),
                name: text(),
                folder: false,
                size: 1,
                hash: text(),
                piece_size: 1,
                pieces: 1,
                files: vec![file],
                empty_folders: vec![text()],
            },
            Event::Error { code: 1, message: text() },
            Event::Bye { sent: 1, received: 1 },
        ]
    }

    /// What stands between backticks, but for what only explains in brackets.
    fn quoted(cell: &str) -> BTreeSet<String> {
        let mut depth = 0;
        let outside = cell.chars().filter(|c| {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            depth == 0 && *c != ')'
        });
        let outside: String = outside.collect();
        outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_table_in_the_docs_is_the_schema() {
        let docs = include_str!("../../../docs/events.md");
        assert!(docs.contains(&format!("version of this schema, {VERSION})")), "the version");
        let mut documented = BTreeMap::new();
        for row in docs.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = row.trim_matches('|').split('|').collect();
            let [names, fields, _] = cells[..] else { panic!("{row}") };
            quoted(names).into_iter().for_each(|name| drop(documented.insert(name, quoted(fields))));
        }
        let mut written = BTreeMap::new();
        for event in samples() {
            let line: serde_json::Value = serde_json::from_str(&event.line()).unwrap();
            let fields = line.as_object().unwrap().keys().filter(|key| !["v", "event"].contains(&key.as_str()));
            written.insert(line["event"].as_str().unwrap().to_owned(), fields.cloned().collect());
        }
        assert_eq!(documented, written);
    }

    /// The compiler does not say when a sample is missing; the source does.
    #[test]
    fn every_event_has_a_sample() {
        let source = include_str!("events.rs");
        let body = source.split("pub enum Event {").nth(1).unwrap().split("\n}").next().unwrap();
        let variants =
            body.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.starts_with([' ', '}', '/']));
        assert_eq!(variants.count(), samples().len());
    }
}
