//! One content, as closely as a page looks at it: its pieces, its peers, and what it waits for.

use std::collections::BTreeMap;

use peer::{ContentId, Node, PeerId, Status, WaitingFor};
use serde::Serialize;

use super::Api;
use super::shown::shown;
use crate::control::ContentStatus;

/// Parts of the map of its pieces, at most.
const PARTS: usize = 1024;
/// Peers that a sentence names, at most.
const NAMED: usize = 3;

/// One content.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Detail {
    pub(super) content: ContentStatus,
    /// Of each part of the content, in order, how many hundredths of its pieces are here.
    pub(super) map: Vec<u8>,
    /// Pieces that no connected peer has.
    pub(super) lacking: u32,
    /// What it waits for, as a sentence; empty if for nothing.
    pub(super) waits: String,
    /// What has limited it so far: peers, network, rate_cap, disk or cpu; empty if nothing is known.
    pub(super) limited_by: String,
    /// Those who take part, or did so.
    pub(super) peers: Vec<PeerRow>,
}

/// A peer of a content.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct PeerRow {
    pub(super) peer: String,
    pub(super) address: String,
    /// Where it says that it is; empty if it does not.
    pub(super) site: String,
    pub(super) connected: bool,
    pub(super) wants: bool,
    /// Bytes that it has, and is to have.
    pub(super) have: u64,
    pub(super) size: u64,
    /// Payload bytes sent to it, and received from it.
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// The content of a number; nothing if there is none.
pub(super) async fn detail(api: &Api, number: u64) -> Option<Detail> {
    let view = {
        let inner = api.service.inner();
        let content = inner.contents.iter().find(|content| content.saved.number == number)?;
        content.view.borrow().clone()
    };
    let mut detail = Detail {
        content: shown(view.clone(), api.options.trusted),
        map: Vec::new(),
        lacking: 0,
        waits: String::new(),
        limited_by: String::new(),
        peers: Vec::new(),
    };
    if let Ok(id) = view.content.parse::<ContentId>()
        && let Some((node, status)) = node_of(api, id).await
    {
        let overview = node.overview(id, PARTS).await.unwrap_or_default();
        detail.map = overview.pieces;
        detail.lacking = status.lacking.iter().map(|run| run.count).sum();
        detail.limited_by = status.bottleneck.map(|limit| limit.name().to_owned()).unwrap_or_default();
        detail.peers = rows(&status, &overview.sites);
        detail.waits = node.waiting_for(id).await.map(|waits| sentence(&waits, view.rate)).unwrap_or_default();
    }
    Some(detail)
}

/// The node that takes part in a content, and how it stands there.
async fn node_of(api: &Api, content: ContentId) -> Option<(Node, Status)> {
    for node in api.service.nodes.all() {
        if let Some(status) = node.status(content).await {
            return Some((node, status));
        }
    }
    None
}

fn rows(status: &Status, sites: &BTreeMap<PeerId, String>) -> Vec<PeerRow> {
    let row = |peer: &peer::Participant| PeerRow {
        peer: peer.peer.to_string(),
        address: peer.address.to_string(),
        site: sites.get(&peer.peer).cloned().unwrap_or_default(),
        connected: peer.is_connected,
        wants: peer.wanted && !peer.has_all,
        have: peer.have,
        size: peer.size,
        sent: peer.sent,
        received: peer.received,
    };
    status.participants.iter().map(row).collect()
}

/// What a download waits for, while nothing comes.
fn sentence(waits: &WaitingFor, rate: u64) -> String {
    match waits {
        WaitingFor::Tracker => "It waits for the tracker, which does not answer: no other peer is known.".to_owned(),
        WaitingFor::Peers { not_dialled } if not_dialled.is_empty() => {
            "No peer that has it is known: its sharer must be online.".to_owned()
        }
        WaitingFor::Peers { not_dialled } => {
            format!("Nobody who has it is reached: {} addresses are in other networks.", not_dialled.len())
        }
        WaitingFor::Answers { unanswered } => {
            let named: Vec<_> =
                unanswered.iter().take(NAMED).filter_map(|one| Some(one.addresses.first()?.to_string())).collect();
            format!("No peer answers so far, of those that were dialled: {}.", named.join(", "))
        }
        WaitingFor::Manifest { from, .. } => format!("It waits for the list of files, from {} peers.", from.len()),
        WaitingFor::Pieces { from, .. } if rate == 0 => {
            format!("It waits for pieces, from {} connected peers.", from.len())
        }
        WaitingFor::Pieces { .. } => String::new(),
        WaitingFor::Origin { origin } if rate == 0 => format!("It waits for the origin, {origin}."),
        WaitingFor::Origin { .. } => String::new(),
        WaitingFor::Disk => "This machine is checking existing data, or writing.".to_owned(),
        _ => String::new(),
    }
}
