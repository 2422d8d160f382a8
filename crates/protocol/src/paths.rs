//! Which paths may stand together in a manifest: not too long, not too deep, none inside another, and no more folders than
//! the files need.
//!
//! A manifest comes from a stranger, so all of this is one pass over the sorted paths: no prefix is copied or hashed, and the
//! cost grows with the bytes of the paths, not with what their parts could be combined to.

use std::cmp::Ordering;

use crate::name::check_name;
use crate::{ManifestError, NameError};

/// Most bytes of a path inside a content.
pub const MAX_PATH_BYTES: usize = 4096;
/// Most parts of a path: its folders and its own name.
pub const MAX_PATH_PARTS: usize = 128;
/// Most folders for each file or empty folder, beside the [`MAX_PATH_PARTS`] that a single path may have anyway.
const FOLDERS_EACH: usize = 16;

/// Checks the path of a file or an empty folder inside a content.
pub fn check_path(path: &str) -> Result<(), NameError> {
    // Before anything is done with it: a path of megabytes is not even taken apart.
    if path.len() > MAX_PATH_BYTES {
        return Err(NameError::PathTooLong(path.len()));
    }
    for (number, part) in path.split('/').enumerate() {
        if number == MAX_PATH_PARTS {
            return Err(NameError::TooDeep);
        }
        check_name(part)?;
    }
    Ok(())
}

/// The order of paths in which a folder is followed by all that is in it: by bytes, with `/` before everything else.
pub fn path_order(one: &str, other: &str) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let same = common(one, other);
    #[cfg(test)]
    tests::count(same + 1);
    match (one.get(same), other.get(same)) {
        (Some(&one), Some(&other)) => rank(one).cmp(&rank(other)),
        (one, other) => one.cmp(&other),
    }
}

/// How many folders of `path` are not folders of `before`, the path that comes before it in [`path_order`]: counted over all
/// paths, each folder once.
pub fn new_folders(before: &str, path: &str) -> usize {
    let same = common(before.as_bytes(), path.as_bytes());
    path.as_bytes()[same..].iter().filter(|&&byte| byte == b'/').count()
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The paths of a content in [`path_order`]: tells what is a file of it and what a folder, without a list of all folders.
#[derive(Debug, Clone)]
pub struct PathTree<'a> {
    files: Vec<&'a str>,
    /// The same with the empty folders.
    all: Vec<&'a str>,
}

impl<'a> PathTree<'a> {
    /// Of these files and empty folders.
    pub fn new(files: impl Iterator<Item = &'a str>, empty: impl Iterator<Item = &'a str>) -> Self {
        let mut files: Vec<&str> = files.collect();
        files.sort_unstable_by(|one, other| path_order(one, other));
        let mut all: Vec<&str> = files.iter().copied().chain(empty).collect();
        all.sort_unstable_by(|one, other| path_order(one, other));
        PathTree { files, all }
    }

    /// The files, in order.
    pub fn files(&self) -> &[&'a str] {
        &self.files
    }

    /// Files and empty folders, in order.
    pub fn all(&self) -> &[&'a str] {
        &self.all
    }

    /// Whether it is a file.
    pub fn is_file(&self, path: &str) -> bool {
        self.files.binary_search_by(|file| path_order(file, path)).is_ok()
    }

    /// Whether it is an empty folder, or one that something is in: in their order that would be next.
    pub fn is_folder(&self, path: &str) -> bool {
        let next = self.all.partition_point(|other| path_order(other, path).is_lt());
        let rest = self.all.get(next).and_then(|next| next.strip_prefix(path));
        rest.is_some_and(|rest| rest.starts_with('/') || rest.is_empty() && !self.is_file(path))
    }

    /// The folders that each path goes through and those before it do not, as ends in the path: in all, each folder once, and
    /// before what is in it.
    pub fn folders(&self) -> impl Iterator<Item = &'a str> {
        let before = std::iter::once("").chain(self.all.iter().copied());
        before.zip(self.all.iter().copied()).flat_map(|(before, path)| {
            let slashes = path.bytes().filter(|&byte| byte == b'/').count();
            let ends = path.match_indices('/').map(|(at, _)| at);
            ends.skip(slashes - new_folders(before, path)).map(|end| &path[..end])
        })
    }
}

