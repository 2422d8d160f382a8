//! Plain files with positional reads and writes: the backend without maps.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::in_range;
use crate::handles::Handles;
use crate::open::read_at;
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
        if len == 0 {
            return Ok(Bytes::new());
        }
        self.0.read_again(file, || {
            let open = self.0.get(file, plain)?;
            self.0.check(file, &open)?;
            let bytes = read_at(&open, spec, offset, len)?;
            // What was changed meanwhile is not handed out either.
            self.0.check(file, &open)?;
            Ok(bytes)
        })
    }

    fn write(&self, file: usize, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.0.write(file, offset, data, plain)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.0.sync(|file| self.0.get(file, plain))
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::error::error_of_new;

    /// As exFAT says of a colon, and others of a name that is too long.
    #[test]
    fn a_name_that_a_file_system_does_not_take_is_not_a_file_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let spec = FileSpec { path: folder.path().join("x".repeat(300)), size: 10 };
        let storage = FileBackend.open(&[spec], Access::Write).unwrap();
        let error = storage.write(0, 0, b"0123456789").unwrap_err();
        assert!(matches!(error, StorageError::NoSuchName(_)), "{error}");
        assert!(matches!(error_of_new(Path::new("a:b"), io::ErrorKind::NotFound.into()), StorageError::NoSuchName(_)));
    }
}
