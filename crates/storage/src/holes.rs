//! Holes: long runs of zeros take no space where the file system can leave them out, so that a sparse file is one on the other
//! side, too.
//!
//! What a download needs is reserved at its start, so that a full disk shows then and not at the end; so a hole is made by giving
//! back what was reserved for it. A later run reserves it again, and makes the holes of what it finds again.

use std::fs::File;
use std::io;
use std::ops::Range;

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
use rustix::{fs::SeekFrom, io::Errno};

use crate::positioned::write_all_at;

/// File systems keep blocks of this size, or of a part of it.
const BLOCK: usize = 4096;
/// Shorter runs of zeros are written: each hole costs the file system a note of where it is.
const SHORTEST: usize = 32 << 10;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Writes bytes at an offset of a file that reaches so far, and leaves long runs of zeros out where that can be done.
pub(crate) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut from = 0;
    for run in zeros(bytes, at) {
        if !makes_hole(file, at + run.start as u64, run.len() as u64) {
            continue;
        }
        if from < run.start {
            write_all_at(file, &bytes[from..run.start], at + from as u64)?;
        }
        from = run.end;
    }
    if from < bytes.len() { write_all_at(file, &bytes[from..], at + from as u64) } else { Ok(()) }
}

/// Whether bytes at an offset have zeros that would be a hole.
pub fn has_hole(bytes: &[u8], at: u64) -> bool {
    !zeros(bytes, at).is_empty()
}

/// Long runs of zeros in bytes that lie at an offset, by whole blocks of the file.
fn zeros(bytes: &[u8], at: u64) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let to_boundary = BLOCK - (at + start as u64) as usize % BLOCK;
        let end = bytes.len().min(start + to_boundary);
        if bytes[start..end] == ZEROS[..end - start] {
            match runs.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => runs.push(start..end),
            }
        }
        start = end;
    }
    runs.retain(|run| run.len() >= SHORTEST);
    runs
}

/// Makes a range of a file zeros that take no space. False if that cannot be done: then zeros have to be written.
#[cfg(target_os = "linux")]
fn makes_hole(file: &File, at: u64, len: u64) -> bool {
    use rustix::fs::{FallocateFlags, fallocate};
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, len).is_ok()
}

/// What was never written is a hole already, and what is zeros need not be written again.
#[cfg(all(unix, not(target_os = "linux")))]
fn makes_hole(file: &File, at: u64, len: u64) -> bool {
    is_zeros(file, at, len).unwrap_or(false)
}

/// Whether a range of a file is zeros. It is read: bytes of an earlier version may lie there, and what a system says of holes is not enough
/// to leave anything out.
#[cfg(any(test, all(unix, not(target_os = "linux"))))]
fn is_zeros(file: &File, at: u64, len: u64) -> io::Result<bool> {
    let mut block = vec![0; SHORTEST];
    let mut done = 0;
    while done < len {
        let next = (len - done).min(SHORTEST as u64) as usize;
        crate::positioned::read_exact_at(file, &mut block[..next], at + done)?;
        if block[..next].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        done += next as u64;
    }
    Ok(true)
}

#[cfg(windows)]
fn makes_hole(file: &File, at: u64, len: u64) -> bool {
    atomic_file::windows::zero_range(file, at..at + len).is_ok()
}

/// Whether the file system of a file that is made at a path fills with zeros what lies before a write that is far behind, as FAT and exFAT
/// do on Windows.
#[cfg(windows)]
pub(crate) fn fills_gaps(path: &std::path::Path) -> bool {
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
    folder.is_some_and(atomic_file::windows::fills_gaps)
}

#[cfg(not(windows))]
pub(crate) fn fills_gaps(_: &std::path::Path) -> bool {
    false
}

