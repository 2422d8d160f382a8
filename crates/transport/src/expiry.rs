//! Certificates that end while a connection stands: it ends with them. A handshake is the only time at which rustls looks
//! at dates, and connections of a swarm last for months.

use std::sync::Once;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::{Identity, Trust};

/// What the other side hears. It cannot be said whose certificate it is: each side closes when either has ended.
pub(crate) const REASON: &str = "a certificate of this connection has expired";
/// The clock is looked at this often at least: it may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(10);

/// How long connections of an identity may last.
#[derive(Clone)]
pub(crate) struct Expiry {
    trust: Trust,
    ours: Option<SystemTime>,
}

impl Expiry {
    pub(crate) fn new(identity: &Identity, trust: &Trust) -> Self {
        Expiry { trust: trust.clone(), ours: trust.until(identity.certificate()) }
    }

    /// When a connection to the holder of this certificate ends; never, if neither has an end that matters.
    pub(crate) fn with(&self, theirs: Option<&CertificateDer<'_>>) -> Option<SystemTime> {
        let theirs = theirs.and_then(|certificate| self.trust.until(certificate));
        [self.ours, theirs].into_iter().flatten().min()
    }

    /// Calls `look` until it says that the connection is gone, and with true once its time is over.
    pub(crate) fn watch(
        &self,
        thread: &Handle,
        until: Option<SystemTime>,
        look: impl Fn(bool) -> bool + Send + 'static,
    ) {
        let (Some(until), ours) = (until, self.ours) else { return };
        thread.spawn(async move {
            loop {
                let left = until.duration_since(SystemTime::now()).unwrap_or_default();
                if left.is_zero() && ours == Some(until) {
                    static SAID: Once = Once::new();
                    SAID.call_once(|| {
                        tracing::warn!(
                            "this side's certificate has expired: its connections end, and nobody takes it any more. Have it \
                             made anew, for the same key, by `tracker --init-closed`, and start again"
                        );
                    });
                }
                if look(left.is_zero()) {
                    return;
                }
                sleep(left.min(LOOK)).await;
            }
        });
    }
}
