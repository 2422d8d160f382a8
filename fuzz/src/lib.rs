//! What is fuzzed, as plain functions of bytes: each panics if something that must hold does not.
//!
//! libFuzzer calls them from `fuzz_targets/` (nightly); the tests here call them with seeded random bytes, on any compiler.

mod decoders;
mod disk;
mod engine;
mod input;
mod progress;
mod registry;

pub use decoders::{manifest, messages, names, ticket};
pub use disk::{checkpoint, journal};
pub use engine::engine;
pub use progress::progress;
pub use registry::registry;

#[cfg(test)]
mod tests {
    /// As long as most inputs that a fuzzer finds.
    fn with_random_bytes(target: fn(&[u8]), runs: u64, longest: usize) {
        (0..runs).for_each(|seed| target(&random_bytes(seed, longest)));
    }

    fn random_bytes(seed: u64, longest: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        let len = random.usize(..=longest);
        std::iter::repeat_with(|| random.u8(..)).take(len).collect()
    }

    #[test]
    fn messages() {
        with_random_bytes(super::messages, 20_000, 300);
    }

    #[test]
    fn manifest() {
        with_random_bytes(super::manifest, 20_000, 300);
    }

    #[test]
    fn names() {
        with_random_bytes(super::names, 20_000, 300);
    }

    #[test]
    fn ticket() {
        with_random_bytes(super::ticket, 20_000, 300);
    }

    #[test]
    fn journal() {
        with_random_bytes(super::journal, 300, 200);
    }

    #[test]
    fn checkpoint() {
        with_random_bytes(super::checkpoint, 300, 200);
    }

    #[test]
    fn engine() {
        with_random_bytes(super::engine, 2_000, 4_000);
    }

    /// The same events lead to the same actions as when `recorded_actions.txt` was made. A change that is meant to change
    /// behaviour makes it anew: `RECORD=1 cargo test same_events`.
    #[test]
    fn same_events_same_actions() {
        const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/recorded_actions.txt");
        type Target = fn(&[u8], &mut sim::ActionLog);
        let targets: [(&str, Target, u64, usize); 2] = [
            ("engine", super::engine::engine_actions, 150, 4_000),
            ("progress", super::progress::progress_actions, 30, 200),
        ];
        let mut now = String::new();
        for (name, target, runs, longest) in targets {
            for first in (0..4).map(|turn| 10_000 + turn * runs) {
                let mut log = sim::ActionLog::default();
                (first..first + runs).for_each(|seed| target(&random_bytes(seed, longest), &mut log));
                now += &format!("{name} {first} {log}\n");
            }
        }
        if std::env::var_os("RECORD").is_some() {
            std::fs::write(RECORD, &now).unwrap();
        }
        let before = std::fs::read_to_string(RECORD).unwrap();
        assert_eq!(now.lines().count(), before.lines().count(), "as many runs as were recorded");
        now.lines().zip(before.lines()).for_each(|(now, before)| assert_eq!(now, before));
    }

    #[test]
    fn progress() {
        with_random_bytes(super::progress, 300, 200);
    }

    /// What a search is not needed for: a third peer that does one thing again and again.
    #[test]
    fn progress_beside_plain_attacks() {
        // A pause, a connection, and what is done: see `act_third`.
        let connects = [1, 0, 0, 1, 0];
        let offers = [0, 0, 3, 0];
        let trickles = [2, 0, 9, 0, 0];
        let refuses = [1, 0, 9, 0, 6, 0];
        let withdraws = [1, 0, 3, 8, 1, 0, 3, 5, 0, 1, 0, 3, 6, 0, 0];
        for attack in [
            [&connects[..], &offers].concat(),
            [&connects[..], &offers, &trickles].concat(),
            [&offers[..], &trickles].concat(),
            [&connects[..], &offers, &refuses].concat(),
            [&offers[..], &refuses].concat(),
            [&connects[..], &offers, &withdraws].concat(),
            [&offers[..], &withdraws].concat(),
        ] {
            super::progress(&attack);
        }
    }

    #[test]
    fn registry() {
        with_random_bytes(super::registry, 2_000, 2_000);
    }
}
