//! The letters beside ASCII that the program draws with, and what stands for them where a terminal has no such letters.

use settings::terminal::draws_unicode;

/// A text as a terminal can show it. What stands for a letter is as wide, so that what is drawn keeps its columns.
pub fn on_terminal(text: String) -> String {
    if draws_unicode() { text } else { in_ascii(&text) }
}

fn in_ascii(text: &str) -> String {
    let letter = |letter| match letter {
        '…' => '~',
        '→' | '╸' => '>',
        '━' => '=',
        other => other,
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::columns::columns;

    #[test]
    fn letters_of_ascii_are_as_wide_as_those_that_they_stand_for() {
        let drawn = "big…bin  ━━╸  → here";
        assert_eq!(in_ascii(drawn), "big~bin  ==>  > here");
        assert_eq!(columns(&in_ascii(drawn)), columns(drawn));
        assert_eq!(in_ascii("größer"), "größer", "a name stays what it is");
    }
}
