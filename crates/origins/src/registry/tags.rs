//! Which tags a repository has, as its registry lists them.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::is_tag;

/// Most tags of one list.
const MOST: usize = 100_000;

/// Some of the tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// In the registry's order.
    pub tags: Vec<String>,
    /// Behind which one the next are, if there are more.
    pub next: Option<Next>,
}

/// Behind which tag the next are, and how many are asked for then.
pub type Next = (String, Option<u32>);

/// As the specification writes it. Some registries have `null` where there are none.
#[derive(Deserialize)]
struct Listed {
    tags: Option<Vec<String>>,
}

/// Reads a list, or says why it is none. What is no tag is left out.
pub(super) fn read(body: &[u8], next: Option<Next>) -> Result<Tags, &'static str> {
    // A comma is between two tags, and never in one.
    if body.iter().filter(|byte| **byte == b',').count() > MOST {
        return Err("its list of tags is too long: ask for fewer at a time (n=1000)");
    }
    let listed: Listed =
        serde_json::from_slice(body).map_err(|_| "the registry does not answer as a registry should")?;
    let tags = listed.tags.unwrap_or_default().into_iter().filter(|tag| is_tag(tag)).collect();
    Ok(Tags { tags, next })
}

/// Where the next tags are, as headers of `Link` say it: `<…?last=TAG&n=10>; rel="next"`, perhaps among other links. Fails where the list
/// goes on in another way: its beginning would pass for all of it.
pub(super) fn next<'a>(headers: impl IntoIterator<Item = &'a str>) -> Result<Option<Next>, &'static str> {
    let unknown = "its list of tags goes on in a way that is not known here, so that only a part of it would be seen";
    for header in headers {
        let mut rest = header;
        while let Some(begun) = rest.find('<') {
            let (url, behind) = rest[begun + 1..].split_once('>').ok_or(unknown)?;
            let (parameters, other) = behind.split_at(end_of_parameters(behind));
            rest = other;
            if is_next(parameters) {
                return leads_to(url).map(Some).ok_or(unknown);
            }
        }
    }
    Ok(None)
}

/// Where the parameters of a link end: at a comma that stands in no quotes.
fn end_of_parameters(text: &str) -> usize {
    let mut is_quoted = false;
    let end = text.find(|character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    });
    end.unwrap_or(text.len())
}

fn is_next(parameters: &str) -> bool {
    let mut pairs = parameters.split(';').filter_map(|pair| pair.split_once('='));
    let relations = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("rel"));
    relations.is_some_and(|(_, relations)| {
        relations.trim().trim_matches('"').split_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

fn leads_to(url: &str) -> Option<Next> {
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
        assert!(read(b"[]", None).is_err());
        for (count, is_too_long) in [(MOST, false), (MOST + 1, true)] {
            let long = format!(r#"{{"name": "a", "tags": ["a"{}]}}"#, r#","a""#.repeat(count - 1));
            assert_eq!(read(long.as_bytes(), None).is_err(), is_too_long, "{count}");
        }
    }

    #[test]
    fn the_next_tags_are_where_a_link_says() {
        let at = |last: &str, n| Ok(Some((last.to_owned(), n)));
        for (links, expected) in [
            (&["</v2/a/tags/list?last=1.0&n=2>; rel=\"next\""][..], at("1.0", Some(2))),
            (&["<https://host/v2/a/tags/list?n=x&last=b>; rel=next"], at("b", None)),
            (&["</x?last=a>; rel=\"prev\", </x?last=b>; title=\"c, d\"; rel=\"last next\""], at("b", None)),
            (&["</x?last=a>; rel=\"first\"", "</x?last=b>; REL=Next"], at("b", None)),
            (&["</v2/a/tags/list?last=1>; rel=\"prev\""], Ok(None)),
            (&["</x?last=1>; title=\"next\""], Ok(None)),
            (&[""], Ok(None)),
            (&[], Ok(None)),
        ] {
            assert_eq!(next(links.iter().copied()), expected, "{links:?}");
        }
        for link in ["</v2/a/tags/list?last=a%2Fb>; rel=\"next\"", "</v2/a/tags/list?next_page=x>; rel=\"next\"", "</x"]
        {
            assert!(next([link]).is_err(), "{link}");
        }
    }
}
