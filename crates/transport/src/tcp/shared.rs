//! What listeners and diallers of a transport share: its connections, by the tokens that name them, and what all of them together have.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::connection_core::{Core, End, Share};
use super::dial::Token;
use crate::admission::Admission;
use crate::expiry::{self, Expiry};
use crate::lock::lock;

/// What listeners and diallers know of connections.
pub(super) struct Shared {
    by_token: Mutex<ByToken>,
    /// Sockets of connections that stand, as far as others wanted them.
    pub(super) sockets: Arc<Admission>,
    connections: AtomicU64,
    pub(super) expiry: Expiry,
    /// Control connections that run.
    pub(super) running: watch::Sender<usize>,
    pub(super) closed: watch::Sender<bool>,
}

/// Connections by what names them; those that are gone, too, for a while.
#[derive(Default)]
struct ByToken {
    cores: HashMap<Token, Weak<Core>>,
    /// So many are there when those that are gone are taken out next: to look at all of them for each that comes would take longer the
    /// more there are.
    sweep: usize,
}

impl ByToken {
    /// False if there is one of this token.
    fn add(&mut self, token: Token, core: &Arc<Core>) -> bool {
        if self.cores.len() >= self.sweep {
            self.cores.retain(|_, core| core.strong_count() > 0);
            self.sweep = 2 * self.cores.len() + 16;
        }
        let is_free = self.cores.get(&token).is_none_or(|core| core.strong_count() == 0);
        if is_free {
            self.cores.insert(token, Arc::downgrade(core));
        }
        is_free
    }
}

impl Shared {
    pub(super) fn new(sockets: Arc<Admission>, expiry: Expiry) -> Self {
        Shared {
            by_token: Mutex::default(),
            sockets,
            connections: AtomicU64::new(0),
            expiry,
            running: watch::Sender::new(0),
            closed: watch::Sender::new(false),
        }
    }

    /// Knows a connection, so that its stream connections find it, and it is closed with everything.
    pub(super) fn add(&self, token: Token, core: &Arc<Core>) -> bool {
        lock(&self.by_token).add(token, core)
    }

    /// Closes a connection when a certificate of it ends.
    pub(super) fn watch(&self, core: &Arc<Core>, thread: &Handle, until: Option<SystemTime>) {
        let watched = Arc::downgrade(core);
        self.expiry.watch(thread, until, move |over| {
            let standing = watched.upgrade().filter(|core| core.end().is_none());
            if let Some(core) = standing.as_ref().filter(|_| over) {
                core.finish(End::Local { code: 1, reason: expiry::REASON.to_owned() });
            }
            over || standing.is_none()
        });
    }

    pub(super) fn share(&self, remote: SocketAddr, relayed: bool) -> Share {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        Share { sockets: self.sockets.clone(), number, remote, relayed }
    }

    pub(super) fn find(&self, token: &Token) -> Option<Arc<Core>> {
        lock(&self.by_token).cores.get(token)?.upgrade()
    }

    /// All connections that are still there.
    pub(super) fn cores(&self) -> Vec<Arc<Core>> {
        let by_token = lock(&self.by_token);
        by_token.cores.values().filter_map(Weak::upgrade).collect()
    }
}

/// Nobody can guess it: 128 bits of the TLS provider's randomness.
pub(super) fn rand_token() -> Token {
    let mut token = [0; 16];
    crate::identity::random(&mut token);
    token
}
