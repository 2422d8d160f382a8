//! What a person sees, and what a program reads: words, progress, errors and the log, each where it belongs.

use std::fs;
use std::process::Output;

use testbed::event::{self, Completed, Event, Kind, Limiter, Withdrawn};
use tests::{Swarm, noise};

fn download(swarm: &Swarm, flags: &[&str]) -> Output {
    let mut command = swarm.command("peer", &["-f", "file", "--exit-when-done"]);
    let _ = fs::remove_dir_all(swarm.folder("peer").join("output"));
    command.args(flags).stdin(std::process::Stdio::null()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it writes text")
}

#[test]
fn progress_goes_to_standard_error_without_escape_codes() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(3 << 20, 1));
    let _seeder = swarm.seeder("seeder", 1, &["--up-rate", "2MiB"]);
    let output = download(&swarm, &[]);
    let (words, progress) = (text(&output.stdout), text(&output.stderr));
    assert!(progress.starts_with("Connecting to the tracker"), "{progress}");
    assert!(progress.lines().any(|line| line.contains("/3.0 MiB") && line.contains('%')), "{progress}");
    assert!(words.contains("Successfully Downloaded file to") && !words.contains("/3.0 MiB"), "{words}");
    assert!(!words.contains("Held up by "), "it was not asked for: {words}");
    assert!(!words.contains('\x1b') && !progress.contains('\x1b'), "{words}{progress}");

    let output = download(&swarm, &["--no-progress"]);
    assert!(!text(&output.stderr).contains("Connecting"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Successfully Downloaded"));

    let output = download(&swarm, &["--quiet"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
    assert_eq!(swarm.output("peer", "file"), noise(3 << 20, 1));
}

#[test]
fn json_is_all_there_is_on_standard_output() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(100_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let output = download(&swarm, &["--json", "--log-level", "debug"]);
    let lines = text(&output.stdout);
    let events = event::read_all(&lines).unwrap();
    assert!(matches!(events.last(), Some(Event::Bye(_))), "{lines}");
    let completed = events.iter().find_map(Completed::of).unwrap();
    assert!(["peers", "network", "disk", "hashing"].contains(&&*completed.limiter), "{completed:?}");
}

#[test]
fn the_log_goes_to_a_file_if_it_is_told_to() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(100_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let log = swarm.folder("peer").join("peer.log");
    let output = download(&swarm, &["--log-level", "debug", "--quiet", "--log-file", log.to_str().unwrap()]);
    assert_eq!(text(&output.stderr), "");
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.contains("DEBUG") && !logged.contains('\x1b'), "{logged}");
    let output = download(&swarm, &["--log-file", swarm.folder("peer").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains("the log cannot be written to"), "{}", text(&output.stderr));
}

/// What holds a download up is said while it runs, too.
#[test]
fn prog_verbose_names_what_holds_a_download_up() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(4 << 20, 1));
    let _seeder = swarm.seeder("seeder", 1, &["--piece-size", "16KiB"]);
    let mut peer = swarm.downloader("peer", "file", &["--down-rate", "1MiB", "--exit-when-done"]);
    peer.pieces(5);
    peer.type_line("prog --verbose");
    assert_eq!(peer.event::<Limiter>().limiter, "rate_cap");
    assert_eq!(peer.event::<Completed>().limiter, "rate_cap");
    peer.ends_with(0);
}

#[test]
fn a_file_that_is_changed_while_it_is_shared_is_withdrawn_with_a_reason() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(3 << 20, 1));
    let mut seeder = swarm.seeder("seeder", 1, &[]);
    swarm.put("seeder", "file", &noise(1 << 20, 2));
    let _peer = swarm.downloader("peer", "file", &[]);
    let reason = seeder.event::<Withdrawn>().reason;
    assert!(reason.contains("file") && reason.contains("changed"), "{reason}");
}

/// A user who typed a ticket has no `-d` to look at: the message says whether nobody answers there or somebody else.
#[test]
fn advice_speaks_of_what_was_typed() {
    let swarm = Swarm::new();
    let port = swarm.port.to_string();
    let run = |words: &[&str], code: i32| {
        let mut command = tests::peer_cli();
        command.current_dir(swarm.folder("peer")).args(words).arg("--bind=127.0.0.1");
        let output = command.stdin(std::process::Stdio::null()).output().expect("it runs");
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {errors}");
        errors
    };
    let (wrong, digest) = ("ab".repeat(32), |byte| protocol::Digest([byte; 32]));
    let ticket = |port: u16| {
        let address = ([127, 0, 0, 1], port).into();
        let (tracker, content) = (protocol::PeerId(digest(7)), protocol::ContentId(digest(8)));
        protocol::Ticket::new(tracker, vec![address], content).unwrap().to_string()
    };

    let nobody = "the tracker at 127.0.0.1:9 cannot be reached";
    for words in [&["get", &ticket(9)][..], &["inspect", &ticket(9)]] {
        let errors = run(words, 3);
        assert!(errors.contains(nobody) && errors.contains("ask for a new ticket"), "{errors}");
        assert!(!errors.contains("-d") && !errors.contains("-i"), "{errors}");
    }
    let errors = run(&["ls", "127.0.0.1:9", "--tracker-id", &wrong], 3);
    assert!(errors.contains(nobody) && errors.contains("is 9 its port (HOST") && !errors.contains("-d"), "{errors}");
    let errors = run(&["get", "-i=127.0.0.1", "-d=9", "--tracker-id", &wrong, "file"], 3);
    assert!(errors.contains(nobody) && errors.contains("is 9 its port (-d"), "{errors}");

    let somebody = format!("somebody else answers at 127.0.0.1:{port}");
    let errors = run(&["get", &ticket(swarm.port)], 3);
    assert!(errors.contains(&somebody) && errors.contains("ask for a new ticket"), "{errors}");
    assert!(!errors.contains("cannot be reached") && !errors.contains("-d"), "{errors}");
    let errors = run(&["get", "-i=127.0.0.1", "-d", &port, "--tracker-id", &wrong, "file"], 3);
    assert!(errors.contains(&somebody) && errors.contains("give --tracker-id"), "{errors}");
    assert!(!errors.contains("cannot be reached"), "{errors}");

    for words in [["get", &ticket(9)[..30]], ["inspect", &ticket(9)[..30]], ["get", &ticket(9)[..90]]] {
        let errors = run(&words, 2);
        assert!(errors.contains("the ticket was cut off"), "{errors}");
    }
}

#[test]
fn the_last_line_of_hashing_in_a_log_is_its_end() {
    let machines = tests::machines::Machines::new();
    machines.put("here", "file", &noise(40 << 20, 1));
    let mut sharer = tests::Process::start("here", machines.command("here", "share", &["-d=0", "file"]));
    sharer.line("peer-cli get p2p");
    let said = sharer.errors();
    let hashing: Vec<_> = said.lines().filter(|line| line.starts_with("Hashing ")).collect();
    assert!(hashing.last().is_some_and(|line| line.contains("100%")), "{said}");
    assert_eq!(hashing.iter().filter(|line| line.contains("100%")).count(), 1, "{said}");
}
