//! What every backend must do: one suite, for those here and for those written elsewhere.
//!
//! It panics at the first thing that is wrong, saying what; call [`run`] from a test.

use std::path::Path;
use std::sync::Arc;

use crate::{Access, Backend, FileSpec, Storage, StorageError};

/// Runs the suite in an empty folder, which it fills.
pub fn run(backend: &dyn Backend, folder: &Path) {
    what_is_written_is_read(backend, folder);
    files_are_apart(backend, folder);
    every_size_around_a_page(backend, folder);
    ranges_outside_are_refused(backend, folder);
    what_was_never_written_is_zero(backend, folder);
    what_is_missing_or_differs_is_said(backend, folder);
    what_is_opened_to_be_read_stays_as_it_is(backend, folder);
    slices_outlive_their_storage(backend, folder);
    threads_write_apart(backend, folder);
    if backend.persistent() {
        a_file_that_is_cut_is_an_error(backend, folder);
        a_file_that_others_write_to_is_said(backend, folder);
    }
}

/// Runs the part of the suite that is about reading, for storages that only read: `open` gives one of files with these bytes.
pub fn run_reading(open: impl Fn(&[&[u8]]) -> Arc<dyn Storage>) {
    let sizes = [0, 1, 4_095, 4_096, 4_097, 100_000];
    let files: Vec<_> = sizes.iter().map(|&size| pattern(size, size as u8)).collect();
    let storage = open(&files.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for (file, bytes) in files.iter().enumerate() {
        expect(&*storage, file, 0, bytes);
        expect(&*storage, file, bytes.len() as u64, &[]);
        let size = bytes.len() as u64;
        for (offset, len) in [(size, 1), (0, bytes.len() + 1), (u64::MAX, 1), (u64::MAX - 1, 5)] {
            let read = storage.read(file, offset, len);
            assert!(matches!(read, Err(StorageError::OutOfRange { .. })), "read of {len} at {offset}: {read:?}");
        }
    }
    let last = files.len() - 1;
    for (offset, len) in [(1, 1), (4_097, 65_904), (99_999, 1), (65_535, 2)] {
        expect(&*storage, last, offset, &files[last][offset as usize..offset as usize + len]);
    }
    assert!(storage.write(last, 0, &[1]).is_err(), "what is only read was written");
    storage.flush().expect("there is nothing to flush");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (storage, bytes) = (&storage, &files[last]);
            scope.spawn(move || {
                for offset in (thread * 1_000..90_000).step_by(7_001) {
                    expect(&**storage, last, offset as u64, &bytes[offset..offset + 5_000]);
                }
            });
        }
    });
    assert_eq!(storage.changed_by_others().expect("it can be looked at"), Vec::<usize>::new());
    storage.release();
    let slice = storage.read(last, 10_000, 80_000).expect("it is opened again");
    drop(storage);
    assert!(slice == files[last][10_000..90_000], "a slice changed when its storage was closed");
}

fn spec(folder: &Path, name: &str, size: u64) -> FileSpec {
    FileSpec { path: folder.join(name), size }
}

fn open(backend: &dyn Backend, files: &[FileSpec], access: Access) -> Arc<dyn Storage> {
    backend.open(files, access).unwrap_or_else(|error| panic!("{} does not open {files:?}: {error}", backend.name()))
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8).wrapping_add(seed)).collect()
}

fn expect(storage: &dyn Storage, file: usize, offset: u64, expected: &[u8]) {
    let found = storage.read(file, offset, expected.len()).expect("the range exists");
    assert!(found == expected, "{} bytes at {offset} of file {file} are not what was written", expected.len());
}

fn what_is_written_is_read(backend: &dyn Backend, folder: &Path) {
    let files = [spec(folder, "written", 100_000)];
    let bytes = pattern(100_000, 1);
    let storage = open(backend, &files, Access::Write);
    for (at, part) in bytes.chunks(3_333).enumerate().collect::<Vec<_>>().into_iter().rev() {
        storage.write(0, at as u64 * 3_333, part).expect("it may be written");
    }
    expect(&*storage, 0, 0, &bytes);
    expect(&*storage, 0, 4_097, &bytes[4_097..70_001]);
    storage.write(0, 50_000, &[0xAB; 10]).expect("it may be written again");
    expect(&*storage, 0, 50_000, &[0xAB; 10]);
    storage.flush().expect("it can be flushed");
    storage.flush().expect("it can be flushed when there is nothing to flush");
    drop(storage);
    let storage = open(backend, &files, Access::Read);
    expect(&*storage, 0, 0, &bytes[..50_000]);
    expect(&*storage, 0, 50_010, &bytes[50_010..]);
    drop(storage);
    // Opened to be written again, nothing is lost.
    expect(&*open(backend, &files, Access::Write), 0, 99_000, &bytes[99_000..]);
}

fn files_are_apart(backend: &dyn Backend, folder: &Path) {
    let files = [spec(folder, "apart-0", 5_000), spec(folder, "apart-1", 0), spec(folder, "apart-2", 70_000)];
    let storage = open(backend, &files, Access::Write);
    storage.write(0, 0, &pattern(5_000, 2)).expect("it may be written");
    storage.write(1, 0, &[]).expect("nothing may be written anywhere");
    storage.write(2, 0, &pattern(70_000, 3)).expect("it may be written");
    expect(&*storage, 0, 0, &pattern(5_000, 2));
    expect(&*storage, 1, 0, &[]);
    expect(&*storage, 2, 0, &pattern(70_000, 3));
    storage.flush().expect("it can be flushed");
}

