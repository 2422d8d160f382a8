//! Routes of another part of the program on a gateway's listener, behind the same checks: who may ask, and that it is no page of
//! another site.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use serde_json::json;

use crate::doors::Connection;
use crate::error::Refusal;
use crate::routes::ALWAYS;
use crate::served::Served;

/// What is below it is for programs: they are told as JSON why they are not let in.
const INTERFACE: &str = "/api/";

/// The routes, behind the gateway's checks. Which methods they answer is their own affair.
pub(crate) fn guarded(routes: Router, served: Arc<Served>) -> Router {
    routes.layer(from_fn_with_state(served, let_in))
}

async fn let_in(
    State(served): State<Arc<Served>>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = match served.access.check(&parts, connection.dialled.ip()) {
        Err(refusal) if parts.uri.path().starts_with(INTERFACE) => as_json(refusal),
        Err(refusal) => refusal.into_response(),
        Ok(()) => {
            connection.is_let_in();
            next.run(Request::from_parts(parts, body)).await
        }
    };
    for (name, value) in ALWAYS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn as_json(refusal: Refusal) -> Response {
    let code = match refusal {
        Refusal::Unauthorized => "unauthorized",
        Refusal::Site | Refusal::Host => "forbidden",
        _ => "refused",
    };
    let body = json!({ "code": code, "message": refusal.sentence() }).to_string();
    let mut response = refusal.into_response().map(|_| Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
