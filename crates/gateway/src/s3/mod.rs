//! Reading as from an object store, path style: `/s3/BUCKET/KEY`, and lists of keys (S3's `GetObject`, `HeadObject`, `HeadBucket`,
//! `ListObjects` in both versions, `ListBuckets`). Nothing else is answered.

pub(crate) mod buckets;
mod list;
pub(crate) mod signature;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LAST_MODIFIED};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use crate::error::Refusal;
use crate::files::{self, ASK_AGAIN, set};
use crate::pages::escaped;
use crate::served::Served;
pub use buckets::BucketPlace;
use buckets::Mounted;
use list::{ListRequest, NEVER, page};
use signature::parameters;

/// What may be asked of a bucket: to list it, or where it is.
const OF_BUCKET: [&str; 11] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "location",
    "marker",
    "max-buckets",
    "max-keys",
    "prefix",
    "start-after",
];

/// Answers what is below `/s3`.
pub(crate) async fn respond(served: &Served, request: Request) -> Response {
    let request = request.into_parts().0;
    let (answered, missing) = match bucket_and_key(request.uri.path()) {
        None => (Err(Refusal::NotFound), "NoSuchKey"),
        Some((bucket, key)) if key.is_empty() => (of_bucket(served, &request, &bucket).await, "NoSuchBucket"),
        Some((bucket, key)) => match opened(served, &request, &bucket, &key).await {
            Ok(mounted) => (of_object(served, &request, &mounted, &key).await, "NoSuchKey"),
            Err(refusal) => (Err(refusal), "NoSuchBucket"),
        },
    };
    answered.unwrap_or_else(|refusal| refuse(refusal, missing))
}

/// The bucket and the key in a path; either may be empty.
fn bucket_and_key(path: &str) -> Option<(String, String)> {
    let path = percent_decode_str(path.strip_prefix("/s3")?).decode_utf8().ok()?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    Some((bucket.to_owned(), key.to_owned()))
}

/// What is wrong, as clients of stores read it.
pub(crate) fn refuse(refusal: Refusal, missing: &str) -> Response {
    let code = match refusal {
        Refusal::NotFound => missing,
        Refusal::Unauthorized | Refusal::Expired | Refusal::Host | Refusal::Site | Refusal::Denied => "AccessDenied",
        Refusal::Skewed => "RequestTimeTooSkewed",
        Refusal::Range(_) => "InvalidRange",
        Refusal::Precondition => "PreconditionFailed",
        Refusal::Malformed(_) => "InvalidArgument",
        Refusal::Method => "MethodNotAllowed",
        Refusal::Unknown => "NotImplemented",
        Refusal::Ambiguous => "OperationAborted",
        Refusal::Busy | Refusal::Full => "SlowDown",
        Refusal::TooLarge => "EntityTooLarge",
        Refusal::Late | Refusal::Tracker | Refusal::Origin | Refusal::Failed => "ServiceUnavailable",
    };
    let sentence = escaped(refusal.sentence());
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{sentence}</Message></Error>"
    );
    let mut response = refusal.into_response();
    as_xml(&mut response, text);
    response
}

fn as_xml(response: &mut Response, text: String) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    set(headers, CONTENT_LENGTH, &text.len().to_string());
    *response.body_mut() = Body::from(text);
}

fn xml(text: String) -> Response {
    let mut response = Response::new(Body::empty());
    as_xml(&mut response, text);
    response
}

/// The parameters of a query, if they ask for what there is here. Anything else would be an answer to another question.
fn query_of(request: &RequestParts, may_be: fn(&str, &str) -> bool) -> Result<Vec<(String, String)>, Refusal> {
    let query = parameters(request.uri.query().unwrap_or_default());
    let query = query.ok_or(Refusal::Malformed("The query cannot be read."))?;
    let is_known = query.iter().all(|(name, value)| is_usual(name) || may_be(name, value));
    if is_known { Ok(query) } else { Err(Refusal::Unknown) }
}

