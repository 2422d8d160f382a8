//! Programs that were built without the feature `port-mapping` ask no router for anything.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;

use crate::session::mapped::Mapped;

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
        PortMapping(watch::channel(Mapped { asked: true, reason: Some(REASON.to_owned()), ..Mapped::default() }).1)
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
