//! Too little room, in whatever way: a sentence and status 8, nothing written that would not be of use, and no full disk left
//! behind. Small disks are file systems in memory, which need root: without it those stories show nothing.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::event::{Manifest, Ticket};
use tests::machines::{Machines, ticket};
use tests::{Process, noise, peer_cli};

const MIB: usize = 1 << 20;

/// A file system in memory, gone when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: &Path, mib: usize) -> Option<Self> {
        SmallDisk::with(path, &format!("size={mib}m"))
    }

    fn with(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(path).output();
        output.is_ok_and(|output| output.status.success()).then(|| SmallDisk(path.to_owned()))
    }

    fn free(&self) -> usize {
        let stats = rustix::fs::statvfs(&self.0).unwrap();
        (stats.f_bavail * stats.f_frsize) as usize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// What is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// A program that may make no file larger than so many blocks of 512 bytes.
fn limited(blocks: usize, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\"")]).arg(command.get_program());
    limited.args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    limited.env_remove("RUST_LOG").env("NO_COLOR", "1");
    limited
}

#[test]
fn a_disk_that_holds_no_more_files_is_told_from_one_without_bytes() {
    let machines = Machines::new();
    for name in ["1", "2", "3", "4"] {
        machines.put("here", &format!("folder/{name}"), name.as_bytes());
    }
    let mut sharer = machines.share("here", &["-d=0", "folder"]);
    let ticket = ticket(&mut sharer);
    let Some(_disk) = SmallDisk::with(&machines.folder("there").join("output"), "size=20m,nr_inodes=6") else { return };
    let mut getter = machines.get("there", &[&ticket]);
    getter.ends_with(8);
    assert!(getter.errors().contains("df -i"), "{}", getter.errors());
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(24 * MIB, 1));
    for name in ["1", "2", "3"] {
        machines.put("here", &format!("folder/{name}"), &noise(8 * MIB, 1));
    }
    let mut sharer = machines.share("here", &["-d=0", "file", "folder"]);
    let tickets = [ticket(&mut sharer), ticket(&mut sharer)];
    let Some(disk) = SmallDisk::at(&machines.folder("there").join("output"), 28) else { return };
    let free = disk.free();
    for ticket in &tickets {
        for (flags, kept) in
            [(&["--keep-free=8MiB"][..], "8.0 MiB"), (&["--keep-free=26MiB", "--storage=memory"], "26.0 MiB")]
        {
            let mut get = machines.get("there", &[&[ticket.as_str()], flags].concat());
            get.ends_with(8);
            let said = get.errors();
            assert!(said.contains("no room") && said.contains("24.0 MiB") && said.contains(kept), "{said}");
            assert!(said.contains("Make room and start again"), "{said}");
            assert_eq!((names(&disk.0), disk.free()), (vec![], free), "{said}");
        }
    }
    machines.get("there", &[&tickets[0], "--keep-free=0"]).ends_with(0);
    machines.get("there", &[&tickets[1], "--keep-free=0"]).ends_with(8);
    assert_eq!(names(&disk.0), ["file"]);
}

#[test]
fn a_disk_that_others_fill_ends_a_download_which_goes_on_later() {
    let machines = Machines::new();
    let bytes = noise(24 * MIB, 2);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "file"]);
    let ticket = ticket(&mut sharer);
    let Some(disk) = SmallDisk::at(&machines.folder("there").join("output"), 64) else { return };
    let flags = ["--json", "--keep-free=8MiB", "--down-rate=4MiB"];
    let mut get = machines.get("there", &[&[ticket.as_str()], &flags[..]].concat());
    get.pieces(100);
    fs::write(disk.0.join("ballast"), noise(34 * MIB, 3)).unwrap();
    get.ends_with(8);
    assert!(get.errors().contains("are kept free (--keep-free)"), "{}", get.errors());
    assert!(disk.free() > 8 * MIB, "what was reserved is given back: {} are free", disk.free());
    fs::remove_file(disk.0.join("ballast")).unwrap();
    let mut again = machines.get("there", &[&ticket, "--json", "--keep-free=8MiB"]);
    let have = again.event::<Manifest>().have;
    again.ends_with(0);
    assert!(have >= 50, "{have} pieces were kept");
    assert!(machines.read("there", "output/file") == bytes);
}

