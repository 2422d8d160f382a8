//! What a session says of itself, to people in sentences and to programs in events: that it is ready, what it waits for, and the tickets
//! and codes that it has.

use peer::json::{self, Event};
use protocol::{ContentId, PeerId, Ticket};

use crate::error::{ExitCode, Failure};
use crate::session::gateway::Running;
use crate::session::sharer::Sharer;
use crate::session::state::{CONNECTING, Session};
use crate::ui::qr;
use crate::ui::standard_output::{self, Loss};

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
}
