//! Sharers of private shares that were reached beside their trackers.

use std::net::SocketAddr;

use protocol::{ContentId, Secret};

use super::item::OwnTask;
use super::state::{Driver, Sharer};
use crate::net::approach::Approach;
use crate::net::let_in::{Approached, LetIn};

impl Driver {
    /// Reaches the sharer of a private share, of which its tracker is asked meanwhile what it is.
    pub(super) fn approach(&mut self, addresses: Vec<SocketAddr>, secret: Secret) {
        let approach = Approach {
            transport: self.setup.transport.clone(),
            gate: self.setup.gate.clone(),
            addresses,
            key: secret.share_key(),
            reports: self.reports.clone(),
        };
        let task = OwnTask::new(tokio::spawn(approach.run()).abort_handle());
        self.sharer = Sharer { task: Some(task), met: None };
    }

    /// It has answered.
    pub(super) fn approached(&mut self, approached: Approached) {
        let content = self.setup.gate.shares.content_of(approached.swarm);
        match content.filter(|&content| self.is_private(content)) {
            Some(content) => self.meet_sharer(content, approached),
            None => self.sharer.met = Some(approached),
        }
    }

    /// It is known what a secret is of: perhaps that of the sharer who waits.
    pub(super) fn meet_approached(&mut self, content: ContentId) {
        let swarm = self.setup.gate.shares.announced_as(content);
        if let Some(approached) = self.sharer.met.take_if(|approached| approached.swarm == swarm) {
            self.meet_sharer(content, approached);
        }
    }

    /// Nothing has come of it.
    pub(super) fn approach_over(&mut self) {
        if let Some(approached) = std::mem::take(&mut self.sharer).met {
            approached.connection.close(0, "done");
        }
    }

    fn meet_sharer(&mut self, content: ContentId, approached: Approached) {
        self.sharer.task = None;
        let Approached { connection, control, proofs, .. } = approached;
        let Ok(channel) = self.setup.gate.channel(&*connection) else { return };
        match self.setup.gate.shares.answered(&channel, &[content], &proofs).pop() {
            Some((_, Ok(place))) => {
                // Once it is gone, it is known that it has answered.
                self.setup.book.begins(connection.peer_id(), &[connection.remote_addr()]);
                if let Some(item) = self.items.get_mut(&content) {
                    item.sharer = Some(connection.peer_id());
                }
                self.let_in(LetIn { connection, dialled: true, control, proven: vec![content], places: vec![place] })
            }
            _ => connection.close(1, "it proves nothing"),
        }
    }
}
