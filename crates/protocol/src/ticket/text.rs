//! Finding a ticket in what someone pasted: mails and chats break lines, quote, capitalise, and put marks around things.
//!
//! Whatever is neither letter nor digit is passed over, wherever it stands. A ticket says itself how long it is, so what
//! stands behind it does no harm, and its checksum says whether it is one. A second ticket is not passed over: nobody
//! may take the first and forget that one.

use super::bits::value;
use super::{PREFIX, TicketError};

/// Characters that stand together, from which on what begins as a ticket is meant as one, however it is damaged: no name
/// looks like this by chance. Fewer are enough if all of them are of its alphabet.
const MEANT: usize = 34;
const MEANT_SPELLED: usize = 20;
/// And if the second character is right too, as in tickets of the first version.
const MEANT_OLD: usize = 12;
/// Characters of a ticket's beginning alone, a digit among them, that no file is called by chance.
const BEGINNING: usize = 8;
/// What the first version makes of the second character behind the prefix, and what the second version does; the first one is
/// `a`.
const SECOND: [u8; 4] = *b"efgh";
const SECOND_OF_SEVERAL: [u8; 4] = *b"ijkl";
/// Longest text that is looked at: a mail, and not a book.
const LONGEST: usize = 16 * 1024;

/// The letters and digits of a text, in lower case, and for each whether something else stands before it.
struct Letters {
    letters: Vec<u8>,
    after_gap: Vec<bool>,
}

impl Letters {
    fn of(text: &str) -> Self {
        let room = text.len().min(LONGEST);
        let (mut letters, mut after_gap, mut gap) = (Vec::with_capacity(room), Vec::with_capacity(room), true);
        for character in text.chars().take(LONGEST).map(narrow) {
            if character.is_ascii_alphanumeric() {
                letters.push(character.to_ascii_lowercase() as u8);
                after_gap.push(gap);
                gap = false;
            } else if character.is_alphanumeric() {
                // A letter of another script is not part of a ticket, and no ticket continues after it.
                letters.push(b'?');
                after_gap.push(gap);
                gap = false;
            } else {
                gap = true;
            }
        }
        Letters { letters, after_gap }
    }

    /// Where something begins as a ticket does: the places of what stands behind the prefix.
    fn begins(&self) -> impl Iterator<Item = usize> + '_ {
        self.prefixes().filter(|&at| self.stands_apart(at))
    }

    /// The same, also where letters stand right before it.
    fn prefixes(&self) -> impl Iterator<Item = usize> + '_ {
        let starts = (0..self.letters.len()).filter(|&at| self.letters[at..].starts_with(PREFIX.as_bytes()));
        starts.map(|at| at + PREFIX.len())
    }

    /// Whether something else than letters and digits stands before the prefix of what is there.
    fn stands_apart(&self, at: usize) -> bool {
        self.after_gap[at - PREFIX.len()]
    }

    /// How many characters from there on stand together.
    fn together(&self, at: usize) -> usize {
        self.after_gap[at.min(self.after_gap.len())..].iter().take_while(|&&gap| !gap).count()
    }

    /// Whether what stands there begins as some ticket does.
    fn begins_as_one(&self, at: usize) -> bool {
        match &self.letters[at..] {
            [b'a', second, ..] => SECOND.contains(second) || SECOND_OF_SEVERAL.contains(second),
            [b'2'..=b'7', ..] => true,
            _ => false,
        }
    }

    /// Whether what stands there is meant as a ticket.
    fn is_meant(&self, at: usize) -> bool {
        let body = &self.letters[at..at + self.together(at)];
        let characters = PREFIX.len() + body.len();
        let spelled = body.iter().all(|&character| value(character).is_some());
        match body {
            [b'a', second, ..] if SECOND.contains(second) && spelled => characters >= MEANT_OLD,
            [b'a', second, ..] if SECOND_OF_SEVERAL.contains(second) && spelled => characters >= MEANT_SPELLED,
            [b'2'..=b'7', ..] if spelled => characters >= MEANT_SPELLED,
            [b'2'..=b'7', ..] => characters >= MEANT,
            _ => characters >= 2 * MEANT,
        }
    }
}

