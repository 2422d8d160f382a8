//! How images, their tags and their digests are written (OCI distribution specification, "Pulling manifests").

use crate::FileDigest;

/// Most characters of a repository's name.
const LONGEST_NAME: usize = 255;
/// Most characters of a tag.
const LONGEST_TAG: usize = 128;

/// Whether a text is the name of a repository of images: parts of small letters and digits, divided by `/`.
pub fn is_name(text: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    // Nothing but `.`, `_`, `__` and any number of `-` stands between letters.
    let divides = |between: &str| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-');
    let is_part =
        |part: &str| part.starts_with(is_plain) && part.ends_with(is_plain) && part.split(is_plain).all(divides);
    text.len() <= LONGEST_NAME && text.split('/').all(is_part)
}

/// Whether a text is a tag.
pub fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fits = |byte: u8| is_word(byte) || byte == b'.' || byte == b'-';
    text.len() <= LONGEST_TAG && text.bytes().next().is_some_and(is_word) && text.bytes().all(fits)
}

/// The digest that `sha256:…` or `sha512:…` is, in small letters: the two kinds that the specification registers.
pub fn digest(text: &str) -> Option<FileDigest> {
    let (kind, digits) = text.split_once(':')?;
    if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    match kind {
        "sha256" => crate::hub::hex(digits).map(FileDigest::Sha256),
        "sha512" => crate::hub::hex(digits).map(FileDigest::Sha512),
        _ => None,
    }
}

/// How a digest is written; nothing if registries have none of its kind.
pub fn digest_name(digest: FileDigest) -> Option<String> {
    let (kind, bytes) = match &digest {
        FileDigest::Sha256(bytes) => ("sha256", &bytes[..]),
        FileDigest::Sha512(bytes) => ("sha512", &bytes[..]),
        FileDigest::GitBlob(_) => return None,
    };
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{kind}:{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for name in ["a", "library/alpine", "a.b/c_d/e__f/g--h", "0/1", "a---b"] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(256);
        for name in
            ["", "/", "a/", "/a", "a//b", "A", "..", "a/..", ".a", "a.", "a..b", "a___b", "a._b", "a b", "é", &long]
        {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn tags_and_digests_are_those_of_the_specification() {
        assert!(is_tag("v1.0-rc_1") && is_tag("_") && is_tag(&"t".repeat(128)));
        for tag in ["", ".a", "-a", "a/b", "a:b", "é", &"t".repeat(129)] {
            assert!(!is_tag(tag), "{tag}");
        }
        for (kind, len, expected) in
            [("sha256", 32, FileDigest::Sha256([10; 32])), ("sha512", 64, FileDigest::Sha512([10; 64]))]
        {
            let text = format!("{kind}:{}", "0a".repeat(len));
            assert_eq!((digest(&text), digest_name(expected)), (Some(expected), Some(text)));
        }
        for text in ["", "sha256:", &"0a".repeat(32), &format!("sha256:{}", "0A".repeat(32)), "sha512:00"] {
            assert_eq!(digest(text), None, "{text}");
        }
    }
}
