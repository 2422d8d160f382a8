//! Plain files with positional reads and writes: the backend without maps.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{error_at, in_range};
use crate::{Access, Backend, FileSpec, Storage, StorageError};

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
        let open = |spec: &FileSpec| Ok(Opened { file: open_file(spec, access)?, spec: spec.clone() });
        Ok(Arc::new(Files(files.iter().map(open).collect::<Result<_, StorageError>>()?)))
    }
}

struct Files(Vec<Opened>);

struct Opened {
    file: File,
    spec: FileSpec,
}

impl Storage for Files {
    fn read(&self, file: usize, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let Opened { file, spec } = &self.0[file];
        in_range(offset, len, spec.size)?;
        let mut bytes = vec![0; len];
        read_exact_at(file, &mut bytes, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => StorageError::Changed(spec.path.clone()),
            _ => error_at(&spec.path, source),
        })?;
        Ok(bytes.into())
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let Opened { file, spec } = &self.0[file];
        in_range(offset, data.len(), spec.size)?;
        write_all_at(file, data, offset).map_err(|source| error_at(&spec.path, source))
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.0.iter().try_for_each(|Opened { file, spec }| file.sync_data().map_err(|e| error_at(&spec.path, e)))
    }
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
            let file = no_follow(&spec.path).map_err(error)?;
            if file.metadata().map_err(error)?.len() != spec.size {
                file.set_len(spec.size).map_err(error)?;
            }
            // Again at each start: the first may have found no room. Not every file system can reserve; then a full disk
            // shows when it is full.
            if let Err(source) = fs4::FileExt::allocate(&file, spec.size)
                && source.kind() == io::ErrorKind::StorageFull
            {
                return Err(error(source));
            }
            Ok(file)
        }
    }
}

#[cfg(unix)]
fn no_follow(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW).open(path)
}

#[cfg(not(unix))]
fn no_follow(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
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
