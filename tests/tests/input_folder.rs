//! `-S` while it runs: files come into the input folder, change, go, and get other names.

use std::fs;
use std::time::{Duration, SystemTime};

use testbed::event::{Sharing, Withdrawn};
use tests::{Process, Swarm, noise};

fn next(seeder: &mut Process, name: &str) -> Sharing {
    let sharing = seeder.event::<Sharing>();
    assert_eq!(sharing.name, name);
    sharing
}

#[test]
fn files_that_come_change_go_and_are_renamed_are_noticed() {
    let swarm = Swarm::new();
    swarm.put("seeder", "first", &noise(10_000, 1));
    let mut seeder = swarm.peer("seeder", &["-S", "--json"]);
    let first = next(&mut seeder, "first");
    let input = swarm.folder("seeder").join("input");

    swarm.put("seeder", "second", &noise(12_000, 2));
    next(&mut seeder, "second");
    let mut getter = swarm.downloader("one", "second", &["--exit-when-done"]);
    getter.ends_with(0);
    assert!(swarm.output("one", "second") == noise(12_000, 2));

    // Another version of it.
    swarm.put("seeder", "first", &noise(10_000, 3));
    assert_eq!(seeder.event::<Withdrawn>().content, first.content);
    let changed = next(&mut seeder, "first");
    assert_ne!(changed.content, first.content);

    fs::rename(input.join("first"), input.join("renamed")).unwrap();
    assert_eq!(seeder.event::<Withdrawn>().content, changed.content);
    let renamed = next(&mut seeder, "renamed");

    fs::remove_file(input.join("renamed")).unwrap();
    assert_eq!(seeder.event::<Withdrawn>().content, renamed.content);
    seeder.type_line("exit");
    seeder.ends_with(0);
}

#[test]
fn an_empty_folder_is_waited_at_and_links_that_lead_out_of_it_are_left_out() {
    let swarm = Swarm::new();
    let mut seeder = swarm.peer("seeder", &["-S"]);
    seeder.line("There is no file to share in input yet: what is put there will be shared.");
    #[cfg(unix)]
    {
        fs::write(swarm.folder("seeder").join("secret"), "of somebody else").unwrap();
        std::os::unix::fs::symlink("../secret", swarm.folder("seeder").join("input/link")).unwrap();
        seeder.line("link is left out: it is a link that leads out");
        seeder.line("--follow-links");
    }
    swarm.put("seeder", "first", &noise(10_000, 1));
    seeder.line("Sharing first");
    swarm.downloader("one", "first", &["--exit-when-done"]).ends_with(0);
}

/// A program that writes a file bit by bit, with pauses that are shorter than a file rests.
#[test]
fn a_file_that_is_still_written_is_not_shared_before_it_rests() {
    let swarm = Swarm::new();
    swarm.put("seeder", "first", b"1");
    let mut seeder = swarm.peer("seeder", &["-S", "--json"]);
    next(&mut seeder, "first");
    let path = swarm.folder("seeder").join("input/growing");
    let mut bytes = Vec::new();
    for part in 0..8 {
        bytes.extend(noise(1000, part));
        fs::write(&path, &bytes).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(next(&mut seeder, "growing").size, 8000, "all of it, and no part before");
}

#[test]
fn a_file_that_is_only_touched_is_shared_again() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(10_000, 1));
    let mut seeder = swarm.peer("seeder", &["-S", "--json"]);
    let first = next(&mut seeder, "file");
    let path = swarm.folder("seeder").join("input/file");
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
    assert_eq!(next(&mut seeder, "file").content, first.content);
    swarm.downloader("one", "file", &["--exit-when-done"]).ends_with(0);
}

#[test]
fn many_files_at_once_are_all_shared_and_a_folder_is_said_to_be_none() {
    let swarm = Swarm::new();
    swarm.put("seeder", "first", b"1");
    let mut seeder = swarm.peer("seeder", &["-S", "--json"]);
    next(&mut seeder, "first");
    fs::create_dir(swarm.folder("seeder").join("input/folder")).unwrap();
    (0..300).for_each(|n| swarm.put("seeder", &format!("file-{n}"), &noise(100, n)));
    let mut names: Vec<_> = (0..300).map(|_| seeder.event::<Sharing>().name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 300);
    let mut plain = swarm.peer("plain", &["-S", "--input"]);
    plain.ends_with(2);
}

#[test]
fn with_a_name_only_that_file_is_watched() {
    let swarm = Swarm::new();
    swarm.put("seeder", "named", b"1");
    let mut seeder = swarm.peer("seeder", &["-S", "--json", "-f", "named"]);
    next(&mut seeder, "named");
    swarm.put("seeder", "other", b"2");
    swarm.put("seeder", "named", b"changed");
    assert_eq!(next(&mut seeder, "named").size, 7);
}

/// It once did nothing, and said nothing.
#[test]
fn who_types_add_is_told_where_to_put_it() {
    let swarm = Swarm::new();
    swarm.put("seeder", "named", b"1");
    let mut seeder = swarm.peer("seeder", &["-S"]);
    seeder.line("Sharing named");
    seeder.type_line("add named");
    seeder.line("Put it into the input folder");
    let mut one = swarm.peer("seeder", &["-S", "-f", "named"]);
    one.line("Sharing named");
    one.type_line("add other");
    one.line("Only what -f names is shared here.");
    one.type_line("help");
    one.wait_for("the end of the list", |line| {
        assert!(!line.contains("add PATH"), "{line}");
        line.contains("quit").then_some(())
    });
}
