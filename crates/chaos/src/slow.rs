//! Peers that hold others up: that stall, crawl, say nothing, or never read.

use std::time::Duration;

use hostile::{Hostile, Script, has_all, hello, said};
use protocol::{PeerMessage, PieceRange};
use testbed::event::{Banned, Connected, Event, Ready, Verified};

use super::own_node::OwnNode;
use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground, MEMORY};

pub const CASES: &[Case] = &[
    Case { name: "stalled", fault: "a peer offers pieces and never sends any", run: stalled },
    Case { name: "crawling", fault: "a peer gives 1 KB/s", run: crawling },
    Case { name: "silent-streams", fault: "a peer opens streams and says nothing", run: silent_streams },
    Case { name: "never-reads", fault: "a peer asks for pieces and never reads", run: never_reads },
];

/// How much longer the download may take, and the seconds after which the peers that hold it up must be gone.
const SLOWER: f64 = 1.3;
const EVICTED: f64 = 60.0;
const SOON: Duration = Duration::from_secs(30);
/// How long an eviction is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

fn judge(stage: &mut Stage<'_>, report: &mut Report, downloader: usize) -> anyhow::Result<()> {
    let undisturbed = stage.ground.undisturbed()?;
    let seconds = stage.verified(downloader)?;
    report.holds("complete and equal", true);
    report.at_most("time", seconds, SLOWER * undisturbed, "s");
    report.at_most("memory", stage.memory(downloader), MEMORY, "MiB");
    Ok(())
}

/// After what time the peers that held it up were gone, if at all.
fn judge_eviction(report: &mut Report, what: &str, after: Option<Duration>) {
    report.at_most(what, after.map_or(f64::INFINITY, |after| after.as_secs_f64()), EVICTED, "s");
}

fn stalled(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    ground.undisturbed()?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let (content, pieces) = stage.content()?;
    let runs = (0..pieces.min(16)).map(|first| PieceRange { first, count: 1 }).collect();
    let offer = said(&PeerMessage::Offer { content, runs });
    let script = Script::says([has_all(content, pieces), offer].concat());
    let stalls = Hostile::seeder(&stage.tracker()?, content, "random.bin", script);
    let downloader = stage.downloader("downloader", &[])?;
    judge(&mut stage, report, downloader)?;
    judge_eviction(report, "evicted after", stalls.is_shut_out_within(PATIENCE));
    stage.close()
}

fn crawling(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    ground.undisturbed()?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let crawls = OwnNode::seeder(&stage, "crawls", Some(1000))?;
    let downloader = stage.downloader("downloader", &[])?;
    let id = crawls.id.to_string();
    let met = stage.until("the two meet", SOON, |stage| {
        let is_met = |event: &Event| match event {
            Event::Connected(Connected { peer, .. }) | Event::Banned(Banned { peer }) => *peer == id,
            _ => false,
        };
        let met = stage.peers[downloader].events.iter().find(|(_, event)| is_met(event));
        met.map(|&(at, _)| at)
    })?;
    let evicted = stage.until("it is gone, or the download is over", Duration::from_secs(300), |stage| {
        let peer = &stage.peers[downloader];
        let evicted = peer.logged("it gives next to nothing") > 0;
        (evicted || peer.ended || peer.said::<Verified>()).then_some(evicted)
    })?;
    // A download that is over owes it no patience any more.
    let what = if evicted { "evicted after" } else { "borne until the end, after" };
    report.at_most(what, met.elapsed().as_secs_f64(), EVICTED, "s");
    judge(&mut stage, report, downloader)?;
    stage.close()
}

fn silent_streams(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    ground.undisturbed()?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let downloader = stage.downloader("downloader", &[])?;
    stage.event::<Ready>(downloader, SOON)?;
    let (address, id) = (stage.peers[downloader].address()?, stage.peers[downloader].id()?);
    // One that does not even say hello, and one that does.
    let (mute, polite) = (Hostile::new(), Hostile::new());
    let ends = [mute.opens_streams(address, id, Vec::new(), 1000), polite.opens_streams(address, id, hello(), 1000)];
    judge(&mut stage, report, downloader)?;
    for (end, who) in ends.into_iter().zip(["without a hello", "with one"]) {
        judge_eviction(report, &format!("evicted {who} after"), end.recv_timeout(PATIENCE).ok());
    }
    stage.close()
}

fn never_reads(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    ground.undisturbed()?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let (content, pieces) = stage.content()?;
    let hostile = Hostile::new();
    let (address, id) = (stage.peers[0].address()?, stage.peers[0].id()?);
    let end = hostile.never_reads(address, id, content, pieces);
    let downloader = stage.downloader("downloader", &[])?;
    judge(&mut stage, report, downloader)?;
    judge_eviction(report, "evicted after", end.recv_timeout(PATIENCE).ok());
    report.at_most("memory of the seeder that it asks", stage.memory(0), MEMORY, "MiB");
    stage.close()
}
