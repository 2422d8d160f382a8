//! What waits while a tracker is asked or cannot be: questions for their answers, and commands for a connection.

use std::collections::{BTreeMap, VecDeque};

use protocol::{ContentId, ContentMatch, PeerId, TrackerRequest};
use tokio::sync::{mpsc, oneshot};

use super::request::{Page, Passage, Refusal, ToClient, WatchedPage};
use crate::PeerError;

/// Who asked the same.
pub(super) type Askers<T> = Vec<oneshot::Sender<Result<T, PeerError>>>;

/// What waits for the tracker's answers, by question.
#[derive(Default)]
pub(super) struct PendingQueries {
    pub(super) finds: BTreeMap<String, Askers<Vec<ContentMatch>>>,
    pub(super) lists: BTreeMap<Option<u64>, Askers<Page>>,
    pub(super) watches: BTreeMap<(ContentId, Option<u64>), Askers<WatchedPage>>,
    /// Connections that the relay is asked for. A new session is not asked again: who dials does so.
    pub(super) passages: BTreeMap<PeerId, oneshot::Sender<Result<Passage, Refusal>>>,
}

impl PendingQueries {
    /// Whether an answer is waited for.
    pub(super) fn is_asked(&self) -> bool {
        let PendingQueries { finds, lists, watches, passages } = self;
        !(finds.is_empty() && lists.is_empty() && watches.is_empty() && passages.is_empty())
    }

    /// What the new connection is to be asked again.
    pub(super) fn questions(&self) -> Vec<TrackerRequest> {
        let finds = self.finds.keys().map(|query| TrackerRequest::Find(query.clone()));
        let watches = self.watches.keys().map(|&(content, after)| TrackerRequest::Watch { content, after });
        finds.chain(self.lists.keys().map(|&before| TrackerRequest::List { before })).chain(watches).collect()
    }

    /// The tracker is gone: nobody answers.
    pub(super) fn give_up(&mut self) {
        self.passages.clear();
        for waiting in std::mem::take(&mut self.finds).into_values().flatten() {
            let _ = waiting.send(Err(PeerError::NoTracker));
        }
        for waiting in std::mem::take(&mut self.lists).into_values().flatten() {
            let _ = waiting.send(Err(PeerError::NoTracker));
        }
        for waiting in std::mem::take(&mut self.watches).into_values().flatten() {
            let _ = waiting.send(Err(PeerError::NoTracker));
        }
    }
}

/// What is asked of the client.
pub(super) struct Inbox {
    pub(super) commands: mpsc::Receiver<ToClient>,
    /// What came while it connected.
    pub(super) waiting: VecDeque<ToClient>,
}

impl Inbox {
    pub(super) async fn recv(&mut self) -> Option<ToClient> {
        match self.waiting.pop_front() {
            Some(command) => Some(command),
            None => self.commands.recv().await,
        }
    }

    /// What comes of `work`; nothing if this peer leaves meanwhile, which must not wait for a tracker that may not be there.
    pub(super) async fn unless_leaving<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                command = self.commands.recv(), if self.waiting.len() < QUEUE => match command? {
                    ToClient::Bye { done } => {
                        let _ = done.send(());
                        return None;
                    }
                    command => self.waiting.push_back(command),
                },
            }
        }
    }
}

/// Announcements that may wait to be sent: more than anyone shares at once.
pub(super) const QUEUE: usize = 1 << 16;
