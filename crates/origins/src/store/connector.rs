//! The HTTP client below object_store: its answers are bounded, as it holds lists and errors in memory whole, and it follows no redirects:
//! what it asks is signed for one host.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientOptions, Error, Result};
use reqwest::header::RANGE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};

use crate::Limits;
use crate::client::build;

/// Most bytes of an answer that is no range of an object: a page of a list, mostly.
const MOST: usize = 16 << 20;
/// A connection must be there within this time, or less if less is waited for an answer.
const CONNECT: Duration = Duration::from_secs(10);

/// Makes clients that wait as the limits say.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Limits);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        // Where credentials are asked for, other options are given.
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let connect = options.get_config_value(&ClientConfigKey::ConnectTimeout);
        let connect = connect.and_then(|text| humantime::parse_duration(&text).ok()).unwrap_or(CONNECT);
        let client = build(|| {
            Client::builder()
                .redirect(Policy::none())
                .referer(false)
                .https_only(!allows_http)
                .connect_timeout(connect.min(CONNECT).min(self.0.answer))
                .read_timeout(self.0.window.max(self.0.answer))
        });
        let client = client.map_err(|error| Error::Generic { store: "HTTP", source: Box::new(error) })?;
        Ok(HttpClient::new(Bounded(client)))
    }
}

/// A client whose answers end.
#[derive(Debug)]
struct Bounded(Client);

#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {MOST} bytes")]
struct TooLong;

impl HttpService for Bounded {
    fn call<'s, 'f>(&'s self, request: HttpRequest) -> BoxFuture<'f, Result<HttpResponse, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let is_ranged = request.headers().contains_key(RANGE);
            let response = HttpService::call(&self.0, request).await?;
            // Ranges are counted where they are read, and not held.
            if is_ranged && response.status() == StatusCode::PARTIAL_CONTENT {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let (mut body, mut all) = (body.bytes_stream(), BytesMut::new());
            while let Some(part) = body.next().await {
                let part = part?;
                if all.len() + part.len() > MOST {
                    return Err(HttpError::new(HttpErrorKind::Decode, TooLong));
                }
                all.extend_from_slice(&part);
            }
            Ok(HttpResponse::from_parts(parts, all.freeze().into()))
        })
    }
}
