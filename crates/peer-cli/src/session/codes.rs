//! Codes in place of tickets: what a sharer is told of those it offers.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use peer::json::{self, Event};
use peer::{Code, CodeEvent, CodeOffer, CodeOptions, Moment, NoCode, Node, TrackerAddress};
use protocol::{ContentId, Ticket, printable};
use tokio::time::timeout;

use crate::session::Session;
use crate::session::patience::shown;

/// Contents that have a code: who shares more hands out tickets.
const MOST: usize = 16;
/// The first code of a content is to be said with its ticket, if it comes in this time.
const FIRST: Duration = Duration::from_secs(2);

/// What a getter types before a code.
#[derive(Debug, PartialEq, Eq)]
pub struct CodeCommand {
    /// As `peer-cli get -i 203.0.113.7`.
    pub words: String,
    /// Whether it leads here from this network alone.
    pub near: bool,
}

/// The codes of a run.
pub struct Codes {
    node: Node,
    place: TrackerAddress,
    command: CodeCommand,
    options: CodeOptions,
    offers: Vec<Offered>,
    /// Contents whose ticket was just said, and no code for it yet.
    fresh: Vec<ContentId>,
    /// It is said once that there are no codes.
    none: bool,
}

/// The codes of one content, one after another.
struct Offered {
    content: ContentId,
    offer: CodeOffer,
    /// The one that is good now.
    good: Option<Good>,
}

/// A code that is good, since when and for how long.
struct Good {
    code: Code,
    since: Moment,
    life: Duration,
}

impl Codes {
    /// Codes at this tracker, which a getter reaches by this command.
    pub fn new(node: Node, place: TrackerAddress, command: CodeCommand, options: CodeOptions) -> Self {
        Codes { node, place, command, options, offers: Vec::new(), fresh: Vec::new(), none: false }
    }

    /// What a getter types before the code, from now on.
    pub fn set_command(&mut self, command: CodeCommand) {
        self.command = command;
    }

    /// Offers codes for a content's ticket. Says the first one, unless that takes a while. Where the content had a ticket before, its codes
    /// stay, and get this one; the code that is good is said again.
    pub async fn offer(&mut self, session: &Session, content: ContentId, ticket: Ticket) {
        if let Some(offered) = self.offers.iter().find(|offered| offered.content == content) {
            offered.offer.set_ticket(ticket);
            return self.say_again(session, offered);
        }
        if self.none || self.offers.len() >= MOST {
            return;
        }
        let offer = self.node.offer_code(self.place.clone(), ticket, self.options.clone());
        self.offers.push(Offered { content, offer, good: None });
        self.fresh.push(content);
        if let Ok((content, event)) = timeout(FIRST, self.next()).await {
            self.say(session, content, event);
        }
    }

    /// What is not shared any more has no code: its number is free for others.
    pub fn withdraw(&mut self, session: &Session, content: ContentId) {
        self.fresh.retain(|fresh| *fresh != content);
        let Some(known) = self.offers.iter().position(|offered| offered.content == content) else { return };
        if let Some(Good { code, .. }) = self.offers.swap_remove(known).good {
            self.over(session, content, code, "withdrawn", format!("The code {code} is void, too."));
        }
    }

