//! A wrong command line is refused with a sentence before any work is done.

use std::process::{Command, Output, Stdio};

use testbed::event::{self, Bye, Error, Kind};
use tests::machines::Machines;
use tests::{Swarm, noise, peer_cli};

fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Demands this exit status and this sentence.
fn refused(command: Command, code: i32, sentence: &str) {
    let line: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let output = run(command);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line:?}: {errors}");
    assert!(errors.contains(sentence), "{line:?}: {errors}");
}

#[test]
fn values_that_make_no_sense_are_usage_errors() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let ticket = ["p2p2aeb6mfrggzdf", "mztwq2lknnwg23tpob", "yxg5dvozyt0snyoe"];
    let cases: [(&[&str], &str); 25] = [
        (&["get", ticket[0], ticket[1], ticket[2]], "damaged: a character of the ticket is wrong"),
        (&["get", "p2p2", "my", "notes"], "Put a name with spaces in quotes"),
        (&["get", "p2p2aeb6…"], "this is only the beginning of a ticket"),
        (&["get", "p2p2aeb6"], "this is only the beginning of a ticket"),
        (&["inspect", "p2p…"], "this is only the beginning of a ticket"),
        (&["p2p2aeb6..."], "this is only the beginning of a ticket"),
        (&["share", "--log-level=nonsense", "file"], "off, error, warn, info, debug or trace"),
        (&["share", "--log-level=peer=loud", "file"], "off, error, warn, info, debug or trace"),
        (&["share", "--budget=0", "file"], "1MiB to 1TiB"),
        (&["share", "--up-rate=0", "file"], "leave it out to have no limit"),
        (&["get", "--down-rate=1e30mbit", "file"], "leave it out to have no limit"),
        (&["share", "--ticket-address=10.0.0.1:0", "file"], "nobody is reached at port 0"),
        (&["share", "--announce=10.0.0.1:0", "file"], "nobody is reached at port 0"),
        (&["share", "-i=localhost", "-d=0", "file"], "not at port 0"),
        (&["get", "-i=localhost", "-d=0", "file"], "0 is not between 1 and 65535"),
        (&["ls", "localhost:0"], "is no HOST or HOST:PORT"),
        (&["share", "-p=x", "file"], "that is no whole number"),
        (&["share", "--bind=x", "file"], "that is no IP address"),
        (&["share", "--expires=0s", "file"], "it must be there for a while"),
        (&["share", "-i=tracker.test:0", "file"], "is no HOST or HOST:PORT"),
        (&["get", "-i=10.0.0.1:many", "file"], "is no HOST or HOST:PORT"),
        (&["get", "-i= ", "file"], "the tracker's name is missing"),
        (&["get", " "], "it needs a ticket, a name or a content id"),
        (&["get", "\n"], "it needs a ticket, a name or a content id"),
        (&["-i=localhost", "-S", "-m", "99999999"], "99999999 is not between 0 and 1048575"),
    ];
    for (words, sentence) in cases {
        let mut command = peer_cli();
        command.current_dir(machines.folder("here")).args(words);
        refused(command, 2, sentence);
    }
    let left = std::fs::read_dir(machines.folder("here")).unwrap().count();
    assert_eq!(left, 1, "no manifest and no key was made");
}

#[test]
fn the_trackers_log_level_is_judged_too() {
    let errors = Swarm::new().tracker_ends(&["-p", "0", "--log-level", "nonsense"], 2);
    assert!(errors.contains("off, error, warn, info, debug or trace"), "{errors}");
}

/// Other programs read `RUST_LOG`, too, and it may name parts of them.
#[test]
fn what_rust_log_says_to_others_is_no_error() {
    let mut command = peer_cli();
    command.args(["completions", "bash"]).env("RUST_LOG", "another_program");
    assert!(run(command).status.success());
}

#[test]
fn a_piece_that_no_file_has_cannot_be_missing() {
    let swarm = Swarm::new();
    swarm.put("seeder", "large", &noise(10_000, 1));
    swarm.put("seeder", "small", &noise(1_000, 2));
    let flags = ["-S", "--piece-size=1KiB", "-m", "3", "10"];
    refused(swarm.command("seeder", &flags), 2, "they have 10 at most, which -m counts from 0 to 9");
    // What one of them has is missing there.
    let mut seeder = swarm.seeder("seeder", 2, &["--piece-size=1KiB", "-m", "9"]);
    seeder.type_line("exit");
    seeder.ends_with(0);
}

