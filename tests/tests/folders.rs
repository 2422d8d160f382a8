//! A folder is a content like a file: it arrives whole, with what is empty and what may be executed, or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use testbed::event::{Completed, Manifest};
#[cfg(target_os = "linux")]
use testbed::event::{Error, Skipped};
use tests::machines::{Machines, ticket};
use tests::noise;

/// Everything in a folder: a file's bytes and whether it may be executed, nothing for a folder.
fn tree(root: &Path) -> BTreeMap<String, Option<(Vec<u8>, bool)>> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Option<(Vec<u8>, bool)>>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, None);
                walk(root, &path, found);
            } else {
                found.insert(name, Some((fs::read(&path).unwrap(), executable(&path))));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

#[cfg(unix)]
fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn executable(_: &Path) -> bool {
    false
}

#[cfg(unix)]
fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(not(unix))]
fn make_executable(_: &Path) {}

/// A folder of all kinds of things.
fn put_some(machines: &Machines) {
    machines.put("here", "data/large", &noise(3 << 20, 1));
    machines.put("here", "data/empty file", b"");
    machines.put("here", "data/a/b/c/größer", &noise(10_000, 2));
    machines.put("here", "data/a/run.sh", b"#!/bin/sh\n");
    make_executable(&machines.folder("here").join("data/a/run.sh"));
    for number in 0..300 {
        machines.put("here", &format!("data/many/{number}"), &noise(number, number as u64));
    }
    fs::create_dir_all(machines.folder("here").join("data/a/nothing/in here")).unwrap();
}

#[test]
fn a_folder_arrives_as_it_was() {
    for storage in ["mmap", "file", "memory"] {
        let machines = Machines::new();
        put_some(&machines);
        let mut sharer = machines.share("here", &["-d=0", "data"]);
        let ticket = ticket(&mut sharer);
        machines.get("there", &[&ticket, "--storage", storage]).ends_with(0);
        let (here, there) = (machines.folder("here").join("data"), machines.folder("there").join("output/data"));
        assert!(tree(&here) == tree(&there), "{storage}: something is different");
        let left: Vec<_> = fs::read_dir(machines.folder("there").join("output")).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing but the folder stays: {left:?}");
    }
}

#[test]
fn who_got_a_folder_gives_it_on() {
    let machines = Machines::new();
    put_some(&machines);
    let mut sharer = machines.share("here", &["-d=0", "data"]);
    let ticket = ticket(&mut sharer);
    let mut second = machines.get("second", &[&ticket, "--json", "--seed-for=forever"]);
    second.event::<Completed>();
    let mut third = machines.get("third", &[&ticket, "--json"]);
    third.event::<Completed>();
    third.ends_with(0);
    assert!(tree(&machines.folder("here").join("data")) == tree(&machines.folder("third").join("output/data")));
}

#[test]
fn an_equal_folder_is_verified_and_another_is_not_touched() {
    let machines = Machines::new();
    put_some(&machines);
    let mut sharer = machines.share("here", &["-d=0", "data"]);
    let ticket = ticket(&mut sharer);
    machines.get("there", &[&ticket]).ends_with(0);
    let mut again = machines.get("there", &[&ticket, "--json"]);
    assert!(again.event::<Completed>().sources.is_empty(), "nothing had to come");
    again.ends_with(0);
    let output = machines.folder("there").join("output/data");
    for change in ["one byte", "one file more", "one file less", "one folder more"] {
        match change {
            "one byte" => fs::write(output.join("many/7"), b"other by").unwrap(),
            "one file more" => fs::write(output.join("more"), b"").unwrap(),
            "one file less" => fs::remove_file(output.join("empty file")).unwrap(),
            _ => fs::create_dir(output.join("another")).unwrap(),
        }
        let before = tree(&output);
        machines.get("there", &[&ticket]).ends_with(7);
        assert!(tree(&output) == before, "{change}");
    }
}

#[test]
fn a_killed_download_of_a_folder_goes_on_where_it_was() {
    let machines = Machines::new();
    for number in 0..600 {
        machines.put("here", &format!("data/{}/{number}", number % 7), &noise(20_000, number as u64));
    }
    let mut sharer = machines.share("here", &["-d=0", "--up-rate=3MiB", "data"]);
    let ticket = ticket(&mut sharer);
    let mut getter = machines.get("there", &[&ticket, "--json"]);
    let pieces = getter.event::<Manifest>().pieces;
    getter.pieces(pieces / 2);
    getter.kill();
    assert!(!machines.folder("there").join("output/data").exists());
    let mut getter = machines.get("there", &[&ticket, "--json"]);
    let have = getter.event::<Manifest>().have;
    assert!(have > 0 && have < pieces, "{have} of {pieces} pieces were kept");
    getter.ends_with(0);
    assert!(tree(&machines.folder("here").join("data")) == tree(&machines.folder("there").join("output/data")));
}

/// A process may have only so many files open; there are more in this folder.
#[cfg(unix)]
#[test]
fn more_files_than_may_be_open_arrive() {
    let machines = Machines::new();
    for number in 0..1500 {
        machines.put(
            "here",
            &format!("data/{number}"),
            &noise(if number % 100 == 0 { 40_000 } else { 100 }, number as u64),
        );
    }
    let limited = |machine: &str, command: &str, arguments: &[&str]| {
        let inner = machines.command(machine, command, arguments);
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -n 300; exec \"$0\" \"$@\""]).arg(inner.get_program()).args(inner.get_args());
        limited.current_dir(machines.folder(machine));
        tests::Process::start(machine, limited)
    };
    let mut sharer = limited("here", "share", &["--json", "-d=0", "data"]);
    let ticket = ticket(&mut sharer);
    limited("there", "get", &[&ticket]).ends_with(0);
    assert!(tree(&machines.folder("here").join("data")) == tree(&machines.folder("there").join("output/data")));
}

#[cfg(target_os = "linux")]
#[test]
fn links_are_left_out_and_impossible_names_are_named() {
    use std::os::unix::ffi::OsStrExt;
    let machines = Machines::new();
    machines.put("here", "data/file", b"bytes");
    let data = machines.folder("here").join("data");
    std::os::unix::fs::symlink("/etc/passwd", data.join("link")).unwrap();
    let mut sharer = machines.share("here", &["-d=0", "data"]);
    assert!(sharer.event::<Skipped>().path.ends_with("data/link"));
    let ticket = ticket(&mut sharer);
    machines.get("there", &[&ticket]).ends_with(0);
    assert_eq!(tree(&machines.folder("there").join("output/data")).len(), 1);
    fs::write(data.join(std::ffi::OsStr::from_bytes(b"bad \xff")), b"").unwrap();
    let mut sharer = machines.share("here", &["-d=0", "data"]);
    let message = sharer.event::<Error>().message;
    assert!(message.contains("data/bad") && message.contains("not Unicode"), "{message}");
}
