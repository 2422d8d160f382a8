//! What an earlier download has left in the output folder and another one of that name finds: reused as far as it is right, and
//! never thrown away without a word.

use std::fs;

use testbed::event::{Completed, LeftOver};
use tests::machines::{Machines, ticket};
use tests::{Process, noise};

const SIZE: usize = 8 << 20;

/// Begins a download of `bytes`, lets some of it come, and kills it.
fn half_of(machines: &Machines, name: &str, bytes: &[u8]) {
    machines.put("here", name, bytes);
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", name]);
    let ticket = ticket(&mut sharer);
    let mut getter = machines.get("there", &["--json", &ticket, "--down-rate", "1MiB"]);
    getter.pieces(10);
    // What is verified is claimed within a second.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    getter.kill();
    getter.wait();
}

fn again(machines: &Machines, path: &str, flags: &[&str]) -> Process {
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", path]);
    let ticket = ticket(&mut sharer);
    let mut getter = machines.get("there", &[&["--json", &ticket], flags].concat());
    let left = getter.event::<LeftOver>();
    assert!(left.size > 0 && left.path.contains(".part"), "{left:?}");
    getter.event::<Completed>();
    getter.ends_with(0);
    sharer
}

fn state(machines: &Machines) -> Vec<String> {
    let entries = fs::read_dir(machines.folder("there").join("output")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect()
}

#[test]
fn the_next_version_of_a_file_reuses_what_is_equal_of_the_last_one() {
    let machines = Machines::new();
    let old = noise(SIZE, 1);
    half_of(&machines, "big.bin", &old);
    let mut new = old.clone();
    // Every other piece, whichever came.
    new.chunks_mut(128 << 10).for_each(|pieces| pieces[..1000].copy_from_slice(&noise(1000, 2)));
    machines.put("here", "big.bin", &new);
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "big.bin"]);
    let ticket = ticket(&mut sharer);
    let mut getter = machines.get("there", &["--json", &ticket]);
    let left = getter.event::<LeftOver>();
    assert!(left.reused > 0 && left.reused < left.size, "{left:?}");
    getter.ends_with(0);
    assert!(machines.read("there", "output/big.bin") == new);
    assert_eq!(state(&machines), [""; 0]);
}

#[test]
fn a_folder_takes_the_place_of_what_was_left_of_a_file_and_the_other_way_round() {
    let machines = Machines::new();
    half_of(&machines, "thing", &noise(SIZE, 1));
    fs::remove_file(machines.folder("here").join("thing")).unwrap();
    machines.put("here", "thing/a.bin", &noise(100_000, 2));
    drop(again(&machines, "thing", &[]));
    assert!(machines.read("there", "output/thing/a.bin") == noise(100_000, 2));
    assert_eq!(state(&machines), [""; 0]);

    let machines = Machines::new();
    machines.put("here", "thing/one.bin", &noise(SIZE, 1));
    machines.put("here", "thing/two.bin", &noise(SIZE, 2));
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "thing"]);
    let ticket = ticket(&mut sharer);
    let mut getter = machines.get("there", &["--json", &ticket, "--down-rate", "1MiB"]);
    getter.pieces(10);
    getter.kill();
    getter.wait();
    drop(sharer);
    fs::remove_dir_all(machines.folder("here").join("thing")).unwrap();
    machines.put("here", "thing", &noise(100_000, 3));
    drop(again(&machines, "thing", &[]));
    assert!(machines.read("there", "output/thing") == noise(100_000, 3));
    assert_eq!(state(&machines), [""; 0]);
}

/// As a program of another version leaves it, or somebody who tidies up.
#[test]
fn a_part_without_its_lock_or_with_another_journal_is_reused() {
    for spoil in ["lock", "journal", "no journal"] {
        let machines = Machines::new();
        let bytes = noise(SIZE, 1);
        half_of(&machines, "big.bin", &bytes);
        let output = machines.folder("there").join("output");
        let journal = output.join(".big.bin.part.journal");
        match spoil {
            "lock" => fs::remove_file(output.join(".big.bin.lock")).unwrap(),
            "journal" => fs::write(&journal, b"P2PJRNL0 as an older program wrote it").unwrap(),
            _ => fs::remove_file(&journal).unwrap(),
        }
        let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "big.bin"]);
        let ticket = ticket(&mut sharer);
        let mut getter = machines.get("there", &["--json", &ticket]);
        if spoil != "lock" {
            assert!(getter.event::<LeftOver>().reused > 0, "{spoil}");
        }
        getter.ends_with(0);
        assert!(machines.read("there", "output/big.bin") == bytes, "{spoil}");
        assert_eq!(state(&machines), [""; 0], "{spoil}");
    }
}

#[test]
fn what_is_removed_from_a_folder_of_another_version_is_said() {
    let machines = Machines::new();
    for name in ["gone.bin", "stays.bin"] {
        machines.put("here", &format!("folder/{name}"), &noise(SIZE, 5));
    }
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "folder"]);
    let first = ticket(&mut sharer);
    let mut getter = machines.get("there", &["--json", &first, "--down-rate", "1MiB"]);
    getter.pieces(20);
    getter.kill();
    getter.wait();
    drop(sharer);
    fs::remove_file(machines.folder("here").join("folder/gone.bin")).unwrap();
    machines.put("here", "folder/new.bin", &noise(100_000, 6));
    drop(again(&machines, "folder", &[]));
    assert!(machines.read("there", "output/folder/stays.bin") == noise(SIZE, 5));
    assert!(!machines.folder("there").join("output/folder/gone.bin").exists());
    assert_eq!(state(&machines), [""; 0]);
}
