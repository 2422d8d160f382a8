//! What `--json` prints: one object a line, version 1. `docs/events.md` is the reference; fields are only ever added.

use std::collections::BTreeMap;

use serde::Serialize;

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
    },
    Sharing {
        content: String,
        name: String,
        size: u64,
        pieces: u32,
        held: u32,
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
    },
    Withdrawn {
        content: String,
        reason: String,
    },
    Banned {
        peer: String,
    },
    TrackerLost,
    TrackerBack,
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
    /// The line, without its end.
    pub fn line(&self) -> String {
        serde_json::to_string(&Line { v: 1, event: self }).expect("an event has no maps with odd keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_version_and_name_first() {
        let line = Event::Lacking { content: "ab".to_owned(), pieces: vec![[3, 2]] }.line();
        assert_eq!(line, r#"{"v":1,"event":"lacking","content":"ab","pieces":[[3,2]]}"#);
        assert_eq!(Event::TrackerLost.line(), r#"{"v":1,"event":"tracker_lost"}"#);
    }

    #[test]
    fn every_event_is_documented() {
        let docs = include_str!("../../../docs/events.md");
        let source = include_str!("events.rs");
        let body = source.split("pub enum Event {").nth(1).unwrap().split("\n}").next().unwrap();
        for line in
            body.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.starts_with([' ', '}']))
        {
            let name: String = line.chars().take_while(char::is_ascii_alphabetic).collect();
            let snake = name.char_indices().map(|(at, c)| match c.is_uppercase() && at > 0 {
                true => format!("_{}", c.to_ascii_lowercase()),
                false => c.to_ascii_lowercase().to_string(),
            });
            let snake: String = snake.collect();
            assert!(docs.contains(&format!("`{snake}`")), "docs/events.md does not name {snake}");
        }
    }
}
