//! Events as programs read them: one JSON object a line, version 1, as `peer-cli --json` prints them. `docs/events.md` is the
//! reference; events and fields are only ever added.

mod of_node;

use std::borrow::Cow;
use std::collections::BTreeMap;

use protocol::is_unprintable;
use serde::{Deserialize, Serialize};

/// Version of the schema. It changes when a field goes or means something else, never when one is added.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    event: &'a Event,
}

/// An event of one kind.
pub trait Kind: Sized {
    /// As the line calls it.
    const NAME: &'static str;

    /// It, if the event is of this kind.
    fn of(event: &Event) -> Option<&Self>;

    /// The same, taken out of the event.
    fn from_event(event: Event) -> Option<Self>;
}

/// Each event with its fields, once: from this come the types, the enum of all, and the schema.
macro_rules! events {
    ($($(#[$about:meta])* $name:literal $kind:ident { $($(#[$says:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub struct $kind { $($(#[$says])* pub $field: $type,)* }

            impl Kind for $kind {
                const NAME: &'static str = $name;

                fn of(event: &Event) -> Option<&Self> {
                    if let Event::$kind(event) = event { Some(event) } else { None }
                }

                fn from_event(event: Event) -> Option<Self> {
                    if let Event::$kind(event) = event { Some(event) } else { None }
                }
            }

            impl From<$kind> for Event {
                fn from(event: $kind) -> Self {
                    Event::$kind(event)
                }
            }
        )*

        /// Something that happened.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[non_exhaustive]
        #[serde(tag = "event")]
        pub enum Event {
            $($(#[$about])* #[serde(rename = $name)] $kind($kind),)*
            /// An event that this version does not know, as it is read: others may be added.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        /// The names of all events, each with those of its fields.
        pub const SCHEMA: &[(&str, &[&str])] = &[$(($name, &[$(stringify!($field)),*])),*];
    };
}

events! {
    /// The tracker has said welcome.
    "ready" Ready {
        /// This peer.
        id: String,
        /// Addresses that it listens on.
        listeners: Vec<String>,
        /// The tracker's id.
        tracker: String,
    }
    /// A gateway serves over HTTP.
    "gateway" Gateway {
        /// Where it is.
        url: String,
        /// What it serves: each swarm in a few words.
        swarms: Vec<String>,
        /// Where its metrics are; empty if there are none.
        #[serde(default)]
        metrics: String,
    }
    /// A file is being hashed; ten times a second at most.
    "hashing" Hashing {
        /// What is hashed.
        path: String,
        /// Bytes that are done.
        done: u64,
        /// Bytes in all.
        total: u64,
    }
    /// Something in a folder that is shared and is left out.
    "skipped" Skipped {
        /// Where it lies.
        path: String,
        /// Why, as a sentence.
        reason: String,
    }
    /// A file or folder is hashed and announced.
    "sharing" Sharing {
        /// The content.
        content: String,
        /// Its name.
        name: String,
        /// Bytes.
        size: u64,
        /// Pieces in all.
        pieces: u32,
        /// Pieces that are served.
        held: u32,
        /// Things in the folder that are no part of it.
        left_out: u32,
    }
    /// What is shared can be had with this ticket.
    "ticket" Ticket {
        /// The content.
        content: String,
        /// The ticket.
        ticket: String,
        /// What to type elsewhere.
        command: String,
    }
    /// What is shared can be had with this code.
    "code" Code {
        /// The content.
        content: String,
        /// The code.
        code: String,
        /// What to type elsewhere.
        command: String,
        /// How long it lives unless it is used or burnt.
        seconds: f64,
    }
    /// A code is good no more. The ticket still is.
    "code_over" CodeOver {
        /// The content.
        content: String,
        /// The code.
        code: String,
        /// `used`, `burnt`, `expired`, `lost` or `withdrawn`.
        reason: String,
        /// The same as a sentence, with who used it or from where it was guessed.
        message: String,
    }
    /// A peer that took a content from here has all that it wants, or has left before.
    "sent" Sent {
        /// The content.
        content: String,
        /// The peer.
        peer: String,
        /// Where it is.
        address: String,
        /// Payload bytes that were sent to it from here.
        bytes: u64,
        /// Since it said that it wants the content.
        seconds: f64,
        /// Whether it has all that it wants.
        complete: bool,
    }
    /// The sharer of a private content says that this is over.
    "share_over" ShareOver {
        /// The content.
        content: String,
        /// Why.
        reason: String,
    }
    /// It is known which content is downloaded.
    "wanted" Wanted {
        /// The content.
        content: String,
        /// Its name as it was announced.
        name: String,
    }
    /// The manifest is here and checked.
    "manifest" Manifest {
        /// The content.
        content: String,
        /// Its name.
        name: String,
        /// Bytes; of the files that are wanted, if not all are.
        size: u64,
        /// Pieces of them.
        pieces: u32,
        /// Pieces that are here already.
        have: u32,
        /// Files that are wanted.
        files: u32,
        /// Files of the content.
        all_files: u32,
        /// Bytes of the content.
        all_size: u64,
    }
    /// An earlier download had left something else where this one is built.
    "left_over" LeftOver {
        /// The content.
        content: String,
        /// Where it lay.
        path: String,
        /// Bytes that lay there.
        size: u64,
        /// Bytes of it that are right, and were kept.
        reused: u64,
    }
    /// How a content stands.
    "progress" Progress {
        /// The content.
        content: String,
        /// Its name.
        name: String,
        /// Pieces that are stored.
        have: u32,
        /// Pieces in all.
        pieces: u32,
        /// Payload bytes received.
        received: u64,
        /// Payload bytes sent.
        sent: u64,
        /// Connected peers that take part.
        peers: u32,
    }
    /// A connection to a peer stands, opened by either side.
    "connected" Connected {
        /// Its id.
        peer: String,
        /// Where it is.
        address: String,
        /// `quic`, `tcp`, or `relay` for one that the tracker carries.
        transport: Cow<'static, str>,
    }
    /// Nobody who is connected has these pieces; empty when someone has.
    "lacking" Lacking {
        /// The content.
        content: String,
        /// Runs of pieces, as first and count.
        pieces: Vec<[u32; 2]>,
    }
    /// The origin of a content brings what no peer has, or brings nothing at the moment.
    "origin" Origin {
        /// The content.
        content: String,
        /// The origin's URL, without what may be secret in it.
        origin: String,
        /// Why it brings nothing, as a sentence; empty if it does.
        failure: String,
    }
    /// Every piece is verified and written.
    "verified" Verified {
        /// The content.
        content: String,
    }
    /// The file is durable and has its name.
    "completed" Completed {
        /// The content.
        content: String,
        /// Where it is; `-` for standard output.
        path: String,
        /// Bytes.
        size: u64,
        /// From the wish to the last verified piece.
        seconds_verified: f64,
        /// From the wish to the durable file.
        seconds_durable: f64,
        /// Payload bytes by peer id; those of the origin by `origin`.
        sources: BTreeMap<String, u64>,
        /// What a faster download would have needed more of; empty if nothing had to be fetched.
        limiter: Cow<'static, str>,
        /// Paths of files that may be executed.
        executable: Vec<String>,
    }
    /// What was done about doubtful names.
    "names" Names {
        /// The content.
        content: String,
        /// Paths that were left out.
        skipped: Vec<String>,
        /// Paths in the content, each with the path here.
        renamed: Vec<[String; 2]>,
        /// Paths with control characters or invisible marks, written as they are.
        unprintable: Vec<String>,
    }
    /// A shared file was changed or removed.
    "withdrawn" Withdrawn {
        /// The content; empty for what could not be shared.
        content: String,
        /// Why, as a sentence.
        reason: String,
    }
    /// A peer sent too many wrong pieces.
    "banned" Banned {
        /// Its id.
        peer: String,
    }
    /// What has held downloads up.
    "limiter" Limiter {
        /// `peers`, `network`, `rate_cap`, `disk` or `hashing`.
        limiter: Cow<'static, str>,
    }
    /// The tracker is lost; downloads go on meanwhile.
    "tracker_lost" TrackerLost {}
    /// The tracker is back.
    "tracker_back" TrackerBack {}
    /// The tracker is lost and does not come back by itself.
    "tracker_unfit" TrackerUnfit {
        /// Why, as a sentence.
        reason: String,
    }
    /// Nothing has come for a few seconds.
    "waiting" Waiting {
        /// The content; empty for the tracker.
        content: String,
        /// What is waited for, as a sentence.
        reason: String,
    }
    /// A content that a tracker knows.
    "listed" Listed {
        /// The content.
        content: String,
        /// Its name; empty if nobody said.
        name: String,
        /// Bytes.
        size: u64,
        /// Peers that have all of it.
        seeders: u32,
        /// Peers that hold some pieces and want no more.
        partial: u32,
        /// Peers that fetch it.
        downloaders: u32,
        /// Copies of every piece.
        copies_at_least: u32,
        /// Whether there are no more.
        copies_exact: bool,
    }
    /// How a peer of a content that is watched stands now.
    "watched" Watched {
        /// The content.
        content: String,
        /// Its name; empty if nobody said.
        name: String,
        /// The peer.
        peer: String,
        /// Where it is; empty if that is not known here.
        address: String,
        /// `seeder`, `partial` or `downloader`.
        role: Cow<'static, str>,
        /// Whether it says how it stands: otherwise the numbers mean nothing.
        reports: bool,
        /// Pieces that it has of those that it wants.
        have: u32,
        /// All of these.
        pieces: u32,
        /// Their bytes.
        size: u64,
        /// Payload bytes a second that it receives.
        down: u64,
        /// Payload bytes a second that it sends.
        up: u64,
        /// From whom most of it comes: payload bytes a second by peer id.
        from: BTreeMap<String, u64>,
    }
    /// Something that transfers depend on was looked at.
    "check" Check {
        /// What it was.
        check: Cow<'static, str>,
        /// `good`, `poor`, `bad` or `skipped`.
        status: Cow<'static, str>,
        /// What was found.
        found: String,
        /// What to do; empty if there is nothing.
        advice: String,
    }
    /// What a manifest says.
    "inspected" Inspected {
        /// The content.
        content: String,
        /// Its name.
        name: String,
        /// Whether it is a folder.
        folder: bool,
        /// Bytes.
        size: u64,
        /// How pieces are digested.
        hash: String,
        /// Bytes of a piece.
        piece_size: u32,
        /// Pieces in all.
        pieces: u32,
        /// Its files.
        files: Vec<InspectedFile>,
        /// Folders without files.
        empty_folders: Vec<String>,
    }
    /// The program is about to end.
    "error" Error {
        /// The exit status.
        code: u8,
        /// What went wrong and what to do.
        message: String,
    }
    /// The last line of an orderly end.
    "bye" Bye {
        /// Payload bytes sent in all.
        sent: u64,
        /// Payload bytes received in all.
        received: u64,
    }
}

/// A file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedFile {
    /// Its path in the content.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The digest of all of it.
    pub root: String,
    /// Whether it may be executed.
    pub executable: bool,
}

impl Event {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

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
mod tests;
