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
use crate::flags::tickets;

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
    let line = arguments.what.join(" ");
    match Ticket::find(&line) {
        Some(Ok(ticket)) if has_code_beside(&line, &ticket) => {
            return usage("these are a ticket and a code. Give each to a `peer-cli get` of its own".to_owned());
        }
        Some(Ok(ticket)) => {
            return match behind_ticket(&arguments.what) {
                Some(other) => usage(format!(
                    "{} is no part of the ticket before it. One ticket is taken at a time, and -o says into which folder",
                    in_quotes(other)
                )),
                None => Ok(Asked::Placed(What::Ticket(ticket))),
            };
        }
        Some(Err(error)) => return Err(tickets::failure(&error, "get")),
        None => {}
    }
    match Code::find(&line).filter(|_| !arguments.as_name) {
        Some(Ok(code)) => return Ok(Asked::Placed(What::Code(code))),
        // Nothing is sent: what is nearly the secret would be.
        Some(Err(error)) => return usage(format!("{error} For a file of that name, give -f before it")),
        None => {}
    }
    if Code::lacks_number(&line) && !arguments.as_name {
        let sentence = "these are the words of a code, and a code begins with a number: give that, too. For a file of that name, \
                        give -f before it";
        return usage(sentence.to_owned());
    }
    // Nor is a line sent that has one.
    let codes = parts(&line).filter(|part| part.len() < line.trim().len() && is_code(part));
    let codes: BTreeSet<String> = codes.map(str::to_lowercase).collect();
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

/// The parts of a line of which each may be a code.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    line.split(|between: char| between.is_whitespace() || BETWEEN_CODES.contains(&between))
}

fn is_code(part: &str) -> bool {
    matches!(Code::find(part), Some(Ok(_)))
}

/// Whether a line is of a ticket and a code, and of nothing else. `peer-cli share` prints both of one share, with words between them:
/// whoever has copied all of that means the ticket.
fn has_code_beside(line: &str, ticket: &Ticket) -> bool {
    let (codes, others): (Vec<_>, Vec<_>) = parts(line).partition(|part| is_code(part));
    let letters = others.iter().filter(|part| !["peer-cli", "get"].contains(part)).flat_map(|part| part.chars());
    let letters: String = letters.filter(|letter| letter.is_alphanumeric()).collect();
    !codes.is_empty() && letters.to_lowercase() == ticket.to_string()
}

/// The word behind a ticket that means something which would not be done: more than a full stop, and not the same once more.
fn behind_ticket(words: &[String]) -> Option<&String> {
    let is_whole = |taken: &usize| matches!(Ticket::find(&words[..*taken].join(" ")), Some(Ok(_)));
    let (own, others) = words.split_at((1..=words.len()).find(is_whole)?);
    others.iter().find(|word| word.chars().any(char::is_alphanumeric) && !own.contains(word))
}

/// The content that a whole id names.
pub(super) fn content_of(query: &Query) -> Option<ContentId> {
    if let Query::Id(content) = query { Some(*content) } else { None }
}
