//! Swarms that read an origin: when the last one has everything, in times of one copy from the origin, and how many copies it sends.

use p2p_fileshare_sim::{Config, Outcome, Plan};

/// Twenty peers at 100 Mbit/s, 256 MiB.
fn run(name: &str, text: &str) -> Outcome {
    let plan = Plan::parse(name, text).unwrap();
    assert_eq!((plan.peers, plan.pieces), (20, 2048), "these are those of the target");
    p2p_fileshare_sim::run(&plan, 1, &Config::default())
}

#[test]
fn peers_without_a_seeder_read_an_origin_about_once() {
    let outcome = run("origin-alone", include_str!("../plans/origin-alone.toml"));
    let last = outcome.last().unwrap() / outcome.bound;
    assert!(last <= 1.25, "the last one took {last} times as long as one copy");
    assert!(outcome.from_origin <= 1.10, "the origin sent {} copies", outcome.from_origin);
}

/// It waits a second or two for others that may have the content, and then the link is never idle.
#[test]
fn one_peer_alone_fills_the_link_of_an_origin() {
    let outcome = run("origin-seeder", include_str!("../plans/origin-seeder.toml"));
    let reader = outcome.seconds[0].unwrap() / outcome.bound;
    assert!(reader <= 1.15, "it took {reader} times as long as one copy");
    assert!(outcome.from_origin <= 1.05, "the origin sent {} copies", outcome.from_origin);
}

/// It gives what it has read, and reads the next part ahead.
#[test]
fn a_seeder_of_an_origin_is_hardly_slower_than_one_that_has_everything() {
    let outcome = run("origin-shared", include_str!("../plans/origin-shared.toml"));
    let last = outcome.last().unwrap() / outcome.bound;
    assert!(last <= 1.15, "the last one took {last} times as long as one copy");
    assert!(outcome.from_origin <= 1.05, "the origin sent {} copies", outcome.from_origin);
}
