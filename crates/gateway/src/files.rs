//! One file of a content, or a folder of it, as a response.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use peer::{OpenContent, OpenFile, PeerError, ReadMemory};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use crate::archive::{Archive, archive};
use crate::blobs::held::Held;
use crate::blobs::spoiled::Broken;
use crate::body::{Awaited, ContentBody, Part, Parts, Source};
use crate::conditions::{Precondition, judge, ranges};
use crate::error::Refusal;
use crate::kept::Kept;
use crate::lists::Lists;
use crate::paths::below;
use crate::range::{RequestedRange, wanted};

/// What need not be escaped in a file's name (RFC 8187).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// For how long what never changes may be kept.
pub(crate) const FOR_EVER: &str = "private, max-age=31536000, immutable";
/// What a name stands for may be another content tomorrow.
pub(crate) const ASK_AGAIN: &str = "private, no-cache";

/// What a path of a content leads to.
pub(crate) enum PathTarget {
    /// A file: where it begins, and its size, tag and name.
    File(ServedFile),
    /// A folder.
    Folder,
}

/// A file that is served.
#[derive(Debug, Clone)]
pub(crate) struct ServedFile {
    pub(crate) offset: u64,
    pub(crate) size: u64,
    /// Its strong tag, in quotes.
    pub(crate) tag: String,
    /// How often an answer with it broke off: clients may have wrong bytes under that tag.
    pub(crate) spoiled: Broken,
    pub(crate) name: String,
}

impl ServedFile {
    pub(crate) fn of(file: OpenFile<'_>) -> Self {
        let OpenFile { entry, offset, .. } = file;
        let name = entry.path.rsplit('/').next().unwrap_or(&entry.path).to_owned();
        ServedFile { offset, size: entry.size, tag: format!("\"{}\"", entry.root), spoiled: Broken::default(), name }
    }

    /// A file that has a digest, under this name and with this tag.
    pub(crate) fn of_held(held: &Held, name: &str, tag: String, spoiled: Broken) -> Self {
        ServedFile { offset: held.offset, size: held.size, tag, spoiled, name: name.to_owned() }
    }

    /// The tag of what is sent.
    fn tag_of_answer(&self) -> Cow<'_, str> {
        match self.spoiled.times {
            0 => Cow::Borrowed(&self.tag),
            times => Cow::Owned(format!("{}.{times}\"", self.tag.trim_end_matches('"'))),
        }
    }
}

/// What this path leads to: without one, the only file of a content that is no folder, or its folder.
pub(crate) fn find(open: &OpenContent, path: &str) -> Option<PathTarget> {
    let header = open.manifest().header();
    let path = path.trim_end_matches('/');
    if !header.folder {
        // It may be named again, so that a program that goes by the path's end has a name.
        let file = open.files().next()?;
        return (path.is_empty() || path == file.entry.path).then(|| PathTarget::File(ServedFile::of(file)));
    }
    if let Some(file) = open.files().find(|file| file.entry.path == path) {
        return Some(PathTarget::File(ServedFile::of(file)));
    }
    let is_folder = path.is_empty()
        || open.files().any(|file| below(&file.entry.path, path).is_some())
        || header.empty_folders.iter().any(|folder| folder == path || below(folder, path).is_some());
    is_folder.then_some(PathTarget::Folder)
}

/// How a file is answered.
pub(crate) struct SendOptions<'a> {
    /// How long what is not here yet is waited for.
    pub(crate) wait: Duration,
    /// What is read of it takes a part of this.
    pub(crate) memory: &'a ReadMemory,
    /// What is read of it is kept meanwhile.
    pub(crate) kept: &'a Arc<Kept>,
    /// What is said of keeping it.
    pub(crate) cache: &'static str,
}

/// So many last bytes of an answer are held back until its digest is verified, so that a wrong answer never ends as a
/// success.
const HELD_BACK: u64 = 64 << 10;

/// Answers with a file, or with parts of it.
pub(crate) async fn respond(
    request: &RequestParts,
    open: &Arc<OpenContent>,
    file: &ServedFile,
    manner: &SendOptions<'_>,
) -> Result<Response, Refusal> {
    respond_from(request, &Source::Content(open.clone()), file, manner, None).await
}

/// Answers with a file that has a digest, or with parts of it: to the end only if the whole file is what its digest says.
pub(crate) async fn respond_held(
    request: &RequestParts,
    held: &Held,
    file: &ServedFile,
    manner: &SendOptions<'_>,
) -> Result<Response, Refusal> {
    if request.method == Method::GET && file.size == 0 {
        let right = timeout(manner.wait, held.is_right()).await.map_err(|_| Refusal::Late)?;
        right.map_err(|error| not_begun(&error))?;
    }
    let awaited = held.awaited();
    let is_known = awaited.is_none();
    let response = respond_from(request, &held.source, file, manner, awaited).await?;
    if !is_known && !response.body().is_end_stream() {
        held.goes_out().map_err(|error| not_begun(&error))?;
    }
    Ok(response)
}

