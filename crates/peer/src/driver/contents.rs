//! The life of a content in a node: wanted or shared, opened, told of, complete, given up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use protocol::{Announce, ContentId, Manifest, PieceRange, Query, Role};
use swarm::{ConnId, Event};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Driver;
use crate::PeerError;
use crate::disk::content::{ContentStore, Opened};
use crate::disk::manifests::received_manifest;
use crate::net::dial_book::WaitingFor;
use crate::net::tracker::ToClient;
use crate::node::{GetOptions, PeerEvent, Progress, Summary};
use crate::report::Report;

/// Most bytes that are read at once for who asks for them in order.
const READ: u64 = 1 << 20;
/// One content: on disk, on the wire, in figures.
pub(super) struct Item {
    pub(super) store: Option<Arc<ContentStore>>,
    /// Whether the store is there or on its way.
    pub(super) opening: bool,
    pub(super) started: Instant,
    pub(super) verified: Option<Duration>,
    pub(super) sources: BTreeMap<protocol::PeerId, u64>,
    pub(super) wanted: bool,
    /// What it must be called, and which of its files are wanted.
    pub(super) options: GetOptions,
    /// Only the manifest is wanted, and the content forgotten then.
    pub(super) manifest_only: bool,
    pub(super) finished: bool,
    /// Claims what is verified while a download runs.
    pub(super) checkpoints: Option<AbortHandle>,
}

impl Drop for Item {
    fn drop(&mut self) {
        if let Some(task) = self.checkpoints.take() {
            task.abort();
        }
    }
}

impl Driver {
    /// Reads what is verified from a piece on, beside everything else.
    pub(super) fn read(
        &self,
        content: ContentId,
        first: u32,
        reply: oneshot::Sender<Result<Option<Bytes>, PeerError>>,
    ) {
        let store = self.items.get(&content).and_then(|item| item.store.clone());
        let (Some(store), Some(have)) = (store, self.engine.have(content)) else { return drop(reply.send(Ok(None))) };
        let geometry = store.manifest().geometry();
        let most = geometry.pieces_within(first, READ);
        let count = (first..first.saturating_add(most)).take_while(|&piece| have.contains(piece)).count() as u32;
        let Some(block) = geometry.blocks(PieceRange { first, count }, usize::MAX).next() else {
            return drop(reply.send(Ok(None)));
        };
        tokio::task::spawn_blocking(move || {
            let _ = reply.send(store.load_verified(&block).map(Some).map_err(PeerError::from));
        });
    }

    pub(super) fn progress(&self, content: ContentId) -> Option<Progress> {
        let item = self.items.get(&content)?;
        let view = self.engine.view(content)?;
        let header = item.store.as_ref().map(|store| store.manifest());
        // What is not stored yet is here all the same: on a slow link a block takes seconds.
        let of_content = self.requests.values().filter(|fetching| fetching.content == content);
        let coming: u64 = of_content.map(|one| one.came.load(Ordering::Relaxed).saturating_sub(one.stored)).sum();
        Some(Progress {
            name: header.map_or_else(String::new, |manifest| manifest.header().name.clone()),
            size: item.store.as_ref().map_or(0, |store| store.wanted()),
            have: view.have,
            pieces: view.pieces,
            peers: view.peers,
            received: item.sources.values().sum::<u64>() + coming,
            sent: item.store.as_ref().map_or(0, |store| store.sent()),
            finished: item.finished,
            left_out: item.store.as_ref().map_or(0, |store| store.left_out()),
        })
    }

    /// What a download waits for; nothing if it is complete, or none.
    pub(super) fn waiting_for(&self, content: ContentId) -> Option<WaitingFor> {
        let item = self.items.get(&content).filter(|item| item.wanted && !item.finished)?;
        let view = self.engine.view(content)?;
        let whole = item.store.is_some() && view.have == view.pieces;
        if whole || (item.opening && item.store.is_none()) || self.setup.waits.is_storing(content) {
            return Some(WaitingFor::Disk);
        }
        let (connected, heard_of) = self.engine.participants(content);
        let at = |conn: &ConnId| self.links.get(conn).map(|link| link.connection.remote_addr());
        let from: Vec<_> = connected.iter().filter_map(at).collect();
        let book = &self.setup.book;
        Some(match (from.is_empty(), item.store.is_some()) {
            (true, _) if heard_of.is_empty() && self.tracker_lost => WaitingFor::Tracker,
            (true, _) if heard_of.is_empty() => WaitingFor::Peers { not_dialled: book.left_out(content) },
            (true, _) => WaitingFor::Answers { unanswered: book.unanswered(&heard_of) },
            (false, false) => {
                let fetches = self.manifests.iter().filter(|((_, of), _)| *of == content);
                WaitingFor::Manifest { from, came: fetches.map(|(_, (_, progress))| progress.read().0).sum() }
            }
            (false, true) => WaitingFor::Pieces { from, unanswered: book.unanswered(&heard_of) },
        })
    }

