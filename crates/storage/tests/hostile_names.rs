//! Names of someone who means harm, and links that lie in wait: nothing outside the output folder is touched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use p2p_fileshare_storage::{Access, Output, StorageError, backend};
use protocol::{check_local_name, check_name};

/// Some hundreds of names, none of which may be a file's on Windows, and many not anywhere.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let prefixes = [
        "../",
        "..\\",
        "/",
        "\\",
        "//",
        "\\\\",
        "C:",
        "C:\\",
        "C:/",
        "\\\\?\\C:\\",
        "\\\\.\\",
        "file:///",
        "~/",
        "./",
        ".\\",
        "a/../",
        "a\\..\\",
        "..//",
        "....//",
        "..\\../",
        "../../../../../../",
        "..\\..\\..\\..\\",
        "\\\\server\\share\\",
    ];
    for prefix in prefixes {
        for target in ["evil", "etc/passwd", "Windows\\win.ini", ".ssh/authorized_keys"] {
            names.push(format!("{prefix}{target}"));
        }
    }
    let numbered = ["COM", "LPT"].iter().flat_map(|device| (0..=9).map(move |number| format!("{device}{number}")));
    let named = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "COM¹", "COM²", "COM³", "LPT¹"].map(str::to_owned);
    for device in numbered.chain(named) {
        names.extend([
            device.to_lowercase(),
            format!("{device}.txt"),
            format!("{device} .tar.gz"),
            format!("{device}:x"),
        ]);
    }
    for character in "*?\"<>|:\\".chars().chain((0..32u8).map(char::from)) {
        names.push(format!("a{character}b"));
    }
    let odd =
        ["", ".", "..", "...", "....", "a.", "a ", "a. ", "a .", " .", "a\0", "\0a", "..\0", "../\0", "a/b", "/", "a/"];
    names.extend(odd.map(str::to_owned));
    names.extend([256, 257, 1000, 70_000].map(|len| "x".repeat(len)));
    names.push("ü".repeat(128));
    names
}

/// Everything below a folder: paths, kinds, and bytes.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            seen.extend(snapshot(&path));
        }
        let bytes =
            if meta.is_file() { fs::read(&path).unwrap() } else { format!("{:?}", meta.file_type()).into_bytes() };
        seen.insert(path, bytes);
    }
    seen
}

/// All of a download, as far as it gets.
fn download(folder: &Path, storage: &str, name: &str, paths: Option<&[&str]>) -> Result<PathBuf, StorageError> {
    let files: Vec<_> = paths.unwrap_or(&[name]).iter().map(|path| ((*path).to_owned(), 5, false)).collect();
    let backend = backend(storage).unwrap();
    let output = Output::prepare(folder, name, paths.is_some(), &files, &[])?;
    let storage = backend.open(&output.specs(), Access::Write)?;
    (0..files.len()).try_for_each(|file| storage.write(file, 0, b"bytes"))?;
    storage.flush()?;
    if !backend.persistent() {
        output.write_out(&*storage)?;
    }
    drop(storage);
    output.finish()
}

#[test]
fn hundreds_of_hostile_names_leave_everything_else_alone() {
    let world = tempfile::tempdir().unwrap();
    let (outside, output) = (world.path().join("outside"), world.path().join("home/output"));
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("evil"), "mine").unwrap();
    let names = hostile_names();
    assert!(names.len() >= 200, "{}", names.len());
    for name in &names {
        assert!(check_local_name(name, true).is_err(), "{name:?} is no name on Windows");
        for paths in [None, Some(&[name.as_str()][..]), Some(&["fine", &format!("deep/{name}")])] {
            for (name, paths) in [(name.as_str(), paths), ("content", paths.or(Some(&[name])))] {
                fs::create_dir_all(&output).unwrap();
                let result = download(&output, "file", name, paths);
                let mut parts = paths.into_iter().flatten().flat_map(|path| path.split('/')).chain([name]);
                if parts.any(|part| check_name(part).is_err()) {
                    assert!(result.is_err(), "{name:?} {paths:?} was taken");
                }
                if let Ok(path) = result {
                    assert_eq!(path.parent(), Some(&*output), "{name:?}");
                }
                fs::remove_dir_all(&output).unwrap();
                let left: Vec<_> = snapshot(world.path()).into_keys().collect();
                assert_eq!(
                    left,
                    [world.path().join("home"), outside.clone(), outside.join("evil")],
                    "{name:?} {paths:?}"
                );
            }
        }
    }
    assert_eq!(fs::read(outside.join("evil")).unwrap(), b"mine");
}