/// The one range that is asked for, if it ends before the file does.
pub(crate) fn range_within(request: &RequestParts, file: &ServedFile) -> Option<Range<u64>> {
    let range = ranges(&request.headers, &file.tag_of_answer(), file.spoiled.in_doubt)?;
    let RequestedRange::Parts(ranges) = wanted(Some(range), file.size) else { return None };
    let [range] = &ranges[..] else { return None };
    (range.end < file.size).then(|| range.clone())
}

/// Answers with that range, whose bytes are here.
pub(crate) async fn respond_known(
    request: &RequestParts,
    (range, bytes): (Range<u64>, Bytes),
    file: &ServedFile,
    manner: &SendOptions<'_>,
) -> Result<Response, Refusal> {
    let room = timeout(manner.wait, manner.memory.take(bytes.len())).await.map_err(|_| Refusal::Busy)?;
    let source = Source::Known { from: file.offset + range.start, bytes: room.hold(Bytes::copy_from_slice(&bytes)) };
    drop(bytes);
    respond_from(request, &source, file, manner, None).await
}

/// Answers with what is asked about a file by `HEAD`, which takes nothing from anywhere.
pub(crate) fn respond_head(
    request: &RequestParts,
    file: &ServedFile,
    manner: &SendOptions<'_>,
) -> Result<Response, Refusal> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let has_it = has_it(&mut response, request, (&*file.tag_of_answer(), file.tag.as_str()), manner)?;
    let headers = response.headers_mut();
    // The server would say 0 of a body that is not sent.
    set(headers, CONTENT_LENGTH, &file.size.to_string());
    if !has_it {
        set(headers, CONTENT_DISPOSITION, &disposition(&file.name));
        set(headers, CONTENT_TYPE, BYTES);
    }
    Ok(response)
}

async fn respond_from(
    request: &RequestParts,
    source: &Source,
    file: &ServedFile,
    manner: &SendOptions<'_>,
    awaited: Option<Awaited>,
) -> Result<Response, Refusal> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let tag = file.tag_of_answer();
    if has_it(&mut response, request, (&*tag, file.tag.as_str()), manner)? {
        if request.method == Method::HEAD {
            set(response.headers_mut(), CONTENT_LENGTH, &file.size.to_string());
        }
        return Ok(response);
    }
    let headers = response.headers_mut();
    set(headers, CONTENT_DISPOSITION, &disposition(&file.name));
    // Ranges mean something for GET alone.
    let range = ranges(&request.headers, &tag, file.spoiled.in_doubt).filter(|_| request.method == Method::GET);
    let (status, kind, parts, size) = match wanted(range, file.size) {
        RequestedRange::Nothing => return Err(Refusal::Range(file.size)),
        RequestedRange::Whole => (StatusCode::OK, BYTES.to_owned(), one(file, 0..file.size, awaited), file.size),
        RequestedRange::Parts(ranges) => match &ranges[..] {
            [range] => {
                set(headers, CONTENT_RANGE, &content_range(range, file.size));
                let parts = one(file, range.clone(), awaited);
                (StatusCode::PARTIAL_CONTENT, BYTES.to_owned(), parts, range.end - range.start)
            }
            _ => {
                let boundary = format!("{:032x}", fastrand::u128(..));
                let (parts, size) = several(file, ranges, &boundary);
                let kind = format!("multipart/byteranges; boundary={boundary}");
                let parts: Parts = Box::new(awaited.into_iter().map(Part::Until).chain(parts));
                (StatusCode::PARTIAL_CONTENT, kind, parts, size)
            }
        },
    };
    *response.status_mut() = status;
    set(response.headers_mut(), CONTENT_TYPE, &kind);
    with_body(response, request, source, (parts, size), manner).await
}

/// Gives a response its tag, and says whether it is all of the answer: that the client has it already, under that tag or the one that the
/// whole file has.
fn has_it(
    response: &mut Response,
    request: &RequestParts,
    (tag, whole): (&str, &str),
    manner: &SendOptions<'_>,
) -> Result<bool, Refusal> {
    let headers = response.headers_mut();
    set(headers, ETAG, tag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(manner.cache));
    match judge(&request.headers, tag, whole) {
        Precondition::Send => Ok(false),
        Precondition::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            Ok(true)
        }
        Precondition::Failed => Err(Refusal::Precondition),
    }
}

