//! Somebody else writes to the files of a download while it is built: it is noticed, whatever they do, and our own writes are
//! not taken for theirs.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use p2p_fileshare_storage::{Access, FileSpec, Output, Storage, StorageError, backend};

const SIZE: u64 = 100_000;
static BYTES: [u8; SIZE as usize] = [7; SIZE as usize];

/// A download of one file, or of a folder with a large and a small one.
fn download(kind: &str, folder: &Path, is_folder: bool) -> (Output, Arc<dyn Storage>) {
    let files: Vec<_> = match is_folder {
        true => vec![("d/large".to_owned(), SIZE, false), ("small".to_owned(), 10, false)],
        false => vec![("a".to_owned(), SIZE, false)],
    };
    let output = Output::prepare(folder, "a", is_folder, &files, &[]).unwrap();
    let storage = backend(kind).unwrap().open(&output.specs(), Access::Write).unwrap();
    (output, storage)
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

/// File systems whose clocks are coarse leave every file in doubt: then nothing is missed, but our own writes count as well.
fn has_fine_clock(folder: &Path) -> bool {
    let (output, storage) = download("file", folder, false);
    storage.write(0, 0, &BYTES[..10]).unwrap();
    storage.write(0, 10, &BYTES[..10]).unwrap();
    let is_fine = storage.changed_by_others().unwrap().is_empty();
    drop(output);
    let _ = fs::remove_file(folder.join(".a.part"));
    if !is_fine {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: the clock of files is coarse here, and our writes cannot be told apart"
        );
    }
    is_fine
}

#[test]
fn own_writes_are_no_changes_of_others() {
    for kind in ["file", "mmap"] {
        for is_folder in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            if !has_fine_clock(folder.path()) {
                return;
            }
            let (_output, storage) = download(kind, folder.path(), is_folder);
            assert!(storage.changed_by_others().unwrap().is_empty());
            std::thread::scope(|scope| {
                for thread in 0..4u64 {
                    let storage = storage.clone();
                    scope.spawn(move || {
                        for at in (thread * 25_000..(thread + 1) * 25_000).step_by(1000) {
                            storage.write(0, at, &BYTES[..1000]).unwrap();
                            storage.read(0, at, 1000).unwrap();
                        }
                    });
                }
            });
            if is_folder {
                storage.write(1, 5, &BYTES[..5]).unwrap();
                storage.write(1, 0, &BYTES[..5]).unwrap();
            }
            storage.flush().unwrap();
            assert_eq!(storage.changed_by_others().unwrap(), [0; 0], "{kind}, folder: {is_folder}");
        }
    }
}

#[test]
fn whatever_somebody_does_to_a_file_that_is_built_is_noticed_once() {
    let cut = |path: &Path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(100).unwrap();
        file.set_len(SIZE).unwrap();
    };
    let write = |path: &Path| overwrite(path, 500, b"x");
    let set_time_back = |path: &Path| {
        let before = fs::metadata(path).unwrap().modified().unwrap();
        overwrite(path, 500, b"x");
        File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
    };
    let replace = |path: &Path| {
        fs::copy(path, path.with_extension("copy")).unwrap();
        fs::rename(path.with_extension("copy"), path).unwrap();
    };
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let ways = [
        ("cut", &cut as &dyn Fn(&Path)),
        ("written", &write),
        ("written with its time set back", &set_time_back),
        ("replaced", &replace),
        ("removed", &remove),
    ];
    for kind in ["file", "mmap"] {
        // Windows says no change time with what it says of a file.
        for (name, change) in ways.into_iter().filter(|(name, _)| cfg!(unix) || !name.ends_with("set back")) {
            for is_folder in [false, true] {
                // Between two writes of ours, or after the last.
                for goes_on in [false, true] {
                    let folder = tempfile::tempdir().unwrap();
                    let (_output, storage) = download(kind, folder.path(), is_folder);
                    storage.write(0, 0, &BYTES[..50_000]).unwrap();
                    change(&folder.path().join(if is_folder { ".a.part/d/large" } else { ".a.part" }));
                    if goes_on {
                        storage.write(0, 50_000, &BYTES[50_000..]).unwrap();
                    }
                    let what = format!("{name}, {kind}, folder: {is_folder}, goes on: {goes_on}");
                    if name == "removed" {
                        let gone = storage.changed_by_others().unwrap_err();
                        assert!(matches!(gone, StorageError::Removed(_)), "{what}: {gone}");
                        continue;
                    }
                    assert_eq!(storage.changed_by_others().unwrap(), [0], "{what}");
                    assert_eq!(storage.changed_by_others().unwrap(), [0; 0], "{what}");
                }
            }
        }
    }
}

