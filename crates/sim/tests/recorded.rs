//! The same plans and seeds lead to the same actions of every engine as when the records beside this file were made: a change
//! that is not meant to change behaviour is proven not to.
//!
//! A change that is meant to makes the records anew: `RECORD=1 cargo test -p p2p-fileshare-sim --test recorded -- --include-ignored`.

use std::fmt::Write as _;

use p2p_fileshare_sim::{Config, Plan};

/// Every plan in `plans/`, with so many peers and pieces.
fn plans(peers: u32, pieces: u32) -> Vec<Plan> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/plans")).unwrap();
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let small = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy();
        let plan = Plan::parse(&name, &std::fs::read_to_string(&path).unwrap()).unwrap();
        Plan { peers, pieces, ..plan }
    };
    paths.into_iter().map(small).collect()
}

/// Compares runs of these plans, with these seeds and with fairness or without it, with a record.
fn compare(plans: &[Plan], runs: &[(u64, bool)], record: &str) {
    let mut now = String::new();
    for plan in plans {
        for &(seed, fair) in runs {
            let mut config = Config::default();
            config.fair = fair;
            let log = p2p_fileshare_sim::record(plan, seed, &config);
            let rule = if fair { "fair" } else { "free" };
            writeln!(now, "{} {seed} {rule} {log}", plan.name).unwrap();
        }
    }
    let record = format!("{}/tests/{record}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("RECORD").is_some() {
        std::fs::write(&record, &now).unwrap();
    }
    let before = std::fs::read_to_string(record).unwrap();
    assert_eq!(now.lines().count(), before.lines().count(), "as many runs as were recorded");
    for (now, before) in now.lines().zip(before.lines()) {
        assert_eq!(now, before);
    }
}

#[test]
fn same_seeds_same_actions() {
    compare(&plans(6, 12), &[(1, false), (2, true)], "recorded_small.txt");
}

#[test]
#[ignore = "takes a minute"]
fn same_seeds_same_actions_in_larger_swarms() {
    compare(&plans(14, 40), &[(1, false), (2, false), (3, true)], "recorded_large.txt");
}
