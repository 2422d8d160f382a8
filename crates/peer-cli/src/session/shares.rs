//! What a session shares: how it begins, what is said of that, and that it is not shared any more.

use std::path::Path;

use peer::json::{self, Event};
use peer::{Held, PeerError, Share, ShareBuilder, Status};
use protocol::{ContentId, Query, printable};

use crate::error::{Failure, share_failure};
use crate::flags::cut::Cut;
use crate::session::find::Wanted;
use crate::session::state::{Content, Handle, Session};
use crate::ui::amounts::amount;

impl Session {
    /// Shares a file or folder. One that cannot be shared is told of; it ends the session only if it was asked for by name, as the
    /// others are worth sharing all the same.
    pub async fn share(&self, path: &Path, cut: &Cut, held: Held) -> Result<Option<ContentId>, Failure> {
        let share = self.node.share(path).algorithm(cut.hash).piece_size(cut.piece_size).held(held);
        self.share_as(path, share).await
    }

    /// Shares what was set up already.
    pub async fn share_as(&self, path: &Path, share: ShareBuilder) -> Result<Option<ContentId>, Failure> {
        match self.hash(path, share).await {
            Ok(share) => Ok(Some(self.adopt(share))),
            Err(error) => self.not_shared(path, &error).map(|()| None),
        }
    }

    /// The same for a path that is added later: a failure is printed, and the session continues.
    pub async fn share_added(&self, path: &Path, share: ShareBuilder) -> Option<ContentId> {
        match self.hash(path, share).await {
            Ok(share) => Some(self.adopt(share)),
            Err(error) => {
                self.say_not_shared(path, &share_failure(path, &error).message);
                None
            }
        }
    }

    async fn hash(&self, path: &Path, share: ShareBuilder) -> Result<Share, PeerError> {
        self.will_hash(path);
        let shared = share.await;
        if shared.is_ok() {
            self.state.borrow_mut().under_way.remove(path);
            self.hashed();
        } else {
            // It was not hashed to its end.
            self.hashed_beside_others(path);
        }
        shared
    }

    /// Takes over what is shared, and says so.
    pub(super) fn adopt(&self, share: Share) -> ContentId {
        let (content, status) = (share.content(), share.status().borrow().clone());
        let wanted = Wanted { name: printable(&status.name), seeders: None, is_in_doubt: false };
        let entry = Content::new(Handle::Share(share), wanted, self.began);
        self.state.borrow_mut().contents.insert(content, entry);
        self.shared(content, status);
        content
    }

    fn shared(&self, content: ContentId, status: Status) {
        let Status { name, size, pieces, have, left_out, .. } = status;
        if self.options.original {
            let shown = amount(size);
            let part = if left_out > 0 { format!(" ({left_out} left out)") } else { String::new() };
            self.screen.say(&format!("Sharing {name}{part}: {have} of {pieces} pieces, {shown}, content id {content}"));
        }
        if !Query::is_name(&name) {
            self.screen.say(&format!(
                "{name} could be taken for an id or a ticket, so nobody finds it by its name: give its ticket or its content id."
            ));
        }
        let content = content.to_string();
        self.screen.event(&Event::Sharing(json::Sharing { content, name, size, pieces, held: have, left_out }));
    }

    /// All that was to be shared is, and can be had by those whom the sentence names.
    pub fn sharing(&self, who: &str) {
        let mut names: Vec<_> =
            self.state.borrow().contents.values().map(|content| content.wanted.name.clone()).collect();
        names.sort();
        let what = match &names[..] {
            [one] => one.clone(),
            [one, other] => format!("{one} and {other}"),
            many => format!("{} files and folders", many.len()),
        };
        let help = if self.screen.takes_commands { " Type help for commands." } else { "" };
        let until = match (self.screen.is_terminal(), names.len()) {
            (true, _) => "until Ctrl-C",
            (false, 0 | 1) => "until it is stopped",
            (false, _) => "until they are stopped",
        };
        self.screen.say(&format!("Sharing {what} {until}. {who}{help}"));
    }

    fn not_shared(&self, path: &Path, error: &PeerError) -> Result<(), Failure> {
        let failure = share_failure(path, error);
        if self.options.strict {
            // The last line says so.
            self.tell_not_shared(path, &failure.message);
            return Err(failure);
        }
        self.say_not_shared(path, &failure.message);
        Ok(())
    }

    pub(super) fn say_not_shared(&self, path: &Path, message: &str) {
        self.screen.say(&format!("{} is not shared: {message}", path.display()));
        self.tell_not_shared(path, message);
    }

    fn tell_not_shared(&self, path: &Path, message: &str) {
        let content = String::new();
        self.screen
            .event(&Event::Withdrawn(json::Withdrawn { content, reason: format!("{}: {message}", path.display()) }));
    }

    pub(super) fn withdrawn(&self, content: ContentId, reason: &str) {
        if let Some(entry) = self.state.borrow_mut().contents.get_mut(&content)
            && std::mem::replace(&mut entry.said_withdrawn, true)
        {
            return;
        }
        self.say_withdrawn(content, reason);
        self.ended.notify_one();
    }

    pub(super) fn say_withdrawn(&self, content: ContentId, reason: &str) {
        let what = self.called(content).unwrap_or_else(|| format!("content {content}"));
        self.screen.say(&format!("Not sharing {what} any more: {reason}"));
        self.screen
            .event(&Event::Withdrawn(json::Withdrawn { content: content.to_string(), reason: reason.to_owned() }));
    }
}
