//! Digests of all pieces of a file, on all cores, reading each byte once.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Digest, Integrity, Place};

/// Digests of the pieces of a file of `len` bytes, in order. `read` gives one piece's bytes by offset and length
/// (a slice of a map, or a buffer) and is called from several threads; `progress` is told how many bytes are
/// done. The first failed read ends the work.
pub fn hash_pieces<B: AsRef<[u8]>>(
    integrity: &dyn Integrity,
    len: u64,
    piece_size: u32,
    read: impl Fn(u64, usize) -> io::Result<B> + Sync,
    progress: impl Fn(u64) + Sync,
) -> io::Result<Vec<Digest>> {
    let size = u64::from(piece_size);
    let count = usize::try_from(len.div_ceil(size)).map_err(io::Error::other)?;
    let mut digests = vec![Digest([0; 32]); count];
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(count.max(1));
    // Batches of about 4 MiB: few enough hand-overs, many enough that no core waits at the end.
    let batch = ((4 << 20) / size).max(1) as usize;
    let todo = Mutex::new(digests.chunks_mut(batch).enumerate());
    let (done, stop, failure) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(None));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let Some((index, out)) = todo.lock().expect("no panic holds it").next() else { return };
            for (n, digest) in out.iter_mut().enumerate() {
                let offset = (index * batch + n) as u64 * size;
                let bytes = size.min(len - offset);
                match read(offset, bytes as usize) {
                    Ok(data) => *digest = integrity.piece(Place { offset, alone: count == 1 }, data.as_ref()),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        failure.lock().expect("no panic holds it").get_or_insert(error);
                        return;
                    }
                }
                progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    match failure.into_inner().expect("no panic holds it") {
        Some(error) => Err(error),
        None => Ok(digests),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blake3, Sha256};

    #[test]
    fn every_piece_is_hashed_at_its_own_place() {
        let data: Vec<u8> = (0..300_001u32).map(|n| (n * 7 % 251) as u8).collect();
        for integrity in [&Sha256 as &dyn Integrity, &Blake3] {
            let read = |offset: u64, len: usize| Ok(data[offset as usize..][..len].to_vec());
            let digests = hash_pieces(integrity, data.len() as u64, 1024, read, |_| {}).unwrap();
            assert_eq!(digests.len(), 293);
            for (n, piece) in data.chunks(1024).enumerate() {
                let place = Place { offset: n as u64 * 1024, alone: false };
                assert_eq!(digests[n], integrity.piece(place, piece));
            }
        }
    }

    #[test]
    fn a_failed_read_ends_the_work_with_its_error() {
        let read = |offset: u64, len: usize| {
            if offset > 50_000 { Err(io::Error::other("gone")) } else { Ok(vec![0; len]) }
        };
        let error = hash_pieces(&Sha256, 1 << 20, 1024, read, |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "gone");
    }
}
