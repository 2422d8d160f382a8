//! Which files are open, and what is made durable.

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
        (0..3).for_each(|file| content.write(file, 0, b"x", plain).unwrap());
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
    (0..8).for_each(|file| content.write(file, 0, b"x", |file, _| Ok(file)).unwrap());
    let full = |file, spec: &FileSpec| match content.open.0.lock().unwrap().len() {
        3.. => Err(StorageError::TooManyOpen(spec.path.clone())),
        _ => Ok(file),
    };
    content.write(8, 0, b"x", full).unwrap();
    let never = |_, spec: &FileSpec| Err(StorageError::TooManyOpen(spec.path.clone()));
    assert!(matches!(content.write(0, 0, b"x", never), Err(StorageError::TooManyOpen(_))), "others have them all");
}

#[test]
fn each_file_is_synced_once_however_many_claims_there_are() {
    let folder = tempfile::tempdir().unwrap();
    static ALL: OnceLock<OpenFiles> = OnceLock::new();
    let all = ALL.get_or_init(|| OpenFiles::new(10));
    let content = Handles::among(all, &specs(folder.path(), 100), Access::Write).unwrap();
    let (synced, full) = (Cell::new(0), Cell::new(0));
    let count = |_, last| {
        synced.set(synced.get() + 1);
        full.set(full.get() + usize::from(last));
        Ok(())
    };
    for file in 0..100 {
        content.write(file, 0, b"x", |file, _| Ok(file)).unwrap();
        if file % 10 == 9 {
            content.sync_by(count).unwrap();
        }
    }
    content.sync_by(count).unwrap();
    assert_eq!((synced.get(), full.get()), (100, 10), "one full flush of the disk for each claim");
    content.write(7, 0, b"y", |file, _| Ok(file)).unwrap();
    let fails = |_, _| Err(StorageError::Full(folder.path().to_owned()));
    assert!(content.sync_by(fails).is_err());
    content.sync_by(count).unwrap();
    assert_eq!(synced.get(), 101, "what failed is tried again");
}

#[test]
fn files_of_an_earlier_run_are_synced_before_anything_of_them_is_claimed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0"), "x").unwrap();
    let content = Handles::new(&specs(folder.path(), 2), Access::Write).unwrap();
    content.write(0, 0, b"x", |file, _| Ok(file)).unwrap();
    content.sync_by(|_, _| Ok(())).unwrap();
    content.sync_by(|_, _| panic!("it is durable")).unwrap();
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

/// As a network drive is read that was away: what was open of it stays dead.
#[test]
fn a_file_is_opened_anew_once_its_disk_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let specs = specs(folder.path(), 1);
    std::fs::write(&specs[0].path, "x").unwrap();
    let content = Handles::new(&specs, Access::Read).unwrap();
    let plain = |file, _: &FileSpec| Ok(file);
    let failed = || StorageError::Io {
        path: specs[0].path.clone(),
        source: std::io::Error::from_raw_os_error(if cfg!(windows) { 64 } else { 5 }),
    };
    let opened = content.get(0, plain).unwrap();
    let read = || {
        let open = content.get(0, plain)?;
        if Arc::ptr_eq(&open, &opened) { Err(failed()) } else { Ok(()) }
    };
    content.read_again(0, read).unwrap();
    assert!(content.read_again(0, || Err::<(), _>(failed())).is_err(), "it fails still");
}

/// On FAT and exFAT macOS gives all files without bytes one number.
#[cfg(unix)]
#[test]
fn a_file_without_bytes_is_not_told_from_others_by_its_number() {
    let file = tempfile::tempfile().unwrap();
    let tells = || identity(&file, &file.metadata().unwrap()).is_some();
    assert!(!tells());
    file.set_len(1).unwrap();
    assert!(tells());
}
