//! What is said over the control socket: `docs/control.md` in types. Fields and kinds are only ever added; a reader skips fields
//! that it does not know.

use serde::{Deserialize, Serialize};

/// Version of the protocol. It changes when a field goes or means something else, never when one is added.
pub const VERSION: u32 = 1;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Share a path, or download what a ticket stands for.
    Add {
        /// An absolute path, or a ticket.
        what: String,
        /// The absolute folder to download into; that of the daemon if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
        /// Whether different files there are replaced.
        #[serde(default)]
        force: bool,
        /// Patterns of the files that are wanted; all if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<String>,
    },
    /// Share or download no more. Files stay.
    Remove {
        /// Which contents.
        which: Which,
    },
    /// Stop for now.
    Pause {
        /// Which contents.
        which: Which,
    },
    /// Go on after a pause or a failure.
    Resume {
        /// Which contents.
        which: Which,
    },
    /// Download these first.
    Prioritise {
        /// Which contents.
        which: Which,
    },
    /// Limit what is sent or received, all contents together.
    Limit {
        /// What is sent at most; left as it is if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        up: Option<RateLimit>,
        /// What is received at most, likewise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        down: Option<RateLimit>,
    },
    /// How everything stands.
    Status {},
    /// Read the settings again, and look at all shared paths anew, as on `SIGHUP`.
    Reload {},
}

/// A limit that is asked for: a number or a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a limit is a number of bytes a second, or \"default\"")]
pub enum RateLimit {
    /// Bytes a second; 0 for no limit.
    Rate(u64),
    /// As a word says.
    Word(RateWord),
}

/// A limit that is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RateWord {
    /// As the settings say, now and whenever they change.
    Default,
}

/// Contents that are meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Which {
    /// All of them.
    All,
    /// Each by its number, name, path, ticket, or by its id or the beginning of that.
    These(Vec<String>),
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// The state of a content. For an `add` it is sent repeatedly until the path is hashed or the ticket is resolved.
    Content(ContentStatus),
    /// All that was asked for is done.
    Done {
        /// How many contents it concerned.
        contents: u64,
        /// The limit on what is sent, in bytes a second; 0 if there is none.
        up: u64,
        /// The limit on what is received, likewise.
        down: u64,
        /// Something that the user should know, as a sentence; empty if there is nothing.
        #[serde(default)]
        note: String,
    },
    /// It cannot be done.
    Error {
        /// What kind of error it is.
        code: ErrorCode,
        /// What is wrong, and what to do, as a sentence.
        message: String,
    },
    /// An answer that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request makes no sense.
    Usage,
    /// There is no such content, no such path, or nothing at the URL.
    NotFound,
    /// There are too many of something, or what is at the URL may not be read.
    Refused,
    /// The state cannot be written.
    CannotWrite,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// Whether a content is shared or downloaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// It was here before.
    #[default]
    Share,
    /// It comes from others, and is shared once it is complete.
    Download,
}

/// What a content is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Doing {
    /// It waits for what `reason` says.
    #[default]
    Waiting,
    /// Its files are hashed.
    Hashing,
    /// What is there already is checked.
    Checking,
    /// Other downloads go first.
    Queued,
    /// Pieces are fetched.
    Downloading,
    /// Every piece is verified; the files get their names.
    Finishing,
    /// All of it is here, and others get it.
    Sharing,
    /// It was told to pause.
    Paused,
    /// It has failed, for the `reason` given.
    Failed,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How a content stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContentStatus {
    /// Its number in this daemon: the same for as long as the content is there.
    pub number: u64,
    /// Whether it is shared or downloaded.
    pub kind: Kind,
    /// What it is doing.
    pub state: Doing,
    /// Why, as a sentence; empty if there is nothing to say.
    pub reason: String,
    /// What kind of error the reason is, if it is one and that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// Its id; empty until it is known.
    pub content: String,
    /// Its name; empty until it is known.
    pub name: String,
    /// Where it lies, or is to lie.
    pub path: String,
    /// Bytes; of the files that are wanted, if not all are.
    pub size: u64,
    /// Pieces in all.
    pub pieces: u32,
    /// Pieces that are here.
    pub have: u32,
    /// Payload bytes received since the daemon started.
    pub received: u64,
    /// Payload bytes sent since the daemon started.
    pub sent: u64,
    /// Bytes received a second.
    pub rate: u64,
    /// Connected peers that take part.
    pub peers: u32,
    /// Bytes that are hashed, and in all, while it is being hashed.
    pub hashed: [u64; 2],
    /// The ticket that gets it; empty until it is known. Who has it can get a private share.
    pub ticket: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page has an example of each message: they are read and written as it says.
    #[test]
    fn the_page_documents_every_message() {
        let page = include_str!("../../../../docs/control.md");
        let lines = page.lines().filter(|line| line.starts_with('{'));
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for line in lines {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(value["v"], VERSION, "{line}");
            if value.get("request").is_some() {
                let request: Request = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                let mut again = serde_json::to_value(&request).unwrap();
                again["v"] = VERSION.into();
                assert_eq!(again, value);
                requests.push(value["request"].as_str().unwrap().to_owned());
            } else {
                let answer: Answer = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                let mut again = serde_json::to_value(&answer).unwrap();
                again["v"] = VERSION.into();
                assert_eq!(again, value);
                answers.push(value["answer"].as_str().unwrap().to_owned());
            }
        }
        for name in ["add", "remove", "pause", "resume", "prioritise", "limit", "status", "reload"] {
            assert!(requests.iter().any(|request| request == name), "docs/control.md has no example of {name}");
        }
        for name in ["content", "done", "error"] {
            assert!(answers.iter().any(|answer| answer == name), "docs/control.md has no example of {name}");
        }
        let fields = serde_json::to_value(ContentStatus::default()).unwrap();
        for field in fields.as_object().unwrap().keys() {
            assert!(page.contains(&format!("`{field}`")), "docs/control.md does not say what {field} is");
        }
    }

    #[test]
    fn a_wrong_limit_is_answered_with_what_is_right() {
        for wrong in ["-5", "1.5", "\"fast\"", "[]"] {
            let error = serde_json::from_str::<Request>(&format!(r#"{{"request":"limit","up":{wrong}}}"#)).unwrap_err();
            assert!(error.to_string().contains(r#"bytes a second, or "default""#), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_skipped() {
        let answer = r#"{"v":1,"answer":"content","state":"dreaming","number":3,"colour":"red"}"#;
        let Answer::Content(status) = serde_json::from_str(answer).unwrap() else { panic!("a content") };
        assert_eq!((status.number, status.state), (3, Doing::Unknown));
        assert_eq!(serde_json::from_str::<Answer>(r#"{"answer":"song","text":"la"}"#).unwrap(), Answer::Unknown);
        assert!(serde_json::from_str::<Request>(r#"{"request":"dance"}"#).is_err());
    }
}
