//! What is where: `/content/ID`, `/name/NAME`, a page of what is here, and what the clients of Hugging Face ask for.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::{HeaderName, LOCATION};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use peer::{ContentId, OpenContent, Query};

use crate::doors::Connection;
use crate::error::Refusal;
use crate::files::{self, ASK_AGAIN, FOR_EVER, PathTarget};
use crate::served::Served;
use crate::{huggingface, pages, registry, s3};

type Shared = State<Arc<Served>>;

/// Said in every answer: none of it is a page of some other site, or embedded in one.
pub(crate) const ALWAYS: [(&str, &str); 2] =
    [("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin")];

/// All routes. A client that is not answered learns nothing of what is behind them.
pub(crate) fn router(served: Arc<Served>) -> Router {
    Router::new()
        .route("/", any(index))
        .route("/content/{id}", any(by_id))
        .route("/content/{id}/", any(by_id))
        .route("/content/{id}/{*path}", any(by_id_and_path))
        .route("/name/{name}", any(by_name))
        .route("/name/{name}/", any(by_name))
        .route("/name/{name}/{*path}", any(by_name_and_path))
        .route("/s3", any(bucket))
        .route("/s3/", any(bucket))
        .route("/s3/{*path}", any(bucket))
        .route("/v2", any(registry))
        .route("/v2/", any(registry))
        .route("/v2/{*path}", any(registry))
        .fallback(huggingface)
        .layer(from_fn_with_state(served.clone(), let_in))
        .with_state(served)
}

async fn let_in(
    State(served): Shared,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let mut response = match served.access.check(&parts, connection.dialled.ip()) {
        Err(refusal) if s3::signature::is_below(parts.uri.path()) => s3::refuse(refusal, ""),
        Err(refusal) => refusal.into_response(),
        Ok(()) if is_head || parts.method == Method::GET || huggingface::may_post(&parts) => {
            connection.is_let_in();
            next.run(Request::from_parts(parts, body)).await
        }
        Ok(()) if s3::signature::is_below(parts.uri.path()) => s3::refuse(Refusal::Method, ""),
        Ok(()) => Refusal::Method.into_response(),
    };
    for (name, value) in ALWAYS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn index(State(served): Shared) -> Result<Response, Refusal> {
    served.lists.hold(pages::index(&served.contents).await).await
}

async fn by_id(state: Shared, Path(id): Path<String>, request: Request) -> Result<Response, Refusal> {
    by_id_and_path(state, Path((id, String::new())), request).await
}

async fn by_id_and_path(
    State(served): Shared,
    Path((id, path)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let open = served.contents.by_id(content_id(&id)?).await?;
    respond(&served, &open, &path, &request.into_parts().0, FOR_EVER).await
}

async fn by_name(state: Shared, Path(name): Path<String>, request: Request) -> Result<Response, Refusal> {
    by_name_and_path(state, Path((name, String::new())), request).await
}

async fn by_name_and_path(
    State(served): Shared,
    Path((name, path)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    if !pages::is_name(&name) {
        return Err(Refusal::NotFound);
    }
    let open = served.contents.by_name(&name).await?;
    respond(&served, &open, &path, &request.into_parts().0, ASK_AGAIN).await
}

async fn huggingface(State(served): Shared, request: Request) -> Response {
    huggingface::respond(&served, request).await
}

async fn bucket(State(served): Shared, request: Request) -> Response {
    s3::respond(&served, request).await
}

async fn registry(State(served): Shared, request: Request) -> Response {
    registry::respond(&served, request).await
}

fn content_id(text: &str) -> Result<ContentId, Refusal> {
    match text.parse() {
        Ok(Query::Id(id)) => Ok(id),
        _ => Err(Refusal::Malformed("A content id has 64 hexadecimal digits.")),
    }
}

/// Answers with what a path of a content leads to.
async fn respond(
    served: &Served,
    open: &Arc<OpenContent>,
    path: &str,
    request: &RequestParts,
    cache: &'static str,
) -> Result<Response, Refusal> {
    let manner = served.manner(cache);
    let folder = path.trim_end_matches('/');
    match files::find(open, path).ok_or(Refusal::NotFound)? {
        PathTarget::File(file) => files::respond(request, open, &file, &manner).await,
        PathTarget::Folder if wants_archive(request) => {
            files::respond_archive(request, &served.lists, open, folder, &manner).await
        }
        // Links of the page are relative to a path that ends like a folder's.
        PathTarget::Folder if !request.uri.path().ends_with('/') => Ok(moved(&format!("{}/", request.uri.path()))),
        PathTarget::Folder => {
            let (open, folder) = (open.clone(), folder.to_owned());
            served.lists.answer(move || pages::folder(&open, &folder)).await
        }
    }
}

/// A folder is asked for as an archive, by `?tar` or by what is accepted.
fn wants_archive(request: &RequestParts) -> bool {
    let asked =
        request.uri.query().is_some_and(|query| query.split('&').any(|part| part == "tar" || part == "format=tar"));
    let accepted = request.headers.get("accept").and_then(|value| value.to_str().ok());
    asked || accepted.is_some_and(|accepted| accepted.contains("application/x-tar"))
}

fn moved(to: &str) -> Response {
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    // A second slash would name another host.
    let to = format!("/{}", to.trim_start_matches('/'));
    response.headers_mut().extend(HeaderValue::from_str(&to).ok().map(|to| (LOCATION, to)));
    response
}
