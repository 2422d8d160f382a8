//! Finding what is to be had: the content that a ticket, a code, an id or a name stands for, and somebody who knows it.
//!
//! A tracker that is silent is no obstacle where a neighbour on this network has the content, or an origin does.

use std::path::Path;

use lan::Lan;
use peer::{TrackerAddress, content_of_ticket, received_manifest};
use protocol::{Code, ContentId, ContentMatch, Query, Ticket, printable};
use settings::in_quotes;

use super::GetArguments;
use super::wanted::{What, content_of};
use crate::error::{ExitCode, Failure};
use crate::flags::named;
use crate::session::ahead::Ahead;
use crate::session::connect::{self, NamedBy};
use crate::session::find::{Found, by_ticket, find_ahead};
use crate::session::lan::{self as network, Holders, Raced};
use crate::session::origin::SilentTracker;
use crate::session::patience::Patience;
use crate::session::{Session, rendezvous, resolve, trust};

/// Most places where the tracker of a ticket is looked for on this network.
const MOVED: usize = 8;

/// Looks on this network for what has no ticket and no tracker.
pub(super) async fn nearby(lan: Option<&Lan>, arguments: &GetArguments, query: Query) -> Result<What, Failure> {
    let wanted = query.to_string();
    let advice = if Code::looks_like_one(&wanted) {
        "If it is meant as a code, its words are not those that codes are made of: ask for it once more"
    } else {
        "Paste the line that `peer-cli share` printed, or say with -i which tracker to ask for that name"
    };
    let may_be_here = lan.is_some() || arguments.fallback.origin.is_some() || arguments.fallback.named.origin_fallback;
    if let Some(id) = content_of(&query).filter(|_| may_be_here) {
        return Ok(What::Id(id));
    }
    let Some(lan) = lan else {
        let sentence = format!("{} is no ticket. {advice}", in_quotes(&wanted));
        return Err(Failure::new(ExitCode::Usage, sentence));
    };
    let ask = async |node: &peer::Node| Ok(node.find(&wanted).await?);
    let sharers = network::sharers(lan, &arguments.peer, ask).await?;
    let sharers: Vec<_> = sharers.into_iter().filter(|sharer| !sharer.contents.is_empty()).collect();
    if sharers.is_empty() {
        let sentence =
            format!("{} is no ticket, and nobody on this network shares it openly. {advice}", in_quotes(&wanted));
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    let sharer = trust::sharer(sharers, &wanted, &arguments.peer).await?;
    let found = sharer.contents.into_iter().next().expect("who shares nothing was left out");
    Ok(What::Nearby(sharer.tracker, found, query))
}

/// What all ways to find a content have in common.
pub(super) struct Search<'a> {
    pub(super) session: &'a Session,
    pub(super) arguments: &'a GetArguments,
    pub(super) lan: Option<&'a Lan>,
    /// For how long those are waited for who must be there.
    pub(super) patience: Patience,
    /// The same for those in whose place an origin may be read.
    pub(super) finding: Patience,
    pub(super) tell: &'a dyn Fn(String),
}

