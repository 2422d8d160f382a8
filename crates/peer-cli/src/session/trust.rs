//! Trust on first use: who a tracker is that was named by its host alone, as ssh finds it out.
//!
//! A probe reads the id of what answers there, and says nothing itself: the handshake ends before we have shown who we are. An id
//! that is not known is shown, and confirmed on a terminal. Only then a new connection is made, which demands that id; and it is
//! kept for the next time, when any other id is refused.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use peer::TrackerAddress;
use protocol::{ContentMatch, PeerId, printable};
use settings::terminal::{Turn, turn};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use transport::{Kind, TransportError, Trust, peer_id_of_certificate_pem};

use crate::error::{ExitCode, Failure};
use crate::flags::named::{self, NamedTracker, TrustedTracker};
use crate::flags::peer::PeerArguments;
use crate::session::connect::{self, NamedBy};
use crate::session::known_trackers::{KnownTrackers, place};
use crate::session::lan::Sharer;
use crate::session::notice::DelayedNotice;
use crate::session::patience::{ONE_TRY, Patience, TRY_AGAIN};
use crate::session::{bind, resolve};
use crate::ui::amounts::amount;
use crate::ui::screen;

/// Most addresses of a host that are asked at once.
const ADDRESSES: usize = 8;
/// When one has answered, the others have so long: two that are not the same are to be seen.
const OTHERS: Duration = Duration::from_millis(500);
/// Longest answer that is read.
const LONGEST: u64 = 4096;

/// Who answers, and where.
type Answer = (SocketAddr, PeerId);

