//! The files of a content, opened as they are needed, and closed again when the process has too many open (`open_files`).

use std::collections::HashMap;
use std::fs::File;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::file::{is_made_late, make_late, open_file, reopen_file};
use crate::held::Held;
use crate::open_files::{Holder, OpenFiles};
use crate::{Access, FileSpec, StorageError};

/// Up to so many files are made durable one by one; of more, with all that their file system has to write.
#[cfg(target_os = "linux")]
const FEW: usize = 128;

/// Files of a content.
pub(crate) struct Handles<T: Send + Sync + 'static> {
    specs: Vec<FileSpec>,
    /// Where they are reached from, if a folder is held open for that: one for all, since they are of one content.
    held: Option<Arc<Held>>,
    access: Access,
    /// Which of the files to write are there, as far as is known: small ones are made when they are written to.
    made: Vec<AtomicBool>,
    open: Arc<Open<T>>,
    all: &'static OpenFiles,
}

struct Open<T>(Mutex<HashMap<usize, Arc<T>>>);

impl<T: Send + Sync> Holder for Open<T> {
    fn close(&self, file: usize) {
        let closed = self.0.lock().expect("no panic holds it").remove(&file);
        drop(closed);
    }
}

impl<T: Send + Sync + 'static> Handles<T> {
    /// Files to read, of which it is known that they are there; or files to write, which are made if they are not, small ones
    /// as late as they can be.
    pub(crate) fn new(specs: &[FileSpec], access: Access) -> Result<Self, StorageError> {
        Self::among(OpenFiles::of_process(), specs, access)
    }

    fn among(all: &'static OpenFiles, specs: &[FileSpec], access: Access) -> Result<Self, StorageError> {
        let found = specs.first().and_then(|first| Held::of(&first.path));
        let held = found.as_deref();
        if access == Access::Write {
            let mut early = specs.iter().filter(|spec| !is_made_late(held, spec));
            early.try_for_each(|spec| all.open(|| open_file(held, spec, access)).map(drop))?;
        }
        let made = specs.iter().map(|spec| AtomicBool::new(!is_made_late(held, spec))).collect();
        let open = Arc::new(Open(Mutex::new(HashMap::new())));
        Ok(Handles { specs: specs.to_vec(), held: found, access, made, open, all })
    }

    pub(crate) fn spec(&self, file: usize) -> &FileSpec {
        &self.specs[file]
    }

    /// A file, opened by `make` if it is not open.
    pub(crate) fn get(
        &self,
        file: usize,
        make: impl Fn(File, &FileSpec) -> Result<T, StorageError>,
    ) -> Result<Arc<T>, StorageError> {
        if let Some(open) = self.open.0.lock().expect("no panic holds it").get(&file) {
            return Ok(open.clone());
        }
        self.open(file, |spec| reopen_file(self.held.as_deref(), spec, self.access), make)
    }

    /// A file to write to, all of it or a part; it is made now if it is not there.
    pub(crate) fn get_to_write(
        &self,
        file: usize,
        whole: bool,
        make: impl Fn(File, &FileSpec) -> Result<T, StorageError>,
    ) -> Result<Arc<T>, StorageError> {
        if self.made[file].load(Ordering::Relaxed) {
            return self.get(file, make);
        }
        // Should two do it at once, the second one finds what the first has made.
        let opened = self.open(file, |spec| make_late(self.held.as_deref(), spec, whole), make)?;
        self.made[file].store(true, Ordering::Relaxed);
        Ok(opened)
    }

    fn open(
        &self,
        file: usize,
        open: impl Fn(&FileSpec) -> Result<File, StorageError>,
        make: impl Fn(File, &FileSpec) -> Result<T, StorageError>,
    ) -> Result<Arc<T>, StorageError> {
        let spec = &self.specs[file];
        // Not under the lock: opening may wait for the disk. Should two do it at once, both are as good.
        let opened = Arc::new(self.all.open(|| make(open(spec)?, spec))?);
        let before = self.open.0.lock().expect("no panic holds it").insert(file, opened.clone());
        if before.is_none() {
            self.all.opened(&self.open, file);
        }
        Ok(opened)
    }

    /// Makes durable what was written: file by file, by `sync`, or, of many, with all that their file system has to write.
    pub(crate) fn sync(&self, sync: impl Fn(usize, &FileSpec) -> Result<(), StorageError>) -> Result<(), StorageError> {
        if self.access == Access::Read {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        if self.specs.len() > FEW {
            return self.all.open(|| sync_file_system(self.held.as_deref(), &self.specs[0]));
        }
        let mut made = self.specs.iter().enumerate().filter(|&(file, _)| self.made[file].load(Ordering::Relaxed));
        made.try_for_each(|(file, spec)| sync(file, spec))
    }
}

impl<T: Send + Sync> Drop for Handles<T> {
    fn drop(&mut self) {
        self.all.forget(&self.open);
    }
}

