//! What changes something: the requests of the control socket (`docs/control.md`), each as a `POST` of its fields.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request as Asked, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::refusal::Refusal;
use super::{MOST, Shared, json};
use crate::control::{Answer, Answering, ContentStatus, Request};

/// What can be asked for, by the names of the socket's requests.
pub(super) const NAMES: [&str; 7] = ["add", "remove", "pause", "resume", "prioritise", "limit", "reload"];

/// Most bytes of a request, as for a line of the socket.
const LONGEST: usize = 64 << 10;
/// How long they may take.
const COMES: Duration = Duration::from_secs(10);
/// What takes longer goes on, and is answered with how far it is.
const ANSWERED: Duration = Duration::from_secs(10);
/// Answers of the service that may wait.
const ANSWERS: usize = 16;

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Done {
    /// How the contents stand that it concerned, the first thousand of them.
    contents: Vec<ContentStatus>,
    /// How many it concerned.
    count: u64,
    up: u64,
    down: u64,
    /// Something that the user should know, as a sentence; empty if there is nothing.
    note: String,
}

/// Does it, and says what came of it.
pub(super) async fn change(State(api): Shared, name: &'static str, asked: Asked) -> Result<Response, Refusal> {
    if !api.options.trusted {
        return Err(Refusal::Forbidden);
    }
    if !is_json(asked.headers()) {
        return Err(Refusal::NoJson);
    }
    let body = timeout(COMES, to_bytes(asked.into_body(), LONGEST)).await.map_err(|_| Refusal::Late)?;
    let request = request(name, &body.map_err(|_| Refusal::TooLong)?)?;
    let (answers, mut taken) = mpsc::channel(ANSWERS);
    // It is done to its end, whether somebody waits for that or not.
    tokio::spawn(api.service.clone().answer(request, answers));
    let (until, mut stand) = (Instant::now() + ANSWERED, BTreeMap::new());
    let mut order = Vec::new();
    let done = loop {
        match timeout_at(until, taken.recv()).await {
            Ok(Some(Answer::Content(content))) => {
                if !stand.contains_key(&content.number) && stand.len() < MOST {
                    order.push(content.number);
                }
                if order.contains(&content.number) {
                    stand.insert(content.number, content);
                }
            }
            Ok(Some(Answer::Done { contents, up, down, note })) => break Some((contents, up, down, note)),
            Ok(Some(Answer::Error { code, message })) => return Err(Refusal::of(code, message)),
            Ok(Some(Answer::Unknown)) => {}
            Ok(None) => return Err(Refusal::Other("the daemon is ending".to_owned())),
            Err(_) => break None,
        }
    };
    let contents: Vec<_> = order.iter().filter_map(|number| stand.remove(number)).collect();
    Ok(match done {
        Some((count, up, down, note)) => json(&Done { contents, count, up, down, note }),
        None => {
            let (up, down) = api.service.inner().limits();
            let (count, note) = (contents.len() as u64, "still working on it: ask for its status later".to_owned());
            let done = Done { contents, count, up: up.unwrap_or(0), down: down.unwrap_or(0), note };
            (StatusCode::ACCEPTED, json(&done)).into_response()
        }
    })
}

/// Whether the body says that it is JSON. No form of another site does.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn request(name: &str, body: &[u8]) -> Result<Request, Refusal> {
    let usage = |error: serde_json::Error| Refusal::Usage(format!("this is no request: {error}"));
    let mut fields: serde_json::Map<String, Value> = match body.is_empty() {
        true => serde_json::Map::new(),
        false => serde_json::from_slice(body).map_err(usage)?,
    };
    fields.insert("request".to_owned(), name.into());
    serde_json::from_value(fields.into()).map_err(usage)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::control::Which;

    #[test]
    fn the_path_says_what_is_asked_for_whatever_the_body_says() {
        let paused = request("pause", br#"{"request":"remove","which":"all"}"#).unwrap();
        assert_eq!(paused, Request::Pause { which: Which::All });
        assert_eq!(request("reload", b"").unwrap(), Request::Reload {});
        for wrong in [&b"[]"[..], b"{", b"{}", br#"{"which":7}"#, b"\xff"] {
            assert!(matches!(request("pause", wrong), Err(Refusal::Usage(_))), "{wrong:?}");
        }
        NAMES.iter().for_each(|name| {
            let known = request(name, br#"{"which":"all","what":"x"}"#);
            assert!(known.is_ok(), "{name}");
        });
    }

    #[test]
    fn what_a_form_can_send_is_no_json() {
        let kind = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
            is_json(&headers)
        };
        assert!(kind("application/json") && kind("Application/JSON; charset=utf-8"));
        assert!(!is_json(&HeaderMap::new()));
        for wrong in ["text/plain", "text/plain; application/json", "application/x-www-form-urlencoded", ""] {
            assert!(!kind(wrong), "{wrong}");
        }
    }
}
