//! The original's eight scripted runs, with the real programs: whatever the seeders hold together, every downloader
//! gets whole. Byte for byte, since the run compares.

use tests::swarm;

/// Runs a scenario; every downloader must have fetched all its bytes, and nobody else any.
fn scenario(number: u8, seeders: usize, downloaders: usize) {
    let outcome = swarm(&format!("--scenario {number}"));
    let (seeds, wants): (Vec<_>, Vec<_>) = outcome.peers.iter().partition(|peer| peer.name.starts_with("seeder"));
    assert_eq!((seeds.len(), wants.len()), (seeders, downloaders));
    assert!(seeds.iter().all(|peer| peer.sources.is_empty()));
    for peer in wants {
        assert!(peer.sources.values().sum::<u64>() >= peer.downloaded, "{peer:?}");
    }
}

#[test]
fn one_three_seeders_that_lack_five_pieces_each() {
    scenario(1, 3, 1);
}

#[test]
fn two_five_seeders_with_a_fifth_each() {
    scenario(2, 5, 1);
}

#[test]
fn three_overlapping_ranges_of_the_largest_file() {
    scenario(3, 9, 1);
}

#[test]
fn four_overlapping_ranges_of_another_file() {
    scenario(4, 9, 1);
}

#[test]
fn five_overlapping_ranges_and_three_downloaders() {
    scenario(5, 9, 3);
}

#[test]
fn six_four_downloaders_of_four_files() {
    scenario(6, 9, 4);
}

#[test]
fn seven_one_seeder_and_five_downloaders() {
    scenario(7, 1, 5);
}

#[test]
fn eight_one_seeder_and_two_downloaders() {
    scenario(8, 1, 2);
}
