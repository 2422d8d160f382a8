//! Models and data sets of a hub: what a revision is and which files it has, the hub says; their bytes come from the swarm where it has
//! them, and else from the hub. Either way each file is digested, and is what the hub lists, or its answer breaks off. Only small ranges do
//! not wait for that.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use origins::hub::{HubFile, Repo, RepoKind};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::call::{HubCall, Kind, MAIN, What, is_commit};
use super::hub::HubOrigin;
use super::{REPO_COMMIT, info, is_recursive, missing, paths, paths_info, refs, tree, tree_answer, with_code};
use crate::blobs::spoiled::Broken;
use crate::blobs::{Asked, FromOrigin, Published, refused};
use crate::error::Refusal;
use crate::files::{self, ASK_AGAIN, FOR_EVER, SendOptions, set};
use crate::served::Served;

/// What a shared folder may have beside the files of a commit: what clients note in it.
const BESIDE: u64 = 64 << 20;

/// Answers a client of Hugging Face.
pub(super) async fn respond(served: &Served, hub: &HubOrigin, request: Request, call: &HubCall) -> Response {
    let kind = match call.repository.kind {
        Kind::Model => RepoKind::Model,
        Kind::Dataset => RepoKind::Dataset,
    };
    let Ok(repo) = Repo::new(kind, &call.repository.id) else { return unknown(call) };
    let looking = async {
        let commit = hub.commit(&repo, &call.revision).await?;
        // The list of files may be long, and is not needed for that.
        let files = match call.what {
            What::Refs => Arc::default(),
            _ => hub.files(&repo, &commit).await?,
        };
        Ok((commit, files))
    };
    let found = match timeout(served.wait, looking).await {
        Ok(found) => found.map_err(|error| refused(&error)),
        Err(_) => {
            tracing::warn!(
                repository = repo.url(),
                "the list of files takes long: it goes on, for those who ask again"
            );
            Err(Refusal::Origin)
        }
    };
    let (commit, files) = match found {
        Ok(found) => found,
        Err(Refusal::NotFound) => return unknown(call),
        Err(refusal) => return refusal.into_response(),
    };
    let mut response = match answer(served, hub, request, call, &repo, (&commit, &files)).await {
        Ok(response) => response,
        // Hubs list files of models whose terms have to be accepted, and do not give them.
        Err(Refusal::Denied) => with_code(StatusCode::FORBIDDEN, "GatedRepo", Refusal::Denied.sentence()),
        Err(Refusal::NotFound) => missing("EntryNotFound", "the hub lists this file, and does not have it"),
        Err(refusal) => refusal.into_response(),
    };
    set(response.headers_mut(), REPO_COMMIT, &commit);
    response
}

/// The hub has no such thing, or none that this gateway may read.
fn unknown(call: &HubCall) -> Response {
    match call.revision == MAIN {
        true => missing("RepoNotFound", "there is no such repository, or the gateway may not read it"),
        false => missing("RevisionNotFound", "there is no such revision, or the gateway may not read it"),
    }
}

async fn answer(
    served: &Served,
    hub: &HubOrigin,
    request: Request,
    call: &HubCall,
    repo: &Repo,
    (commit, files): (&str, &Arc<Vec<HubFile>>),
) -> Result<Response, Refusal> {
    let (request, body) = request.into_parts();
    let all = files.clone();
    match &call.what {
        What::Info => {
            let (repository, commit) = (call.repository.clone(), commit.to_owned());
            served.lists.answer(move || super::json(&info(&repository, &commit, all.iter().map(path_of)))).await
        }
        What::Tree(folder) => {
            let (recursive, folder) = (is_recursive(&request), folder.clone());
            served.lists.answer(move || tree_answer(tree(all.iter(), path_of, entry, &folder, recursive))).await
        }
        What::PathsInfo => {
            let paths = paths(&request, body).await?;
            let make = move || super::json(&Value::Array(paths_info(all.iter(), path_of, entry, &paths)));
            served.lists.answer(make).await
        }
        What::Refs => Ok(refs(commit)),
        What::File(path) => {
            let Some(file) = files.iter().find(|file| file.path == *path) else {
                return Ok(missing("EntryNotFound", "there is no such file in this revision"));
            };
            let cache = if is_commit(&call.revision) { FOR_EVER } else { ASK_AGAIN };
            let manner = served.manner(cache);
            let total = files.iter().fold(0, |total: u64, file| total.saturating_add(file.size));
            respond_file(served, hub, &request, repo, commit, (file, total), &manner).await
        }
    }
}

fn path_of(file: &HubFile) -> &str {
    &file.path
}

/// A file as the hub lists it. Without what leads to other servers.
fn entry(file: &HubFile) -> Value {
    let mut entry = json!({ "type": "file", "path": file.path, "size": file.size, "oid": file.oid });
    if let Some(sha256) = &file.sha256 {
        entry["lfs"] = json!({ "oid": sha256, "size": file.size, "pointerSize": 134 });
    }
    entry
}

async fn respond_file(
    served: &Served,
    hub: &HubOrigin,
    request: &axum::http::request::Parts,
    repo: &Repo,
    commit: &str,
    (file, total): (&HubFile, u64),
    manner: &SendOptions<'_>,
) -> Result<Response, Refusal> {
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let tag = format!("\"{}\"", file.etag());
    let origins = served.origins.as_ref().ok_or(Refusal::NotFound)?;
    let (origin, object) = (hub.hub.origin(repo, commit), file.object(commit));
    if request.method == Method::HEAD {
        if let Some(refusal) = origins.blobs.refused(&origin, &object) {
            return Err(refusal);
        }
        let served =
            files::ServedFile { offset: 0, size: file.size, tag, spoiled: Broken::default(), name: name.to_owned() };
        return files::respond_head(request, &served, manner);
    }
    // What the hub has no digest of cannot be told from anything else.
    let digest = file.digest().ok_or(Refusal::Origin)?;
    let most = total.saturating_add(BESIDE);
    let (name_of, path) = (repo.content_name(commit), file.path.clone());
    let published = Some(Published { name: name_of, most, path, origin: origin.clone() });
    let known = Some(FromOrigin::Known(Box::new((origin.clone(), object.clone()))));
    let asked = Asked { digest, size: Some(file.size), most: file.size, published, origin: known };
    let held = origins.blobs.get(&served.contents, asked, served.wait).await?;
    let file = files::ServedFile::of_held(&held, name, tag, origins.blobs.spoiled(digest));
    if held.awaited().is_some()
        && origins.blobs.refused(&origin, &object).is_none()
        && let Some(range) = files::range_within(request, &file)
        && let Some(bytes) = hub.ranges.read((&origin, &object, digest), &range).await
    {
        return files::respond_known(request, (range, bytes), &file, manner).await;
    }
    files::respond_held(request, &held, &file, manner).await
}
