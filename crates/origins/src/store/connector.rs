//! The HTTP client below object_store: its answers are bounded, as it holds lists and errors in memory whole, and it follows no redirects:
//! what it asks is signed for one host.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientOptions, Error, Result};
use reqwest::header::RANGE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};

use super::unfit::without_unfit;
use crate::client::build;
use crate::{Limits, Unfit};

/// Most bytes of an answer that is no range of an object: a page of a list, mostly.
const MOST: usize = 16 << 20;
/// A connection must be there within this time, or less if less is waited for an answer.
const CONNECT: Duration = Duration::from_secs(10);

/// Makes clients that wait as the limits say, and notes what is left out of the lists that come.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Limits, pub(super) Arc<Mutex<Unfit>>);

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
        Ok(HttpClient::new(Bounded(client, self.1.clone())))
    }
}

/// A client whose answers end, and whose lists can be read.
#[derive(Debug)]
struct Bounded(Client, Arc<Mutex<Unfit>>);

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
            let is_list = request.uri().query().is_some_and(lists);
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
            let all = match std::str::from_utf8(&all) {
                Ok(list) if is_list => {
                    let mut unfit = self.1.lock().unwrap_or_else(PoisonError::into_inner);
                    Bytes::from(without_unfit(list, |key| unfit.add(key)))
                }
                _ => all.freeze(),
            };
            Ok(HttpResponse::from_parts(parts, all.into()))
        })
    }
}

/// Whether a query asks for a list, of S3 and Google Cloud or of Azure.
fn lists(query: &str) -> bool {
    query.split('&').any(|part| matches!(part, "list-type=2" | "comp=list"))
}
