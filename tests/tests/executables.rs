//! Files that may be executed arrive so, the result says which, and no other bit of a file's mode travels.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use testbed::event::Completed;
use tests::machines::{Machines, ticket};
use tests::{Process, noise};

fn mode(machines: &Machines, path: &str) -> u32 {
    fs::metadata(machines.folder("there").join(path)).unwrap().permissions().mode() & 0o7777
}

fn set_mode(machines: &Machines, machine: &str, path: &str, mode: u32) {
    fs::set_permissions(machines.folder(machine).join(path), Permissions::from_mode(mode)).unwrap();
}

/// The sharer and a ticket of `path`.
fn share(machines: &Machines, path: &str) -> (Process, String) {
    let mut sharer = machines.share("here", &["-d=0", path]);
    let ticket = ticket(&mut sharer);
    (sharer, ticket)
}

/// The event `completed` of a download.
fn completed(machines: &Machines, arguments: &[&str]) -> Completed {
    let mut getter = machines.get("there", &[&["--json"][..], arguments].concat());
    let event = getter.event::<Completed>();
    getter.ends_with(0);
    event
}

#[test]
fn the_result_says_which_files_may_be_executed() {
    let machines = Machines::new();
    for (path, bits) in [("evil.sh", 0o755), ("folder/a.txt", 0o644), ("folder/run", 0o700), ("folder/sub/x.sh", 0o755)]
    {
        machines.put("here", path, path.as_bytes());
        set_mode(&machines, "here", path, bits);
    }
    let (_sharer, ticket) = share(&machines, "evil.sh");
    let mut getter = machines.get("there", &[&ticket]);
    getter.line("evil.sh may be executed.");
    getter.line("every piece verified");
    getter.ends_with(0);
    assert_eq!(completed(&machines, &[&ticket]).executable, ["evil.sh"]);

    let (_sharer, ticket) = share(&machines, "folder");
    assert!(completed(&machines, &[&ticket, "--only=*.txt"]).executable.is_empty());
    let mut getter = machines.get("there", &[&ticket]);
    getter.line("2 files may be executed: run, sub/x.sh.");
    getter.ends_with(0);
    assert_eq!(completed(&machines, &[&ticket]).executable, ["run", "sub/x.sh"]);
    assert_eq!(mode(&machines, "output/folder/a.txt") & 0o111, 0);
    assert_ne!(mode(&machines, "output/folder/run") & 0o100, 0);
}

#[test]
fn setuid_setgid_and_sticky_bits_are_never_set() {
    let machines = Machines::new();
    let bytes = noise(5000, 1);
    for (name, bits) in [("uid", 0o4755), ("gid", 0o2755), ("sticky", 0o1755), ("all", 0o7777), ("plain", 0o6644)] {
        let path = format!("folder/{name}");
        machines.put("here", &path, &bytes);
        set_mode(&machines, "here", &path, bits);
    }
    set_mode(&machines, "here", "folder", 0o3755);
    let (_sharer, ticket) = share(&machines, "folder");
    completed(&machines, &[&ticket]);
    for path in ["folder/uid", "folder/gid", "folder/sticky", "folder/all", "folder/plain", "folder"] {
        let mode = mode(&machines, &format!("output/{path}"));
        assert_eq!(mode & 0o7000, 0, "{path}: {mode:o}");
    }
    // A file that is there and equal only becomes executable: what such a bit would mean then, nobody has asked for.
    set_mode(&machines, "there", "output/folder/uid", 0o4644);
    completed(&machines, &[&ticket]);
    let mode = mode(&machines, "output/folder/uid");
    assert_eq!((mode & 0o7000, mode & 0o100), (0, 0o100), "{mode:o}");
}
