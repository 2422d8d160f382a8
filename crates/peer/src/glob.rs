//! Which files of a folder are wanted, by patterns as in an ignore file.
//!
//! The names come from a stranger, and there may be many and long ones: a star never tries again what another one has tried,
//! so a path costs at most its length times the pattern's.

use std::str::FromStr;

use glob::Pattern;

/// A pattern of paths inside a content, as in an ignore file: one without `/` matches file and folder names at any depth, one
/// with `/` whole paths, and one that matches a folder means all that is in it.
///
/// ```
/// use p2p_fileshare::Glob;
///
/// let json: Glob = "*.json".parse()?;
/// assert!(json.matches("deep/inside/config.json"));
/// let weights: Glob = "weights/*.bin".parse()?;
/// assert!(weights.matches("weights/1.bin") && !weights.matches("old/weights/1.bin"));
/// # Ok::<(), p2p_fileshare::GlobError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Glob {
    parts: Vec<Part>,
    /// The text, if it is of one name or path alone.
    literal: Option<String>,
    /// Of names, and not of paths.
    of_names: bool,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobError {
    /// There is nothing in it.
    #[error("a pattern has at least a character")]
    Empty,
    /// It cannot be read.
    #[error("it is no pattern: {reason} at character {character}")]
    Syntax {
        /// What is wrong.
        reason: &'static str,
        /// Where, counted from 1.
        character: usize,
    },
}

/// What stands between two `/`.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// `**`: any number of folders, or, at the end, all that is in one.
    Folders,
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Char(char),
    /// `?`
    Any,
    /// `*`
    Some,
    /// `[a-z_]`, and `[!a-z_]`.
    Within(Vec<(char, char)>),
    Without(Vec<(char, char)>),
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let pattern = text.strip_prefix("./").unwrap_or(text).trim_matches('/');
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        let of_names = !pattern.contains('/') && !text.starts_with('/');
        match Pattern::new(pattern) {
            Ok(_) => {
                let literal = (!text.contains(['*', '?', '['])).then(|| pattern.to_owned());
                Ok(Glob { parts: parts(pattern), literal, of_names })
            }
            Err(error) => Err(GlobError::Syntax { reason: error.msg, character: error.pos + 1 }),
        }
    }
}

/// Takes a pattern apart that is known to be one.
fn parts(pattern: &str) -> Vec<Part> {
    let (mut parts, mut name) = (Vec::new(), Vec::new());
    let mut rest = pattern;
    while let Some(next) = rest.chars().next() {
        let mut len = next.len_utf8();
        match next {
            '/' => parts.push(Part::Name(std::mem::take(&mut name))),
            '?' => name.push(Token::Any),
            '*' if rest.starts_with("**") => {
                parts.push(Part::Folders);
                // With the `/` behind it, if it is not the end.
                len = rest.len().min(3);
            }
            '*' => name.push(Token::Some),
            '[' => {
                let without = rest.starts_with("[!");
                let from = 1 + usize::from(without);
                // A bracket that comes first is one of the characters.
                let first = rest[from..].chars().next().map_or(0, char::len_utf8);
                let end = from + first + rest[from + first..].find(']').unwrap_or(0);
                let ranges = ranges(&rest[from..end]);
                name.push(if without { Token::Without(ranges) } else { Token::Within(ranges) });
                len = end + 1;
            }
            other => name.push(Token::Char(other)),
        }
        rest = &rest[len..];
    }
    if parts.last() != Some(&Part::Folders) || !name.is_empty() {
        parts.push(Part::Name(name));
    }
    parts
}

fn ranges(characters: &str) -> Vec<(char, char)> {
    let mut rest: Vec<char> = characters.chars().rev().collect();
    let mut ranges = Vec::new();
    while let Some(first) = rest.pop() {
        match rest[..] {
            [.., last, '-'] => {
                ranges.push((first, last));
                rest.truncate(rest.len() - 2);
            }
            _ => ranges.push((first, first)),
        }
    }
    ranges
}

impl Token {
    fn fits(&self, character: char) -> bool {
        let within = |ranges: &[(char, char)]| ranges.iter().any(|&(from, to)| (from..=to).contains(&character));
        match self {
            Token::Char(own) => *own == character,
            Token::Any | Token::Some => true,
            Token::Within(ranges) => within(ranges),
            Token::Without(ranges) => !within(ranges),
        }
    }
}

/// Whether a name fits, one token after another; where it does not, the last star takes a character more. A star before it need
/// never be tried again.
fn name_fits(tokens: &[Token], name: &str) -> bool {
    let (mut rest, mut at) = (name.chars(), 0);
    let mut star = None;
    loop {
        let (before, next) = (rest.clone(), rest.next());
        match (tokens.get(at), next) {
            (None, None) => return true,
            (Some(Token::Some), _) => {
                (rest, at) = (before, at + 1);
                star = Some((rest.clone(), at));
            }
            (Some(token), Some(character)) if token.fits(character) => at += 1,
            // Nothing is left that a star could take.
            (_, None) => return false,
            _ => {
                let Some((from, behind)) = &mut star else { return false };
                from.next();
                (rest, at) = (from.clone(), *behind);
            }
        }
        #[cfg(test)]
        tests::count();
    }
}

