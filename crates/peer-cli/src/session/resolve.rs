//! Where trackers are that were named by their hosts, and who each must prove to be.
//!
//! A machine may start before its network: what name servers do not know yet is asked for again, for as long as there is patience.

use std::net::SocketAddr;

use peer::TrackerAddress;
use tokio::task::JoinSet;

use crate::error::{ExitCode, Failure};
use crate::flags::named::{self, NamedTracker, TrustedTracker};
use crate::flags::peer::PeerArguments;
use crate::session::bind::certified_id;
use crate::session::notice::DelayedNotice;
use crate::session::patience::{ONE_TRY, Patience};

/// Where the trackers are that -i names, and who each must prove to be: what was found out before, or else what is given or stands
/// in the certs folder.
pub async fn trackers(
    given: &[String],
    port: u16,
    arguments: &PeerArguments,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Vec<TrackerAddress>, Failure> {
    trackers_of(&trusted(given, port, arguments)?, patience, tell).await
}

/// The same before anything is looked up: for who goes on without them and asks again later.
pub fn unresolved(given: &[String], port: u16, arguments: &PeerArguments) -> Result<Vec<TrackerAddress>, Failure> {
    let trusted = trusted(given, port, arguments)?.into_iter();
    let nowhere =
        |TrustedTracker { named, id }| TrackerAddress { addresses: Vec::new(), id, name: Some(name_of(&named)) };
    Ok(trusted.map(nowhere).collect())
}

fn trusted(given: &[String], port: u16, arguments: &PeerArguments) -> Result<Vec<TrustedTracker>, Failure> {
    if !arguments.trusted.is_empty() {
        return Ok(arguments.trusted.clone());
    }
    let named = named::trackers(given, port)?;
    match &arguments.tracker_id[..] {
        [] => named::with_ids(named, &[certified_id(arguments)?]),
        ids => named::with_ids(named, ids),
    }
}

/// Where these trackers are. Of several, those whose names lead nowhere now are looked up again later.
pub async fn trackers_of(
    trusted: &[TrustedTracker],
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Vec<TrackerAddress>, Failure> {
    if let [TrustedTracker { named, id }] = trusted {
        let addresses = addresses(&named.host, named.port, patience, tell).await?;
        return Ok(vec![TrackerAddress { addresses, id: *id, name: Some(name_of(named)) }]);
    }
    let mut lookups = JoinSet::new();
    for (turn, TrustedTracker { named, .. }) in trusted.iter().enumerate() {
        let name = name_of(named);
        lookups.spawn(async move {
            let found = tokio::time::timeout(ONE_TRY, tokio::net::lookup_host(name)).await;
            (turn, found.ok().and_then(Result::ok).map(Iterator::collect::<Vec<_>>).unwrap_or_default())
        });
    }
    let mut found = vec![Vec::new(); trusted.len()];
    for (turn, addresses) in lookups.join_all().await {
        found[turn] = addresses;
    }
    if found.iter().all(Vec::is_empty) {
        // It says what is wrong, or waits for it.
        let first = &trusted[0].named;
        found[0] = addresses(&first.host, first.port, patience, tell).await?;
    }
    let tracker = |(trusted, addresses): (&TrustedTracker, Vec<SocketAddr>)| TrackerAddress {
        addresses,
        id: trusted.id,
        name: Some(name_of(&trusted.named)),
    };
    Ok(trusted.iter().zip(found).map(tracker).collect())
}

/// Where a host is. A name that nobody knows is asked for again while `patience` lasts: a machine may start before its network.
pub async fn addresses(
    host: &str,
    port: u16,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Vec<SocketAddr>, Failure> {
    let host = without_brackets(host);
    let most = patience.at_most(ONE_TRY);
    let notice =
        DelayedNotice::new(tell, format!("The tracker's name {host:?} is not resolved yet; waiting for that, {most}."));
    let attempt = async || {
        let asked = tokio::time::timeout(patience.bound(ONE_TRY), tokio::net::lookup_host((host, port)));
        match asked.await {
            Ok(Ok(found)) => {
                let addresses: Vec<_> = found.collect();
                if addresses.is_empty() { Err(String::new()) } else { Ok(addresses) }
            }
            Ok(Err(error)) => Err(format!(": {error}")),
            Err(_) => Err(": the name servers do not answer".to_owned()),
        }
    };
    notice.retry(patience, attempt, |_| true).await.map_err(|reason| {
        let advice = "Check it, or give an address; --wait 1m asks for it again";
        let sentence = format!("the tracker's name {host:?} cannot be resolved{reason}. {advice}");
        Failure::new(ExitCode::TrackerUnreachable, sentence)
    })
}

fn name_of(NamedTracker { host, port }: &NamedTracker) -> String {
    with_port(without_brackets(host), *port)
}

/// As name servers are asked.
fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// An IPv6 address may stand in brackets, as in a URL.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
