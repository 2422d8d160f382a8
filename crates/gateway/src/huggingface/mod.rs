//! A hub for the clients of Hugging Face: `HF_ENDPOINT` is this gateway, and models and data sets come through the swarm.
//!
//! A repository at a commit is a folder that somebody shares as `ORG--MODEL@COMMIT`, or `datasets--ORG--NAME@COMMIT`. `main` is the
//! newest of them that somebody has. What is not there is answered as the hub does, so that clients say what they always say. No
//! `X-Xet-Hash` is ever sent: it would lead clients elsewhere.

mod call;
pub(crate) mod hub;
mod origin;
mod ranges;
mod revisions;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use peer::{OpenContent, OpenFile};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::error::Refusal;
use crate::files::{self, ASK_AGAIN, FOR_EVER, PathTarget, set};
use crate::paths::below;
use crate::served::Served;
use call::{HubCall, Kind, MAIN, Repository, What, is_commit};
use revisions::{Revision, newest, resolve};

/// Most paths that are asked about at once.
const MOST_PATHS: usize = 1000;
/// Most bytes of a list of paths, and how long it may take to come.
const PATHS_BYTES: usize = 1 << 20;
const PATHS_WITHIN: Duration = Duration::from_secs(10);

/// Where clients keep notes of their own in a folder that they download into.
const KEPT: &str = ".cache/huggingface";

const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");
const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");

/// Whether a request may be a `POST`: it has a list of paths that are asked about, and changes nothing.
pub(crate) fn may_post(request: &RequestParts) -> bool {
    let asks = || HubCall::of(request.uri.path()).is_some_and(|call| call.what == What::PathsInfo);
    request.method == Method::POST && asks()
}

/// Answers what no other route does.
pub(crate) async fn respond(served: &Served, request: Request) -> Response {
    let Some(call) = HubCall::of(request.uri().path()) else { return Refusal::NotFound.into_response() };
    let is_asked_by_post = call.what == What::PathsInfo;
    if is_asked_by_post != (request.method() == Method::POST) {
        return Refusal::Method.into_response();
    }
    if let Some(hub) = served.origins.as_ref().and_then(|origins| origins.hub.as_ref()) {
        return origin::respond(served, hub, request, &call).await;
    }
    match resolve(&served.contents, &call.repository, &call.revision).await {
        Ok(revision) => answer(served, request, &call, &revision).await,
        Err(Refusal::NotFound) if call.revision != MAIN => {
            // Which of both it is, clients tell their users.
            match newest(&served.contents, &call.repository).await {
                Ok(_) => missing("RevisionNotFound", "there is no such revision here: give main, or a commit"),
                Err(refusal) => unknown(refusal),
            }
        }
        Err(refusal) => unknown(refusal),
    }
}

/// The repository is not here, or it is not known whether it is.
fn unknown(refusal: Refusal) -> Response {
    match refusal {
        Refusal::NotFound => missing("RepoNotFound", "there is no such repository here"),
        refusal => refusal.into_response(),
    }
}

async fn answer(served: &Served, request: Request, call: &HubCall, revision: &Revision) -> Response {
    let Revision { commit, open } = revision;
    let (request, body) = request.into_parts();
    let answered = match &call.what {
        What::Info => {
            let (repository, commit, open) = (call.repository.clone(), commit.clone(), open.clone());
            served.lists.answer(move || json(&info(&repository, &commit, files_of(&open).map(path_of)))).await
        }
        What::Tree(folder) => {
            let (recursive, folder, open) = (is_recursive(&request), folder.clone(), open.clone());
            let make = move || tree_answer(tree(files_of(&open), path_of, entry, &folder, recursive));
            served.lists.answer(make).await
        }
        What::PathsInfo => match paths(&request, body).await {
            Ok(paths) => {
                let open = open.clone();
                let make = move || json(&Value::Array(paths_info(files_of(&open), path_of, entry, &paths)));
                served.lists.answer(make).await
            }
            Err(refusal) => Err(refusal),
        },
        What::Refs => Ok(refs(commit)),
        What::File(path) => {
            let cache = if is_commit(&call.revision) { FOR_EVER } else { ASK_AGAIN };
            match files::find(open, path) {
                Some(PathTarget::File(file)) => {
                    let manner = served.manner(cache);
                    files::respond(&request, open, &file, &manner).await
                }
                Some(PathTarget::Folder) | None => {
                    Ok(missing("EntryNotFound", "there is no such file in this revision"))
                }
            }
        }
    };
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    set(response.headers_mut(), REPO_COMMIT, commit);
    response
}

