//! Tests of single crates, built for Windows and run under Wine: those of the code that is for Windows alone, and all others
//! that Wine is good enough for, inside the crates and beside them.

use std::fs;
use std::path::Path;
use std::time::Duration;

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

/// The crates that have tests beside them which run in memory, over TCP, or on files.
const BESIDE: [&str; 4] =
    ["p2p-fileshare-storage", "p2p-fileshare-transport", "p2p-fileshare-tracker", "p2p-fileshare"];
/// Those tests. Not among them: `transfers`, `ended_connections` and `watched_files`, which do not come to an end under Wine.
const TESTS: [&str; 12] = [
    "attacks",
    "changed_by_others",
    "conformance",
    "crash",
    "disks",
    "frames",
    "hostile_names",
    "hostile_tracker",
    "memory",
    "server",
    "watching",
    "zero_copy",
];

/// What Wine is not good enough for: parts of tests' names, and why.
const UNFIT: [(&str, &str); 15] = [
    ("quic::", "Wine lacks a call that QUIC's sockets need"),
    ("quic_keeps_the_promises", "the same"),
    ("both_listen_on_the_same_ports", "it needs QUIC"),
    ("quic_is_preferred_and_tcp_is_what_is_left", "it needs QUIC"),
    ("both_together_keep_the_promises", "it needs QUIC"),
    ("closed_swarms_keep_the_promises", "it needs QUIC"),
    ("a_closed_swarm_keeps_strangers_out", "it needs QUIC"),
    ("a_refused_certificate_is_reported_to_its_holder", "it needs QUIC"),
    ("old_and_new_certificates_meet", "it needs QUIC"),
    ("a_connection_ends_with_a_certificate_of_it", "it needs QUIC"),
    ("stream_connections_that_come_and_go", "a connection hears nothing for too long there, and it is not known why"),
    ("tcp_keeps_the_promises", "of many streams at once one is reset there, and it is not known why"),
    ("whatever_somebody_does_to_a_file_that_is_built", "no other program may replace or cut a mapped file there"),
    ("what_lies_there_now_is_read_after_a_file_was_replaced", "the same"),
    ("what_somebody_changes_while_it_is_built", "the same"),
];

/// After this long tests hang.
const PATIENCE: Duration = Duration::from_secs(180);

/// Builds the tests and runs them.
pub(super) fn run(compiler: &Compiler, tools: &Path, skipped: &mut Skipped) -> anyhow::Result<()> {
    let what = format!("{WINDOWS} under Wine: tests of {}", CRATES.join(", "));
    let Some(wine) = skipped.unless(&what, Wine::get(tools)) else { return Ok(()) };
    eprintln!("{what}");
    let mut programs = compiler.build_tests(&CRATES, &["--lib"], PROFILE)?;
    let beside: Vec<_> = TESTS.iter().flat_map(|test| ["--test", *test]).collect();
    programs.extend(compiler.build_tests(&BESIDE, &beside, PROFILE)?);
    let parent = tools.join("stories");
    fs::create_dir_all(&parent)?;
    let folder = tempfile::tempdir_in(parent)?;
    let result = programs.iter().try_for_each(|program| run_one(&wine, program, folder.path()));
    wine.stop();
    result?;
    UNFIT.iter().for_each(|(test, why)| skipped.say(&format!("under Wine {test}: {why}")));
    Ok(())
}

fn run_one(wine: &Wine, program: &Path, folder: &Path) -> anyhow::Result<()> {
    let name = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut command = wine.command(program);
    command.args(UNFIT.iter().flat_map(|(test, _)| ["--skip", test]));
    let mut tests = Program::start_as(&name, command, folder)?;
    let result = tests.find("its result", PATIENCE, |line| line.strip_prefix("test result: ").map(str::to_owned))?;
    let status = tests.end(PATIENCE)?;
    ensure!(status.success(), "{}", tests.complaint(&format!("fails under Wine ({result})")));
    eprintln!("{name}: {result}");
    Ok(())
}
