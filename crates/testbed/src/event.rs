//! What `peer-cli --json` prints, read: the one place outside that program which knows how events and their fields are
//! called. `docs/events.md` says what they mean.
#![allow(missing_docs, reason = "docs/events.md describes every event and field")]

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;

/// An event of one kind.
pub trait Kind: Sized {
    /// As the line calls it.
    const NAME: &'static str;

    /// It, if the event is of this kind.
    fn of(event: &Event) -> Option<&Self>;

    /// The same, taken out of the event.
    fn from_event(event: Event) -> Option<Self>;
}

macro_rules! events {
    ($($name:literal $kind:ident { $($field:ident: $type:ty),* })*) => {
        $(
            #[derive(Debug, Clone, PartialEq, Deserialize)]
            pub struct $kind { $(pub $field: $type),* }

            impl Kind for $kind {
                const NAME: &'static str = $name;

                fn of(event: &Event) -> Option<&Self> {
                    if let Event::$kind(event) = event { Some(event) } else { None }
                }

                fn from_event(event: Event) -> Option<Self> {
                    if let Event::$kind(event) = event { Some(event) } else { None }
                }
            }
        )*

        /// Something that a peer says has happened.
        #[derive(Debug, Clone, PartialEq, Deserialize)]
        #[serde(tag = "event")]
        pub enum Event {
            $(#[serde(rename = $name)] $kind($kind),)*
            /// Events are only ever added.
            #[serde(other)]
            Unknown,
        }

        #[cfg(test)]
        const SCHEMA: &[(&str, &[&str])] = &[$(($name, &[$(stringify!($field)),*])),*];
    };
}

events! {
    "ready" Ready { id: String, listeners: Vec<String>, tracker: String }
    "hashing" Hashing { path: String, done: u64, total: u64 }
    "skipped" Skipped { path: String, reason: String }
    "sharing" Sharing { content: String, name: String, size: u64, pieces: u32, held: u32, left_out: u32 }
    "ticket" Ticket { content: String, ticket: String, command: String }
    "wanted" Wanted { content: String, name: String }
    "manifest" Manifest {
        content: String,
        name: String,
        size: u64,
        pieces: u32,
        have: u32,
        files: u32,
        all_files: u32,
        all_size: u64
    }
    "left_over" LeftOver { content: String, path: String, size: u64, reused: u64 }
    "progress" Progress {
        content: String, name: String, have: u32, pieces: u32, received: u64, sent: u64, peers: u32
    }
    "connected" Connected { peer: String, address: String, transport: String }
    "lacking" Lacking { content: String, pieces: Vec<[u32; 2]> }
    "verified" Verified { content: String }
    "completed" Completed {
        content: String,
        path: String,
        size: u64,
        seconds_verified: f64,
        seconds_durable: f64,
        sources: BTreeMap<String, u64>,
        limiter: String,
        executable: Vec<String>
    }
    "names" Names {
        content: String, skipped: Vec<String>, renamed: Vec<[String; 2]>, unprintable: Vec<String>
    }
    "limiter" Limiter { limiter: String }
    "withdrawn" Withdrawn { content: String, reason: String }
    "banned" Banned { peer: String }
    "tracker_lost" TrackerLost {}
    "tracker_back" TrackerBack {}
    "tracker_unfit" TrackerUnfit { reason: String }
    "waiting" Waiting { content: String, reason: String }
    "listed" Listed {
        content: String,
        name: String,
        size: u64,
        seeders: u32,
        partial: u32,
        downloaders: u32,
        copies_at_least: u32,
        copies_exact: bool
    }
    "watched" Watched {
        content: String,
        name: String,
        peer: String,
        address: String,
        role: String,
        reports: bool,
        have: u32,
        pieces: u32,
        size: u64,
        down: u64,
        up: u64,
        from: BTreeMap<String, u64>
    }
    "check" Check { check: String, status: String, found: String, advice: String }
    "inspected" Inspected {
        content: String,
        name: String,
        folder: bool,
        size: u64,
        hash: String,
        piece_size: u32,
        pieces: u32,
        files: Vec<InspectedFile>,
        empty_folders: Vec<String>
    }
    "error" Error { code: u8, message: String }
    "bye" Bye { sent: u64, received: u64 }
}

/// A file of a manifest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct InspectedFile {
    pub path: String,
    pub size: u64,
    pub root: String,
    pub executable: bool,
}

impl Event {
    /// The event that a line says.
    pub fn read(line: &str) -> anyhow::Result<Self> {
        serde_json::from_str(line).with_context(|| format!("{line:?} is no event"))
    }

    /// All events of a program that has ended.
    pub fn read_all(lines: &str) -> anyhow::Result<Vec<Self>> {
        lines.lines().map(Event::read).collect()
    }

    /// The peer that it is about.
    pub fn peer(&self) -> Option<&str> {
        match self {
            Event::Connected(Connected { peer, .. }) | Event::Banned(Banned { peer }) => Some(peer),
            _ => None,
        }
    }

    /// Pieces that are there now.
    pub fn have(&self) -> Option<u32> {
        match self {
            Event::Manifest(Manifest { have, .. }) | Event::Progress(Progress { have, .. }) => Some(*have),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_event_is_known_by_its_name_and_others_are_let_pass() {
        let lacking = r#"{"v":1,"event":"lacking","content":"ab","pieces":[[3,2]]}"#;
        let expected = Lacking { content: "ab".to_owned(), pieces: vec![[3, 2]] };
        assert_eq!(Event::read(lacking).unwrap(), Event::Lacking(expected));
        assert_eq!(Event::read(r#"{"v":1,"event":"tracker_lost"}"#).unwrap(), Event::TrackerLost(TrackerLost {}));
        assert_eq!(Event::read(r#"{"v":1,"event":"of tomorrow","size":7}"#).unwrap(), Event::Unknown);
        assert!(Event::read("no JSON").is_err());
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
    fn the_table_in_the_docs_is_what_is_read() {
        let docs = include_str!("../../../docs/events.md");
        let mut documented = BTreeMap::new();
        for row in docs.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = row.trim_matches('|').split('|').collect();
            quoted(cells[0]).into_iter().for_each(|name| drop(documented.insert(name, quoted(cells[1]))));
        }
        let owned = |fields: &[&str]| fields.iter().map(|&field| field.to_owned()).collect::<BTreeSet<_>>();
        let read: BTreeMap<_, _> = SCHEMA.iter().map(|(name, fields)| ((*name).to_owned(), owned(fields))).collect();
        assert_eq!(documented, read);
    }
}