/// Where the next bytes lie that take space, as `seek` says; nothing if there are none up to the end. From the middle of data macOS goes on to
/// the data behind the next hole, and says that there is none if there is no such hole. So it is asked first whether this is a hole at
/// all.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn data_from(seek: impl Fn(SeekFrom) -> Result<u64, Errno>, apple: bool, at: u64) -> io::Result<Option<u64>> {
    if apple {
        match seek(SeekFrom::Hole(at)) {
            Ok(hole) if hole == at => {}
            Ok(_) | Err(Errno::NXIO) => return Ok(Some(at)),
            Err(errno) => return Err(errno.into()),
        }
    }
    match seek(SeekFrom::Data(at)) {
        Ok(next) => Ok(Some(next)),
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The ranges of a file of this size that hold something, as far as the file system says; all of it where it says nothing.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
pub(crate) fn data(file: &File, size: u64) -> Vec<Range<u64>> {
    data_by(|to| rustix::fs::seek(file, to), cfg!(target_vendor = "apple"), size)
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn data_by(seek: impl Fn(SeekFrom) -> Result<u64, Errno>, apple: bool, size: u64) -> Vec<Range<u64>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < size {
        let start = match data_from(&seek, apple, at) {
            Ok(Some(start)) if start < size => start,
            Ok(_) => return found,
            Err(_) => break,
        };
        let end = match seek(SeekFrom::Hole(start)) {
            Ok(end) => end,
            // macOS does not count the end of a file as a hole.
            Err(Errno::NXIO) => size,
            Err(_) => break,
        };
        if end <= start {
            break;
        }
        found.push(start..end.min(size));
        at = end;
    }
    if at < size {
        found.push(at..size);
    }
    found
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(crate) fn data(_: &File, size: u64) -> Vec<Range<u64>> {
    std::iter::once(0..size).filter(|all| !all.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_of_zero_blocks_are_found_by_the_blocks_of_the_file() {
        let mut bytes = vec![0; 200 << 10];
        let found = zeros(&bytes, 0);
        assert!(found.len() == 1 && found[0] == (0..200 << 10), "{found:?}");
        bytes[100 << 10] = 1;
        assert_eq!(zeros(&bytes, 0), [0..100 << 10, 104 << 10..200 << 10]);
        assert_eq!(zeros(&bytes, 1024), [0..99 << 10, 103 << 10..200 << 10], "blocks begin elsewhere");
        (0..bytes.len()).step_by(16 << 10).for_each(|at| bytes[at] = 1);
        assert_eq!(zeros(&bytes, 0), [], "too short");
        assert_eq!(zeros(&[], 5), []);
    }

    /// Also where something else was before, and whatever the file system can do.
    #[test]
    fn what_is_read_is_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut bytes = vec![0; 300_000];
        bytes[150_000..160_000].fill(9);
        write_at(&file, &bytes, 5000).unwrap();
        let mut expected = vec![7; 1 << 20];
        expected[5000..305_000].copy_from_slice(&bytes);
        assert!(std::fs::read(&path).unwrap() == expected);
    }

    #[test]
    fn a_range_is_zeros_only_if_all_of_it_is() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(200_000).unwrap();
        assert!(is_zeros(&file, 0, 200_000).unwrap());
        write_all_at(&file, &[1], 150_000).unwrap();
        assert!(!is_zeros(&file, 0, 200_000).unwrap() && !is_zeros(&file, 100_000, 50_001).unwrap());
        assert!(is_zeros(&file, 100_000, 50_000).unwrap() && is_zeros(&file, 150_001, 49_999).unwrap());
        assert!(is_zeros(&file, 150_001, 50_000).is_err(), "beyond the end");
    }

    /// What `lseek` says on macOS of a file with these ranges of data: in data of the next data behind a hole, and of no hole where
    /// there is none at or behind the offset.
    #[cfg(target_os = "linux")]
    fn seek_on_macos(data: &[Range<u64>], size: u64, to: SeekFrom) -> Result<u64, Errno> {
        let holds = |at: u64| data.iter().find(|range| range.contains(&at));
        match to {
            SeekFrom::Data(at) => data.iter().map(|range| range.start).find(|&start| start > at).ok_or(Errno::NXIO),
            SeekFrom::Hole(at) => match holds(at) {
                None if at < size => Ok(at),
                Some(range) if range.end < size => Ok(range.end),
                _ => Err(Errno::NXIO),
            },
            _ => Err(Errno::INVAL),
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn data_is_not_taken_for_a_hole_though_macos_goes_on_to_the_data_behind_it() {
        let (regions, size) = ([10..20, 30..40], 50);
        let data = |data: &[Range<u64>], size| data_by(|to| seek_on_macos(data, size, to), true, size);
        assert_eq!(data(&regions, size), regions);
        assert_eq!(data(&[0..20, 30..50], size), [0..20, 30..50], "up to the end");
        let whole = 0..size;
        assert_eq!(data(std::slice::from_ref(&whole), size), std::slice::from_ref(&whole), "without a hole");
        assert_eq!(data(&regions, 25), regions[..1], "no further than is asked");
        assert_eq!(data(&[], size), []);
        let next = |at| data_from(|to| seek_on_macos(&regions, size, to), true, at).unwrap();
        assert_eq!([0, 10, 15, 20, 35, 40].map(next), [Some(10), Some(10), Some(15), Some(30), Some(35), None]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_sparse_file_takes_the_space_of_its_bytes_though_all_of_it_was_reserved() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create_new(&path).unwrap();
        let size = 64 << 20;
        file.set_len(size).unwrap();
        let taken = || file.metadata().unwrap().blocks() * 512;
        if fs4::FileExt::allocate(&file, size).is_err() || !makes_hole(&file, 0, 1 << 20) || taken() >= size {
            return; // There are no holes here.
        }
        let mut block = vec![0; 1 << 20];
        for at in 0..64 {
            block[..10].fill(u8::from(at % 16 == 3));
            write_at(&file, &block, at << 20).unwrap();
        }
        file.sync_all().unwrap();
        assert!(taken() <= 64 << 10, "{} bytes", taken());
        let found = data(&file, size);
        assert_eq!(found.iter().map(|range| range.start >> 20).collect::<Vec<_>>(), [3, 19, 35, 51]);
    }
}
