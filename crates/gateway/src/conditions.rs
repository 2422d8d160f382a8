//! Which version a client has or means (RFC 9110, section 13): all by strong tags, since a content never changes.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};

/// What the conditions of a request come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// It is to be sent.
    Send,
    /// The client has it.
    NotModified,
    /// The client means another version.
    Failed,
}

/// Judges the conditions for what has this tag, in quotes. A client that has it under the tag of the whole file has it, too.
pub(crate) fn judge(headers: &HeaderMap, tag: &str, whole: &str) -> Precondition {
    if let Some(found) = names(headers, IF_MATCH, |other| other == tag)
        && !found
    {
        return Precondition::Failed;
    }
    let same = |other: &str| [tag, whole].contains(&other.strip_prefix("W/").unwrap_or(other));
    match names(headers, IF_NONE_MATCH, same) {
        Some(true) => Precondition::NotModified,
        _ => Precondition::Send,
    }
}

/// The ranges that a client wants, unless it has a part of another version. Where clients may have wrong bytes, one that wants the rest
/// must say which version it has the beginning of.
pub(crate) fn ranges<'a>(headers: &'a HeaderMap, tag: &str, is_spoiled: bool) -> Option<&'a str> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    match headers.get(IF_RANGE) {
        // A date is none of ours.
        Some(condition) if condition.as_bytes() != tag.as_bytes() => None,
        Some(_) => Some(range),
        None => Some(range).filter(|range| !(is_spoiled && goes_on(range))),
    }
}

/// Whether a client wants all after a place, as one does that has what is before it.
fn goes_on(range: &str) -> bool {
    let range = range.split_once('=').map_or(range, |(_, range)| range).trim();
    range.strip_suffix('-').is_some_and(|first| !first.trim().trim_start_matches('0').is_empty())
}

/// Whether a list of tags has one that is the same; `None` if there is no such header.
fn names(headers: &HeaderMap, name: HeaderName, same: impl Fn(&str) -> bool) -> Option<bool> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let mut tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    Some(tags.any(|tag| tag.trim() == "*" || same(tag.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(HeaderName, &str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        for value in ["\"a\"", "*", "\"b\", \"a\"", "W/\"a\""] {
            assert_eq!(
                judge(&headers(&[(IF_NONE_MATCH, value)]), "\"a\"", "\"a\""),
                Precondition::NotModified,
                "{value}"
            );
        }
        assert_eq!(judge(&headers(&[(IF_NONE_MATCH, "\"b\"")]), "\"a\"", "\"a\""), Precondition::Send);
        assert_eq!(judge(&headers(&[]), "\"a\"", "\"a\""), Precondition::Send);
    }

    #[test]
    fn another_version_is_refused() {
        for value in ["\"b\"", "W/\"a\""] {
            assert_eq!(judge(&headers(&[(IF_MATCH, value)]), "\"a\"", "\"a\""), Precondition::Failed, "{value}");
        }
        for value in ["\"a\"", "*", "\"b\",\"a\""] {
            assert_eq!(judge(&headers(&[(IF_MATCH, value)]), "\"a\"", "\"a\""), Precondition::Send, "{value}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_ignored() {
        let range = (RANGE, "bytes=1-");
        assert_eq!(ranges(&headers(std::slice::from_ref(&range)), "\"a\"", false), Some("bytes=1-"));
        assert_eq!(ranges(&headers(&[range.clone(), (IF_RANGE, "\"a\"")]), "\"a\"", false), Some("bytes=1-"));
        for other in ["\"b\"", "W/\"a\"", "Sat, 28 Nov 2026 00:00:00 GMT"] {
            assert_eq!(ranges(&headers(&[range.clone(), (IF_RANGE, other)]), "\"a\"", false), None, "{other}");
        }
    }

    #[test]
    fn nobody_goes_on_behind_bytes_that_may_be_wrong() {
        let of = |range: &str, more: &[(HeaderName, &str)]| {
            let headers = headers(&[&[(RANGE, range)], more].concat());
            ranges(&headers, "\"a.1\"", true).is_some()
        };
        for (range, may) in
            [("bytes=5-", false), ("bytes = 010-", false), ("bytes=0-", true), ("bytes=5-9", true), ("bytes=-5", true)]
        {
            assert_eq!(of(range, &[]), may, "{range}");
        }
        assert!(of("bytes=5-", &[(IF_RANGE, "\"a.1\"")]), "what it has was sent since");
        assert!(!of("bytes=5-9", &[(IF_RANGE, "\"a\"")]));
        let has = headers(&[(IF_NONE_MATCH, "\"a\"")]);
        assert_eq!(judge(&has, "\"a.1\"", "\"a\""), Precondition::NotModified, "it has all of it");
        let has = headers(&[(IF_MATCH, "\"a\"")]);
        assert_eq!(judge(&has, "\"a.1\"", "\"a\""), Precondition::Failed);
    }
}