impl Search<'_> {
    /// Finds what is wanted.
    pub(super) async fn find(&self, what: What) -> Result<Found, Failure> {
        match what {
            What::Code(code) => self.by_code(code).await,
            What::Ticket(ticket) => self.by_ticket(ticket).await,
            What::Nearby(tracker, found, query) => self.by_neighbour(tracker, found, query).await,
            What::Id(content) => self.by_id(content).await,
            What::Text(what, silent) => self.by_text(what, silent).await,
        }
    }

    /// By a code, which becomes a ticket and is used up.
    async fn by_code(&self, code: Code) -> Result<Found, Failure> {
        let &Search { session, arguments, lan, patience, tell, .. } = self;
        let (given, port) = (arguments.tracker_ip.as_deref(), arguments.tracker_port);
        let named = given.map(|given| named::trackers(given, port)).transpose()?;
        let places = rendezvous::places(&code, named, lan, &arguments.peer, patience, tell).await?;
        session.connects();
        let near = lan.map(|lan| (lan, &arguments.peer));
        let (ticket, place) = rendezvous::redeem(&session.node, &places, near, &code, patience, tell).await?;
        session.redeemed(&ticket);
        session.of_ticket(&ticket);
        let ahead = Ahead::of_ticket(&ticket);
        let join = connect::join_by_code(&session.node, &ticket, &place, patience, tell);
        let joined = ahead.during(&session.node, join).await?;
        session.joined(joined.tracker);
        by_ticket(&session.node, &ticket, joined.told, &ahead, patience, tell).await
    }

    /// By a ticket, or from an origin if nobody answers.
    async fn by_ticket(&self, ticket: Ticket) -> Result<Found, Failure> {
        let &Search { session, arguments, lan, finding, tell, .. } = self;
        session.of_ticket(&ticket);
        let found = of_ticket(session, arguments, &ticket, lan, (finding, tell)).await;
        let is_silent = found.as_ref().is_err_and(|failure| failure.code == ExitCode::TrackerUnreachable);
        let found = session.or_from_origin(found, ticket.content(), ticket.secret(), SilentTracker::AskedAgain)?;
        if is_silent {
            network::join_later(session.node.clone(), TrackerAddress::all_of(&ticket));
        }
        Ok(found)
    }

    /// From the tracker on this network that knows it.
    async fn by_neighbour(&self, tracker: TrackerAddress, found: ContentMatch, query: Query) -> Result<Found, Failure> {
        let &Search { session, finding, tell, .. } = self;
        let (id, trackers) = (tracker.id, vec![tracker]);
        let joined = connect::join(&session.node, trackers.clone(), NamedBy::Lan, finding, tell).await;
        let content = found.content;
        let found = joined.map(|_| {
            session.joined(id);
            let asked = matches!(query, Query::Name(_)).then(|| found.name.clone());
            Found::told(found, asked, None)
        });
        let is_silent = found.is_err();
        let found = session.or_from_origin(found, Some(content), None, SilentTracker::AskedAgain)?;
        if is_silent {
            network::join_later(session.node.clone(), trackers);
        }
        Ok(found)
    }

    /// By its id alone: from a neighbour, or from an origin.
    async fn by_id(&self, content: ContentId) -> Result<Found, Failure> {
        let &Search { session, lan, .. } = self;
        let holder = match lan {
            Some(lan) => Holders::of(lan, &content.lan_key()).soon(|_| true).await,
            None => None,
        };
        session.without_tracker();
        match holder {
            Some(holder) => {
                session.note(&format!("{} on this network has it.", holder.address));
                Ok(Found::untold(content, None))
            }
            None => {
                let sentence =
                    format!("nobody on this network shares {content}. Say with -i which tracker to ask for it");
                let failure = Failure::new(ExitCode::NotFound, sentence);
                session.or_from_origin(Err(failure), Some(content), None, SilentTracker::LeftAlone)
            }
        }
    }

    /// By an id or a name, for which the tracker that is named is asked, unless it is `silent`.
    async fn by_text(&self, what: String, silent: Option<Failure>) -> Result<Found, Failure> {
        let &Search { session, arguments, finding, tell, .. } = self;
        let given = arguments.tracker_ip.as_deref().expect("a name without it was refused");
        let (mut later, mut tracker) = (None, SilentTracker::LeftAlone);
        let found = async {
            if let Some(failure) = silent {
                return Err(failure);
            }
            let port = arguments.tracker_port;
            later = Some(resolve::unresolved(given, port, &arguments.peer)?);
            tracker = SilentTracker::AskedAgain;
            let trackers = resolve::trackers(given, port, &arguments.peer, finding, tell).await?;
            later = Some(trackers.clone());
            let ahead = Ahead::of_text(&what);
            let join = connect::join(&session.node, trackers, NamedBy::Flags, finding, tell);
            let joined = ahead.during(&session.node, join).await?;
            (later, tracker) = (None, SilentTracker::Joined);
            session.joined(joined.tracker);
            find_ahead(&session.node, &what, &ahead, finding, tell).await
        };
        let found = found.await;
        let wanted = what.parse::<Query>();
        let content = wanted.ok().and_then(|query| content_of(&query));
        let found = session.or_from_origin(found, content, None, tracker)?;
        if let Some(trackers) = later {
            network::join_later(session.node.clone(), trackers);
        }
        Ok(found)
    }
}

