//! Objects that cannot be read, since object_store has no name for their keys: it fails for a whole list with one of them. So they are
//! taken out of lists before it reads these.

use object_store::path::Path;

use super::xml::text_of;

/// How lists write an object, its key and its size: those of S3 and Google Cloud, and those of Azure.
const ELEMENTS: [[&str; 3]; 2] = [["Contents", "Key", "Size"], ["Blob", "Name", "Content-Length"]];

/// A list without such objects, whose keys are told.
pub(super) fn without_unfit(list: &str, mut tell: impl FnMut(&str)) -> String {
    let [objects, blobs] = ELEMENTS;
    let [object, key, size] = if list.contains("<Contents>") { objects } else { blobs };
    let (mut kept, mut rest) = (String::with_capacity(list.len()), list);
    while let Some(begin) = rest.find(&format!("<{object}>"))
        && let Some(end) = rest[begin..].find(&format!("</{object}>"))
    {
        let entry = &rest[begin..begin + end];
        match text_of(entry, key).filter(|key| !is_fit(key, text_of(entry, size).as_deref() == Some("0"))) {
            Some(key) => {
                tell(&key);
                kept.push_str(&rest[..begin]);
                rest = &rest[begin + end + object.len() + 3..];
            }
            None => {
                kept.push_str(&rest[..begin + end]);
                rest = &rest[begin + end..];
            }
        }
    }
    kept + rest
}

/// Whether an object can be read by its key. One that stands for a folder has a slash at its end, and is not read.
fn is_fit(key: &str, is_empty: bool) -> bool {
    path(key.strip_suffix('/').filter(|_| is_empty).unwrap_or(key)).is_some()
}

/// The path that is this key, and no other one.
pub(super) fn path(key: &str) -> Option<Path> {
    Path::parse(key).ok().filter(|path| path.as_ref() == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(list: &str) -> (String, Vec<String>) {
        let mut unfit = Vec::new();
        let kept = without_unfit(list, |key| unfit.push(key.to_owned()));
        (kept, unfit)
    }

    #[test]
    fn what_cannot_be_read_is_taken_out_of_a_list() {
        let s3 = |keys: &[(&str, u64)]| {
            let entry = |(key, size): &(&str, u64)| {
                format!("<Contents><Key>{key}</Key><ETag>\"t\"</ETag><Size>{size}</Size></Contents>")
            };
            let entries: String = keys.iter().map(entry).collect();
            format!("<ListBucketResult><Name>b</Name>{entries}<IsTruncated>false</IsTruncated></ListBucketResult>")
        };
        let fit = [("a/b", 1), ("a+b %25 &amp; &#246;", 1), ("sub/", 0), ("...", 1), ("a\\b", 1)];
        let unfit = [
            ("/a", 1),
            ("full/", 1),
            ("a//b", 1),
            ("a/../b", 1),
            ("./a", 0),
            ("a&#10;b", 1),
            ("a&#xD;", 1),
            ("a//", 0),
            ("/a/", 0),
        ];
        let mixed: Vec<_> =
            fit.iter().zip(&unfit).flat_map(|(fit, unfit)| [*fit, *unfit]).chain(unfit[5..].to_vec()).collect();
        let (kept, found) = keys(&s3(&mixed));
        assert_eq!(kept, s3(&fit));
        assert_eq!(found, ["/a", "full/", "a//b", "a/../b", "./a", "a\nb", "a\r", "a//", "/a/"]);
        assert_eq!(keys(&s3(&[])), (s3(&[]), vec![]));
        let azure = |keys: &[&str]| {
            let entry = |key: &&str| {
                format!("<Blob><Name>{key}</Name><Properties><Content-Length>7</Content-Length></Properties></Blob>")
            };
            let entries: String = keys.iter().map(entry).collect();
            format!("<EnumerationResults><Blobs>{entries}</Blobs><NextMarker /></EnumerationResults>")
        };
        assert_eq!(keys(&azure(&["a", "a//b", "c"])), (azure(&["a", "c"]), vec!["a//b".to_owned()]));
        // What is no list stays what it is.
        for other in ["", "<Contents>", "<Contents><Key>a//b</Contents>", "</Contents><Contents>"] {
            assert_eq!(keys(other), (other.to_owned(), vec![]), "{other}");
        }
    }
}