fn json(value: &Value) -> Response {
    let mut response = value.to_string().into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Something is not there: which kind of thing, clients tell by the code.
fn missing(code: &'static str, sentence: &'static str) -> Response {
    with_code(StatusCode::NOT_FOUND, code, sentence)
}

fn with_code(status: StatusCode, code: &'static str, sentence: &'static str) -> Response {
    let mut response = (status, json(&json!({ "error": sentence }))).into_response();
    let headers = response.headers_mut();
    headers.insert(ERROR_CODE, HeaderValue::from_static(code));
    headers.insert(ERROR_MESSAGE, HeaderValue::from_static(sentence));
    response
}

/// The branches: one is enough for clients.
fn refs(commit: &str) -> Response {
    let main = json!({ "name": "main", "ref": "refs/heads/main", "targetCommit": commit });
    json(&json!({ "branches": [main], "tags": [], "converts": [], "pullRequests": [] }))
}

/// What is said of a revision with files at these paths.
fn info<'a>(repository: &Repository, commit: &str, paths: impl Iterator<Item = &'a str>) -> Value {
    let siblings: Vec<Value> = paths.map(|path| json!({ "rfilename": path })).collect();
    let id = &repository.id;
    let author = id.split_once('/').map(|(author, _)| author);
    let mut info = json!({
        "_id": &commit[..24],
        "id": id,
        "author": author,
        "sha": commit,
        "private": false,
        "gated": false,
        "disabled": false,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": siblings,
    });
    if repository.kind == Kind::Model {
        info["modelId"] = json!(id);
    }
    info
}

/// The files of a repository. What the hub's own clients keep beside a download is none of them.
fn files_of(open: &OpenContent) -> impl Iterator<Item = OpenFile<'_>> {
    open.files().filter(|file| below(&file.entry.path, KEPT).is_none())
}

/// What the hub calls an object's id: here the digest of the file, cut to that length.
fn object_id(file: OpenFile<'_>) -> String {
    file.entry.root.to_string()[..40].to_owned()
}

fn path_of<'a>(file: OpenFile<'a>) -> &'a str {
    &file.entry.path
}

fn entry(file: OpenFile<'_>) -> Value {
    json!({ "type": "file", "path": file.entry.path, "size": file.entry.size, "oid": object_id(file) })
}

fn folder_entry(path: &str) -> Value {
    let id = blake3::hash(path.as_bytes()).to_hex();
    json!({ "type": "directory", "path": path, "size": 0, "oid": &id[..40] })
}

/// Whether all that is below a folder is asked for.
fn is_recursive(request: &RequestParts) -> bool {
    request.uri.query().is_some_and(|query| {
        query.split('&').any(|part| matches!(part, "recursive=true" | "recursive=True" | "recursive=1"))
    })
}

fn tree_answer(tree: Option<Vec<Value>>) -> Response {
    match tree {
        Some(entries) => json(&Value::Array(entries)),
        None => missing("EntryNotFound", "there is no such folder in this revision"),
    }
}

