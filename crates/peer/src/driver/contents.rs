//! The life of a content in a node: wanted or shared, opened, paused, complete, given up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{Announce, ContentId, Manifest, Query, Role, Secret};
use storage::{Fallback, Remote, StorageError};
use swarm::Event;
use tokio::sync::oneshot;

use super::in_order::InOrder;
use super::item::{Expected, Item, OwnTask};
use super::state::{Driver, Setup};
use crate::config::DownloadOptions;
use crate::disk::content::{ContentStore, Opened};
use crate::disk::manifests::received_manifest;
use crate::disk::open::open;
use crate::error::PeerError;
use crate::event::PeerEvent;
use crate::net::rate::RateCap;
use crate::report::{Begun, ContentKey, Report};
use crate::status::{Completed, DownloadStats, State};

impl Driver {
    fn new_item(&mut self, up: Option<u64>, down: Option<u64>) -> Item {
        let instance = self.next_instance;
        self.next_instance += 1;
        let Setup { waits, up: shared_up, down: shared_down, .. } = &self.setup;
        Item::new(instance, waits.clone(), RateCap::within(shared_up, up), RateCap::within(shared_down, down))
    }

    pub(super) fn download(&mut self, content: ContentId, options: DownloadOptions) -> Result<Begun, PeerError> {
        let (up, down) = (options.up, options.down);
        if let Some(item) = self.items.get_mut(&content) {
            if !std::mem::take(&mut item.manifest_only) {
                return Err(PeerError::Already(content));
            }
            let expected = item.expected.take();
            item.private &= options.secret.is_some();
            (item.up, item.down) = (RateCap::within(&self.setup.up, up), RateCap::within(&self.setup.down, down));
            item.options = options;
            let (attempt, begun) = (item.attempt, begun(content, item));
            match expected.and_then(|expected| expected.manifest) {
                Some(manifest) => self.manifest(manifest),
                None => self.expect_manifest(content, attempt),
            }
            return Ok(begun);
        }
        let private = self.make_private(content, options.secret);
        let item = Item { wanted: true, private, options, ..self.new_item(up, down) };
        let begun = begun(content, &item);
        self.want(content, item);
        Ok(begun)
    }

    /// Takes part in a content that is wanted, from the start or again.
    fn want(&mut self, content: ContentId, mut item: Item) {
        item.attempt = self.next_attempt;
        let attempt = item.attempt;
        self.next_attempt += 1;
        self.items.insert(content, item);
        self.look_for_strangers();
        self.event(Event::Want { content });
        self.announce(content);
        self.meet_approached(content);
        self.expect_manifest(content, attempt);
        // A manifest that is here already saves asking for one.
        let (hashes, reports) = (self.setup.downloads.hashes.clone(), self.reports.clone());
        tokio::spawn(async move {
            let kept = tokio::task::spawn_blocking(move || received_manifest(&hashes, content)).await;
            if let Ok(Some(manifest)) = kept {
                let _ = reports.send(Report::Manifest { manifest: Arc::new(manifest) }).await;
            }
        });
    }

    /// Asks for a manifest as for any content that is wanted, and forgets the content once it is here.
    pub(super) fn await_manifest(
        &mut self,
        content: ContentId,
        (secret, origin): (Option<Secret>, Option<Arc<dyn Fallback>>),
        reply: oneshot::Sender<Arc<Manifest>>,
    ) {
        let known = self.items.get(&content).and_then(Item::manifest);
        if let Some(manifest) = known {
            let _ = reply.send(manifest.clone());
            return;
        }
        self.manifest_waiters.entry(content).or_default().push(reply);
        // If it is wanted already, the manifest comes anyway.
        if let Some(item) = self.items.get_mut(&content) {
            if item.expected.is_some() && item.options.origin.is_none() && origin.is_some() {
                item.options.origin = origin;
                let attempt = item.attempt;
                self.expect_manifest(content, attempt);
            }
        } else {
            let private = self.make_private(content, secret);
            let options = DownloadOptions { origin, ..DownloadOptions::default() };
            let item = Item { wanted: true, private, options, manifest_only: true, ..self.new_item(None, None) };
            self.want(content, item);
        }
    }