#[test]
fn what_lies_there_now_is_read_after_a_file_was_replaced() {
    for kind in ["file", "mmap"] {
        let folder = tempfile::tempdir().unwrap();
        let (_output, storage) = download(kind, folder.path(), false);
        storage.write(0, 0, &BYTES).unwrap();
        fs::write(folder.path().join("other"), vec![8; SIZE as usize]).unwrap();
        fs::rename(folder.path().join("other"), folder.path().join(".a.part")).unwrap();
        assert_eq!(storage.changed_by_others().unwrap(), [0]);
        assert_eq!(storage.read(0, 0, 1).unwrap()[0], 8);
    }
}

#[test]
fn a_file_that_is_only_read_and_changes_is_noticed_and_not_read_on() {
    for kind in ["file", "mmap"] {
        let folder = tempfile::tempdir().unwrap();
        let specs = ["one", "two"].map(|name| FileSpec { path: folder.path().join(name), size: SIZE });
        let old = SystemTime::now() - Duration::from_secs(60);
        for spec in &specs {
            fs::write(&spec.path, BYTES).unwrap();
            File::options().write(true).open(&spec.path).unwrap().set_modified(old).unwrap();
        }
        let storage = backend(kind).unwrap().open(&specs, Access::Read).unwrap();
        storage.read(1, 0, 10).unwrap();
        assert!(storage.changed_by_others().unwrap().is_empty());
        overwrite(&specs[1].path, 0, b"x");
        assert_eq!(storage.changed_by_others().unwrap(), [1]);
        assert!(matches!(storage.read(1, 0, 10), Err(StorageError::Changed(_))), "{kind}");
        storage.read(0, 0, 10).unwrap();
    }
}

