//! What is shown of a daemon, and to whom: tickets, paths and the log only to those who know a token.

use serde::Serialize;

use super::Api;
use crate::control::{ContentStatus, Doing, Kind};

/// A part of all contents, and the limits.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    contents: Vec<ContentStatus>,
    total: usize,
    next: Option<usize>,
    up: u64,
    down: u64,
    trusted: bool,
}

/// Lines of the log.
#[derive(Debug, Serialize)]
pub(super) struct Log {
    pub(super) lines: Vec<String>,
    pub(super) next: u64,
}

/// What all contents together do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Totals {
    pub(super) contents: usize,
    /// Payload bytes since the daemon started.
    pub(super) received: u64,
    pub(super) sent: u64,
    /// The limits, in bytes a second; 0 for none.
    pub(super) up: u64,
    pub(super) down: u64,
    /// Connections over QUIC, TCP, a relay and anything else.
    pub(super) connections: [u64; 4],
    /// Whether the tracker of its shares has answered.
    pub(super) joined: bool,
    pub(super) trusted: bool,
}

/// Contents from a place on, in the order in which they are downloaded.
pub(super) fn status(api: &Api, from: usize, most: usize) -> Status {
    let inner = api.service.inner();
    let part = inner.contents.iter().skip(from).take(most);
    let contents: Vec<_> = part.map(|content| shown(content.view.borrow().clone(), api.options.trusted)).collect();
    let (total, behind) = (inner.contents.len(), from.saturating_add(contents.len()));
    let next = (behind < total && !contents.is_empty()).then_some(behind);
    let (up, down) = inner.limits();
    let (up, down) = (up.unwrap_or(0), down.unwrap_or(0));
    Status { contents, total, next, up, down, trusted: api.options.trusted }
}

/// What all do together.
pub(super) fn totals(api: &Api) -> Totals {
    let (counters, _) = api.service.counters();
    let inner = api.service.inner();
    let (up, down) = inner.limits();
    Totals {
        contents: inner.contents.len(),
        received: counters.received.iter().sum(),
        sent: counters.sent.iter().sum(),
        up: up.unwrap_or(0),
        down: down.unwrap_or(0),
        connections: counters.connections,
        joined: api.service.has_joined(),
        trusted: api.options.trusted,
    }
}

/// How a content stands, without what only those are told who know a token.
pub(super) fn shown(mut status: ContentStatus, trusted: bool) -> ContentStatus {
    if !trusted {
        status.ticket.clear();
        status.path.clear();
        // Why something has failed, or what a share waits for, names paths.
        let names_paths =
            status.state == Doing::Failed || status.kind == Kind::Share || status.reason.contains(['/', '\\']);
        if names_paths && !status.reason.is_empty() {
            let instead = match status.state {
                Doing::Hashing => "a file of it is still being written to",
                _ => "the daemon's log says why",
            };
            instead.clone_into(&mut status.reason);
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_nobody_learns_a_ticket_or_a_path() {
        for kind in [Kind::Share, Kind::Download] {
            for state in
                [Doing::Waiting, Doing::Hashing, Doing::Checking, Doing::Downloading, Doing::Sharing, Doing::Failed]
            {
                let status = ContentStatus {
                    ticket: "p2psecret".to_owned(),
                    path: "/home/me/a.bin".to_owned(),
                    kind,
                    state,
                    reason: "/home/me/a.bin: no such file".to_owned(),
                    name: "a.bin".to_owned(),
                    ..ContentStatus::default()
                };
                let text = serde_json::to_string(&shown(status.clone(), false)).unwrap();
                assert!(!text.contains("/home") && !text.contains("secret") && text.contains("a.bin"), "{text}");
                assert_eq!(shown(status.clone(), true), status);
            }
        }
        let waits = ContentStatus {
            kind: Kind::Download,
            state: Doing::Waiting,
            reason: "the tracker does not answer".to_owned(),
            ..ContentStatus::default()
        };
        assert_eq!(shown(waits.clone(), false).reason, waits.reason);
    }
}