/// Checks the paths of a content's files and empty folders, one by one and against each other.
pub(crate) fn check_tree<'a>(files: impl Iterator<Item = &'a str>, empty: &'a [String]) -> Result<(), ManifestError> {
    let mut paths: Vec<&str> = files.chain(empty.iter().map(String::as_str)).collect();
    paths.iter().try_for_each(|path| check_path(path))?;
    paths.sort_unstable_by(|one, other| path_order(one, other));
    let (mut folders, mut before) = (empty.len(), "");
    for &path in &paths {
        // What is inside another path, or the same, follows it at once.
        let rest = path.strip_prefix(before).filter(|_| !before.is_empty());
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(ManifestError::Overlap(before.to_owned()));
        }
        folders += new_folders(before, path);
        before = path;
    }
    let most = paths.len() * FOLDERS_EACH + MAX_PATH_PARTS;
    if folders > most { Err(ManifestError::TooManyFolders { folders, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local!(static WORK: Cell<usize> = const { Cell::new(0) });

    /// Bytes that were compared.
    pub(super) fn count(bytes: usize) {
        WORK.set(WORK.get() + bytes);
    }

    fn check(files: &[String]) -> Result<(), ManifestError> {
        check_tree(files.iter().map(String::as_str), &[])
    }

    #[test]
    fn a_path_has_so_many_bytes_and_parts_and_no_more() {
        let parts = |count: usize| vec!["a"; count].join("/");
        assert_eq!(check_path(&parts(MAX_PATH_PARTS)), Ok(()));
        assert_eq!(check_path(&parts(MAX_PATH_PARTS + 1)), Err(NameError::TooDeep));
        let long = vec!["x".repeat(240); 18].join("/");
        assert_eq!(check_path(&long[..MAX_PATH_BYTES]), Ok(()));
        assert_eq!(check_path(&long[..MAX_PATH_BYTES + 1]), Err(NameError::PathTooLong(MAX_PATH_BYTES + 1)));
        assert_eq!(check_path(&parts(4_000_000)), Err(NameError::PathTooLong(7_999_999)));
    }

    /// Names with bytes below `/` would stand between a folder and what is in it, were they sorted as they are.
    #[test]
    fn a_file_where_a_folder_is_overlaps_whatever_stands_between() {
        let overlap = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
            matches!(check(&paths), Err(ManifestError::Overlap(_)))
        };
        assert!(overlap(&["a", "a!", "a-b", "a/b"]) && overlap(&["a/b/c", "a", "a b"]) && overlap(&["x", "y", "x"]));
        assert!(!overlap(&["a!", "a-b", "a/b", "ab", "a/bc", "a/b!"]));
    }

    #[test]
    fn folders_are_counted_once() {
        let paths = ["a/b/c/1", "a/b/c/2", "a/b/d/3", "a-/4", "a/bc/5", "6"];
        let mut sorted = paths.to_vec();
        sorted.sort_unstable_by(|one, other| path_order(one, other));
        let counted: usize = std::iter::once(&"").chain(&sorted).zip(&sorted).map(|(b, p)| new_folders(b, p)).sum();
        assert_eq!(counted, 6, "a, a/b, a/b/c, a/b/d, a/bc, a-");
    }

    #[test]
    fn a_tree_tells_files_from_folders_and_from_what_it_does_not_have() {
        let tree = PathTree::new(["a/b/c", "a/b!", "z", "a/d/e"].into_iter(), ["empty", "a/f/g"].into_iter());
        let paths = ["a", "a/b", "a/b/c", "a/b!", "a/d", "z", "empty", "a/f", "a/f/g", "a/b/c/d", "e", "z!", ""];
        let found = paths.map(|path| (tree.is_file(path), tree.is_folder(path)));
        let (file, folder, none) = ((true, false), (false, true), (false, false));
        assert_eq!(found[..7], [folder, folder, file, file, folder, file, folder]);
        assert_eq!(found[7..], [folder, folder, none, none, none, none]);
        assert_eq!(tree.folders().collect::<Vec<_>>(), ["a", "a/b", "a/d", "a/f"]);
    }

    #[test]
    fn folders_that_no_file_needs_are_refused() {
        let deep = |number: usize| format!("{number}/{}", vec!["a"; MAX_PATH_PARTS - 1].join("/"));
        assert_eq!(check(&[deep(0)]), Ok(()), "one file may lie as deep as any");
        let paths: Vec<_> = (0..1434).map(deep).collect();
        let folders = 1434 * (MAX_PATH_PARTS - 1);
        assert_eq!(check(&paths), Err(ManifestError::TooManyFolders { folders, most: 1434 * 16 + 128 }));
        // One file at the end of each of many long paths, as in trees of sources and of packages.
        let trees: Vec<_> = (0..10_000).map(|n| format!("{n}/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/file")).collect();
        assert_eq!(check(&trees), Ok(()));
        let own: Vec<_> = (0..10_000).map(|number| format!("runs/{number}/logs/out/txt")).collect();
        assert_eq!(check(&own), Ok(()));
    }

    /// Long paths with all but their ends in common, and many short ones: twice the bytes, about twice the work.
    #[test]
    fn checking_costs_as_much_as_the_paths_have_bytes() {
        let long = |number: usize| format!("{}/{number:06}", vec!["x".repeat(31); 127].join("/"));
        let short = |number: usize| format!("{:03}/{number:06}", number % 500);
        let work = |count: usize, path: &dyn Fn(usize) -> String| {
            // In no order that would help.
            let paths: Vec<_> = (0..count).map(|number| path(number * 7919 % count)).collect();
            WORK.set(0);
            assert_eq!(check(&paths), Ok(()));
            let bytes: usize = paths.iter().map(String::len).sum();
            (WORK.get(), bytes)
        };
        for (count, path) in [(1024, &long as &dyn Fn(usize) -> String), (32_768, &short)] {
            let ((once, bytes), (twice, _)) = (work(count, path), work(2 * count, path));
            assert!(twice < once * 5 / 2, "{once} and {twice} comparisons for {count} paths and twice as many");
            assert!(once < bytes * 2 * count.ilog2() as usize, "{once} comparisons for {bytes} bytes");
        }
    }
}
