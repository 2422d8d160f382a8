//! Why a download gets nothing, in words: whom it waits for, and what may be done about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer::{Node, Unanswered, WaitingFor};
use protocol::Manifest;
use transport::{Kind, TransportError};

use crate::error::{ExitCode, Failure};
use crate::session::find::Found;
use crate::session::patience::Stillness;

/// Most peers that are named.
const NAMED: usize = 3;

/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The manifest of a content, if it comes within `wait` from now on; where that takes a while, `tell` is told why.
pub async fn manifest(
    node: &Node,
    found: &Found,
    (wait, late): (Option<Duration>, ExitCode),
    transport: Kind,
    tell: &dyn Fn(String),
) -> Result<Arc<Manifest>, Failure> {
    let coming = node.manifest(found.content);
    tokio::pin!(coming);
    let mut still = Stillness::since(Instant::now());
    loop {
        tokio::select! {
            manifest = &mut coming => return Ok(manifest?),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        let now = Instant::now();
        if !still.look(now, 0, wait) {
            continue;
        }
        let Some(waiting) = node.waiting_for(found.content).await else { continue };
        if let WaitingFor::Manifest { came, .. } = waiting {
            still.manifest(now, came);
        }
        let words = words(&waiting, &found.called(), transport);
        if still.is_over(now, wait) {
            return Err(gave_up(late, &found.called(), wait, &words));
        }
        if still.speaks(now, &words) {
            tell(words);
        }
    }
}

/// Nothing came within `--wait`.
pub fn gave_up(code: ExitCode, name: &str, wait: Option<Duration>, words: &str) -> Failure {
    let wait = humantime::format_duration(wait.unwrap_or_default());
    Failure::new(code, format!("nothing of {name} came within {wait}. {words} What is here is kept: start again later"))
}

/// Sentences about what a download of this name waits for.
pub fn words(waiting: &WaitingFor, name: &str, transport: Kind) -> String {
    match waiting {
        WaitingFor::Peers { not_dialled } if !not_dialled.is_empty() => format!(
            "Nobody who takes part in {name} may be dialled: {} is a private address, and whoever names it is in another \
             network. --dial-private dials it all the same.",
            named(not_dialled)
        ),
        WaitingFor::Peers { .. } => {
            format!("The tracker names nobody else who takes part in {name} and can be reached from here; waiting.")
        }
        WaitingFor::Answers { unanswered } if unanswered.is_empty() => {
            format!("Peers that take part in {name} are known, and none has answered yet; waiting.")
        }
        WaitingFor::Answers { unanswered } => silence(unanswered, transport),
        WaitingFor::Manifest { from, .. } => format!("{} has not sent the manifest yet; waiting.", named(from)),
        WaitingFor::Pieces { from, unanswered } => {
            let from = named(from);
            let nothing =
                format!("Nothing comes from {from}: it may have nothing that lacks here, or too much to do; waiting.");
            if unanswered.is_empty() { nothing } else { format!("{nothing} {}", silence(unanswered, transport)) }
        }
        _ => "This machine is busy with what is here.".to_owned(),
    }
}

/// Who does not answer.
fn silence(unanswered: &[Unanswered], transport: Kind) -> String {
    let mut sentences: Vec<_> = unanswered.iter().take(NAMED).map(|one| no_answer(one, transport)).collect();
    let more = unanswered.len().saturating_sub(NAMED);
    if more > 0 {
        sentences.push(format!("And so it is with {more} more."));
    }
    sentences.join(" ")
}

fn no_answer(one: &Unanswered, transport: Kind) -> String {
    let at = named(&one.addresses);
    let carrier = match transport {
        Kind::Auto => "answers neither UDP nor TCP",
        Kind::Quic => "does not answer over UDP",
        Kind::Tcp => "does not answer over TCP",
    };
    match &one.reason {
        None => format!("{at} has it but has not answered yet."),
        Some(TransportError::Unreachable(_)) => {
            format!("{at} has it but {carrier}; does a firewall there let that port in?")
        }
        Some(TransportError::WrongPeer { addr, .. }) => {
            format!("{at} had it, but somebody else answers at {addr} now.")
        }
        Some(error) => format!("{at} has it, but: {error}."),
    }
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
    use protocol::PeerId;

    use super::*;

    fn unanswered(address: &str, reason: Option<TransportError>) -> Unanswered {
        Unanswered { peer: PeerId::of_public_key(b"peer"), addresses: vec![address.parse().unwrap()], reason }
    }

    #[test]
    fn a_silent_peer_is_named_with_what_was_tried() {
        let at = "10.0.0.5:42347";
        let waiting = WaitingFor::Answers {
            unanswered: vec![unanswered(at, Some(TransportError::Unreachable(at.parse().unwrap())))],
        };
        let end = "; does a firewall there let that port in?";
        assert_eq!(words(&waiting, "x", Kind::Auto), format!("{at} has it but answers neither UDP nor TCP{end}"));
        assert_eq!(words(&waiting, "x", Kind::Quic), format!("{at} has it but does not answer over UDP{end}"));
        assert_eq!(words(&waiting, "x", Kind::Tcp), format!("{at} has it but does not answer over TCP{end}"));
    }

    #[test]
    fn many_silent_peers_are_counted() {
        let many = (1..=9).map(|n| unanswered(&format!("10.0.0.{n}:9"), None)).collect();
        let said = words(&WaitingFor::Answers { unanswered: many }, "x", Kind::Auto);
        assert!(
            said.contains("10.0.0.3:9") && !said.contains("10.0.0.4:9") && said.ends_with("with 6 more."),
            "{said}"
        );
    }

    #[test]
    fn private_addresses_that_are_not_dialled_name_the_flag() {
        let said = words(&WaitingFor::Peers { not_dialled: vec!["10.0.0.5:9".parse().unwrap()] }, "x", Kind::Auto);
        assert!(said.contains("10.0.0.5:9") && said.contains("--dial-private"), "{said}");
        assert!(words(&WaitingFor::Peers { not_dialled: vec![] }, "x", Kind::Auto).contains("nobody else"));
    }
}