#[test]
fn what_waits_for_standard_output_is_refused_likewise() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(24 * MIB, 4));
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    let Some(disk) = SmallDisk::at(&machines.folder("temporary"), 16) else { return };
    let mut command = machines.command("there", "get", &[&ticket, "-o", "-"]);
    command.env("TMPDIR", &disk.0);
    let mut get = Process::start("get", command);
    get.ends_with(8);
    assert!(get.errors().contains("no room") && get.errors().contains("with TMPDIR"), "{}", get.errors());
    assert_eq!(names(&disk.0), [""; 0]);
}

#[test]
fn a_limit_of_file_sizes_is_a_sentence_and_no_death() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(4 * MIB, 5));
    machines.put("here", "folder/inner", &noise(4 * MIB, 6));
    let mut sharer = machines.share("here", &["-d=0", "file", "folder"]);
    for ticket in [ticket(&mut sharer), ticket(&mut sharer)] {
        for storage in ["mmap", "file", "memory"] {
            let command = machines.command("there", "get", &[&ticket, "--storage", storage]);
            let mut get = Process::start("get", limited(2048, &command));
            get.ends_with(8);
            let said = get.errors();
            assert!(said.contains("ulimit -f") && said.contains("1.0 MiB"), "{storage}: {said}");
            assert_eq!(names(&machines.folder("there").join("output")), [""; 0]);
        }
    }
    // Not even a manifest may be written.
    let mut command = peer_cli();
    command.current_dir(machines.folder("here")).args(["hash", "file"]);
    // What it says goes to a pipe: no file can take a word of it.
    let hash = limited(0, &command).output().unwrap();
    let said = String::from_utf8_lossy(&hash.stderr);
    assert_eq!(hash.status.code(), Some(8), "{said}");
    assert!(said.contains("ulimit -f"), "{said}");
}

/// The handler for pages of maps that cannot be had once swallowed it, and was gone then.
#[test]
fn a_signal_for_a_bus_error_that_is_sent_ends_the_program() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(4 * MIB, 7));
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    machines.get("there", &[&ticket]).ends_with(0);
    sharer.signal("BUS");
    assert_eq!(sharer.wait().signal(), Some(7));
}

/// Fills a disk to the last block, and gives the file that does.
fn fill(disk: &SmallDisk) -> PathBuf {
    let path = disk.0.join("ballast");
    let mut file = fs::File::create(&path).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    path
}

/// A start on a full disk once left an empty key, and no later one got past it.
#[test]
fn a_full_disk_leaves_no_key_behind_that_is_empty() {
    let machines = Machines::new();
    let Some(disk) = SmallDisk::at(&machines.folder("here"), 2) else { return };
    machines.put("here", "file", b"bytes");
    let certs = |folder: &str| machines.folder("here").join(folder);
    let tracker = |flags: &[&str]| {
        let mut command = tests::tracker();
        command.current_dir(machines.folder("here")).args(["--bind=127.0.0.1", "-p", "0"]).args(flags);
        Process::start("tracker", command)
    };
    let identity = ["--identity=peer.key", "-i=127.0.0.1", "-f=x", "--tracker-id"];
    let peer = || {
        let id = "0".repeat(64);
        let mut command = tests::peer_cli();
        command.current_dir(machines.folder("here")).args(identity).arg(id).args(["-d=1", "-p=0"]);
        Process::start("peer", command)
    };
    let ballast = fill(&disk);
    tracker(&["--certs=open"]).ends_with(7);
    tracker(&["--certs=closed", "--init-closed"]).ends_with(7);
    peer().ends_with(7);
    let here = names(&machines.folder("here"));
    assert!(names(&certs("open")).is_empty() && names(&certs("closed")).is_empty(), "{here:?}");
    assert!(!here.iter().any(|name| name.contains("key") || name.contains(".new")), "{here:?}");
    // A share goes on with a key that ends with it.
    let mut share = machines.share("here", &["-d=0", "file"]);
    share.event::<Ticket>();
    share.kill();
    fs::remove_file(&ballast).unwrap();

    let mut open = tracker(&["--certs=open"]);
    open.line("Tracker id");
    tracker(&["--certs=closed", "--init-closed"]).ends_with(0);
    machines.share("here", &["-d=0", "file"]).event::<Ticket>();
    // The tracker that it names is none.
    peer().ends_with(3);
    assert!(machines.folder("here").join("peer.key").exists());
    // A tracker that has its files needs no room to start again.
    open.kill();
    fill(&disk);
    tracker(&["--certs=open"]).line("Tracker id");
}