/// A manifest of a megabyte once made 182,021 folders before a single piece was known.
#[test]
fn a_folder_is_made_when_its_first_file_comes_and_an_empty_one_at_the_end() {
    for storage in ["file", "mmap"] {
        let output = tempfile::tempdir().unwrap();
        let files: Vec<_> = (0..300u64).map(|n| (format!("{}/{n}/f", n % 10), (n % 3) * 20_000, false)).collect();
        let prepared = Output::prepare(output.path(), "a", true, &files, &["empty/one".to_owned()]).unwrap();
        let backend = backend(storage).unwrap();
        let open = backend.open(&prepared.specs(), Access::Write).unwrap();
        let part = output.path().join(".a.part");
        assert_eq!(snapshot(&part).len(), 0, "nothing has come");
        open.write(11, 0, b"bytes").unwrap();
        let made: Vec<_> = snapshot(&part).into_keys().collect();
        assert_eq!(made, ["1", "1/11", "1/11/f"].map(|path| part.join(path)));
        for (number, (_, size, _)) in files.iter().enumerate().filter(|(_, (_, size, _))| *size > 0) {
            open.write(number, 0, &vec![7; *size as usize]).unwrap();
        }
        assert!(!part.join("empty").exists() && !part.join("0/0").exists());
        let target = prepared.finish().unwrap();
        assert!(target.join("empty/one").is_dir() && target.join("0/0/f").is_file());
        assert_eq!(snapshot(&target).len(), 300 + 300 + 10 + 2);
    }
}

/// Wherever a link could lie, it lies, and leads out.
#[cfg(unix)]
#[test]
fn links_in_the_output_folder_are_not_followed() {
    use std::os::unix::fs::symlink;
    let beside = [".a.part", ".a.lock", ".a.part.journal", "a"];
    let inside = [".a.part/x", ".a.part/dir", ".a.part/dir/y"];
    for link in beside.iter().chain(&inside) {
        for to_folder in [false, true] {
            for storage in ["file", "mmap", "memory"] {
                for paths in [None, Some(&["x", "dir/y"][..])] {
                    let world = tempfile::tempdir().unwrap();
                    let (outside, output) = (world.path().join("outside"), world.path().join("output"));
                    fs::create_dir_all(outside.join("folder")).unwrap();
                    fs::write(outside.join("victim"), "mine, and longer than what comes").unwrap();
                    let at = output.join(link);
                    fs::create_dir_all(at.parent().unwrap()).unwrap();
                    symlink(outside.join(if to_folder { "folder" } else { "victim" }), &at).unwrap();
                    let before = snapshot(&outside);
                    let result = download(&output, storage, "a", paths);
                    assert_eq!(snapshot(&outside), before, "{link} with {storage}: {result:?}");
                    assert!(fs::symlink_metadata(&at).is_ok_and(|seen| seen.is_symlink()), "{link} is still there");
                }
            }
        }
    }
}

/// A content named like the state of another download was once taken for it, and written over.
#[test]
fn state_of_a_download_is_neither_given_as_a_name_nor_taken_from_others() {
    let output = tempfile::tempdir().unwrap();
    for state in [".a.part", ".a.part.journal", ".a.lock"] {
        assert!(download(output.path(), "file", state, None).is_err(), "{state} was taken");
    }
    // Inside a folder nothing is kept but what belongs there.
    download(output.path(), "file", "folder", Some(&[".a.part", ".a.lock"])).unwrap();
    for foreign in [".a.part", ".a.part.journal", ".a.lock"] {
        let path = output.path().join(foreign);
        fs::write(&path, "mine").unwrap();
        assert!(matches!(download(output.path(), "file", "a", None), Err(StorageError::NotOurs(at)) if at == path));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
    }
    download(output.path(), "file", "a", None).unwrap();
}
