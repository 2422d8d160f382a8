//! Downloading: what a ticket stands for is found out, fetched, and shared on.

use std::path::Path;
use std::time::Duration;

use peer::{ContentId, Download, Glob, PeerError, State, Ticket, TrackerStatus};
use tokio::time::timeout;

use super::alone::Alone;
use super::{LONGEST_PAUSE, Next, Note, Task, Wish};
use crate::control::Doing;
use crate::nodes::{Told, Tracked, is_told_by_tracker};

/// A complete download of which neither the sharer's own tracker nor any peer was there for so long gives its node's room to others, and
/// earlier where that is scarce.
const ABANDONED: Duration = Duration::from_secs(3600);
const ABANDONED_WHERE_SCARCE: Duration = Duration::from_secs(300);
/// After this time without a peer, and without anything from an origin, a download says so.
const LONELY: Duration = Duration::from_secs(10);
const NOBODY: &str = "nobody who has the rest is connected";
/// What to do about a download that is gone, or was changed.
const AGAIN: &str = "`peer-cli resume` gets it again, `peer-cli rm` forgets it";

impl Task {
    pub(super) async fn download(&mut self, wish: Wish) -> Next {
        if !self.saved.complete.is_empty() && !Path::new(&self.saved.complete).exists() {
            let gone = format!("{} is not there any more: {AGAIN}", self.saved.complete);
            self.say(Doing::Failed, &gone);
            // Its disk may be mounted later.
            return match timeout(LONGEST_PAUSE, self.told_to_get_it_again(wish)).await {
                Ok(next) => next,
                Err(_) => Next::Again,
            };
        }
        let ticket: Ticket = match self.saved.ticket.parse() {
            Ok(ticket) => ticket,
            Err(error) => return self.fails(&format!("{error}")).await,
        };
        let only: Result<Vec<Glob>, _> = self.saved.only.iter().map(|glob| glob.parse::<Glob>()).collect();
        let only = match only {
            Ok(only) => only,
            Err(error) => return self.fails(&error.to_string()).await,
        };
        if self.rests {
            return self.rest(&ticket).await;
        }
        let tracked = match self.nodes.of_ticket(&ticket) {
            Ok(tracked) => tracked,
            Err(reason) => {
                self.nodes.ask_for_room();
                self.say(Doing::Waiting, &reason);
                return self.told_within(LONGEST_PAUSE).await;
            }
        };
        let content = match self.content_of(&ticket, &tracked).await {
            Ok(content) => content,
            Err(next) => return next,
        };
        if let Err(next) = self.claim(&tracked, content).await {
            return next;
        }
        let begun = self.begin(&ticket, &tracked, content, only).await;
        let next = match begun {
            Ok(download) => self.follow(&tracked, download, wish, is_told_by_tracker(&ticket)).await,
            Err(_) if tracked.node.has_ended() => Next::End,
            Err(error) => {
                let (reason, pause) = self.failure(&error);
                self.say(Doing::Failed, &reason);
                tracked.release(self.saved.number);
                self.tried_again(pause).await
            }
        };
        tracked.release(self.saved.number);
        next
    }

    /// Waits until it is told something else. What was complete is downloaded again only if that was said.
    async fn told_to_get_it_again(&mut self, wish: Wish) -> Next {
        let next = self.told().await;
        if self.wish.borrow().resumes != wish.resumes {
            self.saved.complete.clear();
            self.note(Note::Again { number: self.saved.number }).await;
        }
        next
    }

    async fn fails(&mut self, reason: &str) -> Next {
        self.say(Doing::Failed, reason);
        self.told().await
    }

