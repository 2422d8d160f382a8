//! Peers that read a content in order while they download it.

use p2p_fileshare_sim::{Config, Outcome, Plan};

fn run(plan: &Plan, seed: u64) -> Outcome {
    p2p_fileshare_sim::run(plan, seed, &Config::default())
}

fn plan(reads: &str) -> Plan {
    let text = format!(
        "about = \"\"\npeers = 1\npieces = 512\npiece_size = 262144\ncopy_seconds = 30\nlatency_ms = 5\n\
         [[group]]\nname = \"seeder\"\ncount = 1\nholds = \"all\"\n\
         [[group]]\nname = \"reader\"\ncount = 1\n{reads}\n"
    );
    Plan::parse("reader", &text).unwrap()
}

/// The whole takes half a minute; a reader in its middle that takes half of what comes has its first piece at once, and the rest
/// comes as soon as without it.
#[test]
fn a_reader_begins_soon_and_never_stalls() {
    let (with, without) = (plan("reads = { from = 0.5, rate = 0.5, ahead = 32 }"), plan(""));
    for seed in 0..10 {
        let outcome = run(&with, seed);
        let reading = outcome.reading[0];
        let first = reading.first.unwrap();
        assert!(first < 0.6, "seed {seed}: its first piece came after {first} s");
        assert!(reading.stalled < 0.05, "seed {seed}: it stalled for {} s", reading.stalled);
        let (with, without) = (outcome.last().unwrap(), run(&without, seed).last().unwrap());
        assert!(with < without * 1.05, "seed {seed}: {with} s with a reader, {without} s without");
    }
}

/// In a swarm where others want all of it too, readers go on reading, and everyone gets everything.
#[test]
fn readers_in_a_swarm_leave_the_others_their_part() {
    let text = include_str!("../plans/readers.toml");
    let with = Plan::parse("readers", text).unwrap();
    let without = Plan::parse("readers", &text.replace("reads =", "# ")).unwrap();
    for seed in 0..3 {
        let outcome = run(&with, seed);
        for reading in &outcome.reading {
            assert!(reading.first.unwrap() < 10.0, "seed {seed}: {reading:?}");
        }
        let (with, without) = (outcome.last().unwrap(), run(&without, seed).last().unwrap());
        assert!(with < without * 1.3, "seed {seed}: {with} s with readers, {without} s without");
    }
}
