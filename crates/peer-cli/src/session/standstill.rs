//! Why a download gets nothing, in words: whom it waits for, and what may be done about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peer::{Fallback, Node, Status, TrackerState, Unanswered, WaitingFor};
use protocol::{Manifest, printable};
use transport::{Kind, TransportError};

use crate::error::{ExitCode, Failure};
use crate::session::family;
use crate::session::find::{Found, Wanted};
use crate::session::patience::{Stillness, how_long, least, now};

/// Most peers that are named.
const NAMED: usize = 3;

/// Where only an origin is left, it is waited for so long, for storage may have to fetch an object before it sends it; and for so long once
/// it has failed.
const ORIGIN: Duration = Duration::from_secs(180);
const FAILED_ORIGIN: Duration = Duration::from_secs(60);

/// Where the sharer has said that its share is over, others who have the rest are waited for so long.
const OVER: Duration = Duration::from_secs(15);

/// Where the tracker knew only of peers that have not all of it, one of them is given so long to send the first thing.
const DOUBT: Duration = Duration::from_secs(30);

/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How this machine dials, and where trackers answer it.
pub struct Dialling {
    transport: Kind,
    trackers: Vec<SocketAddr>,
}

impl Dialling {
    /// As it is now.
    pub fn of(node: &Node, transport: Kind) -> Self {
        let joined = node.watch_trackers();
        let trackers =
            joined.borrow().iter().filter(|one| one.state == TrackerState::Up).filter_map(|one| one.at).collect();
        Dialling { transport, trackers }
    }
}

