//! URLs as they may be shown: people type passwords, keys and signatures into them, and what is wrong with a URL is said before anyone
//! can tell its parts.

/// Stands for what is not shown.
const HIDDEN: &str = "…";

/// What was typed as a URL, right or not, without what may be secret in it: user and password, and all from `?` or `#` on. Where they
/// cannot be told from the rest, only the scheme is left.
pub fn redacted(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let Some((scheme, rest)) = path.split_once("://") else {
        let has_user = path.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'));
        return if has_user { HIDDEN.to_owned() } else { path.to_owned() };
    };
    let (first, behind) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
    if scheme == "hf" && !first.contains(':') && !first.starts_with("hf_") {
        // A model without an organisation, at a revision: `hf://gpt2@main`.
        return path.to_owned();
    }
    // A password may have a stroke in it.
    let more_users = first.contains(':') && behind.contains('@');
    let has_password = |host: &str| {
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        !host.starts_with('[') && !port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let host = first.rsplit('@').next().unwrap_or(first);
    if more_users || has_password(host) {
        return format!("{scheme}://{HIDDEN}");
    }
    format!("{scheme}://{host}{behind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_left_of_a_url_right_or_not() {
        for url in [
            "https://u:SECRET@host/file",
            "https://SECRET@host/file",
            "https://u:SEC/RET@host/file",
            "https://u:12/SECRET@host/file",
            "https://u:SE@SECRET/x@host/file",
            "https://u:SECRET?x@host/file?y@z",
            "https://host:99999/file?X-Amz-Signature=SECRET@x",
            "https://host/file#SECRET",
            "ftp://u:SECRET@host/file",
            "HTTPS://u:SECRET@host/file",
            "s3://AKIA:SECRET@bucket/key",
            "s3://AKIA:SE/SECRET@bucket/key",
            "s3://AKIA:SECRET",
            "s3://bucket/key?X-Amz-Signature=SECRET",
            "hf://u:SECRET@org/model",
            "hf://hf_SECRET@org/model",
            "https:/u:SECRET@host/file",
            "AKIA:SECRET@bucket/key",
            "host/file?X-Amz-Signature=SECRET",
        ] {
            assert!(!redacted(url).contains("SECRET"), "{url}: {}", redacted(url));
        }
    }

    #[test]
    fn what_is_not_secret_is_shown() {
        for url in [
            "https://host:8080/a/b.bin",
            "http://[::1]:80/a",
            "https://host/a@b",
            "hf://gpt2@main",
            "hf://datasets/org/name@refs/pr/1",
            "s3://bucket/a b@c",
            "file@2.bin",
            "C:\\file",
        ] {
            assert_eq!(redacted(url), url);
        }
        assert_eq!(redacted("https://u:p@host/file?sig=1"), "https://host/file");
    }
}
