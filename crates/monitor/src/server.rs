//! The HTTP side: three routes, and a small server for programs that have no other. What it is sent is bounded, and every connection
//! has a deadline; nobody can change anything over it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_access::{Arrivals, Room};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::encode::{Collect, encoded};
use crate::metric::Metric;
use crate::process;

/// Connections at once. A newcomer takes the place of the oldest that has asked nothing: who opens many keeps no probe out, for which a
/// program would be started again.
const CONNECTIONS: usize = 64;
/// How long a connection may last: a request, and its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long the head of a request may take.
const ASKED: Duration = Duration::from_secs(2);
/// After an error of the listener.
const PAUSE: Duration = Duration::from_millis(500);
/// Most bytes of a request's head.
const HEAD: usize = 16 << 10;

/// What OpenMetrics is called.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Says whether a program is ready; if not, why, as a sentence.
type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a program says of itself.
#[derive(Clone)]
pub struct Monitor {
    collect: Collect,
    ready: Ready,
}

impl Monitor {
    /// Asks these functions when somebody asks: what is measured, and whether the program is ready. Processor time and memory
    /// of the process come besides.
    pub fn new(
        collect: impl Fn() -> Vec<Metric> + Send + Sync + 'static,
        ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let collect = move || collect().into_iter().chain(process::metrics()).collect();
        Monitor { collect: Arc::new(collect), ready: Arc::new(ready) }
    }
}

/// `/metrics`, `/livez` and `/readyz`, for an HTTP listener that the program has already.
pub fn router(monitor: Monitor) -> Router {
    let Monitor { collect, ready } = monitor;
    let metrics = move || async move {
        match encoded(&collect) {
            Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    let readyz = move || async move {
        match ready() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        }
    };
    Router::new().route("/metrics", get(metrics)).route("/livez", get(async || "alive\n")).route("/readyz", get(readyz))
}

/// A listener that is bound.
#[must_use = "it answers while `run` runs"]
pub struct Server(TcpListener);

impl Server {
    /// Binds an address. Needs a runtime of tokio's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Server)
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers for as long as it is polled.
    pub async fn run(self, monitor: Monitor) {
        let (room, mut router) = (Room::new(CONNECTIONS), router(monitor));
        if self.address().is_ok_and(|address| address.ip().is_loopback()) {
            router = router.layer(middleware::from_fn(refuse_other_names));
        }
        let mut arrivals = Arrivals::new(self.0, "no connection for metrics can be taken", PAUSE);
        loop {
            let stream = arrivals.next().await;
            let (place, goes) = room.enter();
            let place = Arc::new(place);
            let is_answered = move |request: Request, next: Next| {
                place.is_answered();
                next.run(request)
            };
            let service = TowerToHyperService::new(router.clone().layer(middleware::from_fn(is_answered)));
            tokio::spawn(async move {
                let mut http = http1::Builder::new();
                http.keep_alive(false).max_buf_size(HEAD).timer(TokioTimer::new()).header_read_timeout(ASKED);
                let connection = http.serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    _ = tokio::time::timeout(DEADLINE, connection) => {}
                    _ = goes => tracing::debug!("a connection for metrics makes room"),
                }
            });
            // It may have asked already, and is answered before the next ones take its place.
            tokio::task::yield_now().await;
        }
    }
}

/// What listens on loopback answers to addresses and `localhost` alone: a page on the web whose name leads to loopback by then
/// reads nothing through a browser of this machine.
async fn refuse_other_names(request: Request, next: Next) -> Response {
    if is_own_name(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "ask for localhost, or for an address\n").into_response()
}

fn is_own_name(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    if let Some(ip) = host.strip_prefix('[') {
        return ip.split_once(']').is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::metric::{Unit, Value};

    async fn ask(address: SocketAddr, path: &str) -> String {
        ask_as(address, path, &format!("Host: {address}\r\n")).await
    }

    async fn ask_as(address: SocketAddr, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_name_that_leads_to_loopback_is_refused() {
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address().unwrap();
        let running = tokio::spawn(server.run(Monitor::new(Vec::new, || Ok(()))));
        for host in ["localhost", "LOCALHOST:9101", "127.0.0.1:9101", "10.0.0.1", "[::1]:9101", "[::1]"] {
            let answer = ask_as(address, "/metrics", &format!("Host: {host}\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
        }
        for headers in [
            "Host: rebound.example\r\n",
            "Host: 127.0.0.1.rebound.example:9101\r\n",
            "Host: localhost.rebound.example\r\n",
            "Host: \r\n",
            "Host: localhost\r\nHost: rebound.example\r\n",
            "",
        ] {
            let answer = ask_as(address, "/metrics", headers).await;
            assert!(!answer.starts_with("HTTP/1.1 200"), "{headers}: {answer}");
        }
        running.abort();
    }

    #[tokio::test]
    async fn connections_that_ask_nothing_keep_no_probe_out() {
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address().unwrap();
        let running = tokio::spawn(server.run(Monitor::new(Vec::new, || Ok(()))));
        let mut idle = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
        running.abort();
    }

    #[tokio::test]
    async fn metrics_and_health_are_answered() {
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address().unwrap();
        let metrics = || {
            let received = ("p2p_received", "Payload bytes received", Some(Unit::Bytes));
            let buckets = vec![(1.0, 2), (f64::INFINITY, 1)];
            vec![
                Metric::by("source", received, [("peer", Value::Counter(7)), ("relay", Value::Counter(1))]),
                Metric::new("p2p_completion", "Time", Some(Unit::Seconds), Value::Histogram { sum: 4.5, buckets }),
            ]
        };
        let running = tokio::spawn(server.run(Monitor::new(metrics, || Err("no tracker yet".to_owned()))));
        let answer = ask(address, "/metrics").await;
        for line in [
            "p2p_received_bytes_total{source=\"peer\"} 7",
            "# TYPE p2p_completion_seconds histogram",
            "p2p_completion_seconds_bucket{le=\"1.0\"} 2",
            "p2p_completion_seconds_bucket{le=\"+Inf\"} 3",
            "p2p_completion_seconds_count 3",
            "# EOF",
            OPEN_METRICS,
        ] {
            assert!(answer.contains(line), "{line}: {answer}");
        }
        assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let ready = ask(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("no tracker yet"), "{ready}");
        assert!(ask(address, "/").await.starts_with("HTTP/1.1 404"));
        running.abort();
    }
}
