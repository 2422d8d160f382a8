//! Finding the one content that the user means, by what the tracker knows.

use std::time::Duration;

use peer::{Node, PeerError};
use protocol::{ContentId, ContentMatch, Manifest, Query, Secret, Ticket, printable};

use crate::error::{ExitCode, Failure};
use crate::session::ahead::Ahead;
use crate::session::notice::DelayedNotice;
use crate::session::patience::Patience;
use crate::session::query::{ANSWER, name_silent, silent};
use crate::session::suggest;
use crate::ui::amounts;

/// Time between two questions for a file that nobody shares yet.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// At the end of `--wait`, an answer may still take so long.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Most other contents of a name that are listed.
const NAMED: usize = 3;

/// What a download is of.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What to call it in a sentence.
    pub name: String,
    /// Peers that have all of it, if the tracker knew of no others when it was asked.
    pub seeders: Option<u32>,
    /// The tracker knew only of peers that have not all of it. They may all be waiting for it.
    pub is_in_doubt: bool,
}

/// A content that answers to what was asked for.
pub struct Found {
    pub content: ContentId,
    /// What the tracker says it is called, or nothing, and how large it is; others may have said so who lie.
    pub name: String,
    pub size: u64,
    /// What it must be called: it was asked for by this name.
    pub asked: Option<String>,
    /// Peers that have all of it, if nobody else takes part in it.
    pub seeders: Option<u32>,
    /// The tracker knows only of peers that have not all of it.
    pub is_in_doubt: bool,
    /// The secret of a private share.
    pub secret: Option<Secret>,
}

impl Found {
    /// What a tracker has said of a content, which was asked for by this name.
    pub fn told(found: ContentMatch, asked: Option<String>, secret: Option<Secret>) -> Self {
        let ContentMatch { content, name, size, seeders, others, .. } = found;
        let (is_in_doubt, seeders) = (seeders == 0, (others == 0).then_some(seeders));
        Found { content, name, size, asked, seeders, is_in_doubt, secret }
    }

    /// A content of which nobody has said more than its id.
    pub fn untold(content: ContentId, secret: Option<Secret>) -> Self {
        Found { content, name: String::new(), size: 0, asked: None, seeders: None, is_in_doubt: false, secret }
    }

    /// What to call it in a sentence.
    pub fn called(&self) -> String {
        if self.name.is_empty() {
            format!("content {}", &self.content.to_string()[..16])
        } else {
            printable(&self.name)
        }
    }

    /// What is to be said of it while it is waited for.
    pub fn wanted(&self) -> Wanted {
        Wanted { name: self.called(), seeders: self.seeders, is_in_doubt: self.is_in_doubt }
    }

    /// A name led to it, and what came has another one.
    pub fn must_be_called_so(&self, manifest: &Manifest) -> Result<(), Failure> {
        let found = &manifest.header().name;
        match &self.asked {
            Some(asked) if asked != found => {
                Err(PeerError::OtherName { content: self.content, asked: asked.clone(), found: found.clone() }.into())
            }
            _ => Ok(()),
        }
    }
}

/// The one content that the user means. With an id or a ticket, which one it is is known, and the tracker is asked only whether
/// anyone takes part in it.
pub async fn find(node: &Node, wanted: &str, patience: Patience, tell: &dyn Fn(String)) -> Result<Found, Failure> {
    find_ahead(node, wanted, &Ahead::default(), patience, tell).await
}