#[test]
fn a_path_that_is_not_there_is_4_and_its_neighbour_is_named() {
    let machines = Machines::new();
    machines.put("here", "model.bin", b"bytes");
    for command in ["share", "hash", "verify"] {
        let mut program = peer_cli();
        program.current_dir(machines.folder("here")).args([command, "modell.bin"]);
        refused(program, 4, "there is no file or folder modell.bin. Did you mean \"model.bin\"? Check the name");
    }
    let left = std::fs::read_dir(machines.folder("here")).unwrap().count();
    assert_eq!(left, 1, "no tracker was set up for it");
    let swarm = Swarm::new();
    swarm.put("seeder", "model.bin", b"bytes");
    refused(swarm.command("seeder", &["-S", "-f", "modell.bin"]), 4, "Did you mean \"input/model.bin\"?");
}

/// A reader of events need not read standard error.
#[test]
fn every_command_ends_its_events_with_the_error() {
    let swarm = Swarm::new();
    let port = swarm.port.to_string();
    let (wrong, certs) = ("ab".repeat(32), swarm.certs().to_str().unwrap().to_owned());
    let cases: [(&[&str], i32); 10] = [
        (&["ls"], 2),
        (&["ls", "127.0.0.1:9", "--tracker-id", &wrong], 3),
        (&["inspect", "nothing"], 4),
        (&["inspect", "nothing", "-i=127.0.0.1", "-d", &port, "--certs", &certs], 4),
        (&["doctor", "-i=127.0.0.1", "-d=9", "--tracker-id", &wrong], 3),
        (&["share", "nothing"], 4),
        (&["get", "nothing"], 2),
        (&["get", "nothing", "-i=127.0.0.1", "-d", &port, "--certs", &certs], 4),
        (&["get", "nothing", "-i=no-such-host.invalid", "--certs", &certs], 3),
        (&["-i=127.0.0.1", "-d", &port, "--certs", &certs, "--ca=nothing.pem"], 7),
    ];
    for (words, code) in cases {
        let mut command = peer_cli();
        command.current_dir(swarm.folder("asker")).args(words).args(["--json", "--bind=127.0.0.1", "-p=0"]);
        if ["ls", "inspect", "doctor"].contains(&words[0]) {
            command = peer_cli();
            command.current_dir(swarm.folder("asker")).args(words).args(["--json", "--bind=127.0.0.1"]);
        }
        let output = run(command);
        let lines = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {lines}{}", text(&output.stderr));
        let events = event::read_all(&lines).expect("an event a line");
        let errors: Vec<_> = events.iter().filter_map(Error::of).collect();
        assert_eq!(errors.len(), 1, "{words:?}: {lines}");
        assert_eq!(i32::from(errors[0].code), code, "{words:?}: {lines}");
        let last = events.iter().rfind(|event| Bye::of(event).is_none()).unwrap();
        assert!(Error::of(last).is_some(), "{words:?}: {lines}");
        assert!(text(&output.stderr).contains(errors[0].message.lines().next().unwrap()));
    }
}

/// What cannot be shared was once said twice, and between that what had been sent.
#[test]
fn a_refusal_is_said_last_and_alone() {
    let machines = Machines::new();
    for (flags, code, sentence) in [
        (&["-d=0", "/"][..], 1, "it has no name: choose something in it"),
        (&["-d=0", "--bind=203.0.113.1", "file"], 1, "this machine has no address 203.0.113.1"),
    ] {
        machines.put("here", "file", b"bytes");
        let mut command = peer_cli();
        command.current_dir(machines.folder("here")).arg("share").args(flags);
        testbed::programs::at_home(&mut command, &machines.home("here"));
        let Output { status, stdout, stderr } = run(command);
        let (words, errors) = (text(&stdout), text(&stderr));
        assert_eq!(status.code(), Some(code), "{flags:?}: {errors}");
        assert!(errors.lines().last().unwrap_or_default().contains(sentence), "{errors}");
        assert!(!words.contains("Stopped sharing") && !words.contains("is not shared"), "{flags:?}: {words}");
    }
}
