//! How many columns a text takes on a terminal, and how one is made to fit.
//!
//! Terminals disagree about emoji: some draw a sequence of them as one picture, others one after another. What is counted here is
//! the widest of it, so that no line is ever longer than the terminal.

use unicode_width::UnicodeWidthChar;

/// Stands for what is left out.
const GAP: char = '…';
/// Makes a symbol before it an emoji, which may be a column wider.
const AS_EMOJI: char = '\u{fe0f}';

/// The columns that a text takes at most.
pub fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    if c == AS_EMOJI { 1 } else { c.width().unwrap_or(0) }
}

/// The text in so many columns at most: if it is longer, its middle is left out, since names differ at their ends.
pub fn shortened(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let Some(room) = most.checked_sub(1) else { return String::new() };
    let tail_room = room / 2;
    let head = fitting(text.chars(), room - tail_room);
    let mut tail: Vec<char> = fitting(text.chars().rev(), tail_room);
    // A mark that belongs to what was left out would be drawn on the gap.
    while tail.last().is_some_and(|&c| width(c) == 0 || c == AS_EMOJI) {
        tail.pop();
    }
    head.into_iter().chain([GAP]).chain(tail.into_iter().rev()).collect()
}

/// The text in lines of so many columns at most, broken at spaces. A word that is longer stays whole.
pub fn wrapped(text: &str, most: usize) -> Vec<String> {
    joined(text.split(' '), most)
}

/// The same of a sentence that may tell what to type. To be copied, that stays in one piece: what stands in backticks, a flag with its
/// value, and a command of ours, which goes on to the end.
pub fn wrapped_around_commands(text: &str, most: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut is_quoted, mut is_command, mut is_flag) = (false, false, false);
    for word in text.split(' ') {
        match words.last_mut().filter(|_| is_quoted || is_command || is_flag) {
            Some(last) => last.extend([" ", word]),
            None => words.push(word.to_owned()),
        }
        is_quoted ^= word.matches('`').count() % 2 == 1;
        is_command |= !is_quoted && word == "peer-cli";
        is_flag = word.starts_with("--");
    }
    joined(words.iter().map(String::as_str), most)
}

fn joined<'a>(words: impl Iterator<Item = &'a str>, most: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for (number, word) in words.enumerate() {
        if !line.trim().is_empty() && columns(&line) + 1 + columns(word) > most {
            lines.push(std::mem::take(&mut line));
        } else if number > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// The beginning of a text, in so many columns at most.
pub fn beginning(text: &str, most: usize) -> String {
    fitting(text.chars(), most).into_iter().collect()
}

/// The first of these that fit.
fn fitting(chars: impl Iterator<Item = char>, mut room: usize) -> Vec<char> {
    let fits = |c: &char| {
        let rest = room.checked_sub(width(*c));
        room = rest.unwrap_or(0);
        rest.is_some()
    };
    chars.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shortened_in_its_middle() {
        assert_eq!(shortened("big.bin", 7), "big.bin");
        assert_eq!(shortened("Meta-Llama-3.1-8B-00001-of-00002.gguf", 17), "Meta-Lla…002.gguf");
        assert_eq!(["", "…", "a…", "a…c"].map(str::to_owned), [0, 1, 2, 3].map(|most| shortened("abbbbc", most)));
    }

    #[test]
    fn no_shortened_name_is_wider_than_it_may_be() {
        let names = [
            "日本語のとても長いファイル名です.bin",
            "👩🏽‍🚀🚀👩🏽‍🚀🚀.tar",
            "❤️❤️❤️❤️.png",
            "e\u{301}e\u{301}e\u{301}e\u{301}",
            "x",
        ];
        for name in names {
            for most in 0..40 {
                let short = shortened(name, most);
                assert!(columns(&short) <= most, "{short:?} in {most}");
            }
        }
        assert_eq!((columns("日本"), columns("❤️"), columns("e\u{301}")), (4, 2, 1));
    }

    #[test]
    fn a_sentence_is_broken_between_words() {
        assert_eq!(wrapped("Type help for commands.", 10), ["Type help", "for", "commands."]);
        assert_eq!(wrapped("Type help for commands.", 23), ["Type help for commands."]);
        assert_eq!(wrapped("  10.0.0.1  has all", 12), ["  10.0.0.1 ", "has all"]);
        assert_eq!(wrapped("averylongname is here", 5), ["averylongname", "is", "here"]);
        assert_eq!(wrapped("日本 語の", 5), ["日本", "語の"]);
        assert_eq!(wrapped("", 5), [""]);
    }

    #[test]
    fn what_is_to_be_typed_stays_in_one_piece() {
        let lines = |text| wrapped_around_commands(text, 20);
        assert_eq!(lines("peer-cli: it is gone. Ask for it again"), ["peer-cli: it is", "gone. Ask for it", "again"]);
        assert_eq!(
            lines("start one with `peer-cli daemon`, or not"),
            ["start one with", "`peer-cli daemon`,", "or not"]
        );
        assert_eq!(
            lines("add this to the line: --tracker-id 37ed33d7"),
            ["add this to the", "line:", "--tracker-id 37ed33d7"]
        );
        assert_eq!(
            lines("the command comes first: peer-cli get -q big.bin"),
            ["the command comes", "first:", "peer-cli get -q big.bin"]
        );
    }

    #[test]
    fn a_gap_takes_no_mark_of_what_is_left_out() {
        assert_eq!(shortened("abcdefe\u{301}", 3), "a…e\u{301}");
        assert!(!shortened("abcdef\u{301}g", 4).contains("…\u{301}"));
    }
}
