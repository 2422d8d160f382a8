//! Objects of a bucket, listed as stores list them: by prefix, with what lies behind a delimiter rolled up, page by page.

use std::collections::BTreeMap;
use std::fmt::Write;

use data_encoding::BASE64URL_NOPAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::pages::escaped;

/// Most entries of a page.
const MOST: usize = 1000;
/// What is not escaped in a key that a client asks to have escaped.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// Line ends and tabs, which readers of XML would take for spaces or for other line ends.
const SPACES: [char; 3] = ['\t', '\n', '\r'];
/// When objects were modified: never, since a content does not change.
pub(super) const NEVER: &str = "1970-01-01T00:00:00.000Z";

/// An object as it is listed: its size and its tag.
pub(super) type Listed = (u64, String);

/// What is to be listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ListRequest {
    pub(super) prefix: String,
    delimiter: String,
    /// Only what comes behind this.
    after: String,
    most: usize,
    /// Whether it is the second version of the call.
    is_second: bool,
    escapes: bool,
    token: Option<String>,
    start_after: String,
}

impl ListRequest {
    /// As the parameters of a query say; nothing if they cannot be understood.
    pub(super) fn of(query: &[(String, String)]) -> Option<Self> {
        let find = |wanted: &str| query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let is_second = find("list-type").as_deref() == Some("2");
        let token = find("continuation-token").filter(|_| is_second);
        let start_after = find(if is_second { "start-after" } else { "marker" }).unwrap_or_default();
        let after = match &token {
            Some(token) => String::from_utf8(BASE64URL_NOPAD.decode(token.as_bytes()).ok()?).ok()?,
            None => start_after.clone(),
        };
        let most = find("max-keys").map_or(Some(MOST), |most| most.parse().ok())?.min(MOST);
        Some(ListRequest {
            prefix: find("prefix").unwrap_or_default(),
            delimiter: find("delimiter").unwrap_or_default(),
            after,
            most,
            is_second,
            escapes: find("encoding-type").as_deref() == Some("url"),
            token,
            start_after,
        })
    }

    /// Where what is rolled up with a key ends, if it is.
    fn rolled_up<'a>(&self, key: &'a str) -> Option<&'a str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let at = key[self.prefix.len()..].find(&self.delimiter)?;
        Some(&key[..self.prefix.len() + at + self.delimiter.len()])
    }

    fn text(&self, text: &str) -> String {
        if self.escapes { utf8_percent_encode(text, PLAIN).to_string() } else { as_xml(text) }
    }
}

/// Text as XML, which is read as it was.
fn as_xml(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for part in text.split_inclusive(SPACES) {
        let words = part.trim_end_matches(SPACES);
        xml.push_str(&escaped(words));
        for space in part[words.len()..].chars() {
            let _ = write!(xml, "&#{};", u32::from(space));
        }
    }
    xml
}

