//! The router in front of this machine is asked to let others in: by PCP, NAT-PMP or UPnP, whichever it knows.
//!
//! Asked in the background, so that nothing waits for it for long. What it grants is renewed while this runs, asked for anew when
//! this machine is in another network or the router renews it no more, and given back at the end.

mod lan;
mod router;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use peer::Moment;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::session::mapped::{Mapped, MappedPort};
use lan::Lan;
use router::{Carrier, Granted, Router};

/// The router has answered everything within this time. Those that know UPnP alone may be slow.
const ANSWER: Duration = Duration::from_secs(12);
/// One answer, of several that may be needed for a port.
const ONE_ANSWER: Duration = Duration::from_secs(5);
/// What is given back is given back within this time, all of it together.
const GIVE_BACK: Duration = Duration::from_secs(2);
/// Longest time until a renewal, whatever the router grants: it may have been switched off meanwhile, and have forgotten.
const RENEW: Duration = Duration::from_secs(600);
/// Shortest time until a renewal.
const SOONEST: Duration = Duration::from_secs(30);
/// After so many failed renewals in a row the router is searched anew: one that was restarted may have another address for that.
const FAILURES: u32 = 2;
/// How often is looked whether this machine is in another network.
const LOOK: Duration = Duration::from_secs(3);

