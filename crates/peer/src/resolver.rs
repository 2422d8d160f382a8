//! How names of trackers are looked up: as the system does, unless a program has a way of its own.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

/// The addresses of a name with a port.
pub type Resolved = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Resolves a name with a port, such as `tracker.example:9999`.
pub type Resolver = Arc<dyn Fn(String) -> Resolved + Send + Sync>;

/// Resolves names as the system does.
pub(crate) fn of_system() -> Resolver {
    Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host(name).await?.collect()) }))
}