    /// Takes part in a content that is about to be downloaded, unless this node does so already.
    pub(super) fn expect_download(&mut self, content: ContentId, secret: Option<Secret>) {
        if self.items.contains_key(&content) {
            return;
        }
        let private = self.make_private(content, secret);
        let expected = Some(Expected::default());
        let item = Item { wanted: true, private, manifest_only: true, expected, ..self.new_item(None, None) };
        self.want(content, item);
    }

    /// It is not downloaded after all.
    pub(super) fn unexpect_download(&mut self, content: ContentId) {
        if self.items.get(&content).is_some_and(|item| item.expected.is_some()) {
            self.drop_content(content, State::Stopped);
        }
    }

    /// The manifest of a wanted content is known: open its output, and find out what is there already.
    pub(super) fn manifest(&mut self, manifest: Arc<Manifest>) {
        let content = manifest.id();
        for waiting in self.manifest_waiters.remove(&content).into_iter().flatten() {
            let _ = waiting.send(manifest.clone());
        }
        if let Some(item) = self.items.get_mut(&content).filter(|item| item.manifest_only) {
            match &mut item.expected {
                Some(expected) => {
                    expected.manifest = Some(manifest);
                    self.event(Event::ManifestCame { content });
                }
                None => drop(self.drop_content(content, State::Stopped)),
            }
            return;
        }
        // It may be known from the hashes folder and from several peers: the first one counts.
        let may_open = |item: &&mut Item| item.wanted && !item.opening && !item.paused;
        let Some(item) = self.items.get_mut(&content).filter(may_open) else { return };
        if let Some(asked) = item.options.name.clone().filter(|asked| *asked != manifest.header().name) {
            let found = manifest.header().name.clone();
            return self.give_up(content, PeerError::OtherName { content, asked, found });
        }
        item.opening = true;
        // What fails to open is known by its name, too.
        item.status.send_modify(|status| status.name.clone_from(&manifest.header().name));
        let (attempt, closed) = (item.attempt, item.closed.take());
        let settings = item.options.settings(&self.setup.downloads);
        let (storage, reports) = (self.setup.storage.clone(), self.reports.clone());
        tokio::spawn(async move {
            // What was built before a pause is let go of first.
            if let Some(closed) = closed {
                let _ = closed.await;
            }
            let work = move || open(manifest, &storage, &settings);
            let result = tokio::task::spawn_blocking(work).await.unwrap_or(Err(PeerError::ShutDown));
            let _ = reports.send(Report::Opened { content, attempt, result }).await;
        });
        self.set_state(content, State::Opening);
        self.event(Event::ManifestCame { content });
    }

