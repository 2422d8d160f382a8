//! The tracker's page: all contents, and of one of them the whole crowd beside the best possible.
//!
//! Peers are asked how they stand while somebody looks, as for `peer-cli watch`, and where many of them get a content at once.

mod best;
mod crowd;
mod look;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::page::{Feeds, Program, Token, TokenError, document};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::Instant;
use tracker::{ContentId, Server};

use crowd::Crowd;
use look::{Contents, Peers};

/// Streams of events at once.
const STREAMS: usize = 32;
/// Contents whose crowds are remembered: each that a stream shows, and those that are followed anyway. And for how long after the last
/// look.
const CROWDS: usize = STREAMS + record::AT_ONCE;
const REMEMBERED: Duration = Duration::from_secs(600);

/// Why there is no page.
#[derive(Debug)]
pub enum PageError {
    /// Others would reach it.
    NeedsToken(SocketAddr),
    /// The token is of no use.
    Token(TokenError),
    /// The address cannot be had.
    Bind(std::io::Error),
}

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PageError::NeedsToken(address) => write!(
                f,
                "others reach a page at {address}, so it needs a token that they must know: --page-token FILE. At 127.0.0.1 only this \
                 machine reaches it"
            ),
            PageError::Token(error) => write!(f, "the page's token: {error}"),
            PageError::Bind(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PageError {}

/// What all answers share.
struct Shared {
    server: Arc<Server>,
    feeds: Feeds,
    /// Whether those who look have proven that they know a token.
    shows_log: bool,
    crowds: Mutex<BTreeMap<ContentId, (Instant, Crowd)>>,
}

impl Shared {
    fn crowds(&self) -> MutexGuard<'_, BTreeMap<ContentId, (Instant, Crowd)>> {
        self.crowds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the crowd of a content, which begins now if nobody has looked lately.
    fn with_crowd<T>(&self, content: ContentId, work: impl FnOnce(&mut Crowd, f64) -> T) -> T {
        let now = Instant::now();
        let mut crowds = self.crowds();
        crowds.retain(|_, (seen, _)| now.duration_since(*seen) < REMEMBERED);
        if crowds.len() >= CROWDS && !crowds.contains_key(&content) {
            let oldest = crowds.iter().min_by_key(|(_, (seen, _))| *seen).map(|(&content, _)| content);
            oldest.map(|oldest| crowds.remove(&oldest));
        }
        let (seen, crowd) = crowds.entry(content).or_insert_with(|| (now, Crowd::new(now.into_std())));
        *seen = now;
        let since = crowd.since(now.into_std());
        work(crowd, since)
    }
}

/// Shows the page of this tracker at an address from now on, and says where that is.
pub async fn serve(
    address: SocketAddr,
    token: Option<&FilePath>,
    server: Arc<Server>,
) -> Result<SocketAddr, PageError> {
    if token.is_none() && !address.ip().to_canonical().is_loopback() {
        return Err(PageError::NeedsToken(address));
    }
    let token = token.map(Token::read).transpose().map_err(PageError::Token)?;
    let shows_log = token.is_some();
    if shows_log {
        settings::keep_recent_log();
    }
    let listener = ::page::Server::bind(address, token).await.map_err(PageError::Bind)?;
    let bound = listener.address().map_err(PageError::Bind)?;
    let shared = Arc::new(Shared { server, feeds: Feeds::new(STREAMS), shows_log, crowds: Mutex::default() });
    tokio::spawn(record::record(shared.clone()));
    tokio::spawn(listener.run(router(shared)));
    Ok(bound)
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(async || document(Program::Tracker)))
        .route("/api/v1/events", get(contents))
        .route("/api/v1/contents/{content}/events", get(crowd))
        .with_state(shared)
}

fn opened(stream: Option<Response>) -> Response {
    stream.unwrap_or_else(|| (StatusCode::SERVICE_UNAVAILABLE, "too many open pages: close one\n").into_response())
}

async fn contents(State(shared): State<Arc<Shared>>) -> Response {
    opened(shared.feeds.open(Contents::new(shared.clone())))
}

async fn crowd(
    State(shared): State<Arc<Shared>>,
    Path(text): Path<String>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let Ok(content) = text.parse::<ContentId>() else {
        return (StatusCode::BAD_REQUEST, "a content id has 64 hexadecimal digits\n").into_response();
    };
    // Bytes a second, as whoever asks knows the links.
    let link = |name: &str| asked.get(name).and_then(|text| text.parse::<u64>().ok()).filter(|&rate| rate > 0);
    let links = best::Links { uplink: link("uplink"), downlink: link("downlink") };
    opened(shared.feeds.open(Peers::new(shared.clone(), content, links)))
}
