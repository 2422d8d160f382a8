//! Joining a tracker that proves who it is, and what to do if it cannot be joined.
//!
//! How the tracker was named decides what advice helps: only a flag that was given can be changed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use peer::{Joined, Node, PeerError, TrackerAddress};
use protocol::{FOR_SO_MANY, NOT_SHARED_NOW, NOT_YET, Secret, Ticket, printable};
use transport::{TransportError, Untrusted, is_near};

use crate::error::{ExitCode, Failure, failure};
use crate::session::notice::DelayedNotice;
use crate::session::patience::{ONE_TRY, Patience, TRY_AGAIN};
use crate::session::place::{is_public, no_network};

/// A share that is for so many receivers may have a place after this long: that of one that crashed is kept until its silence is noticed.
const FOR_A_PLACE: Duration = Duration::from_secs(15);

/// What the user typed to say which tracker: advice speaks of that, and of nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// `-i` and `-d`.
    Flags,
    /// Nothing: somebody on the local network said so.
    Lan,
    /// `HOST:PORT`, without flags.
    Place,
    /// Either of these, to `doctor`, which says itself what it tries.
    Doctor,
    Ticket,
    /// Nothing: it runs in this process.
    Own,
}

/// Joins the tracker, or several, or says what to do. One that does not answer is waited for as long as `patience` lasts; `tell` is told
/// after a moment that this is so.
pub async fn join(
    node: &Node,
    trackers: Vec<TrackerAddress>,
    named_by: NamedBy,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    join_with(node, (trackers, None), named_by, patience, tell).await
}

/// Joins the tracker that a ticket names, which tells of a private share what it is.
pub async fn join_by_ticket(
    node: &Node,
    ticket: &Ticket,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    join_by_ticket_at(node, ticket, &[], patience, tell).await
}

/// The same where the tracker may be at other addresses, too.
pub async fn join_by_ticket_at(
    node: &Node,
    ticket: &Ticket,
    also_at: &[SocketAddr],
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    // Any other tracker than the sharer's own need not know that there is something to prove.
    let secret = ticket.secret().filter(|_| ticket.content().is_none());
    let mut trackers = TrackerAddress::all_of(ticket);
    trackers[0].addresses.splice(..0, also_at.iter().copied());
    join_with(node, (trackers, secret), NamedBy::Ticket, patience, tell).await
}

/// Joins the tracker of a ticket that was had by a code at `place`: if that is the ticket's own, it is there for sure.
pub async fn join_by_code(
    node: &Node,
    ticket: &Ticket,
    place: &TrackerAddress,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    let mut trackers = TrackerAddress::all_of(ticket);
    // Of several, each is where the ticket says.
    if let [tracker] = &mut trackers[..]
        && place.id.answers_to(tracker.id)
    {
        tracker.addresses.retain(|address| !place.addresses.contains(address));
        tracker.addresses.splice(0..0, place.addresses.iter().copied());
    }
    let secret = ticket.secret().filter(|_| ticket.content().is_none());
    join_with(node, (trackers, secret), NamedBy::Ticket, patience, tell).await
}

