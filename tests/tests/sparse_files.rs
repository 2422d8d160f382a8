//! A sparse file takes no more space on the other side than here.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use tests::machines::{Machines, ticket};

const SIZE: u64 = 96 << 20;

fn taken(path: &Path) -> u64 {
    path.metadata().unwrap().blocks() * 512
}

fn sparse(machines: &Machines) -> bool {
    let path = machines.folder("here").join("disk.img");
    let file = File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    for at in [0, 5 << 20, (50 << 20) + 12_345, SIZE - 3] {
        file.write_all_at(b"abc", at).unwrap();
    }
    file.sync_all().unwrap();
    taken(&path) < SIZE / 10
}

#[test]
fn holes_stay_holes_also_after_a_run_that_was_stopped() {
    let machines = Machines::new();
    if !sparse(&machines) {
        return; // There are no holes here.
    }
    let mut sharer = machines.share("here", &["-d=0", "disk.img"]);
    let ticket = ticket(&mut sharer);
    let here = taken(&machines.folder("here").join("disk.img"));
    for stops in [false, true] {
        let machine = if stops { "stopped" } else { "there" };
        if stops {
            let mut getter = machines.get(machine, &["--json", &ticket, "--down-rate", "20MiB"]);
            getter.pieces(100);
            getter.kill();
            getter.wait();
        }
        machines.get(machine, &[&ticket]).ends_with(0);
        let path = machines.folder(machine).join("output/disk.img");
        assert_eq!(path.metadata().unwrap().len(), SIZE);
        let there = taken(&path);
        assert!(there <= here + (64 << 10), "{machine}: {there} bytes, and {here} here");
        let file = File::open(&path).unwrap();
        let mut bytes = [0; 3];
        file.read_exact_at(&mut bytes, (50 << 20) + 12_345).unwrap();
        assert_eq!(&bytes, b"abc");
    }
}
