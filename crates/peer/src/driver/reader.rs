//! Reads a content in order while it arrives: each block is handed out as soon as its pieces are here.

use bytes::Bytes;
use protocol::{ContentId, PieceRange};

use super::state::Driver;
use crate::command::Reply;
use crate::error::PeerError;
use crate::report::ContentKey;

/// Most bytes that are read at once, or one piece where that is larger.
const READ: u64 = 1 << 20;

impl Driver {
    /// The next bytes from an offset on, now or once they are here.
    pub(super) fn read(&mut self, key: ContentKey, offset: u64, reply: Reply<Bytes>) {
        // Nobody answers where there is no such content.
        let Some(item) = self.item_of(key) else { return };
        item.readers.push((offset, reply));
        self.serve_readers(key.content);
    }

    /// Gives those who wait what is here by now.
    pub(super) fn serve_readers(&mut self, content: ContentId) {
        let Some(item) = self.items.get_mut(&content).filter(|item| !item.readers.is_empty()) else { return };
        let (Some(store), Some(have)) = (item.store.clone(), self.engine.have(content)) else { return };
        let geometry = store.manifest().geometry();
        for (offset, reply) in std::mem::take(&mut item.readers) {
            if reply.is_closed() {
                continue;
            }
            let Some((pieces, skipped)) = store.locate(offset) else {
                let _ = reply.send(Ok(Bytes::new()));
                continue;
            };
            let first = pieces.start;
            let most = geometry.pieces_within(first, READ) as usize;
            let count = pieces.take(most).take_while(|&piece| have.contains(piece)).count() as u32;
            let Some(block) = geometry.blocks(PieceRange { first, count }, usize::MAX).next() else {
                item.readers.push((offset, reply));
                continue;
            };
            let store = store.clone();
            tokio::task::spawn_blocking(move || {
                let bytes = store.load_verified(&block).map(|bytes| bytes.slice(skipped..));
                let _ = reply.send(bytes.map_err(PeerError::from));
            });
        }
    }
}
