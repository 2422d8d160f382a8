//! Tests of single crates, built for Windows and run under Wine: those of the code that is for Windows alone, and all others
//! that Wine is good enough for, inside the crates and beside them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use testbed::program::Program;

use super::compiler::{Compiler, PROFILE};
use super::wine::Wine;
use super::{Skipped, WINDOWS};

/// The crates that have code for Windows.
const CRATES: [&str; 6] = [
    "p2p-fileshare-atomic-file",
    "p2p-fileshare-protocol",
    "p2p-fileshare-settings",
    "p2p-fileshare-storage",
    "p2p-fileshare-transport",
    "p2p-fileshare",
];

/// Those of them whose tests are quick to build and to run: what a run of all checks has time for.
const FEW: [&str; 4] =
    ["p2p-fileshare-atomic-file", "p2p-fileshare-protocol", "p2p-fileshare-settings", "p2p-fileshare-storage"];
/// What that takes where nothing of it is built yet but the programs.
pub(super) const FEW_TAKE: Duration = Duration::from_secs(120);

/// The crates that have tests beside them which run in memory, over TCP, or on files.
const BESIDE: [&str; 4] =
    ["p2p-fileshare-storage", "p2p-fileshare-transport", "p2p-fileshare-tracker", "p2p-fileshare"];
/// Those tests. Not among them are `room` and `swaps`, which are for Unix, `ended_connections`, which needs QUIC, and `memory`, where what is
/// freed late on a busy machine counts against what is allocated.
const TESTS: [&str; 19] = [
    "attacks",
    "changed_by_others",
    "conformance",
    "connection_memory",
    "crash",
    "frames",
    "hostile_names",
    "hostile_tracker",
    "leases",
    "local_network",
    "nodes",
    "relay",
    "round_trips",
    "server",
    "several_trackers",
    "standing",
    "watched_files",
    "watching",
    "zero_copy",
];

/// What Wine is not good enough for: parts of tests' names, and why. Tests that fail for want of QUIC need not be here: see [`LACKS`].
const UNFIT: [(&str, &str); 14] = [
    ("quic::", "Wine lacks a call that QUIC's sockets need"),
    ("both_listen_on_the_same_ports", "it needs QUIC"),
    ("quic_is_preferred_and_tcp_is_what_is_left", "it needs QUIC"),
    ("who_answers_nothing_or_stalls_is_given_up", "it needs QUIC"),
    ("where_any_port_will_do_one_that_is_reserved", "it needs QUIC"),
    ("stream_connections_that_come_and_go", "a connection hears nothing for too long there, and it is not known why"),
    ("tcp_keeps_the_promises", "of many streams at once one is reset there, and it is not known why"),
    (
        "relayed_connections_keep_the_promises",
        "of many streams at once one cannot be opened there, and it is not known why",
    ),
    ("whatever_somebody_does_to_a_file_that_is_built", "nobody may replace a file there that somebody has open"),
    ("what_lies_there_now_is_read_after_a_file_was_replaced", "the same"),
    ("what_somebody_changes_while_it_is_built", "the same"),
    ("a_change_is_noticed_though_nobody_reads", "the same"),
    ("little_is_filled_where_gaps_are", "on a busy machine the order is lost there, and it is not known why"),
    ("every_size_and_ending_arrives_as_it_was", "to remove a folder that is open does not end there"),
];

/// What a test says that fails because Wine does not know what QUIC's sockets ask for.
const LACKS: &str = "(os error 10045)";

/// After this long tests hang.
const PATIENCE: Duration = Duration::from_secs(600);

