//! The local network: whether it is used, sharers in it that nobody has named, and holders of what a ticket is of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use lan::{ContentKey, Holder, Lan, Multicast, Wanted};
use peer::{Node, TrackerAddress};
use protocol::{ContentMatch, Key, PeerId, Ticket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{ExitCode, Failure};
use crate::flags::peer::PeerArguments;
use crate::session::bind;
use crate::session::place::no_network;

/// Sharers are listened to for so long: two questions, and the answers to them.
const LISTEN: Duration = Duration::from_millis(1200);
/// Where a tracker is silent or gone, holders are listened to for at least this long.
const HOLDERS: Duration = Duration::from_millis(1500);
/// A tracker that answers is better than a holder alone, and has this much longer.
const HEAD_START: Duration = Duration::from_millis(700);
/// Trackers that are asked at the same time: anyone may have made them up.
const AT_ONCE: usize = 4;
/// One tracker is asked for so long.
const ASKED: Duration = Duration::from_secs(4);
/// A tracker that is gone is tried again after this long.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Whether the local network is used where nothing was said: everywhere but in closed swarms, and where a program is started
/// as the original, which says nothing that the original did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByDefault {
    On,
    Off,
}

/// The beacon of this process, if it is to have one and the system has multicast.
pub fn start(arguments: &PeerArguments, by_default: ByDefault) -> Option<Lan> {
    if !is_used(arguments, by_default) {
        return None;
    }
    match Multicast::join(&[bind::address(arguments)]) {
        Ok(multicast) => Some(Lan::start(multicast)),
        Err(error) => {
            tracing::info!(%error, "the local network is not used");
            None
        }
    }
}

fn is_used(arguments: &PeerArguments, by_default: ByDefault) -> bool {
    arguments.lan || (by_default == ByDefault::On && arguments.ca.is_empty() && !arguments.no_lan)
}

/// A tracker in a sharer's process on the local network, and what it says of what is shared openly there.
pub struct NearbySharer {
    pub tracker: TrackerAddress,
    pub contents: Vec<ContentMatch>,
}

impl NearbySharer {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.tracker.addresses[0]
    }
}

/// Sharers on the local network that share something openly, with what each answers to `ask`. Only those of this id, if one is
/// given: nothing is said to others.
pub async fn sharers(
    lan: &Lan,
    arguments: &PeerArguments,
    ask: impl AsyncFn(&Node) -> Result<Vec<ContentMatch>, Failure>,
) -> Result<Vec<NearbySharer>, Failure> {
    let mut sharers = Vec::new();
    for tracker in trackers(lan, Wanted::Open, arguments).await? {
        if !arguments.tracker_id.is_empty() && !arguments.tracker_id.contains(&tracker.id) {
            continue;
        }
        let node = bind::start(arguments, 0, 1, Path::new("output"))?;
        let asked = async {
            node.join(tracker.clone()).await?;
            ask(&node).await
        };
        // One that does not answer shares nothing.
        let answer = timeout(ASKED, asked).await;
        node.shutdown().await;
        match answer {
            Ok(Ok(contents)) => sharers.push(NearbySharer { tracker, contents }),
            Ok(Err(failure)) => tracing::info!(reason = failure.message, "a sharer on the local network"),
            Err(_) => {}
        }
    }
    Ok(sharers)
}

/// Trackers of sharers on the local network that may know a code.
pub async fn knowing_codes(lan: &Lan, arguments: &PeerArguments) -> Result<Vec<TrackerAddress>, Failure> {
    trackers(lan, Wanted::Codes, arguments).await
}

/// Trackers of sharers on the local network, with the ids that they prove to have. Several shares of one user have one id, and each its
/// own port: they are as many trackers.
async fn trackers(lan: &Lan, wanted: Wanted, arguments: &PeerArguments) -> Result<Vec<TrackerAddress>, Failure> {
    let trust = bind::trust(arguments)?;
    let mut found = lan.trackers(wanted);
    let mut trackers: BTreeMap<u64, Vec<SocketAddr>> = BTreeMap::new();
    let until = Instant::now() + LISTEN;
    while let Ok(Some(tracker)) = timeout_at(until, found.recv()).await {
        trackers.entry(tracker.label).or_default().push(tracker.address);
    }
    drop(found);
    let mut probes = JoinSet::new();
    let mut proven = BTreeSet::new();
    // An address of a link tells people less, and means nothing without the interface.
    trackers.values_mut().for_each(|addresses| addresses.sort_by_key(SocketAddr::is_ipv6));
    let mut waiting = trackers.into_values();
    loop {
        while probes.len() < AT_ONCE
            && let Some(addresses) = waiting.next()
        {
            let (kind, trust) = (arguments.transport, trust.clone());
            probes.spawn(async move {
                for address in addresses {
                    if let Ok(Ok(id)) = timeout(ASKED, kind.probe(address, &trust)).await {
                        return Some((id, address));
                    }
                }
                None
            });
        }
        match probes.join_next().await {
            Some(Ok(Some(tracker))) => {
                proven.insert(tracker);
            }
            Some(_) => {}
            None => break,
        }
    }
    if proven.is_empty()
        && let Some(sentence) = no_network()
    {
        return Err(Failure::new(ExitCode::TrackerUnreachable, sentence));
    }
    Ok(proven.into_iter().map(|(id, address)| TrackerAddress { addresses: vec![address], id, name: None }).collect())
}

