//! What a node tells of, as programs read it.

use protocol::{ContentId, PeerId};

use super::*;
use crate::disk::left_out::LeftOut;
use crate::event::PeerEvent;
use crate::net::origin::ORIGIN;
use crate::stats::Bottleneck;
use crate::status;

impl Event {
    /// What a node has told of, as programs read it: nothing where they read it elsewhere. How a download ends they read from
    /// its status, whose `completed` is [`Event::completed`].
    pub fn of(event: &PeerEvent) -> Vec<Self> {
        match event {
            PeerEvent::Hashing { path, done, total } => {
                vec![Event::Hashing(Hashing { path: path.display().to_string(), done: *done, total: *total })]
            }
            PeerEvent::Skipped { left_out } => {
                let skipped = |LeftOut { path, reason }: &LeftOut| {
                    Event::Skipped(Skipped { path: path.display().to_string(), reason: reason.to_string() })
                };
                left_out.iter().map(skipped).collect()
            }
            PeerEvent::Manifest { content, name, size, pieces, have, files, all_files, all_size } => {
                vec![Event::Manifest(Manifest {
                    content: content.to_string(),
                    name: name.clone(),
                    size: *size,
                    pieces: *pieces,
                    have: *have,
                    files: *files,
                    all_files: *all_files,
                    all_size: *all_size,
                })]
            }
            PeerEvent::LeftOver { content, left_over } => vec![Event::LeftOver(LeftOver {
                content: content.to_string(),
                path: left_over.path.display().to_string(),
                size: left_over.size,
                reused: left_over.reused,
            })],
            PeerEvent::Connected { peer, address, transport, .. } => vec![Event::Connected(Connected {
                peer: peer.to_string(),
                address: address.to_string(),
                transport: (*transport).into(),
            })],
            PeerEvent::Lacking { content, runs } => {
                let pieces = runs.iter().map(|run| [run.first, run.count]).collect();
                vec![Event::Lacking(Lacking { content: content.to_string(), pieces })]
            }
            PeerEvent::Sent { content, peer, address, bytes, elapsed, complete, .. } => vec![Event::Sent(Sent {
                content: content.to_string(),
                peer: peer.to_string(),
                address: address.to_string(),
                bytes: *bytes,
                seconds: elapsed.as_secs_f64(),
                complete: *complete,
            })],
            PeerEvent::ShareOver { content, reason } => {
                vec![Event::ShareOver(ShareOver { content: content.to_string(), reason: reason.clone() })]
            }
            PeerEvent::Origin { content, origin, failure } => vec![Event::Origin(Origin {
                content: content.to_string(),
                origin: origin.clone(),
                failure: failure.clone().unwrap_or_default(),
            })],
            PeerEvent::Verified { content } => vec![Event::Verified(Verified { content: content.to_string() })],
            PeerEvent::Withdrawn { content, reason } => {
                vec![Event::Withdrawn(Withdrawn { content: content.to_string(), reason: reason.clone() })]
            }
            PeerEvent::Banned { peer } => vec![Event::Banned(Banned { peer: peer.to_string() })],
            PeerEvent::TrackerLost => vec![Event::TrackerLost(TrackerLost {})],
            PeerEvent::TrackerBack => vec![Event::TrackerBack(TrackerBack {})],
            PeerEvent::TrackerUnfit { error } => vec![Event::TrackerUnfit(TrackerUnfit { reason: error.to_string() })],
            PeerEvent::StillWritten { .. } | PeerEvent::Completed { .. } | PeerEvent::Failed { .. } => Vec::new(),
        }
    }

    /// A download that is complete.
    pub fn completed(content: ContentId, completed: &status::Completed) -> Self {
        let status::Completed { path, stats } = completed;
        Event::Completed(Completed {
            content: content.to_string(),
            path: path.display().to_string(),
            size: stats.size,
            seconds_verified: stats.verified.as_secs_f64(),
            seconds_durable: stats.durable.as_secs_f64(),
            sources: stats.sources.iter().map(|(peer, bytes)| (source(*peer), *bytes)).collect(),
            limiter: stats.bottleneck.map_or("", Bottleneck::name).into(),
            executable: stats.executable.to_vec(),
        })
    }
}

/// What a source is called: a peer by its id.
fn source(peer: PeerId) -> String {
    if peer == ORIGIN { "origin".to_owned() } else { peer.to_string() }
}
