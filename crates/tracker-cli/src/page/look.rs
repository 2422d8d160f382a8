//! Streams of events: of all contents, and of the peers of one. Each says what has changed since it was last asked. No look keeps the
//! tracker from its work for long: it pauses between pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::page::{Batch, Delta, Event, Source};
use serde::Serialize;
use tracker::{ContentId, ContentMatch, ObservedPeer, Role};

use super::Shared;
use super::best::{Links, Slow, judge};
use super::crowd::{self, Samples, Told};

/// Contents that are shown, the newest of all.
const CONTENTS: usize = 10_000;
/// Contents that are said at once, and peers.
const CONTENTS_SAID: usize = 500;
const PEERS_SAID: usize = 1000;
/// The list is read again at every such look.
const LISTS: u32 = 5;
/// Peers between two pauses.
const PAGE: usize = 256;

/// What a client was told of all contents.
pub(super) struct Contents {
    shared: Arc<Shared>,
    looks: u32,
    listed: BTreeMap<String, ContentRow>,
    said: Delta<String, ContentRow>,
    /// Whether the client has yet to be told of a part of the list.
    is_behind: bool,
    totals: Option<Totals>,
    log: u64,
}

#[derive(Debug, Serialize)]
struct Log {
    lines: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ContentRow {
    content: String,
    name: String,
    size: u64,
    seeders: u32,
    others: u32,
    downloaders: u32,
}

#[derive(Debug, Serialize)]
struct ContentChanges {
    contents: Vec<ContentRow>,
    removed: Vec<String>,
    total: usize,
    sampled: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Totals {
    peers: usize,
    contents: usize,
    announces: u64,
    refusals: u64,
    memory: u64,
}

impl Contents {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (listed, said) = (BTreeMap::new(), Delta::default());
        Contents { shared, looks: 0, listed, said, is_behind: false, totals: None, log: 0 }
    }
}

/// The newest contents.
pub(super) async fn listed(shared: &Shared) -> Vec<ContentMatch> {
    let (mut contents, mut before) = (Vec::new(), None);
    loop {
        let (page, next) = shared.server.list(before);
        contents.extend(page);
        if next.is_none() || contents.len() >= CONTENTS {
            return contents;
        }
        before = next;
        tokio::task::yield_now().await;
    }
}

/// Those who take part in a content, as they are shown.
pub(super) async fn observed(shared: &Shared, content: ContentId) -> Vec<ObservedPeer> {
    let (mut peers, mut from) = (Vec::new(), 0);
    loop {
        let (page, next) = shared.server.observe(content, from, PAGE);
        peers.extend(page);
        match next.filter(|_| peers.len() < crowd::MOST) {
            Some(next) => from = next,
            None => break,
        }
        tokio::task::yield_now().await;
    }
    peers.iter_mut().for_each(settle);
    peers
}

fn content_row(found: ContentMatch) -> (String, ContentRow) {
    let ContentMatch { content, name, size, seeders, others, downloaders } = found;
    let content = content.to_string();
    (content.clone(), ContentRow { content, name, size, seeders, others, downloaders })
}

impl Source for Contents {
    async fn look(&mut self) -> Batch {
        let mut events = Vec::new();
        let total = self.shared.server.counts().1;
        if self.looks.is_multiple_of(LISTS) && !self.is_behind {
            self.listed = listed(&self.shared).await.into_iter().map(content_row).collect();
            (self.looks, self.is_behind) = (0, true);
        }
        self.looks += 1;
        if self.is_behind {
            let looked = self.said.look(self.listed.clone(), CONTENTS_SAID);
            self.is_behind = looked.more;
            if !looked.changed.is_empty() || !looked.gone.is_empty() {
                let sampled = total > CONTENTS;
                let changes = ContentChanges { contents: looked.changed, removed: looked.gone, total, sampled };
                events.extend(event("contents", &changes));
            }
        }
        let server = &self.shared.server;
        let ((peers, contents), (announces, refusals)) = (server.counts(), server.activity());
        let totals = Totals { peers, contents, announces, refusals, memory: server.bytes() };
        if self.totals.as_ref() != Some(&totals) {
            events.extend(event("totals", &totals));
            self.totals = Some(totals);
        }
        if self.shared.shows_log {
            let (next, lines) = settings::recent_log(self.log);
            self.log = next;
            events.extend(if lines.is_empty() { None } else { event("log", &Log { lines }) });
        }
        Batch { events, more: self.is_behind }
    }
}

/// What a client was told of the peers of one content.
pub(super) struct Peers {
    shared: Arc<Shared>,
    content: ContentId,
    links: Links,
    said: Delta<String, PeerRow>,
    told: Told,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct PeerRow {
    peer: String,
    address: String,
    site: String,
    role: &'static str,
    reports: bool,
    have: u32,
    pieces: u32,
    down: u64,
    up: u64,
    from: Vec<(String, u64)>,
}

#[derive(Debug, Serialize)]
struct CrowdEvent {
    content: String,
    size: u64,
    pieces: u32,
    samples: Samples,
    /// When the last peer could be done: a line from where it began, in seconds and thousandths.
    best: Option<[(f64, f64); 2]>,
    verdict: String,
    slow: Slow,
    peers: Vec<PeerRow>,
    peers_gone: Vec<String>,
    peers_total: usize,
    sampled: bool,
}

impl Peers {
    pub(super) fn new(shared: Arc<Shared>, content: ContentId, links: Links) -> Self {
        Peers { shared, content, links, said: Delta::default(), told: Told::default() }
    }
}

impl Source for Peers {
    async fn look(&mut self) -> Batch {
        let observed = observed(&self.shared, self.content).await;
        let about = self.shared.server.about(self.content);
        let (size, total) = about.map_or((0, 0), |about| (about.size, (about.seeders + about.others) as usize));
        let peers: Vec<_> = observed.iter().map(|observed| observed.peer.clone()).collect();
        let (content, links, told) = (self.content, self.links, &mut self.told);
        let (samples, standing, start) = self.shared.with_crowd(content, |crowd, now| {
            crowd.look(now, &peers, size);
            (crowd.tell(told), crowd.standing(now), crowd.start())
        });
        let verdict = judge(&standing, links);
        let best = start.zip(verdict.best).map(|((at, had), best)| [(at, f64::from(had)), (at + best, 1000.0)]);
        let looked = self.said.look(observed.into_iter().map(peer_row).collect(), PEERS_SAID);
        let said = CrowdEvent {
            content: content.to_string(),
            size: standing.size,
            pieces: standing.pieces,
            samples,
            best,
            verdict: verdict.sentence,
            slow: verdict.slow,
            peers: looked.changed,
            peers_gone: looked.gone,
            peers_total: total,
            sampled: looked.more,
        };
        Batch { events: event("crowd", &said).into_iter().collect(), more: false }
    }
}

/// A peer that has all of it by now may have said before that it has less.
fn settle(observed: &mut ObservedPeer) {
    if let (Role::Seeder, Some(progress)) = (observed.peer.role, &mut observed.peer.progress) {
        (progress.have, progress.down) = (progress.pieces, 0);
        progress.from.clear();
    }
}

fn peer_row(ObservedPeer { peer, network }: ObservedPeer) -> (String, PeerRow) {
    let role = match peer.role {
        Role::Seeder => "seeder",
        Role::Partial => "partial",
        Role::Downloader => "downloader",
    };
    let (reports, progress) = (peer.progress.is_some(), peer.progress.unwrap_or_default());
    let site = network.map(|network| if network.is_ipv4() { format!("{network}/24") } else { format!("{network}/48") });
    let id = peer.peer.to_string();
    let row = PeerRow {
        peer: id.clone(),
        address: peer.address.map(|address| address.to_string()).unwrap_or_default(),
        site: site.unwrap_or_default(),
        role,
        reports,
        have: progress.have,
        pieces: progress.pieces,
        down: progress.down,
        up: progress.up,
        from: progress.from.iter().map(|source| (source.peer.to_string(), source.rate)).collect(),
    };
    (id, row)
}

fn event(name: &'static str, data: &impl Serialize) -> Option<Event> {
    serde_json::to_string(data).ok().map(|data| Event { name, data })
}