/// What the ids that answered come to.
#[derive(Debug, PartialEq)]
enum Judgement {
    /// One that is known.
    Known(PeerId),
    /// One that nobody has vouched for.
    New(PeerId),
    /// Another one than was known of this place, with the line that says which.
    Changed { found: PeerId, known: PeerId, line: usize },
    /// Several, none of which is known.
    Several(Vec<Answer>),
}

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
            let agreed = tokio::task::spawn_blocking({
                let place = place.clone();
                move || confirm(&place, id, &elsewhere)
            });
            if !agreed.await.unwrap_or(false) {
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
pub async fn sharer(mut sharers: Vec<Sharer>, wanted: &str, arguments: &PeerArguments) -> Result<Sharer, Failure> {
    let contents: BTreeSet<_> = sharers.iter().flat_map(|sharer| &sharer.contents).map(|found| found.content).collect();
    if contents.len() > 1 {
        let line = |sharer: &Sharer, found: &ContentMatch| {
            let ContentMatch { content, name, size, .. } = found;
            let (size, name) = (amount(*size), printable(name));
            format!("  {content}  {size}  {name}  from {}, tracker id {}", sharer.address(), sharer.tracker.id)
        };
        let lines = sharers.iter().flat_map(|sharer| sharer.contents.iter().map(|found| line(sharer, found)));
        let last = "Choose one by its id, or a sharer by --tracker-id".to_owned();
        let lines = lines.chain([last]).collect();
        let message = format!("{} contents on this network answer to {wanted:?}:", contents.len());
        return Err(Failure { lines, ..Failure::new(ExitCode::Usage, message) });
    }
    let known = known_trackers(arguments)?;
    let own = arguments.own.own_tracker.as_deref().and_then(|path| peer_id_of_certificate_pem(path).ok());
    let is_known = |sharer: &Sharer| {
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
    let (asked, at) = (printable(wanted), place.clone());
    let agreed = tokio::task::spawn_blocking(move || {
        let question = format!(
            "{asked} is shared on this network by {at}, who is not known here and has this id:\n\n    {id}\n\nCompare it with the \
             id that `peer-cli share` shows there. Trust it from now on (yes or no)? "
        );
        confirm_with(&question, id)
    });
    if !agreed.await.unwrap_or(false) {
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

/// The answers at a host, of which all addresses are asked at the same time.
async fn ask(
    host: &str,
    port: u16,
    arguments: &PeerArguments,
    named_by: NamedBy,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Vec<Answer>, Failure> {
    let trust = bind::trust(arguments)?;
    let addresses = resolve::addresses(host, port, patience, tell).await?;
    let places: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    let (places, most) = (places.join(", "), patience.at_most(ONE_TRY));
    let notice =
        DelayedNotice::new(tell, format!("The tracker at {places} has not answered yet; waiting for it, {most}."));
    let attempt = async || {
        let silent = || addresses.first().copied().map_or(TransportError::Closed, TransportError::Unreachable);
        let tried = timeout(patience.bound(ONE_TRY), answers(&addresses, arguments.transport, &trust));
        tried.await.unwrap_or_else(|_| Err(silent()))
    };
    let may_come = |error: &TransportError| matches!(error, TransportError::Unreachable(_));
    notice.retry(patience, attempt, may_come).await.map_err(|error| {
        if let TransportError::NotTrusted(why) = error {
            return connect::untrusted(why, &places);
        }
        let advice = connect::unreached(named_by, &addresses);
        let sentence = format!("the tracker at {places} cannot be reached: {error}. {advice}");
        Failure::new(ExitCode::TrackerUnreachable, printable(&sentence))
    })
}

/// The answers of those that answer at about the same time; if none does, why the first one does not.
async fn answers(addresses: &[SocketAddr], transport: Kind, trust: &Trust) -> Result<Vec<Answer>, TransportError> {
    let mut asked = JoinSet::new();
    for &address in addresses.iter().take(ADDRESSES) {
        let trust = trust.clone();
        asked.spawn(async move { (address, transport.probe(address, &trust).await) });
    }
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    loop {
        let next = asked.join_next();
        let next = if answers.is_empty() { next.await } else { timeout(OTHERS, next).await.unwrap_or(None) };
        match next {
            Some(Ok((address, Ok(id)))) => answers.push((address, id)),
            Some(Ok((address, Err(error)))) => errors.push((address, error)),
            Some(Err(_)) => {}
            None => break,
        }
    }
    if answers.is_empty() {
        // One that is there says more than one that is not.
        let silent = |error: &TransportError| matches!(error, TransportError::Unreachable(_));
        errors.sort_by_key(|(address, error)| (silent(error), addresses.iter().position(|other| other == address)));
        return Err(errors.into_iter().next().map_or(TransportError::Closed, |(_, error)| error));
    }
    answers.sort_by_key(|(address, _)| addresses.iter().position(|other| other == address));
    Ok(answers)
}

/// `vouched` are ids that something else than an earlier contact says are right.
fn judge(answers: &[Answer], vouched: &[PeerId], entry: Option<(PeerId, usize)>) -> Judgement {
    let mut ids: Vec<PeerId> = Vec::new();
    for (_, id) in answers {
        if !ids.contains(id) {
            ids.push(*id);
        }
    }
    // Another tracker that answers at another address of the host is not talked to.
    let is_known = |id: &&PeerId| vouched.contains(id) || entry.is_some_and(|(known, _)| known == **id);
    match (ids.iter().find(is_known), entry, &ids[..]) {
        (Some(&id), ..) => Judgement::Known(id),
        (None, Some((known, line)), [found, ..]) => Judgement::Changed { found: *found, known, line },
        (None, None, [id]) => Judgement::New(*id),
        (None, ..) => Judgement::Several(answers.to_vec()),
    }
}

/// Whether a person can be asked: both ways, and not in the background, where the question would stop the job.
fn may_ask(arguments: &PeerArguments) -> bool {
    !arguments.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && turn() == Turn::Ours
}

/// Asks on the terminal. An answer that is neither yes nor no is asked for again, once; then it is a no.
fn confirm(place: &str, id: PeerId, elsewhere: &str) -> bool {
    let before = match elsewhere {
        "" => String::new(),
        places => format!("You have trusted this id before, as {}.\n", printable(places)),
    };
    let question = format!(
        "The tracker at {} is not known here. What answers there has this id:\n\n    {id}\n\n{before}Compare it with the id that the \
         tracker printed when it was started. Trust it from now on (yes or no)? ",
        printable(place)
    );
    confirm_with(&question, id)
}

fn confirm_with(question: &str, id: PeerId) -> bool {
    let mut errors = std::io::stderr().lock();
    let _ = write!(errors, "{question}").and_then(|()| errors.flush());
    drop(errors);
    let answer = read_reply(id);
    if answer != Some(Reply::Unclear) {
        return answer == Some(Reply::Yes);
    }
    let mut errors = std::io::stderr().lock();
    let _ =
        write!(errors, "Please type yes, or no, or the id that the tracker printed: ").and_then(|()| errors.flush());
    drop(errors);
    read_reply(id) == Some(Reply::Yes)
}

/// What is answered to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Yes,
    No,
    Unclear,
}

/// Reads an answer. Nothing if there is none: the input has ended.
fn read_reply(id: PeerId) -> Option<Reply> {
    let mut answer = Vec::new();
    let read = std::io::stdin().lock().take(LONGEST).read_until(b'\n', &mut answer);
    if !answer.ends_with(b"\n") {
        // Ctrl-D leaves the cursor behind the question.
        let _ = writeln!(std::io::stderr());
    }
    let is_over = read.is_err() || answer.is_empty();
    (!is_over).then(|| understood(&String::from_utf8_lossy(&answer), id))
}

/// Somebody who pastes the id that the tracker printed has compared it.
fn understood(answer: &str, id: PeerId) -> Reply {
    let answer = answer.trim().to_lowercase();
    match &*answer {
        "y" | "yes" => Reply::Yes,
        "n" | "no" => Reply::No,
        answer if answer == id.to_string() => Reply::Yes,
        // Another id than this one is a no, as somebody meant to compare them.
        answer if answer.parse::<PeerId>().is_ok() => Reply::No,
        _ => Reply::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;
    use transport::{Config, Identity};

    use super::*;

    fn id(byte: u8) -> PeerId {
        PeerId(Digest([byte; 32]))
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn an_id_is_known_new_or_changed() {
        let one = [(at(1), id(1))];
        assert_eq!(judge(&one, &[], None), Judgement::New(id(1)));
        assert_eq!(judge(&one, &[], Some((id(1), 3))), Judgement::Known(id(1)));
        assert_eq!(judge(&one, &[id(1)], None), Judgement::Known(id(1)));
        let changed = Judgement::Changed { found: id(1), known: id(2), line: 3 };
        assert_eq!(judge(&one, &[], Some((id(2), 3))), changed);
        assert_eq!(judge(&one, &[id(7)], Some((id(2), 3))), changed);
    }

    #[test]
    fn of_several_that_answer_at_one_host_the_known_one_is_meant() {
        let two = [(at(1), id(1)), (at(2), id(2))];
        assert_eq!(judge(&two, &[], None), Judgement::Several(two.to_vec()));
        assert_eq!(judge(&two, &[], Some((id(2), 3))), Judgement::Known(id(2)));
        assert!(matches!(judge(&two, &[], Some((id(3), 3))), Judgement::Changed { .. }));
        assert_eq!(judge(&[(at(1), id(1)), (at(2), id(1))], &[], None), Judgement::New(id(1)), "it is one tracker");
    }

    #[test]
    fn only_a_yes_is_one_and_what_is_unclear_is_asked_again() {
        assert!(["y\n", "YES\r\n", " yes "].iter().all(|answer| understood(answer, id(1)) == Reply::Yes));
        assert_eq!(understood(&format!("{}\n", id(1)), id(1)), Reply::Yes);
        assert_eq!(understood(&id(2).to_string(), id(1)), Reply::No);
        assert!(["n", "NO\n"].iter().all(|answer| understood(answer, id(1)) == Reply::No));
        assert!(["\n", "maybe", "yesterday"].iter().all(|answer| understood(answer, id(1)) == Reply::Unclear));
    }

    #[tokio::test]
    async fn one_address_that_is_silent_keeps_nobody_from_the_other() {
        let there = Kind::Quic.bind(Config::new(Identity::generate().unwrap(), vec![at(0)])).unwrap();
        let silent = std::net::UdpSocket::bind(at(0)).unwrap();
        let addresses = [silent.local_addr().unwrap(), there.listeners()[0]];
        let found = answers(&addresses, Kind::Quic, &Trust::Anyone).await;
        assert_eq!(found, Ok(vec![(addresses[1], there.peer_id())]));
        let none = answers(&addresses[..1], Kind::Quic, &Trust::Anyone).await;
        assert_eq!(none, Err(TransportError::Unreachable(addresses[0])));
        there.close().await;
    }
}