/// A page of these objects, as XML.
pub(super) fn page(bucket: &str, objects: &BTreeMap<String, Listed>, wanted: &ListRequest) -> String {
    let (mut entries, mut count, mut last, mut is_cut) = (String::new(), 0, "", false);
    for (key, (size, tag)) in
        objects.range(wanted.prefix.clone()..).take_while(|(key, _)| key.starts_with(&wanted.prefix))
    {
        let rolled_up = wanted.rolled_up(key);
        let entry = rolled_up.unwrap_or(key);
        let is_before = key.as_str() <= wanted.after.as_str() || rolled_up == Some(wanted.after.as_str());
        if is_before || entry == last {
            continue;
        }
        if count == wanted.most {
            is_cut = wanted.most > 0;
            break;
        }
        (count, last) = (count + 1, entry);
        let name = wanted.text(entry);
        let _ = match rolled_up {
            Some(_) => write!(entries, "<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"),
            None => write!(
                entries,
                "<Contents><Key>{name}</Key><LastModified>{NEVER}</LastModified><ETag>{}</ETag><Size>{size}</Size>\
                 <StorageClass>STANDARD</StorageClass></Contents>",
                escaped(tag)
            ),
        };
    }
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let field = |xml: &mut String, name: &str, value: &str| {
        let _ = write!(xml, "<{name}>{value}</{name}>");
    };
    xml.push_str("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    field(&mut xml, "Name", &escaped(bucket));
    field(&mut xml, "Prefix", &wanted.text(&wanted.prefix));
    if !wanted.delimiter.is_empty() {
        field(&mut xml, "Delimiter", &wanted.text(&wanted.delimiter));
    }
    field(&mut xml, "MaxKeys", &wanted.most.to_string());
    if wanted.escapes {
        field(&mut xml, "EncodingType", "url");
    }
    field(&mut xml, "IsTruncated", if is_cut { "true" } else { "false" });
    if wanted.is_second {
        field(&mut xml, "KeyCount", &count.to_string());
        if let Some(token) = &wanted.token {
            field(&mut xml, "ContinuationToken", &escaped(token));
        }
        if !wanted.start_after.is_empty() {
            field(&mut xml, "StartAfter", &wanted.text(&wanted.start_after));
        }
        if is_cut {
            field(&mut xml, "NextContinuationToken", &BASE64URL_NOPAD.encode(last.as_bytes()));
        }
    } else {
        field(&mut xml, "Marker", &wanted.text(&wanted.start_after));
        if is_cut {
            field(&mut xml, "NextMarker", &wanted.text(last));
        }
    }
    xml + &entries + "</ListBucketResult>"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> BTreeMap<String, Listed> {
        let keys = ["a.txt", "d/1", "d/2", "d/e/3", "ö & b", "z"];
        keys.iter().map(|key| ((*key).to_owned(), (1, "\"t\"".to_owned()))).collect()
    }

    fn wanted(query: &[(&str, &str)]) -> ListRequest {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ListRequest::of(&query).unwrap()
    }

    fn between<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        xml.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
    }

    #[test]
    fn what_lies_behind_a_delimiter_is_rolled_up() {
        let xml = page("b", &objects(), &wanted(&[("list-type", "2"), ("delimiter", "/")]));
        assert_eq!(between(&xml, "Key"), ["a.txt", "z", "ö &amp; b"]);
        assert_eq!(between(&xml, "CommonPrefixes"), ["<Prefix>d/</Prefix>"]);
        assert_eq!(between(&xml, "KeyCount"), ["4"]);
        let xml = page("b", &objects(), &wanted(&[("list-type", "2"), ("delimiter", "/"), ("prefix", "d/")]));
        assert_eq!(between(&xml, "Key"), ["d/1", "d/2"]);
        assert_eq!(between(&xml, "CommonPrefixes"), ["<Prefix>d/e/</Prefix>"]);
        // What is rolled up is there if any of it comes behind.
        let xml = page("b", &objects(), &wanted(&[("list-type", "2"), ("delimiter", "/"), ("start-after", "d/1")]));
        assert_eq!(between(&xml, "CommonPrefixes"), ["<Prefix>d/</Prefix>"]);
        let xml = page("b", &objects(), &wanted(&[("list-type", "2"), ("encoding-type", "url"), ("prefix", "ö")]));
        assert_eq!(between(&xml, "Key"), ["%C3%B6%20%26%20b"]);
        let objects = BTreeMap::from([("a\n\r\tb\u{1}<\n".to_owned(), (1, String::new()))]);
        let xml = page("b", &objects, &wanted(&[("list-type", "2")]));
        assert_eq!(between(&xml, "Key"), ["a&#10;&#13;&#9;b\u{fffd}&lt;&#10;"]);
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        for delimiter in ["", "/"] {
            for first in ["1", "2"] {
                let (mut seen, mut token) = (Vec::new(), String::new());
                for _ in 0..10 {
                    let mut query = vec![("list-type", first), ("max-keys", "1"), ("delimiter", delimiter)];
                    let name = if first == "2" { "continuation-token" } else { "marker" };
                    if !token.is_empty() {
                        query.push((name, &token));
                    }
                    let xml = page("b", &objects(), &wanted(&query));
                    let entries = [between(&xml, "Key"), between(&xml, "CommonPrefixes")].concat();
                    assert!(entries.len() <= 1);
                    seen.extend(entries.into_iter().map(str::to_owned));
                    let next = if first == "2" { "NextContinuationToken" } else { "NextMarker" };
                    let next = between(&xml, next).first().map(|next| next.replace("&amp;", "&"));
                    let Some(next) = next else { break };
                    token = next;
                }
                assert_eq!(seen.len(), if delimiter.is_empty() { 6 } else { 4 }, "{delimiter} {first}: {seen:?}");
            }
        }
        let xml = page("b", &objects(), &wanted(&[("max-keys", "0")]));
        assert_eq!((between(&xml, "Key").len(), between(&xml, "IsTruncated")), (0, vec!["false"]));
        let query = [("list-type".to_owned(), "2".to_owned()), ("continuation-token".to_owned(), "!".to_owned())];
        assert_eq!(ListRequest::of(&query), None);
    }
}
