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
        for seed in 0..runs {
            let mut random = fastrand::Rng::with_seed(seed);
            let len = random.usize(..=longest);
            let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
            target(&bytes);
        }
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
