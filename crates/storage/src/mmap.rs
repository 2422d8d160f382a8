//! Mapped files: what is read for others is a slice of the map, and no byte of it is copied by us.
//!
//! Small files are read rather than mapped: a map costs more than the copy. Writes are positional, into the same page cache that the map shows. Where a file system has no shared maps, files
//! are read. A map of a file that someone else cuts is a
//! trap (SIGBUS), so before a slice is handed out the file's size and time are checked and, on Linux, its pages are
//! brought in by a call that reports a truncation as an error; the handler in `fault` is the last resort on every Unix.
//!
//! On Windows all files are read. There nothing of ours could meet the error of a page that cannot be had (EXCEPTION_IN_PAGE_ERROR), and it
//! ends the process: a network drive that is gone or a stick that is pulled out is enough, and a disk behind USB passes for a fixed one.
#![allow(unsafe_code)]

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use memmap2::MmapOptions;

use crate::error::in_range;
use crate::handles::{Handles, OpenFile};
use crate::open::{SMALL, read_at};
use crate::{Access, Backend, FileSpec, Storage, StorageError};

/// Maps files.
pub struct MmapBackend;

impl Backend for MmapBackend {
    fn name(&self) -> &'static str {
        "mmap"
    }

    fn persistent(&self) -> bool {
        true
    }

    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        let open = if cfg!(windows) { unmapped } else { map };
        Ok(Arc::new(Maps(Handles::new(files, access)?, open)))
    }
}

/// Maps a file that was opened.
fn map(file: File, spec: &FileSpec) -> Result<Mapped, StorageError> {
    // SAFETY: the map is read-only and shared. Others may change the file under it: bytes are only ever sent or hashed as
    // bytes, every receiver verifies them, and a cut file is met by the checks in `read`.
    let map = is_worth_a_map(spec.size).then(|| unsafe { MmapOptions::new().map(&file) });
    // Not every file system has shared maps, and a process may have as many as its limits say: then it is read.
    let guard = map.and_then(Result::ok).map(Guarded::new);
    let damaged = guard.as_ref().and_then(Guarded::damaged);
    Ok(Mapped { file, map: guard.map(Bytes::from_owner), damaged })
}

/// Whether a file of this size is mapped: not a small one, nor one that would take much of the address space that this process
/// may use.
fn is_worth_a_map(size: u64) -> bool {
    #[cfg(target_os = "linux")]
    let most = rustix::process::getrlimit(rustix::process::Resource::As).current.map_or(u64::MAX, |limit| limit / 8);
    #[cfg(not(target_os = "linux"))]
    let most = u64::MAX;
    size > SMALL && size <= most
}

/// A file that is read.
fn unmapped(file: File, _: &FileSpec) -> Result<Mapped, StorageError> {
    Ok(Mapped { file, map: None, damaged: None })
}

/// A map that the fault handler knows of. Fields are dropped in this order: it is forgotten before it is unmapped.
struct Guarded {
    #[cfg(unix)]
    registration: Option<crate::fault::Registration>,
    map: memmap2::Mmap,
}

impl Guarded {
    #[cfg(unix)]
    fn new(map: memmap2::Mmap) -> Self {
        Guarded { registration: crate::fault::Registration::new(&map), map }
    }

    #[cfg(not(unix))]
    fn new(map: memmap2::Mmap) -> Self {
        Guarded { map }
    }

    #[cfg(unix)]
    fn damaged(&self) -> Option<&'static AtomicBool> {
        self.registration.as_ref().map(crate::fault::Registration::damaged)
    }

    #[cfg(not(unix))]
    fn damaged(&self) -> Option<&'static AtomicBool> {
        None
    }
}

impl AsRef<[u8]> for Guarded {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// The files, and how one that was opened is kept.
struct Maps(Handles<Mapped>, fn(File, &FileSpec) -> Result<Mapped, StorageError>);

struct Mapped {
    file: File,
    map: Option<Bytes>,
    /// Raised once a page of the map could not be had.
    damaged: Option<&'static AtomicBool>,
}

impl OpenFile for Mapped {
    fn file(&self) -> &File {
        &self.file
    }
}

impl Maps {
    /// The open file, and its map if it may be touched. Fails once it has not the size that it should have, or, if it is only
    /// read, is not what it was at first.
    fn checked(&self, file: usize) -> Result<(Arc<Mapped>, Option<Bytes>), StorageError> {
        let mapped = self.0.get(file, self.1)?;
        self.0.check(file, &mapped.file)?;
        // A page that could not be had is a page of zeros now. The file may be well all the same.
        let damaged = mapped.damaged.is_some_and(|damaged| damaged.load(Ordering::Relaxed));
        let map = mapped.map.clone().filter(|_| !damaged);
        Ok((mapped, map))
    }
}

impl Storage for Maps {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let spec = self.0.spec(file);
        in_range(offset, len, spec.size)?;
        if len == 0 {
            return Ok(Bytes::new());
        }
        self.0.read_again(file, || {
            let (mapped, map) = self.checked(file)?;
            let slice = map.map(|map| map.slice(offset as usize..offset as usize + len));
            match slice {
                Some(slice) if populate(&slice) => Ok(slice),
                // Where a page cannot be had, a read says why: the file was cut, or the disk cannot read it.
                _ => read_at(&mapped.file, spec, offset, len),
            }
        })
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.0.write(file, offset, data, self.1)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.0.sync(|file| self.0.get(file, self.1))
    }

