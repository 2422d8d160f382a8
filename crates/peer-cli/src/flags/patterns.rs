//! `share *.bin` where the shell hands the pattern on as it was typed: PowerShell and cmd expand nothing. Elsewhere the shell
//! has done it, and what still holds a star is a name.

use std::path::PathBuf;

use glob::{MatchOptions, Pattern};
use protocol::printable;

use crate::error::{ExitCode, Failure};

/// The paths that were meant by those that were typed, in their order.
pub fn meant(typed: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    if !cfg!(windows) {
        return Ok(typed);
    }
    let meant = typed.into_iter().map(|path| expand(unquoted(path)?)).collect::<Result<Vec<_>, _>>()?;
    Ok(meant.into_iter().flatten().collect())
}

/// A path as it was meant that has a quotation mark, which no name on Windows has. PowerShell before 7.3 and cmd hand
/// `'my folder\'` on so that the stroke at its end makes a mark of the quote behind it, and all that follows is part of it.
fn unquoted(path: PathBuf) -> Result<PathBuf, Failure> {
    let Some((before, behind)) = path.to_str().and_then(|text| text.split_once('"')) else { return Ok(path) };
    if behind.is_empty() {
        return Ok(before.into());
    }
    let sentence = format!(
        "{:?} has a quotation mark, which no name has. Leave out the backslash at the end of a path in quotes",
        printable(&path.to_string_lossy())
    );
    Err(Failure::new(ExitCode::Usage, sentence))
}

/// What fits a path with stars and question marks, which no name on Windows has. Brackets are of names there.
fn expand(path: PathBuf) -> Result<Vec<PathBuf>, Failure> {
    let Some(text) = path.to_str() else { return Ok(vec![path]) };
    // A path as the system has it (`\\?\C:\…`) is meant as it is.
    if text.starts_with(r"\\?\") || !text.contains(['*', '?']) || path.exists() {
        return Ok(vec![path]);
    }
    let pattern = text.replace('[', "[[]");
    // As a shell: stars mean no hidden names, and no case where the system has none.
    let options =
        MatchOptions { case_sensitive: false, require_literal_separator: true, require_literal_leading_dot: true };
    let found = Pattern::new(&pattern).and_then(|_| glob::glob_with(&pattern, options));
    let found: Vec<_> = found.into_iter().flatten().flatten().collect();
    if found.is_empty() {
        let sentence = format!("nothing is called as {:?} means. Check the pattern, and the folder", printable(text));
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn names(folder: &Path, pattern: &str) -> Result<Vec<String>, Failure> {
        let found = expand(folder.join(pattern))?;
        Ok(found.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn a_stroke_at_the_end_of_a_quoted_path_is_no_part_of_its_name() {
        let meant = |text: &str| unquoted(text.into()).map(|path| path.to_str().unwrap().to_owned());
        assert_eq!(meant("my folder\"").unwrap(), "my folder");
        assert_eq!(meant("my folder").unwrap(), "my folder");
        let failure = meant("my folder\" b.bin").unwrap_err();
        assert_eq!(failure.code, ExitCode::Usage);
        assert!(failure.message.contains("Leave out the backslash"), "{}", failure.message);
    }

    #[test]
    fn a_pattern_means_what_a_shell_would_have_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.bin", "a.BIN", "c.txt", ".hidden.bin", "d[1].bin"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("sub.bin")).unwrap();
        assert_eq!(names(folder.path(), "*.bin").unwrap(), ["a.BIN", "b.bin", "d[1].bin", "sub.bin"]);
        assert_eq!(names(folder.path(), "?.txt").unwrap(), ["c.txt"]);
        assert_eq!(names(folder.path(), "d[1].*").unwrap(), ["d[1].bin"], "brackets are of names");
        assert_eq!(names(folder.path(), "plain").unwrap(), ["plain"], "what is no pattern is said where it is missed");
        let failure = names(folder.path(), "*.iso").unwrap_err();
        assert_eq!(failure.code, ExitCode::NotFound);
        assert!(failure.message.contains("*.iso"), "{}", failure.message);
    }
}