impl Part {
    fn fits(&self, name: &str) -> bool {
        match self {
            Part::Folders => true,
            Part::Name(tokens) => name_fits(tokens, name),
        }
    }
}

impl Glob {
    /// Whether it matches a path inside a content, with `/`.
    pub fn matches(&self, path: &str) -> bool {
        if let ([part], true) = (&self.parts[..], self.of_names) {
            return path.split('/').any(|name| part.fits(name));
        }
        // How far the pattern may have come, all ways at once. `**` may stand for no folder, unless it is the end.
        let last = self.parts.len() - 1;
        let mut reached = vec![false; self.parts.len() + 1];
        reached[0] = true;
        for name in path.split('/') {
            let mut next = vec![false; reached.len()];
            for (at, part) in self.parts.iter().enumerate() {
                if *part == Part::Folders && at < last {
                    reached[at + 1] |= reached[at];
                    next[at] |= reached[at];
                } else if reached[at] && part.fits(name) {
                    next[at + 1] = true;
                }
            }
            if next[last + 1] {
                return true;
            }
            reached = next;
        }
        false
    }

    /// Whether it matches a path, and spells out the hidden name at the end of `hidden`, which is a part of it.
    pub(crate) fn spells_out(&self, path: &str, hidden: &str) -> bool {
        let Some(literal) = self.literal.as_deref().filter(|_| self.matches(path)) else { return false };
        match self.of_names {
            true => hidden.rsplit('/').next() == Some(literal),
            false => literal.strip_prefix(hidden).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local!(static STEPS: Cell<usize> = const { Cell::new(0) });

    pub(super) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    /// Each star of the pattern once tried all places again for each place of the one before it.
    #[test]
    fn a_name_that_almost_fits_costs_its_length_times_the_patterns() {
        let steps = |pattern: &str, path: &str| {
            let glob: Glob = pattern.parse().unwrap();
            STEPS.set(0);
            assert!(!glob.matches(path), "{pattern}");
            STEPS.get()
        };
        let name = "a".repeat(255);
        let path = vec![name.as_str(); 16].join("/");
        for (pattern, paths) in
            [("*a*a*a*a*a*a*a*b", 1), ("**/*a*a*a*a*b/*a*a*a*c", 2), ("a*/**/?*?*?*?*/**/*[!a]*", 2)]
        {
            let taken = steps(pattern, &path);
            assert!(taken <= path.len() * pattern.len() * paths, "{pattern}: {taken} steps");
            let twice = steps(pattern, &[path.as_str(); 2].join("/"));
            assert!(twice <= taken * 3, "{pattern}: {taken} steps, then {twice}");
        }
    }

    /// The crate that reads the patterns says what they mean.
    #[test]
    fn names_fit_as_the_crate_glob_has_it() {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let patterns = [
            "a",
            "*",
            "?",
            "a*",
            "*a",
            "*a*",
            "a?c",
            "[ab]c",
            "[!ab]c",
            "[a-c]*",
            "[]]",
            "[!]]x",
            "[a-]",
            "[-a]",
            "*.b*",
            "a*b*c",
            "**",
            "a/**",
            "**/a",
            "a/**/c",
            "*/b",
            "a/*/c",
            "**/b/**",
            "a/[b/c]/c",
            "ü*",
            "[à-ü]",
            "a/**/**/c",
            "**/*",
        ];
        let paths = [
            "a", "b", "c", "ab", "ac", "abc", "bc", "cc", "]", "]x", "-", "a.b", ".b", "aXbXc", "abab", "a/b", "a/c",
            "a/b/c", "a/b/b/c", "b/a", "x/b/y", "ü", "über", "é", "b", "a/b/c/d", "", "c/b",
        ];
        for pattern in patterns {
            let theirs = Pattern::new(pattern).unwrap();
            let ours = Glob { parts: parts(pattern), literal: None, of_names: false };
            for path in paths {
                // A wanted folder means all that is in it.
                let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
                let fits = ends.into_iter().any(|end| theirs.matches_with(&path[..end], options));
                assert_eq!(ours.matches(path), fits, "{pattern} {path}");
            }
        }
    }

    #[test]
    fn names_fit_at_any_depth_paths_as_a_whole_and_folders_with_all_in_them() {
        let fits = |pattern: &str, path: &str| pattern.parse::<Glob>().unwrap().matches(path);
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
        assert!(["", "/", "a["].iter().all(|text| text.parse::<Glob>().is_err()));
    }

    #[test]
    fn a_hidden_name_is_spelt_out_by_itself_and_by_no_star() {
        let spelt = |pattern: &str, path: &str, hidden: &str| pattern.parse::<Glob>().unwrap().spells_out(path, hidden);
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
