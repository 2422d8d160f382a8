//! A tracker that dies.

use std::time::{Duration, Instant};

use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground};

pub const CASES: &[Case] =
    &[Case { name: "tracker-killed", fault: "the tracker is killed at 30 %, and started again later", run: killed }];

/// Longest wait of a peer between two tries to come back, twice.
const TWO_INTERVALS: f64 = 20.0;

fn killed(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let undisturbed = ground.undisturbed()?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let downloader = stage.downloader("downloader", &[])?;
    stage.part(downloader, 0.3)?;
    stage.kill_tracker();
    let seconds = stage.verified(downloader)?;
    report.holds("complete and equal", true);
    report.at_most("time", seconds, 1.1 * undisturbed, "s");
    stage.until("everyone has noticed", Duration::from_secs(30), |stage| {
        stage.peers.iter().all(|peer| peer.last("tracker_lost").is_some()).then_some(())
    })?;
    let restarted = Instant::now();
    stage.start_tracker()?;
    stage.until("everyone is back", Duration::from_secs(90), |stage| {
        stage.peers.iter().all(|peer| peer.last("tracker_back").is_some()).then_some(())
    })?;
    report.at_most("all registered again after", restarted.elapsed().as_secs_f64(), TWO_INTERVALS, "s");
    let late = stage.downloader("late", &["--exit-when-done"])?;
    stage.verified(late)?;
    report.holds("who comes late is served", true);
    stage.close()
}
