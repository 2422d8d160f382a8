//! Sharing: what lies at a path or a URL is hashed and served, until it changes or is told something else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peer::{ContentId, PeerEvent, Share, ShareBuilder, State};
use tokio::sync::watch;
use tokio::time::Instant;

use super::claim::Claimed;
use super::{FIRST_PAUSE, LONGEST_PAUSE, Next, Run, Task, URL_PAUSE, Wish};
use crate::control::{Doing, ErrorCode};
use crate::nodes::Tracked;
use crate::origin::{NO_URLS, OpenError, Opened, OpeningStep, is_url};

/// Why an origin is tried again is shown for so long, though other parts of it come.
const STUCK: Duration = Duration::from_secs(20);

impl Task {
    pub(super) async fn share(&mut self, wish: Wish, failures: &mut u32) -> Next {
        let home = self.nodes.home().clone();
        let share = match self.hash(&home).await {
            Ok(Some(share)) => share,
            Ok(None) => return Next::Again,
            Err(OpenError { code, message }) => {
                let has_read = is_url(&self.saved.path) && self.view.borrow().hashed[0] > 0;
                self.say_with_code(Doing::Failed, &message, Some(code));
                let pause = (FIRST_PAUSE * 2u32.saturating_pow((*failures).min(8))).min(LONGEST_PAUSE);
                let pause = if has_read { URL_PAUSE } else { pause };
                *failures += 1;
                return self.told_within(pause).await;
            }
        };
        match self.claim(&home, share.content()).await {
            Ok(Claimed::AtOnce) => {}
            Ok(Claimed::Later) => {
                // The other entry has stopped it.
                home.release(self.saved.number);
                return Next::Again;
            }
            Err(next) => return next,
        }
        *failures = 0;
        self.serve(&home, share, wish).await
    }

    /// Prepares to hash what lies at the path, or opens what is at the URL; nothing if it is told to stop meanwhile.
    async fn prepare(&self, home: &Arc<Tracked>) -> Result<Option<ShareBuilder>, OpenError> {
        let at = &self.saved.path;
        if !is_url(at) {
            return Ok(Some(home.node.share(at)));
        }
        let open = self.nodes.open_url.as_ref().ok_or_else(|| unknown(NO_URLS))?;
        let ((read, mut reading), (stuck, mut sticking)) = (watch::channel([0, 0]), watch::channel(String::new()));
        let progress = move |step| match step {
            OpeningStep::Read { done, total } => drop(read.send_replace([done, total])),
            OpeningStep::Stuck(reason) => drop(stuck.send_replace(reason)),
        };
        let mut recent_until = Instant::now();
        let (mut opening, mut told) = (open(at.clone(), Arc::new(progress)), self.wish.clone());
        loop {
            tokio::select! {
                opened = &mut opening => {
                    let Opened { manifest, storage, shown } = opened?;
                    return Ok(Some(home.node.share(shown).remote(manifest, storage)));
                }
                changed = told.changed() => if changed.is_err() || told.borrow().run != Run::Go {
                    return Ok(None);
                },
                Ok(()) = sticking.changed() => {
                    recent_until = Instant::now() + STUCK;
                    let reason = sticking.borrow_and_update().clone();
                    self.view.send_modify(|view| view.reason = reason);
                }
                Ok(()) = reading.changed() => {
                    let hashed = *reading.borrow_and_update();
                    // Some parts may come while others do not. At the beginning, the origin has answered.
                    let is_over = hashed[0] == 0 || Instant::now() >= recent_until;
                    self.view.send_modify(|view| {
                        view.hashed = hashed;
                        if is_over {
                            view.reason.clear();
                        }
                    });
                }
            }
        }
    }

