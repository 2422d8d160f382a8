//! Routes of another part of the program on a gateway's listener, behind the same checks: who may ask, and that it is no page of
//! another site.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};

use crate::doors::Connection;
use crate::routes::ALWAYS;
use crate::served::Served;

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