    pub(super) fn get(&mut self, content: ContentId, options: GetOptions) -> Result<(), PeerError> {
        if let Some(item) = self.items.get_mut(&content) {
            let was_manifest_only = std::mem::take(&mut item.manifest_only);
            if was_manifest_only {
                item.options = options;
            }
            return if was_manifest_only { Ok(()) } else { Err(PeerError::Already(content)) };
        }
        let item = Item {
            store: None,
            opening: false,
            started: Instant::now(),
            verified: None,
            sources: BTreeMap::new(),
            wanted: true,
            options,
            manifest_only: false,
            finished: false,
            checkpoints: None,
        };
        self.items.insert(content, item);
        self.standings.remove(&content);
        self.event(Event::Want { content });
        self.announce(content);
        // A manifest that is here already saves asking for one.
        let (hashes, reports) = (self.setup.downloads.hashes.clone(), self.reports.clone());
        tokio::spawn(async move {
            let kept = tokio::task::spawn_blocking(move || received_manifest(&hashes, content)).await;
            if let Ok(Some(manifest)) = kept {
                let _ = reports.send(Report::Manifest { manifest: Arc::new(manifest) }).await;
            }
        });
        Ok(())
    }

    /// Asks for a manifest as for any content that is wanted, and forgets the content once it is here.
    pub(super) fn await_manifest(&mut self, content: ContentId, reply: oneshot::Sender<Arc<Manifest>>) {
        if let Some(store) = self.items.get(&content).and_then(|item| item.store.as_ref()) {
            let _ = reply.send(store.manifest().clone());
            return;
        }
        self.manifest_waiters.entry(content).or_default().push(reply);
        // An error means that it is wanted already: then the manifest comes anyway.
        if self.get(content, GetOptions::new()).is_ok()
            && let Some(item) = self.items.get_mut(&content)
        {
            item.manifest_only = true;
        }
    }

    /// The manifest of a wanted content is known: open its output, and find out what is there already.
    pub(super) fn manifest(&mut self, manifest: Arc<Manifest>) {
        let content = manifest.id();
        for waiting in self.manifest_waiters.remove(&content).into_iter().flatten() {
            let _ = waiting.send(manifest.clone());
        }
        if self.items.get(&content).is_some_and(|item| item.manifest_only) {
            self.drop_content(content);
            return;
        }
        // It may be known from the hashes folder and from several peers: the first one counts.
        let Some(item) = self.items.get_mut(&content).filter(|item| item.wanted && !item.opening) else { return };
        if let Some(asked) = item.options.name.clone().filter(|asked| *asked != manifest.header().name) {
            let found = manifest.header().name.clone();
            return self.give_up(content, PeerError::OtherName { content, asked, found });
        }
        item.opening = true;
        let (storage, reports, choice) = (self.setup.storage.clone(), self.reports.clone(), item.options.choice());
        let downloads = self.setup.downloads.clone();
        tokio::spawn(async move {
            let work = move || ContentStore::download(manifest, &storage, &downloads, choice.as_ref());
            let result = tokio::task::spawn_blocking(work).await.unwrap_or(Err(PeerError::ShutDown));
            let _ = reports.send(Report::Opened { content, result }).await;
        });
        self.event(Event::ManifestCame { content });
    }

    pub(super) fn opened(&mut self, content: ContentId, result: Result<Opened, PeerError>) {
        let opened = match result {
            Ok(opened) => opened,
            Err(error) => return self.give_up(content, error),
        };
        let Some(item) = self.items.get_mut(&content).filter(|item| item.store.is_none()) else { return };
        item.store = Some(opened.store.clone());
        let manifest = opened.store.manifest().clone();
        let geometry = Arc::new(manifest.geometry().clone());
        let have = opened.goal.iter().filter(|&piece| opened.have.contains(piece)).count() as u32;
        let pieces = opened.goal.count();
        let whole = have == pieces;
        let piece = geometry.piece_size();
        if !whole && self.setup.buffers.exceeded_by(piece as usize) {
            let mib = f64::from(piece) / f64::from(1 << 20);
            tracing::warn!("two pieces of {mib} MiB are more than the budget: memory will be larger");
        }
        if !whole {
            let (store, reports) = (opened.store.clone(), self.reports.clone());
            let task = tokio::spawn(async move {
                let error = store.run_checkpoints().await;
                let _ = reports.send(Report::DiskFailed { content, error }).await;
            });
            item.checkpoints = Some(task.abort_handle());
        }
        self.tell(PeerEvent::Manifest {
            content,
            name: manifest.header().name.clone(),
            size: opened.store.wanted(),
            pieces,
            have,
        });
        self.event(Event::Content { content, geometry, have: opened.have, wanted: opened.goal });
        if whole {
            self.finish(content);
        } else {
            self.announce(content);
        }
    }

