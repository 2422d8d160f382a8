//! A short code in place of a ticket, to be said aloud: the number of a mailbox at a tracker, and two words.
//!
//! The number is public, the words are the secret. Both ends turn them into a key that nobody in between learns, and one of
//! them into the other's ticket; what they say for that is in `messages.rs`.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

mod messages;

pub use messages::{CodeMessage, MAX_CODE_MESSAGE, MailboxEvent, MailboxRefusal, MailboxRequest};

/// The words, in alphabetical order, each of other first three letters: where they are from is said in the file.
static WORDS: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("words.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// Largest number of a mailbox.
pub const MAX_MAILBOX: u16 = 9999;
/// Letters of which a word may lack the rest and still be suggested.
const BEGINNING: usize = 3;
/// Typing errors in a word that are found out: any two words are further from each other than twice as many, less one.
const ERRORS: usize = 2;
/// Most characters of a text that is looked at: a name can be any length.
const LONGEST: usize = 200;

/// A code, as `7-violin-tadpole`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code {
    mailbox: u16,
    words: [u16; 2],
}

/// What is meant as a code and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// A word is not in the list.
    #[error("{word:?} is none of the words that codes are made of{}", ask(*suggestion))]
    Word {
        /// The word.
        word: String,
        /// What was probably meant.
        suggestion: Option<Code>,
    },
    /// No mailbox has such a number.
    #[error("a code begins with a number from 1 to {MAX_MAILBOX}, not with {0}.")]
    Number(String),
}

fn ask(suggestion: Option<Code>) -> String {
    suggestion.map_or_else(|| ".".to_owned(), |code| format!("; did you mean {code}?"))
}

/// How a text reads as a word of the list.
enum Word {
    Exact(u16),
    Near(u16, usize),
    None,
}

impl Word {
    fn of(text: &str) -> Word {
        if let Ok(index) = WORDS.binary_search(&text) {
            return Word::Exact(index as u16);
        }
        // Any mistake in so short a word makes another word of it.
        if text.len() < BEGINNING {
            return Word::None;
        }
        let first = WORDS.partition_point(|word| *word < text);
        let begins = |index: usize| WORDS.get(index).is_some_and(|word| word.starts_with(text));
        if begins(first) && !begins(first + 1) {
            return Word::Near(first as u16, WORDS[first].len() - text.len());
        }
        let distances = WORDS.iter().enumerate().map(|(index, word)| (strsim::osa_distance(text, word), index));
        match distances.min() {
            Some((errors, index)) if errors <= ERRORS => Word::Near(index as u16, errors),
            _ => Word::None,
        }
    }

    fn index(&self) -> Option<u16> {
        match self {
            Word::Exact(index) | Word::Near(index, _) => Some(*index),
            Word::None => None,
        }
    }
}

impl Code {
    /// Whether a text is a number and two words of letters, as codes are, whichever words these are.
    pub fn looks_like_one(text: &str) -> bool {
        let is_word = |word: &str| word.len() > BEGINNING && word.chars().all(char::is_alphabetic);
        text.len() <= LONGEST && parts(text).is_some_and(|[_, first, second]| is_word(first) && is_word(second))
    }

    /// Whether a text is two words of the list and nothing else, as a code without its number is: all of what is secret in one.
    pub fn lacks_number(text: &str) -> bool {
        let text = text.to_lowercase();
        let &[first, second] = &words(&text)[..] else { return false };
        [first, second].iter().all(|word| WORDS.binary_search(word).is_ok())
    }

    /// How many words there are, for each of the two.
    pub const WORDS: usize = 1024;

    /// The code of a mailbox with two words by random numbers, of which ten bits each count.
    pub fn new(mailbox: u16, random: [u16; 2]) -> Self {
        Code { mailbox, words: random.map(|number| number % Code::WORDS as u16) }
    }

    /// Which mailbox it is for: all of it that anyone else may know.
    pub fn mailbox(&self) -> u16 {
        self.mailbox
    }

    /// The words, which both ends know and nobody else.
    pub fn secret(&self) -> String {
        let [first, second] = self.words.map(|index| WORDS[usize::from(index)]);
        format!("{first}-{second}")
    }

    /// The code in what was typed, or what is wrong with it; nothing if it is not meant as a code. Capitals do not matter, nor
    /// what stands between number and words, nor a pasted `peer-cli get` before them.
    ///
    /// Names may look like codes. A text of a number and two words is meant as a code if one of these is of the list, or if
    /// both are nearly so.
    pub fn find(text: &str) -> Option<Result<Code, CodeError>> {
        if text.len() > LONGEST {
            return None;
        }
        let text = text.to_lowercase();
        let [number, first, second] = parts(&text)?;
        let words = [Word::of(first), Word::of(second)];
        let wrong = match &words {
            [Word::Exact(_), Word::Exact(_)] => None,
            [Word::Exact(_), _] => Some(second),
            [_, Word::Exact(_)] => Some(first),
            // A short word is near to many.
            [Word::Near(_, 1), Word::Near(_, 1)] if first.len() > BEGINNING && second.len() > BEGINNING => Some(first),
            _ => return None,
        };
        let mailbox = number.parse().ok().filter(|number| (1..=MAX_MAILBOX).contains(number));
        let Some(mailbox) = mailbox else { return Some(Err(CodeError::Number(number.to_owned()))) };
        let meant = match [words[0].index(), words[1].index()] {
            [Some(first), Some(second)] => Some(Code { mailbox, words: [first, second] }),
            _ => None,
        };
        Some(match (wrong, meant) {
            (None, Some(code)) => Ok(code),
            (wrong, suggestion) => Err(CodeError::Word { word: wrong.unwrap_or_default().to_owned(), suggestion }),
        })
    }
}

