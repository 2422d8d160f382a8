//! It really is a swarm: over loopback one seeder could serve everyone unnoticed, so uploads are capped and the
//! bytes are counted by whom they came from.

use tests::swarm;

#[test]
fn every_seeder_gives_a_share_and_downloaders_give_each_other() {
    let outcome = swarm("--seeders 3 --downloaders 2 --size 16MiB --piece-size 64KiB --rate 2MiB");
    for seeder in ["seeder-1", "seeder-2", "seeder-3"] {
        let share = outcome.share_from(seeder);
        assert!(share >= 0.15, "{seeder} gave {share:.2} of all\n{outcome}");
    }
    let share = outcome.share_from("downloader");
    assert!(share >= 0.20, "downloaders gave each other {share:.2} of all\n{outcome}");
}

#[test]
fn seeders_with_a_third_each_all_give() {
    let outcome =
        swarm("--seeders 3 --downloaders 2 --size 4MiB --piece-size 64KiB --ranges --listeners 3 --hash sha256");
    for seeder in ["seeder-1", "seeder-2", "seeder-3"] {
        assert!(outcome.share_from(seeder) > 0.0, "{outcome}");
    }
}

#[test]
fn every_storage_runs_a_swarm() {
    for storage in ["mmap", "file", "memory"] {
        swarm(&format!("--seeders 2 --downloaders 2 --size 5MB --storage {storage}"));
    }
}
