//! Lines of events: what they look like, and that the schema is what is written.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_line_moves_no_cursor_and_says_the_same() {
    let name = "\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\n\u{e0041}ü";
    let event = Event::Wanted(Wanted { content: String::new(), name: name.to_owned() });
    assert!(!event.line().chars().any(is_unprintable), "{}", event.line());
    let read: serde_json::Value = serde_json::from_str(&event.line()).unwrap();
    assert_eq!(read["name"], name);
}

#[test]
fn a_line_has_version_and_name_first() {
    let line = Event::Lacking(Lacking { content: "ab".to_owned(), pieces: vec![[3, 2]] }).line();
    assert_eq!(line, r#"{"v":1,"event":"lacking","content":"ab","pieces":[[3,2]]}"#);
    assert_eq!(Event::TrackerLost(TrackerLost {}).line(), r#"{"v":1,"event":"tracker_lost"}"#);
}

/// Every event, with lists that are not empty: their items are part of the schema.
fn samples() -> Vec<Event> {
    let text = || "x".to_owned();
    let file = InspectedFile { path: text(), size: 1, root: text(), executable: false };
    vec![
        Event::Ready(Ready { id: text(), listeners: vec![text()], tracker: text() }),
        Event::Gateway(Gateway { url: text(), swarms: vec![text()], metrics: text() }),
        Event::Hashing(Hashing { path: text(), done: 1, total: 2 }),
        Event::Skipped(Skipped { path: text(), reason: text() }),
        Event::Sharing(Sharing { content: text(), name: text(), size: 1, pieces: 1, held: 1, left_out: 1 }),
        Event::Ticket(Ticket { content: text(), ticket: text(), command: text() }),
        Event::Code(Code { content: text(), code: text(), command: text(), seconds: 1.5 }),
        Event::CodeOver(CodeOver { content: text(), code: text(), reason: text(), message: text() }),
        Event::Sent(Sent { content: text(), peer: text(), address: text(), bytes: 1, seconds: 1.5, complete: true }),
        Event::ShareOver(ShareOver { content: text(), reason: text() }),
        Event::Wanted(Wanted { content: text(), name: text() }),
        Event::Manifest(Manifest {
            content: text(),
            name: text(),
            size: 1,
            pieces: 1,
            have: 1,
            files: 1,
            all_files: 1,
            all_size: 1,
        }),
        Event::LeftOver(LeftOver { content: text(), path: text(), size: 1, reused: 1 }),
        Event::Progress(Progress { content: text(), name: text(), have: 1, pieces: 1, received: 1, sent: 1, peers: 1 }),
        Event::Connected(Connected { peer: text(), address: text(), transport: "quic".into() }),
        Event::Lacking(Lacking { content: text(), pieces: vec![[1, 1]] }),
        Event::Origin(Origin { content: text(), origin: text(), failure: text() }),
        Event::Verified(Verified { content: text() }),
        Event::Completed(Completed {
            content: text(),
            path: text(),
            size: 1,
            seconds_verified: 1.0,
            seconds_durable: 1.0,
            sources: BTreeMap::from([(text(), 1)]),
            limiter: "disk".into(),
            executable: vec![text()],
        }),
        Event::Limiter(Limiter { limiter: "disk".into() }),
        Event::Names(Names { content: text(), skipped: vec![], renamed: vec![], unprintable: vec![] }),
        Event::Withdrawn(Withdrawn { content: text(), reason: text() }),
        Event::Banned(Banned { peer: text() }),
        Event::TrackerLost(TrackerLost {}),
        Event::TrackerBack(TrackerBack {}),
        Event::TrackerUnfit(TrackerUnfit { reason: text() }),
        Event::Waiting(Waiting { content: text(), reason: text() }),
        Event::Listed(Listed {
            content: text(),
            name: text(),
            size: 1,
            seeders: 1,
            partial: 1,
            downloaders: 1,
            copies_at_least: 1,
            copies_exact: true,
        }),
        Event::Watched(Watched {
            content: text(),
            name: text(),
            peer: text(),
            address: text(),
            role: "seeder".into(),
            reports: true,
            have: 1,
            pieces: 1,
            size: 1,
            down: 1,
            up: 1,
            from: BTreeMap::from([(text(), 1)]),
        }),
        Event::Check(Check { check: "disk".into(), status: "good".into(), found: text(), advice: text() }),
        Event::Inspected(Inspected {
            content: text(),
            name: text(),
            folder: false,
            size: 1,
            hash: text(),
            piece_size: 1,
            pieces: 1,
            files: vec![file],
            empty_folders: vec![text()],
        }),
        Event::Error(Error { code: 1, message: text() }),
        Event::Bye(Bye { sent: 1, received: 1 }),
    ]
}

#[test]
fn a_line_reads_back_as_the_event_it_was() {
    for event in samples() {
        assert_eq!(Event::parse(&event.line()).unwrap(), event);
    }
    let added = r#"{"v":1,"event":"tracker_lost","added":"later"}"#;
    assert_eq!(Event::parse(added).unwrap(), Event::TrackerLost(TrackerLost {}));
    assert_eq!(Event::parse(r#"{"v":1,"event":"of tomorrow","size":7}"#).unwrap(), Event::Unknown);
    assert!(Event::parse("no JSON").is_err());
}

#[test]
fn the_schema_is_what_is_written() {
    let mut written = BTreeMap::new();
    for event in samples() {
        let line: serde_json::Value = serde_json::from_str(&event.line()).unwrap();
        let fields = line.as_object().unwrap().keys().filter(|key| !["v", "event"].contains(&key.as_str()));
        written.insert(line["event"].as_str().unwrap().to_owned(), fields.cloned().collect::<BTreeSet<_>>());
    }
    let owned = |fields: &[&str]| fields.iter().map(|&field| field.to_owned()).collect();
    let schema = SCHEMA.iter().map(|(name, fields)| ((*name).to_owned(), owned(fields))).collect();
    assert_eq!(written, schema);
}
