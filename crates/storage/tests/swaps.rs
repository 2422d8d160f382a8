//! Somebody else who may write to the output folder puts links where a download is about to write, again and again: nothing
//! is written, made, renamed or given rights outside.
#![cfg(unix)]

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, symlinkat, unlinkat};

use p2p_fileshare_storage::{Access, Held, Output, StorageError, backend, make_executable};

static BYTES: [u8; 20_000] = [7; 20_000];

/// What lies in a folder, with sizes and rights.
fn snapshot(folder: &Path) -> Vec<(std::path::PathBuf, u64, u32)> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let there = fs::symlink_metadata(&path).unwrap();
        if there.is_dir() {
            seen.extend(snapshot(&path));
        }
        seen.push((path, if there.is_dir() { 0 } else { there.len() }, there.mode()));
    }
    seen.sort();
    seen
}

/// All of a download into `output`, as far as it gets.
fn download(output: &Path, kind: &str, files: &[(String, u64, bool)], is_folder: bool) -> Result<(), StorageError> {
    let backend = backend(kind).unwrap();
    let output = Output::prepare(output, "a", is_folder, files, &["empty/one".to_owned()][..usize::from(is_folder)])?;
    let storage = backend.open(&output.specs(), Access::Write)?;
    for (file, (_, size, _)) in files.iter().enumerate() {
        storage.write(file, 0, &BYTES[..*size as usize])?;
    }
    storage.flush()?;
    if !backend.persistent() {
        output.write_out(&*storage)?;
    }
    output.finish().map(drop)
}

/// The open folder that something is in, reached without a link: what is swapped must not be the outside itself.
fn parent<'a>(output: &Path, name: &'a str) -> Option<(OwnedFd, &'a str)> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut folder = rustix::fs::open(output, flags, Mode::empty()).ok()?;
    let (above, name) = name.rsplit_once('/').unwrap_or(("", name));
    for step in above.split('/').filter(|step| !step.is_empty()) {
        folder = openat(&folder, step, flags, Mode::empty()).ok()?;
    }
    Some((folder, name))
}

/// Swaps each of these names for a link to the folder or the file outside, and back, until it is told to stop.
fn swap(output: &Path, outside: &Path, names: &[&str], stop: &AtomicBool) {
    let top = rustix::fs::open(output, OFlags::DIRECTORY, Mode::empty()).unwrap();
    while !stop.load(Ordering::Relaxed) {
        for name in names {
            let Some((folder, name)) = parent(output, name) else { continue };
            let target = outside.join(if name.ends_with('f') { "file" } else { "folder" });
            let moved = renameat(&folder, name, &top, "aside").is_ok();
            let linked = symlinkat(&target, &folder, name).is_ok();
            std::thread::yield_now();
            // Only a link can be taken away like this, and a file that came in its place.
            if linked {
                let _ = unlinkat(&folder, name, AtFlags::empty());
            }
            if moved && renameat(&top, "aside", &folder, name).is_err() {
                let _ = fs::remove_dir_all(output.join("aside"));
                let _ = fs::remove_file(output.join("aside"));
            }
        }
    }
}

#[test]
fn links_that_are_swapped_in_while_a_download_is_written_lead_nowhere() {
    let files: Vec<_> = [("d/e/f", 20_000), ("d/e/small", 10), ("d/f", 1), ("f", 17_000), ("g/f", 0)]
        .map(|(path, size)| (path.to_owned(), size, true))
        .to_vec();
    let names =
        [".a.part/d/e", ".a.part/d", ".a.part/g", ".a.part", ".a.part/d/e/f", "a/d", "a", ".a.lock", ".a.part.journal"];
    for kind in ["file", "mmap", "memory"] {
        for is_folder in [true, false] {
            let world = tempfile::tempdir().unwrap();
            let (outside, output) = (world.path().join("outside"), world.path().join("output"));
            fs::create_dir_all(outside.join("folder/d/e")).unwrap();
            fs::create_dir_all(&output).unwrap();
            for file in ["file", "folder/f", "folder/d/f", "folder/d/e/f", "folder/e"] {
                fs::write(outside.join(file), "mine").unwrap();
                fs::set_permissions(outside.join(file), PermissionsExt::from_mode(0o600)).unwrap();
            }
            let before = snapshot(&outside);
            let (stop, files) = (AtomicBool::new(false), if is_folder { &files[..] } else { &files[3..4] });
            let files: Vec<_> = files
                .iter()
                .map(|(path, size, executable)| (if is_folder { path.clone() } else { "a".into() }, *size, *executable))
                .collect();
            std::thread::scope(|scope| {
                scope.spawn(|| swap(&output, &outside, &names, &stop));
                for _ in 0..150 {
                    let _ = download(&output, kind, &files, is_folder);
                    let _ = fs::remove_dir_all(output.join("a"));
                    let _ = fs::remove_file(output.join("a"));
                }
                stop.store(true, Ordering::Relaxed);
            });
            assert_eq!(snapshot(&outside), before, "{kind}, folder: {is_folder}");
        }
    }
}

