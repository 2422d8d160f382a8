//! Trust on first use: who a tracker is that was named by its host alone, as ssh finds it out.
//!
//! A probe reads the id of what answers there, and says nothing itself: the handshake ends before we have shown who we are. An id
//! that is not known is shown, and confirmed on a terminal. Only then a new connection is made, which demands that id; and it is
//! kept for the next time, when any other id is refused.

mod confirm;
mod probe;

use std::collections::BTreeSet;

use peer::TrackerAddress;
use protocol::{ContentMatch, PeerId, printable};
use tokio::time::sleep;
use transport::peer_id_of_certificate_pem;

use crate::error::{ExitCode, Failure};
use crate::flags::named::{self, NamedTracker, TrustedTracker};
use crate::flags::peer::PeerArguments;
use crate::session::connect::NamedBy;
use crate::session::known_trackers::{KnownTrackers, place};
use crate::session::lan::NearbySharer;
use crate::session::patience::{Patience, TRY_AGAIN};
use crate::session::{bind, resolve};
use crate::ui::amounts::amount;
use crate::ui::screen;
use confirm::{confirm, confirm_with, may_ask};
use probe::{Judgement, ask, judge};

/// The id that the tracker at this place must prove: from the command line, from a certificate in a folder that says so, from
/// earlier times, or as it is confirmed now.
pub async fn tracker_id(
    host: &str,
    port: u16,
    arguments: &PeerArguments,
    named_by: NamedBy,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<PeerId, Failure> {
    if let [id] = arguments.tracker_id[..] {
        return Ok(id);
    }
    let place = place(host, port);
    let pinned = pinned(arguments)?;
    let known = known_trackers(arguments)?;
    let entry = known.as_ref().and_then(|known| known.id_at(&place));
    match (pinned, entry) {
        (Some(id), None) => return Ok(id),
        (Some(id), Some((known, _))) if id == known => return Ok(id),
        _ => {}
    }
    let own = arguments.own.own_tracker.as_deref().and_then(|path| peer_id_of_certificate_pem(path).ok());
    let answers = ask(host, port, arguments, named_by, patience, tell).await?;
    match judge(&answers, &pinned.into_iter().chain(own).collect::<Vec<_>>(), entry) {
        Judgement::Known(id) => Ok(id),
        Judgement::Changed { found, known: before, line } => {
            Err(changed(known.as_ref(), &place, (before, found), line))
        }
        Judgement::Several(answers) => {
            let answers: Vec<_> = answers.iter().map(|(address, id)| format!("{id} at {address}")).collect();
            let sentence = format!(
                "several trackers answer at {place}: {}. Name one by its address, or give --tracker-id with the id that it prints \
                 at its start, or with those of all of them and commas between",
                answers.join(", ")
            );
            Err(Failure::new(ExitCode::Usage, sentence))
        }
        Judgement::New(id) if may_ask(arguments) => {
            let elsewhere = known.as_ref().map(|known| known.places_of(id).join(", ")).unwrap_or_default();
            if !confirm(&place, id, &elsewhere).await {
                let sentence = format!("the tracker at {place} is not trusted: nothing was said to it");
                return Err(Failure::new(ExitCode::Stopped, sentence));
            }
            remember(known.as_ref(), &place, id);
            Ok(id)
        }
        Judgement::New(id) => {
            let sentence = format!(
                "the tracker at {place} is not known here, and nobody is at a terminal to be asked. Nothing was said to it. If the id \
                 that it prints at its start is the following, add this to the line: --tracker-id {id}"
            );
            Err(Failure::new(ExitCode::Usage, sentence))
        }
    }
}

/// The ids that these trackers must prove, as of one ([`tracker_id`]). Of several, those that do not answer and are not known here are
/// left out, if there are others.
pub async fn trackers(
    named: Vec<NamedTracker>,
    arguments: &PeerArguments,
    named_by: NamedBy,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Vec<TrustedTracker>, Failure> {
    if !arguments.tracker_id.is_empty() {
        return named::with_ids(named, &arguments.tracker_id);
    }
    if let [only] = &named[..] {
        let id = tracker_id(&only.host, only.port, arguments, named_by, patience, tell).await?;
        return Ok(vec![TrustedTracker { named: only.clone(), id }]);
    }
    loop {
        match those_there(&named, arguments, named_by, tell).await? {
            Ok(trusted) => return Ok(trusted),
            Err(failure) if !patience.waits() => return Err(failure),
            Err(_) => sleep(patience.pause(TRY_AGAIN)).await,
        }
    }
}

/// Those of several that are known here, or answer now; or why the first does not, if none does.
async fn those_there(
    named: &[NamedTracker],
    arguments: &PeerArguments,
    named_by: NamedBy,
    tell: &dyn Fn(String),
) -> Result<Result<Vec<TrustedTracker>, Failure>, Failure> {
    let (pinned, known) = (pinned(arguments)?, known_trackers(arguments)?);
    let (mut trusted, mut silent) = (Vec::new(), Vec::new());
    for named in named {
        let (named, place) = (named.clone(), place(&named.host, named.port));
        // The node accepts no other there, and goes on with the others meanwhile: nobody need be asked.
        let entry = known.as_ref().and_then(|known| known.id_at(&place)).map(|(id, _)| id);
        let is_clear = entry.is_none() || pinned.is_none() || entry == pinned;
        if let Some(id) = entry.or(pinned).filter(|_| is_clear) {
            trusted.push(TrustedTracker { named, id });
            continue;
        }
        match tracker_id(&named.host, named.port, arguments, named_by, Patience::new(None), tell).await {
            Ok(id) => trusted.push(TrustedTracker { named, id }),
            Err(failure) if is_silence(&failure) => match pinned {
                Some(id) => trusted.push(TrustedTracker { named, id }),
                None => silent.push((place, failure)),
            },
            Err(failure) => return Err(failure),
        }
    }
    if trusted.is_empty() && !silent.is_empty() {
        return Ok(Err(silent.swap_remove(0).1));
    }
    for (place, _) in silent {
        tell(format!("The tracker at {place} does not answer, and is not known here: going on without it."));
    }
    Ok(Ok(trusted))
}

/// What is said of a tracker that has another id than before.
const CHANGED: &str = "IS NOT THE ONE IT WAS";

/// Whether nobody answers, and not somebody else than before.
pub fn is_silence(failure: &Failure) -> bool {
    failure.code == ExitCode::TrackerUnreachable && !failure.message.contains(CHANGED)
}

/// Refuses what answers in place of a tracker that was known before.
fn changed(known: Option<&KnownTrackers>, place: &str, (before, found): (PeerId, PeerId), line: usize) -> Failure {
    let file = known.map_or_else(String::new, |known| known.path().display().to_string());
    let sentence = format!(
        "THE TRACKER AT {place} {CHANGED}. Its id was {before}, and what answers there now has {found}: somebody \
         may be between you and it. Nothing was said to it. If it was set up anew, and prints this id at its start, \
         remove line {line} of {file} and try again"
    );
    Failure::new(ExitCode::TrackerUnreachable, sentence)
}

/// The trackers at a place, where what follows is worth nothing to any but the right one: nobody is asked whether to trust it, and
/// nothing is kept. One that is known is meant, as ever.
pub async fn trackers_at(
    host: &str,
    port: u16,
    arguments: &PeerArguments,
    named_by: NamedBy,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Vec<TrackerAddress>, Failure> {
    if !arguments.tracker_id.is_empty() {
        let named = NamedTracker { host: host.to_owned(), port };
        let trusted: Vec<_> =
            arguments.tracker_id.iter().map(|&id| TrustedTracker { named: named.clone(), id }).collect();
        return resolve::trackers_of(&trusted, patience, tell).await;
    }
    let (place, known) = (place(host, port), known_trackers(arguments)?);
    let entry = known.as_ref().and_then(|known| known.id_at(&place));
    let vouched: Vec<_> = pinned(arguments)?.into_iter().collect();
    let answers = ask(host, port, arguments, named_by, patience, tell).await?;
    let ids = match judge(&answers, &vouched, entry) {
        Judgement::Changed { found, known: before, line } => {
            return Err(changed(known.as_ref(), &place, (before, found), line));
        }
        Judgement::Known(id) | Judgement::New(id) => vec![id],
        Judgement::Several(answers) => {
            let mut ids: Vec<PeerId> = Vec::new();
            for (_, id) in answers {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            ids
        }
    };
    let at = |id| answers.iter().filter(move |(_, other)| *other == id).map(|(address, _)| *address).collect();
    Ok(ids.into_iter().map(|id| TrackerAddress { addresses: at(id), id, name: Some(place.clone()) }).collect())
}

/// How what was trusted on the local network is called in the file: addresses there come and go.
const ON_LAN: &str = "lan";

/// The one sharer on the local network to get something from that was asked for by name: anyone there may say that they have it.
/// All must mean the same content. Then it is one whose tracker is known, or one that is confirmed now.
pub async fn sharer(
    mut sharers: Vec<NearbySharer>,
    wanted: &str,
    arguments: &PeerArguments,
) -> Result<NearbySharer, Failure> {
    let contents: BTreeSet<_> = sharers.iter().flat_map(|sharer| &sharer.contents).map(|found| found.content).collect();
    if contents.len() > 1 {
        let line = |sharer: &NearbySharer, found: &ContentMatch| {
            let ContentMatch { content, name, size, .. } = found;
            let (size, name) = (amount(*size), printable(name));
            format!("  {content}  {size}  {name}  from {}, tracker id {}", sharer.address(), sharer.tracker.id)
        };
        let lines = sharers.iter().flat_map(|sharer| sharer.contents.iter().map(|found| line(sharer, found)));
        // Several shares of one user have one tracker id.
        let are_several = sharers.iter().any(|sharer| sharer.tracker.id != sharers[0].tracker.id);
        let last =
            if are_several { "Choose one by its id, or a sharer by --tracker-id" } else { "Choose one by its id" };
        let lines = lines.chain([last.to_owned()]).collect();
        let message = format!("{} contents on this network answer to {wanted:?}:", contents.len());
        return Err(Failure { lines, ..Failure::new(ExitCode::Usage, message) });
    }
    let known = known_trackers(arguments)?;
    let own = arguments.own.own_tracker.as_deref().and_then(|path| peer_id_of_certificate_pem(path).ok());
    let is_known = |sharer: &NearbySharer| {
        let id = sharer.tracker.id;
        arguments.tracker_id.contains(&id)
            || own == Some(id)
            || known.as_ref().is_some_and(|known| !known.places_of(id).is_empty())
    };
    let number = sharers.iter().position(is_known);
    let sharer = sharers.swap_remove(number.unwrap_or_default());
    if number.is_some() {
        return Ok(sharer);
    }
    let (id, place) = (sharer.tracker.id, sharer.address().to_string());
    if !may_ask(arguments) {
        let sentence = format!(
            "{wanted:?} is shared on this network by {place}, who is not known here, and nobody is at a terminal to be asked. If the \
             id that `peer-cli share` shows there is the following, add this to the line: --tracker-id {id}"
        );
        return Err(Failure::new(ExitCode::Usage, sentence));
    }
    let question = format!(
        "{} is shared on this network by {place}, who is not known here and has this id:\n\n    {id}\n\nCompare it with the \
         id that `peer-cli share` shows there. Trust it from now on (yes or no)? ",
        printable(wanted)
    );
    if !confirm_with(question, id).await {
        return Err(Failure::new(ExitCode::Stopped, format!("{place} is not trusted: nothing was taken from it")));
    }
    remember(known.as_ref(), ON_LAN, id);
    Ok(sharer)
}

/// The id by the tracker's certificate, where the folder of certificates says who the tracker is.
fn pinned(arguments: &PeerArguments) -> Result<Option<PeerId>, Failure> {
    if !arguments.own.pins_tracker || !bind::tracker_certificate(arguments).exists() {
        return Ok(None);
    }
    bind::certified_id(arguments).map(Some)
}

fn known_trackers(arguments: &PeerArguments) -> Result<Option<KnownTrackers>, Failure> {
    let Some(path) = &arguments.own.known_trackers else { return Ok(None) };
    KnownTrackers::read(path).map(Some).map_err(|error| {
        let sentence = format!(
            "which trackers are known cannot be read: {}: {error}. Mend that file, or give --tracker-id with the id that the tracker \
             prints at its start",
            path.display()
        );
        Failure::new(ExitCode::CannotWrite, sentence)
    })
}

fn remember(known: Option<&KnownTrackers>, place: &str, id: PeerId) {
    let kept = known.map(|known| known.add(place, id).map_err(|error| format!("{}: {error}", known.path().display())));
    match kept {
        Some(Ok(())) => {}
        Some(Err(reason)) => {
            screen::complain(&format!("it is trusted for this time only, and cannot be kept: {reason}"))
        }
        None => screen::complain("it is trusted for this time only: there is no home folder to keep it in"),
    }
}
