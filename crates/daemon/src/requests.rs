//! What a service does when somebody asks for something.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use peer::{Glob, Ticket, redacted};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::content::Run;
use crate::control::{Answer, Answering, ContentStatus, Doing, ErrorCode, Kind, RateLimit, RateWord, Request, Which};
use crate::nodes::MOST_OTHERS;
use crate::origin::{NO_URLS, is_url};
use crate::running::Running;
use crate::service::{Inner, Service};
use crate::state::{MOST_CONTENTS, SavedContent, StateError};

/// While something is hashed, its client hears of it this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How long a content that is removed or paused may take to close its files before that is answered.
const CLOSED: Duration = Duration::from_secs(5);

/// Longest path, in bytes: it has to fit into a line together with everything else, however it is escaped.
const LONGEST_PATH: usize = 8 << 10;
/// A message lists at most this many names, and at most this many characters of each.
const MOST_NAMED: usize = 10;
const LONGEST_NAMED: usize = 100;

/// What cannot be done.
struct RequestError(ErrorCode, String);

impl From<StateError> for RequestError {
    fn from(error: StateError) -> Self {
        let sentence =
            format!("done, but not saved, so a restart would forget it: {error}. Make room and repeat the command");
        RequestError(ErrorCode::CannotWrite, sentence)
    }
}

impl Answering for Service {
    async fn answer(self: Arc<Self>, request: Request, answers: mpsc::Sender<Answer>) {
        let done = match request {
            Request::Add { what, folder, force, only } => self.add(&what, folder, (force, only), &answers).await,
            Request::Remove { which } => self.remove(&which, &answers).await,
            Request::Pause { which } => self.pause(&which, true, &answers).await,
            Request::Resume { which } => self.pause(&which, false, &answers).await,
            Request::Prioritise { which } => self.prioritise(&which, &answers).await,
            Request::Limit { up, down } => self.limit(up, down).await,
            Request::Status {} => {
                let told = self.tell(self.contents(), &answers).await;
                let note = |reason| format!("what has changed would be forgotten at a restart: {reason}. Make room");
                told.map(|(count, _)| (count, self.unwritten().map(note).unwrap_or_default()))
            }
            Request::Reload {} => {
                self.reload().await.map(|()| (0, String::new())).map_err(|error| RequestError(ErrorCode::Usage, error))
            }
        };
        let last = match done {
            Ok((contents, note)) => {
                let (up, down) = self.inner().limits();
                Answer::Done { contents, up: up.unwrap_or(0), down: down.unwrap_or(0), note }
            }
            Err(RequestError(code, message)) => Answer::Error { code, message },
        };
        let _ = answers.send(last).await;
    }
}

fn usage(sentence: impl Display) -> RequestError {
    RequestError(ErrorCode::Usage, sentence.to_string())
}

/// A content that was added, or was there.
struct Added {
    number: u64,
    view: watch::Receiver<ContentStatus>,
    is_new: bool,
    /// Whether anything is to be written.
    changes: bool,
    /// Whether it stood still for an error.
    had_failed: bool,
}

/// How many contents a request concerned, and what to say besides.
type Answered<T = (u64, String)> = Result<T, RequestError>;

impl Service {
    async fn tell(&self, contents: Vec<ContentStatus>, answers: &mpsc::Sender<Answer>) -> Answered {
        let count = contents.len() as u64;
        for content in contents {
            if answers.send(Answer::Content(content)).await.is_err() {
                break;
            }
        }
        Ok((count, String::new()))
    }

    async fn add(
        &self,
        what: &str,
        folder: Option<String>,
        (force, only): (bool, Vec<String>),
        answers: &mpsc::Sender<Answer>,
    ) -> Answered {
        let names_folder = folder.is_some();
        let mut note = String::new();
        let saved = match Ticket::find(what) {
            Some(ticket) => {
                let ticket = ticket.map_err(usage)?;
                note = self.note_of(&ticket);
                self.download(&ticket, folder, (force, only))?
            }
            None if names_folder || force || !only.is_empty() => {
                return Err(usage("`folder`, `only` and `force` are for downloads only"));
            }
            None if is_url(what) => self.share_url(what)?,
            None => share(Path::new(what)).await?,
        };
        let added = self.put(saved, names_folder)?;
        match added.changes {
            true => self.save().await?,
            // It may be there, and not be written yet.
            false => self.save_what_is_left().await?,
        }
        let Added { number, mut view, is_new, had_failed, .. } = added;
        if had_failed || (is_new && !note.is_empty()) {
            // It is tried again, or found to be here.
            let _ = timeout(SIGN_OF_LIFE, view.changed()).await;
        }
        let is_share = view.borrow().kind == Kind::Share;
        self.follow(number, view, answers).await;
        let there = if is_new { note } else { "it is there already".to_owned() };
        let silent = if is_share { self.nodes.home().silence.borrow().clone() } else { String::new() };
        let notes: Vec<_> = [there, silent].into_iter().filter(|note| !note.is_empty()).collect();
        Ok((1, notes.join("; ")))
    }

