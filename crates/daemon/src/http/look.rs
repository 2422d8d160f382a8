//! Streams of events: of all contents, and of one content closely. Each says what has changed since it was last asked, once a second at
//! most.

use std::collections::BTreeMap;
use std::sync::Arc;

use page::{Batch, Delta, Event, Source};
use serde::Serialize;

use super::Api;
use super::contents::Contents;
use super::detail::{Detail, PeerRow, detail};
use super::shown::{Log, totals};

/// Peers that are said at once, at most.
const PEERS: usize = 256;

/// What a client was told of all contents.
pub(super) struct Looking {
    api: Arc<Api>,
    contents: Contents,
    log: u64,
}

impl Looking {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Looking { api, contents: Contents::default(), log: 0 }
    }
}

impl Source for Looking {
    async fn look(&mut self) -> Batch {
        let mut events = Vec::new();
        let changes = {
            let inner = self.api.service.inner();
            self.contents.look(&inner.contents, self.api.options.trusted)
        };
        if !changes.is_empty() {
            events.extend(event("contents", &changes));
        }
        if changes.incomplete {
            return Batch { events, more: true };
        }
        // Each time: rates are differences of two.
        events.extend(event("totals", &totals(&self.api)));
        if self.api.options.trusted {
            let (next, lines) = (self.api.options.log)(self.log);
            self.log = next;
            events.extend(if lines.is_empty() { None } else { event("log", &Log { lines, next }) });
        }
        Batch { events, more: false }
    }
}

/// What a client was told of one content.
pub(super) struct Closely {
    api: Arc<Api>,
    number: u64,
    peers: Delta<String, PeerRow>,
    map: Vec<u8>,
    is_gone: bool,
}

/// One content: of its peers and its map only what has changed.
#[derive(Serialize)]
struct Close {
    #[serde(flatten)]
    detail: Detail,
    peers_gone: Vec<String>,
    peers_total: usize,
    /// Whether more peers have changed than are said here.
    sampled: bool,
}

/// It is there no more.
#[derive(Serialize)]
struct Gone {
    number: u64,
}

impl Closely {
    pub(super) fn new(api: Arc<Api>, number: u64) -> Self {
        Closely { api, number, peers: Delta::default(), map: Vec::new(), is_gone: false }
    }

    fn close(&mut self, mut detail: Detail) -> Close {
        let rows: BTreeMap<_, _> =
            std::mem::take(&mut detail.peers).into_iter().map(|row| (row.peer.clone(), row)).collect();
        let peers_total = rows.len();
        let looked = self.peers.look(rows, PEERS);
        detail.peers = looked.changed;
        // An empty map is that of before.
        if self.map == detail.map {
            detail.map.clear();
        } else {
            self.map.clone_from(&detail.map);
        }
        Close { detail, peers_gone: looked.gone, peers_total, sampled: looked.more }
    }
}

impl Source for Closely {
    async fn look(&mut self) -> Batch {
        let said = match detail(&self.api, self.number).await {
            Some(detail) => event("content", &self.close(detail)),
            None if !std::mem::replace(&mut self.is_gone, true) => event("gone", &Gone { number: self.number }),
            None => None,
        };
        Batch { events: said.into_iter().collect(), more: false }
    }
}

fn event(name: &'static str, data: &impl Serialize) -> Option<Event> {
    serde_json::to_string(data).ok().map(|data| Event { name, data })
}
