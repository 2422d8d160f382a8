//! Stopped before it ends by itself: whether that is a failure, and which. No status says that all is there when it is not.

use std::time::{Duration, Instant};

use peer::json::{self, Event};
use protocol::{ContentId, decorated_name};
use settings::Signal;

use crate::error::{ExitCode, Failure};
use crate::flags::end::End;
use crate::session::standstill;
use crate::session::state::{Content, Session};
use crate::ui::results;
use crate::ui::screen::{self, OutputStream};
use crate::ui::sharing::stopped_words;
use crate::ui::signals::{Stop, code};
use crate::ui::standard_output::{self, Loss};

/// How long what is verified has to take its name.
const LAST_STEP: Duration = Duration::from_secs(2);
/// After this long it is said why leaving takes its time.
const LEAVING: Duration = Duration::from_secs(2);
/// Time between two looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Session {
    /// What it means to be stopped: no failure where there was nothing to complete, or where that is complete.
    pub(super) async fn stopped(&self, stop: Stop) -> Result<(), Failure> {
        let (code, cause) = match stop {
            Stop::Exit => (ExitCode::Stopped, "stopped"),
            Stop::Signal(signal @ Signal::Interrupt) => (code(signal), "interrupted"),
            Stop::Signal(signal @ Signal::Terminate) => (code(signal), "told to end"),
            Stop::Signal(signal @ Signal::HangUp) => (code(signal), "the terminal was closed"),
        };
        match self.options.end {
            End::AtWill => return Ok(()),
            End::Never if code == ExitCode::Interrupted => {
                // Who only shares has nothing that is to be kept.
                let kept = if self.pending().is_empty() { "" } else { "; what is verified is kept" };
                return Err(Failure::new(code, format!("interrupted{kept}")));
            }
            End::Never => return Ok(()),
            End::Done | End::Shared { .. } => {}
        }
        if self.is_complete().await? {
            return Ok(());
        }
        let kept = match self.part().await {
            _ if !self.keeps() => "standard output has only a part of it".to_owned(),
            Some(part) => format!("what is verified is kept in {part}{}", self.start_again()),
            None => format!("what is verified is kept{}", self.start_again()),
        };
        Err(Failure::new(code, format!("{cause} before it was complete; {kept}")))
    }

    /// What follows the place where something is kept. By a code it cannot be started again.
    fn start_again(&self) -> &'static str {
        if self.state.borrow().redeemed.is_some() { "" } else { ": start it again to go on" }
    }

    /// How what was begun by a code goes on, as a line below the failure.
    pub(super) fn how_to_go_on(&self) -> Option<String> {
        let ticket = self.state.borrow().redeemed.clone()?;
        Some(format!("The code is used up. To go on, with the same flags: peer-cli get {ticket}"))
    }

    /// Whether what has come of a download stays here for the next start.
    pub(super) fn keeps(&self) -> bool {
        self.options.output_stream == OutputStream::Output
    }

    /// The failure of a download of which nobody has the rest: its share is over, as its sharer has said.
    pub(super) async fn nothing_more_comes(&self, content: ContentId, reason: &str) -> Failure {
        // Its ticket is of no use any more.
        self.state.borrow_mut().redeemed = None;
        let kept = match self.part().await.filter(|_| self.keeps()) {
            Some(part) => format!("; what is here is kept in {part}"),
            None => String::new(),
        };
        let name = self.called(content).unwrap_or_default();
        let over = standstill::after_over(reason);
        let sentence = format!("nothing more of {name} comes. {over} Ask for a new ticket{kept}");
        Failure::new(ExitCode::NobodyHasAPiece, sentence)
    }

    /// Where the one download is that is not complete, if something of it is there.
    async fn part(&self) -> Option<String> {
        let pending = self.pending();
        let [content] = pending[..] else { return None };
        let name = self.node.status(content).await?.name;
        let part = self.options.folder.join(decorated_name(".", &name, ".part"));
        let shown = part.strip_prefix(".").unwrap_or(&part).display().to_string();
        (!name.is_empty() && part.exists()).then_some(shown)
    }

    /// Whether all that was asked for is there. What is verified is given a moment to take its name.
    async fn is_complete(&self) -> Result<bool, Failure> {
        let until = Instant::now() + LAST_STEP;
        loop {
            // What has ended just now, and was not heard of.
            self.look_at_contents()?;
            let (begun, gave_up) = (self.state.borrow().begun, self.state.borrow().gave_up);
            let complete = begun && self.pending().is_empty() && !gave_up;
            if complete || gave_up || !self.is_verified() || Instant::now() >= until {
                return Ok(complete);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether every piece of what is not complete is verified.
    fn is_verified(&self) -> bool {
        let state = self.state.borrow();
        let mut pending = state.contents.values().filter(|content| content.pending);
        state.begun && pending.all(Content::has_all)
    }

    /// Whether every piece of all that has begun so far is verified.
    pub(super) fn has_all(&self) -> bool {
        let contents = &self.state.borrow().contents;
        !contents.is_empty() && contents.values().all(Content::has_all)
    }

    /// A sharer is of use whatever becomes of its words: it says once, elsewhere, that they are lost.
    pub(super) fn say_loss(&self) {
        if self.fails_without_words() {
            return;
        }
        if let Some(Loss::Refused(reason)) = standard_output::lost()
            && !std::mem::replace(&mut self.state.borrow_mut().said_loss, true)
        {
            screen::complain(&format!("standard output takes no more: {reason}. It goes on without"));
        }
    }

    /// Whether nobody may take it for done without what it says: events are what a program waits for, and the last words of a
    /// download are its result.
    fn fails_without_words(&self) -> bool {
        self.screen.is_json() || matches!(self.options.end, End::Done | End::Shared { .. })
    }

    /// Fails if some of its words could not be written, and somebody relies on them.
    pub(super) fn words_arrived(&self) -> Result<(), Failure> {
        self.say_loss();
        match standard_output::lost() {
            Some(Loss::Refused(reason)) if self.fails_without_words() => {
                let what =
                    if self.options.seeder { "what it said" } else { "the download is complete, but what it said" };
                let sentence = format!("standard output takes no more ({reason}): {what} is lost");
                Err(Failure { told: true, ..Failure::new(ExitCode::CannotWrite, sentence) })
            }
            _ => Ok(()),
        }
    }

    /// Leaves the swarm in good order.
    pub(super) async fn goodbye(&self, has_failed: bool) {
        let (mut sent, mut received) = (0, 0);
        let (mut given, mut takers) = self.state.borrow().past.clone();
        let has_shared = self.state.borrow().begun || !self.state.borrow().contents.is_empty();
        for content in self.ids() {
            if let Some(status) = self.node.status(content).await {
                sent += status.sent;
                received += status.received;
                given += status.sent;
                takers.extend(status.participants);
            }
            // Some may have got all of it just now, which the status that was asked for knows.
            self.tell_of_takers_at_end(content);
        }
        let leaving = self.node.shutdown();
        tokio::pin!(leaving);
        if tokio::time::timeout(LEAVING, &mut leaving).await.is_err() {
            self.screen.say("Still leaving: what is verified is written to disk. Another Ctrl-C ends it at once.");
            leaving.await;
        }
        if self.options.original {
            self.screen.say("Exited swarm.");
        }
        self.screen.event(&Event::Bye(json::Bye { sent, received }));
        let to = results::given(given, &takers);
        match self.options.end {
            _ if self.options.original => self.screen.say("Shutdown complete."),
            // What went wrong is the only word of what never began.
            End::AtWill if has_failed && given == 0 => {}
            End::AtWill if has_shared => self.screen.say(&stopped_words(given, &to)),
            End::AtWill => self.screen.say("Stopped before anything was shared."),
            End::Shared { .. } if given > 0 => self.screen.say(&format!("Gave {to}.")),
            End::Never | End::Done | End::Shared { .. } => {}
        }
    }
}
