//! Text that others chose, as it may be shown: names, reasons and errors come from the network, and terminals and log files
//! take some characters for more than text.

/// Whether a character moves the cursor, ends a line, turns the direction of text or cannot be seen: control characters
/// (C0, DEL, C1), line and paragraph separators, and format characters such as bidirectional marks, joiners and tags.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether something in a text [`is_unprintable`]. A joiner between two emoji is not: it makes one picture of them, as phones type it.
pub fn has_unprintable(text: &str) -> bool {
    marked(text).any(|(_, is_unprintable)| is_unprintable)
}

/// The text as one line, with everything escaped that [`has_unprintable`] finds: `\u{a}` for a newline.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (c, is_unprintable) in marked(text) {
        if is_unprintable { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// Joins what is on both sides of it.
const JOINER: char = '\u{200d}';
/// Makes a symbol before it an emoji.
const AS_EMOJI: char = '\u{fe0f}';

/// The characters of a text, and whether each is unprintable there.
fn marked(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut before = None;
    text.char_indices().map(move |(at, c)| {
        let joins = c == JOINER
            && before.is_some_and(|before| before == AS_EMOJI || is_emoji(before))
            && text[at + c.len_utf8()..].chars().next().is_some_and(is_emoji);
        before = Some(c);
        (c, is_unprintable(c) && !joins)
    })
}

/// Whether a character is a picture that may be a part of a larger one.
fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2194}'..='\u{2195}' | '\u{2600}'..='\u{27bf}' | '\u{2b1b}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_format_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}c ü 日本 ☺️"), r"a\u{1b}[2Jb\u{a}\u{202e}c ü 日本 ☺️");
        let marks = (0x202a..=0x202e).chain(0x2066..=0x2069).chain(0x80..=0x9f).chain(0..0x20);
        let others = [0x7f, 0x200e, 0x200f, 0x61c, 0x2028, 0x2029, 0x200b, 0x200c, 0x200d, 0x2060, 0xfeff, 0xe0041];
        for mark in marks.chain(others).filter_map(char::from_u32) {
            assert!(is_unprintable(mark), "{mark:?}");
            assert!(!printable(&format!("a{mark}b")).contains(mark), "{mark:?}");
        }
        assert!(!" ~é\u{301}".chars().any(is_unprintable));
    }

    #[test]
    fn a_joiner_is_shown_where_it_makes_one_picture_of_several() {
        for whole in ["👩🏽\u{200d}🚀.txt", "❤️\u{200d}🔥", "👨\u{200d}👩\u{200d}👧", "🏴\u{200d}☠️"]
        {
            assert!(!has_unprintable(whole), "{whole}");
            assert_eq!(printable(whole), whole);
        }
        for hidden in
            ["a\u{200d}b", "🚀\u{200d}", "\u{200d}🚀", "🚀\u{200d}a", "🚀\u{200d}\u{200d}🚀", "a\u{fe0f}\u{200d}b"]
        {
            assert!(has_unprintable(hidden) && !printable(hidden).contains(JOINER), "{hidden}");
        }
    }
}
