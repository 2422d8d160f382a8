//! Peers that cannot reach each other get a file through the relay of their tracker, and only as far as it allows.
#![cfg(target_os = "linux")]

use testbed::event::{Connected, Event, Progress, Waiting};
use tests::halves::{B, Halves};
use tests::machines::ticket;
use tests::{Process, noise};

/// Two halves, or a word why the story is skipped.
fn halves() -> Option<Halves> {
    Halves::new().inspect_err(|reason| eprintln!("skipped, {reason}")).ok()
}

/// Shares a file of `b`, and gives its ticket.
fn share(halves: &Halves, id: &str, arguments: &[&str]) -> (Process, String) {
    let shares = ["share", "file", "-i", "10.71.2.1", "--tracker-id", id, "--json"];
    let mut sharer = halves.peer("b", &[&shares[..], arguments].concat());
    let ticket = ticket(&mut sharer);
    (sharer, ticket)
}

#[test]
fn peers_without_any_path_get_a_file_through_the_relay() {
    let Some(halves) = halves() else { return };
    let bytes = noise(6_000_000, 1);
    halves.put("b", "file", &bytes);
    let (mut tracker, id) = halves.tracker(&["--relay", "--commands"]);
    for (private, udp) in [(true, true), (false, false)] {
        if !udp {
            halves.drop_udp("a");
            halves.drop_udp("b");
        }
        let open: &[&str] = if private { &[] } else { &["--open"] };
        let (mut sharer, ticket) = share(&halves, &id, open);
        let folder = if udp { "first" } else { "second" };
        let mut getter = halves.peer("a", &["get", &ticket, "--json", "-o", folder]);
        assert_eq!(getter.event::<Connected>().transport, "relay");
        assert_eq!(sharer.event::<Connected>().transport, "relay");
        getter.ends_with(0);
        assert!(halves.read("a", &format!("{folder}/file")) == bytes);
        sharer.kill();
    }
    tracker.type_line("status");
    tracker.line("relayed");
}

#[test]
fn people_are_told_that_a_relay_is_used() {
    let Some(halves) = halves() else { return };
    halves.put("b", "file", &noise(100_000, 1));
    let (_tracker, id) = halves.tracker(&["--relay"]);
    let (_sharer, ticket) = share(&halves, &id, &[]);
    let mut getter = halves.peer("a", &["get", &ticket, "-o", "here"]);
    getter.line(&format!("Reached {B} through the tracker's relay"));
    getter.ends_with(0);
}

#[test]
fn a_transfer_moves_to_a_direct_path_that_appears() {
    let Some(halves) = halves() else { return };
    let bytes = noise(30_000_000, 1);
    halves.put("b", "file", &bytes);
    let (_tracker, id) = halves.tracker(&["--relay"]);
    let (_sharer, ticket) = share(&halves, &id, &["--up-rate", "2MiB"]);
    let mut getter = halves.peer("a", &["get", &ticket, "--json", "-o", "here"]);
    assert_eq!(getter.event::<Connected>().transport, "relay");
    let before = getter.find_event("some pieces", |event| match event {
        Event::Progress(Progress { received, .. }) if received > 0 => Some(received),
        _ => None,
    });
    halves.forward(true);
    assert!(["quic", "tcp"].contains(&&*getter.event::<Connected>().transport), "it goes on directly");
    getter.ends_with(0);
    assert!(before > 0 && halves.read("a", "here/file") == bytes);
}

#[test]
fn a_relay_that_has_carried_enough_says_so() {
    let Some(halves) = halves() else { return };
    halves.put("b", "file", &noise(8_000_000, 1));
    let (_tracker, id) = halves.tracker(&["--relay", "--relay-bytes", "2MiB"]);
    let (_sharer, ticket) = share(&halves, &id, &[]);
    let mut getter = halves.peer("a", &["get", &ticket, "--json", "-o", "here", "--wait", "60s"]);
    assert_eq!(getter.event::<Connected>().transport, "relay");
    getter.find_event("a refusal", |event| match event {
        Event::Waiting(Waiting { reason, .. }) => reason.contains("daily limit at the relay").then_some(()),
        _ => None,
    });
}

#[test]
fn a_tracker_that_is_no_relay_carries_nothing() {
    let Some(halves) = halves() else { return };
    halves.put("b", "file", &noise(100_000, 1));
    let (_tracker, id) = halves.tracker(&[]);
    let (_sharer, ticket) = share(&halves, &id, &[]);
    let mut getter = halves.peer("a", &["get", &ticket, "--json", "-o", "here", "--wait", "8s"]);
    getter.find_event("why nothing comes", |event| match event {
        Event::Waiting(Waiting { reason, .. }) => reason.contains("answers neither").then_some(()),
        _ => None,
    });
    assert_ne!(getter.wait().code(), Some(0));
}
