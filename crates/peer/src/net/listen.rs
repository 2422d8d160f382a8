//! Being reached: taking connections, and which addresses are announced.

use std::net::SocketAddr;
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::sync::mpsc;
use transport::{Transport, interface_addresses};

use crate::config::MOST_ANNOUNCED;
use crate::report::Report;

/// Time between two looks at the addresses of this machine: machines move, and start before their network.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Takes connections until the transport is closed.
pub(crate) async fn accept(transport: Arc<dyn Transport>, reports: mpsc::Sender<Report>) {
    while let Some(connection) = transport.accept().await {
        if reports.send(Report::Connected { connection, dialled: false }).await.is_err() {
            return;
        }
    }
}

/// The addresses that others may reach this node at: those that it was told to announce, or else those of its
/// interfaces where a listener is bound to all.
pub(crate) fn announced_addresses(transport: &dyn Transport, told: &[SocketAddr]) -> Vec<SocketAddr> {
    if !told.is_empty() {
        return told.to_vec();
    }
    let listeners = transport.listeners();
    let mut addresses = or_seen(interface_addresses(&listeners), &listeners);
    addresses.truncate(MOST_ANNOUNCED);
    addresses
}

/// What was found; or else the ports alone (`0.0.0.0:9000`), for which the tracker puts in the address at which it sees this
/// node.
fn or_seen(found: Vec<SocketAddr>, listeners: &[SocketAddr]) -> Vec<SocketAddr> {
    static SAID: Once = Once::new();
    if !found.is_empty() || listeners.is_empty() {
        return found;
    }
    // The list is empty as well while no interface is up, and nobody need be told of that.
    SAID.call_once(|| {
        tracing::info!(
            "this machine does not say its addresses: others are told the one at which the tracker sees it. Name another with \
             --announce if they cannot reach it there"
        );
    });
    listeners.to_vec()
}

/// Reports the addresses that others may reach this node at, whenever they are not those that are `known` any more.
pub(crate) async fn watch_addresses(
    transport: Arc<dyn Transport>,
    known: Vec<SocketAddr>,
    reports: mpsc::Sender<Report>,
) {
    if !transport.listeners().iter().any(|listener| listener.ip().is_unspecified()) {
        return;
    }
    let look = || {
        let transport = transport.clone();
        async { tokio::task::spawn_blocking(move || announced_addresses(&*transport, &[])).await.unwrap_or_default() }
    };
    report_changes(look, known, reports).await;
}

/// Looks again and again; from the start on, since addresses may change before the first look.
async fn report_changes<F: Future<Output = Vec<SocketAddr>>>(
    look: impl Fn() -> F,
    mut known: Vec<SocketAddr>,
    reports: mpsc::Sender<Report>,
) {
    known.sort_unstable();
    while !reports.is_closed() {
        let addresses = look().await;
        let mut now = addresses.clone();
        now.sort_unstable();
        // A machine without a network has nothing to announce and nobody to announce it to; it may be back with the same addresses.
        let is_cut_off = now.iter().all(|address| address.ip().to_canonical().is_loopback());
        let is_known = now == known || (is_cut_off && !known.is_empty());
        if !is_known {
            known = now;
            if reports.send(Report::Addresses { addresses }).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn parse(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_changed_before_the_first_look_are_reported() {
        let (reports, mut reported) = mpsc::channel(4);
        let [before, after] = ["10.0.0.1:9", "10.0.0.2:9"].map(|address| parse(&[address]));
        let seen = after.clone();
        tokio::spawn(report_changes(move || std::future::ready(seen.clone()), before, reports));
        let first = reported.recv().await;
        assert!(matches!(first, Some(Report::Addresses { addresses }) if addresses == after));
        let again = timeout(LOOK_AGAIN * 5, reported.recv()).await;
        assert!(again.is_err(), "the same is no news");
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_is_back_with_the_same_address_reports_nothing() {
        let (reports, mut reported) = mpsc::channel(4);
        let [home, away, cut_off] =
            [&["10.0.0.1:9", "127.0.0.1:9"], &["10.0.0.2:9", "127.0.0.1:9"], &["127.0.0.1:9"][..]].map(parse);
        let looks = std::sync::Mutex::new(vec![away.clone(), home.clone(), cut_off]);
        let look = move || {
            let mut looks = looks.lock().unwrap();
            std::future::ready(if looks.len() > 1 { looks.pop().unwrap() } else { looks[0].clone() })
        };
        tokio::spawn(report_changes(look, home, reports));
        let first = reported.recv().await;
        assert!(matches!(first, Some(Report::Addresses { addresses }) if addresses == away));
    }

    #[test]
    fn without_an_address_the_tracker_puts_in_what_it_sees() {
        let listeners = parse(&["[::]:9000"]);
        assert_eq!(or_seen(Vec::new(), &listeners), listeners);
        assert_eq!(or_seen(parse(&["10.0.0.1:9000"]), &listeners), parse(&["10.0.0.1:9000"]));
    }
}
