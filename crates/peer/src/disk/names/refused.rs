//! Names that a file system does not have: for a character (`a:b` on exFAT), for an end that it cuts off, for a device of
//! Windows, or for their length. Only it knows, and what it says when a file is made is seldom that, so it is asked before.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use protocol::{NameError, check_local_name};

/// Names of up to so many bytes are had everywhere.
const SHORT: usize = 100;
/// Most bytes of a name anywhere.
const LONGEST: usize = 255;
/// So many characters are tried in one name.
const AT_ONCE: usize = 50;

/// A folder in which names are tried. It is gone in the end.
pub(crate) struct Probe {
    folder: PathBuf,
}

impl Probe {
    /// A folder where `folder` is, or will be; none if nothing can be made there: then nothing can be downloaded to it either.
    pub(crate) fn new(folder: &Path) -> Option<Self> {
        let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
        let folder = there.join(format!(".p2p-names-{:016x}", fastrand::u64(..)));
        fs::create_dir(&folder).ok()?;
        Some(Probe { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a file can have this name there, and has it then.
    pub(crate) fn has(&self, name: &str) -> bool {
        let path = self.folder.join(name);
        let made = File::create_new(&path).is_ok();
        // Some cut an end off and say nothing. Others spell a name in another way and know both spellings.
        let listed =
            |mut entries: fs::ReadDir| entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() == *name));
        let is_kept = !ends_badly(name) || fs::read_dir(&self.folder).is_ok_and(listed);
        let _ = fs::remove_file(&path);
        made && is_kept
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // A virus scanner may look at what was just made.
        let _ = atomic_file::patiently(|| fs::remove_dir_all(&self.folder));
    }
}

/// What a file system does not take.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    characters: HashSet<char>,
    /// Whether names may not end with a dot or a space.
    ends: bool,
    /// Names, up to the first dot, that devices have.
    devices: HashSet<String>,
    /// The longest name in bytes, if some are too long.
    longest: Option<usize>,
    /// Which are.
    long: HashSet<String>,
}

impl Refused {
    /// Tries what is unusual in `names`; each is one component of a path.
    pub(crate) fn among<'a>(names: impl Iterator<Item = &'a str>, mut has: impl FnMut(&str) -> bool) -> Self {
        let (mut characters, mut devices, mut long) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut ends = false;
        for name in names {
            characters.extend(name.chars().filter(|&c| is_unusual(c)));
            ends |= ends_badly(name);
            if let Some(device) = device(name) {
                devices.insert(device);
            }
            if name.len() > SHORT {
                long.insert(name);
            }
        }
        let mut refused = Refused::default();
        // Where the most usual name cannot be had, names are not what is wrong.
        if (characters.is_empty() && devices.is_empty() && long.is_empty() && !ends) || !has("x") {
            return refused;
        }
        let characters: Vec<char> = characters.into_iter().collect();
        for some in characters.chunks(AT_ONCE) {
            if !has(&format!("x{}x", some.iter().collect::<String>())) {
                refused.characters.extend(some.iter().filter(|c| !has(&format!("x{c}x"))));
            }
        }
        refused.ends = ends && !(has("x.") && has("x "));
        refused.devices = devices.into_iter().filter(|device| !has(device) || !has(&format!("{device}.x"))).collect();
        // As long, in bytes and in characters, and nothing else about it.
        let plain = |name: &str| {
            let usual: String = name.chars().map(|c| if refused.characters.contains(&c) { 'x' } else { c }).collect();
            format!("x{}x", usual.chars().skip(1).take(usual.chars().count().saturating_sub(2)).collect::<String>())
        };
        let by_bytes = long.iter().max_by_key(|name| name.len());
        let by_characters = long.iter().max_by_key(|name| name.encode_utf16().count());
        if !by_bytes.into_iter().chain(by_characters).all(|name| has(&plain(name))) {
            refused.long = long.iter().filter(|name| !has(&plain(name))).map(|&name| name.to_owned()).collect();
            let (mut works, mut fails) = (1, LONGEST + 1);
            while works + 1 < fails {
                let middle = works.midpoint(fails);
                *(if has(&"x".repeat(middle)) { &mut works } else { &mut fails }) = middle;
            }
            refused.longest = Some(works);
        }
        refused
    }

    /// Whether it does not take this name.
    pub(crate) fn refuses(&self, name: &str) -> bool {
        name.chars().any(|c| self.characters.contains(&c))
            || (self.ends && ends_badly(name))
            || device(name).is_some_and(|device| self.devices.contains(&device))
            || self.long.contains(name)
    }

    /// Whether it does not take this character.
    pub(crate) fn refuses_character(&self, c: char) -> bool {
        self.characters.contains(&c)
    }

    /// Most bytes of a name there.
    pub(crate) fn longest(&self) -> usize {
        self.longest.unwrap_or(LONGEST)
    }
}

