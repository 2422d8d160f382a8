//! A tracker whose memory is full: strangers at one address have said hello and announce nothing, more of them than it admits.
//! Honest peers, at another address and at the same one, must be served all the same.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use protocol::Role;
use transport::Kind;

use super::crowd::{Crowd, Member, content};
use super::subject::RunningTracker;
use super::{HONEST, identities};

/// Honest peers of each address.
const FEW: usize = 100;
/// What strangers are let in for meanwhile.
const SETTLED: Duration = Duration::from_secs(3);

/// Fills a tracker, and prints how honest peers fare.
pub(super) async fn measure(tracker: &mut RunningTracker, kind: Kind, strangers: usize) -> anyhow::Result<()> {
    let crowd = Crowd::at(kind, Ipv4Addr::LOCALHOST.into(), tracker.address, tracker.id)?;
    let honest = Crowd::at(kind, HONEST, tracker.address, tracker.id)?;
    let here = Crowd::at(kind, Ipv4Addr::LOCALHOST.into(), tracker.address, tracker.id)?;
    eprintln!("{kind:?}: {FEW} honest peers, and {strangers} strangers that announce nothing");
    let mut standing = honest.join(identities(FEW)?).await?;
    serve(&mut standing, content(1)).await?;
    let crowd = crowd.join(identities(strangers)?).await?;
    tokio::time::sleep(SETTLED).await;
    let (known, counted) = tracker.status()?;
    let gone = crowd.iter().filter(|stranger| stranger.is_gone()).count();
    let (memory, busy) = (tracker.memory()? >> 20, tracker.busy()?);
    println!(
        "{kind:?}: {known} peers stay, {gone} strangers made room; {memory} MiB, of which {} MiB are counted",
        counted >> 20
    );
    let began = Instant::now();
    for (what, from, wanted) in [("of another address", &honest, 2), ("of the strangers' address", &here, 3)] {
        let began = Instant::now();
        let mut new = from.join(identities(FEW)?).await?;
        let joined = began.elapsed().as_secs_f64();
        let [median, last] = serve(&mut new, content(wanted)).await?;
        println!(
            "{kind:?}: {FEW} that come {what} are there in {joined:.2} s and answered in {median:.1} ms (median), {last:.1} (last)"
        );
        ensure!(!new.iter().any(Member::is_gone), "honest peers {what} were sent away");
    }
    let [median, last] = serve(&mut standing, content(4)).await?;
    println!("{kind:?}: {FEW} that stood before are answered in {median:.1} ms (median), {last:.1} (last)");
    ensure!(!standing.iter().any(Member::is_gone), "honest peers that stood before were sent away");
    let busy = (tracker.busy()? - busy) / began.elapsed().as_secs_f64();
    println!("{kind:?}: the tracker was busy for {:.0} % of that time", 100.0 * busy);
    Ok(())
}

/// All want one content. Says how long that took in the middle, and at most, in milliseconds.
async fn serve(members: &mut [Member], wanted: protocol::ContentId) -> anyhow::Result<[f64; 2]> {
    let (mut waits, mut named) = (Vec::new(), 0);
    for member in members.iter_mut() {
        let began = Instant::now();
        named += member.announce(wanted, Role::Downloader).await?;
        waits.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    ensure!(named >= members.len() - 1, "they were told of {named} others only");
    waits.sort_by(f64::total_cmp);
    Ok([waits[waits.len() / 2], waits[waits.len() - 1]])
}
