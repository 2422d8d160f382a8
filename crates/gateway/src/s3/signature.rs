//! Signatures of requests to object stores (AWS Signature Version 4): in `Authorization`, or in the query of a URL that was signed
//! beforehand. The secret key is the gateway's token; the access key, and the region, may be anything.

use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::error::Refusal;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What stands for a body that is not digested.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// How far the clocks of a client and this machine may be apart.
const SKEW: Duration = Duration::from_secs(15 * 60);
/// Longest life of a URL that is signed beforehand.
const LONGEST: u64 = 7 * 86_400;
/// Most parameters of a query, and most headers that are signed.
const MOST: usize = 64;
/// What is not escaped in a part of a canonical request.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a client says of its signature.
struct SignatureClaim {
    credential: String,
    signed: String,
    signature: String,
    date: String,
    /// For how long it holds, where the URL was signed beforehand.
    expires: Option<u64>,
    payload: String,
}

/// Whether a path is below `/s3`.
pub(crate) fn is_below(path: &str) -> bool {
    path == "/s3" || path.starts_with("/s3/")
}

/// Refuses a request that is not signed with this secret, or not for now.
pub(crate) fn check(request: &Parts, secret: &str, now: SystemTime) -> Result<(), Refusal> {
    let said = verified(request, secret).ok_or(Refusal::Unauthorized)?;
    in_time(&said.date, said.expires, now)
}

/// What a request says of its signature, if that is right.
fn verified(request: &Parts, secret: &str) -> Option<SignatureClaim> {
    let query = parameters(request.uri.query().unwrap_or_default())?;
    let said = match request.headers.get(AUTHORIZATION) {
        Some(header) => of_header(header.to_str().ok()?, &request.headers)?,
        None => of_query(&query)?,
    };
    let scope = said.credential.split_once('/')?.1;
    let parts: Vec<&str> = scope.split('/').collect();
    let [day, region, service @ "s3", end @ "aws4_request"] = parts[..] else { return None };
    (said.date.get(..8)? == day).then_some(())?;
    let canonical = canonical(request, &query, &said)?;
    let digest = HEXLOWER.encode(&Sha256::digest(canonical.as_bytes()));
    let text = format!("{ALGORITHM}\n{}\n{scope}\n{digest}", said.date);
    let first = format!("AWS4{secret}").into_bytes();
    let key =
        [day, region, service, end].iter().fold(first, |key, part| mac(&key, part).finalize().into_bytes().to_vec());
    let signature = HEXLOWER.decode(said.signature.as_bytes()).ok()?;
    // Compared in constant time.
    mac(&key, &text).verify_slice(&signature).ok().map(|()| said)
}

fn mac(key: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text.as_bytes());
    mac
}

fn of_header(header: &str, headers: &HeaderMap) -> Option<SignatureClaim> {
    let fields = header.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
    let field = |name: &str| {
        let mut found = fields.split(',').filter_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        found.next().map(str::to_owned)
    };
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?.to_owned();
        values.next().is_none().then_some(value)
    };
    // Of a body that is never read. Those who write are told that they cannot, and not that their key is wrong.
    let payload = only("x-amz-content-sha256")?;
    let signed = field("SignedHeaders")?;
    // What tells stores what to do is signed, all of it.
    let names: Vec<&str> = signed.split(';').collect();
    let is_signed = |name: &str| names.contains(&name);
    headers.keys().all(|name| !name.as_str().starts_with("x-amz-") || is_signed(name.as_str())).then_some(())?;
    Some(SignatureClaim {
        credential: field("Credential")?,
        signature: field("Signature")?,
        signed,
        date: only("x-amz-date")?,
        expires: None,
        payload,
    })
}

fn of_query(query: &[(String, String)]) -> Option<SignatureClaim> {
    let only = |name: &str| {
        let mut values = query.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone());
        let value = values.next()?;
        values.next().is_none().then_some(value)
    };
    (only("X-Amz-Algorithm")? == ALGORITHM).then_some(())?;
    let expires = only("X-Amz-Expires")?.parse().ok()?;
    Some(SignatureClaim {
        credential: only("X-Amz-Credential")?,
        signed: only("X-Amz-SignedHeaders")?,
        signature: only("X-Amz-Signature")?,
        date: only("X-Amz-Date")?,
        expires: Some(expires),
        payload: UNSIGNED.to_owned(),
    })
}

