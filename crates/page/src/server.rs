//! A small listener for a program that has no other. What it is sent is bounded, and every connection has an end; nothing can be
//! changed over it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http_access::{Arrivals, Place, Room, Token, is_of_another_site, names_this_machine};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

/// Connections at once.
const CONNECTIONS: usize = 64;
/// How long the head of a request may take.
const ASKED: Duration = Duration::from_secs(2);
/// How long a connection may last. A page that looks on comes again by itself.
const LASTS: Duration = Duration::from_secs(600);
/// After an error of the listener.
const PAUSE: Duration = Duration::from_millis(500);
/// Most bytes of a request's head.
const HEAD: usize = 16 << 10;

/// A listener that is bound.
#[must_use = "it answers while `run` runs"]
pub struct Server {
    listener: TcpListener,
    token: Option<Token>,
}

impl Server {
    /// Binds an address. Needs a runtime of tokio's.
    pub async fn bind(address: SocketAddr, token: Option<Token>) -> io::Result<Self> {
        Ok(Server { listener: TcpListener::bind(address).await?, token })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers with these routes for as long as it is polled. Only `GET` and `HEAD` reach them.
    pub async fn run(self, routes: Router) {
        let room = Room::new(CONNECTIONS);
        let mut arrivals = Arrivals::new(self.listener, "no connection for the page can be taken", PAUSE);
        loop {
            let stream = arrivals.next().await;
            let Ok(dialled) = stream.local_addr() else { continue };
            let (place, goes) = room.enter();
            let (token, place) = (self.token.clone(), Arc::new(place));
            let guard =
                move |request: Request, next: Next| let_in(dialled, token.clone(), place.clone(), request, next);
            let service = TowerToHyperService::new(routes.clone().layer(middleware::from_fn(guard)));
            tokio::spawn(async move {
                let mut http = http1::Builder::new();
                http.keep_alive(false).max_buf_size(HEAD).timer(TokioTimer::new()).header_read_timeout(ASKED);
                let connection = http.serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    _ = tokio::time::timeout(LASTS, connection) => {}
                    _ = goes => tracing::debug!("a connection to the page makes room"),
                }
            });
            // It may have asked already, and is answered before the next ones take its place.
            tokio::task::yield_now().await;
        }
    }
}

async fn let_in(
    dialled: SocketAddr,
    token: Option<Token>,
    place: Arc<Place>,
    request: Request,
    next: Next,
) -> Response {
    let refusal = refused(&request, dialled.ip(), token.as_ref());
    let mut response = match refusal {
        Some(refusal) => refusal.into_response(),
        None => {
            place.is_answered();
            next.run(request).await
        }
    };
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    if response.status() == StatusCode::UNAUTHORIZED {
        let basic = HeaderValue::from_static("Basic realm=\"p2p-fileshare\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, basic);
    }
    response
}

/// Why a request is not answered, if so.
fn refused(request: &Request, dialled: IpAddr, token: Option<&Token>) -> Option<(StatusCode, &'static str)> {
    let headers = request.headers();
    if !names_this_machine(headers, request.uri(), dialled, &[]) {
        return Some((StatusCode::MISDIRECTED_REQUEST, "ask for the address that you dial, or for localhost\n"));
    }
    if is_of_another_site(headers) {
        return Some((StatusCode::FORBIDDEN, "a page of another site has asked for this\n"));
    }
    if token.is_some_and(|token| !token.is_in(headers)) {
        return Some((StatusCode::UNAUTHORIZED, "the token is wanted: as Bearer, or as the password of Basic\n"));
    }
    let may_be_asked = matches!(*request.method(), Method::GET | Method::HEAD);
    (!may_be_asked).then_some((StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n"))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn routes_are_behind_the_token_and_nothing_is_changed() {
        let token = Token::new("0123456789abcdef").unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), Some(token)).await.unwrap();
        let address = server.address().unwrap();
        let running = tokio::spawn(server.run(Router::new().route("/", get(async || "here"))));
        let known = "Authorization: Bearer 0123456789abcdef";
        let asked = async |line: &str, more: &str| ask(address, &format!("{line}\r\nHost: {address}\r\n{more}")).await;
        assert!(asked("GET / HTTP/1.1", known).await.contains("200"));
        assert!(asked("GET / HTTP/1.1", "X: y").await.contains("401"));
        assert!(asked("POST / HTTP/1.1", known).await.contains("405"));
        assert!(ask(address, &format!("GET / HTTP/1.1\r\nHost: evil.example\r\n{known}")).await.contains("421"));
        running.abort();
    }

    #[tokio::test]
    async fn connections_that_ask_nothing_keep_nobody_out() {
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        let address = server.address().unwrap();
        let running = tokio::spawn(server.run(Router::new().route("/", get(async || "here"))));
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS + 1 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(ask(address, &format!("GET / HTTP/1.1\r\nHost: {address}")).await.contains("200"));
        running.abort();
    }
}
