//! What goes wrong: for the program that runs a gateway, and for its clients, who learn nothing of this machine by it.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::header::{ALLOW, CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_access::TokenError;
use peer::PeerError;

/// Seconds after which a client is to ask again for what is not there yet.
const AGAIN: HeaderValue = HeaderValue::from_static("5");

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// Others would reach it.
    #[error(
        "others reach a gateway at {0}, so it needs a token that its clients must know: --gateway-token FILE. At 127.0.0.1 only this machine reaches it"
    )]
    NeedsToken(SocketAddr),
    /// The address cannot be had.
    #[error("a gateway cannot listen at {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What is downloaded, or comes from origins, cannot be kept.
    #[error("files cannot be kept in {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The token is of no use.
    #[error("the gateway's token: {0}")]
    Token(#[from] TokenError),
}

/// Why a request is not answered as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It names another host.
    Host,
    /// A page of another site has made a browser ask.
    Site,
    /// It does not say the token.
    Unauthorized,
    /// It was signed for a time that is over.
    Expired,
    /// It was signed at another time than it is here.
    Skewed,
    /// Only `GET` and `HEAD` are answered.
    Method,
    /// It asks for what no gateway has.
    Unknown,
    /// It cannot be understood.
    Malformed(&'static str),
    /// There is no such thing, or not in the swarms of this gateway.
    NotFound,
    /// Several contents have that name.
    Ambiguous,
    /// The client has said which version it means, and this is another one.
    Precondition,
    /// None of the ranges lies in a file of this size.
    Range(u64),
    /// Nobody has brought it in time.
    Late,
    /// A tracker that may know of it cannot be asked.
    Tracker,
    /// The origin that may have it does not answer as it should.
    Origin,
    /// Its origin does not let this gateway read it.
    Denied,
    /// The download has failed.
    Failed,
    /// There is no room for one more.
    Busy,
    /// It does not fit on the disk, or beside what is in use of what may be kept.
    Full,
    /// It is larger than all that may be kept.
    TooLarge,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Host => StatusCode::MISDIRECTED_REQUEST,
            Refusal::Site | Refusal::Denied | Refusal::Expired | Refusal::Skewed => StatusCode::FORBIDDEN,
            Refusal::Unauthorized => StatusCode::UNAUTHORIZED,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Unknown => StatusCode::NOT_IMPLEMENTED,
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::Ambiguous => StatusCode::CONFLICT,
            Refusal::Precondition => StatusCode::PRECONDITION_FAILED,
            Refusal::Range(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Refusal::Late | Refusal::Tracker | Refusal::Origin => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Failed => StatusCode::BAD_GATEWAY,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Full | Refusal::TooLarge => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// What a client is told of what this machine could not store. The log says more.
    pub(crate) fn of_storing(error: &PeerError) -> Self {
        match error {
            PeerError::Storage(error) if error.is_no_room() => Refusal::Full,
            _ => Refusal::Failed,
        }
    }

    /// Whether this gateway has no room for it now, whatever it is.
    pub(crate) fn is_lack_of_room(&self) -> bool {
        matches!(self, Refusal::Busy | Refusal::Full | Refusal::TooLarge)
    }

    /// A sentence for a person who reads it.
    pub(crate) fn sentence(&self) -> &'static str {
        match self {
            Refusal::Host => "This gateway is not known by that name or address. --gateway-host NAME adds one.",
            Refusal::Site => "A page of another site has asked for this. Open the address in a window of its own.",
            Refusal::Unauthorized => {
                "This gateway requires a token: as Bearer, as the password of Basic, or below /s3/ as the secret key."
            }
            Refusal::Expired => "Request has expired: sign a new URL.",
            Refusal::Skewed => {
                "The difference between the request's time and this gateway's is too large: one of the clocks is wrong."
            }
            Refusal::Method => "Only GET and HEAD are answered here.",
            Refusal::Unknown => "A gateway has no such path.",
            Refusal::Malformed(sentence) => sentence,
            Refusal::NotFound => "Not found.",
            Refusal::Ambiguous => "Several contents have that name. Ask for one by its id.",
            Refusal::Precondition => "It is not the version that was asked for.",
            Refusal::Range(_) => "The file has no such bytes.",
            Refusal::Late => "No peer has sent it in time. The download continues: try again later.",
            Refusal::Tracker => "The tracker does not answer, so nobody knows whether it is there: try again later.",
            Refusal::Origin => "Its origin does not answer as it should. The gateway's log says why: try again later.",
            Refusal::Failed => "It cannot be downloaded. The gateway's log says why.",
            Refusal::Denied => {
                "Its origin does not let this gateway read it. A hub goes by HF_TOKEN on the gateway's machine, and by the terms that its account has accepted."
            }
            Refusal::Full => "The gateway has no room for it at the moment, and its log says why. Try again later.",
            Refusal::TooLarge => "It is larger than all that this gateway may keep. Its operator can raise --cache.",
            Refusal::Busy => "The gateway is busy. Try again later.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl Error for Refusal {}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{}\n", self.sentence())).into_response();
        let headers = response.headers_mut();
        match self {
            Refusal::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"p2p-fileshare\""));
            }
            Refusal::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Refusal::Range(size) => {
                let range = HeaderValue::from_str(&format!("bytes */{size}"));
                headers.extend(range.ok().map(|range| (CONTENT_RANGE, range)));
            }
            Refusal::Late | Refusal::Tracker | Refusal::Origin | Refusal::Busy | Refusal::Full => {
                headers.insert(RETRY_AFTER, AGAIN);
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_when_to_ask_again_for_what_may_be_there_then() {
        let after = |refusal: Refusal| refusal.into_response().headers().get(RETRY_AFTER).cloned();
        for refusal in [Refusal::Late, Refusal::Tracker, Refusal::Origin, Refusal::Busy, Refusal::Full] {
            assert_eq!(after(refusal), Some(AGAIN), "{refusal}");
        }
        for refusal in [Refusal::NotFound, Refusal::TooLarge, Refusal::Failed, Refusal::Unauthorized] {
            assert_eq!(after(refusal), None, "{refusal}");
        }
    }
}
