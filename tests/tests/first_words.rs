//! The first minute: help, and what is said to someone who types something nearly right.

use std::process::{Command, Output, Stdio};

use tests::machines::Machines;

fn run(mut command: Command, words: &[&str]) -> Output {
    command.args(words).stdin(Stdio::null()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const COMMANDS: [&str; 12] =
    ["share", "get", "gateway", "join", "ls", "watch", "inspect", "doctor", "daemon", "hash", "publish", "verify"];
/// Commands that the short list leaves out.
const ASIDE: [&str; 8] = ["completions", "add", "rm", "pause", "resume", "prioritise", "limit", "status"];

#[test]
fn short_help_fits_a_screen_and_long_help_says_more() {
    let lines = |help: &str| help.lines().count();
    let ask = |command: fn() -> Command, words: &[&str]| {
        let output = run(command(), words);
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let own = |words: &[&str]| {
        let (short, long) = (["-h"], ["--help"]);
        let [short, long] = [short, long].map(|flag| ask(tests::peer_cli, &[words, &flag].concat()));
        assert!(lines(&short) <= 24 && short.lines().all(|line| line.chars().count() <= 80), "{words:?}:\n{short}");
        assert!(short.contains("Example") && short.find("Example") < short.find("Usage"), "{words:?}:\n{short}");
        (short, long)
    };
    let (short, long) = own(&[]);
    assert!(COMMANDS.iter().all(|command| short.contains(&format!("\n  {command} "))), "{short}");
    assert!(["Common", "Network", "Closed swarms", "Tuning"].iter().all(|head| long.contains(&format!("\n{head}:\n"))));
    for command in COMMANDS.iter().chain(&ASIDE) {
        own(&[command]);
    }
    let (_, share) = own(&["share"]);
    assert!(share.contains("--ticket-address") && !share.contains("--verify-on-disk"));
    let (_, ls) = own(&["ls"]);
    assert!(ls.contains("--tracker-id") && !ls.contains("--up-rate") && !ls.contains("--piece-size"), "{ls}");
    let short = ask(tests::tracker, &["-h"]);
    assert!(lines(&short) <= 24 && lines(&short) < lines(&ask(tests::tracker, &["--help"])), "{short}");
}

/// A script that forgot its arguments sees a failure, and nothing on standard output.
#[test]
fn without_arguments_eight_lines_say_what_to_type() {
    let output = run(tests::peer_cli(), &[]);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 8), "{said}");
    assert!(output.stdout.is_empty() && said.contains("peer-cli share") && said.contains("peer-cli get"), "{said}");
}

#[test]
fn what_is_typed_nearly_right_is_answered_in_one_sentence() {
    let machines = Machines::new();
    machines.put("here", "a.bin", b"bytes");
    let digest = |byte| protocol::Digest([byte; 32]);
    let (tracker, content) = (protocol::PeerId(digest(7)), protocol::ContentId(digest(8)));
    let ticket = protocol::Ticket::new(tracker, vec![([127, 0, 0, 1], 9).into()], content).unwrap().to_string();
    let cases: [(&[&str], &str); 12] = [
        (&["a.bin"], "To send it: peer-cli share a.bin"),
        (&["get", "a.bin"], "To send it: peer-cli share a.bin"),
        (&[&ticket], &format!("To get it: peer-cli get {ticket}")),
        (&["shar", "a.bin"], "did you mean share?"),
        (&["download"], "is missing"),
        (&["get", "x", "--forse"], "did you mean --force?"),
        (&["share", "a.bin", "--only", "x"], "--only is for what is shared from a URL"),
        (&["send", "a.bni"], "Did you mean \"a.bin\"?"),
        (&["ls", "localhost", "--fair"], "ls takes no --fair"),
        (&["-i", "localhost", "--listners", "2"], "did you mean --listeners?"),
        (&["share", "a.bin", "--transport", "carrier-pigeon"], "use auto, quic or tcp"),
        (&["receive", &ticket, "-i", "localhost"], "leave out --tracker-ip"),
    ];
    for (words, said) in cases {
        let mut command = tests::peer_cli();
        command.current_dir(machines.folder("here"));
        let output = run(command, words);
        let errors = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(2 | 4)) && output.stdout.is_empty(), "{words:?}: {errors}");
        assert!(
            errors.lines().count() == 1 && errors.starts_with("peer-cli: ") && errors.contains(said),
            "{words:?}: {errors}"
        );
    }
    let output = run(tests::tracker(), &["--memroy", "1GiB"]);
    assert_eq!(text(&output.stderr), "tracker: there is no flag --memroy; did you mean --memory?\n");
}