    pub(super) fn opened(&mut self, content: ContentId, attempt: u64, result: Result<Opened, PeerError>) {
        if let Some(waiting) = self.abandoned.remove(&attempt) {
            let closed = result.ok().map(|opened| self.close_store(opened.store));
            tokio::spawn(async move {
                if let Some(closed) = closed {
                    let _ = closed.await;
                }
                for waiting in waiting {
                    let _ = waiting.send(());
                }
            });
            return;
        }
        let expects = |item: &&mut Item| item.attempt == attempt && item.store.is_none();
        let Some(item) = self.items.get_mut(&content).filter(expects) else { return };
        let opened = match result {
            Ok(opened) => opened,
            Err(error) => return self.give_up(content, error),
        };
        item.store = Some(opened.store.clone());
        let manifest = opened.store.manifest().clone();
        let geometry = Arc::new(manifest.geometry().clone());
        let in_order = || InOrder::new(opened.goal.clone(), geometry.piece_size(), self.setup.buffers.budget());
        item.in_order = opened.in_order.then(in_order);
        let have = opened.goal.iter().filter(|&piece| opened.have.contains(piece)).count() as u32;
        let pieces = opened.goal.count();
        let whole = have == pieces;
        let piece = geometry.piece_size();
        if !whole && self.setup.buffers.exceeded_by(piece as usize) {
            let mib = f64::from(piece) / f64::from(1 << 20);
            tracing::warn!("the budget is smaller than two pieces of {mib} MiB and will be exceeded");
        }
        if !whole {
            let (store, reports) = (opened.store.clone(), self.reports.clone());
            let task = tokio::spawn(async move {
                let error = store.run_checkpoints().await;
                let _ = reports.send(Report::DiskFailed { content, error }).await;
            });
            item.checkpoints = Some(OwnTask::new(task.abort_handle()));
        }
        if let Some(left_over) = opened.left_over {
            self.tell(PeerEvent::LeftOver { content, left_over });
        }
        self.tell(PeerEvent::Manifest {
            content,
            name: manifest.header().name.clone(),
            size: opened.store.wanted(),
            pieces,
            have,
            files: opened.store.wanted_count() as u32,
            all_files: manifest.header().files.len() as u32,
            all_size: geometry.total(),
        });
        if let Some(item) = self.items.get(&content) {
            item.status.send_modify(|status| status.had = have);
        }
        if !whole {
            self.use_origin(content, &manifest);
        }
        self.event(Event::Content { content, geometry, have: opened.have, wanted: opened.goal });
        self.set_state(content, State::Fetching);
        self.readers_begin(content);
        self.keep_order(content);
        if whole {
            self.finish(content);
        } else {
            self.announce(content);
        }
    }

    pub(super) fn shared(&mut self, opened: Opened, up: Option<u64>, secret: Option<Secret>) -> Begun {
        let content = opened.store.id();
        let private = self.make_private(content, secret);
        if private {
            let manifest = opened.store.manifest();
            self.setup.gate.shares.describe(content, &manifest.header().name, manifest.geometry().total());
        }
        let geometry = Arc::new(opened.store.manifest().geometry().clone());
        self.watch.add(&opened.store);
        let changes = opened.store.remote().map(|remote| self.watch_remote(content, &**remote));
        let part = opened.store.remote().map(|remote| remote.part_size());
        let store = Some(opened.store);
        let mut item = Item { store, opening: true, finished: true, private, changes, ..self.new_item(up, None) };
        // Who watched it before, by another path, goes on.
        if let Some(mut before) = self.items.remove(&content) {
            item.instance = before.instance;
            item.status = std::mem::take(&mut before.status);
        }
        let begun = begun(content, &item);
        self.items.insert(content, item);
        self.look_for_strangers();
        self.event(Event::Content { content, geometry, have: opened.have, wanted: opened.goal });
        if let Some(part) = part {
            self.event(Event::ReadInParts { content, part });
        }
        self.set_state(content, State::Complete);
        self.announce(content);
        begun
    }

    /// Waits until a content that is somewhere else is not what it was any more.
    fn watch_remote(&self, content: ContentId, remote: &dyn Remote) -> OwnTask {
        let (changed, reports) = (remote.changed(), self.reports.clone());
        let task = tokio::spawn(async move {
            let error = changed.await;
            let _ = reports.send(Report::SourceFailed { content, error }).await;
        });
        OwnTask::new(task.abort_handle())
    }

    /// Tells the trackers what we hold of a content.
    pub(super) fn announce(&mut self, content: ContentId) {
        self.take_part_on_lan(content);
        self.announce_where_due(content, true);
    }

    /// Tells those trackers of it that are to know, once or `again`.
    pub(super) fn announce_where_due(&mut self, content: ContentId, again: bool) {
        let Some(item) = self.items.get(&content).filter(|item| !item.paused) else { return };
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
            // What could be taken for an id or a ticket is found by its id alone. A private share has no name for a tracker.
            .filter(|(name, _)| !item.private && Query::is_name(name));
        let announced = self.setup.gate.shares.announced_as(content);
        let everywhere = item.everywhere && role == Role::Downloader;
        self.trackers.announce(&Announce { content: announced, about, role }, everywhere, again);
    }

