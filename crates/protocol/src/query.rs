//! What a text asks for: one content by its id, contents whose id begins so, or contents of a name.
//!
//! Both ends read it alike. A tracker turns only names and prefixes into contents, and its answer is held against the
//! question ([`Query::fits`]): it can withhold what is there, and put nothing else in its place. A text is one of the three
//! and never two: what can be read as an id or a ticket is no name, whatever files are called.

use std::fmt;
use std::str::FromStr;

use crate::{ContentId, Ticket, TicketError};

/// Fewest characters of an id that are taken for one; with fewer, strangers' contents would fit too easily.
const SHORTEST_PREFIX: usize = 6;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// This content: the text is its id, or a ticket of it.
    Id(ContentId),
    /// Contents whose id begins with these characters, 6 to 63 hexadecimal digits in lower case.
    Prefix(String),
    /// Contents of this name.
    Name(String),
}

/// Why a text asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// It is empty.
    #[error("it needs a ticket, a name or a content id")]
    Empty,
    /// It is meant as a ticket, and damaged.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

impl Query {
    /// Whether a content answers the question, by its id and its name.
    pub fn fits(&self, content: ContentId, name: &str) -> bool {
        match self {
            Query::Id(id) => content == *id,
            Query::Prefix(digits) => content.to_string().starts_with(digits),
            Query::Name(asked) => name == asked,
        }
    }

    /// Whether contents are announced and found by this name: it must not be readable as anything else.
    pub fn is_name(text: &str) -> bool {
        matches!(text.parse(), Ok(Query::Name(_)))
    }
}

/// A text without what nobody sees at its ends: it comes along when a line is copied.
fn bare(text: &str) -> &str {
    let unseen = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}');
    text.trim_matches(unseen)
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(QueryError::Empty);
        }
        let bare = bare(text);
        match bare.parse::<Ticket>() {
            Ok(ticket) => return Ok(Query::Id(ticket.content())),
            Err(error @ TicketError::CutOff(_)) => return Err(error.into()),
            Err(error) if Ticket::is_meant(bare) => return Err(error.into()),
            Err(_) => {}
        }
        let digits = bare.to_ascii_lowercase();
        if let Ok(id) = digits.parse() {
            return Ok(Query::Id(id));
        }
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(match digits.len() {
            SHORTEST_PREFIX..64 if all_digits => Query::Prefix(digits),
            _ => Query::Name(text.to_owned()),
        })
    }
}

/// As a tracker is asked.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Query::Id(id) => id.fmt(f),
            Query::Prefix(text) | Query::Name(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Digest, PeerId};

    fn content(first: u8) -> ContentId {
        ContentId(Digest([first; 32]))
    }

    fn ticket() -> String {
        let tracker = PeerId(Digest([1; 32]));
        Ticket::new(tracker, vec!["127.0.0.1:9999".parse().unwrap()], content(0xab)).unwrap().to_string()
    }

    #[test]
    fn ids_and_tickets_ask_for_one_content_however_they_are_copied() {
        let (id, ticket) = (content(0xab).to_string(), ticket());
        for text in [&id, &ticket] {
            for copied in [text.clone(), text.to_uppercase(), format!(" {text}\r\n"), format!("\u{feff}{text}\u{200b}")]
            {
                assert_eq!(copied.parse(), Ok(Query::Id(content(0xab))), "{copied:?}");
                assert!(!Query::is_name(&copied), "{copied:?}");
            }
        }
    }

    #[test]
    fn a_damaged_ticket_is_no_name() {
        let ticket = ticket();
        for len in [12, 40, ticket.len() - 1] {
            let error = ticket[..len].parse::<Query>().unwrap_err();
            assert!(matches!(error, QueryError::Ticket(_)), "{len}");
            assert!(!Query::is_name(&ticket[..len]), "{len}");
        }
        assert!(!Query::is_name(""));
    }

    #[test]
    fn six_digits_are_the_beginning_of_an_id() {
        for digits in ["facade", "20241128", &"AB".repeat(31)] {
            assert_eq!(digits.parse(), Ok(Query::Prefix(digits.to_ascii_lowercase())));
        }
        for name in ["facad", "facade.txt", "a b", " ", "p2p", "p2pfileshare", &"ab".repeat(33), "日本語"] {
            assert_eq!(name.parse(), Ok(Query::Name(name.to_owned())));
        }
    }

    #[test]
    fn only_what_was_asked_for_fits() {
        let fits = |text: &str, first, name| text.parse::<Query>().unwrap().fits(content(first), name);
        let id = content(0xab).to_string();
        assert!(fits(&id, 0xab, "any name") && !fits(&id, 0xcd, &id));
        assert!(fits("ABABAB", 0xab, "any name") && !fits("ababab", 0xcd, "ababab"));
        assert!(fits("a.bin", 0xab, "a.bin") && !fits("a.bin", 0xab, "A.bin") && !fits("a.bin", 0xab, ""));
    }

    proptest! {
        #[test]
        fn what_a_tracker_is_asked_means_the_same_to_it(text: String) {
            if let Ok(query) = text.parse::<Query>() {
                prop_assert_eq!(query.to_string().parse(), Ok(query));
            }
        }
    }
}
