//! What is answered where something is not done: a status, and why, as a sentence.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::control::ErrorCode;

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request makes no sense.
    Usage(String),
    /// Its body is no JSON, as it says itself: a form of another site could send it.
    NoJson,
    /// Its body is too long.
    TooLong,
    /// Its body did not come in time.
    Late,
    /// Nothing is changed without a token.
    Forbidden,
    /// There is no such path in the interface.
    Path,
    /// The path takes another method.
    Method,
    /// There is no such content, or no such path.
    NotFound(String),
    /// There are too many of something.
    Refused(String),
    /// Too many streams are open.
    Busy,
    /// The state cannot be written.
    CannotWrite(String),
    /// Anything else.
    Other(String),
}

impl Refusal {
    /// What the service says.
    pub(super) fn of(code: ErrorCode, message: String) -> Self {
        match code {
            ErrorCode::Usage => Refusal::Usage(message),
            ErrorCode::NotFound => Refusal::NotFound(message),
            ErrorCode::Refused => Refusal::Refused(message),
            ErrorCode::CannotWrite => Refusal::CannotWrite(message),
            ErrorCode::Other => Refusal::Other(message),
        }
    }

    fn said(self) -> (StatusCode, &'static str, String) {
        match self {
            Refusal::Usage(message) => (StatusCode::BAD_REQUEST, "usage", message),
            Refusal::NoJson => {
                let message = "say what to do as JSON, with the header Content-Type: application/json";
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "usage", message.to_owned())
            }
            Refusal::TooLong => {
                (StatusCode::PAYLOAD_TOO_LARGE, "usage", "a request has 64 KiB at most: name fewer contents".to_owned())
            }
            Refusal::Late => (StatusCode::REQUEST_TIMEOUT, "usage", "the request did not come in time".to_owned()),
            Refusal::Forbidden => {
                let message = "this takes a token, and this daemon has none: start it with --gateway-token FILE";
                (StatusCode::FORBIDDEN, "forbidden", message.to_owned())
            }
            Refusal::Path => {
                let message = "there is nothing at this path: /api/v1/openapi.json says what there is";
                (StatusCode::NOT_FOUND, "not_found", message.to_owned())
            }
            Refusal::Method => {
                let message = "this path takes another method: /api/v1/openapi.json says which";
                (StatusCode::METHOD_NOT_ALLOWED, "usage", message.to_owned())
            }
            Refusal::NotFound(message) => (StatusCode::NOT_FOUND, "not_found", message),
            Refusal::Refused(message) => (StatusCode::CONFLICT, "refused", message),
            Refusal::Busy => {
                let message = "too many open pages: close one".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "busy", message)
            }
            Refusal::CannotWrite(message) => (StatusCode::INSUFFICIENT_STORAGE, "cannot_write", message),
            Refusal::Other(message) => (StatusCode::INTERNAL_SERVER_ERROR, "other", message),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = self.said();
        let body = json!({ "code": code, "message": message }).to_string();
        (status, [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}
