//! What a session shares and downloads: how it begins, what it comes to, and what is said of that.

use std::path::Path;
use std::time::{Duration, Instant};

use peer::json::{self, Event};
use peer::{Completed, Glob, Held, NameReport, PeerError, PieceRange, Reader, Share, ShareBuilder, State, Status};
use protocol::{ContentId, PeerId, Query, Ticket, printable};
use settings::terminal::in_background;

use crate::error::{ExitCode, Failure, failure, share_failure};
use crate::flags::cut::Cut;
use crate::flags::end::End;
use crate::session::find::{Found, Wanted};
use crate::session::gateway::Running;
use crate::session::patience::{how_long, now};
use crate::session::pipe;
use crate::session::run::Next;
use crate::session::sharer::Sharer;
use crate::session::state::{CONNECTING, Content, Handle, Session};
use crate::ui::amounts::amount;
use crate::ui::names::report_words;
use crate::ui::qr;
use crate::ui::results::result_words;
use crate::ui::screen::OutputStream;
use crate::ui::standard_output::{self, Loss};

/// Most executable files that are named.
const NAMED: usize = 5;

impl Session {
    /// The tracker with this id has said welcome.
    pub fn joined(&self, tracker: PeerId) {
        let listeners = self.node.listeners().iter().map(ToString::to_string).collect();
        let id = self.node.id().to_string();
        self.screen.event(&Event::Ready(json::Ready { id, listeners, tracker: tracker.to_string() }));
        self.shows_no_more();
    }

    /// There is no tracker, and what is wanted was found without one.
    pub fn without_tracker(&self) {
        let listeners = self.node.listeners().iter().map(ToString::to_string).collect();
        let id = self.node.id().to_string();
        self.screen.event(&Event::Ready(json::Ready { id, listeners, tracker: String::new() }));
        self.shows_no_more();
    }

    /// Where the tracker is has been found.
    pub fn connects(&self) {
        self.shows(CONNECTING);
    }

    /// A code became this ticket, and is used up.
    pub fn redeemed(&self, ticket: &Ticket) {
        self.state.borrow_mut().redeemed = Some(ticket.to_string());
    }

    /// What is downloaded is what this ticket is for.
    pub fn of_ticket(&self, ticket: &Ticket) {
        self.state.borrow_mut().sharer = Sharer::of(ticket);
    }

    /// Something that people should know, and programs see by what follows.
    pub fn note(&self, sentence: &str) {
        self.screen.say(sentence);
    }

    /// How far something is that takes its time, until [`Self::shows_no_more`].
    pub fn shows(&self, line: &str) {
        self.state.borrow_mut().doing = Some(line.to_owned());
        self.draw();
    }

    /// What was shown has come to its end.
    pub fn shows_no_more(&self) {
        self.state.borrow_mut().doing = None;
        self.draw();
    }

    /// Something is waited for, as the sentence says.
    pub fn waits(&self, sentence: &str) {
        self.waiting_for("", sentence);
    }

    /// Whether somebody at a terminal can type commands.
    pub fn takes_commands(&self) -> bool {
        self.screen.takes_commands
    }

    /// Prints the ticket of a shared content, with its name if there are several. Fails if it cannot be printed,
    /// because then nobody could get the content.
    pub fn ticket(
        &self,
        content: ContentId,
        ticket: &Ticket,
        of_several: Option<&str>,
        draw: bool,
    ) -> Result<(), Failure> {
        let (content, command) = (content.to_string(), format!("peer-cli get {ticket}"));
        let drawn = if draw { qr::lines(&ticket.to_string()) } else { Vec::new() };
        if self.screen.is_terminal() && self.screen.says_words() {
            let heading = match of_several {
                Some(name) => format!("On the other machine, for {name}:"),
                None => "On the other machine:".to_owned(),
            };
            [&heading, "", &format!("    {command}"), ""].iter().for_each(|line| self.screen.answer(line));
            self.screen.picture(&drawn);
        } else {
            self.screen.picture(&drawn);
            // A script takes the line as it is.
            self.screen.answer(&command);
        }
        self.screen.event(&Event::Ticket(json::Ticket { content, ticket: ticket.to_string(), command }));
        match standard_output::lost() {
            Some(Loss::Refused(reason)) => {
                let sentence =
                    format!("the ticket cannot be shown: standard output takes no more: {reason}. Nothing is shared");
                Err(Failure::new(ExitCode::CannotWrite, sentence))
            }
            Some(Loss::ReaderGone) => Err(Failure::unread()),
            None => Ok(()),
        }
    }

    /// What is shared can be had with a code, too, as the line says.
    pub fn code(&self, line: &str, of: &str) {
        match self.screen.is_terminal() && self.screen.says_words() {
            true => [&format!("{line}{}", of.replacen(" for ", "   # ", 1)), ""]
                .iter()
                .for_each(|line| self.screen.answer(line)),
            // Scripts take the last word of the first line as the ticket.
            false => self.screen.say(line),
        }
    }

