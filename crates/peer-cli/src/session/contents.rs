//! What a session shares and downloads, together: what each content has come to, and when all is done.

use std::time::{Duration, Instant};

use peer::State;
use protocol::ContentId;

use crate::error::{ExitCode, Failure, failure};
use crate::flags::end::End;
use crate::session::pipe;
use crate::session::run::Next;
use crate::session::state::Session;

impl Session {
    /// What a content is called that is shared or downloaded here.
    pub fn called(&self, content: ContentId) -> Option<String> {
        self.state.borrow().contents.get(&content).map(|content| content.wanted.name.clone())
    }

    /// What is shared is not shared any more: the session ends.
    pub fn over(&self) {
        self.state.borrow_mut().unread = true;
    }

    /// Nobody reads any more what is written to standard output: the session ends.
    pub fn unread(&self) {
        self.state.borrow_mut().unread = true;
    }

    /// There may be nothing to share at first: files will come.
    pub fn waits_for_files(&self) {
        self.state.borrow_mut().waits_for_files = true;
    }

    /// Everything that was asked for has begun.
    pub fn begun(&self) -> Result<(), Failure> {
        if self.state.borrow().contents.is_empty() && !self.state.borrow().waits_for_files {
            return Err(Failure::new(ExitCode::Other, "nothing could be shared"));
        }
        self.state.borrow_mut().begun = true;
        Ok(())
    }

    /// What the command is for has been done.
    pub(super) fn worked(&self) -> Result<Next, Failure> {
        if self.state.borrow().unread {
            return Ok(Next::End);
        }
        self.begun()?;
        Ok(self.end_if_done())
    }

    /// What contents have come to, but for what was said before.
    pub(super) fn look_at_contents(&self) -> Result<Next, Failure> {
        for content in self.ids() {
            if let Next::End = self.look_at_content(content)? {
                return Ok(Next::End);
            }
        }
        Ok(Next::GoOn)
    }

    fn look_at_content(&self, content: ContentId) -> Result<Next, Failure> {
        let (status, lacking, completed) = {
            let mut state = self.state.borrow_mut();
            let Some(entry) = state.contents.get_mut(&content) else { return Ok(Next::GoOn) };
            let status = entry.status.borrow_and_update().clone();
            let lacking = (entry.lacking != status.lacking).then(|| status.lacking.clone());
            entry.lacking.clone_from(&status.lacking);
            let completed = status.completed.clone().filter(|_| std::mem::take(&mut entry.pending));
            (status, lacking, completed)
        };
        if let Some(lacking) = lacking {
            self.lacking(content, &lacking);
        }
        let mut next = Next::GoOn;
        if let Some(completed) = completed {
            next = self.completed(content, &completed);
        }
        match &status.state {
            State::Failed(error) if !self.keeps() => return Err(pipe::of_temporary(error)),
            State::Failed(error) => return Err(failure(error)),
            State::Withdrawn(reason) => self.withdrawn(content, reason),
            _ => {}
        }
        Ok(next)
    }

    /// Waits until something is not shared any more.
    pub async fn next_end(&self) {
        self.ended.notified().await;
    }

    /// Whether a content is shared or downloaded here still.
    pub fn is_here(&self, content: ContentId) -> bool {
        self.state.borrow().contents.get(&content).is_some_and(|content| !content.said_withdrawn)
    }

    pub(super) fn end_if_done(&self) -> Next {
        if !self.state.borrow().begun || !self.pending().is_empty() {
            return Next::GoOn;
        }
        let is_new = self.state.borrow().done_since.is_none();
        if let End::Shared { time: Some(time), .. } = self.options.end
            && is_new
        {
            self.screen.say(&sharing_on(time));
        }
        self.state.borrow_mut().done_since.get_or_insert_with(Instant::now);
        if self.options.end == End::Done { Next::End } else { Next::GoOn }
    }
}

/// For how long what is complete is shared on.
fn sharing_on(time: Duration) -> String {
    if time == Duration::MAX {
        return "Sharing it on until told to stop.".to_owned();
    }
    format!("Sharing it on for {}.", humantime::format_duration(time))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use protocol::PeerAddress;
    use tokio::sync::mpsc;
    use transport::{Identity, Kind, MemoryNetwork};

    use super::*;
    use crate::session::SessionOptions;
    use crate::session::find::Found;
    use crate::session::state::CONNECTING;
    use crate::ui::screen::{OutputStream, Screen, Verbosity};

    /// A peer that says nothing, in a world of its own.
    fn session(network: &MemoryNetwork, folder: &Path, end: End) -> Session {
        let identity = Identity::generate().unwrap();
        let transport = Arc::new(network.bind(&identity, vec!["127.0.0.1:0".parse().unwrap()]).unwrap());
        let node = peer::Node::builder(transport).hashes(folder.join("hashes")).output(folder.join("output")).start();
        let (strict, wait, transport) = (true, None, Kind::Auto);
        let folder = folder.join("output");
        let options = SessionOptions {
            seeder: false,
            original: false,
            own_tracker: false,
            strict,
            end,
            wait,
            transport,
            folder,
            output_stream: OutputStream::Output,
            first: CONNECTING,
            origin: None,
            named_origins: None,
        };
        let verbosity = Verbosity { words: false, progress: false };
        Session::new(node, options, Screen::plain(OutputStream::Output, verbosity))
    }

    /// The end of a download was once lost among a thousand other events, and the program waited for ever.
    #[tokio::test]
    async fn a_download_that_ends_while_a_thousand_events_are_missed_has_ended() {
        let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
        let seeder = session(&network, &folder.path().join("seeder"), End::Never);
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 5000]).unwrap();
        let content = seeder.node.share(&path).await.unwrap().content();
        let getter = session(&network, &folder.path().join("getter"), End::Done);
        let events = getter.node.events();
        getter.download(Found::untold(content, None), &[]).await.unwrap();
        let addresses = seeder.node.listeners().to_vec();
        getter.node.add_peer(content, PeerAddress { id: seeder.node.id(), addresses }).await.unwrap();
        while getter.node.status(content).await.is_some_and(|status| !status.is_complete()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Whatever is hashed is an event.
        let other = folder.path().join("other");
        for number in 0..1500u32 {
            std::fs::write(&other, number.to_le_bytes()).unwrap();
            // What was just written is waited for.
            let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
            std::fs::File::options().write(true).open(&other).unwrap().set_modified(hour_ago).unwrap();
            getter.node.share(&other).await.unwrap();
        }
        let (_keep, typed) = mpsc::channel(1);
        assert!(getter.life(events, typed, async |_: &Session| Ok(())).await.unwrap().is_none());
        assert!(getter.pending().is_empty());
        seeder.node.shutdown().await;
    }

    #[test]
    fn for_ever_is_said_in_words() {
        assert_eq!(sharing_on(Duration::MAX), "Sharing it on until told to stop.");
        assert_eq!(sharing_on(Duration::from_secs(5400)), "Sharing it on for 1h 30m.");
    }
}