    pub(super) fn shared(&mut self, opened: Opened) -> ContentId {
        let content = opened.store.id();
        let geometry = Arc::new(opened.store.manifest().geometry().clone());
        self.watch.add(&opened.store);
        let item = Item {
            store: Some(opened.store),
            opening: true,
            started: Instant::now(),
            verified: None,
            sources: BTreeMap::new(),
            wanted: false,
            options: GetOptions::new(),
            manifest_only: false,
            finished: true,
            checkpoints: None,
        };
        self.items.insert(content, item);
        self.standings.remove(&content);
        self.event(Event::Content { content, geometry, have: opened.have, wanted: opened.goal });
        self.announce(content);
        content
    }

    /// Tells the tracker what we hold of a content.
    pub(super) fn announce(&mut self, content: ContentId) {
        let (Some(tracker), Some(item)) = (&self.tracker, self.items.get(&content)) else { return };
        let whole = self.engine.have(content).is_some_and(|have| have.is_full()) && item.store.is_some();
        let role = match (whole, item.wanted && !item.finished) {
            (true, _) => Role::Seeder,
            (false, true) => Role::Downloader,
            (false, false) => Role::Partial,
        };
        let about = item
            .store
            .as_ref()
            .map(|store| (store.manifest().header().name.clone(), store.manifest().geometry().total()))
            // What could be taken for an id or a ticket is found by its id alone.
            .filter(|(name, _)| Query::is_name(name));
        if tracker.try_send(ToClient::Announce(Announce { content, about, role })).is_err() {
            tracing::warn!("the tracker's queue is full; {content} is announced when it comes back");
        }
    }

    /// All pieces are here: make them durable and give the file its name.
    pub(super) fn finish(&mut self, content: ContentId) {
        let Some(item) = self.items.get_mut(&content) else { return };
        let Some(store) = item.store.clone() else { return };
        item.verified = Some(item.started.elapsed());
        // The whole file is synced now; nothing has to be claimed piece by piece any more.
        if let Some(task) = item.checkpoints.take() {
            task.abort();
        }
        self.tell(PeerEvent::Verified { content });
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let result = tokio::task::spawn_blocking(move || store.finish()).await.unwrap_or(Err(PeerError::ShutDown));
            let _ = reports.send(Report::Completed { content, result }).await;
        });
    }

    pub(super) fn completed(&mut self, content: ContentId, result: Result<PathBuf, PeerError>) {
        let path = match result {
            Ok(path) => path,
            Err(error) => return self.give_up(content, error),
        };
        let Some(item) = self.items.get_mut(&content) else { return };
        item.finished = true;
        let durable = item.started.elapsed();
        let summary = Summary {
            verified: item.verified.unwrap_or(durable),
            durable,
            sources: item.sources.iter().map(|(&peer, &bytes)| (peer, bytes)).collect(),
            executable: item.store.as_ref().map(|store| store.executable()).unwrap_or_default().into(),
            names: item.store.as_ref().map(|store| store.name_report().clone()).unwrap_or_default(),
        };
        if let Some(store) = &item.store {
            self.watch.add(store);
        }
        self.tell(PeerEvent::Completed { content, path, summary });
        self.announce(content);
    }

    /// A download cannot go on.
    pub(super) fn give_up(&mut self, content: ContentId, error: PeerError) {
        if self.drop_content(content) {
            self.tell(PeerEvent::Failed { content, error: Arc::new(error) });
        }
    }

    /// What we would send is not what it was any more. If it is still being built, so is nothing that it leads to.
    pub(super) fn source_failed(&mut self, content: ContentId, error: storage::StorageError) {
        let store = self.items.get(&content).and_then(|item| item.store.as_ref());
        if store.is_some_and(|store| store.is_being_built()) {
            self.give_up(content, error.into());
        } else {
            self.withdraw(content, error.to_string());
        }
    }

    /// A shared file is not what it was any more.
    pub(super) fn withdraw(&mut self, content: ContentId, reason: String) {
        if self.drop_content(content) {
            self.tell(PeerEvent::Withdrawn { content, reason });
        }
    }

    fn drop_content(&mut self, content: ContentId) -> bool {
        let removed = self.items.remove(&content);
        let there = removed.is_some();
        self.watch.remove(content);
        if let Some(mut item) = removed {
            if let Some(store) = item.store.take() {
                self.close_store(store);
            }
            self.event(Event::Withdraw { content });
            if let Some(tracker) = &self.tracker {
                let _ = tracker.try_send(ToClient::Leave(content));
            }
        }
        there
    }
}
