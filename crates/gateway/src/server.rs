//! The listener: limits the number of connections, and closes idle ones when there is no room.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use atomic_file::descriptor_limit;
use axum::Extension;
use http_access::{Arrivals, Token};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use peer::ReadMemory;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::access::Access;
use crate::beside::guarded;
use crate::contents::Contents;
use crate::doors::{Connection, Doors};
use crate::error::GatewayError;
use crate::figures::KeptFigures;
use crate::kept::Kept;
use crate::origin::{Origins, RunningOrigins};
use crate::patient::{Crowd, Patient};
use crate::routes::router;
use crate::s3::BucketPlace;
use crate::s3::buckets::Buckets;
use crate::served::Served;
use crate::swarm::Swarm;

/// Most connections at once, unless something else is said; more wait until one has ended.
const CONNECTIONS: usize = 1024;
/// They take no more than one in so many of the sockets and files that this program may have open: the peer needs them, too.
const DESCRIPTORS: usize = 4;
/// Most memory for what was read and is not yet sent, unless something else is said.
const MEMORY: u32 = 128 << 20;
/// A client that takes nothing for this long is gone, unless something else is said.
const TAKES: Duration = Duration::from_secs(60);
/// A request's headers, from the moment that one may come, must be here in this time.
const HEADERS: Duration = Duration::from_secs(20);
/// Most bytes of headers.
const HEADER_BYTES: usize = 32 << 10;
/// After an error of the listener it is left alone for so long.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a content, or its next bytes, are waited for unless something else is said.
const WAIT: Duration = Duration::from_secs(60);
/// Most downloads at once, unless something else is said.
const DOWNLOADS: usize = 4096;

/// What was used within this time does not go, unless something else is said.
const RECENT: Duration = Duration::from_secs(60);

/// How a gateway is reached, and what it waits for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Names and addresses by which clients may call it, beside `localhost` and the address that its machine has.
    pub hosts: Vec<String>,
    /// What clients must know. A gateway that others reach has one.
    pub token: Option<Token>,
    /// How long a content that is not here, or its next bytes, are waited for.
    pub wait: Duration,
    /// Most downloads that run at once.
    pub downloads: usize,
    /// Most connections at once. A quarter of them may be there without a request that was answered; more make the oldest go.
    pub connections: usize,
    /// Most bytes that were read and are not yet sent, over all connections.
    pub memory: u32,
    /// A client that takes nothing for this long is gone; where others wait for room, after a twelfth of it.
    pub takes: Duration,
    /// Where what nobody has comes from.
    pub origins: Option<Origins>,
    /// Where contents are to be found in buckets, beside those of their own names.
    pub buckets: Vec<BucketPlace>,
    /// Most bytes that are kept of what was downloaded and brought: the least recently used goes first.
    pub cache: Option<u64>,
    /// What was used within this time does not go, so that answers with it can begin.
    pub recent: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            hosts: Vec::new(),
            token: None,
            wait: WAIT,
            downloads: DOWNLOADS,
            connections: CONNECTIONS,
            memory: MEMORY,
            takes: TAKES,
            origins: None,
            buckets: Vec::new(),
            cache: None,
            recent: RECENT,
        }
    }
}

/// A gateway that listens. It serves while [`Gateway::serve`] runs.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    served: Arc<Served>,
    crowd: Crowd,
    /// Routes of other parts of the program.
    beside: axum::Router,
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
        let roots = swarms.iter().filter_map(Swarm::root).chain(options.origins.iter().map(Origins::folder));
        let roots: BTreeSet<PathBuf> = roots.map(Path::to_owned).collect();
        let finding = tokio::task::spawn_blocking(move || Kept::open(&roots, options.cache, options.recent));
        let kept = Arc::new(finding.await.map_err(|error| failed(io::Error::other(error)))??);
        tokio::spawn(Kept::watch(Arc::downgrade(&kept)));
        let fitting = kept.clone();
        tokio::spawn(async move { fitting.fit().await });
        let start = |origins| RunningOrigins::start(origins, &swarms, &kept);
        let origins = options.origins.map(start).transpose()?;
        let contents = Contents::new(swarms, options.wait, options.downloads, kept);
        let memory = ReadMemory::new(options.memory);
        let doors = Doors::new(options.connections.min(descriptor_limit() / DESCRIPTORS).max(1));
        let crowd = Crowd { memory: memory.clone(), doors, takes: options.takes };
        let served = Arc::new(Served {
            origins,
            buckets: Buckets::new(options.buckets),
            ..Served::new(access, contents, options.wait, memory)
        });
        Ok(Gateway { listener, address, served, crowd, beside: axum::Router::new() })
    }

    /// Answers with these routes, too: who names another host, comes from a page of another site or does not know the token does not
    /// reach them. A gateway without a token is open to every program of this machine, which these routes have to bear in mind.
    pub fn with_routes(mut self, routes: axum::Router) -> Self {
        self.beside = self.beside.merge(routes);
        self
    }

    /// How much it keeps of what it has brought, at the moment that it is asked.
    pub fn kept(&self) -> impl Fn() -> KeptFigures + Send + Sync + 'static {
        let kept = self.served.kept.clone();
        move || kept.figures()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped, and its connections with it.
    pub async fn serve(self) {
        let router = router(self.served.clone()).merge(guarded(self.beside, self.served));
        let mut connections = JoinSet::new();
        let mut arrivals = Arrivals::new(self.listener, "the gateway cannot accept connections", PAUSE);
        loop {
            // Those that have ended are let go of.
            while connections.try_join_next().is_some() {}
            let Some(room) = self.crowd.doors.room().await else { return };
            let stream = arrivals.next().await;
            let Ok(dialled) = stream.local_addr() else { continue };
            let (connection, goes) = self.crowd.doors.enter(room, dialled);
            let (router, crowd) = (router.clone(), self.crowd.clone());
            connections.spawn(async move {
                let _ = stream.set_nodelay(true);
                tokio::select! {
                    result = converse(stream, connection, router, crowd) => {
                        result.unwrap_or_else(|error| tracing::debug!(%error, "a client's connection"));
                    }
                    Ok(()) = goes => tracing::debug!("closing an idle connection to make room"),
                }
            });
        }
    }
}

/// Answers on one connection until it ends.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: Arc<Connection>,
    router: axum::Router,
    crowd: Crowd,
) -> Result<(), hyper::Error> {
    let service = TowerToHyperService::new(router.layer(Extension(connection)));
    let mut settings = http1::Builder::new();
    settings.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES);
    settings.serve_connection(TokioIo::new(Patient::new(stream, crowd)), service).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Says something, and reads until the gateway ends the connection.
    async fn ends(said: &str) -> String {
        let access = Access { hosts: Vec::new(), token: None };
        let kept = Arc::new(Kept::open(&BTreeSet::new(), None, RECENT).unwrap());
        let contents = Contents::new(Vec::new(), WAIT, DOWNLOADS, kept);
        let memory = ReadMemory::new(MEMORY);
        let router = router(Arc::new(Served::new(access, contents, WAIT, memory.clone())));
        let crowd = Crowd { memory, doors: Doors::new(2), takes: TAKES };
        let room = crowd.doors.room().await.unwrap();
        let (connection, _goes) = crowd.doors.enter(room, "127.0.0.1:80".parse().unwrap());
        let (mut client, server) = duplex(64 << 10);
        client.write_all(said.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let (_, read) = tokio::join!(converse(server, connection, router, crowd), client.read_to_string(&mut answer));
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
