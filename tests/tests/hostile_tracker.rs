//! A tracker that lies: it can withhold what is asked for, and never put anything else in its place.

use std::process::{Command, Output, Stdio};

use protocol::{ContentId, ContentMatch, MAX_MATCHES, TrackerEvent, TrackerRequest};
use testbed::event::Sharing;
use tests::false_tracker::FalseTracker;
use tests::machines::Machines;
use tests::{Process, noise};

/// A false tracker, and two who share something by way of it.
struct Stage {
    tracker: FalseTracker,
    machines: Machines,
    _sharers: [Process; 2],
    /// What is asked for, and its id.
    bytes: Vec<u8>,
    wanted: ContentId,
    /// What is not.
    other: ContentId,
}

fn found(content: ContentId, name: &str) -> ContentMatch {
    ContentMatch { content, name: name.to_owned(), size: 5, seeders: 1, others: 0, downloaders: 0 }
}

/// Ways to ask for the wanted content.
#[derive(Debug, Clone, Copy)]
enum Way {
    Ticket,
    Get,
    Pipe,
    Original,
    Inspect,
}

const WAYS: [Way; 5] = [Way::Ticket, Way::Get, Way::Pipe, Way::Original, Way::Inspect];

impl Stage {
    fn new() -> Self {
        let (tracker, machines) = (FalseTracker::new(), Machines::new());
        let (bytes, evil) = (noise(300_000, 1), noise(300_000, 2));
        machines.put("honest", "real.bin", &bytes);
        machines.put("evil", "evil.bin", &evil);
        let share = |machine: &str, file: &str| {
            let flags = tracker.flags();
            let arguments: Vec<_> = flags.iter().map(String::as_str).chain(["--open", file]).collect();
            let mut process = machines.share(machine, &arguments);
            let content = process.event::<Sharing>().content.parse().unwrap();
            (process, content)
        };
        let ((honest, wanted), (evil, other)) = (share("honest", "real.bin"), share("evil", "evil.bin"));
        Stage { tracker, machines, _sharers: [honest, evil], bytes, wanted, other }
    }

    /// From now on the tracker finds these, whatever it is asked for, and names everyone as a peer of everything.
    fn finds(&self, matches: Vec<ContentMatch>) {
        let other = self.other;
        self.tracker.answers(move |message, peers| match message {
            TrackerRequest::Find(query) => {
                let unasked = TrackerEvent::Peers { content: other, joined: peers.to_vec(), gone: Vec::new() };
                vec![unasked, TrackerEvent::Found { query: query.clone(), matches: matches.clone() }]
            }
            TrackerRequest::List { before } => {
                vec![TrackerEvent::Listed { before: *before, contents: matches.clone(), next: None }]
            }
            TrackerRequest::Announce(announce) => {
                let (content, joined) = (announce.content, peers.to_vec());
                vec![TrackerEvent::Peers { content, joined, gone: Vec::new() }]
            }
            _ => Vec::new(),
        });
    }

    /// What comes of asking for `text` like this, in a folder of its own.
    fn ask(&self, way: Way, text: &str) -> Output {
        let _ = std::fs::remove_dir_all(self.machines.folder("there"));
        let mut command = match way {
            Way::Ticket => self.machines.command("there", "get", &[text]),
            Way::Get => self.machines.command("there", "get", &[text]),
            Way::Pipe => self.machines.command("there", "get", &["-o", "-", text]),
            Way::Inspect => self.machines.command("there", "inspect", &[text]),
            Way::Original => {
                let mut command: Command = tests::peer_cli();
                command.current_dir(self.machines.folder("there"));
                command.args(["--bind=127.0.0.1", "-p=0", "--exit-when-done", "-f", text]);
                command
            }
        };
        if !matches!(way, Way::Ticket) {
            command.args(self.tracker.flags());
        }
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn text_of(&self, way: Way) -> String {
        if matches!(way, Way::Ticket) { self.tracker.ticket(self.wanted) } else { self.wanted.to_string() }
    }

    fn left(&self) -> Vec<String> {
        let folder = self.machines.folder("there");
        let entries = ["output", "hashes"].map(|name| std::fs::read_dir(folder.join(name)));
        entries.into_iter().flatten().flatten().map(|entry| entry.unwrap().path().display().to_string()).collect()
    }

    fn ends_with(&self, way: Way, text: &str, code: i32) -> String {
        let output = self.ask(way, text);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{way:?} {text}: {errors}\n{out}");
        if code != 0 {
            assert_eq!(self.left(), [""; 0], "{way:?} {text}");
            assert!(!matches!(way, Way::Pipe) || output.stdout.is_empty(), "{text}");
        }
        errors
    }

    /// The wanted content, and nothing else, comes of asking for `text`.
    fn delivers(&self, way: Way, text: &str) {
        let output = self.ask(way, text);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{way:?} {text}: {errors}");
        match way {
            Way::Pipe => assert!(output.stdout == self.bytes, "{text}: {} bytes", output.stdout.len()),
            Way::Inspect => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(said.contains(&format!("content id  {}", self.wanted)), "{text}: {said}");
            }
            _ => assert!(self.machines.read("there", "output/real.bin") == self.bytes, "{way:?} {text}"),
        }
        assert!(!self.machines.folder("there").join("output/evil.bin").exists(), "{way:?} {text}");
    }
}