/// The same, where the tracker may have been asked already.
pub async fn find_ahead(
    node: &Node,
    wanted: &str,
    ahead: &Ahead,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Found, Failure> {
    let query: Query = wanted.parse().map_err(PeerError::from)?;
    if let Query::Private(ticket) = &query {
        return private(node, ticket, None, ahead, patience, tell).await;
    }
    let most = patience.at_most(ANSWER);
    let mut notice = DelayedNotice::new(tell, format!("The tracker has not answered yet; waiting for it, {most}."));
    let mut said = false;
    let mut is_doubted = false;
    loop {
        // The last answer, too, takes its time.
        let ask = async {
            match ahead.answer(node).await {
                Some(found) => Ok(found),
                None => node.find(wanted).await,
            }
        };
        let asked = tokio::time::timeout(patience.bound(ANSWER).max(LAST_ANSWER), ask);
        notice.restart();
        let mut found = match notice.during(asked).await {
            Ok(Ok(found)) => found,
            // It may come back while we wait anyway.
            Ok(Err(PeerError::NoTracker)) | Err(_) if patience.waits() => Vec::new(),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(silent()),
        };
        if let (Query::Name(_), Some(sentence)) = (&query, leave_to_one_that_is_whole(wanted, &mut found)) {
            tell(sentence);
        }
        if !found.is_empty() {
            name_silent(node, tell);
        }
        match found.len() {
            // Who has not all of it may be leaving just now, and nobody else would ever be there to wait for.
            1 if found[0].seeders == 0 && !is_doubted && !patience.waits() => {
                is_doubted = true;
                tokio::time::sleep(ASK_AGAIN).await;
            }
            1 => {
                let asked = matches!(query, Query::Name(_)).then(|| wanted.to_owned());
                return Ok(Found::told(found.remove(0), asked, None));
            }
            0 if patience.waits() => {
                if !said {
                    let most = patience.at_most(LAST_ANSWER);
                    let called = match query {
                        Query::Id(id) if id.is_private() => "the content of this ticket",
                        _ => wanted,
                    };
                    tell(format!("Nobody shares {called} yet; waiting for it, {most}."));
                    said = true;
                }
                tokio::time::sleep(patience.pause(ASK_AGAIN)).await;
            }
            0 => return Err(nobody(node, wanted, &query).await),
            _ => return Err(choose(wanted, &found)),
        }
    }
}

/// What a ticket stands for; `told` is what its tracker has said of a private share, and it may have been asked `ahead`.
pub async fn by_ticket(
    node: &Node,
    ticket: &Ticket,
    told: Option<ContentMatch>,
    ahead: &Ahead,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Found, Failure> {
    match (ticket.secret(), ticket.content()) {
        (None, Some(content)) => find_ahead(node, &content.to_string(), ahead, patience, tell).await,
        _ => private(node, ticket, told, ahead, patience, tell).await,
    }
}

/// The content of a private share: as its own tracker has told, or by the id that any other tracker knows it by.
async fn private(
    node: &Node,
    ticket: &Ticket,
    told: Option<ContentMatch>,
    ahead: &Ahead,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Found, Failure> {
    let secret = ticket.secret();
    if let Some(told) = told {
        return Ok(Found::told(told, None, secret));
    }
    let (Some(content), Some(secret)) = (ticket.content(), secret) else {
        let sentence = "only the ticket's own tracker knows its content: use `peer-cli get TICKET`";
        return Err(Failure::new(ExitCode::Usage, sentence));
    };
    let swarm = secret.share_key().swarm().to_string();
    let found = Box::pin(find_ahead(node, &swarm, ahead, patience, tell)).await?;
    Ok(Found { content, name: String::new(), size: 0, asked: None, secret: Some(secret), ..found })
}

/// Of several contents of one name, keeps the only one that somebody has whole, and says which others there are: an older version
/// of which peers hold only parts does not make the name ambiguous.
fn leave_to_one_that_is_whole(wanted: &str, found: &mut Vec<ContentMatch>) -> Option<String> {
    if found.len() < 2 || found.iter().filter(|found| found.seeders > 0).count() != 1 {
        return None;
    }
    let (mut whole, parts): (Vec<_>, Vec<_>) = std::mem::take(found).into_iter().partition(|found| found.seeders > 0);
    found.append(&mut whole);
    let ids: Vec<String> = parts.iter().take(NAMED).map(|other| other.content.to_string()[..16].to_owned()).collect();
    let more = parts.len().checked_sub(NAMED).filter(|&more| more > 0);
    let more = more.map_or_else(String::new, |more| format!(" and {more} more"));
    let (others, them) =
        if parts.len() == 1 { ("Another content is", "it") } else { ("Other contents are", "any of them") };
    let (wanted, ids) = (printable(wanted), ids.join(", "));
    Some(format!("{others} called {wanted}, too, and nobody has all of {them}: {ids}{more}. To get one, give its id."))
}

/// Nobody shares it; what comes near is named.
async fn nobody(node: &Node, wanted: &str, query: &Query) -> Failure {
    let (near, what) = match query {
        Query::Name(_) => (suggest::did_you_mean(node, wanted).await, "name"),
        Query::Id(id) if id.is_private() => {
            let sentence = "nobody shares the content of this ticket. Is the machine that printed it still sharing? \
                            --wait 5m waits for it";
            return Failure::new(ExitCode::NotFound, sentence);
        }
        Query::Id(_) | Query::Prefix(_) | Query::Private(_) => (String::new(), "id"),
    };
    let near = match query {
        Query::Id(_) | Query::Prefix(_) if wanted.parse::<Ticket>().is_err() => {
            " A name that reads as an id is never looked up: use the ticket or the whole id.".to_owned()
        }
        _ => near,
    };
    let advice = format!("Start its seeder first, check the {what}, or wait for it with --wait 5m");
    Failure::new(ExitCode::NotFound, format!("nobody shares {wanted:?}.{near} {advice}"))
}

fn choose(wanted: &str, found: &[ContentMatch]) -> Failure {
    let line = |found: &ContentMatch| {
        let ContentMatch { content, name, size, seeders, others, .. } = found;
        format!("  {content}  {}  {seeders} seeders, {others} others  {name}", amounts::amount(*size))
    };
    let prefix: String = found[0].content.to_string().chars().take(12).collect();
    let last = format!("Choose one by its id or the beginning of it, as {prefix}");
    let message = format!("{} contents answer to {wanted:?}:", found.len());
    let lines = found.iter().map(line).chain([last]).collect();
    Failure { lines, ..Failure::new(ExitCode::Usage, message) }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn found(first: u8, seeders: u32) -> ContentMatch {
        let content = ContentId(Digest([first; 32]));
        ContentMatch { content, name: "a".to_owned(), size: 1, seeders, others: 1, downloaders: 0 }
    }

    #[test]
    fn a_name_means_the_only_content_that_somebody_has_whole() {
        let mut one_whole = vec![found(1, 0), found(2, 3), found(3, 0)];
        let said = leave_to_one_that_is_whole("a", &mut one_whole).unwrap();
        assert_eq!(one_whole.len(), 1);
        assert_eq!(one_whole[0].content, found(2, 3).content);
        assert!(said.contains("0101010101010101, 0303030303030303"), "{said}");
    }

    #[test]
    fn a_name_of_several_whole_contents_or_of_none_stays_ambiguous() {
        for mut several in [vec![found(1, 1), found(2, 1)], vec![found(1, 0), found(2, 0)]] {
            assert_eq!(leave_to_one_that_is_whole("a", &mut several), None);
            assert_eq!(several.len(), 2);
        }
        assert_eq!(leave_to_one_that_is_whole("a", &mut vec![found(1, 0)]), None);
    }
}
