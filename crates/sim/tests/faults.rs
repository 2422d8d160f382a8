//! What goes wrong in a world, and whom it is blamed on.

use std::time::Duration;

use p2p_fileshare_sim::{Config, Equal, Outcome, Plan};

fn plan(lines: &str, groups: &str) -> Plan {
    let seeder = "[[group]]\nname = \"seeder\"\ncount = 1\nholds = \"all\"\n";
    let text = format!(
        "about = \"\"\npeers = 8\npieces = 32\ncopy_seconds = 20\n{lines}\n{seeder}{groups}\n[[group]]\nname = \"others\"\n"
    );
    Plan::parse("test", &text).unwrap()
}

fn run(plan: &Plan) -> Outcome {
    p2p_fileshare_sim::run(plan, 1, &Config::default())
}

#[test]
fn a_peer_that_lacks_a_lost_piece_is_cut_off_not_stuck() {
    let outcome = run(&plan("", "copies_then_crash = 0.5"));
    assert_eq!((outcome.stuck, outcome.cut_off, outcome.last()), (0, 8, None));
}

#[test]
fn a_peer_that_could_have_had_everything_is_stuck() {
    // Nobody may connect to anyone, though everyone could.
    let mut config = Config::default();
    config.connections = 0;
    let outcome = p2p_fileshare_sim::run(&plan("", ""), 1, &config);
    assert_eq!((outcome.stuck, outcome.cut_off), (8, 0));
}

#[test]
fn what_only_hostile_peers_claim_to_have_is_in_nobodys_reach() {
    let hostile =
        "[[group]]\nname = \"hostile\"\ncount = 3\nhostile = [{ answers = \"busy\" }, { answers = \"silent\" }]";
    let outcome = run(&plan("", &format!("copies_then_crash = 0.5\n{hostile}")));
    assert_eq!((outcome.stuck, outcome.cut_off), (0, 8));
}

#[test]
fn hostile_peers_change_neither_the_bound_nor_the_number_of_downloads() {
    let hostile = "[[group]]\nname = \"hostile\"\ncount = 3\naddress_of = \"seeder\"\nhostile = [{ answers = \"busy\", fresh_id_after = 5 }]";
    let (without, with) = (run(&plan("", "")), run(&plan("", hostile)));
    assert_eq!((with.bound, with.seconds.len()), (without.bound, 8));
    assert!(with.last().is_some());
}

/// A hundred who say nothing were asked for what was left one after another, though the seeder had nothing else to do.
#[test]
fn the_last_pieces_go_from_one_silent_peer_to_one_that_gives() {
    let groups = "[[group]]\nname = \"seeder\"\ncount = 1\nholds = \"all\"\n[[group]]\nname = \"downloader\"\ncount = 1\n\
                  [[group]]\nname = \"hostile\"\nshare = 1.0\nhostile = [{ answers = \"silent\" }]\n";
    let text = format!("about = \"\"\npeers = 100\npieces = 128\ncopy_seconds = 0.8\nlatency_ms = 5.0\n{groups}");
    for seed in 0..5 {
        let outcome = p2p_fileshare_sim::run(&Plan::parse("test", &text).unwrap(), seed, &Config::default());
        assert!(outcome.last().is_some_and(|last| last < 2.0), "seed {seed}: {:?}", outcome.last());
    }
}

/// Pieces that slow peers lack are as rare as the last ones that a fast one lacks, and many more.
#[test]
fn the_last_pieces_are_found_for_a_fast_peer_among_all_that_slow_ones_lack() {
    let groups = "[[group]]\nname = \"seeder\"\ncount = 1\nholds = \"all\"\n[[group]]\nname = \"slow\"\ncount = 8\n\
                  download = 0.003\n[[group]]\nname = \"fast\"\nshare = 1.0\n";
    let text = format!(
        "about = \"\"\npeers = 1\npieces = 512\npiece_size = 131072\ncopy_seconds = 3.2\nlatency_ms = 0.3\n{groups}"
    );
    for seed in 1..3 {
        let outcome = p2p_fileshare_sim::run(&Plan::parse("test", &text).unwrap(), seed, &Config::default());
        let fast = outcome.seconds.last().copied().flatten();
        assert!(fast.is_some_and(|seconds| seconds < 5.5), "seed {seed}: {fast:?}");
    }
}

#[test]
fn a_cut_that_never_ends_is_nobodys_fault() {
    let apart = "[[group]]\nname = \"apart\"\ncount = 3";
    let outcome = run(&plan("[[cut]]\nfrom = 0\nuntil = 1e6\ngroups = [\"apart\"]", apart));
    assert_eq!((outcome.stuck, outcome.cut_off), (0, 3));
    assert_eq!(outcome.seconds.iter().flatten().count(), 8);
}

#[test]
fn a_cut_that_ends_is_made_up_for() {
    let apart = "[[group]]\nname = \"apart\"\ncount = 3";
    let outcome = run(&plan("[[cut]]\nfrom = 5\nuntil = 30\ngroups = [\"apart\"]", apart));
    assert!(outcome.last().is_some_and(|last| last > 30.0), "{:?}", outcome.seconds);
}

#[test]
fn a_swarm_that_stands_outlives_its_tracker_and_who_comes_later_finds_nobody() {
    let late = "[[group]]\nname = \"late\"\ncount = 20\narrive_within = 40";
    let outcome = run(&plan("tracker_dies = 3", late));
    assert_eq!(outcome.stuck, 0);
    assert!(outcome.cut_off > 10, "{}", outcome.cut_off);
    assert!(outcome.seconds.iter().flatten().count() >= 8);
}

#[test]
fn what_is_lost_is_sent_again_and_takes_its_part_of_the_links() {
    let (clean, lossy) = (run(&plan("", "")), run(&plan("loss = 0.5", "")));
    assert_eq!((clean.lost, lossy.bound), (0, 2.0 * clean.bound));
    assert!(lossy.last().unwrap() > 1.8 * clean.last().unwrap());
    let part = lossy.lost as f64 / lossy.sent as f64;
    assert!((0.49..0.51).contains(&part), "{part}");
}

#[test]
fn each_of_several_contents_comes_to_those_who_want_it() {
    let groups = "[[group]]\nname = \"first\"\ncount = 2\ncontents = [1]\n[[group]]\nname = \"two\"\ncount = 2\ncontents = [2, 3]";
    let outcome = run(&plan("contents = 3", groups));
    assert_eq!(outcome.seconds.len(), 2 + 4 + 8 * 3);
    assert!(outcome.last().is_some());
}

#[test]
fn a_swarm_of_equals_is_made_of_numbers() {
    let equal = Equal {
        seeders: 2,
        downloaders: 6,
        pieces: 40,
        piece_size: 1 << 18,
        uplink: 1e6,
        downlink: 1e7,
        latency: Duration::from_millis(20),
    };
    let outcome = run(&equal.plan());
    let copy = 40.0 * f64::from(1 << 18) / 1e6;
    assert_eq!(outcome.bound, copy * 6.0 / 8.0);
    assert!((1.0..1.5).contains(&(outcome.last().unwrap() / outcome.bound)), "{:?}", outcome.last());
}
