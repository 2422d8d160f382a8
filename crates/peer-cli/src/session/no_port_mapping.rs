//! Programs that were built without the feature `port-mapping` ask no router for anything.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;

/// A port of this machine that others reach at another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedPort {
    /// The port here.
    pub port: u16,
    /// Where others reach it.
    pub address: SocketAddr,
}

/// What the router has said: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapped {
    /// What it forwards at present.
    pub ports: Vec<MappedPort>,
    /// The protocol that it speaks.
    pub by: Option<&'static str>,
    /// Why it forwards nothing.
    pub reason: Option<String>,
}

/// What the router lets in: nothing.
pub struct PortMapping(watch::Receiver<Mapped>);

impl PortMapping {
    /// Nothing is asked.
    pub fn none() -> Self {
        PortMapping(watch::Sender::default().subscribe())
    }

    /// Nothing is asked either.
    pub fn of(_: &[SocketAddr]) -> Self {
        const REASON: &str = "this program was built without the feature port-mapping";
        tracing::debug!("{REASON}: no router is asked");
        PortMapping(watch::channel(Mapped { reason: Some(REASON.to_owned()), ..Mapped::default() }).1)
    }

    /// Nothing is granted.
    pub fn mapped(&self) -> watch::Receiver<Mapped> {
        self.0.clone()
    }

    /// There is nothing to wait for.
    pub async fn asked(&self, _: Duration) {}

    /// There is nothing to give back.
    pub async fn end(self) {}
}
