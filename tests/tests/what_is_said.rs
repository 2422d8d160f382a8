//! What a person sees, and what a program reads: words, progress, errors and the log, each where it belongs.

use std::fs;
use std::process::Output;

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
    assert!(progress.lines().any(|line| line.contains("pieces,") && line.contains("/s")), "{progress}");
    assert!(words.contains("Successfully Downloaded file to") && !words.contains("pieces,"), "{words}");
    assert!(words.contains("Held up by "), "{words}");
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
    let events: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    assert_eq!(events.last().unwrap()["event"], "bye");
    let completed = events.iter().find(|event| event["event"] == "completed").unwrap();
    assert!(["peers", "network", "disk", "hashing"].contains(&completed["limiter"].as_str().unwrap()), "{completed}");
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
    assert_eq!(peer.event("limiter")["limiter"], "rate_cap");
    assert_eq!(peer.event("completed")["limiter"], "rate_cap");
    peer.ends_with(0);
}

#[test]
fn a_file_that_is_changed_while_it_is_shared_is_withdrawn_with_a_reason() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(3 << 20, 1));
    let mut seeder = swarm.seeder("seeder", 1, &[]);
    swarm.put("seeder", "file", &noise(1 << 20, 2));
    let _peer = swarm.downloader("peer", "file", &[]);
    let reason = seeder.event("withdrawn")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("file") && reason.contains("changed"), "{reason}");
}