/// What clients add to any request: its own name, and the signature. A signature of version 2 is ignored: some clients add one even where
/// none is needed.
fn is_usual(name: &str) -> bool {
    matches!(name, "x-id" | "AWSAccessKeyId" | "Signature" | "Expires")
        || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

fn may_be_of_bucket(name: &str, _: &str) -> bool {
    OF_BUCKET.contains(&name)
}

/// Objects have one version, and one part.
fn may_be_of_object(name: &str, value: &str) -> bool {
    matches!((name, value), ("versionId", "null") | ("partNumber", "1")) || name.starts_with("response-")
}

async fn of_bucket(served: &Served, request: &RequestParts, bucket: &str) -> Result<Response, Refusal> {
    let query = query_of(request, may_be_of_bucket)?;
    if bucket.is_empty() {
        return served.lists.hold(all_buckets(served).await).await;
    }
    let is_place = query.iter().any(|(name, _)| name == "location");
    if is_place || request.method == Method::HEAD {
        served.buckets.open(&served.contents, bucket, "\u{10ffff}").await?;
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></LocationConstraint>";
        return Ok(if is_place { xml(text.to_owned()) } else { StatusCode::OK.into_response() });
    }
    let wanted =
        ListRequest::of(&query).ok_or(Refusal::Malformed("The list that is asked for cannot be understood."))?;
    let mounted = served.buckets.open(&served.contents, bucket, &wanted.prefix).await?;
    let bucket = bucket.to_owned();
    let make = move || {
        let mut objects = BTreeMap::new();
        for (key, file) in mounted.iter().flat_map(|mounted| mounted.files()) {
            if key.starts_with(&wanted.prefix) {
                objects.entry(key).or_insert_with(|| (file.entry.size, format!("\"{}\"", file.entry.root)));
            }
        }
        xml(page(&bucket, &objects, &wanted))
    };
    served.lists.answer(make).await
}

async fn all_buckets(served: &Served) -> Response {
    let here = served.contents.here(|_| true).await;
    let mut names: BTreeSet<&str> = here.iter().map(|(_, open)| open.manifest().header().name.as_str()).collect();
    names.extend(served.buckets.names());
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Buckets>",
    );
    for name in names {
        let _ = write!(text, "<Bucket><Name>{}</Name><CreationDate>{NEVER}</CreationDate></Bucket>", escaped(name));
    }
    xml(text + "</Buckets></ListAllMyBucketsResult>")
}

/// The contents of a bucket in which this key may be.
async fn opened(served: &Served, request: &RequestParts, bucket: &str, key: &str) -> Result<Vec<Mounted>, Refusal> {
    query_of(request, may_be_of_object)?;
    served.buckets.open(&served.contents, bucket, key).await
}

async fn of_object(
    served: &Served,
    request: &RequestParts,
    mounted: &[Mounted],
    key: &str,
) -> Result<Response, Refusal> {
    let found = mounted.iter().find_map(|mounted| Some((mounted, files::ServedFile::of(mounted.find(key)?))));
    let (mounted, file) = found.ok_or(Refusal::NotFound)?;
    let manner = served.manner(ASK_AGAIN);
    let mut response = files::respond(request, &mounted.open, &file, &manner).await?;
    // Clients want one; a content does not change.
    set(response.headers_mut(), LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT");
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_bucket_and_a_key() {
        for (path, bucket, key) in [
            ("/s3", "", ""),
            ("/s3/", "", ""),
            ("/s3/b", "b", ""),
            ("/s3/b/", "b", ""),
            ("/s3/b/a%20b/c", "b", "a b/c"),
            ("/s3/b/../c", "b", "../c"),
            ("/s3/b//c", "b", "/c"),
        ] {
            assert_eq!(bucket_and_key(path), Some((bucket.to_owned(), key.to_owned())), "{path}");
        }
        assert_eq!(bucket_and_key("/s3/%ff"), None);
        assert!(signature::is_below("/s3") && signature::is_below("/s3/x") && !signature::is_below("/s3x"));
    }
}