/// Builds the tests and runs them, all or those of few crates.
pub(super) fn run(compiler: &Compiler, tools: &Path, all: bool, skipped: &mut Skipped) -> anyhow::Result<()> {
    let crates: &[&str] = if all { &CRATES } else { &FEW };
    let what = format!("{WINDOWS} under Wine: tests of {}", crates.join(", "));
    let Some(wine) = skipped.unless(&what, Wine::get(tools)) else { return Ok(()) };
    eprintln!("{what}");
    let mut programs = compiler.build_tests(crates, &["--lib"], PROFILE)?;
    if all {
        let beside: Vec<_> = TESTS.iter().flat_map(|test| ["--test", *test]).collect();
        programs.extend(compiler.build_tests(&BESIDE, &beside, PROFILE)?);
    }
    let parent = tools.join("stories");
    fs::create_dir_all(&parent)?;
    let folder = tempfile::tempdir_in(parent)?;
    let mut faults = Vec::new();
    for program in &programs {
        // All of them: a run takes long.
        if let Err(fault) = run_one(&wine, program, folder.path(), skipped) {
            eprintln!("{fault:#}");
            faults.push(stem(program));
        }
    }
    wine.stop();
    ensure!(faults.is_empty(), "under Wine fail: {}", faults.join(", "));
    let unfit = UNFIT.iter().filter(|_| all);
    unfit.for_each(|(test, why)| skipped.say(&format!("under Wine {test}: {why}")));
    Ok(())
}

fn stem(program: &Path) -> String {
    program.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn run_one(wine: &Wine, program: &Path, folder: &Path, skipped: &mut Skipped) -> anyhow::Result<()> {
    let name = stem(program);
    let mut command = wine.command(program);
    command.args(UNFIT.iter().flat_map(|(test, _)| ["--skip", test]));
    let (began, mut said) = (Instant::now(), Vec::new());
    let mut tests = Program::start_as(&name, command, folder)?;
    let result = tests.find("its result", PATIENCE, |line| {
        said.push(line.to_owned());
        line.strip_prefix("test result: ").map(str::to_owned)
    })?;
    let status = tests.end(PATIENCE)?;
    let Failures { lacking, others } = Failures::among(&said);
    let is_fine = status.success() || (others.is_empty() && !lacking.is_empty());
    ensure!(is_fine, "{}", tests.complaint(&format!("fails under Wine ({result})")));
    lacking.iter().for_each(|test| skipped.say(&format!("under Wine {test}: it needs QUIC")));
    eprintln!("{name}: {result}; {} s with Wine's start", began.elapsed().as_secs());
    Ok(())
}

/// Tests that failed.
#[derive(Debug, PartialEq, Eq)]
struct Failures<'a> {
    /// For want of QUIC.
    lacking: Vec<&'a str>,
    others: Vec<&'a str>,
}

impl<'a> Failures<'a> {
    /// Those of a run that said this. First it says of each that failed what that one said, and then it lists them.
    fn among(lines: &'a [String]) -> Self {
        let (mut lacks, mut listed, mut current) = (BTreeSet::new(), BTreeSet::new(), None);
        for line in lines {
            if let Some(test) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
                current = Some(test);
            } else if line == "failures:" {
                current = None;
            } else if let Some(test) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
                listed.insert(test);
            } else if let Some(test) = current.filter(|_| line.contains(LACKS)) {
                lacks.insert(test);
            }
        }
        let (lacking, others) = listed.into_iter().partition(|test| lacks.contains(test));
        Failures { lacking, others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_for_want_of_quic_is_told_from_other_failures() {
        let run = "running 3 tests\ntest a ... ok\ntest of::b ... FAILED\ntest c ... FAILED\n\nfailures:\n\n\
            ---- of::b stdout ----\nIo(\"127.0.0.1:0: OS Error 10045 (os error 10045)\")\n\n---- c stdout ----\n\
            one is not two\n\nfailures:\n    of::b\n    c\n\ntest result: FAILED. 1 passed";
        let lines: Vec<_> = run.lines().map(str::to_owned).collect();
        assert_eq!(Failures::among(&lines), Failures { lacking: vec!["of::b"], others: vec!["c"] });
    }

    /// A test that was renamed is a build that fails an hour later.
    #[test]
    fn every_test_that_is_named_is_there() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        let folders = ["storage", "transport", "tracker", "peer"].map(|name| crates.join(name).join("tests"));
        for test in TESTS {
            let is_in = |folder: &std::path::PathBuf| {
                folder.join(format!("{test}.rs")).is_file() || folder.join(test).join("main.rs").is_file()
            };
            assert!(folders.iter().any(is_in), "{test}");
        }
    }
}
