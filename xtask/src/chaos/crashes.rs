//! Downloaders that die at any moment, and go on.

use std::time::Duration;

use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground, wrong_blocks};

pub const CASES: &[Case] =
    &[Case { name: "killed", fault: "kill -9 at 20 random moments, and a new start each time", run: killed }];

const TIMES: usize = 20;
/// MiB that a crash may cost: what is claimed in one go, and pieces in flight.
const WINDOW: f64 = 64.0;
const IN_FLIGHT: f64 = 32.0;

fn killed(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(ground.seed);
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let part = stage.folder("downloader")?.join("output").join(format!(".{}.part", stage.wanted().display()));
    let life = ground.size as f64 / super::RATE as f64 / TIMES as f64;
    let (mut lost, mut wrong, mut starts) = (0, 0, 0);
    for _ in 0..TIMES {
        let downloader = stage.downloader("downloader", &[])?;
        let resumed = stage.event(downloader, "manifest", Duration::from_secs(30))?["have"].as_u64().unwrap_or(0);
        starts += u64::from(resumed > 0);
        stage.hear(Duration::from_secs_f64(life * 2.0 * random.f64()))?;
        stage.kill(downloader);
        let had = stage.peers[downloader].have();
        wrong += if part.exists() { wrong_blocks(&part, &ground.file)? } else { 0 };
        let next = stage.downloader("downloader", &[])?;
        let kept = stage.event(next, "manifest", Duration::from_secs(30))?["have"].as_u64().unwrap_or(0);
        stage.kill(next);
        lost = lost.max(had.saturating_sub(kept));
        if stage.peers[next].last("completed").is_some() || stage.peers[downloader].last("completed").is_some() {
            break;
        }
    }
    let last = stage.downloader("downloader", &[])?;
    stage.verified(last)?;
    report.holds("complete and equal", true);
    report.at_least("went on where it was, times", starts as f64, 1.0, "");
    report.at_most("bad blocks on disk", wrong as f64, 0.0, "");
    report.at_most("verified pieces lost at most", lost as f64, WINDOW, "MiB");
    let sent: u64 =
        (0..3).map(|who| stage.peers[who].last("progress").and_then(|p| p["sent"].as_u64()).unwrap_or(0)).sum();
    let again = sent.saturating_sub(ground.size) as f64 / f64::from(1 << 20) / (2 * TIMES) as f64;
    report.at_most("sent again for each crash", again, IN_FLIGHT + WINDOW, "MiB");
    stage.close()
}