    /// What becomes of a code next.
    pub async fn next(&mut self) -> (ContentId, CodeEvent) {
        poll_fn(|context| {
            for Offered { content, offer, .. } in &mut self.offers {
                // No more comes of one whose codes are over.
                if let Poll::Ready(Some(event)) = pin!(offer.next()).poll(context) {
                    return Poll::Ready((*content, event));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Says what has become of a code.
    pub fn say(&mut self, session: &Session, content: ContentId, event: CodeEvent) {
        // Of one that was withdrawn.
        let Some(offered) = self.offers.iter_mut().find(|offered| offered.content == content) else { return };
        offered.good = match event {
            CodeEvent::New { code, life } => Some(Good { code, since: Moment::now(), life }),
            _ => None,
        };
        let of = self.of(session, content);
        match event {
            CodeEvent::New { code, life } => {
                let fresh = self.fresh.iter().position(|fresh| *fresh == content);
                let beginning = fresh.map_or("A new code", |fresh| {
                    self.fresh.swap_remove(fresh);
                    "Or"
                });
                self.say_code(session, content, code, (beginning, life));
            }
            CodeEvent::Used { code, from, last, .. } => {
                let who = from.ip().to_canonical();
                let next = if last { "" } else { " A new one follows." };
                self.over(session, content, code, "used", format!("The code {code}{of} was used by {who}.{next}"));
            }
            CodeEvent::Burnt { code, mut from, wait } => {
                from.sort();
                from.dedup_by_key(|from| from.ip());
                let from: Vec<_> = from.iter().map(|from| from.ip().to_string()).collect();
                let next = follows(wait);
                let sentence = format!(
                    "Someone has tried three wrong codes (from {}). The code {code}{of} is void. {next} The ticket above still works.",
                    from.join(", ")
                );
                self.over(session, content, code, "burnt", sentence);
            }
            CodeEvent::Lost { code, wait } => {
                let next = follows(wait);
                let sentence = format!(
                    "The tracker has given the number of {code}{of} to somebody else. {next} The ticket above still works."
                );
                self.over(session, content, code, "lost", sentence);
            }
            CodeEvent::Expired { code } => {
                let sentence = format!("The code {code}{of} has expired. The ticket above still works.");
                self.over(session, content, code, "expired", sentence);
            }
            // What is so of the tracker is said once.
            CodeEvent::None(reason) if !self.none => {
                self.none = reason != NoCode::Guessed;
                session.note(&format!("There is no code: {reason}. The ticket above works all the same."));
            }
            _ => {}
        }
    }

    /// What a code is of, where there are several.
    fn of(&self, session: &Session, content: ContentId) -> String {
        match self.offers.len() {
            0 | 1 => String::new(),
            _ => session.called(content).map_or_else(String::new, |name| format!(" for {}", printable(&name))),
        }
    }

    /// Says that a code is good, and for how long.
    fn say_code(&self, session: &Session, content: ContentId, code: Code, (beginning, life): (&str, Duration)) {
        let command = format!("{} {code}", self.command.words);
        let from_where = if self.command.near { ", on this network" } else { "" };
        let line = format!("{beginning}{from_where}, for {}: {command}", words(life));
        session.code(&line, &self.of(session, content));
        let (content, code, seconds) = (content.to_string(), code.to_string(), life.as_secs_f64());
        session.tell(Event::Code(json::Code { content, code, command, seconds }));
    }

    /// Says that the code of a content is still good. One of which is still to be heard is said then.
    fn say_again(&self, session: &Session, Offered { content, good, .. }: &Offered) {
        if let Some(Good { code, since, life }) = good
            && let Some(left) = left(*life, since.elapsed())
        {
            self.say_code(session, *content, *code, ("Or, as before", left));
        }
    }

    fn over(&self, session: &Session, content: ContentId, code: Code, why: &str, sentence: String) {
        session.note(&sentence);
        let (content, code, reason) = (content.to_string(), code.to_string(), why.to_owned());
        session.tell(Event::CodeOver(json::CodeOver { content, code, reason, message: sentence }));
    }
}

/// For how long a code is still good, in whole minutes where there are several; nothing if it is not.
fn left(life: Duration, elapsed: Duration) -> Option<Duration> {
    let seconds = life.saturating_sub(elapsed).as_secs();
    let whole = if seconds >= 120 { seconds / 60 * 60 } else { seconds };
    (whole > 0).then(|| Duration::from_secs(whole))
}

/// When there is another code.
fn follows(wait: Duration) -> String {
    match wait.as_secs() {
        0 => "A new code follows.".to_owned(),
        seconds => format!("A new code follows in {seconds} s."),
    }
}

/// A time as it is said.
fn words(time: Duration) -> String {
    match time.as_secs() {
        3600 => "an hour".to_owned(),
        60 => "a minute".to_owned(),
        86_400 => "a day".to_owned(),
        _ => shown(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_codes_life_is_said_in_minutes() {
        let said = |elapsed| left(Duration::from_secs(3600), Duration::from_secs(elapsed)).map(words);
        assert_eq!(said(2).as_deref(), Some("59m"));
        assert_eq!(said(3600 - 90).as_deref(), Some("1m 30s"));
        assert_eq!(said(3600), None);
    }
}
