//! Finding the one content that the user means, by what the tracker knows.

use std::time::Duration;

use peer::{Node, PeerError};
use protocol::{ContentId, ContentMatch, Manifest, Query, Secret, Ticket, printable};

use crate::error::{ExitCode, Failure};
use crate::flags::sizes;
use crate::session::connect::Speech;
use crate::session::patience::Patience;
use crate::session::query::{ANSWER, silent};
use crate::session::suggest;

/// Time between two questions for a file that nobody shares yet.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// At the end of `--wait`, an answer may still take so long.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// What a download is of.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What to call it in a sentence.
    pub name: String,
    /// Peers that have all of it, if the tracker knew of no others when it was asked.
    pub seeders: Option<u32>,
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
    /// The secret of a private share.
    pub secret: Option<Secret>,
}

impl Found {
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
        Wanted { name: self.called(), seeders: self.seeders }
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
    let query: Query = wanted.parse().map_err(PeerError::from)?;
    if let Query::Private(ticket) = &query {
        return private(node, ticket, None, patience, tell).await;
    }
    let most = patience.at_most(ANSWER);
    let mut speech = Speech::new(tell, format!("The tracker has not answered yet; waiting for it, {most}."));
    let mut said = false;
    loop {
        // The last answer, too, takes its time.
        let asked = tokio::time::timeout(patience.bound(ANSWER).max(LAST_ANSWER), node.find(wanted));
        speech.restart();
        let mut found = match speech.during(asked).await {
            Ok(Ok(found)) => found,
            // It may come back while we wait anyway.
            Ok(Err(PeerError::NoTracker)) | Err(_) if patience.waits() => Vec::new(),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(silent()),
        };
        match found.len() {
            1 => {
                let ContentMatch { content, name, size, seeders, others, .. } = found.remove(0);
                let asked = matches!(query, Query::Name(_)).then(|| wanted.to_owned());
                let seeders = (others == 0).then_some(seeders);
                return Ok(Found { content, name, size, asked, seeders, secret: None });
            }
            0 if patience.waits() => {
                if !said {
                    let most = patience.at_most(LAST_ANSWER);
                    let called = match query {
                        Query::Id(id) if id.is_private() => "what the ticket is of",
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

/// What a ticket stands for; `told` is what its tracker has said of a private share.
pub async fn by_ticket(
    node: &Node,
    ticket: &Ticket,
    told: Option<ContentMatch>,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Found, Failure> {
    match (ticket.secret(), ticket.content()) {
        (None, Some(content)) => find(node, &content.to_string(), patience, tell).await,
        _ => private(node, ticket, told, patience, tell).await,
    }
}

/// The content of a private share: as its own tracker has told, or by the id that any other tracker knows it by.
async fn private(
    node: &Node,
    ticket: &Ticket,
    told: Option<ContentMatch>,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Found, Failure> {
    let secret = ticket.secret();
    if let Some(ContentMatch { content, name, size, seeders, others, .. }) = told {
        let seeders = (others == 0).then_some(seeders);
        return Ok(Found { content, name, size, asked: None, seeders, secret });
    }
    let (Some(content), Some(secret)) = (ticket.content(), secret) else {
        let sentence = "the tracker of this ticket tells what it stands for, and no other does: take it with \
                        `peer-cli get TICKET`";
        return Err(Failure::new(ExitCode::Usage, sentence));
    };
    let swarm = secret.share_key().swarm().to_string();
    let found = Box::pin(find(node, &swarm, patience, tell)).await?;
    Ok(Found { content, name: String::new(), size: 0, asked: None, secret: Some(secret), ..found })
}

/// Nobody shares it; what comes near is named.
async fn nobody(node: &Node, wanted: &str, query: &Query) -> Failure {
    let (near, what) = match query {
        Query::Name(_) => (suggest::did_you_mean(node, wanted).await, "name"),
        Query::Id(id) if id.is_private() => {
            let sentence = "nobody shares what the ticket is of. Is the machine that it is from still sharing? Wait for it with \
                            --wait 5m";
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
        format!("  {content}  {}  {seeders} seeders, {others} others  {name}", sizes::show(*size))
    };
    let prefix: String = found[0].content.to_string().chars().take(12).collect();
    let last = format!("Choose one by its id or the beginning of it, as {prefix}");
    let message = format!("{} contents answer to {wanted:?}:", found.len());
    let lines = found.iter().map(line).chain([last]).collect();
    Failure { lines, ..Failure::new(ExitCode::Usage, message) }
}
