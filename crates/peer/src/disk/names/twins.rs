//! Names that a file system takes for one: "a" and "A", or an accent written in two ways. Which it does, it alone knows, so it
//! is asked.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use super::places::is_short_name;

/// Whether there may be names among these paths, and the folders that they lie in, that are the same somewhere.
pub(crate) fn may_have_twins<'a>(paths: impl Iterator<Item = &'a str>) -> bool {
    !siblings(paths).is_empty()
}

/// Of these paths, and the folders that they lie in, those that would be the same file as an earlier one in an empty folder.
/// Nothing where names are not folded.
pub(crate) fn twins<'a>(paths: impl Iterator<Item = &'a str>, probe: &Path) -> Option<HashSet<String>> {
    let siblings = siblings(paths);
    if siblings.is_empty() || !folds(probe) {
        return None;
    }
    let mut number = 0;
    let found = among(&siblings, |names| {
        number += 1;
        let within = probe.join(number.to_string());
        let made = fs::create_dir(&within).is_ok();
        let is_taken = |name: &&str| {
            let result = File::create_new(within.join(name));
            result.is_err_and(|error| error.kind() == ErrorKind::AlreadyExists)
        };
        let taken = if made { names.iter().copied().filter(is_taken).collect() } else { Vec::new() };
        let _ = fs::remove_dir_all(&within);
        taken
    });
    Some(found)
}

/// Whether names are folded in a folder: by case, by how an accent is written, or by what they end with.
fn folds(probe: &Path) -> bool {
    let is = |name: &str| probe.join(name).symlink_metadata().is_ok();
    let others = ["caf\u{e9}", "CAF\u{e9}", "Cafe\u{301}", "Caf\u{e9}.", "Caf\u{e9} ", "Caf\u{c9}"];
    let made = ["Caf\u{e9}", "Cafe"].map(|name| File::create_new(probe.join(name)).is_ok());
    // Where there is no accent, case may be folded all the same.
    let found = made[0] && others.into_iter().any(is) || made[1] && ["cafe", "Cafe."].into_iter().any(is);
    for name in ["Caf\u{e9}", "Cafe"] {
        let _ = fs::remove_file(probe.join(name));
    }
    found
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
        // Some take no notice of dots and spaces at the end.
        let folded = |name: &str| name.trim_end_matches(['.', ' ']).to_ascii_lowercase();
        // And `LONGNA~1.TXT` may be `longname.text` by another name.
        let may_be_one = |name: &&str| !name.is_ascii() || is_short_name(name) || !lower.insert(folded(name));
        names.len() > 1 && names.iter().any(may_be_one)
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
        let short = siblings(["s/longname.text", "s/LONGNA~1.TEX"].into_iter());
        assert_eq!(short, Siblings::from([("s/", vec!["longname.text", "LONGNA~1.TEX"])]));
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
    fn where_names_are_not_folded_there_are_no_twins() {
        let folder = tempfile::tempdir().unwrap();
        assert!(may_have_twins(["a", "A"].into_iter()) && !may_have_twins(["a", "b"].into_iter()));
        let twins = twins(["a", "A", "b.", "b"].into_iter(), folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        if cfg!(target_os = "linux") {
            assert_eq!(twins, None);
        }
    }
}
