//! Any bytes, any name, any size: what the original stripped, refused or crashed on.

use testbed::event::Manifest;
use tests::{Swarm, noise};

#[test]
fn every_size_ending_and_name_arrives_as_it_was() {
    let swarm = Swarm::new();
    let mut zeros_at_the_end = noise(5000, 1);
    zeros_at_the_end.resize(9000, 0);
    let longest = "n".repeat(251) + ".bin";
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("one byte", noise(1, 2)),
        ("one piece", noise(4096, 3)),
        ("one piece and a byte", noise(4097, 4)),
        ("zeros at the end", zeros_at_the_end),
        ("only zeros", vec![0; 50_000]),
        ("größer 大きい 🗂.bin", noise(20_000, 5)),
        ("-f", noise(3000, 6)),
        ("--help", noise(3001, 7)),
        ("-r1", noise(3002, 8)),
        (" spaces around ", noise(10, 9)),
        (&longest, noise(9999, 10)),
    ];
    for (name, bytes) in &files {
        swarm.put("seeder", name, bytes);
    }
    let _seeder = swarm.seeder("seeder", files.len(), &["--piece-size", "4KiB"]);
    let mut arguments = vec!["--json", "--exit-when-done"];
    files.iter().for_each(|(name, _)| arguments.extend(["-f", name]));
    swarm.peer("downloader", &arguments).ends_with(0);
    for (name, bytes) in &files {
        assert!(swarm.output("downloader", name) == *bytes, "{name:?} arrived differently");
    }
    let left: Vec<_> = std::fs::read_dir(swarm.folder("downloader").join("output")).unwrap().collect();
    assert_eq!(left.len(), files.len(), "{left:?}");
}

/// The original's bitfield broke at 16 KiB: 131,072 pieces.
#[test]
fn a_bitfield_over_16_kib_is_no_limit() {
    let swarm = Swarm::new();
    let bytes = noise(150_000 << 10, 1);
    swarm.put("one", "many pieces", &bytes);
    swarm.put("other", "many pieces", &bytes);
    let _one = swarm.seeder("one", 1, &["--piece-size=1KiB", "-r2=0.5"]);
    let _other = swarm.seeder("other", 1, &["--piece-size=1KiB", "-r1=0.5"]);
    let mut downloader = swarm.downloader("downloader", "many pieces", &["--exit-when-done"]);
    assert_eq!(downloader.event::<Manifest>().pieces, 150_000);
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "many pieces") == bytes);
}
