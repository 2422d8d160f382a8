//! Which tags a repository has, as its registry lists them.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::is_tag;

/// Some of the tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// In the registry's order.
    pub tags: Vec<String>,
    /// Behind which one the next are, and how many are asked for then, if there are more.
    pub next: Option<(String, Option<u32>)>,
}

/// As the specification writes it. Some registries have `null` where there are none.
#[derive(Deserialize)]
struct Listed {
    tags: Option<Vec<String>>,
}

/// Reads a list. What is no tag is left out.
pub(super) fn read(body: &[u8], next: Option<(String, Option<u32>)>) -> Option<Tags> {
    let listed: Listed = serde_json::from_slice(body).ok()?;
    let tags = listed.tags.unwrap_or_default().into_iter().filter(|tag| is_tag(tag)).collect();
    Some(Tags { tags, next })
}

/// What a `Link` leads to: `<…?last=TAG&n=10>; rel="next"`.
pub(super) fn next(link: &str) -> Option<(String, Option<u32>)> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !parameters.contains("next") {
        return None;
    }
    let query = url.split_once('?')?.1;
    let value = |wanted: &str| {
        let values = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = values.filter(|(name, _)| *name == wanted);
        values.next().map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
    };
    let last = value("last").filter(|tag| is_tag(tag))?;
    Some((last, value("n").and_then(|count| count.parse().ok())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_is_read_with_what_comes_next() {
        let tags = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let found = read(br#"{"name": "a", "tags": ["1.0", "latest", "no tag"]}"#, None).unwrap();
        assert_eq!(found.tags, tags(&["1.0", "latest"]));
        assert_eq!(read(br#"{"name": "a", "tags": null}"#, None).unwrap().tags, tags(&[]));
        assert_eq!(read(b"[]", None), None);
        for (link, expected) in [
            ("</v2/a/tags/list?last=1.0&n=2>; rel=\"next\"", Some(("1.0".to_owned(), Some(2)))),
            ("<https://host/v2/a/tags/list?n=x&last=b>; rel=next", Some(("b".to_owned(), None))),
            ("</v2/a/tags/list?last=a%2Fb>; rel=\"next\"", None),
            ("</v2/a/tags/list?last=1>; rel=\"prev\"", None),
            ("", None),
        ] {
            assert_eq!(next(link), expected, "{link}");
        }
    }
}
