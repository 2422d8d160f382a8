//! Plain files with positional reads and writes: the backend without maps.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{error_at, in_range};
use crate::handles::Handles;
use crate::{Access, Backend, FileSpec, Storage, StorageError};

/// Files up to this size are small: a call less for each counts more than what it would do for so few bytes.
pub(crate) const SMALL: u64 = 16 << 10;

/// Positional reads and writes, and `fdatasync`.
pub struct FileBackend;

impl Backend for FileBackend {
    fn name(&self) -> &'static str {
        "file"
    }

    fn persistent(&self) -> bool {
        true
    }

    fn open(&self, files: &[FileSpec], access: Access) -> Result<Arc<dyn Storage>, StorageError> {
        if access == Access::Read {
            files.iter().try_for_each(|spec| look(spec).map(drop))?;
        }
        Ok(Arc::new(Files(Handles::new(files, access)?)))
    }
}

struct Files(Handles<File>);

fn plain(file: File, _: &FileSpec) -> Result<File, StorageError> {
    Ok(file)
}

impl Storage for Files {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let spec = self.0.spec(file);
        in_range(offset, len, spec.size)?;
        let mut bytes = vec![0; len];
        read_exact_at(&*self.0.get(file, plain)?, &mut bytes, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => StorageError::Changed(spec.path.clone()),
            _ => error_at(&spec.path, source),
        })?;
        Ok(bytes.into())
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let spec = self.0.spec(file);
        in_range(offset, data.len(), spec.size)?;
        let whole = data.len() as u64 == spec.size;
        write_all_at(&*self.0.get_to_write(file, whole, plain)?, data, offset)
            .map_err(|source| error_at(&spec.path, source))
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.0.sync(|file, spec| self.0.get(file, plain)?.sync_data().map_err(|source| error_at(&spec.path, source)))
    }
}

/// Looks at a file that is to be read: it must have its size.
pub(crate) fn look(spec: &FileSpec) -> Result<Metadata, StorageError> {
    let there = std::fs::metadata(&spec.path).map_err(|source| error_at(&spec.path, source))?;
    if there.len() == spec.size { Ok(there) } else { Err(StorageError::Changed(spec.path.clone())) }
}

/// Opens one file for a backend that keeps files. What is to be written is made with its full size, and its space is
/// reserved, so that a full disk shows at the start.
pub(crate) fn open_file(spec: &FileSpec, access: Access) -> Result<File, StorageError> {
    let error = |source| error_at(&spec.path, source);
    match access {
        Access::Read => {
            let file = File::open(&spec.path).map_err(error)?;
            if file.metadata().map_err(error)?.len() != spec.size {
                return Err(StorageError::Changed(spec.path.clone()));
            }
            Ok(file)
        }
        Access::Write => {
            let file = without_links().create(true).open(&spec.path).map_err(error)?;
            if file.metadata().map_err(error)?.len() != spec.size {
                file.set_len(spec.size).map_err(error)?;
            }
            // Again at each start: the first may have found no room. What fits into a few blocks is not worth the call. Not
            // every file system can reserve; then a full disk shows when it is full.
            if spec.size > SMALL
                && let Err(source) = fs4::FileExt::allocate(&file, spec.size)
                && source.kind() == io::ErrorKind::StorageFull
            {
                return Err(error(source));
            }
            Ok(file)
        }
    }
}

/// Whether a file is made only when something is written to it: what most of a folder of many small files costs is calls, and
/// their space is not reserved anyway. An empty file is never written to.
pub(crate) fn is_made_late(spec: &FileSpec) -> bool {
    (1..=SMALL).contains(&spec.size)
}

/// Makes such a file, to write to it: all of it, or a part. One that an earlier run has left is used as it is.
pub(crate) fn make_late(spec: &FileSpec, whole: bool) -> Result<File, StorageError> {
    // A link in its place is something that is there, and not followed.
    let file = match OpenOptions::new().read(true).write(true).create_new(true).open(&spec.path) {
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => return open_file(spec, Access::Write),
        file => file.map_err(|source| error_at(&spec.path, source))?,
    };
    if !whole {
        file.set_len(spec.size).map_err(|source| error_at(&spec.path, source))?;
    }
    Ok(file)
}

/// Opens a file again that was made or checked.
pub(crate) fn reopen_file(spec: &FileSpec, access: Access) -> Result<File, StorageError> {
    match access {
        Access::Read => open_file(spec, access),
        Access::Write => {
            let mut options = without_links();
            options.create(!is_made_late(spec)).open(&spec.path).map_err(|source| error_at(&spec.path, source))
        }
    }
}

/// Opens for reading and writing; a link is not followed.
fn without_links() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
    options
}

#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, data, offset)
}

#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                bytes = &mut bytes[count..];
                offset += count as u64;
            }
        }
    }
    Ok(())
}

#[cfg(windows)]
pub(crate) fn write_all_at(file: &File, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_write(file, data, offset)?;
        data = &data[count..];
        offset += count as u64;
    }
    Ok(())
}
