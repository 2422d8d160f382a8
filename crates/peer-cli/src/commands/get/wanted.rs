//! What the words on the command line ask for: a ticket, a code, an id or a name.
//!
//! It is known before anything is bound or sent, so that what is wrong with a ticket costs nothing, and what is nearly a secret stays here.

use std::collections::BTreeSet;
use std::path::Path;

use peer::TrackerAddress;
use protocol::{Code, ContentId, ContentMatch, Query, QueryError, Ticket, TicketError};
use settings::in_quotes;

use super::GetArguments;
use crate::error::{ExitCode, Failure};
use crate::flags::guess::quoted;

/// What may stand between two codes, beside spaces. A full stop may as well stand in a name.
const BETWEEN_CODES: [char; 4] = [',', ';', '|', '/'];

/// What is asked for on the command line.
pub(super) enum Asked {
    Placed(What),
    /// An id or a name, and no tracker to ask for it.
    Unplaced(Query),
}

/// What is to be had, and where that is known.
pub(super) enum What {
    Ticket(Ticket),
    /// A code, which becomes a ticket.
    Code(Code),
    /// An id or a name, which the tracker that is named must be asked for; or why that cannot be.
    Text(String, Option<Failure>),
    /// What a tracker on this network knows of it.
    Nearby(TrackerAddress, ContentMatch, Query),
    /// An id, which nobody needs to be asked for.
    Id(ContentId),
}

impl What {
    /// Which content it is, as far as that is known without asking anybody.
    pub(super) fn content(&self) -> Option<ContentId> {
        match self {
            What::Ticket(ticket) => ticket.content(),
            What::Text(what, _) => what.parse().ok().and_then(|query| content_of(&query)),
            What::Nearby(_, found, _) => Some(found.content),
            What::Id(content) => Some(*content),
            What::Code(_) => None,
        }
    }

    /// Whether it is a private share.
    pub(super) fn is_private(&self) -> bool {
        match self {
            What::Ticket(ticket) => ticket.secret().is_some(),
            What::Code(_) => true,
            What::Text(..) | What::Nearby(..) | What::Id(_) => false,
        }
    }
}

/// A ticket, which may have come as several words and with some around it, or else one word.
pub(super) fn asked(arguments: &GetArguments) -> Result<Asked, Failure> {
    let usage = |sentence: String| Err(Failure::new(ExitCode::Usage, sentence));
    // A tracker may stand in the settings; the ticket knows better.
    match Ticket::find(&arguments.what.join(" ")) {
        Some(Ok(ticket)) => {
            return match behind_ticket(&arguments.what) {
                Some(other) => {
                    let advice = match Ticket::find(&other) {
                        Some(Ok(_)) => "It is another ticket: get one after the other",
                        _ => "One ticket is taken at a time, and -o says into which folder",
                    };
                    usage(format!("{} is no part of the ticket before it. {advice}", in_quotes(&other)))
                }
                None => Ok(Asked::Placed(What::Ticket(ticket))),
            };
        }
        Some(Err(error)) => return usage(error.to_string()),
        None => {}
    }
    match Code::find(&arguments.what.join(" ")).filter(|_| !arguments.as_name) {
        Some(Ok(code)) => return Ok(Asked::Placed(What::Code(code))),
        // Nothing is sent: what is nearly the secret would be.
        Some(Err(error)) => return usage(format!("{error} For a file of that name, give -f before it")),
        None => {}
    }
    let line = arguments.what.join(" ");
    // Nor is a line sent that has one.
    let parts = line.split(|between: char| between.is_whitespace() || BETWEEN_CODES.contains(&between));
    let is_code = |part: &&str| part.len() < line.trim().len() && matches!(Code::find(part), Some(Ok(_)));
    let codes: BTreeSet<String> = parts.filter(is_code).map(str::to_lowercase).collect();
    match codes.len() {
        _ if arguments.as_name => {}
        0 => {}
        1 => {
            let sentence =
                "That line has a code and more: give the code alone. For a file of that name, give -f before it";
            return usage(sentence.to_owned());
        }
        _ => return usage("That line has several codes: get one after the other".to_owned()),
    }
    let [what] = &arguments.what[..] else {
        return usage(match Ticket::damage(&line) {
            Some(error) => format!("{error}. If it is a name with spaces, put it in quotes"),
            None => format!("{} is no ticket. Put a name with spaces in quotes", in_quotes(&line)),
        });
    };
    match what.parse::<Query>() {
        _ if what.trim().is_empty() => usage(QueryError::Empty.to_string()),
        Err(error) => usage(error.to_string()),
        Ok(_) if arguments.tracker_ip.is_none() && Path::new(what).exists() => {
            let (shown, typed) = (in_quotes(what), quoted(what));
            usage(format!("{shown} is no ticket, and is here already. To send it: peer-cli share {typed}"))
        }
        Ok(_) if Ticket::is_shortened(what) && !arguments.as_name => {
            usage(format!("{}. For a file of that name, give -f before it", TicketError::Shortened))
        }
        Ok(query) if arguments.tracker_ip.is_none() => Ok(Asked::Unplaced(query)),
        Ok(_) => Ok(Asked::Placed(What::Text(what.clone(), None))),
    }
}

/// What stands behind a ticket and means something that would not be done: a word that is more than a full stop, or, in a text that was
/// pasted as one word and may have the rest of a mail, another ticket.
fn behind_ticket(words: &[String]) -> Option<String> {
    let ticket_in = |words: &[&str]| Ticket::find(&words.join(" ")).and_then(Result::ok);
    let end_of_ticket = |words: &[&str]| (1..=words.len()).find(|&taken| ticket_in(&words[..taken]).is_some());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (own, other) = words.split_at(end_of_ticket(&words)?);
    if let Some(word) = other.iter().find(|word| word.chars().any(char::is_alphanumeric)) {
        return Some((*word).to_owned());
    }
    let parts: Vec<&str> = own.iter().flat_map(|word| word.split(|letter: char| !letter.is_alphanumeric())).collect();
    let (own, rest) = parts.split_at(end_of_ticket(&parts)?);
    let second = ticket_in(rest).filter(|second| Some(second) != ticket_in(own).as_ref());
    second.map(|_| rest.join(" "))
}

/// The content that a whole id names.
pub(super) fn content_of(query: &Query) -> Option<ContentId> {
    if let Query::Id(content) = query { Some(*content) } else { None }
}