async fn join_with(
    node: &Node,
    (mut trackers, secret): (Vec<TrackerAddress>, Option<Secret>),
    named_by: NamedBy,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    let places = |trackers: &[TrackerAddress]| {
        let places: Vec<_> =
            trackers.iter().flat_map(|tracker| &tracker.addresses).map(SocketAddr::to_string).collect();
        places.join(", ")
    };
    let most = patience.at_most(ONE_TRY);
    let slow = match trackers.len() {
        1 if secret.is_some() => {
            format!("The sharer at {} has not answered yet; waiting for it, {most}.", places(&trackers))
        }
        1 => format!("The tracker at {} has not answered yet; waiting for it, {most}.", places(&trackers)),
        _ => format!("None of the trackers at {} has answered yet; waiting for one, {most}.", places(&trackers)),
    };
    let mut notice = DelayedNotice::new(tell, slow);
    let mut place = AwaitedPlace::default();
    loop {
        let join = async {
            match &trackers[..] {
                [only] => node.join_private(only.clone(), secret).await,
                several => node.join_any(several.to_vec()).await,
            }
        };
        let attempt = tokio::time::timeout(patience.bound(ONE_TRY), join);
        let error = match notice.during(attempt).await {
            Ok(Ok(joined)) => return Ok(joined),
            Ok(Err(error)) => error,
            Err(_) => {
                let silent = || TransportError::Lost("it does not answer".to_owned());
                let first = trackers.iter().find_map(|tracker| tracker.addresses.first());
                let reason = first.copied().map_or_else(silent, TransportError::Unreachable);
                PeerError::Tracker { address: places(&trackers), reason }
            }
        };
        if place.is_awaited(&error, tokio::time::Instant::now(), patience, tell) {
            tokio::time::sleep(patience.pause(TRY_AGAIN)).await;
            continue;
        }
        if !may_come(&error) || !patience.waits() {
            return Err(place.refused.unwrap_or_else(|| not_joined(error, &trackers, secret.is_some(), named_by)));
        }
        if let PeerError::Refused(_) = error {
            notice.instead(format!("The content of this ticket is not shared there now; waiting for it, {most}."));
        }
        notice.now();
        let pause = async {
            tokio::time::sleep(patience.pause(TRY_AGAIN)).await;
            for tracker in &mut trackers {
                tracker.resolve_again().await;
            }
        };
        notice.during(pause).await;
    }
}

/// Why no tracker was joined, and what the user can do.
fn not_joined(error: PeerError, trackers: &[TrackerAddress], is_private: bool, named_by: NamedBy) -> Failure {
    if let PeerError::Tracker { reason: TransportError::ClosedByPeer { code: NOT_YET, reason }, .. } = &error {
        let sentence = format!("the content of this ticket is not shared yet: {reason}. --wait 10m waits for it");
        return Failure::new(ExitCode::NotFound, sentence);
    }
    let advice = match error {
        PeerError::Tracker { reason: TransportError::NotTrusted(why), ref address } => return untrusted(why, address),
        PeerError::Tracker { .. } => unreached(named_by, trackers.iter().flat_map(|it| &it.addresses)),
        PeerError::WrongTracker { .. } => impostor(named_by).to_owned(),
        PeerError::Refused(ref reason) if reason == NOT_SHARED_NOW => {
            "Is it still meant to be shared there? --wait 10m waits for it; or ask for a new ticket".to_owned()
        }
        error => return error.into(),
    };
    let Failure { code, message, .. } = failure(&error);
    let message = match &error {
        // Who has such a ticket knows of no tracker: it is the sharer's own.
        PeerError::Tracker { address, reason: TransportError::Unreachable(_) } if is_private => {
            format!("no answer from {address}")
        }
        _ => message,
    };
    Failure::new(code, format!("{message}. {advice}"))
}

/// Whether it is worth trying again: nobody answered, or what a ticket is of is not shared there now. A tracker that answers with
/// another id, or refuses us for another reason, will do so again.
fn may_come(error: &PeerError) -> bool {
    match error {
        PeerError::Tracker { reason, .. } => {
            !reason.is_failed_handshake() && !matches!(reason, TransportError::NotAdmitted(_))
        }
        PeerError::Refused(reason) => reason == NOT_SHARED_NOW,
        _ => false,
    }
}

/// A place among the receivers of a private share that is for so many, all of whom are there.
#[derive(Default)]
struct AwaitedPlace {
    until: Option<tokio::time::Instant>,
    /// Why there is none, once that was said.
    refused: Option<Failure>,
}

