//! Names under which files are written that cannot, or should not, have their own: percent-encoded as in a URL, so that the
//! own name can be read back.

use crate::is_unprintable;
use crate::name::{LONGEST, check_local_name, decorated_within};

/// The name for `name` on this platform (`windows` or not): `%2E` for a dot at its beginning, `%0A` for a newline, and so on
/// for every character that is unprintable or that the platform does not take, and for those that `also` says. A name that is
/// the same then gets its first character encoded. Never the same for two names, unless they are too long for it: then a
/// digest stands at the end. `most` are the bytes that a name may have, at most 255.
pub fn mapped_name(name: &str, windows: bool, most: usize, also: impl Fn(char) -> bool) -> String {
    let encode = |first: bool| {
        let mut text = String::new();
        for (at, c) in name.char_indices() {
            let is_last = at + c.len_utf8() == name.len();
            let taken = !windows || !matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
            let ends_badly = windows && is_last && matches!(c, '.' | ' ');
            let begins = at == 0 && (first || c == '.');
            if c == '%' || is_unprintable(c) || !taken || ends_badly || begins || also(c) {
                let mut bytes = [0; 4];
                text.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
            } else {
                text.push(c);
            }
        }
        text
    };
    let plain = encode(false);
    // A device of Windows is one whatever stands behind the first dot.
    let bad = |text: &str| text.len() <= 255 && check_local_name(text, windows).is_err();
    let text = if plain == name || bad(&plain) { encode(true) } else { plain };
    decorated_within("", &text, "", most.min(LONGEST))
}

/// The name that [`mapped_name`] was given, unless it was too long.
pub fn unmapped_name(mapped: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), mapped.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check_name;

    fn mapped(name: &str, windows: bool) -> String {
        mapped_name(name, windows, 255, |_| false)
    }

    #[test]
    fn names_are_mapped_as_in_a_url() {
        for (name, expected) in [
            (".bashrc", "%2Ebashrc"),
            ("a\nb", "a%0Ab"),
            ("50%\u{1b}[2J", "50%25%1B[2J"),
            ("a\u{202e}b", "a%E2%80%AEb"),
            ("p2p-fileshare.toml", "%702p-fileshare.toml"),
            ("x.", "%78."),
        ] {
            assert_eq!(mapped(name, false), expected);
        }
        for (name, expected) in [
            ("CON", "%43ON"),
            ("con\n.txt", "con%0A.txt"),
            ("nul.a\nb", "%6Eul.a%0Ab"),
            ("a:b", "a%3Ab"),
            ("x. ", "x.%20"),
            ("x.", "x%2E"),
        ] {
            assert_eq!(mapped(name, true), expected);
        }
    }

    #[test]
    fn names_that_fold_to_one_are_mapped_to_two() {
        let also = |c: char| !c.is_ascii() || c.is_ascii_uppercase();
        let names = ["abc", "abC", "aBc", "é", "e\u{301}", "É"];
        let folded: std::collections::BTreeSet<_> =
            names.iter().skip(1).map(|name| mapped_name(name, false, 255, also).to_lowercase()).collect();
        assert_eq!(folded.len(), 5, "{folded:?}");
    }

    proptest! {
        #[test]
        fn a_mapped_name_can_be_had_back_and_is_good_everywhere(
            name in "(\\PC|[.% :\\\\\n\u{1b}\u{202e}]|con|nul){1,20}",
            windows: bool,
        ) {
            prop_assume!(check_name(&name).is_ok());
            let mapped = mapped(&name, windows);
            prop_assert_ne!(&mapped, &name);
            prop_assert_eq!(check_local_name(&mapped, windows), Ok(()));
            prop_assert!(!mapped.starts_with('.') && !mapped.chars().any(is_unprintable));
            prop_assert_eq!(unmapped_name(&mapped), Some(name));
        }

        #[test]
        fn a_mapped_name_is_never_too_long(name in "[\n.%a]{200,255}") {
            prop_assert!(mapped(&name, true).len() <= 255);
            prop_assert!(mapped_name(&name, true, 143, |_| false).len() <= 143);
        }
    }
}