    /// What is to be said of a ticket that is new here.
    fn note_of(&self, ticket: &Ticket) -> String {
        let id = ticket.content().map(|content| content.to_string());
        let same = |other: &Running| Some(&other.view.borrow().content) == id.as_ref();
        let same = self.inner().contents.iter().find(|other| same(other)).map(|other| other.saved.number);
        match same {
            Some(number) => format!("it is the same content as number {number}"),
            None if self.nodes.lacks_room_for(ticket) => {
                format!("it waits: tickets of {MOST_OTHERS} trackers at a time are the most, and so many are in use")
            }
            None => String::new(),
        }
    }

    /// What is at a URL, to be shared.
    fn share_url(&self, url: &str) -> Answered<SavedContent> {
        if self.nodes.open_url.is_none() {
            return Err(usage(NO_URLS));
        }
        if url.len() > LONGEST_PATH || url.chars().any(char::is_control) {
            return Err(usage("it is too long for a URL, or has characters that no URL has"));
        }
        if let Some(check) = &self.nodes.check_url {
            check(url).map_err(usage)?;
        }
        Ok(SavedContent { kind: Kind::Share, path: url.to_owned(), ..SavedContent::default() })
    }

    /// What a ticket is of, to be downloaded.
    fn download(
        &self,
        ticket: &Ticket,
        folder: Option<String>,
        (force, only): (bool, Vec<String>),
    ) -> Answered<SavedContent> {
        let folder = folder.map_or_else(|| self.downloads.clone(), PathBuf::from);
        let path = absolute(&folder)?;
        for glob in &only {
            glob.parse::<Glob>().map_err(usage)?;
        }
        Ok(SavedContent {
            kind: Kind::Download,
            path,
            ticket: ticket.to_string(),
            content: ticket.content().map(|content| content.to_string()).unwrap_or_default(),
            force,
            only,
            ..SavedContent::default()
        })
    }

    /// Puts a content among the others, or has the one that is there go on.
    fn put(&self, mut saved: SavedContent, names_folder: bool) -> Answered<Added> {
        let mut inner = self.inner();
        let same = |other: &Running| match saved.kind {
            Kind::Share => other.saved.kind == Kind::Share && other.saved.path == saved.path,
            Kind::Download => other.saved.ticket == saved.ticket && other.saved.only == saved.only,
        };
        if let Some(there) = inner.contents.iter_mut().find(|other| same(other)) {
            let number = there.saved.number;
            if names_folder && there.saved.path != saved.path {
                let path = &there.saved.path;
                return Err(usage(format_args!(
                    "number {number} downloads it into {path} already: `peer-cli rm {number}` first, then add it again"
                )));
            }
            let before = there.saved.clone();
            there.saved.paused = false;
            if saved.force {
                there.replace_different();
            }
            let changes = there.saved != before;
            let mut view = there.view.clone();
            let had_failed = view.borrow_and_update().state == Doing::Failed;
            there.go_on();
            inner.look_at_queue();
            return Ok(Added { number, view, is_new: false, changes, had_failed });
        }
        if inner.contents.len() >= MOST_CONTENTS {
            let sentence = format!("{MOST_CONTENTS} contents are the most: remove some, or share a folder of them");
            return Err(RequestError(ErrorCode::Refused, sentence));
        }
        let number = inner.next;
        saved.number = number;
        inner.next += 1;
        let running = self.begin(saved);
        let view = running.view.clone();
        inner.contents.push(running);
        inner.look_at_queue();
        Ok(Added { number, view, is_new: true, changes: true, had_failed: false })
    }

