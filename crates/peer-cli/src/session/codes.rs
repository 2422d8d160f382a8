//! Codes in place of tickets: what a sharer is told of those it offers.

use std::time::Duration;

use peer::json::{self, Event};
use peer::{Code, CodeEvent, CodeOffer, CodeOptions, NoCode, Node, TrackerAddress};
use protocol::{ContentId, Ticket, printable};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::session::Session;
use crate::session::patience::shown;

/// Contents that have a code: who shares more hands out tickets.
const MOST: usize = 16;
/// The first code of a content is to be said with its ticket, if it comes in this time.
const FIRST: Duration = Duration::from_secs(2);
/// Events that may wait.
const EVENTS: usize = 64;

/// The codes of a run.
pub struct Codes {
    node: Node,
    place: TrackerAddress,
    /// What a getter says before the code, as `peer-cli get -i 10.0.0.1`.
    command: String,
    options: CodeOptions,
    offers: Vec<Offered>,
    /// Contents whose ticket was just said, and no code for it yet.
    fresh: Vec<ContentId>,
    report: mpsc::Sender<(ContentId, CodeEvent)>,
    events: mpsc::Receiver<(ContentId, CodeEvent)>,
    /// It is said once that there are no codes.
    none: bool,
}

/// The codes of one content, one after another.
struct Offered {
    content: ContentId,
    /// The one that is good now.
    code: Option<Code>,
    task: JoinHandle<()>,
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Codes {
    /// Codes at this tracker, which a getter reaches by this command.
    pub fn new(node: Node, place: TrackerAddress, command: String, options: CodeOptions) -> Self {
        let (report, events) = mpsc::channel(EVENTS);
        Codes { node, place, command, options, offers: Vec::new(), fresh: Vec::new(), report, events, none: false }
    }

    /// What a getter says before the code, from now on.
    pub fn set_command(&mut self, command: String) {
        self.command = command;
    }

    /// Offers codes for a ticket, instead of those for the content's ticket from before. Says the first one, unless that takes a
    /// while.
    pub async fn offer(&mut self, session: &Session, content: ContentId, ticket: Ticket) {
        let known = self.offers.iter().position(|offered| offered.content == content);
        if self.none || (known.is_none() && self.offers.len() >= MOST) {
            return;
        }
        let mut offer: CodeOffer = self.node.offer_code(self.place.clone(), ticket, self.options.clone());
        let report = self.report.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = offer.next().await {
                if report.send((content, event)).await.is_err() {
                    return;
                }
            }
        });
        let offered = Offered { content, code: None, task };
        match known {
            Some(known) => self.offers[known] = offered,
            None => self.offers.push(offered),
        }
        self.fresh.push(content);
        if let Ok((content, event)) = timeout(FIRST, self.next()).await {
            self.say(session, content, event);
        }
    }

    /// What is not shared any more has no code: its number is free for others.
    pub fn withdraw(&mut self, session: &Session, content: ContentId) {
        self.fresh.retain(|fresh| *fresh != content);
        let Some(known) = self.offers.iter().position(|offered| offered.content == content) else { return };
        if let Some(code) = self.offers.swap_remove(known).code.take() {
            self.over(session, content, code, "withdrawn", format!("The code {code} is void, too."));
        }
    }

    /// What becomes of a code next.
    pub async fn next(&mut self) -> (ContentId, CodeEvent) {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Says what has become of a code.
    pub fn say(&mut self, session: &Session, content: ContentId, event: CodeEvent) {
        // Of one that was withdrawn.
        let Some(offered) = self.offers.iter_mut().find(|offered| offered.content == content) else { return };
        offered.code = if let CodeEvent::New { code, .. } = event { Some(code) } else { None };
        let of = match self.offers.len() {
            0 | 1 => String::new(),
            _ => session.called(content).map_or_else(String::new, |name| format!(" for {}", printable(&name))),
        };
        match event {
            CodeEvent::New { code, life } => {
                let command = format!("{} {code}", self.command);
                let fresh = self.fresh.iter().position(|fresh| *fresh == content);
                let beginning = fresh.map_or("A new code", |fresh| {
                    self.fresh.swap_remove(fresh);
                    "Or"
                });
                session.code(&format!("{beginning}, for {}: {command}", words(life)), &of);
                session.tell(Event::Code(json::Code {
                    content: content.to_string(),
                    code: code.to_string(),
                    command,
                    seconds: life.as_secs_f64(),
                }));
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

    fn over(&self, session: &Session, content: ContentId, code: Code, why: &str, sentence: String) {
        session.note(&sentence);
        let (content, code, reason) = (content.to_string(), code.to_string(), why.to_owned());
        session.tell(Event::CodeOver(json::CodeOver { content, code, reason, message: sentence }));
    }
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
