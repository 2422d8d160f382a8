//! A mirror of registries of container images (OCI distribution specification): tags as their registry has them now, manifests and
//! layers by digest from the swarm, with the registry behind.

mod call;
mod media;
pub(crate) mod origins;

use std::future::poll_fn;
use std::time::Duration;

use ::origins::registry::{Kind, Registry, digest_name, is_tag};
use ::origins::{FileDigest, OriginError};
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LINK};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::time::timeout;

use self::origins::{List, Registries};
use crate::blobs::held::Held;
use crate::blobs::spoiled::Broken;
use crate::blobs::{Asked, Blobs, FromOrigin, refused};
use crate::body::{ContentBody, Part};
use crate::error::Refusal;
use crate::files::{self, ASK_AGAIN, FOR_EVER, not_begun, respond_head, respond_held, set};
use crate::served::Served;
use call::{Reference, RegistryCall};
use media::media_type;

/// Most bytes of a manifest (the specification's own bound).
const MANIFEST: u64 = 4 << 20;
/// How long a registry is asked for a size, before the swarm is asked without it.
const LOOK: Duration = Duration::from_secs(5);
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Answers what is below `/v2`.
pub(crate) async fn respond(served: &Served, request: Request) -> Response {
    let request = request.into_parts().0;
    let (answered, code) = match (&served.origins, RegistryCall::of(request.uri.path())) {
        (Some(origins), Some(call)) if !origins.registries.are_none() => {
            let code = match call {
                RegistryCall::Blob { .. } => "BLOB_UNKNOWN",
                RegistryCall::Manifest { .. } => "MANIFEST_UNKNOWN",
                RegistryCall::Base | RegistryCall::Tags { .. } => "NAME_UNKNOWN",
            };
            (answer(served, &origins.blobs, &origins.registries, &request, call).await, code)
        }
        _ => (Err(Refusal::NotFound), "NAME_UNKNOWN"),
    };
    let mut response = answered.unwrap_or_else(|refusal| refuse(refusal, code));
    response.headers_mut().insert(VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// What is wrong, as clients of registries read it.
fn refuse(refusal: Refusal, code: &str) -> Response {
    let code = match refusal {
        Refusal::NotFound => code,
        Refusal::Denied => "DENIED",
        Refusal::Busy => "TOOMANYREQUESTS",
        _ => "UNAVAILABLE",
    };
    let sentence = json!({ "errors": [{ "code": code, "message": refusal.sentence() }] }).to_string();
    let mut response = refusal.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set(headers, CONTENT_LENGTH, &sentence.len().to_string());
    *response.body_mut() = Body::from(sentence);
    response
}

async fn answer(
    served: &Served,
    blobs: &Blobs,
    registries: &Registries,
    request: &RequestParts,
    call: RegistryCall,
) -> Result<Response, Refusal> {
    let query = request.uri.query();
    match call {
        RegistryCall::Base => Ok(json_response("{}", "application/json")),
        RegistryCall::Blob { name, digest } => {
            let (number, name) = registries.find(query, &name).ok_or(Refusal::NotFound)?;
            let registry = registries.registry(number);
            let known = blobs.known(digest);
            let manner = served.manner(FOR_EVER);
            let name_of = digest_name(digest).ok_or(Refusal::NotFound)?;
            let tag = format!("\"{name_of}\"");
            if request.method == Method::HEAD && known.is_none() {
                // Asking is no reason to bring it.
                match registry.find(name, Kind::Blob, digest).await {
                    Ok((_, object)) => {
                        let file = files::ServedFile {
                            offset: 0,
                            size: object.size,
                            tag,
                            spoiled: blobs.spoiled(digest),
                            name: name_of.clone(),
                        };
                        return respond_head(request, &file, &manner).map(|response| with_digest(response, &name_of));
                    }
                    Err(error) if !error.is_transient() => return Err(refused(&error)),
                    // Perhaps the swarm has it.
                    Err(_) => {}
                }
            }
            let held = match known {
                Some(held) => held,
                None => {
                    let asked = blob(registry, name, digest).await?;
                    blobs.get(&served.contents, asked, served.wait).await?
                }
            };
            let file = files::ServedFile::of_held(&held, &name_of, tag, blobs.spoiled(digest));
            let response = if request.method == Method::HEAD {
                respond_head(request, &file, &manner)?
            } else {
                respond_held(request, &held, &file, &manner).await?
            };
            Ok(with_digest(response, &name_of))
        }
        RegistryCall::Manifest { name, reference } => {
            let (number, name) = registries.find(query, &name).ok_or(Refusal::NotFound)?;
            let (digest, cache) = match reference {
                Reference::Digest(digest) => (digest, FOR_EVER),
                Reference::Tag(tag) => {
                    let resolving = timeout(served.wait, registries.resolve(number, name, &tag)).await;
                    let resolved = resolving.map_err(|_| Refusal::Late)?;
                    (resolved.map_err(|error| refused(&error))?, ASK_AGAIN)
                }
            };
            let asked = Asked {
                digest,
                size: None,
                most: MANIFEST,
                published: None,
                origin: Some(find(registries.registry(number), name, Kind::Manifest, digest)),
            };
            let held = blobs.get(&served.contents, asked, served.wait).await?;
            let bytes = timeout(served.wait, whole(served, blobs, &held)).await.unwrap_or(Err(Refusal::Late))?;
            let kind = media_type(&bytes).ok_or(Refusal::NotFound)?;
            manifest(request, bytes, &kind, digest_name(digest).ok_or(Refusal::NotFound)?, cache)
        }
        RegistryCall::Tags { name: asked } => {
            let (number, name) = registries.find(query, &asked).ok_or(Refusal::NotFound)?;
            let (most, behind) = page(query)?;
            let listing = timeout(served.wait, registries.list((number, name), &asked, most, behind)).await;
            let listed = listing.map_err(|_| Refusal::Late)?.map_err(|error| refused(&error))?;
            served.lists.hold(tags(&asked, listed, query)).await
        }
    }
}

/// A layer that is wanted. Its size is asked first: of what others share under its digest, nothing larger is downloaded.
async fn blob(registry: &Registry, name: &str, digest: FileDigest) -> Result<Asked, Refusal> {
    let finding = registry.find(name, Kind::Blob, digest);
    let (size, origin): (_, Option<FromOrigin>) = match timeout(LOOK, finding).await {
        Ok(Ok((origin, object))) => (Some(object.size), Some(FromOrigin::Known(Box::new((origin, object))))),
        // The swarm may have what the registry has no more.
        Ok(Err(OriginError::NotFound(_))) => (None, None),
        Ok(Err(error)) if !error.is_transient() => return Err(refused(&error)),
        Ok(Err(_)) | Err(_) => (None, Some(find(registry, name, Kind::Blob, digest))),
    };
    Ok(Asked { digest, size, most: u64::MAX, published: None, origin })
}

/// Asks a registry for something later.
fn find(registry: &Registry, name: &str, kind: Kind, digest: FileDigest) -> FromOrigin {
    let (registry, name) = (registry.clone(), name.to_owned());
    FromOrigin::Asks(Box::new(move || {
        let (registry, name) = (registry.clone(), name.clone());
        Box::pin(async move { registry.find(&name, kind, digest).await })
    }))
}

/// A manifest, which is known to be right.
fn manifest(
    request: &RequestParts,
    bytes: Bytes,
    kind: &str,
    name: String,
    cache: &'static str,
) -> Result<Response, Refusal> {
    use axum::http::header::{CACHE_CONTROL, ETAG};

    use crate::conditions::{Precondition, judge};

    let tag = format!("\"{name}\"");
    let mut response = match judge(&request.headers, &tag, &tag) {
        Precondition::Send => Body::from(bytes.clone()).into_response(),
        Precondition::NotModified => axum::http::StatusCode::NOT_MODIFIED.into_response(),
        Precondition::Failed => return Err(Refusal::Precondition),
    };
    let headers = response.headers_mut();
    set(headers, ETAG, &tag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    set(headers, CONTENT_TYPE, kind);
    if request.method == Method::HEAD {
        set(headers, CONTENT_LENGTH, &bytes.len().to_string());
        *response.body_mut() = Body::empty();
    }
    Ok(with_digest(response, &name))
}

/// All of a small file, once it is known to be right.
async fn whole(served: &Served, blobs: &Blobs, held: &Held) -> Result<Bytes, Refusal> {
    if held.size > MANIFEST {
        return Err(Refusal::NotFound);
    }
    held.is_right().await.map_err(|error| not_begun(&error))?;
    let room = served.memory.take(held.size as usize).await;
    let file = files::ServedFile::of_held(held, "", String::new(), Broken::default());
    let range = file.offset..file.offset + file.size;
    let parts = Box::new(std::iter::once(Part::Range(range)));
    let mut body = ContentBody::new(held.source.clone(), parts, file.size, served.wait, blobs.memory());
    let mut all = BytesMut::with_capacity(file.size as usize);
    while all.len() < file.size as usize {
        let next = poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await;
        let frame = next.ok_or(Refusal::Failed)?.map_err(|error| not_begun(&error))?;
        all.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    Ok(room.hold(all.freeze()))
}

/// How many tags a client wants, and behind which one.
fn page(query: Option<&str>) -> Result<(Option<u32>, Option<String>), Refusal> {
    let wrong = Refusal::Malformed("n is a number, and last is a tag.");
    let value = |wanted: &str| {
        let mut pairs = query.into_iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(name, _)| *name == wanted)?.1;
        Some(percent_decode_str(found).decode_utf8_lossy().into_owned())
    };
    let most = value("n").map(|count| count.parse()).transpose().map_err(|_| wrong)?;
    match value("last").filter(|tag| !tag.is_empty()) {
        Some(tag) if !is_tag(&tag) => Err(wrong),
        behind => Ok((most, behind)),
    }
}

/// The tags of a repository that a client calls so, and where the next are.
fn tags(name: &str, listed: List, query: Option<&str>) -> Response {
    let mut response = listed.text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some((last, most)) = &listed.next {
        let kept = query.into_iter().flat_map(|query| query.split('&')).find(|pair| pair.starts_with("ns="));
        let pairs = [kept.map(str::to_owned), most.map(|most| format!("n={most}")), Some(format!("last={last}"))];
        let pairs: Vec<_> = pairs.into_iter().flatten().collect();
        set(response.headers_mut(), LINK, &format!("</v2/{name}/tags/list?{}>; rel=\"next\"", pairs.join("&")));
    }
    response
}

fn json_response(text: &'static str, kind: &'static str) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn with_digest(mut response: Response, digest: &str) -> Response {
    set(response.headers_mut(), DIGEST, digest);
    response
}