/// Listens for those who hold what a ticket is of.
pub struct Holders {
    found: mpsc::Receiver<Holder>,
    until: Instant,
    seen: BTreeSet<(PeerId, SocketAddr)>,
}

/// What becomes of a tracker while holders are listened to.
pub enum Raced<T> {
    /// The tracker has answered.
    Tracker(T),
    /// It has not, and there is this holder.
    Holder(Holder),
    /// It has not, and there is none.
    Neither(Failure),
}

impl Holders {
    pub fn of_ticket(lan: &Lan, ticket: &Ticket) -> Option<Self> {
        let key = match ticket.secret() {
            Some(secret) => secret.share_key().lan_key(),
            None => ticket.content()?.lan_key(),
        };
        Some(Self::of(lan, &key))
    }

    pub fn of(lan: &Lan, key: &Key) -> Self {
        let found = lan.holders(&ContentKey::new(key));
        Holders { found, until: Instant::now() + HOLDERS, seen: BTreeSet::new() }
    }

    /// The next one that was not heard before and is of use.
    pub async fn next(&mut self, is_of_use: impl Fn(&Holder) -> bool) -> Option<Holder> {
        loop {
            let holder = self.found.recv().await?;
            if is_of_use(&holder) && self.seen.len() < 256 && self.seen.insert((holder.peer, holder.address)) {
                return Some(holder);
            }
        }
    }

    /// The same within the time that holders are listened to.
    pub async fn soon(&mut self, is_of_use: impl Fn(&Holder) -> bool) -> Option<Holder> {
        timeout_at(self.until, self.next(is_of_use)).await.ok().flatten()
    }

    /// What comes first: what is asked of the tracker, or a holder that is of use while the tracker is silent.
    pub async fn race<T>(
        &mut self,
        tracker: impl Future<Output = Result<T, Failure>>,
        is_of_use: impl Fn(&Holder) -> bool,
    ) -> Raced<T> {
        tokio::pin!(tracker);
        tokio::select! {
            biased;
            answer = &mut tracker => match answer {
                Ok(answer) => Raced::Tracker(answer),
                // A tracker that is there and refuses is heard.
                Err(failure) if failure.code != ExitCode::TrackerUnreachable => Raced::Neither(failure),
                Err(failure) => match self.soon(is_of_use).await {
                    Some(holder) => Raced::Holder(holder),
                    None => Raced::Neither(failure),
                },
            },
            Some(holder) = self.next(&is_of_use) => match timeout(HEAD_START, &mut tracker).await {
                Ok(Ok(answer)) => Raced::Tracker(answer),
                Ok(Err(failure)) if failure.code != ExitCode::TrackerUnreachable => Raced::Neither(failure),
                _ => Raced::Holder(holder),
            },
        }
    }
}

/// Goes on trying to reach the trackers that were gone at the start.
pub fn join_later(node: Node, mut trackers: Vec<TrackerAddress>) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TRY_AGAIN).await;
            for tracker in &mut trackers {
                tracker.resolve_again().await;
            }
            match node.join_any(trackers.clone()).await {
                Ok(_) | Err(peer::PeerError::ShutDown) => return,
                Err(_) => {}
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn used(line: &str) -> bool {
        let cli = Cli::try_parse_from(["peer-cli", "get", "x"].into_iter().chain(line.split_whitespace())).unwrap();
        let Some(Command::Get(get)) = cli.command else { panic!("it is get") };
        is_used(&get.peer, ByDefault::On)
    }

    #[test]
    fn closed_swarms_are_silent_unless_asked() {
        assert!(used(""));
        assert!(!used("--no-lan"));
        assert!(!used("--ca ca.pem"));
        assert!(used("--ca ca.pem --lan"));
    }

    #[test]
    fn the_original_way_of_starting_is_silent_unless_asked() {
        let join = |line: &str| {
            let cli = Cli::try_parse_from(["peer-cli", "-i", "h"].into_iter().chain(line.split_whitespace())).unwrap();
            is_used(&cli.join.peer, ByDefault::Off)
        };
        assert!(!join("-S") && join("-S --lan") && !join("-S --no-lan"));
    }
}