impl AwaitedPlace {
    /// Whether to try again because of this error, and says so the first time: who crashed itself is told that somebody is there.
    fn is_awaited(
        &mut self,
        error: &PeerError,
        now: tokio::time::Instant,
        patience: Patience,
        tell: &dyn Fn(String),
    ) -> bool {
        if !matches!(error, PeerError::Refused(reason) if reason.starts_with(FOR_SO_MANY)) {
            return false;
        }
        let until = *self.until.get_or_insert_with(|| {
            let most = patience.at_most(FOR_A_PLACE);
            tell(format!("As many as may have it are there: waiting for one of them to go, {most}."));
            now + patience.bound(FOR_A_PLACE)
        });
        let Failure { code, message, .. } = failure(error);
        let advice = "If one of them was this machine a moment ago, try again in ten seconds";
        self.refused = Some(Failure::new(code, format!("{message}. {advice}")));
        now < until || patience.waits()
    }
}

/// What to try where a tracker at these addresses does not answer.
pub(super) fn unreached<'a>(named_by: NamedBy, tried: impl IntoIterator<Item = &'a SocketAddr>) -> String {
    let tried: Vec<_> = tried.into_iter().copied().collect();
    if tried.iter().any(|address| !address.ip().to_canonical().is_loopback())
        && let Some(sentence) = no_network()
    {
        return sentence.to_owned();
    }
    advice(named_by, &tried)
}

/// The same, where this machine is in a network.
fn advice(named_by: NamedBy, tried: &[SocketAddr]) -> String {
    let ports: BTreeSet<_> = tried.iter().map(SocketAddr::port).collect();
    let its_port = match ports.first() {
        Some(port) if ports.len() == 1 => format!("is {port} its port"),
        _ => "are these the right ports".to_owned(),
    };
    match named_by {
        NamedBy::Flags => format!(
            "Is it running, {its_port} (-d names another), and does UDP or TCP get through? `peer-cli doctor -i TRACKER_IP` tries the \
             way to it"
        ),
        NamedBy::Place => format!(
            "Is it running, {its_port} (HOST:PORT names another), and does UDP or TCP get through? `peer-cli doctor HOST:PORT` tries \
             the way to it"
        ),
        NamedBy::Doctor => format!("Is it running, {its_port}, and does UDP or TCP get through?"),
        NamedBy::Ticket if are_of_another_network(tried) => {
            "The ticket has addresses of another network alone, which are reached only there. Ask for one that leads there from other \
             networks: of a share with -i and a tracker that both sides reach, or behind a router that forwards its port"
                .to_owned()
        }
        NamedBy::Ticket => "Is it still being shared, and does a firewall let UDP or TCP through? If it has moved, ask for a new ticket; \
                            `peer-cli doctor` with the ticket tries the way"
            .to_owned(),
        NamedBy::Lan => {
            "It was heard of on this network: does a firewall there let UDP or TCP through?".to_owned()
        }
        NamedBy::Own => "It runs in this process: does a firewall keep this machine from talking to itself, or is its loopback interface \
                         down?"
            .to_owned(),
    }
}

/// Whether addresses mean something only in a network in which this machine is not.
pub fn are_of_another_network(addresses: &[SocketAddr]) -> bool {
    let leads_elsewhere = |address: &SocketAddr| !is_public(address.ip()) && !is_near(address.ip());
    !addresses.is_empty() && addresses.iter().all(leads_elsewhere)
}

/// Why the certificate of the tracker there is not taken, and what to do.
pub(super) fn untrusted(why: Untrusted, place: &str) -> Failure {
    let sentence = match why {
        Untrusted::OtherCa => format!(
            "the tracker at {place} is of another swarm, or the CA of this one was replaced: {why}. Give --ca with the CA that it has \
             now, or leave out --ca if its swarm is open"
        ),
        Untrusted::OutOfDate => format!(
            "the tracker at {place} cannot be trusted: {why}. It needs a new one, unless the clock of this machine, or of that one, is \
             wrong"
        ),
        _ => format!(
            "this swarm is closed: give --ca with the certificate of its CA (ca.pem). The tracker at {place} lets in nobody without"
        ),
    };
    Failure::new(ExitCode::TrackerUnreachable, printable(&sentence))
}

