//! Digests of single pieces: what verifying one costs.

use divan::{Bencher, counter::BytesCount};
use p2p_fileshare_integrity::{Algorithm, Place};

fn main() {
    divan::main();
}

#[divan::bench(args = [16 << 10, 256 << 10, 1 << 20, 4 << 20])]
fn blake3(bencher: Bencher, len: usize) {
    piece(bencher, Algorithm::Blake3, len);
}

#[divan::bench(args = [16 << 10, 256 << 10, 1 << 20, 4 << 20])]
fn sha256(bencher: Bencher, len: usize) {
    piece(bencher, Algorithm::Sha256, len);
}

fn piece(bencher: Bencher, algorithm: Algorithm, len: usize) {
    let bytes = vec![7; len];
    let place = Place { offset: len as u64, alone: false };
    bencher.counter(BytesCount::new(len)).bench(|| algorithm.integrity().piece(place, divan::black_box(&bytes)));
}
