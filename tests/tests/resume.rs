//! A downloader that is killed at any moment and started again goes on from what it had verified.

use testbed::event::{Completed, Manifest};
use tests::{Swarm, noise};

const PIECE: u64 = 64 << 10;

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let swarm = Swarm::new();
    let bytes = noise(16 << 20, 1);
    swarm.put("seeder", "file", &bytes);
    let _seeder = swarm.seeder("seeder", 1, &["--piece-size=64KiB", "--up-rate=3MiB"]);
    let pieces = (bytes.len() as u64 / PIECE) as u32;
    let (mut had, mut wait_for) = (0, 1);
    for _ in 0..3 {
        let mut downloader = swarm.downloader("downloader", "file", &[]);
        let have = downloader.event::<Manifest>().have;
        assert!(have >= had, "{have} pieces are left of {had}");
        had = have;
        // The first time it dies at once, later after some seconds' worth of pieces.
        downloader.pieces(have + wait_for);
        wait_for = 60;
        downloader.kill();
        assert!(!swarm.folder("downloader").join("output/file").exists());
    }
    let mut downloader = swarm.downloader("downloader", "file", &["--exit-when-done"]);
    let have = downloader.event::<Manifest>().have;
    assert!(have > 0 && have < pieces, "{have} of {pieces} pieces were kept");
    let sources = downloader.event::<Completed>().sources;
    let came: u64 = sources.values().sum();
    // Endgame may ask twice for the last few.
    assert!(came <= u64::from(pieces - have + 16) * PIECE, "{came} bytes came for {} pieces", pieces - have);
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
}

/// What was written into the part by someone else between two runs once ended up in the finished file.
#[test]
fn what_has_changed_since_it_was_verified_is_fetched_again() {
    let swarm = Swarm::new();
    let bytes = noise(8 << 20, 4);
    swarm.put("seeder", "file", &bytes);
    let _seeder = swarm.seeder("seeder", 1, &["--piece-size=64KiB", "--up-rate=2MiB"]);
    let part = swarm.folder("downloader").join("output/.file.part");
    let mut downloader = swarm.downloader("downloader", "file", &[]);
    downloader.pieces(40);
    downloader.kill();
    let mut wrong = std::fs::read(&part).unwrap();
    wrong.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
    std::fs::write(&part, wrong).unwrap();
    let mut downloader = swarm.downloader("downloader", "file", &["--exit-when-done"]);
    assert_eq!(downloader.event::<Manifest>().have, 0);
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
}

/// A torn journal costs only what it no longer claims.
#[test]
fn a_torn_journal_costs_only_what_it_no_longer_claims() {
    let swarm = Swarm::new();
    let bytes = noise(8 << 20, 2);
    swarm.put("seeder", "file", &bytes);
    let _seeder = swarm.seeder("seeder", 1, &["--piece-size=64KiB", "--up-rate=2MiB"]);
    let mut downloader = swarm.downloader("downloader", "file", &[]);
    downloader.pieces(70);
    downloader.kill();
    let journal = swarm.folder("downloader").join("output/.file.part.journal");
    let mut torn = std::fs::read(&journal).unwrap();
    torn.truncate(torn.len() - 1);
    torn.extend([0xAA; 5]);
    std::fs::write(&journal, torn).unwrap();
    swarm.downloader("downloader", "file", &["--exit-when-done"]).ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
}

#[test]
fn a_polite_exit_keeps_everything() {
    let swarm = Swarm::new();
    let bytes = noise(4 << 20, 3);
    swarm.put("seeder", "file", &bytes);
    let _seeder = swarm.seeder("seeder", 1, &["--piece-size=64KiB", "--up-rate=1MiB"]);
    let mut downloader = swarm.downloader("downloader", "file", &[]);
    let seen = downloader.pieces(8);
    downloader.type_line("exit");
    downloader.ends_with(0);
    let mut downloader = swarm.downloader("downloader", "file", &["--exit-when-done"]);
    let have = downloader.event::<Manifest>().have;
    assert!(have >= seen, "{have} pieces are left of {seen}");
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
}
