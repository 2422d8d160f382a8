//! What a session downloads: how it begins, what nobody has of it, and what is said once it is complete.

use std::time::Instant;

use peer::json::{self, Event};
use peer::{Completed, Glob, NameReport, PieceRange, Reader, Status};
use protocol::{ContentId, printable};
use settings::terminal::in_background;

use crate::error::Failure;
use crate::session::find::Found;
use crate::session::patience::{how_long, now};
use crate::session::run::Next;
use crate::session::state::{Content, Handle, Session};
use crate::ui::amounts::amount;
use crate::ui::names::report_words;
use crate::ui::results::result_words;
use crate::ui::screen::OutputStream;

/// Most executable files that are named.
const NAMED: usize = 5;

impl Session {
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

    pub(super) fn lacking(&self, content: ContentId, runs: &[PieceRange]) {
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

    pub(super) fn completed(&self, content: ContentId, completed: &Completed) -> Next {
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn lacking_pieces_are_named_up_to_a_handful() {
        let run = |first, count| PieceRange { first, count };
        assert_eq!(lacking_words(&[run(7, 1)]), "Nobody who is connected has 1 piece: 7");
        assert_eq!(lacking_words(&[run(0, 3), run(9, 1)]), "Nobody who is connected has 4 pieces: 0-2, 9");
        let many: Vec<_> = (0..20).map(|n| run(n * 2, 1)).collect();
        assert_eq!(lacking_words(&many), "Nobody who is connected has 20 pieces: 0, 2, 4, 6, 8, 10, 12, 14, …");
    }
}
