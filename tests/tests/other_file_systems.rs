//! File systems that do not do what most do: names that are one, or none; no shared maps; numbers that change with a name. As
//! root, where they can be had; elsewhere what is left out is said.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::machines::{Machines, ticket};
use tests::noise;

/// Said whether or not the output of tests that pass is shown.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Something that is mounted until it goes.
struct Mount {
    at: PathBuf,
    /// The device that was made for it, if one was.
    device: Option<String>,
}

impl Mount {
    /// Runs a program that mounts something at the last of its arguments.
    fn by(program: &str, arguments: &[&str], at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let done = Command::new(program).args(arguments).arg(at).output().is_ok_and(|output| output.status.success());
        if !done {
            skipped(&format!("{program} cannot mount here: root and its package are needed"));
        }
        done.then(|| Mount { at: at.to_owned(), device: None })
    }

    /// exFAT, which takes upper and lower case for one and has no name with a colon.
    fn exfat(image: &Path, at: &Path) -> Option<Self> {
        fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
        let image = image.to_str().unwrap();
        if !Command::new("mkfs.exfat").arg(image).output().is_ok_and(|output| output.status.success()) {
            skipped("there is no mkfs.exfat");
            return None;
        }
        let attached = Command::new("losetup").args(["--find", "--show", image]).output();
        let Some(attached) = attached.ok().filter(|output| output.status.success()) else {
            skipped("losetup makes no device of a file: root is needed");
            return None;
        };
        let device = String::from_utf8(attached.stdout).unwrap().trim().to_owned();
        let mut mounted = Mount { at: PathBuf::new(), device: Some(device.clone()) };
        mounted.at = Mount::by("mount.exfat-fuse", &[&device], at)?.keep();
        Some(mounted)
    }

    /// Leaves it to somebody else to end it.
    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.at.as_os_str().is_empty() && self.device.is_none() {
            return;
        }
        let _ = Command::new("umount").arg(&self.at).output();
        if let Some(device) = &self.device {
            let _ = Command::new("losetup").args(["--detach", device]).output();
        }
    }
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn names_that_exfat_does_not_have_are_refused_left_out_or_mapped() {
    let machines = Machines::new();
    let there = machines.folder("there");
    let Some(_exfat) = Mount::exfat(&there.join("image"), &there.join("output")) else { return };
    for (path, seed) in [("odd/Twin", 1), ("odd/twin", 2), ("odd/a:b", 3), ("odd/plain", 4), ("c:d", 5)] {
        machines.put("here", path, &noise(50_000, seed));
    }
    // Twins only once they are mapped.
    let mapped = [("mapped/A:b", 6), ("mapped/a:b", 7), ("mapped/A%253ab", 8), ("mapped/a%3AB", 9)];
    mapped.iter().for_each(|&(path, seed)| machines.put("here", path, &noise(50_000, seed)));
    let mut sharer = machines.share("here", &["-d=0", "odd", "c:d", "mapped"]);
    let (folder, file, twins) = (ticket(&mut sharer), ticket(&mut sharer), ticket(&mut sharer));
    for (ticket, name) in [(&folder, "a:b"), (&folder, "twin"), (&file, "c:d")] {
        let mut get = machines.get("there", &[ticket]);
        get.ends_with(7);
        let said = get.errors();
        assert!(said.contains(name) && said.contains("--names") && !said.contains("not there"), "{said}");
    }
    assert_eq!(files_in(&there.join("output")), [""; 0]);
    machines.get("there", &[&folder, "--names=skip"]).ends_with(0);
    assert_eq!(files_in(&there.join("output/odd")), ["Twin", "plain"]);
    fs::remove_dir_all(there.join("output/odd")).unwrap();
    machines.get("there", &[&folder, "--names=rename"]).ends_with(0);
    machines.get("there", &[&file, "--names=rename"]).ends_with(0);
    for (path, seed) in [("odd/Twin", 1), ("odd/%74win", 2), ("odd/a%3Ab", 3), ("odd/plain", 4), ("c%3Ad", 5)] {
        assert!(machines.read("there", &format!("output/{path}")) == noise(50_000, seed), "{path}");
    }
    machines.get("there", &[&twins, "--names=rename"]).ends_with(0);
    let here = files_in(&there.join("output/mapped"));
    let found = here.iter().map(|name| machines.read("there", &format!("output/mapped/{name}")));
    let mut found: Vec<_> = found.filter_map(|bytes| (6..=9).find(|&seed| bytes == noise(50_000, seed))).collect();
    found.sort_unstable();
    assert_eq!(found, [6, 7, 8, 9], "{here:?}");
}

