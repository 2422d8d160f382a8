//! `--only GLOB`: which files of a folder are wanted, as in an ignore file: a pattern without `/` is of names at any depth, one
//! with `/` of whole paths, and one that fits a folder means all that is in it.

use glob::{MatchOptions, Pattern};

/// A star stands for a part of a name, and two for any number of folders.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// One pattern, as it was given.
#[derive(Debug, Clone)]
pub struct Only {
    pattern: Pattern,
    /// The text, if it is of one name or path alone.
    literal: Option<String>,
    /// Of names, and not of paths.
    of_names: bool,
}

/// Reads a pattern.
pub fn only(text: &str) -> Result<Only, String> {
    let pattern = text.strip_prefix("./").unwrap_or(text).trim_matches('/');
    if pattern.is_empty() {
        return Err("a pattern has at least a character".to_owned());
    }
    let of_names = !pattern.contains('/') && !text.starts_with('/');
    match Pattern::new(pattern) {
        Ok(pattern) => {
            let literal = (!text.contains(['*', '?', '['])).then(|| pattern.as_str().to_owned());
            Ok(Only { pattern, literal, of_names })
        }
        Err(error) => Err(format!("it is no pattern: {} at character {}", error.msg, error.pos + 1)),
    }
}

impl Only {
    fn fits(&self, path: &str) -> bool {
        let fits = |text: &str| self.pattern.matches_with(text, OPTIONS);
        match self.of_names {
            true => path.split('/').any(fits),
            false => path.match_indices('/').any(|(end, _)| fits(&path[..end])) || fits(path),
        }
    }

    /// Whether it fits a path, and spells out the hidden name at the end of `hidden`, which is a part of it.
    fn spells_out(&self, path: &str, hidden: &str) -> bool {
        let Some(literal) = self.literal.as_deref().filter(|_| self.fits(path)) else { return false };
        match self.of_names {
            true => hidden.rsplit('/').next() == Some(literal),
            false => literal.strip_prefix(hidden).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

/// Whether one of the patterns fits a path inside a content and spells out the hidden name at the end of `hidden`.
pub fn spelt_out(patterns: &[Only], path: &str, hidden: &str) -> bool {
    patterns.iter().any(|only| only.spells_out(path, hidden))
}

/// Whether one of the patterns fits a path inside a content.
pub fn fits(patterns: &[Only], path: &str) -> bool {
    patterns.iter().any(|only| only.fits(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_at_any_depth_paths_as_a_whole_and_folders_with_all_in_them() {
        let fits = |pattern: &str, path: &str| only(pattern).unwrap().fits(path);
        for (pattern, path) in [
            ("*.json", "config.json"),
            ("*.json", "a/b/config.json"),
            ("weights", "weights/1.bin"),
            ("weights/", "weights/deep/1.bin"),
            ("a/*.bin", "a/1.bin"),
            ("a/**", "a/b/c.bin"),
            ("**/c.bin", "a/b/c.bin"),
            ("./a/b", "a/b/c.bin"),
            ("/top.txt", "top.txt"),
            ("model-0000[12]*", "model-00002-of-9.bin"),
            (".hidden", "a/.hidden"),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.json", "config.json5"),
            ("a/*.bin", "a/b/1.bin"),
            ("/top.txt", "a/top.txt"),
            ("*.JSON", "a.json"),
            ("a/b", "x/a/b"),
        ] {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
        assert!(only("").is_err() && only("/").is_err() && only("a[").is_err());
    }

    #[test]
    fn a_hidden_name_is_spelt_out_by_itself_and_by_no_star() {
        let spelt = |pattern: &str, path: &str, hidden: &str| spelt_out(&[only(pattern).unwrap()], path, hidden);
        for pattern in [".bashrc", "/.bashrc", "./.bashrc"] {
            assert!(spelt(pattern, ".bashrc", ".bashrc"), "{pattern}");
        }
        for pattern in [".ssh", ".ssh/config", "/.ssh/"] {
            assert!(spelt(pattern, ".ssh/config", ".ssh"), "{pattern}");
        }
        for pattern in ["*", ".*", ".b*", "?bashrc", "**/.bashrc", ".[b]ashrc"] {
            assert!(!spelt(pattern, ".bashrc", ".bashrc"), "{pattern}");
        }
        for pattern in [".x", "config", ".ssh/other"] {
            assert!(!spelt(pattern, ".ssh/.x", ".ssh") && !spelt(pattern, ".ssh/config", ".ssh"), "{pattern}");
        }
    }
}