/// Makes everything durable that was written to the file system of this file, which need not be there itself: the files of one
/// content lie in one. Since Linux 5.8 errors are told, too.
#[cfg(target_os = "linux")]
fn sync_file_system(held: Option<&Held>, spec: &FileSpec) -> Result<(), StorageError> {
    let folder = spec.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let result = match held {
        Some(held) => held.folder().sync_file_system(),
        None => File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?)),
    };
    result.map_err(|source| crate::error::error_at(folder, source))
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;

    fn specs(folder: &std::path::Path, count: usize) -> Vec<FileSpec> {
        let spec = |number: usize| FileSpec { path: folder.join(number.to_string()), size: 1 };
        (0..count).map(spec).collect()
    }

    #[test]
    fn files_of_all_contents_together_are_no_more_than_may_be_open() {
        let folder = tempfile::tempdir().unwrap();
        static ALL: OnceLock<OpenFiles> = OnceLock::new();
        let all = ALL.get_or_init(|| OpenFiles::new(4));
        let contents: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|name| {
                std::fs::create_dir(folder.path().join(name)).unwrap();
                Handles::among(all, &specs(&folder.path().join(name), 3), Access::Write).unwrap()
            })
            .collect();
        let open = |content: &Handles<File>| {
            let mut files: Vec<_> = content.open.0.lock().unwrap().keys().copied().collect();
            files.sort_unstable();
            files
        };
        let plain = |file, _: &FileSpec| Ok(file);
        for content in &contents {
            (0..3).for_each(|file| drop(content.get_to_write(file, true, plain).unwrap()));
        }
        let three = [0, 1, 2];
        assert_eq!([open(&contents[0]), open(&contents[1]), open(&contents[2])], [vec![], vec![2], three.to_vec()]);
        // What was closed is opened again, and what goes makes room.
        contents[0].get(1, plain).unwrap();
        let mut contents = contents.into_iter();
        let first = contents.next().unwrap();
        drop(contents);
        (0..3).for_each(|file| drop(first.get(file, plain).unwrap()));
        assert_eq!(open(&first), three);
    }

    #[test]
    fn a_process_that_may_open_no_more_closes_others_and_tries_again() {
        let folder = tempfile::tempdir().unwrap();
        static ALL: OnceLock<OpenFiles> = OnceLock::new();
        let all = ALL.get_or_init(|| OpenFiles::new(100));
        let content = Handles::among(all, &specs(folder.path(), 9), Access::Write).unwrap();
        (0..8).for_each(|file| drop(content.get_to_write(file, true, |file, _| Ok(file)).unwrap()));
        let full = |file, spec: &FileSpec| match content.open.0.lock().unwrap().len() {
            3.. => Err(StorageError::TooManyOpen(spec.path.clone())),
            _ => Ok(file),
        };
        content.get_to_write(8, true, full).unwrap();
        let never = |_, spec: &FileSpec| Err(StorageError::TooManyOpen(spec.path.clone()));
        assert!(
            matches!(content.get_to_write(0, true, never), Err(StorageError::TooManyOpen(_))),
            "others have them all"
        );
    }

    /// What an earlier run has left of a file that is made late: nothing, a part, too much, a link.
    #[test]
    fn a_small_file_is_made_when_it_is_written_to_whatever_lies_there() {
        for name in ["mmap", "file"] {
            let folder = tempfile::tempdir().unwrap();
            let spec = |file: &str| FileSpec { path: folder.path().join(file), size: 10 };
            let specs = ["none", "part", "more", "halves", "link"].map(spec);
            std::fs::write(folder.path().join("part"), "abc").unwrap();
            std::fs::write(folder.path().join("more"), "more than there should be").unwrap();
            std::fs::write(folder.path().join("target"), "untouched").unwrap();
            #[cfg(unix)]
            std::os::unix::fs::symlink("target", folder.path().join("link")).unwrap();
            let storage = crate::backend(name).unwrap().open(&specs, Access::Write).unwrap();
            assert!(!specs[0].path.exists(), "nothing was written to it");
            for file in 0..3 {
                assert!(storage.read(file, 0, 10).is_err() || file == 2, "{name} {file}: it is not there yet");
                storage.write(file, 0, b"0123456789").unwrap();
            }
            storage.write(3, 5, b"56789").unwrap();
            storage.write(3, 0, b"01234").unwrap();
            storage.flush().unwrap();
            for (file, spec) in specs[..4].iter().enumerate() {
                assert_eq!(std::fs::read(&spec.path).unwrap(), b"0123456789", "{name}: {spec:?}");
                assert_eq!(&storage.read(file, 0, 10).unwrap()[..], b"0123456789");
            }
            #[cfg(unix)]
            {
                assert!(storage.write(4, 0, b"0123456789").is_err(), "a link is not followed");
                assert_eq!(std::fs::read(folder.path().join("target")).unwrap(), b"untouched");
            }
        }
    }
}
