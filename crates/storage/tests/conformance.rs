//! Every backend, and every wrapper in its harmless setting, passes the one suite.

use p2p_fileshare_storage::wrappers::{Failing, Forgetful, Operation, Rotten, Throttled};
use p2p_fileshare_storage::{Access, Backend, FileSpec, StorageError, backend, conformance};

fn passes(backend: &dyn Backend) {
    conformance::run(backend, tempfile::tempdir().unwrap().path());
}

#[test]
fn mapped_files() {
    passes(&*backend("mmap").unwrap());
}

#[test]
fn plain_files() {
    passes(&*backend("file").unwrap());
}

#[test]
fn memory() {
    passes(&*backend("memory").unwrap());
}

#[test]
fn throttled() {
    passes(&Throttled::new(backend("mmap").unwrap(), 1 << 40));
}

#[test]
fn failing_when_nothing_fails() {
    passes(&Failing::new(backend("file").unwrap(), |_| None));
}

#[test]
fn forgetful_when_nothing_crashes() {
    passes(&Forgetful::new(backend("mmap").unwrap()));
}

#[test]
fn rotten_when_nothing_rots() {
    passes(&Rotten::new(backend("mmap").unwrap(), |_, _| ()));
}

#[test]
fn failing_fails_as_it_is_told() {
    let full = |operation| match operation {
        Operation::Write { offset: 4096.., .. } => Some(StorageError::Full("disk".into())),
        _ => None,
    };
    let backend = Failing::new(backend("memory").unwrap(), full);
    let storage = backend.open(&[FileSpec { path: "file".into(), size: 10_000 }], Access::Write).unwrap();
    storage.write(0, 0, &[1; 100]).unwrap();
    assert!(matches!(storage.write(0, 5000, &[1; 100]), Err(StorageError::Full(_))));
    assert_eq!(storage.read(0, 5000, 1).unwrap()[0], 0);
}

#[test]
fn forgetful_forgets_what_was_not_flushed() {
    let below = backend("memory").unwrap();
    let files = [FileSpec { path: "file".into(), size: 20_000 }];
    let forgetful = Forgetful::new(below.clone());
    let storage = forgetful.open(&files, Access::Write).unwrap();
    storage.write(0, 0, &[1; 5000]).unwrap();
    storage.flush().unwrap();
    storage.write(0, 2500, &[2; 10_000]).unwrap();
    assert_eq!(storage.read(0, 2499, 2).unwrap()[..], [1, 2]);
    // Of the blocks 2500.., 4096.., 8192.. and 12288.. the second survives.
    let mut blocks = [false, true, false, false].into_iter();
    forgetful.crash(|| blocks.next().unwrap()).unwrap();
    assert!(storage.read(0, 0, 1).is_err() && storage.write(0, 0, &[1]).is_err() && storage.flush().is_err());
    let platter = below.open(&files, Access::Read).unwrap();
    let byte = |at| platter.read(0, at, 1).unwrap()[0];
    assert_eq!([0, 2500, 4095, 4096, 8191, 8192, 12_499].map(byte), [1, 1, 1, 2, 2, 0, 0]);
}
