//! The listener: so many connections, and none of them for nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::access::{Access, Dialled, Token};
use crate::contents::Contents;
use crate::error::GatewayError;
use crate::patient::Patient;
use crate::routes::router;
use crate::served::Served;
use crate::swarm::Swarm;

/// Most connections at once; more wait until one has ended.
const CONNECTIONS: usize = 1024;
/// A request's headers, from the moment that one may come, must be here in this time.
const HEADERS: Duration = Duration::from_secs(20);
/// Most bytes of headers.
const HEADER_BYTES: usize = 32 << 10;
/// After an error of the listener it is left alone for so long.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a content, or its next bytes, are waited for unless something else is said.
const WAIT: Duration = Duration::from_secs(60);

/// How a gateway is reached, and what it waits for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Names by which clients may call it, beside `localhost` and the address that they dial.
    pub hosts: Vec<String>,
    /// What clients must know. A gateway that others reach has one.
    pub token: Option<Token>,
    /// How long a content that is not here, or its next bytes, are waited for.
    pub wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { hosts: Vec::new(), token: None, wait: WAIT }
    }
}

/// A gateway that listens. It serves while [`Gateway::serve`] runs.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    served: Arc<Served>,
}

impl Gateway {
    /// Listens at an address; at port 0 on any that is free. Fails where others reach it and it has no token.
    pub async fn bind(address: SocketAddr, swarms: Vec<Swarm>, options: Options) -> Result<Self, GatewayError> {
        if options.token.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(GatewayError::NeedsToken(address));
        }
        let failed = |source| GatewayError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let hosts = options.hosts.iter().map(|host| host.trim_end_matches('.').to_ascii_lowercase()).collect();
        let access = Access { hosts, token: options.token };
        let contents = Contents::new(swarms, options.wait);
        Ok(Gateway { listener, address, served: Arc::new(Served::new(access, contents, options.wait)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped, and its connections with it.
    pub async fn serve(self) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let router = router(self.served);
        let mut connections = JoinSet::new();
        loop {
            // Those that have ended are let go of.
            while connections.try_join_next().is_some() {}
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the gateway's listener");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let router = router.clone();
            connections.spawn(async move {
                let dialled = match stream.local_addr() {
                    Ok(address) => Dialled(address),
                    Err(_) => return,
                };
                let _ = stream.set_nodelay(true);
                if let Err(error) = converse(stream, dialled, router).await {
                    tracing::debug!(%error, "a client's connection");
                }
                drop(permit);
            });
        }
    }
}

/// Answers on one connection until it ends.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    dialled: Dialled,
    router: axum::Router,
) -> Result<(), hyper::Error> {
    let service = TowerToHyperService::new(router.layer(Extension(dialled)));
    let mut settings = http1::Builder::new();
    settings.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES);
    settings.serve_connection(TokioIo::new(Patient::new(stream)), service).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Says something, and reads until the gateway ends the connection.
    async fn ends(said: &str) -> String {
        let access = Access { hosts: Vec::new(), token: None };
        let contents = Contents::new(Vec::new(), WAIT);
        let router = router(Arc::new(Served::new(access, contents, WAIT)));
        let (mut client, server) = duplex(64 << 10);
        client.write_all(said.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let dialled = Dialled("127.0.0.1:80".parse().unwrap());
        let (_, read) = tokio::join!(converse(server, dialled, router), client.read_to_string(&mut answer));
        read.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn headers_that_do_not_come_end_a_connection() {
        for said in ["", "GET", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
            assert!(!ends(said).await.contains("200 OK"), "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_more_is_asked_ends() {
        let answer = ends("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
}
