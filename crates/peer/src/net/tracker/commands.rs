//! What the node asks of the client, and what is said to the tracker for it.
//!
//! What the tracker is to answer is kept with those that wait for it, so that a new session can ask again.

use protocol::TrackerRequest;
use tokio::sync::oneshot;

use super::request::ToClient;
use super::waiting::Inbox;
use super::{Client, Open, Over};

/// What follows from a command.
pub(super) enum Next {
    /// This is said to the tracker.
    Say(TrackerRequest),
    Nothing,
    End(Over),
    /// This peer leaves, and tells the tracker so.
    Bye(oneshot::Sender<()>),
}

impl Client {
    /// Notes what the node asks, and says what that comes to in a session.
    pub(super) fn request_for(&mut self, command: ToClient, open: &Open) -> Next {
        Next::Say(match command {
            ToClient::Announce(announce) => {
                self.announced.insert(announce.content, announce.clone());
                TrackerRequest::Announce(announce)
            }
            ToClient::Leave(content) => {
                self.announced.remove(&content);
                TrackerRequest::Leave(content)
            }
            ToClient::Find { query, reply } => {
                self.waiting.finds.entry(query.clone()).or_default().push(reply);
                TrackerRequest::Find(query)
            }
            ToClient::List { before, reply } => {
                self.waiting.lists.entry(before).or_default().push(reply);
                TrackerRequest::List { before }
            }
            ToClient::Watch { content, after, reply } => {
                self.waiting.watches.entry((content, after)).or_default().push(reply);
                TrackerRequest::Watch { content, after }
            }
            ToClient::Progress { content, progress } => TrackerRequest::Progress { content, progress },
            ToClient::Relay { peer, content, reply } if open.is_relay => {
                self.waiting.passages.insert(peer, reply);
                TrackerRequest::Relay { peer, content }
            }
            relay @ ToClient::Relay { .. } => {
                relay.unheard();
                return Next::Nothing;
            }
            ToClient::OneOfSeveral => {
                (self.tracker.name, self.tracker.addresses) = (None, vec![open.connection.remote_addr()]);
                return Next::End(Over::Moved);
            }
            ToClient::Bye { done } => return Next::Bye(done),
        })
    }

    /// Commands that arrived while dialling are sent right after the hello, which saves a round trip.
    pub(super) fn take_in(&mut self, inbox: &mut Inbox) {
        for command in std::mem::take(&mut inbox.waiting) {
            match command {
                ToClient::Announce(announce) => drop(self.announced.insert(announce.content, announce)),
                ToClient::Find { query, reply } => self.waiting.finds.entry(query).or_default().push(reply),
                ToClient::List { before, reply } => self.waiting.lists.entry(before).or_default().push(reply),
                // A new session knows of nothing.
                ToClient::Leave(content) => drop(self.announced.remove(&content)),
                other => inbox.waiting.push_back(other),
            }
        }
    }
}