fn is_unusual(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

fn ends_badly(name: &str) -> bool {
    name.ends_with(['.', ' '])
}

/// What of a name is that of a device of Windows.
fn device(name: &str) -> Option<String> {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    matches!(check_local_name(stem, true), Err(NameError::Platform(_))).then(|| stem.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As exFAT takes names; and how often it was asked.
    fn exfat<'a>(asked: &'a mut usize) -> impl FnMut(&str) -> bool + 'a {
        |name| {
            *asked += 1;
            !name.contains([':', '?', '"', '\n']) && !ends_badly(name) && name.encode_utf16().count() <= 255
        }
    }

    #[test]
    fn what_is_refused_is_found_by_its_kind() {
        let names = ["a:b", "c", "d?", "e.", "ü", "日本", "f\\g", "con"];
        let refused = Refused::among(names.into_iter(), exfat(&mut 0));
        let found: Vec<_> = names.into_iter().filter(|name| refused.refuses(name)).collect();
        assert_eq!(found, ["a:b", "d?", "e."]);
        assert!(refused.refuses_character(':') && !refused.refuses_character('\\'));
    }

    #[test]
    fn usual_names_are_not_tried_and_many_unusual_ones_together() {
        let mut asked = 0;
        let usual = Refused::among(["a", "b-c_d (1) [x].txt", ".e"].into_iter(), exfat(&mut asked));
        assert_eq!((usual, asked), (Refused::default(), 0));
        let many: Vec<String> = ('\u{4e00}'..'\u{5000}').map(|c| format!("{c}:")).collect();
        let refused = Refused::among(many.iter().map(String::as_str), exfat(&mut asked));
        assert!(many.iter().all(|name| refused.refuses(name)));
        assert!(asked < 100, "{asked}");
    }

    #[test]
    fn names_that_are_too_long_are_found_with_how_long_they_may_be() {
        let names = ["x".repeat(140), "y".repeat(150), "é".repeat(80)];
        let refused = Refused::among(names.iter().map(String::as_str), |name| name.len() <= 143);
        assert_eq!(names.each_ref().map(|name| refused.refuses(name)), [false, true, true]);
        assert_eq!(refused.longest(), 143);
    }

    #[test]
    fn devices_are_devices_whatever_stands_behind_them() {
        let names = ["aux.c", "Con", "console", "com1"];
        let refused = Refused::among(names.into_iter(), |name| device(name).is_none());
        let found: Vec<_> = names.into_iter().filter(|name| refused.refuses(name)).collect();
        assert_eq!(found, ["aux.c", "Con", "com1"]);
    }

    #[test]
    fn where_nothing_can_be_made_names_are_not_what_is_wrong() {
        assert_eq!(Refused::among(["a:b"].into_iter(), |_| false), Refused::default());
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let probe = Probe::new(&folder.path().join("not there")).unwrap();
        assert!(probe.has("a") && probe.has("a") && !probe.has("a/b"));
        drop(probe);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
