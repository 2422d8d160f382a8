//! What follows when a session is over and this peer does not leave: another connection at once, where it has only moved, or tries with
//! random pauses until the tracker is back.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Client;
use super::handshake::Session;
use super::request::ToClient;
use super::waiting::Inbox;
use crate::PeerError;
use crate::report::TrackerNews;

/// Most reasons why a tracker is not back that are told, each once: two addresses may take turns.
const REASONS: usize = 8;
/// Longest wait between two tries, and the shortest before the first.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(200);
/// An address that led to a tracker which another client has is tried again after this long.
pub(super) const TAKEN_AGAIN: Duration = Duration::from_secs(60);

impl Client {
    /// Connects anew at once, if this peer does not leave meanwhile.
    pub(super) async fn come_again(&mut self, inbox: &mut Inbox) -> Option<Option<Session>> {
        self.replaced = Some(Instant::now());
        Some(self.connect(inbox).await?.ok().flatten())
    }

    /// Tries again and again, each time after a random wait. Reports each reason once why it does not succeed, where it is more
    /// than silence.
    pub(super) async fn come_back(&mut self, inbox: &mut Inbox) -> Option<Session> {
        let mut reported = BTreeSet::new();
        for tries in 0.. {
            let wait = sleep(if self.is_taken { TAKEN_AGAIN } else { pause(tries, fastrand::f64()) });
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    // This machine has another network: the tracker may be reached again.
                    Ok(()) = self.listeners.changed() => break,
                    command = inbox.recv() => match command? {
                        ToClient::Announce(announce) => {
                            self.announced.insert(announce.content, announce);
                        }
                        ToClient::Leave(content) => {
                            self.announced.remove(&content);
                        }
                        ToClient::Bye { done } => {
                            let _ = done.send(());
                            return None;
                        }
                        other @ (ToClient::Find { .. }
                        | ToClient::List { .. }
                        | ToClient::Watch { .. }
                        | ToClient::Relay { .. }) => other.unheard(),
                        ToClient::OneOfSeveral => self.tracker.name = None,
                        ToClient::Progress { .. } => {}
                    },
                }
            }
            let was_taken = self.is_taken;
            let resolver = self.around.resolver.clone();
            inbox.unless_leaving(self.tracker.resolve_with(&resolver)).await?;
            let connected = self.connect(inbox).await?;
            if !matches!(connected, Ok(Some(_))) {
                self.waiting.give_up();
            }
            match connected {
                Ok(Some(session)) => return Some(session),
                Ok(None) if was_taken => {}
                Ok(None) => {
                    if !self.report(TrackerNews::Taken).await {
                        return None;
                    }
                }
                Err(PeerError::Tracker { reason, .. }) if !reason.is_failed_handshake() => {}
                Err(error) => {
                    let is_new = reported.len() < REASONS && reported.insert(error.to_string());
                    if is_new && !self.report(TrackerNews::Unfit(error)).await {
                        return None;
                    }
                }
            }
        }
        None
    }
}

/// How long to wait after so many tries, by a random number from 0 to 1. All peers lose a tracker at the same moment, and
/// short first waits that double keep them together for a while: so the first is spread over half of the longest wait, and
/// the others over the rest.
pub(super) fn pause(tries: u32, random: f64) -> Duration {
    let (least, most) = if tries == 0 { (SHORTEST, LONGEST / 2) } else { (LONGEST / 2, LONGEST) };
    least + (most - least).mul_f64(random)
}
