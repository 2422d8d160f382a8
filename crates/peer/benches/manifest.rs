//! Making the manifest of a file, beside what the `blake3` crate does with the same file on all cores.

use std::path::PathBuf;

use divan::{Bencher, counter::BytesCount};
use protocol::Algorithm;

const SIZE: usize = 1 << 30;

fn main() {
    divan::main();
}

fn with_file(bencher: Bencher, work: impl Fn(&PathBuf) + Sync) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a real disk");
    let path = folder.path().join("file");
    let mut bytes = vec![0; SIZE];
    fastrand::fill(&mut bytes);
    std::fs::write(&path, bytes).expect("it is written");
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| work(&path));
}

#[divan::bench(sample_count = 10)]
fn blake3_crate(bencher: Bencher) {
    with_file(bencher, |path| {
        blake3::Hasher::new().update_mmap_rayon(path).expect("it is read");
    });
}

#[divan::bench(args = ["blake3", "sha256"], sample_count = 10)]
fn manifest(bencher: Bencher, algorithm: &str) {
    let algorithm: Algorithm = algorithm.parse().expect("a name");
    with_file(bencher, |path| {
        p2p_fileshare::hash_content(path, algorithm, None, |_, _| {}).expect("it is hashed");
    });
}
