//! Downloaders that are killed at any moment, and resume.

use std::time::Duration;

use testbed::event::{Manifest, Progress, Verified};

use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground, wrong_blocks};

pub const CASES: &[Case] =
    &[Case { name: "killed", fault: "kill -9 at 20 random moments, and a new start each time", run: killed }];

const TIMES: usize = 20;
/// Seconds that a downloader lives at most: several of what is claimed in one go.
const LONGEST_LIFE: f64 = 2.5;
/// MiB that a crash may cost: verified pieces that are claimed in one go, and pieces in flight.
const WINDOW: f64 = 64.0;
const IN_FLIGHT: f64 = 32.0;

fn killed(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(ground.seed);
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let part = stage.part_file(&stage.folder("downloader")?.join("output"));
    let (mut lost, mut wrong, mut starts, mut useful) = (0, 0, 0, ground.size);
    for _ in 0..TIMES {
        let downloader = stage.downloader("downloader", &[])?;
        let resumed = stage.event::<Manifest>(downloader, Duration::from_secs(30))?.have;
        starts += u64::from(resumed > 0);
        stage.hear(Duration::from_secs_f64(LONGEST_LIFE * random.f64()))?;
        stage.kill(downloader);
        let had = stage.peers[downloader].have();
        wrong += if part.exists() { wrong_blocks(&part, &ground.file)? } else { 0 };
        let next = stage.downloader("downloader", &[])?;
        let kept = stage.event::<Manifest>(next, Duration::from_secs(30))?.have;
        stage.kill(next);
        lost = lost.max(had.saturating_sub(kept));
        if [downloader, next].iter().any(|&who| stage.peers[who].said::<Verified>()) {
            // It was done before its time: on with an empty folder.
            useful += ground.size;
            std::fs::remove_dir_all(stage.folder("downloader")?.join("output"))?;
        }
    }
    let last = stage.downloader("downloader", &[])?;
    stage.verified(last)?;
    report.holds("complete and equal", true);
    report.at_least("went on where it was, times", starts as f64, 1.0, "");
    report.at_most("bad blocks on disk", wrong as f64, 0.0, "");
    report.at_most("verified pieces lost at most", lost as f64, WINDOW, "MiB");
    stage.hear(Duration::from_secs(1))?;
    let sent = |who: usize| stage.peers[who].last::<Progress>().map_or(0, |progress| progress.sent);
    let again = (0..3).map(sent).sum::<u64>().saturating_sub(useful) as f64 / f64::from(1 << 20);
    report.at_most("sent again for each crash", again / (2 * TIMES) as f64, WINDOW + IN_FLIGHT, "MiB");
    stage.close()
}