/// The response with its length, and with these parts if they were asked for: the first of them is here then.
async fn with_body(
    mut response: Response,
    request: &RequestParts,
    source: &Source,
    (parts, size): (Parts, u64),
    manner: &SendOptions<'_>,
) -> Result<Response, Refusal> {
    set(response.headers_mut(), CONTENT_LENGTH, &size.to_string());
    if request.method == Method::GET && size > 0 {
        let mut body = ContentBody::new(source.clone(), parts, size, manner.wait, manner.memory);
        body.uses(source.in_use(manner.kept));
        body.begin().await.map_err(|error| not_begun(&error))?;
        *response.body_mut() = Body::new(body);
    }
    Ok(response)
}

const BYTES: &str = "application/octet-stream";

/// Answers with all that is below a folder, as an archive.
pub(crate) async fn respond_archive(
    request: &RequestParts,
    lists: &Lists,
    open: &Arc<OpenContent>,
    folder: &str,
    manner: &SendOptions<'_>,
) -> Result<Response, Refusal> {
    let called = &open.manifest().header().name;
    let name = folder.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(called);
    let mut response = Response::new(Body::empty());
    let tag = format!("\"tar-{}-{}\"", open.content(), blake3::hash(folder.as_bytes()).to_hex().split_at(16).0);
    if has_it(&mut response, request, (tag.as_str(), tag.as_str()), manner)? {
        return Ok(response);
    }
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    set(headers, CONTENT_DISPOSITION, &disposition(&format!("{name}.tar")));
    let made = {
        let (open, folder, name) = (open.clone(), folder.to_owned(), name.to_owned());
        lists.make(move || archive(&open, &folder, &name)).await?
    };
    let unfit = "A name in this folder cannot stand in an archive.";
    let Archive { parts, size } = made.map_err(|_| Refusal::Malformed(unfit))?;
    with_body(response, request, &Source::Content(open.clone()), (parts, size), manner).await
}

/// Nothing has been sent yet, so that it can be said what is wrong.
pub(crate) fn not_begun(error: &std::io::Error) -> Refusal {
    if let Some(refusal) = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        return *refusal;
    }
    // Why a content has ended.
    if let Some(ended) = error.get_ref().and_then(|inner| inner.downcast_ref::<Arc<PeerError>>()) {
        tracing::warn!(%error, "a content cannot be read");
        return Refusal::of_storing(ended);
    }
    match error.kind() {
        std::io::ErrorKind::TimedOut => Refusal::Late,
        std::io::ErrorKind::ResourceBusy => Refusal::Busy,
        _ => {
            tracing::warn!(%error, "a content cannot be read");
            Refusal::Failed
        }
    }
}

/// One range; its end comes only when there is nothing to be waited for.
fn one(file: &ServedFile, range: Range<u64>, awaited: Option<Awaited>) -> Parts {
    let Range { start, end } = file.offset + range.start..file.offset + range.end;
    let Some(awaited) = awaited else { return Box::new(std::iter::once(Part::Range(start..end))) };
    let held_back = end.saturating_sub(HELD_BACK).max(start);
    let first = (held_back > start).then_some(Part::Range(start..held_back));
    Box::new(first.into_iter().chain([Part::Until(awaited), Part::Range(held_back..end)]))
}

/// Several ranges, each with a head of its own, and the bytes that they are together.
fn several(file: &ServedFile, ranges: Vec<Range<u64>>, boundary: &str) -> (Parts, u64) {
    let head = |range: &Range<u64>| {
        let range = content_range(range, file.size);
        format!("\r\n--{boundary}\r\nContent-Type: {BYTES}\r\nContent-Range: {range}\r\n\r\n")
    };
    let end = format!("\r\n--{boundary}--\r\n");
    let heads: Vec<String> = ranges.iter().map(head).collect();
    let size = ranges.iter().zip(&heads).map(|(range, head)| range.end - range.start + head.len() as u64).sum::<u64>();
    let size = size + end.len() as u64;
    let offset = file.offset;
    let parts = ranges.into_iter().zip(heads).flat_map(move |(range, head)| {
        [Part::Bytes(head.into()), Part::Range(offset + range.start..offset + range.end)]
    });
    (Box::new(parts.chain([Part::Bytes(end.into())])), size)
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// It is saved, never shown: what is in a content is no page of this gateway.
fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|character| match character {
            '"' | '\\' | '%' => '_',
            ' '..='~' => character,
            _ => '_',
        })
        .collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, PLAIN))
}

pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_offered_in_plain_and_whole() {
        assert_eq!(disposition("a b.bin"), "attachment; filename=\"a b.bin\"");
        assert_eq!(disposition("ö\".bin"), "attachment; filename=\"__.bin\"; filename*=UTF-8''%C3%B6%22.bin");
        assert_eq!(disposition("a\r\nx: y"), "attachment; filename=\"a__x: y\"; filename*=UTF-8''a%0D%0Ax%3A%20y");
    }
}