    /// Says how a content that was added stands until it is known what it is, and at least each second.
    async fn follow(&self, number: u64, mut view: watch::Receiver<ContentStatus>, answers: &mpsc::Sender<Answer>) {
        loop {
            let now = view.borrow_and_update().clone();
            let is_begun = match (now.kind, now.state) {
                (Kind::Download, _) => true,
                (Kind::Share, Doing::Hashing) => false,
                (Kind::Share, Doing::Waiting) => !now.reason.is_empty(),
                // It may have been told to go on just now.
                (Kind::Share, Doing::Paused) => self.inner().is_paused(number),
                (Kind::Share, _) => true,
            };
            // A client that has left does not end what it began.
            if answers.send(Answer::Content(now)).await.is_err() || is_begun {
                return;
            }
            if let Ok(Err(_)) = timeout(SIGN_OF_LIFE, view.changed()).await {
                // It was removed meanwhile.
                return;
            }
        }
    }

    async fn remove(&self, which: &Which, answers: &mpsc::Sender<Answer>) -> Answered {
        let removed: Vec<_> = {
            let mut inner = self.inner();
            let numbers = inner.meant(which)?;
            let all = std::mem::take(&mut inner.contents);
            let (removed, rest) = all.into_iter().partition(|content| numbers.contains(&content.saved.number));
            inner.contents = rest;
            removed
        };
        let count = removed.len() as u64;
        for content in &removed {
            content.wish.send_modify(|wish| wish.run = Run::Remove);
        }
        self.inner().look_at_queue();
        self.save().await?;
        let deadline = Instant::now() + CLOSED;
        let mut notes = Vec::new();
        let mut are_closed = true;
        for content in removed {
            let last = content.view.borrow().clone();
            are_closed &= timeout_at(deadline, content.task).await.is_ok();
            let is_here = !content.saved.complete.is_empty() || last.state == Doing::Sharing;
            // What was paused at the start has no pieces yet.
            if last.kind == Kind::Download && !is_here && !last.name.is_empty() {
                let sentence = format!("the unfinished data of {} stays in {}, as .part files", last.name, last.path);
                notes.extend((notes.len() < MOST_NAMED).then_some(sentence));
            }
            let _ = answers.send(Answer::Content(last)).await;
        }
        if !are_closed {
            notes.push("some files are still being closed".to_owned());
        }
        Ok((count, notes.join("; ")))
    }

    async fn pause(&self, which: &Which, pause: bool, answers: &mpsc::Sender<Answer>) -> Answered {
        let (count, views) = {
            let mut inner = self.inner();
            let numbers = inner.meant(which)?;
            let mut views = Vec::new();
            for content in inner.contents.iter_mut().filter(|content| numbers.contains(&content.saved.number)) {
                content.saved.paused = pause;
                if !pause {
                    content.go_on();
                }
                views.push(content.view.clone());
            }
            inner.look_at_queue();
            (numbers.len() as u64, views)
        };
        self.save().await?;
        let deadline = Instant::now() + CLOSED;
        let mut are_closed = true;
        for mut view in views {
            // What is paused is answered once it stands still; what goes on shows how far it is later.
            let stands = view.wait_for(|view| !pause || view.state == Doing::Paused);
            are_closed &= timeout_at(deadline, stands).await.is_ok();
            let now = view.borrow().clone();
            let _ = answers.send(Answer::Content(now)).await;
        }
        Ok((count, if are_closed { String::new() } else { "some files are still being closed".to_owned() }))
    }

    async fn prioritise(&self, which: &Which, answers: &mpsc::Sender<Answer>) -> Answered {
        let (views, shares) = {
            let mut inner = self.inner();
            let meant = inner.meant(which)?;
            let is_share = |number: &u64| {
                let mut contents = inner.contents.iter();
                contents.any(|content| content.saved.number == *number && content.saved.kind == Kind::Share)
            };
            let (shares, downloads): (Vec<u64>, Vec<u64>) = meant.into_iter().partition(is_share);
            // In the order in which they were named.
            inner.contents.sort_by_key(|content| {
                downloads.iter().position(|number| *number == content.saved.number).unwrap_or(usize::MAX)
            });
            inner.look_at_queue();
            let moved = &inner.contents[..downloads.len()];
            let views: Vec<_> = moved.iter().map(|content| content.view.borrow().clone()).collect();
            (views, shares.len())
        };
        let note = match (shares, views.len()) {
            (0, _) => "",
            (_, 0) => "shares have no order; nothing changed",
            _ => "shares have no order; the downloads alone go first",
        };
        self.save().await?;
        let (count, _) = self.tell(views, answers).await?;
        Ok((count, note.to_owned()))
    }

