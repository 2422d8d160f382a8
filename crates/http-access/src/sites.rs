//! Whether a browser asks for a page of another site.

use http::Uri;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER};

/// Whose page has made a browser ask (W3C, Fetch Metadata Request Headers).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a browser says that a page of another site, or of another port of this machine, has made it ask.
pub fn is_of_another_site(headers: &HeaderMap) -> bool {
    let header = |name: HeaderName| headers.get_all(name).into_iter();
    if headers.contains_key(FETCH_SITE) {
        return header(FETCH_SITE).any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    // Older browsers do not say it, and others only where nobody can listen on the way: they may say which page it is.
    let host = header(HOST).next().map(HeaderValue::as_bytes);
    header(ORIGIN).chain(header(REFERER)).any(|page| {
        let page = page.to_str().ok().and_then(|page| page.parse::<Uri>().ok());
        let authority = page.as_ref().and_then(|page| page.authority());
        !authority.zip(host).is_some_and(|(page, host)| page.as_str().as_bytes().eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_known_by_what_browsers_say() {
        let is_of_another = |headers: &[(&'static str, &str)]| {
            let mut all = HeaderMap::from_iter([(HOST, HeaderValue::from_static("127.0.0.1:8642"))]);
            for (name, value) in headers {
                all.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            is_of_another_site(&all)
        };
        for headers in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin"), ("referer", "http://127.0.0.1:8642/")],
            // A proxy in front may have another name.
            &[("sec-fetch-site", "same-origin"), ("origin", "https://models.example")],
            &[("origin", "http://127.0.0.1:8642")],
            &[("referer", "http://127.0.0.1:8642/content/x")],
        ] {
            assert!(!is_of_another(headers), "{headers:?}");
        }
        for headers in [
            &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")][..],
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
            &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:3000")],
            &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "?")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://127.0.0.1:3000")],
            &[("origin", "http://127.0.0.1")],
            &[("origin", "http://127.0.0.1:8642.evil.example")],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:8642"), ("origin", "https://evil.example")],
            &[("referer", "https://evil.example/page")],
            &[("referer", "")],
        ] {
            assert!(is_of_another(headers), "{headers:?}");
        }
    }
}
