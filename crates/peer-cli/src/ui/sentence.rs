//! Errors and reasons as sentences of their own.

/// With a capital letter at the beginning.
pub fn capitalised(text: impl ToString) -> String {
    let mut text = text.to_string();
    text.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_with_a_capital() {
        for (text, expected) in [("the tracker", "The tracker"), ("", ""), ("über", "über"), ("10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(capitalised(text), expected);
        }
    }
}