/// The letter that a wide one stands for: keyboards of East Asian scripts make `ｐ` of `p`.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => char::from((character as u32 - 0xff01) as u8 + b'!'),
        other => other,
    }
}

/// What is wrong with the first of a text that begins as a ticket does and goes on as long, however it is broken up.
pub(super) fn damage<T>(text: &str, decode: impl Fn(&[u8]) -> Result<(T, usize), TicketError>) -> Option<TicketError> {
    let letters = Letters::of(text);
    let is_long = |at: usize| PREFIX.len() + letters.letters[at..].len() >= MEANT_SPELLED;
    let at = letters.begins().find(|&at| letters.begins_as_one(at) && is_long(at))?;
    Some(decode(&letters.letters[at..]).err().unwrap_or(TicketError::Mistyped))
}

/// Whether a word is the beginning of a ticket and no more: `p2p2aeb6…`.
pub(super) fn is_shortened(word: &str) -> bool {
    let start = word.strip_suffix('…').or_else(|| word.strip_suffix("..."));
    let (start, ends_in_dots) = (start.unwrap_or(word), start.is_some());
    let letters = Letters::of(start);
    let is_one_word = letters.letters.len() == start.len() && letters.letters.starts_with(PREFIX.as_bytes());
    let is_spelled = || letters.letters[PREFIX.len()..].iter().all(|&character| value(character).is_some());
    if !is_one_word || !is_spelled() {
        return false;
    }
    let (body, begins_as_one) = (&letters.letters[PREFIX.len()..], letters.begins_as_one(PREFIX.len()));
    match ends_in_dots {
        true => body.len() < 2 || begins_as_one,
        // `p2p3test` may be a file.
        false => begins_as_one && word.len() >= BEGINNING && body[1..].iter().any(u8::is_ascii_digit),
    }
}

/// The only ticket in a text, however often it is there, or else what is wrong: with the first that is meant as one, or that there
/// are several. Nothing if there is none.
pub(super) fn find<T: PartialEq>(
    text: &str,
    decode: impl Fn(&[u8]) -> Result<(T, usize), TicketError>,
) -> Option<Result<T, TicketError>> {
    let letters = Letters::of(text);
    let mut whole: Vec<(T, &[u8])> = Vec::new();
    let mut damaged = Vec::new();
    let mut end = 0;
    for at in letters.prefixes() {
        // A ticket may be broken where it has the letters of the prefix.
        if at < end {
            continue;
        }
        let error = match decode(&letters.letters[at..]) {
            // A character too many is one that was typed twice.
            Ok((_, read)) if letters.after_gap.get(at + read).is_some_and(|gap| !gap) => TicketError::Mistyped,
            Ok((ticket, read)) => {
                end = at + read;
                if whole.iter().all(|(other, _)| *other != ticket) {
                    whole.push((ticket, &letters.letters[at..end]));
                }
                continue;
            }
            Err(error) => error,
        };
        // What stands right before a whole one was typed by mistake. Within a word, anything else is a part of that.
        if letters.stands_apart(at) && letters.is_meant(at) {
            damaged.push((at, error));
        }
    }
    if whole.is_empty() {
        return damaged.into_iter().next().map(|(_, error)| Err(error));
    }
    // A quote or a preview may show the beginning of the same ticket.
    let is_beginning = |at: usize| {
        let together = &letters.letters[at..at + letters.together(at)];
        whole.iter().any(|(_, written)| written.starts_with(together))
    };
    let others = damaged.iter().filter(|(at, _)| !is_beginning(*at)).count();
    match whole.len() + others {
        1 => whole.pop().map(|(ticket, _)| Ok(ticket)),
        count => Some(Err(TicketError::Several(count))),
    }
}