fn impostor(named_by: NamedBy) -> &'static str {
    match named_by {
        NamedBy::Flags | NamedBy::Place | NamedBy::Doctor => {
            "If it was set up anew, its id has changed: give --tracker-id with the id that it prints at start, or the folder of \
             its certificate with --certs. If not, do not trust what answers there, and check the address and the port"
        }
        NamedBy::Ticket => {
            "If the machine that the ticket is from was set up anew, ask for a new ticket. If not, do not trust what answers there"
        }
        NamedBy::Lan => "Try again: who answered on this network is not there any more",
        NamedBy::Own => "Another program has taken its port: choose another with -d",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doctor_is_recommended_to_all_but_doctor() {
        for named_by in [NamedBy::Flags, NamedBy::Place, NamedBy::Ticket, NamedBy::Doctor] {
            let recommends = unreached(named_by, &[]).contains("peer-cli doctor");
            assert_eq!(recommends, named_by != NamedBy::Doctor, "{named_by:?}");
        }
    }

    /// A crash leaves a ghost that has the place for some seconds.
    #[test]
    fn a_place_among_receivers_is_waited_for_and_then_said_to_be_taken() {
        let (began, said) = (tokio::time::Instant::now(), std::cell::RefCell::new(Vec::new()));
        let (mut place, tell) = (AwaitedPlace::default(), |line| said.borrow_mut().push(line));
        let mut after = |error: &PeerError, seconds| {
            place.is_awaited(error, began + Duration::from_secs(seconds), Patience::new(None), &tell)
        };
        let full = PeerError::Refused(format!("{FOR_SO_MANY}one receiver, who is there or has it"));
        assert!(!after(&PeerError::Refused(NOT_SHARED_NOW.to_owned()), 0));
        assert!(after(&full, 0) && after(&full, 14) && !after(&full, 15));
        assert_eq!(
            said.borrow()[..],
            ["As many as may have it are there: waiting for one of them to go, for 15s at most."]
        );
        let Failure { code, message, .. } = place.refused.unwrap();
        assert_eq!(code, ExitCode::Refused);
        assert!(message.contains("for one receiver") && message.contains("in ten seconds"), "{message}");
    }

    #[test]
    fn the_port_that_was_tried_is_named_in_advice() {
        let at = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        for named_by in [NamedBy::Flags, NamedBy::Place, NamedBy::Doctor] {
            let advice = unreached(named_by, &at(&["127.0.0.1:9998", "[::1]:9998"]));
            assert!(advice.contains("is 9998 its port"), "{advice}");
            let advice = unreached(named_by, &at(&["127.0.0.1:9998", "127.0.0.1:9997"]));
            assert!(advice.contains("are these the right ports"), "{advice}");
        }
    }

    #[test]
    fn a_ticket_of_another_network_is_said_to_be_one() {
        let advice = |all: &[&str]| {
            let tried: Vec<SocketAddr> = all.iter().map(|text| text.parse().unwrap()).collect();
            advice(NamedBy::Ticket, &tried)
        };
        // No machine that runs this is in that network.
        let far = "[fd5e:9a1b:7c2d:1::7]:9999";
        assert!(advice(&[far]).contains("another network"));
        for near in ["127.0.0.1:9999", "203.0.113.7:9999"] {
            assert!(advice(&[far, near]).contains("Is it still being shared"), "{near}");
        }
        assert!(advice(&[]).contains("Is it still being shared"));
    }

    #[test]
    fn a_closed_swarm_is_said_to_be_one_before_all_else() {
        let Failure { code, message, .. } = untrusted(Untrusted::ClosedSwarm, "127.0.0.1:9999");
        assert_eq!(code, ExitCode::TrackerUnreachable);
        assert!(message.starts_with("this swarm is closed: give --ca "), "{message}");
        for why in [Untrusted::ClosedSwarm, Untrusted::OtherCa, Untrusted::OutOfDate] {
            let Failure { message, .. } = untrusted(why, "127.0.0.1:9999");
            assert!(message.contains("127.0.0.1:9999") && !message.contains("port"), "{message}");
        }
    }
}