/// The manifest of a content, if it comes within `wait` from now on; where that takes a while, `tell` is told why.
pub async fn manifest(
    node: &Node,
    (found, origin): (&Found, Option<Arc<dyn Fallback>>),
    (wait, late): (Option<Duration>, ExitCode),
    transport: Kind,
    tell: &dyn Fn(String),
) -> Result<Arc<Manifest>, Failure> {
    let has_origin = origin.is_some();
    let coming = node.manifest_with(found.content, found.secret, origin);
    tokio::pin!(coming);
    let mut still = Stillness::since(now());
    let wanted = found.wanted();
    loop {
        tokio::select! {
            manifest = &mut coming => return Ok(manifest?),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        let now = now();
        if !still.look(now, 0, wait) {
            continue;
        }
        // It may have come just now. Whatever it is, the time counts.
        let waiting = node.waiting_for(found.content).await.unwrap_or(WaitingFor::Disk);
        if let WaitingFor::Manifest { came, .. } = waiting {
            still.manifest(now, came);
        }
        let words = words(&waiting, &wanted, &Dialling::of(node, transport));
        let (doubt, wait) = (doubt(wait, &waiting, &wanted, has_origin), bound(wait, &waiting, has_origin, false));
        let (words, late, wait) = match doubt {
            Some(doubt) => (after_doubt(&wanted, &words), ExitCode::NotFound, Some(doubt)),
            None => (words, late, wait),
        };
        if still.is_over(now, wait) {
            return Err(gave_up(late, &wanted.name, wait, &words, false));
        }
        if still.speaks(now, &words) {
            tell(format!("{words} Waiting {}.", how_long(wait)));
        }
    }
}

/// For how long is waited where `--wait` says nothing: for as long as it takes, unless nobody but an origin is left, or the share is
/// over.
pub fn bound(wait: Option<Duration>, waiting: &WaitingFor, has_origin: bool, is_over: bool) -> Option<Duration> {
    wait.or(match waiting {
        WaitingFor::Origin { .. } => Some(ORIGIN),
        WaitingFor::Tracker | WaitingFor::Peers { .. } if has_origin => Some(FAILED_ORIGIN),
        _ => is_over.then_some(OVER),
    })
}

/// For how long is waited where the tracker knew only of peers that have not all of it, and none of them has sent anything: all of them
/// may be waiting for it, and then for each other. With `--wait`, or with an origin, that is fine.
pub fn doubt(wait: Option<Duration>, waiting: &WaitingFor, wanted: &Wanted, has_origin: bool) -> Option<Duration> {
    let has_sent_nothing =
        matches!(waiting, WaitingFor::Peers { .. } | WaitingFor::Answers { .. } | WaitingFor::Manifest { came: 0, .. });
    (wait.is_none() && !has_origin && wanted.is_in_doubt && has_sent_nothing).then_some(DOUBT)
}

/// Sentences about a download of which nobody had all, and nothing has come.
pub fn after_doubt(wanted: &Wanted, words: &str) -> String {
    format!("The tracker knew of nobody who has all of {}. {words}", wanted.name)
}

/// Whether nobody who is connected has anything of what is missing.
pub fn is_alone(waiting: &WaitingFor, status: &Status) -> bool {
    let lacking: u32 = status.lacking.iter().map(|run| run.count).sum();
    match waiting {
        WaitingFor::Tracker | WaitingFor::Peers { .. } | WaitingFor::Answers { .. } => true,
        WaitingFor::Pieces { .. } => lacking > 0 && lacking >= status.pieces.saturating_sub(status.have),
        _ => false,
    }
}

/// Sentences about a download whose sharer has said why its share is over.
pub fn after_over(reason: &str) -> String {
    format!("Who shares it says: {reason}. Nobody else is known who has the rest.")
}

/// Sentences about a download whose origin has failed, and why.
pub fn after_origin(waiting: &WaitingFor, wanted: &Wanted, failure: &str) -> Option<String> {
    let is_alone = matches!(waiting, WaitingFor::Tracker | WaitingFor::Peers { .. });
    is_alone.then(|| format!("{failure}. No other peer of {} is known.", wanted.name))
}

/// Nothing came within `--wait`.
pub fn gave_up(code: ExitCode, name: &str, wait: Option<Duration>, words: &str, keeps: bool) -> Failure {
    let wait = least(wait.unwrap_or_default());
    let again = if keeps { "What is here is kept: start again later" } else { "Start again later" };
    Failure::new(code, format!("nothing of {name} came within {wait}. {words} {again}"))
}

/// The same sentences where peers were shut out: that explains more than what is waited for.
pub fn after_liars(liars: u32, words: String) -> String {
    match liars {
        0 => words,
        1 => format!("A peer sent wrong pieces and is shut out. {words}"),
        _ => format!("{liars} peers sent wrong pieces and are shut out. {words}"),
    }
}

/// Sentences about what a download waits for.
pub fn words(waiting: &WaitingFor, wanted: &Wanted, dialling: &Dialling) -> String {
    let Wanted { name, .. } = wanted;
    match waiting {
        WaitingFor::Tracker => format!(
            "The tracker is gone, and no other peer of {name} is known. Is the tracker still running? It is tried \
             again every few seconds."
        ),
        WaitingFor::Peers { not_dialled } if !not_dialled.is_empty() => format!(
            "No peer of {name} may be dialled: {} is a private address, and the tracker or peer that named it is in \
             another network. --dial-private dials it anyway.",
            named(not_dialled)
        ),
        WaitingFor::Peers { .. } => format!(
            "The tracker knows no other peer of {name} that can be reached from here. Is the machine that shares it \
             still running?"
        ),
        WaitingFor::Answers { unanswered } if unanswered.is_empty() => {
            format!("No known peer of {name} has answered yet.")
        }
        WaitingFor::Answers { unanswered } => silence(unanswered, wanted, dialling),
        WaitingFor::Manifest { from, .. } => format!("{} has not sent the manifest yet.", named(from)),
        WaitingFor::Pieces { from, unanswered } => {
            // A second call shows that the other end of a connection is gone.
            let is_dead = |at: &&SocketAddr| unanswered.iter().any(|one| one.lost && one.addresses.contains(at));
            let (dead, quiet): (Vec<SocketAddr>, Vec<_>) = from.iter().partition(is_dead);
            let mut sentences = Vec::new();
            if !quiet.is_empty() {
                let at = named(&quiet);
                sentences.push(format!("{at} sends nothing: it may be busy, or have none of the missing pieces."));
            }
            if !dead.is_empty() {
                sentences.push(format!(
                    "{} sends nothing and does not answer a second connection. Is it still running, and is its \
                     network up?",
                    named(&dead)
                ));
            }
            let is_elsewhere = |one: &&Unanswered| !one.addresses.iter().any(|at| from.contains(at));
            let others: Vec<_> = unanswered.iter().filter(is_elsewhere).cloned().collect();
            if !others.is_empty() {
                sentences.push(silence(&others, wanted, dialling));
            }
            sentences.join(" ")
        }
        WaitingFor::Origin { origin } => {
            format!("Nothing has come from {} yet: it may have to fetch {name} first.", printable(origin))
        }
        WaitingFor::Disk => format!("This machine is still checking or writing the part of {name} that is here."),
        _ => format!("Nothing comes of {name}."),
    }
}

/// The peer that does not answer.
fn silence(unanswered: &[Unanswered], wanted: &Wanted, dialling: &Dialling) -> String {
    // Peers that joined after the tracker counted seeders may have only a part.
    let all_have_it = wanted.seeders.is_some_and(|seeders| unanswered.len() <= seeders as usize);
    let role = if all_have_it { "has it" } else { "takes part" };
    let one = |one| no_answer(one, role, dialling);
    let mut sentences: Vec<_> = unanswered.iter().take(NAMED).map(one).collect();
    let more = unanswered.len().saturating_sub(NAMED);
    if more > 0 {
        sentences.push(format!("The same applies to {more} more."));
    }
    sentences.join(" ")
}

fn no_answer(one: &Unanswered, role: &str, dialling: &Dialling) -> String {
    let at = named(&one.addresses);
    if let (Some(TransportError::Unreachable(_)), Some(family)) = (&one.reason, family::lacking(&one.addresses)) {
        return known_elsewhere(&at, role, family);
    }
    let carrier = match dialling.transport {
        Kind::Auto => "answers neither UDP nor TCP",
        Kind::Quic => "does not answer over UDP",
        Kind::Tcp => "does not answer over TCP",
        _ => "does not answer",
    };
    match &one.reason {
        None if one.lost => format!("The connection to {at} was lost, and it has not answered again yet."),
        None => format!("{at} {role} but has not answered yet."),
        Some(TransportError::Unreachable(_)) if one.lost => {
            format!("The connection to {at} was lost, and now it {carrier}. Is it still running, and at that address?")
        }
        Some(TransportError::Unreachable(_)) => match family::unproven(&one.addresses, &dialling.trackers) {
            Some(family) => format!(
                "{at} {role}, but is known by {family} alone and {carrier}; does {family} work here, and does a \
                 firewall there let that port in?"
            ),
            None => format!("{at} {role} but {carrier}; does a firewall there let that port in?"),
        },
        Some(TransportError::WrongPeer { addr, .. }) => {
            format!("{at} is not there any more: somebody else answers at {addr} now.")
        }
        Some(error) => format!("{at} {role}, but: {error}."),
    }
}

/// No firewall has to do with it.
fn known_elsewhere(at: &str, role: &str, family: &str) -> String {
    format!(
        "{at} {role}, but is known by {family} alone, and this machine has no {family}. A tracker with --relay would carry \
         it, and so would anyone who takes part and has both."
    )
}

/// The first of them, and how many more there are.
fn named(addresses: &[SocketAddr]) -> String {
    let more = addresses.len().saturating_sub(1);
    match addresses.first() {
        None => "a peer".to_owned(),
        Some(first) if more == 0 => first.to_string(),
        Some(first) => format!("{first} (or at {more} more)"),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{PeerId, PieceRange};

    use super::*;

    fn unanswered(address: &str, reason: Option<TransportError>) -> Unanswered {
        let addresses = vec![address.parse().unwrap()];
        Unanswered { peer: PeerId::of_public_key(b"peer"), addresses, reason, lost: false }
    }

    #[test]
    fn peers_that_were_shut_out_are_named_before_what_is_waited_for() {
        let after = |liars| after_liars(liars, "Nothing comes of x.".to_owned());
        assert_eq!(after(0), "Nothing comes of x.");
        assert_eq!(after(1), "A peer sent wrong pieces and is shut out. Nothing comes of x.");
        assert_eq!(after(3), "3 peers sent wrong pieces and are shut out. Nothing comes of x.");
    }

    fn said(waiting: &WaitingFor, seeders: Option<u32>, transport: Kind) -> String {
        words(
            waiting,
            &Wanted { name: "x".to_owned(), seeders, is_in_doubt: false },
            &Dialling { transport, trackers: Vec::new() },
        )
    }

    #[test]
    fn a_silent_peer_is_named_with_what_was_tried() {
        let at = "127.0.0.5:42347";
        let silent = || unanswered(at, Some(TransportError::Unreachable(at.parse().unwrap())));
        let waiting = WaitingFor::Answers { unanswered: vec![silent()] };
        let end = "; does a firewall there let that port in?";
        let auto = format!("{at} has it but answers neither UDP nor TCP{end}");
        assert_eq!(said(&waiting, Some(1), Kind::Auto), auto);
        assert_eq!(said(&waiting, Some(1), Kind::Quic), format!("{at} has it but does not answer over UDP{end}"));
        assert_eq!(said(&waiting, Some(1), Kind::Tcp), format!("{at} has it but does not answer over TCP{end}"));
        let lost = WaitingFor::Answers { unanswered: vec![Unanswered { lost: true, ..silent() }] };
        assert!(said(&lost, Some(1), Kind::Auto).contains("was lost, and now it answers neither"));
    }

    #[test]
    fn a_peer_of_a_family_that_is_lacking_here_has_no_firewall_blamed() {
        let said = known_elsewhere("[2001:db8::1]:9", "has it", "IPv6");
        assert!(said.starts_with("[2001:db8::1]:9 has it, but is known by IPv6 alone, and this machine has no IPv6."));
        assert!(said.contains("--relay") && !said.contains("firewall"), "{said}");
    }

    /// A route may lead nowhere.
    #[test]
    fn a_peer_of_a_family_over_which_no_tracker_is_reached_may_be_beyond_it() {
        let of = |tracker: &str| {
            let silent = unanswered("127.0.0.1:9", Some(TransportError::Unreachable("127.0.0.1:9".parse().unwrap())));
            no_answer(&silent, "has it", &Dialling { transport: Kind::Auto, trackers: vec![tracker.parse().unwrap()] })
        };
        let said = of("[2001:db8::1]:9");
        assert!(said.contains("known by IPv4 alone and answers neither UDP nor TCP; does IPv4 work here"), "{said}");
        assert!(of("192.0.2.1:9").contains("answers neither UDP nor TCP; does a firewall"));
    }

    #[test]
    fn a_connection_whose_other_end_is_gone_is_said_once() {
        let at: SocketAddr = "10.0.0.5:9".parse().unwrap();
        let gone = Unanswered { lost: true, ..unanswered("10.0.0.5:9", Some(TransportError::Unreachable(at))) };
        let waiting = WaitingFor::Pieces { from: vec![at], unanswered: vec![gone] };
        let words = said(&waiting, Some(1), Kind::Auto);
        assert!(words.contains("answer a second connection") && words.matches("10.0.0.5").count() == 1, "{words}");
        let other = unanswered("10.0.0.6:9", None);
        let words = said(&WaitingFor::Pieces { from: vec![at], unanswered: vec![other] }, Some(2), Kind::Auto);
        assert!(words.starts_with("10.0.0.5:9 sends nothing: it may") && words.contains("10.0.0.6:9 has"), "{words}");
    }

    /// A downloader takes part as well.
    #[test]
    fn only_who_has_all_of_it_is_said_to_have_it() {
        let waiting = WaitingFor::Answers { unanswered: vec![unanswered("10.0.0.5:9", None)] };
        assert!(said(&waiting, Some(1), Kind::Auto).contains(" has it but"));
        assert!(said(&waiting, None, Kind::Auto).contains(" takes part but"), "others were known");
        assert!(said(&waiting, Some(0), Kind::Auto).contains(" takes part but"), "it came later");
    }

    #[test]
    fn many_silent_peers_are_counted() {
        let many = (1..=9).map(|n| unanswered(&format!("10.0.0.{n}:9"), None)).collect();
        let said = said(&WaitingFor::Answers { unanswered: many }, None, Kind::Auto);
        assert!(said.contains("10.0.0.3:9") && !said.contains("10.0.0.4:9") && said.ends_with("to 6 more."), "{said}");
    }

    #[test]
    fn private_addresses_that_are_not_dialled_name_the_flag() {
        let private = WaitingFor::Peers { not_dialled: vec!["10.0.0.5:9".parse().unwrap()] };
        let words = said(&private, None, Kind::Auto);
        assert!(words.contains("10.0.0.5:9") && words.contains("--dial-private"), "{words}");
        assert!(said(&WaitingFor::Peers { not_dialled: vec![] }, None, Kind::Auto).contains("no other peer"));
        let origin = WaitingFor::Origin { origin: "https://host/x".to_owned() };
        assert!(said(&origin, None, Kind::Auto).starts_with("Nothing has come from https://host/x yet"));
        assert!(said(&WaitingFor::Tracker, None, Kind::Auto).contains("The tracker is gone"));
    }

    #[test]
    fn a_share_that_is_over_is_not_waited_for_for_ever() {
        let answers = WaitingFor::Answers { unanswered: vec![unanswered("10.0.0.5:9", None)] };
        let pieces = WaitingFor::Pieces { from: vec!["10.0.0.5:9".parse().unwrap()], unanswered: vec![] };
        let mut status = Status::default();
        (status.pieces, status.have, status.lacking) = (10, 4, vec![PieceRange { first: 5, count: 5 }]);
        assert!(is_alone(&answers, &status) && is_alone(&WaitingFor::Tracker, &status));
        assert!(!is_alone(&pieces, &status), "piece 4 comes");
        status.have = 5;
        assert!(is_alone(&pieces, &status) && !is_alone(&WaitingFor::Disk, &status));
        assert_eq!(bound(None, &answers, false, true), Some(OVER));
        assert_eq!(bound(Some(ORIGIN), &answers, false, true), Some(ORIGIN));
        assert_eq!(bound(None, &answers, false, false), None);
    }

    #[test]
    fn an_origin_that_is_all_there_is_is_not_waited_for_for_ever() {
        let (origin, peers) =
            (WaitingFor::Origin { origin: "https://host/x".to_owned() }, WaitingFor::Peers { not_dialled: vec![] });
        let pieces = WaitingFor::Pieces { from: vec![], unanswered: vec![] };
        let bound = |wait, waiting, has_origin| bound(wait, waiting, has_origin, false);
        assert_eq!(bound(None, &origin, true), Some(ORIGIN));
        assert_eq!(bound(None, &peers, true), Some(FAILED_ORIGIN));
        assert_eq!(bound(None, &WaitingFor::Tracker, true), Some(FAILED_ORIGIN));
        assert_eq!((bound(None, &peers, false), bound(None, &pieces, true)), (None, None), "others may come");
        assert_eq!(bound(Some(ORIGIN * 9), &peers, true), Some(ORIGIN * 9));
        let wanted = Wanted { name: "x".to_owned(), seeders: None, is_in_doubt: false };
        let words = after_origin(&peers, &wanted, "https://host/x is not there").unwrap();
        assert_eq!(words, "https://host/x is not there. No other peer of x is known.");
        assert_eq!(after_origin(&pieces, &wanted, "it fails"), None);
    }
}