/// What is served on after a download is what was downloaded, and nothing of its owner's that somebody has linked there.
#[test]
fn a_link_in_place_of_a_finished_file_is_neither_read_nor_made_executable() {
    let world = tempfile::tempdir().unwrap();
    let (secret, output) = (world.path().join("secret"), world.path().join("output"));
    for paths in [None, Some("d/f")] {
        fs::create_dir_all(&output).unwrap();
        fs::write(&secret, BYTES).unwrap();
        fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let files = [(paths.unwrap_or("a").to_owned(), 20_000, false)];
        let prepared = Output::prepare(&output, "a", paths.is_some(), &files, &[]).unwrap();
        let storage = backend("file").unwrap().open(&prepared.specs(), Access::Write).unwrap();
        storage.write(0, 0, &BYTES).unwrap();
        let _held = prepared.hold_target();
        let path = prepared.finish().unwrap();
        let file = paths.map_or(path.clone(), |inside| path.join(inside));
        fs::remove_file(&file).unwrap();
        symlink(&secret, &file).unwrap();
        for kind in ["file", "mmap"] {
            let spec = p2p_fileshare_storage::FileSpec { path: file.clone(), size: 20_000 };
            let opened = backend(kind).unwrap().open(&[spec], Access::Read);
            assert!(opened.and_then(|storage| storage.read(0, 0, 1)).is_err(), "{kind}");
        }
        assert!(make_executable(&file).is_err());
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(&output).unwrap();
    }
}

/// Its bytes would go into a file of its owner's elsewhere, to which somebody has given this name as well.
#[test]
fn a_part_with_another_name_elsewhere_is_not_written_to() {
    let world = tempfile::tempdir().unwrap();
    let output = world.path().join("output");
    for (part, files, is_folder) in [(".a.part", "a", false), (".a.part/x", "x", true), (".a.part/x", "x", true)] {
        fs::create_dir_all(output.join(part).parent().unwrap()).unwrap();
        fs::write(output.join(".a.lock"), "").unwrap();
        let victim = world.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        fs::hard_link(&victim, output.join(part)).unwrap();
        for kind in ["file", "mmap", "memory"] {
            assert!(download(&output, kind, &[(files.to_owned(), 17_000, false)], is_folder).is_err(), "{part} {kind}");
            assert_eq!(fs::read(&victim).unwrap(), b"mine", "{part} {kind}");
        }
        fs::remove_dir_all(&output).unwrap();
    }
}

#[test]
fn a_download_is_for_its_owner_alone_until_it_is_finished() {
    let world = tempfile::tempdir().unwrap();
    let usual = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    fs::write(world.path().join("file"), "").unwrap();
    fs::create_dir(world.path().join("folder")).unwrap();
    for (name, is_folder) in [("a", false), ("b", true)] {
        let path = if is_folder { "x/y".to_owned() } else { name.to_owned() };
        let output = Output::prepare(world.path(), name, is_folder, &[(path, 20_000, false)], &[]).unwrap();
        let storage = backend("mmap").unwrap().open(&output.specs(), Access::Write).unwrap();
        storage.write(0, 0, &BYTES).unwrap();
        let part = world.path().join(format!(".{name}.part"));
        assert_eq!(usual(&part) & 0o077, 0, "{name}");
        let target = output.finish().unwrap();
        let like = world.path().join(if is_folder { "folder" } else { "file" });
        assert_eq!(usual(&target), usual(&like), "{name}");
        if is_folder {
            assert_eq!(usual(&target.join("x")), usual(&like));
            assert_eq!(usual(&target.join("x/y")), usual(&world.path().join("file")));
        }
    }
    assert_eq!(fs::read_dir(world.path()).unwrap().count(), 4, "nothing is left beside them");
}

