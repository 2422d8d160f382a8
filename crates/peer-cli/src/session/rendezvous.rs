//! Where a code is redeemed: the trackers that its sharer may have meant, and the ticket from one of them.
//!
//! A place is the address of a tracker with its id, wherever it was learnt. Who it is need not be known before, as it must be for a
//! name: the one that answers has one guess at the code, and can do nothing else.

use std::time::Duration;

use lan::Lan;
use peer::{Node, RedeemError, TrackerAddress};
use protocol::{Code, Ticket, printable};
use transport::TransportError;

use crate::error::{ExitCode, Failure};
use crate::flags::named::{self, NamedTracker};
use crate::flags::peer::PeerArguments;
use crate::session::connect::{self, NamedBy};
use crate::session::lan::knowing_codes;
use crate::session::notice::DelayedNotice;
use crate::session::patience::Patience;
use crate::session::{resolve, trust};

/// Where a code may be offered.
pub struct Places {
    /// The trackers, likeliest first.
    places: Vec<TrackerAddress>,
    named_by: NamedBy,
    /// One that was named and does not answer, where others do.
    silent: Option<String>,
}

/// Places at which a code is wrong before it is given up.
const WRONG: usize = 3;
/// Tries of a sharer that is busy or away for a moment.
const TRIES: usize = 10;
/// Time between two tries, and between two looks whether a tracker has come.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// The trackers at a host or at several, or else those of sharers on this network, likeliest first. Those are also asked where nobody answers
/// that was named: that may stand in the settings, and few routers lead back into their own network who asks there for their public address,
/// as the sharer's line has it.
pub async fn places(
    code: &Code,
    named: Option<Vec<NamedTracker>>,
    lan: Option<&Lan>,
    arguments: &PeerArguments,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Places, Failure> {
    let Some(named) = named else {
        let advice = "Ask its sharer for the ticket; or say with -i, or as tracker-ip in p2p-fileshare.toml, which tracker offers \
                      it";
        let Some(lan) = lan else {
            return Err(Failure::new(ExitCode::Usage, format!("which tracker offers the code {code}? {advice}")));
        };
        let places = knowing_codes(lan, arguments).await?;
        if places.is_empty() {
            let sentence = format!("nobody on this network offers the code {code}. {advice}");
            return Err(Failure::new(ExitCode::NotFound, sentence));
        }
        return Ok(Places { places, named_by: NamedBy::Lan, silent: None });
    };
    let first = named.first().map(|NamedTracker { host, port }| format!("{host}:{port}"));
    match (at_named(named, arguments, patience, tell).await, lan) {
        (Err(failure), Some(lan)) if trust::is_silence(&failure) => match knowing_codes(lan, arguments).await {
            Ok(places) if !places.is_empty() => Ok(Places { places, named_by: NamedBy::Lan, silent: first }),
            _ => Err(failure),
        },
        (found, _) => found,
    }
}

/// The trackers at the hosts that were named.
async fn at_named(
    named: Vec<NamedTracker>,
    arguments: &PeerArguments,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Places, Failure> {
    let flags = |places| Places { places, named_by: NamedBy::Flags, silent: None };
    if let [only] = &named[..] {
        return trust::trackers_at(&only.host, only.port, arguments, NamedBy::Flags, patience, tell).await.map(flags);
    }
    if !arguments.tracker_id.is_empty() {
        let trusted = named::with_ids(named, &arguments.tracker_id)?;
        return resolve::trackers_of(&trusted, patience, tell).await.map(flags);
    }
    // It is offered at one of them, and the others may be gone.
    loop {
        let (mut places, mut silent, mut first) = (Vec::new(), None, None);
        for NamedTracker { host, port } in &named {
            match trust::trackers_at(host, *port, arguments, NamedBy::Flags, Patience::new(None), tell).await {
                Ok(found) => places.extend(found),
                Err(failure) if trust::is_silence(&failure) => {
                    silent.get_or_insert_with(|| format!("{host}:{port}"));
                    first.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        match first {
            Some(_) if places.is_empty() && patience.waits() => {
                tokio::time::sleep(patience.pause(TRY_AGAIN)).await;
            }
            Some(failure) if places.is_empty() => return Err(failure),
            _ => return Ok(Places { silent, ..flags(places) }),
        }
    }
}

/// Why no place has given the ticket.
struct Refusals {
    last: RedeemError,
    /// Places that have had a guess at the code.
    wrong: usize,
    /// One that did not answer, where others were asked.
    silent: Option<String>,
}

/// The ticket that a code stands for, and where it was had. Where none of the trackers that were named has had a guess at it, sharers on this
/// network are asked: the tracker may stand in the settings, and the sharer have its own.
pub async fn redeem(
    node: &Node,
    Places { places, named_by, silent }: &Places,
    near: Option<(&Lan, &PeerArguments)>,
    code: &Code,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<(Ticket, TrackerAddress), Failure> {
    let mut notice = DelayedNotice::new(tell, "The sharer of the code has not answered yet.".to_owned());
    let mut refusals = match redeem_at_one_of(node, places, code, patience, &mut notice).await {
        Ok(redeemed) => return Ok(redeemed),
        Err(refusals) => refusals,
    };
    let may_be_near = *named_by == NamedBy::Flags && refusals.wrong == 0 && refusals.last != RedeemError::Busy;
    if let Some((lan, arguments)) = near.filter(|_| may_be_near)
        && let Ok(near) = knowing_codes(lan, arguments).await
    {
        match redeem_at_one_of(node, &near, code, patience, &mut notice).await {
            Ok(redeemed) => return Ok(redeemed),
            Err(near) if near.wrong > 0 => refusals = near,
            Err(_) => {}
        }
    }
    let Refusals { last, wrong, silent: not_answering } = refusals;
    let not_answering = not_answering.filter(|_| *named_by == NamedBy::Flags);
    if let Some(place) = silent.clone().or(not_answering).filter(|_| wrong == 0) {
        let sentence = format!(
            "no tracker that answers knows that code, and the one at {place} does not answer: it may be offered there. Try again \
             later, or ask for the ticket"
        );
        return Err(Failure::new(ExitCode::TrackerUnreachable, printable(&sentence)));
    }
    let is_known = wrong == 0 || last == RedeemError::Unanswered;
    Err(refused(if is_known { &last } else { &RedeemError::Wrong }, *named_by, places))
}

/// The ticket from the first place that gives it. A place that knows no such number is no guess: the next is asked.
async fn redeem_at_one_of(
    node: &Node,
    places: &[TrackerAddress],
    code: &Code,
    patience: Patience,
    notice: &mut DelayedNotice<'_>,
) -> Result<(Ticket, TrackerAddress), Refusals> {
    let (mut last, mut wrong, mut silent) = (RedeemError::NoMailbox, 0, None);
    for place in places {
        match redeem_at(node, place, code, patience, notice).await {
            Ok(ticket) => return Ok((ticket, place.clone())),
            Err(error) => last = error,
        }
        // Where a name leads to several trackers, another one may have been meant. One that does not answer is none.
        let each = place.each();
        if last == RedeemError::NoMailbox && each.len() > 1 {
            for place in each {
                match redeem_at(node, &place, code, patience, notice).await {
                    Ok(ticket) => return Ok((ticket, place)),
                    Err(RedeemError::NoMailbox | RedeemError::Tracker(_)) => {}
                    Err(error) => {
                        // It may be the same tracker at another address: that is one guess.
                        last = error;
                        break;
                    }
                }
            }
        }
        if places.len() > 1 && matches!(last, RedeemError::Tracker(_)) {
            silent.get_or_insert_with(|| place.place());
        }
        // On the local network, another sharer may have the same number; each that answers has had a guess at the code.
        wrong += usize::from(matches!(last, RedeemError::Wrong | RedeemError::Unanswered));
        if wrong >= WRONG {
            break;
        }
    }
    Err(Refusals { last, wrong, silent })
}

/// Tries a few times where somebody is busy.
async fn redeem_at(
    node: &Node,
    place: &TrackerAddress,
    code: &Code,
    patience: Patience,
    notice: &mut DelayedNotice<'_>,
) -> Result<Ticket, RedeemError> {
    let mut tries = 1..TRIES;
    loop {
        let redeemed = notice.during(node.redeem_code(place, code)).await;
        if redeemed != Err(RedeemError::Busy) || tries.next().is_none() {
            return redeemed;
        }
        notice.during(tokio::time::sleep(patience.pause(TRY_AGAIN))).await;
    }
}

fn refused(error: &RedeemError, named_by: NamedBy, places: &[TrackerAddress]) -> Failure {
    let (code, sentence) = match error {
        // The last one that was asked has said so.
        RedeemError::Tracker(TransportError::NotTrusted(why)) => {
            return connect::untrusted(*why, &places.last().map(TrackerAddress::place).unwrap_or_default());
        }
        RedeemError::NoMailbox if named_by == NamedBy::Flags => (
            ExitCode::Refused,
            "Nobody offers that code there: it is wrong or not good any more, or it is offered at another tracker. Ask for a new \
             one, or for the ticket."
                .to_owned(),
        ),
        RedeemError::NoMailbox => (
            ExitCode::Refused,
            "Nobody on this network offers that code: it is wrong or not good any more, or its sharer is elsewhere. Ask for a new \
             one, or for the ticket."
                .to_owned(),
        ),
        RedeemError::Wrong => (
            ExitCode::Refused,
            "That code is wrong, or it has been used. Ask for a new one, or for the ticket.".to_owned(),
        ),
        RedeemError::Unanswered => (
            ExitCode::Refused,
            "no answer to the code came. Try again: if it was not used, it is still good. Or ask for the ticket"
                .to_owned(),
        ),
        RedeemError::Busy => (
            ExitCode::Refused,
            "too many are trying codes there, or the sharer does not answer. Try again, or ask for the ticket"
                .to_owned(),
        ),
        RedeemError::OldTracker => (
            ExitCode::Refused,
            "the tracker knows no codes: it is of an earlier version. Ask for the ticket".to_owned(),
        ),
        error => {
            let tried = places.iter().flat_map(|place| &place.addresses);
            (ExitCode::TrackerUnreachable, format!("{error}. {}", connect::unreached(named_by, tried)))
        }
    };
    Failure::new(code, printable(&sentence))
}
