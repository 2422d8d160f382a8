//! Names that lead to several trackers, as that of a headless Service does: each address is a tracker of its own, and the name is
//! looked up again and again, as trackers come and go.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{TrackerAddress, WELCOME};
use crate::report::Report;
use crate::resolver::Resolver;

/// A name is looked up again after this time, more or less: peers are not to ask all at once.
const LOOK_AGAIN: Duration = Duration::from_secs(20);

/// Where a name leads now; nothing if the name servers do not say.
pub(super) async fn look_up(resolver: &Resolver, name: &str) -> Option<Vec<SocketAddr>> {
    let found = timeout(WELCOME, resolver(name.to_owned())).await.ok()?.ok()?;
    (!found.is_empty()).then_some(found)
}

/// Whether these are the addresses of several trackers. One of each family is one machine.
pub(crate) fn are_several(addresses: &[SocketAddr]) -> bool {
    let families: BTreeSet<_> = addresses.iter().map(|address| (address.is_ipv6(), address)).collect();
    let of = |ipv6| families.iter().filter(|(family, _)| *family == ipv6).count();
    of(true) > 1 || of(false) > 1
}

/// Whether it may lead elsewhere later: what is an address itself, or this machine, never does.
pub(crate) fn may_change(name: &str) -> bool {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    name.parse::<SocketAddr>().is_err() && host != "localhost"
}

/// Each tracker behind an address that was named.
pub(crate) fn behind(tracker: &TrackerAddress, found: &[SocketAddr]) -> Vec<TrackerAddress> {
    let one = |&address| TrackerAddress { addresses: vec![address], id: tracker.id, name: None };
    let mut seen = BTreeSet::new();
    found.iter().filter(|address| seen.insert(**address)).map(one).collect()
}

/// Reports where a name leads, each time that this has changed, until the node ends.
pub(crate) async fn watch(
    resolver: Resolver,
    (place, name): (usize, String),
    known: Vec<SocketAddr>,
    reports: mpsc::Sender<Report>,
) {
    let mut known: BTreeSet<_> = known.into_iter().collect();
    while !reports.is_closed() {
        sleep(LOOK_AGAIN.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        let Some(found) = look_up(&resolver, &name).await else { continue };
        let now: BTreeSet<_> = found.iter().copied().collect();
        if now != known {
            known = now;
            if reports.send(Report::Resolved { place, found }).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn several_addresses_of_one_family_are_several_trackers() {
        let parse = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert!(!are_several(&parse(&["127.0.0.1:9", "[::1]:9"])));
        assert!(!are_several(&parse(&["10.0.0.1:9", "10.0.0.1:9"])));
        assert!(are_several(&parse(&["10.0.0.1:9", "10.0.0.2:9"])));
        assert!(are_several(&parse(&["[fd00::1]:9", "10.0.0.2:9", "[fd00::2]:9"])));
    }

    #[test]
    fn addresses_and_this_machine_are_never_looked_up_again() {
        assert!(!may_change("10.0.0.1:9999") && !may_change("[::1]:9999") && !may_change("localhost:9999"));
        assert!(may_change("tracker.example:9999"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_leads_elsewhere_is_reported_once() {
        let [one, two] = ["10.0.0.1:9", "10.0.0.2:9"].map(|text| text.parse::<SocketAddr>().unwrap());
        let looks = Arc::new(std::sync::Mutex::new(vec![vec![one, two], vec![two, one], vec![], vec![one]]));
        let resolver: Resolver = Arc::new(move |_| {
            let mut looks = looks.lock().unwrap();
            let found = if looks.len() > 1 { looks.pop().unwrap() } else { looks[0].clone() };
            Box::pin(std::future::ready(Ok(found)))
        });
        let (reports, mut reported) = mpsc::channel(4);
        tokio::spawn(watch(resolver, (3, "trackers:9".to_owned()), vec![one], reports));
        let first = reported.recv().await;
        assert!(
            matches!(first, Some(Report::Resolved { place: 3, found }) if found == [two, one]),
            "not the empty one"
        );
        assert!(timeout(LOOK_AGAIN * 9, reported.recv()).await.is_err(), "the order is no news");
    }
}