    /// The content that a ticket stands for, which only the tracker of a private share may know.
    async fn content_of(&mut self, ticket: &Ticket, tracked: &Tracked) -> Result<ContentId, Next> {
        let known = ticket.content().or_else(|| self.saved.content.parse().ok());
        if let Some(content) = known {
            return Ok(content);
        }
        let mut told = tracked.told.clone();
        loop {
            let reason = match &*told.borrow_and_update() {
                Told::Joined(Some(content)) => return Ok(*content),
                Told::Joined(None) => "the tracker does not say what the ticket stands for".to_owned(),
                Told::Asking(reason) => reason.clone(),
            };
            self.say(Doing::Waiting, &reason);
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return Err(Next::End) },
                changed = self.wish.changed() => {
                    return Err(if changed.is_err() { Next::End } else { Next::Again });
                }
            }
        }
    }

    async fn begin(
        &mut self,
        ticket: &Ticket,
        tracked: &Tracked,
        content: ContentId,
        only: Vec<Glob>,
    ) -> Result<Download, PeerError> {
        self.say(Doing::Waiting, "");
        self.view.send_modify(|view| view.content = content.to_string());
        let download = tracked.node.download(content).private(ticket.secret()).output(&self.saved.path);
        download.overwrite(self.saved.force).only(only).start().await
    }

    /// Says how a download stands until it is told something else, it fails, or it is complete and nobody is there, where it has a node
    /// of its own.
    async fn follow(&mut self, tracked: &Tracked, download: Download, wish: Wish, has_own_node: bool) -> Next {
        let (content, mut status, mut told) = (download.content(), download.status(), tracked.told.clone());
        let (mut trackers, mut scarcity) = (tracked.node.watch_trackers(), self.nodes.watch_scarcity());
        let mut silence = tracked.silence.clone();
        let (mut abandoned, mut lonely) = (Alone::default(), Alone::default());
        loop {
            let now = status.borrow_and_update().clone();
            self.count(&now);
            if !now.name.is_empty() && now.name != self.saved.name {
                self.saved.name.clone_from(&now.name);
                self.saved.content = content.to_string();
                let (name, content) = (now.name.clone(), content.to_string());
                self.note(Note::Known { number: self.saved.number, content, name }).await;
            }
            if let Some(completed) = &now.completed
                && self.saved.complete.is_empty()
            {
                let path = completed.path.display().to_string();
                self.saved.completed_at(path.clone());
                self.note(Note::Complete { number: self.saved.number, path, forces: self.forces }).await;
            }
            let is_fetching = matches!(now.state, State::Starting | State::Fetching);
            lonely.look(is_fetching && now.peers == 0 && now.rate == 0);
            let is_lonely = lonely.has_been_for(LONELY);
            let waits = waits(&told.borrow_and_update(), is_lonely).to_owned();
            let silent = silence.borrow_and_update().clone();
            match &now.state {
                State::Failed(error) => {
                    let (reason, pause) = self.failure(error);
                    self.show(Doing::Failed, &reason, &now);
                    self.keep_counts(&now);
                    tracked.release(self.saved.number);
                    return self.tried_again(pause).await;
                }
                State::Withdrawn(reason) => {
                    self.show(Doing::Failed, &format!("{reason}: {AGAIN}"), &now);
                    self.keep_counts(&now);
                    return self.told_to_get_it_again(wish).await;
                }
                State::Stopped => {
                    self.keep_counts(&now);
                    return self.fails("it was stopped").await;
                }
                State::Starting => self.show(Doing::Waiting, &waits, &now),
                State::Opening => self.show(Doing::Checking, "", &now),
                State::Finishing => self.show(Doing::Finishing, "", &now),
                State::Complete => self.show(Doing::Sharing, &silent, &now),
                _ => {
                    // There was room for it.
                    self.roomless = 0;
                    self.show(Doing::Downloading, if now.peers == 0 { &waits } else { "" }, &now);
                }
            }
            let [up, _] = TrackerStatus::up_and_lost(&trackers.borrow_and_update());
            let is_alone = has_own_node && matches!(now.state, State::Complete) && now.peers == 0 && up == 0;
            abandoned.look(is_alone);
            let patience = if *scarcity.borrow_and_update() { ABANDONED_WHERE_SCARCE } else { ABANDONED };
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return Next::End },
                changed = trackers.changed(), if has_own_node => if changed.is_err() { return Next::End },
                Ok(()) = scarcity.changed(), if is_alone => {}
                Ok(()) = silence.changed() => {}
                () = lonely.lasts(LONELY), if !is_lonely => {}
                () = abandoned.lasts(patience) => {
                    self.keep_counts(&now);
                    let _ = download.cancel().await;
                    self.rests = true;
                    return Next::Again;
                }
                changed = told.changed() => if changed.is_err() { return Next::End },
                changed = self.wish.changed() => {
                    let said = *self.wish.borrow_and_update();
                    if changed.is_ok() && (said.run, said.forces) == (wish.run, wish.forces) {
                        continue;
                    }
                    let last = status.borrow().clone();
                    self.keep_counts(&last);
                    // What is verified is kept, and its files are closed once this returns.
                    let _ = download.cancel().await;
                    return if changed.is_err() { Next::End } else { Next::Again };
                }
            }
        }
    }

    async fn note(&self, note: Note) {
        let _ = self.notes.send(note).await;
    }
}

/// What a download without a peer waits for; empty if there is nothing to say yet.
fn waits(told: &Told, is_lonely: bool) -> &str {
    match told {
        Told::Asking(reason) if !reason.is_empty() => reason,
        _ if is_lonely => NOBODY,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_says_what_it_waits_for() {
        let silent = Told::Asking("the tracker does not answer".to_owned());
        for is_lonely in [false, true] {
            assert_eq!(waits(&silent, is_lonely), "the tracker does not answer");
        }
        for told in [Told::Asking(String::new()), Told::Joined(None)] {
            assert_eq!([waits(&told, false), waits(&told, true)], ["", NOBODY]);
        }
    }
}
