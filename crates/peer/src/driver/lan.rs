//! The local network: what this node takes part in is said there to those who know it, and who else does is one more source
//! of addresses, beside the tracker and other peers.

use lan::{ContentKey, Holder};
use protocol::{ContentId, PeerAddress};
use swarm::Event;
use tokio::sync::mpsc;

use super::state::Driver;
use crate::report::Report;

/// Peers that were met and wait for the driver. Others are met again.
const MET: usize = 32;
/// Most addresses of a peer, those from elsewhere included.
const ADDRESSES: usize = 16;

impl Driver {
    /// Says on the local network who this is.
    pub(super) fn begin_on_lan(&self) {
        let listener = self.setup.transport.listeners().into_iter().find(|listener| listener.port() != 0);
        let (Some(lan), Some(listener)) = (&self.setup.lan, listener) else { return };
        let (met, mut receiver) = mpsc::channel(MET);
        lan.node(self.setup.transport.peer_id(), listener.port(), met);
        let reports = self.reports.clone();
        tokio::spawn(async move {
            while let Some(holder) = receiver.recv().await {
                if reports.send(Report::Met(holder)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Answers on the local network for a content, and looks for others while it is wanted.
    pub(super) fn take_part_on_lan(&mut self, content: ContentId) {
        let (Some(lan), Some(item)) = (&self.setup.lan, self.items.get_mut(&content)) else { return };
        if item.paused {
            return;
        }
        let key = match item.private {
            true => self.setup.gate.shares.lan_key(content),
            false => Some(content.lan_key()),
        };
        let Some(key) = key.map(|key| ContentKey::new(&key)) else { return };
        if let Some(before) = item.lan.take().filter(|before| *before != key) {
            lan.leave(&before);
        }
        lan.take_part(&key, item.wanted && !item.finished);
        item.lan = Some(key);
    }

    /// Says nothing more of a content on the local network.
    pub(super) fn leave_lan(&mut self, content: ContentId) {
        let key = self.items.get_mut(&content).and_then(|item| item.lan.take());
        if let (Some(lan), Some(key)) = (&self.setup.lan, key) {
            lan.leave(&key);
        }
    }

    /// Looks again soon: the tracker is gone, or there are too few.
    pub(super) fn hurry_on_lan(&self, content: ContentId) {
        let key = self.items.get(&content).and_then(|item| item.lan.as_ref());
        if let (Some(lan), Some(key)) = (&self.setup.lan, key) {
            lan.hurry(key);
        }
    }

    /// Somebody says that it takes part in a content. It proves who it is when it is dialled, at the address that it spoke from
    /// or at those that are known of it.
    pub(super) fn met_on_lan(&mut self, Holder { key, peer, address, .. }: Holder) {
        let of = self.items.iter().find(|(_, item)| item.lan.as_ref() == Some(&key));
        let Some(content) = of.map(|(&content, _)| content) else { return };
        let known = self.engine.addresses(content, peer).iter().filter(|known| **known != address);
        let addresses = std::iter::once(address).chain(known.copied()).take(ADDRESSES).collect();
        tracing::debug!(%peer, %address, "met on the local network");
        self.event(Event::Found { content, peers: vec![PeerAddress { id: peer, addresses }] });
        self.prove_to(content, &[peer]);
    }
}
