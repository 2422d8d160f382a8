//! Disks that are too small: what does not fit is refused before anything is written, and what runs out of room gives back
//! what it had reserved. The disks are file systems in memory, so these need Linux and root; without, they show nothing.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use p2p_fileshare_storage::{Access, Output, Room, Storage, StorageError, backend};

const MIB: u64 = 1 << 20;

/// A file system in memory, gone when it is dropped.
struct Disk {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    /// Nothing where that is not allowed.
    fn of(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::create_dir(&path).unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then_some(Disk { path, _folder: folder })
    }

    fn free(&self) -> u64 {
        fs4::available_space(&self.path).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}

fn files(is_folder: bool, name: &str, size: u64) -> Vec<(String, u64, bool)> {
    match is_folder {
        false => vec![(name.to_owned(), size, false)],
        true => (0..8).map(|number| (format!("d/{number}"), size / 8, false)).collect(),
    }
}

fn begin(
    folder: &Path,
    name: &str,
    is_folder: bool,
    size: u64,
    keep: Option<u64>,
) -> Result<(Output, std::sync::Arc<dyn Storage>), StorageError> {
    let files = files(is_folder, name, size);
    let room = Room::look(folder, name, is_folder, &files, keep)?;
    let output = Output::prepare(folder, name, is_folder, &files, &[])?.in_room(room);
    let storage = backend("mmap").unwrap().open(&output.specs(), Access::Write)?;
    Ok((output, storage))
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let Some(disk) = Disk::of(64 * MIB) else { return };
    let free = disk.free();
    for is_folder in [false, true] {
        for (size, keep) in [(65 * MIB, Some(0)), (60 * MIB, Some(8 * MIB)), (64 * MIB, None)] {
            let folder = disk.path.join("output");
            let Err(StorageError::NoRoom { needs, keeps, .. }) = begin(&folder, "a", is_folder, size, keep).map(drop)
            else {
                panic!("{size} bytes with {keep:?} kept were taken, folder: {is_folder}");
            };
            assert_eq!((needs, keeps), (size, keep.unwrap_or(64 * MIB / 100)));
            assert!(!folder.exists());
            assert_eq!(disk.free(), free);
        }
    }
    begin(&disk.path, "a", false, 60 * MIB, None).unwrap();
}

#[test]
fn downloads_count_what_others_have_reserved() {
    let Some(disk) = Disk::of(256 * MIB) else { return };
    for is_folder in [false, true] {
        let one = begin(&disk.path, "a", is_folder, 160 * MIB, Some(0)).unwrap();
        let two = begin(&disk.path, "b", is_folder, 160 * MIB, Some(0)).map(drop);
        assert!(matches!(two, Err(StorageError::NoRoom { .. })), "folder: {is_folder}");
        // What it has written is not counted twice.
        let (output, storage) = one;
        for number in 0..output.specs().len() {
            storage.write(number, 0, &[1; 4096]).unwrap();
        }
        begin(&disk.path, "c", is_folder, 64 * MIB, Some(0)).unwrap();
        output.cut_back(|_| Vec::new()).unwrap();
        drop((output, storage));
        let rest = fs::read_dir(&disk.path).unwrap().flatten();
        for entry in rest {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
        assert!(disk.free() > 255 * MIB, "{} are left", disk.free());
    }
}

#[test]
fn what_is_reserved_already_is_not_needed_again() {
    let Some(disk) = Disk::of(64 * MIB) else { return };
    let (output, storage) = begin(&disk.path, "a", false, 40 * MIB, Some(0)).unwrap();
    storage.write(0, 0, &[1; 4096]).unwrap();
    drop((output, storage));
    begin(&disk.path, "a", false, 40 * MIB, Some(10 * MIB)).unwrap();
}

#[test]
fn what_holds_nothing_is_given_back_and_what_holds_something_stays() {
    let Some(disk) = Disk::of(64 * MIB) else { return };
    let free = disk.free();
    for is_folder in [false, true] {
        let (output, storage) = begin(&disk.path, "a", is_folder, 32 * MIB, Some(0)).unwrap();
        for number in 0..output.specs().len() {
            storage.write(number, MIB, &[1; MIB as usize]).unwrap();
        }
        assert!(disk.free() < free - 30 * MIB);
        let first = |number: usize| (number == 0).then_some(MIB..2 * MIB).into_iter().collect();
        output.cut_back(first).unwrap();
        assert!(disk.free() > free - 2 * MIB, "{} of {free} are free, folder: {is_folder}", disk.free());
        let mut kept = storage.read(0, MIB, MIB as usize).unwrap().to_vec();
        kept.dedup();
        assert_eq!(kept, [1]);
        drop(storage);
        // The next run finds it, and needs no more than the rest.
        let room = Room::look(&disk.path, "a", is_folder, &files(is_folder, "a", 32 * MIB), Some(0));
        room.unwrap();
        output.cut_back(|_| Vec::new()).unwrap();
        drop(output);
        assert_eq!(fs::read_dir(&disk.path).unwrap().count(), 0, "nothing is kept, so nothing stays");
        assert!(disk.free() > free - MIB);
    }
}

#[test]
fn a_disk_that_others_fill_is_noticed() {
    let Some(disk) = Disk::of(64 * MIB) else { return };
    let (output, _storage) = begin(&disk.path, "a", false, 16 * MIB, Some(8 * MIB)).unwrap();
    output.check_room().unwrap();
    fs::write(disk.path.join("ballast"), vec![1; 42 * MIB as usize]).unwrap();
    assert!(matches!(output.check_room(), Err(StorageError::Margin { keeps, .. }) if keeps == 8 * MIB));
    fs::remove_file(disk.path.join("ballast")).unwrap();
    output.check_room().unwrap();
}

#[test]
fn a_disk_that_is_full_is_said_as_such() {
    let Some(disk) = Disk::of(MIB) else { return };
    let output = Output::prepare(&disk.path, "a", false, &files(false, "a", 2 * MIB), &[]).unwrap();
    for kind in ["mmap", "file"] {
        let opened = backend(kind).unwrap().open(&output.specs(), Access::Write).map(drop);
        assert!(matches!(&opened, Err(error @ StorageError::Full(_)) if error.is_no_room()), "{opened:?}");
    }
}