    /// Hashes what lies at the path, or opens what is at the URL; nothing if it is told to stop meanwhile.
    async fn hash(&mut self, home: &Arc<Tracked>) -> Result<Option<Share>, OpenError> {
        self.say(Doing::Hashing, "");
        let Some(mut share) = self.prepare(home).await? else { return Ok(None) };
        let path = PathBuf::from(&self.saved.path);
        let mut events = home.node.events();
        if let Some(secrets) = self.nodes.secrets.clone() {
            share = share.private(move |content| secrets(content));
        }
        let (mut hashing, mut told) = (share.into_future(), self.wish.clone());
        loop {
            tokio::select! {
                result = &mut hashing => return result.map(Some).map_err(unknown),
                // Other requests, such as another reload, wait until hashing is done.
                changed = told.changed() => if changed.is_err() || told.borrow().run != Run::Go {
                    // The node shares it once it is hashed.
                    let home = home.clone();
                    tokio::spawn(async move {
                        if let Ok(share) = hashing.await {
                            home.stop_unclaimed(share).await;
                        }
                    });
                    return Ok(None);
                },
                event = events.recv() => match event {
                    Ok(PeerEvent::Hashing { path: of, done, total }) if of == path => {
                        self.view.send_modify(|view| view.hashed = [done, total]);
                    }
                    Ok(PeerEvent::StillWritten { path: of, .. }) if of.starts_with(&path) => {
                        self.view.send_modify(|view| view.reason = format!("{} is still being written to", of.display()));
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return Err(unknown("the node has ended")),
                    _ => {}
                },
            }
        }
    }

    /// Says how a share stands until it is told something else, or its files change.
    async fn serve(&mut self, home: &Arc<Tracked>, share: Share, mut wish: Wish) -> Next {
        let (content, mut status) = (share.content(), share.status());
        let (mut addresses, mut trackers) = (home.node.addresses(), home.node.watch_trackers());
        let mut silence = home.silence.clone();
        self.tell_ticket(content);
        loop {
            let told = *self.wish.borrow_and_update();
            let looks = told.looks != std::mem::replace(&mut wish.looks, told.looks);
            if told.run != Run::Go || (looks && self.is_other_content(home, content).await) {
                let last = status.borrow().clone();
                self.keep_counts(&last);
                // Another entry that takes it then is not stopped with it.
                let _ = share.stop().await;
                home.release(self.saved.number);
                return Next::Again;
            }
            let now = status.borrow_and_update().clone();
            self.count(&now);
            match &now.state {
                State::Withdrawn(reason) => {
                    self.show(Doing::Waiting, reason, &now);
                    self.keep_counts(&now);
                    home.release(self.saved.number);
                    // It may be in the middle of a change.
                    return self.told_within(if is_url(&self.saved.path) { URL_PAUSE } else { FIRST_PAUSE }).await;
                }
                State::Stopped | State::Failed(_) => {
                    self.keep_counts(&now);
                    home.release(self.saved.number);
                    self.say(Doing::Failed, "it was stopped");
                    return self.told_within(FIRST_PAUSE).await;
                }
                _ => {
                    let silent = silence.borrow_and_update().clone();
                    self.show(Doing::Sharing, &silent, &now);
                }
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return Next::End },
                changed = addresses.changed() => {
                    if changed.is_err() {
                        return Next::End;
                    }
                    self.tell_ticket(content);
                }
                changed = trackers.changed() => {
                    if changed.is_err() {
                        return Next::End;
                    }
                    self.tell_ticket(content);
                }
                Ok(()) = silence.changed() => {}
                changed = self.wish.changed() => if changed.is_err() { return Next::End },
            }
        }
    }

    /// Looks at the files anew, and whether they are of another content now.
    async fn is_other_content(&mut self, home: &Arc<Tracked>, content: ContentId) -> bool {
        match self.hash(home).await {
            // The node knows it as the same one.
            Ok(Some(share)) if share.content() == content => false,
            Ok(Some(share)) => {
                // Another entry may share that already.
                home.stop_unclaimed(share).await;
                true
            }
            Ok(None) => false,
            Err(OpenError { message, .. }) => {
                tracing::warn!(path = self.view.borrow().path, reason = message, "it cannot be looked at anew");
                false
            }
        }
    }

    /// Says what a ticket of it is now: others reach the trackers elsewhere one day.
    fn tell_ticket(&self, content: ContentId) {
        let ticket = self.nodes.ticket(content).map(|ticket| ticket.to_string()).unwrap_or_default();
        let content = content.to_string();
        self.view.send_if_modified(|view| {
            let is_new = (&view.content, &view.ticket) != (&content, &ticket);
            (view.content, view.ticket) = (content, ticket);
            is_new
        });
    }
}

/// An error of a kind that has no code of its own.
fn unknown(reason: impl ToString) -> OpenError {
    OpenError { code: ErrorCode::Other, message: reason.to_string() }
}
