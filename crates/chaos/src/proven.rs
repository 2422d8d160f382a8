//! Faults that a test shows better than a swarm, because it needs a simulated disk, a thousand seeds or virtual time. The case runs
//! the test, and fails if no test has that name.

use std::process::{Command, Stdio};

use anyhow::Context;

use super::report::Report;
use super::{Case, Ground};

pub const CASES: &[Case] = &[
    Case { name: "names", fault: "200 hostile names, and links in the output folder", run: prove },
    Case { name: "disk-lies", fault: "torn and lost writes, failing syncs, 1,000 seeds", run: prove },
    Case {
        name: "protocol",
        fault: "frames of 4 GiB, cut or unknown ones, other versions, mixed-up contents",
        run: prove,
    },
    Case { name: "stampede", fault: "1,000 peers lose their tracker at once", run: prove },
    Case { name: "one-address", fault: "1,000 ids of one address; a victim's address under 1,000 ids", run: prove },
    Case { name: "mercy", fault: "wrong pieces that are withdrawn within a second, more than three times", run: prove },
];

/// By case: package, which of its tests, and the names of their functions, whatever module those are in.
const TESTS: &[(&str, &str, &str, &[&str])] = &[
    (
        "names",
        "p2p-fileshare-storage",
        "--test=hostile_names",
        &["hundreds_of_hostile_names_leave_everything_else_alone", "links_in_the_output_folder_are_not_followed"],
    ),
    (
        "disk-lies",
        "p2p-fileshare-storage",
        "--test=crash",
        &["a_thousand_crashes_leave_no_false_claim", "a_claim_before_the_sync_would_be_caught"],
    ),
    (
        "protocol",
        "tests",
        "--test=hostile_peers",
        &[
            "a_protocol_violation_costs_its_sender_the_connection_and_nobody_else_anything",
            "two_contents_are_never_mixed_up",
            "hostile_questions_are_refused_and_a_seeder_goes_on",
        ],
    ),
    ("protocol", "p2p-fileshare-protocol", "--test=hostile_bytes", &[]),
    ("protocol", "p2p-fileshare-transport", "--lib", &["another_protocol_is_refused"]),
    ("stampede", "p2p-fileshare", "--lib", &["a_thousand_peers_come_back_without_a_stampede"]),
    ("one-address", "p2p-fileshare-swarm", "--lib", &["ten_thousand_ids_of_one_network_hide_nobody"]),
    ("one-address", "p2p-fileshare", "--lib", &["a_victims_address_is_dialled_a_few_times_whatever_the_number_of_ids"]),
    ("mercy", "p2p-fileshare-swarm", "--lib", &["a_wrong_piece_withdrawn_within_a_second_is_forgiven"]),
];

fn prove(_: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let own = report.case.clone();
    for (_, package, target, names) in TESTS.iter().filter(|(case, ..)| *case == own) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["test", "--quiet", "-p", package, target, "--"]).args(*names);
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().context("cargo does not run")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let passed: usize = said
            .lines()
            .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<usize>().ok())
            .sum();
        let all = output.status.success() && passed >= names.len().max(1);
        report.holds(&format!("tests of {package} ({passed})"), all);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn every_case_here_has_its_tests() {
        for case in CASES {
            assert!(TESTS.iter().any(|(name, ..)| *name == case.name), "{} names no test", case.name);
        }
    }

    /// All that is written in a folder and those below.
    fn sources(folder: &Path) -> String {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let text = |path: PathBuf| match path.is_dir() {
            true => sources(&path),
            false => fs::read_to_string(&path).unwrap_or_default(),
        };
        entries.map(text).collect()
    }

    #[test]
    fn every_test_that_is_named_here_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (case, package, _, names) in TESTS {
            // Folders are called by what packages have behind the product's name.
            let folder = match package.strip_prefix("p2p-fileshare") {
                None => root.join(package),
                Some("") => root.join("crates/peer"),
                Some(name) => root.join("crates").join(name.trim_start_matches('-')),
            };
            let sources = sources(&folder);
            for name in *names {
                assert!(sources.contains(&format!("fn {name}(")), "{case}: {package} has no test {name}");
            }
        }
    }
}