/// Refuses what was signed too long ago, or for too long.
fn in_time(date: &str, expires: Option<u64>, now: SystemTime) -> Result<(), Refusal> {
    let signed = moment(date).ok_or(Refusal::Unauthorized)?;
    match expires {
        Some(expires) if !(1..=LONGEST).contains(&expires) => {
            Err(Refusal::Malformed("X-Amz-Expires must be from 1 to 604800 seconds: a URL holds for a week at most."))
        }
        _ if now + SKEW < signed => Err(Refusal::Skewed),
        Some(expires) if now > signed + Duration::from_secs(expires) => Err(Refusal::Expired),
        None if now > signed + SKEW => Err(Refusal::Skewed),
        _ => Ok(()),
    }
}

/// `20130524T000000Z`.
fn moment(text: &str) -> Option<SystemTime> {
    let digits: Vec<&str> =
        [0..4, 4..6, 6..8, 9..11, 11..13, 13..15].into_iter().map(|part| text.get(part)).collect::<Option<_>>()?;
    let [year, month, day, hour, minute, second] = digits[..] else { return None };
    let is_plain = text.len() == 16 && digits.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    (is_plain && &text[8..9] == "T" && text.ends_with('Z')).then_some(())?;
    humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

/// The request as its signer wrote it down.
fn canonical(request: &Parts, query: &[(String, String)], said: &SignatureClaim) -> Option<String> {
    let path = percent_decode_str(request.uri.path()).decode_utf8().ok()?;
    let path: Vec<String> = path.split('/').map(escaped).collect();
    let mut query: Vec<(String, String)> = query
        .iter()
        .filter(|(name, _)| said.expires.is_none() || name != "X-Amz-Signature")
        .map(|(name, value)| (escaped(name), escaped(value)))
        .collect();
    query.sort();
    let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let names: Vec<&str> = said.signed.split(';').collect();
    (names.contains(&"host") && names.len() <= MOST && names.is_sorted()).then_some(())?;
    let mut headers = String::new();
    for name in names {
        let values = request.headers.get_all(name).iter().map(|value| value.to_str().ok().map(folded));
        let values: Vec<String> = values.collect::<Option<_>>()?;
        (!values.is_empty()).then_some(())?;
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let (method, path, query) = (&request.method, path.join("/"), query.join("&"));
    Some(format!("{method}\n{path}\n{query}\n{headers}\n{}\n{}", said.signed, said.payload))
}

/// A header's value with single spaces.
fn folded(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// The parameters of a query; nothing if there are too many of them, or they are no text. As in forms, `+` is a space: clients that do not
/// sign write it so.
pub(super) fn parameters(query: &str) -> Option<Vec<(String, String)>> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let decoded =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(|text| text.into_owned());
    let found = parts.take(MOST + 1).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Some((decoded(name)?, decoded(value)?))
    });
    found.collect::<Option<Vec<_>>>().filter(|found| found.len() <= MOST)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    /// The digest of no body.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// The example of AWS's own documentation ("Signature Calculations for the Authorization Header", and that of a query).
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const SCOPE: &str = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";

    fn at(text: &str) -> SystemTime {
        moment(text).unwrap()
    }

    fn is_signed(request: &Parts, secret: &str, now: SystemTime) -> bool {
        check(request, secret, now).is_ok()
    }

    #[test]
    fn what_is_wrong_with_the_time_is_said() {
        let (date, now) = ("20130524T000000Z", at("20130524T010000Z"));
        assert_eq!(in_time(date, Some(3600), now), Ok(()));
        assert_eq!(in_time(date, Some(3599), now), Err(Refusal::Expired));
        assert_eq!(in_time(date, None, now), Err(Refusal::Skewed));
        assert_eq!(in_time("20130524T020000Z", Some(60), now), Err(Refusal::Skewed));
        for expires in [0, LONGEST + 1, u64::MAX] {
            assert!(matches!(in_time(date, Some(expires), now), Err(Refusal::Malformed(_))), "{expires}");
        }
        // Only those who know the secret are told.
        assert_eq!(check(&example("bytes=0-9", SIGNATURE), "another secret", now), Err(Refusal::Unauthorized));
        assert_eq!(check(&example("bytes=0-9", SIGNATURE), SECRET, now), Err(Refusal::Skewed));
    }

    fn example(range: &str, signature: &str) -> Parts {
        let authorization = format!(
            "{ALGORITHM} Credential={SCOPE},SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature={signature}"
        );
        let request = Request::builder()
            .uri("/test.txt")
            .header("Host", "examplebucket.s3.amazonaws.com")
            .header("Authorization", authorization)
            .header("Range", range)
            .header("x-amz-content-sha256", EMPTY)
            .header("x-amz-date", "20130524T000000Z");
        request.body(()).unwrap().into_parts().0
    }

    const SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";

    #[test]
    fn the_documented_request_is_signed() {
        let (request, now) = (example("bytes=0-9", SIGNATURE), at("20130524T000500Z"));
        assert!(is_signed(&request, SECRET, now));
        assert!(!is_signed(&request, "another secret of some length", now));
        assert!(!is_signed(&example("bytes=0-10", SIGNATURE), SECRET, now), "another range");
        assert!(!is_signed(&example("bytes=0-9", &SIGNATURE.replace('f', "0")), SECRET, now));
        for other in ["", "f0", &SIGNATURE[..62], &SIGNATURE.to_uppercase()] {
            assert!(!is_signed(&example("bytes=0-9", other), SECRET, now), "{other}");
        }
    }

    #[test]
    fn the_documented_upload_is_signed_and_can_be_told_that_nothing_is_written() {
        let authorization = format!(
            "{ALGORITHM} Credential={SCOPE},SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,\
             Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        let request = |payload: &str| {
            let request = Request::builder()
                .method("PUT")
                .uri("/test%24file.text")
                .header("Host", "examplebucket.s3.amazonaws.com")
                .header("Date", "Fri, 24 May 2013 00:00:00 GMT")
                .header("Authorization", &authorization)
                .header("x-amz-date", "20130524T000000Z")
                .header("x-amz-storage-class", "REDUCED_REDUNDANCY")
                .header("x-amz-content-sha256", payload);
            request.body(()).unwrap().into_parts().0
        };
        let now = at("20130524T000000Z");
        let payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        assert!(is_signed(&request(payload), SECRET, now));
        assert!(!is_signed(&request(EMPTY), SECRET, now), "another body");
    }

    #[test]
    fn a_signature_is_of_its_time() {
        let request = example("bytes=0-9", SIGNATURE);
        for (now, holds) in [
            ("20130523T234501Z", true),
            ("20130524T001459Z", true),
            ("20130523T234459Z", false),
            ("20130524T001501Z", false),
        ] {
            assert_eq!(is_signed(&request, SECRET, at(now)), holds, "{now}");
        }
    }

    #[test]
    fn what_tells_a_store_what_to_do_is_signed() {
        let mut request = example("bytes=0-9", SIGNATURE);
        request.headers.insert("x-amz-other", "1".parse().unwrap());
        assert!(!is_signed(&request, SECRET, at("20130524T000000Z")));
        let mut request = example("bytes=0-9", SIGNATURE);
        request.headers.append("x-amz-date", "20130524T000000Z".parse().unwrap());
        assert!(!is_signed(&request, SECRET, at("20130524T000000Z")), "two dates");
        let mut request = example("bytes=0-9", SIGNATURE);
        request.headers.append("range", "bytes=10-19".parse().unwrap());
        assert!(!is_signed(&request, SECRET, at("20130524T000000Z")), "two ranges");
    }

    fn presigned(more: &str) -> Parts {
        let scope = SCOPE.replace('/', "%2F");
        let uri = format!(
            "/test.txt?X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={scope}&X-Amz-Date=20130524T000000Z\
             &X-Amz-Expires=86400&X-Amz-SignedHeaders=host{more}"
        );
        let request = Request::builder().uri(uri).header("Host", "examplebucket.s3.amazonaws.com");
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_documented_url_is_signed_until_it_expires() {
        let signature = "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        let request = presigned(signature);
        assert!(is_signed(&request, SECRET, at("20130524T235959Z")));
        assert!(!is_signed(&request, SECRET, at("20130525T000001Z")));
        assert!(!is_signed(&request, SECRET, at("20130523T230000Z")));
        for more in [
            format!("{signature}&versionId=1"),
            format!("{signature}{signature}"),
            format!("{signature}&X-Amz-Expires=86400"),
            String::new(),
        ] {
            assert!(!is_signed(&presigned(&more), SECRET, at("20130524T000000Z")), "{more}");
        }
    }

    #[test]
    fn dates_are_written_in_one_way() {
        assert_eq!(moment("19700101T000001Z"), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
        for wrong in [
            "",
            "20130524",
            "20130524T0000000Z",
            "2013-05-24T000000",
            "20131324T000000Z",
            "20130524T000000+",
            "é0130524T00000Z",
        ] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
    }
}
