//! Names that a file system takes for one: "a" and "A", or an accent written in two ways. Which it does, it alone knows, so it
//! is asked.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

/// Of these paths, and the folders that they lie in, those that would be the same file as an earlier one in `folder`. Makes a
/// folder there for a moment, if there are names that may be the same.
pub(crate) fn twins<'a>(paths: impl Iterator<Item = &'a str>, folder: &Path) -> HashSet<String> {
    let siblings = siblings(paths);
    if siblings.is_empty() {
        return HashSet::new();
    }
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let probe = there.join(format!(".p2p-names-{:016x}", fastrand::u64(..)));
    if fs::create_dir(&probe).is_err() {
        // Then nothing can be downloaded to it either.
        return HashSet::new();
    }
    let found = if folds(&probe) {
        let mut number = 0;
        among(&siblings, |names| {
            number += 1;
            let within = probe.join(number.to_string());
            let made = fs::create_dir(&within).is_ok();
            let is_taken = |name: &&str| {
                let result = File::create_new(within.join(name));
                result.is_err_and(|error| error.kind() == ErrorKind::AlreadyExists)
            };
            if made { names.iter().copied().filter(is_taken).collect() } else { Vec::new() }
        })
    } else {
        HashSet::new()
    };
    let _ = fs::remove_dir_all(&probe);
    found
}

/// Whether names are folded in a folder: by case, or by how an accent is written.
fn folds(probe: &Path) -> bool {
    let is = |name: &str| probe.join(name).symlink_metadata().is_ok();
    File::create_new(probe.join("Caf\u{e9}")).is_ok() && (is("caf\u{e9}") || is("Cafe\u{301}"))
}

/// Names in one folder, by the path of that, of which some may be the same.
type Siblings<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn siblings<'a>(paths: impl Iterator<Item = &'a str>) -> Siblings<'a> {
    let (mut all, mut seen) = (Siblings::new(), HashSet::new());
    for path in paths {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut start = 0;
        for end in ends {
            if seen.insert(&path[..end]) {
                all.entry(&path[..start]).or_default().push(&path[start..end]);
            }
            start = end + 1;
        }
    }
    all.retain(|_, names| {
        let mut lower = HashSet::new();
        names.len() > 1 && names.iter().any(|name| !name.is_ascii() || !lower.insert(name.to_ascii_lowercase()))
    });
    all
}

/// Paths of the names that `taken` says are the same as earlier ones.
fn among<'a>(siblings: &Siblings<'a>, mut taken: impl FnMut(&[&'a str]) -> Vec<&'a str>) -> HashSet<String> {
    let found = siblings.iter().flat_map(|(folder, names)| {
        let taken = taken(names);
        taken.into_iter().map(move |name| format!("{folder}{name}"))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_may_be_the_same_are_asked_for() {
        assert!(siblings(["f/a", "f/b", "f/d/a", "g/A"].into_iter()).is_empty());
        let paths = ["f/a", "f/A", "f/d/x", "f/D/x", "f/é", "g/b"];
        let found = siblings(paths.into_iter());
        assert_eq!(found, Siblings::from([("f/", vec!["a", "A", "d", "D", "é"])]));
        let lower = |names: &[&'static str]| {
            let mut seen = HashSet::new();
            names.iter().copied().filter(|name| !seen.insert(name.to_lowercase())).collect()
        };
        assert_eq!(among(&found, lower), HashSet::from(["f/A".to_owned(), "f/D".to_owned()]));
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let twins = twins(["a", "A"].into_iter(), &folder.path().join("not there"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        if cfg!(target_os = "linux") {
            assert!(twins.is_empty(), "{twins:?}");
        }
    }
}