    /// All pieces are here: make them durable and give the file its name.
    pub(super) fn finish(&mut self, content: ContentId) {
        let Some(item) = self.items.get_mut(&content) else { return };
        let Some(store) = item.store.clone() else { return };
        item.verified = Some(item.started.elapsed());
        // The whole file is synced now; nothing has to be claimed piece by piece any more.
        item.checkpoints = None;
        self.tell(PeerEvent::Verified { content });
        self.set_state(content, State::Finishing);
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
        let Some(status) = self.publish(content) else { return };
        let Some(item) = self.items.get_mut(&content) else { return };
        item.finished = true;
        let durable = item.started.elapsed();
        self.setup.counting.completion.add(durable);
        let stats = DownloadStats {
            verified: item.verified.unwrap_or(durable),
            durable,
            size: status.size,
            sources: item.sources.clone(),
            bottleneck: status.bottleneck,
            executable: item.store.as_ref().map(|store| store.executable()).unwrap_or_default().into(),
            names: item.store.as_ref().map(|store| store.name_report().clone()).unwrap_or_default(),
        };
        // In the working folder it is called by its name alone.
        let path = path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
        let completed = Completed { path: path.clone(), stats: stats.clone() };
        item.status.send_modify(|status| (status.completed, status.state) = (Some(completed), State::Complete));
        let stops = std::mem::take(&mut item.stops);
        if let Some(store) = &item.store {
            self.watch.add(store);
        }
        self.tell(PeerEvent::Completed { content, path, stats });
        self.announce(content);
        for reply in stops {
            self.stop_item(content, reply);
        }
    }

    /// The content that a handle is of, if it is still the same.
    pub(super) fn item_of(&mut self, key: ContentKey) -> Option<&mut Item> {
        self.items.get_mut(&key.content).filter(|item| item.instance == key.instance)
    }

    /// Takes no part in a download for now. What is verified is kept, and its files are closed.
    pub(super) fn pause(&mut self, key: ContentKey, reply: oneshot::Sender<()>) {
        let content = key.content;
        let may_pause = |item: &&mut Item| item.wanted && !item.finished && !item.is_finishing() && !item.paused;
        let Some(item) = self.item_of(key).filter(may_pause) else {
            let _ = reply.send(());
            return;
        };
        item.paused = true;
        let (closed, is_closed) = oneshot::channel();
        item.closed = Some(is_closed);
        self.set_state(content, State::Paused);
        self.leave_lan(content);
        let closing = self.let_go(content);
        tokio::spawn(async move {
            if let Some(closing) = closing {
                let _ = closing.await;
            }
            let _ = closed.send(());
            let _ = reply.send(());
        });
        self.leave(content);
    }

    /// Goes on with a download that was paused.
    pub(super) fn resume(&mut self, key: ContentKey) {
        let Some(item) = self.item_of(key) else { return };
        if !std::mem::take(&mut item.paused) {
            return;
        }
        if let Some(item) = self.items.remove(&key.content) {
            self.want(key.content, item);
        }
        self.set_state(key.content, State::Starting);
    }

    /// Takes no part in a content any more, and says so once its files are closed.
    pub(super) fn stop(&mut self, key: ContentKey, reply: oneshot::Sender<()>) {
        if self.item_of(key).is_some() {
            self.stop_item(key.content, reply);
        } else {
            let _ = reply.send(());
        }
    }

    fn stop_item(&mut self, content: ContentId, reply: oneshot::Sender<()>) {
        let Some(item) = self.items.get_mut(&content) else {
            let _ = reply.send(());
            return;
        };
        if item.is_finishing() {
            item.stops.push(reply);
            return;
        }
        let paused = item.closed.take();
        let closing = self.drop_content(content, State::Stopped).flatten();
        tokio::spawn(async move {
            for closing in [paused, closing].into_iter().flatten() {
                let _ = closing.await;
            }
            let _ = reply.send(());
        });
    }

