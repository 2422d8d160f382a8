//! Messages and manifests to bytes and back, up to the largest that there are.

use divan::Bencher;
use p2p_fileshare_protocol::{
    Algorithm, ContentId, Digest, FileEntry, MAX_RUNS, Manifest, ManifestHeader, PeerMessage, PieceRange, PieceSet,
    Wire,
};

fn main() {
    divan::main();
}

fn haves(runs: usize) -> PeerMessage {
    let runs = (0..runs as u32).map(|run| PieceRange { first: run * 3, count: 2 }).collect();
    PeerMessage::Have { content: ContentId(Digest([7; 32])), runs, in_flight: vec![] }
}

#[divan::bench(args = [1, 100, MAX_RUNS])]
fn encode_haves(bencher: Bencher, runs: usize) {
    let message = haves(runs);
    bencher.bench(|| divan::black_box(&message).encode());
}

#[divan::bench(args = [1, 100, MAX_RUNS])]
fn decode_haves(bencher: Bencher, runs: usize) {
    let bytes = haves(runs).encode().expect("it fits a frame");
    bencher.bench(|| PeerMessage::decode(divan::black_box(&bytes)));
}

#[divan::bench]
fn runs_of_every_other_piece_of_a_million(bencher: Bencher) {
    let set: PieceSet = (0..1 << 20).step_by(2).collect();
    bencher.bench(|| divan::black_box(&set).runs());
}

/// A manifest of a million pieces.
fn largest() -> (ManifestHeader, Vec<Digest>) {
    let pieces = 1u64 << 20;
    let header = ManifestHeader {
        name: "large".to_owned(),
        folder: false,
        algorithm: Algorithm::Blake3,
        piece_size: 1 << 20,
        files: vec![FileEntry {
            path: "large".to_owned(),
            size: pieces << 20,
            executable: false,
            root: Digest([0; 32]),
        }],
        empty_folders: Vec::new(),
    };
    (header, (0..pieces).map(|piece| Digest::of(&piece.to_le_bytes())).collect())
}

#[divan::bench(sample_count = 10)]
fn build_a_manifest_of_a_million_pieces(bencher: Bencher) {
    let (header, digests) = largest();
    bencher.with_inputs(|| header.clone()).bench_values(|header| Manifest::build(header, &digests));
}

#[divan::bench(sample_count = 10)]
fn decode_a_manifest_of_a_million_pieces(bencher: Bencher) {
    let (header, digests) = largest();
    let bytes = Manifest::build(header, &digests).expect("it is within the limits").bytes().clone();
    bencher.with_inputs(|| bytes.clone()).bench_values(Manifest::decode);
}
