//! Folders and files of a run: made in an empty place, filled with random bytes, and compared byte by byte.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use tool::interrupt::check_interrupted;

/// A new folder beside what is built: on a real disk, where a temporary folder may be memory.
pub fn run_folder(program: &Path) -> anyhow::Result<PathBuf> {
    let target = program.parent().and_then(Path::parent).context("the program lies in no folder")?;
    new_folder(&target.join("swarm"), &format!("run-{}", std::process::id()))
}

/// A folder that was not there: what a run has left whose process had the same number is what it has left.
fn new_folder(parent: &Path, name: &str) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let names = std::iter::once(name.to_owned()).chain((2..).map(|again| format!("{name}-{again}")));
    for folder in names.map(|name| parent.join(name)) {
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder.clone()).with_context(|| format!("cannot make {}", folder.display())),
        }
    }
    unreachable!("there is always another name")
}

/// Writes and deletes as many bytes as are about to be written. The host of a virtual machine takes free memory back, and
/// the first program to touch it again is several times slower: a scratch file should be that, not what is timed.
pub fn warm_up(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let path = folder.join("scratch");
    let (mut file, block) = (File::create(&path)?, vec![0; 1 << 20]);
    for _ in 0..bytes.div_ceil(block.len() as u64) {
        check_interrupted()?;
        file.write_all(&block)?;
    }
    drop(file);
    Ok(std::fs::remove_file(path)?)
}

/// A file of so many random bytes.
pub fn random_file(folder: &Path, size: u64) -> anyhow::Result<PathBuf> {
    let path = folder.join("random.bin");
    let mut file = File::create(&path)?;
    let mut block = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        check_interrupted()?;
        let len = left.min(block.len() as u64) as usize;
        fastrand::fill(&mut block[..len]);
        file.write_all(&block[..len]).with_context(|| format!("cannot write {}", path.display()))?;
        left -= len as u64;
    }
    Ok(path)
}

/// Where two files differ first, if they do.
pub fn first_difference(left: &Path, right: &Path) -> anyhow::Result<Option<u64>> {
    let (left, right) = (File::open(left)?, File::open(right)?);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        check_interrupted()?;
        one.clear();
        other.clear();
        (&left).take(1 << 20).read_to_end(&mut one)?;
        (&right).take(1 << 20).read_to_end(&mut other)?;
        if one != other {
            let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
            return Ok(Some(at + same as u64));
        }
        if one.is_empty() {
            return Ok(None);
        }
        at += one.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_failed_run_has_left_is_in_nobodys_way() {
        let parent = tempfile::tempdir().unwrap();
        let first = new_folder(parent.path(), "run-7").unwrap();
        fs::write(first.join("random.bin"), "left").unwrap();
        let second = new_folder(parent.path(), "run-7").unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read_dir(second).unwrap().count(), 0);
        assert!(first.join("random.bin").exists());
    }

    #[test]
    fn one_wrong_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let mut bytes = vec![7; (1 << 20) + 100];
        fs::write(path("a"), &bytes).unwrap();
        fs::write(path("b"), &bytes).unwrap();
        assert_eq!(first_difference(&path("a"), &path("b")).unwrap(), None);
        bytes[(1 << 20) + 3] = 8;
        fs::write(path("b"), &bytes).unwrap();
        assert_eq!(first_difference(&path("a"), &path("b")).unwrap(), Some((1 << 20) + 3));
        fs::write(path("b"), &bytes[..50]).unwrap();
        assert_eq!(first_difference(&path("a"), &path("b")).unwrap(), Some(50));
    }
}
