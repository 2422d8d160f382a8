//! Reads a content in order while it arrives: each block is handed out as soon as its pieces are here, and the engine is told
//! which pieces each reader waits for, and which it will want next.

use bytes::Bytes;
use protocol::{ContentId, PieceRange};
use storage::StorageError;
use swarm::Event;
use tokio::time::Instant;

use super::reading::ReaderState;
use super::state::Driver;
use crate::command::{OpenedContent, ReaderPlace, Reply};
use crate::error::PeerError;
use crate::report::{Begun, ContentKey};

/// Most bytes that are read at once, or one piece where that is larger.
const READ: u64 = 1 << 20;
impl Driver {
    /// The next bytes for a reader, now or once they are here.
    pub(super) fn read(&mut self, key: ContentKey, place: ReaderPlace, reply: Reply<Bytes>) {
        // Nobody answers where there is no such content.
        let Some(item) = self.item_of(key) else { return };
        let reader = place.reader;
        item.readers.entry(reader).or_insert_with(|| ReaderState::new(&place)).asks(&place, reply);
        self.serve_reader(key.content, reader);
        self.tell_window(key.content, reader);
    }

    /// Gives those who wait what is here by now.
    pub(super) fn serve_readers(&mut self, content: ContentId) {
        let Some(item) = self.items.get(&content).filter(|item| !item.readers.is_empty()) else { return };
        let waiting = item.readers.iter().filter(|(_, reader)| reader.waiting.is_some());
        let waiting: Vec<u64> = waiting.map(|(&number, _)| number).collect();
        waiting.into_iter().for_each(|reader| self.serve_reader(content, reader));
    }

    fn serve_reader(&mut self, content: ContentId, reader: u64) {
        let Some(item) = self.items.get_mut(&content) else { return };
        let (Some(store), Some(have)) = (item.store.clone(), self.engine.have(content)) else { return };
        let Some(state) = item.readers.get_mut(&reader) else { return };
        let geometry = store.manifest().geometry();
        if state.at.is_none() {
            state.at = store.locate(state.offset);
        }
        let Some((pieces, skipped)) = state.at.clone() else {
            state.waiting.take().into_iter().for_each(|reply| drop(reply.send(Ok(Bytes::new()))));
            return;
        };
        let first = pieces.start;
        // No more than it will read.
        let wanted = state.end.saturating_sub(state.offset).saturating_add(skipped as u64).min(READ);
        let most = geometry.pieces_within(first, wanted.next_multiple_of(u64::from(geometry.piece_size()))) as usize;
        let count = pieces.take(most).take_while(|&piece| have.contains(piece)).count() as u32;
        let Some(block) = geometry.blocks(PieceRange { first, count }, usize::MAX).next() else { return };
        let Some(mut reply) = state.waiting.take() else { return };
        state.given = Some((Instant::now(), (block.len - skipped) as u64));
        let memory = state.memory.clone();
        tokio::spawn(async move {
            let room = match memory {
                Some(memory) => tokio::select! {
                    room = memory.take(block.len) => Some(room),
                    () = reply.closed() => return,
                },
                None => None,
            };
            let answer = move |loaded: Result<Bytes, StorageError>| {
                let bytes = loaded.map(|bytes| match room {
                    Some(room) => room.hold(bytes),
                    None => bytes,
                });
                let _ = reply.send(bytes.map(|bytes| bytes.slice(skipped..)).map_err(PeerError::from));
            };
            match store.remote().cloned() {
                Some(remote) => answer(store.fetch_for_reader(remote, block).await),
                None => drop(tokio::task::spawn_blocking(move || answer(store.load_for_reader(&block)))),
            }
        });
    }

    /// Tells the engine which pieces a reader wants next, unless all are here anyway.
    fn tell_window(&mut self, content: ContentId, reader: u64) {
        let Some(item) = self.items.get_mut(&content).filter(|item| !item.finished) else { return };
        let (Some(store), Some(state)) = (item.store.clone(), item.readers.get_mut(&reader)) else { return };
        let ahead = state.ahead.min(state.most_ahead);
        let last = state.end.min(state.offset.saturating_add(ahead)).saturating_sub(1).max(state.offset);
        let last = last.min(store.wanted().saturating_sub(1));
        let window = store.locate(state.offset).zip(store.locate(last)).map(|((first, _), (last, _))| PieceRange {
            first: first.start,
            count: (last.start + 1).saturating_sub(first.start),
        });
        let window = window.filter(|_| state.most_ahead > 0);
        if state.told != window {
            state.told = window;
            self.event(Event::Reading { content, reader, window });
        }
    }

    /// The files of a content are open now: readers may have waited for that.
    pub(super) fn readers_begin(&mut self, content: ContentId) {
        let Some(item) = self.items.get_mut(&content) else { return };
        item.readers.values_mut().for_each(|state| state.told = None);
        for reader in item.readers.keys().copied().collect::<Vec<_>>() {
            self.serve_reader(content, reader);
            self.tell_window(content, reader);
        }
    }

    /// Forgets readers that are gone: nothing comes first for them any more.
    pub(super) fn sweep_readers(&mut self) {
        let mut gone = Vec::new();
        for (&content, item) in &mut self.items {
            item.readers.retain(|&reader, state| {
                if state.is_gone() && state.told.is_some() {
                    gone.push((content, reader));
                }
                !state.is_gone()
            });
        }
        for (content, reader) in gone {
            self.event(Event::Reading { content, reader, window: None });
        }
    }

    /// What a handle to a content needs, once its files are open.
    pub(super) fn open_content(&self, content: ContentId) -> Option<OpenedContent> {
        let item = self.items.get(&content)?;
        let store = item.store.as_ref()?;
        let key = ContentKey { content, instance: item.instance };
        let begun = Begun { key, status: item.status.subscribe() };
        Some(OpenedContent { begun, manifest: store.manifest().clone(), files: store.table().clone() })
    }
}