#[test]
fn an_id_or_a_ticket_is_answered_with_that_content_or_not_at_all() {
    let stage = Stage::new();
    let (wanted, other) = (stage.wanted, stage.other);
    let digits = wanted.to_string();
    let near = ContentId(protocol::Digest({
        let mut bytes = wanted.0.0;
        bytes[31] ^= 1;
        bytes
    }));
    let lies = [
        vec![],
        vec![found(other, &digits)],
        vec![found(other, "real.bin")],
        vec![found(near, &digits), found(other, "")],
        vec![found(other, &digits); MAX_MATCHES],
    ];
    for lie in lies {
        stage.finds(lie);
        for way in WAYS {
            stage.ends_with(way, &stage.text_of(way), 4);
        }
    }
    // What is true among lies is enough.
    stage.finds(vec![found(other, &digits), found(wanted, "evil.bin"), found(other, "real.bin"), found(wanted, "")]);
    for way in WAYS {
        stage.delivers(way, &stage.text_of(way));
    }
    for text in [digits.to_uppercase(), format!(" {digits} "), stage.tracker.ticket(wanted)] {
        stage.delivers(Way::Original, &text);
    }
}

#[test]
fn the_beginning_of_an_id_is_answered_with_what_begins_so() {
    let stage = Stage::new();
    let prefix = &stage.wanted.to_string()[..10];
    stage.finds(vec![found(stage.other, prefix), found(stage.other, &stage.wanted.to_string())]);
    for way in [Way::Get, Way::Pipe, Way::Original, Way::Inspect] {
        stage.ends_with(way, prefix, 4);
    }
    stage.finds(vec![found(stage.other, prefix), found(stage.wanted, "evil.bin")]);
    for way in [Way::Get, Way::Pipe, Way::Original, Way::Inspect] {
        stage.delivers(way, prefix);
        stage.delivers(way, &prefix.to_uppercase());
    }
}

#[test]
fn a_name_is_answered_with_what_is_called_so() {
    let stage = Stage::new();
    let ways = [Way::Get, Way::Pipe, Way::Original, Way::Inspect];
    stage.finds(vec![found(stage.other, "evil.bin"), found(stage.other, "REAL.BIN"), found(stage.wanted, "")]);
    ways.iter().for_each(|&way| drop(stage.ends_with(way, "real.bin", 4)));
    // Only the manifest says what a content is called.
    stage.finds(vec![found(stage.other, "real.bin")]);
    for way in ways {
        let errors = stage.ends_with(way, "real.bin", 9);
        assert!(errors.contains(r#"is called "evil.bin", not "real.bin""#), "{way:?}: {errors}");
    }
    stage.finds(vec![found(stage.other, "evil.bin"), found(stage.wanted, "real.bin")]);
    ways.iter().for_each(|&way| stage.delivers(way, "real.bin"));
}

/// A longer list than any tracker gives is as good as a broken connection.
#[test]
fn a_list_over_the_limit_is_no_answer() {
    let stage = Stage::new();
    stage.finds(vec![found(stage.wanted, "real.bin"); MAX_MATCHES + 1]);
    stage.ends_with(Way::Get, "real.bin", 3);
    stage.ends_with(Way::Get, &stage.wanted.to_string(), 3);
}

#[test]
fn a_tracker_that_answers_nothing_is_given_up() {
    let stage = Stage::new();
    stage.tracker.answers(|_, _| Vec::new());
    stage.ends_with(Way::Get, &stage.wanted.to_string(), 3);
}