    async fn limit(&self, up: Option<RateLimit>, down: Option<RateLimit>) -> Answered {
        {
            let mut inner = self.inner();
            (inner.up, inner.down) = (limit_after(inner.up, up), limit_after(inner.down, down));
        }
        self.apply_limits().await;
        self.save().await?;
        Ok((0, String::new()))
    }
}

/// What holds in place of a setting, of what did and what is asked for now; nothing if the setting holds.
fn limit_after(before: Option<u64>, asked: Option<RateLimit>) -> Option<u64> {
    match asked {
        None => before,
        Some(RateLimit::Rate(rate)) => Some(rate),
        Some(RateLimit::Word(RateWord::Default)) => None,
    }
}

/// What lies at a path, to be shared.
async fn share(what: &Path) -> Answered<SavedContent> {
    let path = absolute(what)?;
    let at = path.clone();
    let seen = tokio::task::spawn_blocking(move || std::fs::metadata(at)).await;
    if let Ok(Err(error)) = seen {
        let sentence =
            format!("the daemon cannot share {path}: {error}. It is a process of its own, and may run as another user");
        return Err(RequestError(ErrorCode::NotFound, sentence));
    }
    Ok(SavedContent { kind: Kind::Share, path, ..SavedContent::default() })
}

impl Inner {
    fn is_paused(&self, number: u64) -> bool {
        self.contents.iter().any(|content| content.saved.number == number && content.saved.paused)
    }

    /// The numbers of the contents that are meant, each once, in the order in which they were named.
    fn meant(&self, which: &Which) -> Answered<Vec<u64>> {
        let names = match which {
            Which::All => return Ok(self.contents.iter().map(|content| content.saved.number).collect()),
            Which::These(names) => names,
        };
        let mut numbers = Vec::new();
        for name in names {
            let number = name.parse::<u64>().ok();
            let by_number = self.contents.iter().filter(|content| Some(content.saved.number) == number);
            let mut found: Vec<_> = by_number.map(|content| content.saved.number).collect();
            for finds in [Running::is_called as fn(&Running, &str) -> bool, Running::begins_with] {
                if found.is_empty() {
                    let matching = self.contents.iter().filter(|content| finds(content, name));
                    found = matching.map(|content| content.saved.number).collect();
                }
            }
            match found[..] {
                [number] if numbers.contains(&number) => {}
                [number] => numbers.push(number),
                [] => {
                    let name = if is_url(name) { shortened(&redacted(name)) } else { shortened(name) };
                    let sentence = format!("the daemon has no content {name:?}: `peer-cli status` lists them");
                    return Err(RequestError(ErrorCode::NotFound, sentence));
                }
                _ => {
                    let name = shortened(name);
                    let sentence = format!("{name:?} may be any of the numbers {}: give one of those", listed(&found));
                    return Err(RequestError(ErrorCode::Usage, sentence));
                }
            }
        }
        if numbers.is_empty() {
            return Err(RequestError(ErrorCode::Usage, "no content is named".to_owned()));
        }
        Ok(numbers)
    }
}

/// The first numbers, and how many more there are.
fn listed(numbers: &[u64]) -> String {
    let named: Vec<_> = numbers.iter().take(MOST_NAMED).map(u64::to_string).collect();
    let more = numbers.len() - named.len();
    let named = named.join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

fn shortened(name: &str) -> String {
    let mut short: String = name.chars().take(LONGEST_NAMED).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    short
}

/// The path as text, which the state and the protocol have it as: each spelled in one way, without a separator at its end.
fn absolute(path: &Path) -> Answered<String> {
    if !path.is_absolute() {
        return Err(usage(format_args!("{} is no ticket, and no absolute path", path.display())));
    }
    let path: PathBuf = path.components().collect();
    let text = path.to_str().ok_or_else(|| usage("the path is not Unicode: rename it, or share its folder"))?;
    if text.len() > LONGEST_PATH {
        return Err(usage(format_args!("the path is longer than {LONGEST_PATH} bytes: name a shorter one")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_about_many_contents_fits_into_a_line() {
        let numbers: Vec<u64> = (1..=20_000).collect();
        assert_eq!(listed(&numbers), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 19990 more");
        assert_eq!(listed(&numbers[..2]), "1, 2");
        assert_eq!(shortened(&"\u{1}".repeat(60_000)).chars().count(), LONGEST_NAMED + 1);
        assert_eq!(shortened("größer"), "größer");
    }
}
