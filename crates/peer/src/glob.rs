//! Which names are meant by patterns as in an ignore file: the files of a folder that are wanted, and the files here that a
//! pattern stands for where the shell does not expand it.
//!
//! The names come from a stranger, and there may be many and long ones: a star never tries again what another one has tried,
//! so a path costs at most its length times the pattern's.

use std::borrow::Cow;
use std::str::FromStr;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// A pattern of paths inside a content, as in an ignore file: one without `/` matches file and folder names at any depth, one
/// with `/` whole paths, and one that matches a folder means all that is in it.
///
/// - `*` and `?` stand for characters of one name, `**` for any number of folders, `[a-z]` and `[!a-z]` for one character.
/// - A backslash takes its meaning from the next character. On Windows it parts folders as `/` does; `[[]` and `[*]` stand for
///   themselves everywhere.
/// - Upper and lower case differ. How accents are composed does not matter (Unicode's NFC and NFD).
/// - A name or path that is written just like the pattern always matches: `model[1].bin` is the file of that name.
///
/// ```
/// use p2p_fileshare::Glob;
///
/// let json: Glob = "*.json".parse()?;
/// assert!(json.matches("deep/inside/config.json"));
/// let weights: Glob = "weights/*.bin".parse()?;
/// assert!(weights.matches("weights/1.bin") && !weights.matches("old/weights/1.bin"));
/// let exact: Glob = "model[1].bin".parse()?;
/// assert!(exact.matches("model[1].bin"));
/// # Ok::<(), p2p_fileshare::GlobError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
    /// What it is if it is the name or path itself: as it was written, and without the backslashes that take a meaning away.
    exact: Vec<String>,
    /// Of names, and not of paths.
    of_names: bool,
    /// Where a bracket stands that is not closed, counted from 1.
    unclosed: Option<usize>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobError {
    /// There is nothing in it.
    #[error("a pattern has at least a character")]
    Empty,
}

/// A pattern that matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unmatched {
    /// As it was written.
    pub pattern: String,
    /// Where a bracket is opened and not closed, counted from 1: then it was most likely meant otherwise.
    pub unclosed: Option<usize>,
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
        Glob::read(text, cfg!(windows))
    }
}

/// In the form in which names are compared.
fn composed(text: &str) -> Cow<'_, str> {
    if is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

