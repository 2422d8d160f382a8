//! Which entry of a daemon has a content: two that come to the same one would write into each other's files, or stop each other's
//! share.

use peer::ContentId;

use super::{Next, Task};
use crate::control::{Doing, Kind};
use crate::nodes::{Owner, Tracked};

/// How a content was taken.
pub(super) enum Claimed {
    AtOnce,
    /// Another entry had it before.
    Later,
}

impl Task {
    /// Takes a content, or says which entry has it, and waits until that lets go of it.
    pub(super) async fn claim(&mut self, tracked: &Tracked, content: ContentId) -> Result<Claimed, Next> {
        let (mut released, mut claimed) = (tracked.released(), Claimed::AtOnce);
        let own = Owner { number: self.saved.number, view: self.view.subscribe(), only: self.saved.only.clone() };
        loop {
            let Err(mut other) = tracked.claim(content, &own) else { return Ok(claimed) };
            claimed = Claimed::Later;
            self.say_who_has_it(content, other.as_mut());
            let stands_otherwise = async {
                if let Some(other) = &mut other
                    && other.view.changed().await.is_ok()
                {
                    return;
                }
                std::future::pending().await
            };
            tokio::select! {
                next = self.told() => return Err(next),
                _ = released.changed() => {}
                () = stands_otherwise => {}
            }
        }
    }

    /// Says which other entry has its content, and what comes of that: what that has downloaded is here.
    fn say_who_has_it(&mut self, content: ContentId, other: Option<&mut Owner>) {
        let Some(other) = other else { return self.say(Doing::Waiting, "") };
        let (number, there) = (other.number, other.view.borrow_and_update().clone());
        let has_the_files = other.only.is_empty() || other.only == self.saved.only;
        self.view.send_if_modified(|view| {
            let before = view.clone();
            view.content = content.to_string();
            (view.rate, view.peers, view.hashed) = (0, 0, [0, 0]);
            view.code = None;
            (view.state, view.reason) = match self.saved.kind {
                Kind::Download if has_the_files && there.state == Doing::Sharing => {
                    (view.size, view.have, view.pieces) = (there.size, there.have, there.pieces);
                    (view.name, view.path) = (there.name, there.path);
                    (Doing::Sharing, format!("it is here already: it is the same content as number {number}"))
                }
                Kind::Download if has_the_files => {
                    (Doing::Waiting, format!("it is the same content as number {number}, and waits for that"))
                }
                kind => {
                    if kind == Kind::Share {
                        // It is shared all the same.
                        view.ticket.clear();
                    }
                    let reason = "and waits for that: remove one of them";
                    (Doing::Waiting, format!("it is the same content as number {number}, {reason}"))
                }
            };
            *view != before
        });
    }
}
