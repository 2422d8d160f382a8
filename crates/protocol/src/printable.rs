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

/// The text as one line, with everything escaped that [`is_unprintable`]: `\u{a}` for a newline.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
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
}