    /// What is shared or downloaded is served over HTTP as well, if there is a gateway.
    pub fn gateway(&self, gateway: Option<&Running>) {
        let Some(gateway) = gateway else { return };
        gateway.lines().iter().for_each(|line| self.screen.say(line));
        self.screen.event(&gateway.event());
    }

    /// Something that happened, for programs.
    pub fn tell(&self, event: Event) {
        self.screen.event(&event);
    }

    /// What a content is called that is shared or downloaded here.
    pub fn called(&self, content: ContentId) -> Option<String> {
        self.state.borrow().contents.get(&content).map(|content| content.wanted.name.clone())
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
        let wanted = Wanted { name: printable(&status.name), seeders: None };
        let entry = Content::new(Handle::Share(share), wanted, self.began);
        self.state.borrow_mut().contents.insert(content, entry);
        self.shared(content, status);
        content
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

    /// Downloads what was found; of a folder, only what these patterns match, if there are any.
    pub async fn download(&self, found: Found, only: &[Glob]) -> Result<(), Failure> {
        let wanted = found.wanted();
        let Found { content, name, size, asked, secret, .. } = found;
        let part = if only.is_empty() { "" } else { "some files of " };
        // The sharer has not said what it is called, or must not.
        let named = if name.is_empty() { String::new() } else { format!("{name}, {}, ", amount(size)) };
        if self.options.original {
            self.screen.say(&format!("Downloading {part}{named}content id {content}"));
        } else if !self.screen.is_terminal() || in_background() {
            // Where it is drawn, nothing has to be said.
            self.screen.say(&format!("Getting {part}{named}content id {content}"));
        }
        self.state.borrow_mut().wanted_since.get_or_insert_with(Instant::now);
        self.screen.event(&Event::Wanted(json::Wanted { content: content.to_string(), name }));
        if self.state.borrow().contents.contains_key(&content) {
            return Ok(());
        }
        let mut download = self.node.download(content).private(secret).only(only.iter().cloned());
        if let Some(asked) = asked {
            download = download.expect_name(asked);
        }
        if let Some(origin) = &self.options.origin {
            download = download.origin(origin.clone());
        }
        let entry = Content::new(Handle::Download(download.start().await?), wanted, self.began);
        self.state.borrow_mut().contents.insert(content, entry);
        Ok(())
    }

    /// Reads a content from its first byte on, while it comes.
    pub fn read(&self, content: ContentId) -> Option<Reader> {
        self.state.borrow().contents.get(&content).map(|content| match &content.handle {
            Handle::Share(share) => share.read_from(0),
            Handle::Download(download) => download.read_from(0),
        })
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

    fn withdrawn(&self, content: ContentId, reason: &str) {
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

    fn lacking(&self, content: ContentId, runs: &[PieceRange]) {
        if runs.is_empty() {
            self.state.borrow_mut().lacking_since.remove(&content);
        } else {
            self.state.borrow_mut().lacking_since.entry(content).or_insert_with(now);
            let long = how_long(self.options.wait);
            let lacking = if self.options.original { lacking_words(runs) } else { self.lacking_bytes(content, runs) };
            // Of a share that is over, and of a sharer who is gone, it is said in a moment what is waited for.
            let is_over = self.state.borrow().contents.get(&content).is_some_and(|entry| entry.over.is_some());
            if !is_over && !self.lacks_sharer(content) {
                self.screen.say(&format!("{lacking}; waiting for someone who does, {long}."));
            }
        }
        let pieces = runs.iter().map(|run| [run.first, run.count]).collect();
        self.screen.event(&Event::Lacking(json::Lacking { content: content.to_string(), pieces }));
    }

    /// Whether nobody is connected who has any of a content, and it is the sharer who is missed.
    fn lacks_sharer(&self, content: ContentId) -> bool {
        let state = self.state.borrow();
        let is_alone = state.contents.get(&content).is_some_and(|entry| entry.status.borrow().peers == 0);
        is_alone && state.sharer.is_some()
    }

    /// How much nobody has: nobody counts in pieces who was not told of them.
    fn lacking_bytes(&self, content: ContentId, runs: &[PieceRange]) -> String {
        let status = self.state.borrow().contents.get(&content).map(|entry| entry.status.borrow().clone());
        let Status { size, pieces, .. } = status.unwrap_or_default();
        let lacking: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
        let bytes = (u128::from(size) * u128::from(lacking)).checked_div(pieces.into()).unwrap_or(0) as u64;
        format!("Nobody who is connected has the missing {}", amount(bytes.min(size)))
    }

    fn completed(&self, content: ContentId, completed: &Completed) -> Next {
        let Completed { path, stats, .. } = completed;
        let to_stdout = self.options.output_stream == OutputStream::Errors;
        let to = if to_stdout { "standard output".to_owned() } else { path.display().to_string() };
        let status = self.state.borrow().contents.get(&content).map(|entry| entry.status.borrow().clone());
        let status = status.unwrap_or_default();
        // Its row goes, and comes back as one that stays.
        self.draw();
        self.keep_row(&status, stats.durable);
        if self.options.original {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            self.screen.say(&format!("Successfully Downloaded {file} to {to}"));
        }
        if !to_stdout && let Some(words) = executable_words(&stats.executable) {
            self.screen.say(&words);
        }
        self.names(content, &stats.names);
        if !self.options.original {
            let words = result_words(&status, stats.durable, &to, |peer| self.name_of(peer));
            words.iter().for_each(|line| self.screen.say(line));
        }
        let mut event = Event::completed(content, completed);
        if let Event::Completed(json::Completed { path, limiter, .. }) = &mut event {
            *limiter = self.bottleneck().map_or("", |(bottleneck, _, _)| bottleneck.name()).into();
            if to_stdout {
                *path = "-".to_owned();
            }
        }
        self.screen.event(&event);
        self.end_if_done()
    }

    /// Says what was done about names, unless nobody sees them.
    fn names(&self, content: ContentId, report: &NameReport) {
        if report.is_empty() || self.options.output_stream == OutputStream::Errors {
            return;
        }
        report_words(report).iter().for_each(|line| self.screen.say(line));
        self.screen.event(&Event::Names(json::Names {
            content: content.to_string(),
            skipped: report.skipped.clone(),
            renamed: report.renamed.iter().map(|(own, here)| [own.clone(), here.clone()]).collect(),
            unprintable: report.unprintable.clone(),
        }));
    }

    fn end_if_done(&self) -> Next {
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

/// Which pieces nobody has, at most a handful of them by number.
fn lacking_words(runs: &[PieceRange]) -> String {
    let total: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
    let name = |run: &PieceRange| match run.count {
        1 => run.first.to_string(),
        count => format!("{}-{}", run.first, u64::from(run.first) + u64::from(count) - 1),
    };
    let named: Vec<_> = runs.iter().take(8).map(name).collect();
    let more = if runs.len() > 8 { ", …" } else { "" };
    let pieces = if total == 1 { "piece" } else { "pieces" };
    format!("Nobody who is connected has {total} {pieces}: {}{more}", named.join(", "))
}

/// Which files may be executed, at most a handful of them by name; nothing if none may.
fn executable_words(files: &[String]) -> Option<String> {
    let named = files.iter().take(NAMED).map(|file| printable(file)).collect::<Vec<_>>().join(", ");
    match files.len() {
        0 => None,
        1 => Some(format!("{named} may be executed.")),
        count if count <= NAMED => Some(format!("{count} files may be executed: {named}.")),
        count => Some(format!("{count} files may be executed: {named} and {} more.", count - NAMED)),
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
    use std::sync::Arc;

    use protocol::PeerAddress;
    use tokio::sync::mpsc;
    use transport::{Identity, Kind, MemoryNetwork};

    use super::*;
    use crate::session::SessionOptions;
    use crate::ui::screen::{Screen, Verbosity};

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
        let found = Found { content, name: String::new(), size: 0, asked: None, seeders: None, secret: None };
        getter.download(found, &[]).await.unwrap();
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
    fn executable_files_are_named_up_to_a_handful() {
        let words = |count| executable_words(&(0..count).map(|n| format!("{n}\n.sh")).collect::<Vec<_>>());
        assert_eq!(words(0), None);
        assert_eq!(words(1).unwrap(), r"0\u{a}.sh may be executed.");
        assert_eq!(words(2).unwrap(), r"2 files may be executed: 0\u{a}.sh, 1\u{a}.sh.");
        let many = words(100).unwrap();
        assert!(many.starts_with("100 files may be executed: 0") && many.ends_with(" and 95 more."), "{many}");
    }

    #[test]
    fn for_ever_is_said_in_words() {
        assert_eq!(sharing_on(Duration::MAX), "Sharing it on until told to stop.");
        assert_eq!(sharing_on(Duration::from_secs(5400)), "Sharing it on for 1h 30m.");
    }

    #[test]
    fn lacking_pieces_are_named_up_to_a_handful() {
        let run = |first, count| PieceRange { first, count };
        assert_eq!(lacking_words(&[run(7, 1)]), "Nobody who is connected has 1 piece: 7");
        assert_eq!(lacking_words(&[run(0, 3), run(9, 1)]), "Nobody who is connected has 4 pieces: 0-2, 9");
        let many: Vec<_> = (0..20).map(|n| run(n * 2, 1)).collect();
        assert_eq!(lacking_words(&many), "Nobody who is connected has 20 pieces: 0, 2, 4, 6, 8, 10, 12, 14, …");
    }
}