/// One of two twins is there, and the other one is asked for later: it does not take the place of the first.
#[test]
fn a_twin_that_comes_later_replaces_nothing() {
    let machines = Machines::new();
    let there = machines.folder("there");
    let Some(_exfat) = Mount::exfat(&there.join("image"), &there.join("output")) else { return };
    machines.put("here", "odd/Twin", &noise(50_000, 1));
    machines.put("here", "odd/twin", &noise(50_000, 2));
    let mut sharer = machines.share("here", &["-d=0", "odd"]);
    let ticket = ticket(&mut sharer);
    machines.get("there", &[&ticket, "--only=Twin"]).ends_with(0);
    machines.get("there", &[&ticket, "--only=twin"]).ends_with(7);
    machines.get("there", &[&ticket, "--only=twin", "--force"]).ends_with(7);
    assert!(machines.read("there", "output/odd/Twin") == noise(50_000, 1));
}

/// A file system in user space that hands every read and write on has no shared maps.
#[test]
fn without_shared_maps_files_are_got_and_shared_all_the_same() {
    let machines = Machines::new();
    let there = machines.folder("there");
    fs::create_dir_all(there.join("behind")).unwrap();
    let behind = there.join("behind");
    let mounted = Mount::by("bindfs", &["-o", "direct_io", behind.to_str().unwrap()], &there.join("output"));
    let Some(_mounted) = mounted else { return };
    machines.put("here", "file", &noise(3 << 20, 1));
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let first = ticket(&mut sharer);
    machines.get("there", &[&first]).ends_with(0);
    assert!(machines.read("there", "output/file") == noise(3 << 20, 1));
    for storage in ["mmap", "file"] {
        let mut sharer = machines.share("there", &["-d=0", &format!("--storage={storage}"), "output/file"]);
        let second = ticket(&mut sharer);
        machines.get(storage, &[&second]).ends_with(0);
        assert!(machines.read(storage, "output/file") == noise(3 << 20, 1));
    }
}

/// What is built beside a folder cannot be moved into it if that is a file system of its own.
#[test]
fn a_folder_that_is_mounted_where_a_download_goes_is_named_as_that() {
    let machines = Machines::new();
    machines.put("here", "folder/a", &noise(200_000, 1));
    machines.put("here", "folder/inner/b", &noise(50_000, 2));
    let mut sharer = machines.share("here", &["-d=0", "folder"]);
    let ticket = ticket(&mut sharer);
    for (at, keeps) in [("output/folder", false), ("output/folder/inner", true)] {
        let machine = at.replace('/', "-");
        let mounted = Mount::by("mount", &["-t", "tmpfs", "tmpfs"], &machines.folder(&machine).join(at));
        let Some(_mounted) = mounted else { return };
        let mut get = machines.get(&machine, &[&ticket]);
        get.ends_with(7);
        let said = get.errors();
        assert!(said.contains("another file system") && said.contains("--output") && !said.contains("link"), "{said}");
        // The outer one shows before anything is downloaded.
        assert_eq!(machines.folder(&machine).join("output/.folder.part").exists(), keeps);
    }
    machines.get("output-folder", &[&ticket, "--output=output/folder"]).ends_with(0);
    assert!(machines.read("output-folder", "output/folder/folder/inner/b") == noise(50_000, 2));
}

/// mergerfs makes numbers of files and folders of their paths: what is renamed is another one to a program that looks at these.
#[test]
fn where_a_rename_changes_the_number_of_a_file_downloads_are_complete() {
    let machines = Machines::new();
    let there = machines.folder("there");
    fs::create_dir_all(there.join("branch")).unwrap();
    let branch = there.join("branch");
    let arguments = ["-o", "inodecalc=path-hash", branch.to_str().unwrap()];
    let Some(_mounted) = Mount::by("mergerfs", &arguments, &there.join("output")) else { return };
    machines.put("here", "file", &noise(200_000, 1));
    machines.put("here", "folder/a", &noise(50_000, 2));
    machines.put("here", "folder/b/c", &noise(10, 3));
    let mut sharer = machines.share("here", &["-d=0", "file", "folder"]);
    for _ in 0..2 {
        let ticket = ticket(&mut sharer);
        machines.get("there", &[&ticket]).ends_with(0);
    }
    assert!(machines.read("there", "output/file") == noise(200_000, 1));
    assert!(machines.read("there", "output/folder/b/c") == noise(10, 3));
}