fn every_size_around_a_page(backend: &dyn Backend, folder: &Path) {
    for size in [0, 1, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 65_537] {
        let files = [spec(folder, &format!("size-{size}"), size as u64)];
        let storage = open(backend, &files, Access::Write);
        storage.write(0, 0, &pattern(size, 4)).expect("it may be written");
        storage.flush().expect("it can be flushed");
        drop(storage);
        let storage = open(backend, &files, Access::Read);
        expect(&*storage, 0, 0, &pattern(size, 4));
        expect(&*storage, 0, size as u64, &[]);
    }
}

fn ranges_outside_are_refused(backend: &dyn Backend, folder: &Path) {
    let storage = open(backend, &[spec(folder, "outside", 20_000)], Access::Write);
    for (offset, len) in [(20_000, 1), (19_999, 2), (0, 20_001), (u64::MAX, 1), (u64::MAX - 1, 5)] {
        let read = storage.read(0, offset, len);
        assert!(matches!(read, Err(StorageError::OutOfRange { .. })), "read of {len} at {offset}: {read:?}");
        let write = storage.write(0, offset, &vec![1; len]);
        assert!(matches!(write, Err(StorageError::OutOfRange { .. })), "write of {len} at {offset}: {write:?}");
    }
}

fn what_was_never_written_is_zero(backend: &dyn Backend, folder: &Path) {
    let storage = open(backend, &[spec(folder, "holes", 1 << 20)], Access::Write);
    storage.write(0, 500_000, &[9]).expect("it may be written");
    expect(&*storage, 0, 499_990, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0]);
    expect(&*storage, 0, (1 << 20) - 10_000, &[0; 10_000]);
}

fn what_is_missing_or_differs_is_said(backend: &dyn Backend, folder: &Path) {
    let missing = backend.open(&[spec(folder, "missing", 10)], Access::Read).map(|_| ());
    assert!(matches!(missing, Err(StorageError::NotFound(_))), "a missing file: {missing:?}");
    let storage = open(backend, &[spec(folder, "differs", 10)], Access::Write);
    storage.write(0, 9, &[1]).expect("it may be written");
    storage.flush().expect("it can be flushed");
    drop(storage);
    let differs = backend.open(&[spec(folder, "differs", 11)], Access::Read).map(|_| ());
    assert!(matches!(differs, Err(StorageError::Changed(_))), "a file of another size: {differs:?}");
}

fn what_is_opened_to_be_read_stays_as_it_is(backend: &dyn Backend, folder: &Path) {
    let files = [spec(folder, "read only", 30_000)];
    open(backend, &files, Access::Write).flush().expect("it can be flushed");
    let storage = open(backend, &files, Access::Read);
    assert!(storage.write(0, 0, &[1]).is_err(), "what was opened to be read was written");
    expect(&*storage, 0, 0, &[0]);
}

fn slices_outlive_their_storage(backend: &dyn Backend, folder: &Path) {
    let storage = open(backend, &[spec(folder, "outlives", 100_000)], Access::Write);
    storage.write(0, 0, &pattern(100_000, 5)).expect("it may be written");
    let slice = storage.read(0, 10_000, 80_000).expect("the range exists");
    drop(storage);
    assert!(slice == pattern(100_000, 5)[10_000..90_000], "a slice changed when its storage was closed");
}

fn threads_write_apart(backend: &dyn Backend, folder: &Path) {
    let storage = open(backend, &[spec(folder, "threads", 4 * 50_000)], Access::Write);
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let storage = &storage;
            scope.spawn(move || {
                let bytes = pattern(50_000, thread);
                let start = u64::from(thread) * 50_000;
                for (at, part) in bytes.chunks(7_001).enumerate() {
                    storage.write(0, start + at as u64 * 7_001, part).expect("it may be written");
                }
                expect(&**storage, 0, start, &bytes);
            });
        }
    });
    for thread in 0..4u8 {
        expect(&*storage, 0, u64::from(thread) * 50_000, &pattern(50_000, thread));
    }
}

fn a_file_that_is_cut_is_an_error(backend: &dyn Backend, folder: &Path) {
    let files = [spec(folder, "cut", 1 << 20)];
    let storage = open(backend, &files, Access::Write);
    storage.write(0, 0, &pattern(1 << 20, 6)).expect("it may be written");
    storage.flush().expect("it can be flushed");
    drop(storage);
    let storage = open(backend, &files, Access::Read);
    let file = std::fs::File::options().write(true).open(&files[0].path).expect("a persistent backend keeps files");
    match file.set_len(5_000) {
        // Windows lets nobody cut what is mapped, and says so (ERROR_USER_MAPPED_FILE).
        Err(error) if cfg!(windows) && error.raw_os_error() == Some(1224) => return,
        cut => cut.expect("it can be cut"),
    }
    let read = storage.read(0, 500_000, 1_000);
    assert!(matches!(read, Err(StorageError::Changed(_))), "a read where the file was cut: {read:?}");
}

fn a_file_that_others_write_to_is_said(backend: &dyn Backend, folder: &Path) {
    let files = ["others-0", "others-1"].map(|name| spec(folder, name, 50_000));
    let storage = open(backend, &files, Access::Write);
    for file in 0..2 {
        storage.write(file, 0, &pattern(50_000, 8)).expect("it may be written");
    }
    storage.flush().expect("it can be flushed");
    std::fs::write(&files[1].path, pattern(50_000, 9)).expect("anyone may write to it");
    let changed = storage.changed_by_others().expect("it can be looked at");
    assert!(changed.contains(&1), "somebody wrote to file 1, and {changed:?} are said");
    expect(&*storage, 1, 0, &pattern(50_000, 9));
}
