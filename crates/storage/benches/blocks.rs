//! Blocks of a file through each backend, as a peer reads and writes them.

use std::path::Path;
use std::sync::Arc;

use divan::{Bencher, counter::BytesCount};
use p2p_fileshare_storage::{Access, FileSpec, Storage, backend};

const FILE: u64 = 64 << 20;
const BLOCK: usize = 1 << 20;

fn main() {
    divan::main();
}

fn open(folder: &Path, name: &str, access: Access) -> Arc<dyn Storage> {
    let spec = FileSpec { path: folder.join("file"), size: FILE };
    backend(name).expect("it is built in").open(&[spec], access).expect("it opens")
}

#[divan::bench(args = ["mmap", "file", "memory"], sample_count = 20)]
fn write(bencher: Bencher, name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let (storage, block) = (open(folder.path(), name, Access::Write), vec![7; BLOCK]);
    bencher.counter(BytesCount::new(FILE)).bench(|| {
        (0..FILE).step_by(BLOCK).try_for_each(|offset| storage.write(0, offset, &block)).expect("it is written");
    });
}

#[divan::bench(args = ["mmap", "file"], sample_count = 20)]
fn read(bencher: Bencher, name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), vec![7; FILE as usize]).expect("it is written");
    let storage = open(folder.path(), name, Access::Read);
    bencher.counter(BytesCount::new(FILE)).bench(|| {
        // A map's bytes come when they are touched, so one a page is.
        let touch = |offset| -> usize {
            let bytes = storage.read(0, offset, BLOCK).expect("it is read");
            bytes.iter().step_by(4096).map(|&byte| usize::from(byte)).sum()
        };
        (0..FILE).step_by(BLOCK).map(touch).sum::<usize>()
    });
}