/// The number and the two words of a text that has nothing else, but for a pasted command.
fn parts(text: &str) -> Option<[&str; 3]> {
    let &[number, first, second] = &words(text)[..] else { return None };
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some([number, first, second])
}

/// What a text consists of behind a pasted command, without what stands between.
fn words(text: &str) -> Vec<&str> {
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    let command = ["peer", "cli", "exe", "get"];
    parts.skip_while(|part| command.contains(part)).collect()
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.mailbox, self.secret())
    }
}

/// Without the words, which belong in no log.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}-…)", self.mailbox)
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let none = || CodeError::Word { word: text.to_owned(), suggestion: None };
        Code::find(text).unwrap_or_else(|| Err(none()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn suggested(text: &str) -> Option<String> {
        match Code::find(text) {
            Some(Err(CodeError::Word { suggestion, .. })) => suggestion.map(|code| code.to_string()),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn words_are_told_apart_by_three_letters_and_by_three_errors() {
        assert_eq!(WORDS.len(), Code::WORDS);
        assert!(WORDS.is_sorted() && WORDS.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
        assert_eq!(WORDS.iter().map(|word| &word[..BEGINNING]).collect::<HashSet<_>>().len(), WORDS.len());
        for (number, one) in WORDS.iter().enumerate() {
            let near = WORDS[..number].iter().find(|other| strsim::osa_distance(one, other) < 3);
            assert_eq!(near, None, "{one}");
        }
    }

    #[test]
    fn a_number_and_two_words_look_like_a_code_and_file_names_do_not() {
        for code in ["7-cobalt-lemur", "7 cobalt lemur", "peer-cli get 12-Cobalt-lemur"] {
            assert!(Code::looks_like_one(code), "{code}");
        }
        for name in ["7-zip-1900.exe", "2short_story_100x.txt", "cobalt-lemur", "7-cobalt", "2024-01-report"] {
            assert!(!Code::looks_like_one(name), "{name}");
        }
    }

    #[test]
    fn a_code_is_read_however_it_was_noted() {
        let code = Code::new(7, [0, u16::MAX]);
        assert_eq!(code.to_string(), "7-aardvark-zucchini");
        for noted in [
            "7-aardvark-zucchini",
            "7-Aardvark-ZUCCHINI",
            " 7 aardvark zucchini\r\n",
            "7.aardvark.zucchini.",
            "07–aardvark—zucchini",
            "\"7-aardvark-zucchini\"",
            "peer-cli get 7-aardvark-zucchini",
            "./peer-cli.exe get 7-aardvark-zucchini",
        ] {
            assert_eq!(Code::find(noted), Some(Ok(code)), "{noted}");
        }
        assert_eq!(format!("{code:?}"), "Code(7-…)");
    }

    #[test]
    fn a_typing_error_is_found_out() {
        for typed in
            ["7-ardvark-zucchini", "7-aardvrak-zucchini", "7-aardvark-zuchini", "7-aard-zucchini", "7-aardvark-zuc"]
        {
            assert_eq!(suggested(typed).as_deref(), Some("7-aardvark-zucchini"), "{typed}");
        }
        assert_eq!(suggested("7-ardvark-zuchini").as_deref(), Some("7-aardvark-zucchini"));
        assert_eq!(suggested("7-aardvark-qqqqqq"), None, "it may be a code, and nothing is like it");
        for number in ["0", "10000", "99999999999999999999"] {
            let error = Code::find(&format!("{number}-aardvark-zucchini"));
            assert_eq!(error, Some(Err(CodeError::Number(number.to_owned()))));
        }
    }

    #[test]
    fn a_name_is_no_code() {
        for name in [
            "12-foo-bar",
            "a.bin",
            "7-aardvark",
            "7-aardvark-zucchini.txt",
            "7-aardvark-zucchini-2",
            "x7-aardvark-zucchini",
            "aardvark-zucchini",
            "folder/7-aardvark-zucchini",
            "2024-11-28",
            "1-2-3",
            "",
            "٧-aardvark-zucchini",
            &"7-aardvark-zucchini ".repeat(20),
        ] {
            assert_eq!(Code::find(name), None, "{name}");
        }
    }

    #[test]
    fn two_words_of_the_list_are_a_code_without_its_number() {
        for noted in ["aardvark-zucchini", "Aardvark ZUCCHINI.", "peer-cli get aardvark-zucchini", "-aardvark-zucchini"]
        {
            assert!(Code::lacks_number(noted), "{noted}");
        }
        for other in
            ["aardvark", "aardvark-bread", "7-aardvark-zucchini", "aardvark-zucchini.txt", "aardvark-zucchini-2", ""]
        {
            assert!(!Code::lacks_number(other), "{other}");
        }
    }

    #[test]
    fn each_pair_of_words_is_a_code_of_its_own() {
        for number in 0..Code::WORDS as u16 {
            let code = Code::new(1 + number, [number, 1023 - number]);
            assert_eq!(code.to_string().parse(), Ok(code));
        }
    }
}
