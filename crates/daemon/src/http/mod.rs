//! A daemon's control as HTTP and JSON, with a stream of what changes, and the page that is made of both.
//!
//! [`router`] is hosted by a listener that knows who may ask (a gateway): it has checked the host, that no page of another site asks,
//! and the token. `openapi.json` documents all of it, and a test compares the two.
//!
//! Where there is no token, every program of this machine reaches it: then nothing can be changed, and neither tickets nor paths nor
//! the log are shown.

mod change;
mod contents;
mod detail;
mod look;
mod refusal;
mod shown;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use page::{Feeds, Program};
use serde::Serialize;

use crate::Service;
use look::{Closely, Looking};
use refusal::Refusal;

/// The document of the interface.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Streams of events at once.
const STREAMS: usize = 32;
/// Contents in one answer, at most.
const MOST: usize = 1000;

/// Everything else below the interface.
const UNKNOWN: [&str; 3] = ["/api/v1", "/api/v1/", "/api/v1/{*rest}"];

/// Lines of the log behind a place, and the place behind them.
pub type ReadLog = Arc<dyn Fn(u64) -> (u64, Vec<String>) + Send + Sync>;

/// What those who ask may do and see.
#[derive(Clone)]
pub struct Options {
    /// Whether all who get here have proven that they know a token. If not, nothing is changed for them.
    pub trusted: bool,
    /// The last lines of the log.
    pub log: ReadLog,
}

/// What all answers share.
struct Api {
    service: Arc<Service>,
    options: Options,
    feeds: Feeds,
}

type Shared = State<Arc<Api>>;

/// The routes below `/api/v1/`, and `/page`.
pub fn router(service: Arc<Service>, options: Options) -> Router {
    let mut router = Router::new()
        .route("/api/v1/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI)))
        .route("/api/v1/status", get(status))
        .route("/api/v1/contents/{number}", get(content))
        .route("/api/v1/contents/{number}/events", get(close))
        .route("/api/v1/log", get(log))
        .route("/api/v1/events", get(events));
    for name in change::NAMES {
        let change = async move |state: Shared, request| change::change(state, name, request).await;
        router = router.route(&format!("/api/v1/{name}"), post(change));
    }
    let router = router.method_not_allowed_fallback(async || Refusal::Method);
    let router = UNKNOWN.iter().fold(router, |router, path| router.route(path, any(async || Refusal::Path)));
    router.route("/page", get(async || page::document(Program::Daemon))).with_state(Arc::new(Api {
        service,
        options,
        feeds: Feeds::new(STREAMS),
    }))
}

/// An answer that is true for now only.
fn json(value: &impl Serialize) -> Response {
    let Ok(text) = serde_json::to_string(value) else {
        return Refusal::Other("it cannot be said".into()).into_response();
    };
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

type Asked = Query<HashMap<String, String>>;

/// A whole number of the query.
fn number<T: std::str::FromStr>(asked: &Asked, name: &str, otherwise: T) -> Result<T, Refusal> {
    match asked.get(name) {
        Some(text) => text.parse().map_err(|_| Refusal::Usage(format!("`{name}` is a whole number"))),
        None => Ok(otherwise),
    }
}

/// The part of a path that is to be the number of a content.
type NumberInPath = Result<Path<String>, PathRejection>;

fn content_number(named: NumberInPath) -> Result<u64, Refusal> {
    let number = named.ok().and_then(|Path(text)| text.parse().ok());
    number.ok_or_else(|| Refusal::Usage("a content's number is a whole number".to_owned()))
}

async fn status(State(api): Shared, asked: Asked) -> Result<Response, Refusal> {
    let (from, most) = (number(&asked, "from", 0)?, number(&asked, "most", MOST)?.min(MOST));
    Ok(json(&shown::status(&api, from, most)))
}

async fn content(State(api): Shared, named: NumberInPath) -> Result<Response, Refusal> {
    let number = content_number(named)?;
    let found = detail::detail(&api, number).await;
    found.map(|found| json(&found)).ok_or_else(|| Refusal::NotFound(format!("no content has the number {number}")))
}

async fn log(State(api): Shared, asked: Asked) -> Result<Response, Refusal> {
    if !api.options.trusted {
        return Err(Refusal::Forbidden);
    }
    let (next, lines) = (api.options.log)(number(&asked, "after", 0)?);
    Ok(json(&shown::Log { lines, next }))
}

async fn events(State(api): Shared) -> Result<Response, Refusal> {
    api.feeds.open(Looking::new(api.clone())).ok_or(Refusal::Busy)
}

async fn close(State(api): Shared, named: NumberInPath) -> Result<Response, Refusal> {
    let number = content_number(named)?;
    if !api.service.inner().contents.iter().any(|content| content.saved.number == number) {
        return Err(Refusal::NotFound(format!("no content has the number {number}")));
    }
    api.feeds.open(Closely::new(api.clone(), number)).ok_or(Refusal::Busy)
}
