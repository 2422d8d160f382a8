//! Signed URLs: the same object is meant by each of them, whatever its signature, and by no other URL.

use reqwest::Url;

/// Parameters that only sign, by the one without which there is no signature. All others say which object is meant. Names are as each
/// store writes them.
const SIGNATURES: [(&str, &[&str]); 5] = [
    (
        "X-Amz-Signature",
        &[
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Security-Token",
        ],
    ),
    (
        "X-Goog-Signature",
        &["X-Goog-Algorithm", "X-Goog-Credential", "X-Goog-Date", "X-Goog-Expires", "X-Goog-SignedHeaders"],
    ),
    // Of CloudFront.
    ("Key-Pair-Id", &["Expires", "Signature", "Policy"]),
    // Of S3 and Google, before version 4.
    ("Signature", &["AWSAccessKeyId", "GoogleAccessId", "Expires", "x-amz-security-token"]),
    // Of Azure.
    (
        "sig",
        &[
            "sv", "ss", "srt", "st", "se", "sr", "sp", "sip", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv",
            "sdd", "saoid", "suoid", "scid",
        ],
    ),
];

/// All of a URL but its fragment, and what only signs it.
pub(crate) fn unsigned(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    let Some(query) = url.query().map(str::to_owned) else { return url.to_string() };
    let name = |part: &str| part.split('=').next().unwrap_or_default().to_owned();
    let has = |wanted: &str| query.split('&').any(|part| name(part) == wanted);
    // Azure's are short words, which other servers may mean something else by: its version is always there.
    let signature = SIGNATURES.iter().find(|(mark, _)| has(mark) && (*mark != "sig" || has("sv")));
    let Some((mark, others)) = signature else { return url.to_string() };
    let kept = query.split('&').filter(|part| name(part) != *mark && !others.contains(&name(part).as_str()));
    let kept: Vec<_> = kept.collect();
    url.set_query((!kept.is_empty()).then(|| kept.join("&")).as_deref());
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_signed_anew_means_the_same_object() {
        for (one, other) in [
            (
                "https://h/f?versionId=1&X-Amz-Date=2&X-Amz-Credential=a&X-Amz-Signature=b",
                "https://h/f?versionId=1&X-Amz-Date=3&X-Amz-Credential=c&X-Amz-Signature=d#x",
            ),
            ("https://h/f?X-Goog-Date=1&X-Goog-Signature=b", "https://h/f?X-Goog-Signature=c&X-Goog-Date=2"),
            ("https://h/f?Expires=1&Signature=2&Key-Pair-Id=3", "https://h/f?Expires=2&Signature=3&Key-Pair-Id=3"),
            (
                "https://h/f?AWSAccessKeyId=a&Expires=1&Signature=2",
                "https://h/f?AWSAccessKeyId=a&Expires=2&Signature=3",
            ),
            ("https://h/f?sv=1&se=2&sr=b&sp=r&sig=3", "https://h/f?sv=1&se=3&sr=b&sp=r&sig=4"),
        ] {
            let [one, other] = [one, other].map(|url| unsigned(&Url::parse(url).unwrap()));
            assert_eq!(one, other);
        }
    }

    #[test]
    fn urls_of_other_objects_stay_different() {
        for (one, other) in [
            ("https://h/f?id=1", "https://h/f?id=2"),
            ("https://h/f", "https://other/f"),
            ("https://h/f", "http://h/f"),
            ("https://h/f?Expires=1", "https://h/f?Expires=2"),
            ("https://h/f?se=1&sig=2", "https://h/f?se=2&sig=2"),
            ("https://h/f?versionId=1&X-Amz-Signature=b", "https://h/f?versionId=2&X-Amz-Signature=b"),
            ("https://h/f?snapshot=1&sv=1&sig=2", "https://h/f?snapshot=2&sv=1&sig=2"),
        ] {
            let [one, other] = [one, other].map(|url| unsigned(&Url::parse(url).unwrap()));
            assert_ne!(one, other);
        }
    }
}
