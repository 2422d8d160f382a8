//! Who answers at a tracker's host, and whether that is somebody who is known.
//!
//! A host may have several addresses, with several trackers: all are asked at the same time, and one that is silent keeps nobody from the
//! others.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::{PeerId, printable};
use tokio::task::JoinSet;
use tokio::time::timeout;
use transport::{Kind, TransportError, Trust};

use crate::error::{ExitCode, Failure};
use crate::flags::peer::PeerArguments;
use crate::session::connect::{self, NamedBy};
use crate::session::notice::DelayedNotice;
use crate::session::patience::{ONE_TRY, Patience};
use crate::session::{bind, resolve};

/// Most addresses of a host that are asked at once.
const ADDRESSES: usize = 8;
/// When one has answered, the others have so long: two that are not the same are to be seen.
const OTHERS: Duration = Duration::from_millis(500);

/// Who answers, and where.
pub(super) type Answer = (SocketAddr, PeerId);

/// What the ids that answered come to.
#[derive(Debug, PartialEq)]
pub(super) enum Judgement {
    /// One that is known.
    Known(PeerId),
    /// One that nobody has vouched for.
    New(PeerId),
    /// Another one than was known of this place, with the line that says which.
    Changed { found: PeerId, known: PeerId, line: usize },
    /// Several, none of which is known.
    Several(Vec<Answer>),
}

/// The answers at a host, of which all addresses are asked at the same time.
pub(super) async fn ask(
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
pub(super) fn judge(answers: &[Answer], vouched: &[PeerId], entry: Option<(PeerId, usize)>) -> Judgement {
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