impl Glob {
    /// Reads a pattern as it is typed on Windows or elsewhere.
    fn read(text: &str, windows: bool) -> Result<Self, GlobError> {
        let pattern = composed(text);
        let pattern = if windows { pattern.replace('\\', "/") } else { pattern.into_owned() };
        let rooted = pattern.starts_with('/');
        let pattern = pattern.strip_prefix("./").unwrap_or(&pattern).trim_matches('/');
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        let ParsedPattern { parts, plain, unclosed } = ParsedPattern::of(pattern, !windows);
        let of_names = parts.len() == 1 && !rooted;
        let exact = std::iter::once(pattern.to_owned()).chain(plain.filter(|plain| plain != pattern)).collect();
        Ok(Glob { text: text.to_owned(), parts, exact, of_names, unclosed })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which of these paths the patterns choose, each true or false. Fails with the patterns that match nothing, if there is one.
    ///
    /// A pattern that is the very name of a file means that file and no other: with `model[1].bin` there, it is not `model1.bin`.
    pub fn choose<'a>(
        globs: &[Glob],
        paths: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<Vec<bool>, Vec<Unmatched>> {
        let mut chosen = vec![false; paths.clone().count()];
        let mut unmatched = Vec::new();
        for glob in globs {
            let exact = paths.clone().any(|path| glob.is_exactly(&composed(path)));
            let mut matched = false;
            for (path, chosen) in paths.clone().zip(&mut chosen) {
                let fits = if exact { glob.is_exactly(&composed(path)) } else { glob.matches(path) };
                matched |= fits;
                *chosen |= fits;
            }
            if !matched {
                unmatched.push(Unmatched { pattern: glob.text.clone(), unclosed: glob.unclosed });
            }
        }
        if unmatched.is_empty() { Ok(chosen) } else { Err(unmatched) }
    }

    /// Whether it matches a path inside a content, with `/`.
    pub fn matches(&self, path: &str) -> bool {
        let path = composed(path);
        self.is_exactly(&path) || self.fits(&path)
    }

    /// Whether a path, or a folder on the way to it, is called as the pattern is written.
    fn is_exactly(&self, path: &str) -> bool {
        let is_path = |exact: &String| path.strip_prefix(exact.as_str()).is_some_and(is_end);
        let is_name = |exact: &String| path.split('/').any(|name| name == exact);
        self.exact.iter().any(|exact| if self.of_names { is_name(exact) } else { is_path(exact) })
    }

    fn fits(&self, path: &str) -> bool {
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
        let (path, hidden) = (composed(path), composed(hidden));
        if !self.is_exactly(&path) {
            return false;
        }
        self.exact.iter().any(|exact| match self.of_names {
            true => hidden.rsplit('/').next() == Some(exact),
            false => exact.strip_prefix(&*hidden).is_some_and(is_end),
        })
    }
}

/// Whether a path goes on in this way behind a whole name.
fn is_end(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// What a pattern says.
struct ParsedPattern {
    parts: Vec<Part>,
    /// Without backslashes, if nothing in it stands for anything else.
    plain: Option<String>,
    unclosed: Option<usize>,
}

impl ParsedPattern {
    /// Takes a pattern apart. With `escapes`, a backslash takes its meaning from the next character.
    fn of(pattern: &str, escapes: bool) -> Self {
        let (mut parts, mut name) = (Vec::new(), Vec::new());
        let (mut plain, mut is_plain, mut unclosed) = (String::new(), true, None);
        let mut rest = pattern;
        while let Some(next) = rest.chars().next() {
            let mut len = next.len_utf8();
            let starts = name.is_empty();
            let token = match next {
                '/' => {
                    parts.push(Part::Name(std::mem::take(&mut name)));
                    plain.push('/');
                    None
                }
                // All of what stands between two `/`; elsewhere two stars are as one.
                '*' if starts && rest.strip_prefix("**").is_some_and(is_end) => {
                    parts.push(Part::Folders);
                    // With the `/` behind it, if it is not the end.
                    len = rest.len().min(3);
                    is_plain = false;
                    None
                }
                '*' => Some(Token::Some),
                '?' => Some(Token::Any),
                // Where one is not closed, none behind it is: each is looked for in all of the rest.
                '[' if unclosed.is_none() => match brackets(rest, escapes) {
                    Some((token, end)) => {
                        len = end;
                        Some(token)
                    }
                    None => {
                        unclosed = unclosed.or(Some(pattern[..pattern.len() - rest.len()].chars().count() + 1));
                        Some(Token::Char('['))
                    }
                },
                '\\' if escapes && rest.len() > 1 => {
                    let escaped = rest[1..].chars().next().unwrap_or('\\');
                    len += escaped.len_utf8();
                    Some(Token::Char(escaped))
                }
                other => Some(Token::Char(other)),
            };
            match token {
                // One star is enough, and costs less than two.
                Some(Token::Some) if name.last() == Some(&Token::Some) => {}
                Some(token) => {
                    match token {
                        Token::Char(character) => plain.push(character),
                        _ => is_plain = false,
                    }
                    name.push(token);
                }
                None => {}
            }
            rest = &rest[len..];
        }
        if parts.last() != Some(&Part::Folders) || !name.is_empty() {
            parts.push(Part::Name(name));
        }
        ParsedPattern { parts, plain: is_plain.then_some(plain), unclosed }
    }
}

/// What stands in brackets at the beginning of a text, and where they end; nothing if they are not closed.
fn brackets(text: &str, escapes: bool) -> Option<(Token, usize)> {
    let without = text.starts_with("[!");
    let start = 1 + usize::from(without);
    let mut characters: Vec<(char, bool)> = Vec::new();
    let mut rest = text[start..].char_indices();
    while let Some((at, character)) = rest.next() {
        match character {
            // One that comes first is one of the characters.
            ']' if !characters.is_empty() => {
                let ranges = ranges(&characters);
                let token = if without { Token::Without(ranges) } else { Token::Within(ranges) };
                return Some((token, start + at + 1));
            }
            '\\' if escapes => characters.push((rest.next()?.1, true)),
            other => characters.push((other, false)),
        }
    }
    None
}

/// The ranges that characters in brackets make; a minus that is escaped makes none.
fn ranges(characters: &[(char, bool)]) -> Vec<(char, char)> {
    let (mut rest, mut ranges) = (characters, Vec::new());
    while let [(first, _), others @ ..] = rest {
        match others {
            [('-', false), (last, _), behind @ ..] => {
                ranges.push((*first, *last));
                rest = behind;
            }
            _ => {
                ranges.push((*first, *first));
                rest = others;
            }
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

#[cfg(test)]
mod tests;