/// The files below a folder, with all that is between or only what lies in it. `None` if there is no such folder.
fn tree<'a, F: Copy + 'a>(
    all: impl Iterator<Item = F>,
    path_of: impl Fn(F) -> &'a str,
    entry: impl Fn(F) -> Value,
    folder: &str,
    recursive: bool,
) -> Option<Vec<Value>> {
    let (mut folders, mut files) = (BTreeSet::new(), Vec::new());
    let mut is_there = folder.is_empty();
    for file in all {
        let whole = path_of(file);
        let Some(path) = below(whole, folder) else { continue };
        is_there = true;
        let base = whole.len() - path.len();
        for (at, _) in path.match_indices('/') {
            folders.insert(&whole[..base + at]);
            if !recursive {
                break;
            }
        }
        if recursive || !path.contains('/') {
            files.push(entry(file));
        }
    }
    is_there.then(|| folders.into_iter().map(folder_entry).chain(files).collect())
}

/// What some paths lead to; those that lead nowhere are left out.
fn paths_info<'a, F: Copy + 'a>(
    all: impl Iterator<Item = F>,
    path_of: impl Fn(F) -> &'a str,
    entry: impl Fn(F) -> Value,
    paths: &[String],
) -> Vec<Value> {
    let wanted: HashSet<&str> = paths.iter().map(|path| path.trim_end_matches('/')).collect();
    let (mut folders, mut files) = (BTreeSet::new(), Vec::new());
    for file in all {
        let path = path_of(file);
        if wanted.contains(path) {
            files.push(entry(file));
        }
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders.extend(above.filter(|folder| wanted.contains(folder)));
    }
    files.into_iter().chain(folders.into_iter().map(folder_entry)).collect()
}

/// The paths that a client lists, as JSON or as a form.
async fn paths(request: &RequestParts, body: Body) -> Result<Vec<String>, Refusal> {
    let kind = request.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_json = kind.starts_with(b"application/json");
    if !is_json && !kind.starts_with(b"application/x-www-form-urlencoded") {
        return Err(Refusal::Malformed("A list of paths is JSON or a form, and says so in Content-Type."));
    }
    let Ok(Ok(body)) = timeout(PATHS_WITHIN, to_bytes(body, PATHS_BYTES)).await else {
        return Err(Refusal::Malformed("The list of paths is too long, or does not come."));
    };
    listed(&body, is_json).ok_or(Refusal::Malformed("1,000 paths are the most that can be asked about at once."))
}

/// The paths in a list; none if they are too many.
fn listed(body: &[u8], is_json: bool) -> Option<Vec<String>> {
    let paths: Vec<String> = if is_json {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let listed = body["paths"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        listed.chain(body["paths"].as_str().map(str::to_owned)).take(MOST_PATHS + 1).collect()
    } else {
        let body = String::from_utf8_lossy(body);
        let fields = body.split('&').filter_map(|field| field.strip_prefix("paths="));
        let paths = fields.map(|path| percent_decode_str(&path.replace('+', " ")).decode_utf8_lossy().into_owned());
        paths.take(MOST_PATHS + 1).collect()
    };
    (paths.len() <= MOST_PATHS).then_some(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_paths_come_as_json_or_as_a_form() {
        let read = |body: &[u8], is_json| listed(body, is_json).unwrap();
        assert_eq!(read(b"{\"paths\": [\"a\", \"b c\"]}", true), ["a", "b c"]);
        assert_eq!(read(b"paths=a&expand=False&paths=b+c%2Fd", false), ["a", "b c/d"]);
        assert_eq!(read(b"{", true), Vec::<String>::new());
    }

    #[test]
    fn a_list_of_more_than_a_thousand_paths_is_refused() {
        for (count, is_read) in [(1000, true), (1001, false)] {
            let form = vec!["paths=a"; count].join("&");
            assert_eq!(listed(form.as_bytes(), false).is_some(), is_read, "{count}");
            let json = json!({ "paths": vec!["a"; count] }).to_string();
            assert_eq!(listed(json.as_bytes(), true).is_some(), is_read, "{count}");
        }
    }
}