#[test]
fn a_sparse_file_fits_if_what_it_holds_does() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    const SIZE: u64 = 192 << 20;
    let machines = Machines::new();
    let path = machines.folder("here").join("disk.img");
    let file = fs::File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all_at(&noise(MIB, 5), 100 << 20).unwrap();
    machines.put("here", "full.img", &noise(64 * MIB, 6));
    let mut sharer = machines.share("here", &["-d=0", "disk.img", "full.img"]);
    let tickets = [ticket(&mut sharer), ticket(&mut sharer)];
    let Some(disk) = SmallDisk::at(&machines.folder("there").join("output"), 32) else { return };
    for storage in ["mmap", "file"] {
        machines.get("there", &[&tickets[0], "--keep-free=8MiB", "--storage", storage]).ends_with(0);
        let there = disk.0.join("disk.img");
        let seen = there.metadata().unwrap();
        assert!(seen.len() == SIZE && seen.blocks() * 512 < 20 << 20, "{storage}: {} blocks", seen.blocks());
        let mut bytes = vec![0; MIB];
        fs::File::open(&there).unwrap().read_exact_at(&mut bytes, 100 << 20).unwrap();
        assert!(bytes == noise(MIB, 5));
        fs::remove_file(there).unwrap();
    }
    let mut get = machines.get("there", &[&tickets[1], "--keep-free=8MiB"]);
    get.ends_with(8);
    assert!(get.errors().contains("no room"), "{}", get.errors());
}

#[test]
fn a_folder_that_cannot_be_written_into_is_named() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    machines.put("here", "folder/file", b"bytes");
    let mut sharer = machines.share("here", &["-d=0", "file", "folder"]);
    let tickets = [ticket(&mut sharer), ticket(&mut sharer)];
    let Some(disk) = SmallDisk::at(&machines.folder("there").join("output"), 4) else { return };
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk.0).status();
    assert!(remounted.unwrap().success());
    let shown = disk.0.display().to_string();
    for ticket in &tickets {
        for output in [".", "deeper/still"] {
            let output = disk.0.join(output);
            let mut get = machines.get("there", &[ticket, "-o", output.to_str().unwrap()]);
            get.ends_with(7);
            let said = get.errors();
            let last = said.lines().last().unwrap_or_default();
            assert!(last.contains(&format!("nothing can be written into the folder {shown}")), "{said}");
            assert!(last.contains("Choose another folder with --output") && !last.contains(".lock"), "{said}");
        }
    }
    // The working folder itself is named by its path.
    let mut command = machines.command("there", "get", &[&tickets[0], "-o", "."]);
    command.current_dir(&disk.0);
    let mut get = Process::start("get", command);
    get.ends_with(7);
    assert!(get.errors().contains(&format!("the folder {shown}")), "{}", get.errors());
    let mut command = peer_cli();
    command.current_dir(&disk.0).arg("hash").arg(machines.folder("here").join("file"));
    let mut hash = Process::start("hash", command);
    hash.ends_with(7);
    assert!(hash.errors().contains("the folder hashes") && hash.errors().contains("--hashes"), "{}", hash.errors());
}