/// What a ticket is of. A tracker that is silent or elsewhere is no obstacle where a holder is on this network.
async fn of_ticket(
    session: &Session,
    arguments: &GetArguments,
    ticket: &Ticket,
    lan: Option<&Lan>,
    (patience, tell): (Patience, &dyn Fn(String)),
) -> Result<Found, Failure> {
    let gone = |failure| gone(failure, ticket, arguments.peer.hashes());
    let ahead = Ahead::of_ticket(ticket);
    let Some(mut holders) = lan.and_then(|lan| Holders::of_ticket(lan, ticket)) else {
        let join = connect::join_by_ticket(&session.node, ticket, patience, tell);
        let joined = ahead.during(&session.node, join).await.map_err(gone)?;
        session.joined(joined.tracker);
        return by_ticket(&session.node, ticket, joined.told, &ahead, patience, tell).await;
    };
    let mut also_at = Vec::new();
    let joined = loop {
        let join = connect::join_by_ticket_at(&session.node, ticket, &also_at, patience, tell);
        let join = ahead.during(&session.node, join);
        // Only the sharer may tell the content of such a ticket.
        let is_of_use = |holder: &lan::Holder| match (ticket.content(), holder.tracker) {
            (Some(_), _) => true,
            (None, Some(tracker)) => !also_at.contains(&tracker) && also_at.len() < MOVED,
            (None, None) => false,
        };
        match (holders.race(join, is_of_use).await, ticket.content()) {
            (Raced::Tracker(joined), _) => break joined,
            (Raced::Neither(failure), _) => return Err(gone(failure)),
            (Raced::Holder(holder), Some(content)) => {
                session.without_tracker();
                let address = holder.address;
                session.note(&format!("The tracker does not answer: going on with {address}, on this network."));
                network::join_later(session.node.clone(), TrackerAddress::all_of(ticket));
                return Ok(Found::untold(content, ticket.secret()));
            }
            (Raced::Holder(holder), None) => also_at.extend(holder.tracker),
        }
    };
    session.joined(joined.tracker);
    match (by_ticket(&session.node, ticket, joined.told, &ahead, patience, tell).await, ticket.content()) {
        (Err(failure), Some(content)) if failure.code == ExitCode::NotFound => match holders.soon(|_| true).await {
            Some(_) => Ok(Found::untold(content, ticket.secret())),
            None => Err(failure),
        },
        (found, _) => found,
    }
}

/// The failure for a ticket whose tracker does not answer: the sharer is gone or unreachable. It names the content if
/// part of it was downloaded before.
fn gone(failure: Failure, ticket: &Ticket, hashes: &Path) -> Failure {
    if failure.code != ExitCode::TrackerUnreachable {
        return failure;
    }
    let content = ticket.content().or_else(|| content_of_ticket(hashes, ticket.secret()?));
    let manifest = content.and_then(|content| received_manifest(hashes, content));
    let sharer = match manifest.map(|manifest| printable(&manifest.header().name)) {
        Some(name) => format!("the one who shares {name}"),
        None => "the one who gave you this line".to_owned(),
    };
    let message = format!("{sharer} is gone, or out of reach: {}", failure.message);
    Failure { message, ..failure }
}
