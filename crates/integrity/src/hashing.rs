//! Digests of all pieces of a content, on all cores, reading each byte once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::parallel::on_all_cores;
use crate::{Digest, Integrity, Place};

/// Most pieces that a thread takes at a time: few enough hand-overs, and no core waits long at the end.
const BATCH: usize = 64;

/// Digests of `count` pieces, in order. `piece` gives the place and the bytes of one (a slice of a map, or a buffer) and is
/// called from several threads; `progress` is told how many bytes are done. The first error of `piece` ends the work.
pub fn hash_pieces<B: AsRef<[u8]>, E: Send>(
    integrity: &dyn Integrity,
    count: usize,
    piece: impl Fn(usize) -> Result<(Place, B), E> + Sync,
    progress: impl Fn(u64) + Sync,
) -> Result<Vec<Digest>, E> {
    let mut digests = vec![Digest([0; 32]); count];
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let batch = (count / (8 * threads)).clamp(1, BATCH);
    let todo = Mutex::new(digests.chunks_mut(batch).enumerate());
    let done = AtomicU64::new(0);
    on_all_cores(count.div_ceil(batch), |_| {
        let Some((index, out)) = todo.lock().expect("a thread has panicked while it held this lock").next() else {
            return Ok(());
        };
        for (n, digest) in out.iter_mut().enumerate() {
            let (place, data) = piece(index * batch + n)?;
            let bytes = data.as_ref();
            *digest = integrity.piece(place, bytes);
            let len = bytes.len() as u64;
            progress(done.fetch_add(len, Ordering::Relaxed) + len);
        }
        Ok(())
    })?;
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blake3, Sha256};

    #[test]
    fn every_piece_is_hashed_at_its_own_place() {
        let data: Vec<u8> = (0..300_001u32).map(|n| (n * 7 % 251) as u8).collect();
        let pieces: Vec<_> = data.chunks(1024).collect();
        let place = |n: usize| Place { offset: n as u64 * 1024, alone: false };
        for integrity in [&Sha256 as &dyn Integrity, &Blake3] {
            let most = AtomicU64::new(0);
            let piece = |n: usize| Ok::<_, ()>((place(n), pieces[n]));
            let told = |done| {
                most.fetch_max(done, Ordering::Relaxed);
            };
            let digests = hash_pieces(integrity, pieces.len(), piece, told).unwrap();
            assert_eq!(most.into_inner(), data.len() as u64);
            assert_eq!(digests.len(), 293);
            for (n, piece) in pieces.iter().enumerate() {
                assert_eq!(digests[n], integrity.piece(place(n), piece));
            }
        }
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let place = Place { offset: 0, alone: true };
        let piece = |n| if n == 50 { Err("gone") } else { Ok((place, [0; 1024])) };
        assert_eq!(hash_pieces(&Sha256, 1000, piece, |_| {}), Err("gone"));
        assert_eq!(hash_pieces(&Sha256, 0, piece, |_| {}), Ok(vec![]));
    }
}
