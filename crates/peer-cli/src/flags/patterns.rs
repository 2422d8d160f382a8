//! `share *.bin` where the shell hands the pattern on as it was typed: PowerShell and cmd expand nothing. Elsewhere the shell
//! has done it, and what still holds a star is a name. What a pattern means is `peer::Glob`'s to say, here as for `--only`.

use std::path::{Component, Path, PathBuf};

use peer::Glob;
use protocol::redacted;
use settings::in_quotes;
use storage::{is_system_file, is_system_folder};

use crate::error::{ExitCode, Failure};
use crate::flags::origins;

/// Most files that one pattern may stand for.
const MOST: usize = 1 << 16;

/// The paths that were meant by those that were typed, in their order.
pub fn meant(typed: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    if !cfg!(windows) {
        return Ok(typed);
    }
    let (mut meant, mut unmatched) = (Vec::new(), Vec::new());
    for path in typed {
        // A question mark there is of no pattern.
        if origins::url(&path).is_some() {
            meant.push(path);
            continue;
        }
        let shown = in_quotes(&redacted(&path.display().to_string()));
        let wrong = |why: String| Failure::new(ExitCode::Usage, format!("{shown} is no path: {why}"));
        match expand(&settings::unquoted(path).map_err(wrong)?) {
            Some(found) => meant.extend(found),
            None => unmatched.push(shown),
        }
    }
    if unmatched.is_empty() {
        return Ok(meant);
    }
    let sentence = format!("no file is matched by {}. Check the pattern, and the folder", unmatched.join(", "));
    Err(Failure::new(ExitCode::NotFound, sentence))
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// What a path stands for: itself, if something is called so or it is no pattern; nothing if its pattern matches nothing.
fn expand(path: &Path) -> Option<Vec<PathBuf>> {
    let text = path.to_str().unwrap_or_default();
    // A path as the system has it (`\\?\C:\…`) is meant as it is.
    if text.starts_with(r"\\?\") || !is_pattern(text) || path.symlink_metadata().is_ok() {
        return Some(vec![path.to_owned()]);
    }
    let mut found = vec![PathBuf::new()];
    for component in path.components() {
        found = match component {
            Component::Normal(name) if name.to_str().is_some_and(is_pattern) => {
                let name = name.to_str().unwrap_or_default();
                found.iter().flat_map(|folder| matching(folder, name)).take(MOST).collect()
            }
            other => found.iter().map(|folder| folder.join(other)).collect(),
        };
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    (!found.is_empty()).then_some(found)
}

/// What lies in a folder, and below it for `**`, and is called as a pattern of one name says: in order, and, as shells have it
/// there, in upper or lower case. A star means no hidden names, and nothing that systems make by themselves: Windows hides `desktop.ini` and
/// `$RECYCLE.BIN` in another way.
fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    if pattern == "**" {
        let mut all = vec![folder.to_owned()];
        let mut next = 0;
        while next < all.len() && all.len() < MOST {
            let below = named(&all[next], |name| !name.starts_with('.') && !is_system_folder(name.as_ref()));
            all.extend(below.into_iter().filter(|path| path.is_dir() && !path.is_symlink()));
            next += 1;
        }
        return all;
    }
    let Ok(glob) = pattern.to_lowercase().parse::<Glob>() else { return Vec::new() };
    named(folder, |name| {
        let is_meant = !name.starts_with('.') || pattern.starts_with('.');
        let is_of_system = || is_system_folder(name.as_ref()) || is_system_file(&folder.join(name));
        is_meant && glob.matches(&name.to_lowercase()) && !is_of_system()
    })
}

fn named(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(here).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<_> = names.filter(|name| fits(name)).map(|name| folder.join(name)).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path, pattern: &str) -> Option<Vec<String>> {
        let found = expand(&folder.join(pattern))?;
        Some(found.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn a_pattern_means_what_a_shell_would_have_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.bin", "a.BIN", "c.txt", ".hidden.bin", "d[1].bin", "d1.bin", "desktop.ini", "Thumbs.db"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("sub.bin")).unwrap();
        std::fs::write(folder.path().join("sub.bin/e.bin"), "").unwrap();
        let found = |pattern: &str| names(folder.path(), pattern);
        assert_eq!(found("*.bin").unwrap(), ["a.BIN", "b.bin", "d1.bin", "d[1].bin", "sub.bin"]);
        assert_eq!(found("?.txt").unwrap(), ["c.txt"]);
        assert_eq!(found("*.ini"), None, "systems make that by themselves");
        assert_eq!(found("desktop.ini").unwrap(), ["desktop.ini"], "what is named is meant");
        assert_eq!(found("d[1].bin").unwrap(), ["d[1].bin"], "an exact name");
        assert_eq!(found("d[[]1].*").unwrap(), ["d[1].bin"], "a bracket in brackets is one");
        assert_eq!(found("[ab].*").unwrap(), ["a.BIN", "b.bin"]);
        assert_eq!(found("*/e.*").unwrap(), ["e.bin"]);
        assert_eq!(found("**/e.bin").unwrap(), ["e.bin"]);
        assert_eq!(found(".h*").unwrap(), [".hidden.bin"]);
        assert_eq!(found("plain").unwrap(), ["plain"], "what is no pattern is said where it is missed");
        assert_eq!(found("*.iso"), None);
    }
}
