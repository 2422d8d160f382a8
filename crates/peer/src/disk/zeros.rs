//! Pieces that are nothing but zeros: they become holes, which take no space, so a sparse file fits on a disk that is smaller than
//! the file. Their digests are known before anything has come.

use std::sync::atomic::{AtomicU64, Ordering};

use integrity::{Algorithm, Place, on_all_cores};
use protocol::Manifest;
use storage::has_hole;

/// The bytes of such pieces in each of these files, if they are `least` in all: what a download lacks of room. Hashes about as
/// many bytes as there are zeros, on all cores, and stops as soon as too much of it is none; blocks.
pub(crate) fn holes(manifest: &Manifest, files: &[usize], least: u64) -> Option<Vec<u64>> {
    let (header, geometry) = (manifest.header(), manifest.geometry());
    let all: u64 = files.iter().map(|&file| header.files[file].size).sum();
    let most_data = all.checked_sub(least)?;
    let zeros = vec![0; geometry.piece_size() as usize];
    // A plain hash of equal pieces is the same wherever they are.
    let full = (header.algorithm == Algorithm::Sha256)
        .then(|| header.algorithm.integrity().piece(Place { offset: 0, alone: false }, &zeros));
    let is_zeros = |piece: u32, len: usize| match full {
        Some(full) if len == zeros.len() => manifest.digest(piece) == full,
        _ => manifest.verify(piece, &zeros[..len]),
    };
    let found: Vec<AtomicU64> = files.iter().map(|_| AtomicU64::new(0)).collect();
    let data = AtomicU64::new(0);
    let pieces: Vec<(usize, u32)> = files
        .iter()
        .enumerate()
        .flat_map(|(number, &file)| geometry.pieces_of(file).map(move |piece| (number, piece)))
        .collect();
    let looked = on_all_cores(pieces.len(), |at| {
        let (number, piece) = pieces[at];
        let Some(place) = geometry.piece(piece) else { return Ok(()) };
        let len = place.len as u64;
        if has_hole(&zeros[..place.len], place.offset) && is_zeros(piece, place.len) {
            found[number].fetch_add(len, Ordering::Relaxed);
        } else if data.fetch_add(len, Ordering::Relaxed).saturating_add(len) > most_data {
            return Err(());
        }
        Ok(())
    });
    looked.ok().map(|()| found.into_iter().map(AtomicU64::into_inner).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_content;

    #[test]
    fn zero_pieces_are_known_by_their_digests() {
        const SIZE: u64 = 2 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        let mut bytes = vec![0; SIZE as usize + 100];
        bytes[300_000] = 1;
        std::fs::write(&path, &bytes).unwrap();
        for algorithm in [Algorithm::Blake3, Algorithm::Sha256] {
            let manifest = hash_content(&path, algorithm, Some(64 << 10), |_, _| {}).unwrap().manifest;
            let all = SIZE - (64 << 10);
            assert_eq!(holes(&manifest, &[0], all), Some(vec![all]), "the short piece at the end is no hole");
            assert_eq!(holes(&manifest, &[0], SIZE), None, "more are needed");
            let small = hash_content(&path, algorithm, Some(4096), |_, _| {}).unwrap().manifest;
            assert_eq!(holes(&small, &[0], 1), None, "such small pieces are written as they are");
        }
    }
}