    /// A download cannot go on.
    pub(super) fn give_up(&mut self, content: ContentId, error: PeerError) {
        let error = Arc::new(error);
        if self.items.contains_key(&content) {
            self.drop_content(content, State::Failed(error.clone()));
            self.tell(PeerEvent::Failed { content, error });
        }
    }

    /// What we would send is not what it was any more: a download that is not complete fails, and what is shared is withdrawn.
    pub(super) fn source_failed(&mut self, content: ContentId, error: StorageError) {
        let store = self.items.get(&content).and_then(|item| item.store.as_ref());
        if store.is_some_and(|store| store.is_being_built()) {
            self.give_up(content, error.into());
        } else {
            self.withdraw(content, &error);
        }
    }

    /// A shared file is not what it was any more.
    fn withdraw(&mut self, content: ContentId, error: &StorageError) {
        if let Some(item) = self.items.get(&content) {
            if !item.wanted {
                self.tell_withdrawn(content, error);
            }
            let reason = error.to_string();
            self.drop_content(content, State::Withdrawn(reason.clone()));
            self.tell(PeerEvent::Withdrawn { content, reason });
        }
    }

    /// Forgets a content, which ends in this state. If it was there, gives what is ready once its files are closed.
    fn drop_content(&mut self, content: ContentId, state: State) -> Option<Option<oneshot::Receiver<()>>> {
        if !self.items.contains_key(&content) {
            return None;
        }
        self.set_state(content, state);
        self.watch.remove(content);
        let closing = self.let_go(content);
        self.leave_lan(content);
        // The caller that stopped it has what it asked for, however it ended.
        for stop in self.items.remove(&content).into_iter().flat_map(|item| item.stops) {
            let _ = stop.send(());
        }
        self.leave(content);
        Some(closing)
    }

    /// Closes a content's files, also those that are still being opened; gives what is ready when that is done.
    fn let_go(&mut self, content: ContentId) -> Option<oneshot::Receiver<()>> {
        let item = self.items.get_mut(&content)?;
        (item.checkpoints, item.changes) = (None, None);
        let is_opening = std::mem::take(&mut item.opening);
        if let Some(store) = item.store.take() {
            return Some(self.close_store(store));
        }
        if !is_opening {
            return None;
        }
        let (opened, closing) = oneshot::channel();
        self.abandoned.entry(item.attempt).or_default().push(opened);
        Some(closing)
    }

    /// Neither the engine nor the tracker has to do with a content any more.
    fn leave(&mut self, content: ContentId) {
        self.event(Event::Withdraw { content });
        self.trackers.leave(self.setup.gate.shares.announced_as(content));
        // One that is paused is not forgotten.
        if !self.items.contains_key(&content) {
            self.setup.gate.shares.remove(content);
            for link in self.links.values_mut() {
                link.admitted.remove(&content);
            }
            self.look_for_strangers();
        }
    }

    /// Claims what is verified and lets go of the output, away from here. Gives what is ready when that is done.
    pub(super) fn close_store(&mut self, store: Arc<ContentStore>) -> oneshot::Receiver<()> {
        let (closed, is_closed) = oneshot::channel();
        self.closing.retain(|closing| !closing.is_finished());
        self.closing.push(tokio::task::spawn_blocking(move || {
            if let Err(error) = store.close() {
                tracing::warn!(%error, "the last verified pieces could not be recorded in the journal");
            }
            let _ = closed.send(());
        }));
        is_closed
    }
}

/// What the handle of a content needs.
fn begun(content: ContentId, item: &Item) -> Begun {
    Begun { key: ContentKey { content, instance: item.instance }, status: item.status.subscribe() }
}