/// What the router lets in, for as long as this is kept.
pub struct PortMapping {
    mapped: watch::Receiver<Mapped>,
    task: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl PortMapping {
    /// Nothing is asked.
    pub fn none() -> Self {
        let mapped = watch::channel(Mapped { asked: true, ..Mapped::default() }).1;
        PortMapping { mapped, task: None }
    }

    /// Asks for all ports on which something listens at every address of this machine.
    pub fn of(listeners: &[SocketAddr]) -> Self {
        let everywhere = listeners.iter().filter(|listener| listener.ip().is_unspecified());
        let ports: BTreeSet<u16> = everywhere.map(SocketAddr::port).collect();
        match ports.is_empty() {
            true => PortMapping::none(),
            false => PortMapping::by(Lan::find, ports),
        }
    }

    fn by(find: fn() -> Option<Lan>, ports: BTreeSet<u16>) -> Self {
        let (told, mapped) = watch::channel(Mapped::default());
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(run(find, ports, told, ended));
        PortMapping { mapped, task: Some((end, task)) }
    }

    /// What is granted at present.
    pub fn mapped(&self) -> watch::Receiver<Mapped> {
        self.mapped.clone()
    }

    /// Waits until the router has been asked, for this long at most.
    pub async fn asked(&self, patience: Duration) {
        let _ = timeout(patience, self.mapped().wait_for(|mapped| mapped.asked)).await;
    }

    /// Gives everything back.
    pub async fn end(self) {
        if let Some((end, task)) = self.task {
            let _ = end.send(());
            let _ = timeout(GIVE_BACK, task).await;
        }
    }
}

async fn run(
    find: fn() -> Option<Lan>,
    ports: BTreeSet<u16>,
    told: watch::Sender<Mapped>,
    mut ended: oneshot::Receiver<()>,
) {
    let mut pause = RENEW;
    loop {
        let lan = find();
        let mut granted = Vec::new();
        let reason = match &lan {
            Some(lan) => {
                let asking = ask_for_all(lan, &ports, &mut granted, &mut ended);
                timeout(ANSWER, asking)
                    .await
                    .unwrap_or_else(|_| Err("the router does not answer in time".to_owned()))
                    .err()
            }
            None => Some("no router translates the addresses of this machine".to_owned()),
        };
        if let Some(reason) = &reason {
            tracing::debug!(%reason, "the router forwards no port");
        }
        for one in &granted {
            tracing::info!(port = one.port, address = %one.address, by = one.by(), "the router forwards a port");
        }
        // What is granted over one carrier alone is still reached over that one.
        let by = granted.first().map(Granted::by);
        told.send_replace(Mapped { ports: addresses(&granted), by, asked: true, reason });
        let next = hold(find, lan, &mut granted, pause, (&told, &mut ended)).await;
        // Where this machine has moved, the router that it had does not answer any more.
        let _ = timeout(GIVE_BACK, give_back(granted)).await;
        pause = match next {
            NextAttempt::End => return,
            NextAttempt::Moved => RENEW,
            NextAttempt::Lost => SOONEST,
            NextAttempt::Again => (pause * 2).min(RENEW),
        };
    }
}

/// What to do once nothing is held any more.
enum NextAttempt {
    End,
    /// This machine is in another network: ask there.
    Moved,
    /// The router has not renewed what it granted. It may be starting again: ask it often at first.
    Lost,
    /// It has granted nothing, and may by now.
    Again,
}

/// Gives everything back at once.
async fn give_back(granted: Vec<Granted>) {
    let mut all = JoinSet::new();
    granted.into_iter().for_each(|one| drop(all.spawn(one.give_back())));
    while all.join_next().await.is_some() {}
}

/// Asks for every port, over both carriers. One that grants nothing for one port grants nothing for others.
async fn ask_for_all(
    lan: &Lan,
    ports: &BTreeSet<u16>,
    granted: &mut Vec<Granted>,
    ended: &mut oneshot::Receiver<()>,
) -> Result<(), String> {
    let mut router: Option<Router> = None;
    for (&port, carrier) in ports.iter().flat_map(|port| [(port, Carrier::Udp), (port, Carrier::Tcp)]) {
        if is_over(ended) {
            return Ok(());
        }
        let asking = async {
            match &router {
                Some(router) => router.ask(lan, port, carrier).await.map(|one| (None, one)),
                None => Router::find(lan, port, carrier).await.map(|(found, one)| (Some(found), one)),
            }
        };
        let answer = tokio::select! {
            biased;
            answer = timeout(ONE_ANSWER, asking) => answer.ok(),
            _ = &mut *ended => None,
        };
        let Some(answer) = answer else {
            // It may be granted all the same.
            let _ = timeout(GIVE_BACK / 2, router::forget(router.as_ref(), lan, port, carrier)).await;
            return Err("the router does not answer".to_owned());
        };
        let (found, one) = answer?;
        router = router.or(found);
        granted.push(one);
    }
    Ok(())
}

/// Whether nothing is to be forwarded any more. A receiver that has once said so may not be asked again.
fn is_over(ended: &mut oneshot::Receiver<()>) -> bool {
    ended.is_terminated() || !matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

/// Renews what is granted, for as long as this machine is in the same network and the router does so. Where it has granted nothing, it
/// is asked anew after a pause.
async fn hold(
    find: fn() -> Option<Lan>,
    lan: Option<Lan>,
    granted: &mut Vec<Granted>,
    pause: Duration,
    (told, ended): (&watch::Sender<Mapped>, &mut oneshot::Receiver<()>),
) -> NextAttempt {
    // By a clock that counts sleep: the router's goes on meanwhile.
    let mut asked = Moment::now();
    let mut failures = 0;
    loop {
        if ended.is_terminated() {
            return NextAttempt::End;
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = &mut *ended => return NextAttempt::End,
        }
        if find() != lan {
            return NextAttempt::Moved;
        }
        let wait = time_to_ask(granted.iter().map(Granted::lease).min(), failures, pause);
        let Some(lan) = lan.filter(|_| asked.elapsed() >= wait) else { continue };
        if granted.is_empty() {
            return NextAttempt::Again;
        }
        asked = Moment::now();
        failures = if renew_all(&lan, granted).await { failures + 1 } else { 0 };
        if failures >= FAILURES || granted.is_empty() {
            return NextAttempt::Lost;
        }
        let by = granted.first().map(Granted::by);
        told.send_if_modified(|before| {
            let ports = addresses(granted);
            let differs = before.ports != ports;
            (before.ports, before.by) = (ports, by);
            differs
        });
    }
}

/// How long after the router was asked it is asked again, by the shortest lease if it has granted something, and by how often it has not
/// renewed that.
fn time_to_ask(lease: Option<Duration>, failures: u32, pause: Duration) -> Duration {
    match lease {
        Some(_) if failures > 0 => SOONEST,
        Some(lease) => (lease / 2).clamp(SOONEST, RENEW),
        None => pause,
    }
}

/// Renews what is granted, and says whether a part of it could not be. What is not renewed stands until its time is over: the
/// router may only have been slow.
async fn renew_all(lan: &Lan, granted: &mut Vec<Granted>) -> bool {
    let mut failed = false;
    for one in granted.iter_mut() {
        let renewed = timeout(ONE_ANSWER, one.renew(lan)).await;
        if !matches!(renewed, Ok(Ok(()))) {
            tracing::info!(port = one.port, ?renewed, "the router has not renewed a port yet");
            failed = true;
        }
    }
    let (stand, over) = std::mem::take(granted).into_iter().partition(|one| !one.lease().is_zero());
    *granted = stand;
    // It may think otherwise.
    let _ = timeout(GIVE_BACK, give_back(over)).await;
    failed
}

/// Where each port is reached, each place once.
fn addresses(granted: &[Granted]) -> Vec<MappedPort> {
    let mut all: Vec<MappedPort> = Vec::new();
    for one in granted {
        let mapped = MappedPort { port: one.port, address: one.address };
        if !all.contains(&mapped) {
            all.push(mapped);
        }
    }
    all
}

#[cfg(test)]
mod tests;