/// As where upper and lower case are one: what has the name of a file before it is made is no part of it.
#[test]
fn two_entries_never_share_a_file() {
    for kind in ["file", "mmap"] {
        for size in [10, SIZE] {
            let folder = tempfile::tempdir().unwrap();
            let spec = FileSpec { path: folder.path().join("twin"), size };
            let result = backend(kind).unwrap().open(&[spec.clone(), spec], Access::Write).and_then(|storage| {
                storage.write(0, 0, &BYTES[..10])?;
                storage.write(1, 0, &BYTES[..10])
            });
            assert!(matches!(result, Err(StorageError::SameFile(_))), "{kind} {size}: {result:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (_output, storage) = download(kind, folder.path(), true);
        fs::create_dir_all(folder.path().join(".a.part/d")).unwrap();
        fs::write(folder.path().join(".a.part/d/large"), BYTES).unwrap();
        let result = storage.write(0, 0, &BYTES);
        assert!(matches!(result, Err(StorageError::SameFile(_))), "{kind}: {result:?}");
        // Small ones, too.
        fs::write(folder.path().join(".a.part/small"), "0123456789").unwrap();
        assert!(matches!(storage.write(1, 0, &BYTES[..10]), Err(StorageError::SameFile(_))));
    }
}

#[test]
fn what_an_earlier_run_has_left_is_gone_on_with() {
    for kind in ["file", "mmap"] {
        let folder = tempfile::tempdir().unwrap();
        let (output, storage) = download(kind, folder.path(), true);
        storage.write(0, 0, &BYTES[..50_000]).unwrap();
        drop((output, storage));
        let (output, storage) = download(kind, folder.path(), true);
        assert_eq!(storage.read(0, 0, 50_000).unwrap(), BYTES[..50_000]);
        storage.write(0, 50_000, &BYTES[50_000..]).unwrap();
        storage.write(1, 0, &BYTES[..10]).unwrap();
        storage.flush().unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(folder.path().join("a/d/large")).unwrap(), BYTES);
    }
}

/// One of two names that are the same is listed: there are fewer files than names.
#[cfg(unix)]
#[test]
fn a_download_with_fewer_files_than_names_is_not_complete() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["A", "a"].map(|name| (name.to_owned(), 10, false));
    let output = Output::prepare(folder.path(), "twins", true, &files, &[]).unwrap();
    let storage = backend("file").unwrap().open(&output.specs(), Access::Write).unwrap();
    (0..2).for_each(|file| storage.write(file, 0, &BYTES[..10]).unwrap());
    // As a file system that folds case would show them, by their inode.
    let part = folder.path().join(".twins.part");
    fs::remove_file(part.join("a")).unwrap();
    fs::hard_link(part.join("A"), part.join("a")).unwrap();
    assert!(matches!(output.finish(), Err(StorageError::SameFile(_))));
    assert!(!folder.path().join("twins").exists());
}

#[cfg(unix)]
#[test]
fn a_part_file_with_another_name_is_refused_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(download("file", folder.path(), false));
    fs::hard_link(folder.path().join(".a.part"), folder.path().join("other")).unwrap();
    let files = [("a".to_owned(), SIZE, false)];
    let output = Output::prepare(folder.path(), "a", false, &files, &[]).unwrap();
    let error = backend("mmap").unwrap().open(&output.specs(), Access::Write).err().unwrap();
    assert!(matches!(error, StorageError::Linked(_)) && error.to_string().contains("hard link"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_moved_away_is_not_where_the_download_is() {
    let world = tempfile::tempdir().unwrap();
    let folder = world.path().join("output");
    let (output, storage) = download("file", &folder, false);
    storage.write(0, 0, &BYTES).unwrap();
    storage.flush().unwrap();
    fs::rename(&folder, world.path().join("moved")).unwrap();
    assert!(matches!(output.check_place(), Err(StorageError::Moved(_))));
    assert!(matches!(output.finish(), Err(StorageError::Moved(_))));
}

/// Somebody has removed it: nobody has to look for a name that is wrong.
#[cfg(unix)]
#[test]
fn what_is_removed_while_it_is_built_was_removed_or_moved_and_is_not_missing() {
    for is_folder in [false, true] {
        for all in [false, true] {
            let world = tempfile::tempdir().unwrap();
            let folder = world.path().join("output");
            let (output, storage) = download("file", &folder, is_folder);
            storage.write(0, 0, &BYTES).unwrap();
            storage.release();
            match (all, is_folder) {
                (true, _) => fs::remove_dir_all(&folder).unwrap(),
                (false, true) => fs::remove_dir_all(folder.join(".a.part")).unwrap(),
                (false, false) => fs::remove_file(folder.join(".a.part")).unwrap(),
            }
            let is_right = |error: &StorageError| match error {
                StorageError::Moved(_) => all,
                StorageError::Removed(_) => !all,
                _ => false,
            };
            let looked = storage.changed_by_others().unwrap_err();
            assert!(is_right(&looked), "{is_folder} {all}: {looked}");
            let read = storage.read(0, 0, 1).unwrap_err();
            let finished = output.finish().unwrap_err();
            assert!(is_right(&read) && is_right(&finished), "{is_folder} {all}: {read}; {finished}");
        }
    }
}