    fn changed_by_others(&self) -> Result<Vec<usize>, StorageError> {
        self.0.changed_by_others()
    }

    fn release(&self) {
        self.0.release();
    }

    fn fills_gaps(&self) -> bool {
        self.0.fills_gaps()
    }
}

/// Brings the pages of a slice in, so that reading it does not wait for the disk. False if they cannot be had.
#[cfg(target_os = "linux")]
fn populate(slice: &[u8]) -> bool {
    // SAFETY: a question about a constant of the machine.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let start = slice.as_ptr() as usize / page * page;
    let len = slice.as_ptr() as usize + slice.len() - start;
    // SAFETY: the range lies within pages of a live map, which `slice` keeps alive; the advice changes nothing in it.
    let result = unsafe { libc::madvise(start as *mut libc::c_void, len, libc::MADV_POPULATE_READ) };
    // An older kernel does not know the advice: then the pages come when they are touched.
    result == 0 || !matches!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EFAULT | libc::EHWPOISON))
}

#[cfg(not(target_os = "linux"))]
fn populate(_: &[u8]) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As on Windows.
    #[test]
    fn what_is_not_mapped_is_read_and_noticed_when_it_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let spec = FileSpec { path: folder.path().join("file"), size: 1 << 20 };
        std::fs::write(&spec.path, vec![7; 1 << 20]).unwrap();
        let storage = Maps(Handles::new(std::slice::from_ref(&spec), Access::Read).unwrap(), unmapped);
        assert!(storage.checked(0).unwrap().1.is_none());
        let whole = storage.read(0, 0, 1 << 20).unwrap();
        File::options().write(true).open(&spec.path).unwrap().set_len(4096).unwrap();
        assert!(whole.iter().all(|&byte| byte == 7), "what was read stays");
        assert!(matches!(storage.read(0, 0, 100), Err(StorageError::Changed(_))));
    }

    #[cfg(unix)]
    #[test]
    fn reads_are_slices_of_one_map() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let storage = MmapBackend.open(&[FileSpec { path, size: 1 << 20 }], Access::Read).unwrap();
        let whole = storage.read(0, 0, 1 << 20).unwrap();
        let part = storage.read(0, 4096, 8192).unwrap();
        assert_eq!(whole.slice(4096..4096 + 8192).as_ptr(), part.as_ptr(), "the same bytes, not a copy");
        assert_eq!(part.slice(1..).as_ptr() as usize, part.as_ptr() as usize + 1);
    }

    /// Larger than all addresses that there are: as good as a file system without maps.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_mapped_is_read() {
        use std::io::Write;
        use std::os::unix::fs::FileExt;
        const SIZE: u64 = 1 << 47;
        let made = tempfile::tempfile_in("/dev/shm").and_then(|file| file.set_len(SIZE));
        let (Ok(()), Ok(folder)) = (made, tempfile::tempdir_in("/dev/shm")) else {
            let _ = writeln!(std::io::stderr(), "skipped: no file is large enough here");
            return;
        };
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        file.set_len(SIZE).unwrap();
        file.write_all_at(b"end", SIZE - 3).unwrap();
        // SAFETY: it is not used.
        assert!(unsafe { MmapOptions::new().map(&File::open(&path).unwrap()) }.is_err());
        let storage = MmapBackend.open(&[FileSpec { path, size: SIZE }], Access::Read).unwrap();
        assert_eq!(&storage.read(0, SIZE - 4, 4).unwrap()[..], b"\0end");
    }

    /// The slice was checked and populated; then the file is cut, and only then the slice is touched.
    #[cfg(unix)]
    #[test]
    fn a_slice_of_a_file_that_is_cut_later_can_be_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let storage = MmapBackend.open(&[FileSpec { path: path.clone(), size: 1 << 20 }], Access::Read).unwrap();
        let slice = storage.read(0, 0, 1 << 20).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
        assert_eq!(slice.iter().filter(|&&byte| byte == 7).count(), 4096, "the rest is nothing");
        assert!(matches!(storage.read(0, 0, 100), Err(StorageError::Changed(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_replaced_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["file", "other"].map(|name| folder.path().join(name));
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        std::fs::write(&other, vec![8; 1 << 20]).unwrap();
        let storage = MmapBackend.open(&[FileSpec { path: path.clone(), size: 1 << 20 }], Access::Read).unwrap();
        storage.read(0, 0, 100).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(matches!(storage.read(0, 0, 100), Err(StorageError::Changed(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_cut_is_an_error_and_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let storage = MmapBackend.open(&[FileSpec { path: path.clone(), size: 1 << 20 }], Access::Read).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
        assert!(matches!(storage.read(0, 4096, 100), Err(StorageError::Changed(_))));
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        assert!(matches!(storage.read(0, 0, 100), Err(StorageError::Changed(_))));
    }
}