/// A file that is replaced hands its rights on, but not setuid or setgid.
#[test]
fn no_file_that_comes_runs_as_its_owner() {
    let world = tempfile::tempdir().unwrap();
    for is_folder in [false, true] {
        let old = if is_folder { world.path().join("b/x") } else { world.path().join("a") };
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        fs::write(&old, "old").unwrap();
        fs::set_permissions(&old, PermissionsExt::from_mode(0o6751)).unwrap();
        let (name, path) = if is_folder { ("b", "x") } else { ("a", "a") };
        let mut output = Output::prepare(world.path(), name, is_folder, &[(path.into(), 4, true)], &[]).unwrap();
        output = if is_folder { output.replacing().merging().unwrap() } else { output.replacing() };
        let storage = backend("file").unwrap().open(&output.specs(), Access::Write).unwrap();
        storage.write(0, 0, b"new!").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"new!");
        assert_eq!(fs::metadata(&old).unwrap().mode() & 0o7777, 0o751);
        fs::set_permissions(&old, PermissionsExt::from_mode(0o4644)).unwrap();
        make_executable(&old).unwrap();
        assert_eq!(fs::metadata(&old).unwrap().mode() & 0o7777, 0o755);
    }
}

#[test]
fn a_half_of_a_folder_that_an_earlier_version_left_open_is_closed_to_others() {
    let world = tempfile::tempdir().unwrap();
    let prepare = || Output::prepare(world.path(), "b", true, &[("x".into(), 4, false)], &[]).unwrap();
    drop(prepare());
    let part = world.path().join(".b.part");
    fs::set_permissions(&part, PermissionsExt::from_mode(0o755)).unwrap();
    drop(prepare());
    assert_eq!(fs::metadata(&part).unwrap().mode() & 0o7777, 0o700);
}

/// A folder that is held is the one that was opened, whatever has its name now.
#[test]
fn an_output_folder_that_is_swapped_for_a_link_is_written_to_where_it_is() {
    let world = tempfile::tempdir().unwrap();
    let [output, moved, outside] = ["output", "moved", "outside"].map(|name| world.path().join(name));
    fs::create_dir(&outside).unwrap();
    let prepared = Output::prepare(&output, "a", true, &[("d/f".into(), 20_000, false)], &[]).unwrap();
    let storage = backend("mmap").unwrap().open(&prepared.specs(), Access::Write).unwrap();
    fs::rename(&output, &moved).unwrap();
    symlink(&outside, &output).unwrap();
    storage.write(0, 0, &BYTES).unwrap();
    storage.flush().unwrap();
    // A reported path would not lead to it.
    assert!(matches!(prepared.finish(), Err(StorageError::Moved(_))));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(fs::read(moved.join("a/d/f")).unwrap(), BYTES);
}

/// What is shared is what lies in the folder that was named.
#[test]
fn a_link_in_a_folder_that_is_held_is_not_read() {
    let world = tempfile::tempdir().unwrap();
    let shared = world.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(world.path().join("secret"), BYTES).unwrap();
    symlink("../secret", shared.join("f")).unwrap();
    let held = Held::new(&p2p_fileshare_storage::Folder::open(&shared).unwrap(), "");
    let spec = p2p_fileshare_storage::FileSpec { path: shared.join("f"), size: 20_000 };
    for kind in ["file", "mmap"] {
        assert!(backend(kind).unwrap().open(std::slice::from_ref(&spec), Access::Read).is_err(), "{kind}");
    }
    drop(held);
    assert!(backend("file").unwrap().open(&[spec], Access::Read).is_ok(), "who is not told to hold it follows links");
}

/// Known before anything is downloaded. To root everything is allowed: then nothing is shown.
#[test]
fn a_folder_that_nothing_can_be_put_into_is_refused_at_the_start() {
    let world = tempfile::tempdir().unwrap();
    let target = world.path().join("b");
    fs::create_dir_all(target.join("deep")).unwrap();
    fs::set_permissions(&target, PermissionsExt::from_mode(0o555)).unwrap();
    if fs::write(target.join("probe"), "").is_ok() {
        return;
    }
    let merge =
        |path: &str| Output::prepare(world.path(), "b", true, &[(path.into(), 4, false)], &[]).unwrap().merging();
    assert!(matches!(merge("x"), Err(StorageError::Denied(_))));
    assert_eq!(fs::read_dir(world.path()).unwrap().count(), 1, "nothing is left");
    merge("deep/x").unwrap();
    fs::set_permissions(&target, PermissionsExt::from_mode(0o755)).unwrap();
}
