//! Files that are cut, grown, replaced or edited while a seeder maps and serves them.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use testbed::event::{Banned, Verified, Withdrawn};

use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground, wrong_blocks};

pub const CASES: &[Case] =
    &[Case { name: "edits", fault: "a seeder's file is cut, grown, replaced or edited in use, 20 times", run: edits }];

const TIMES: u64 = 20;
/// What is done to the file, in turn.
const EDITS: [&str; 4] = ["cut", "grown", "replaced", "edited in place"];
/// Seconds within which a change is to be noticed, whether or not anyone reads the file.
const NOTICED: f64 = 2.0;
/// Peers that may be banned in all for what they withdrew within a second: none.
const BANNED: f64 = 0.0;

fn change(path: &Path, how: u64, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    let size = fs::metadata(path)?.len();
    let open = || File::options().write(true).open(path);
    match how % EDITS.len() as u64 {
        0 => open()?.set_len(random.u64(..size))?,
        1 => open()?.set_len(size + random.u64(1..1 << 20))?,
        2 => {
            let other = path.with_extension("new");
            let mut bytes = vec![0; 1 << 20];
            random.fill(&mut bytes);
            fs::write(&other, bytes)?;
            fs::rename(&other, path)?;
        }
        _ => {
            let file = open()?;
            let mut bytes = vec![0; 64 << 10];
            // Here and there, all over the file.
            for at in (0..size).step_by(1 << 20) {
                random.fill(&mut bytes);
                storage::positioned::write_all_at(&file, &bytes[..bytes.len().min((size - at) as usize)], at)?;
            }
        }
    }
    Ok(())
}

fn edits(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(ground.seed);
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeder("seeder-1", &[])?;
    stage.seeder("seeder-2", &[])?;
    let mut downloaders = vec![stage.downloader("downloader-1", &[])?];
    let (mut alive, mut withdrawn, mut rounds) = (0, 0, 0);
    let (mut longest, mut unnoticed): (f64, _) = (0.0, Vec::new());
    let input = stage.folder("edited")?.join("input").join(stage.wanted());
    while rounds < TIMES {
        let latest = downloaders[downloaders.len() - 1];
        if stage.peers[latest].said::<Verified>() {
            // On with someone else who wants it.
            let name = format!("downloader-{}", downloaders.len() + 1);
            downloaders.push(stage.downloader(&name, &[])?);
        }
        fs::copy(&ground.file, &input)?;
        let edited = stage.seeder("edited", &[])?;
        // It is to be in use, if only for a moment.
        stage.hear(Duration::from_millis(random.u64(100..700)))?;
        change(&input, rounds, &mut random)?;
        let changed = Instant::now();
        let noticed = stage.until("it is withdrawn", Duration::from_secs(5), |stage| {
            let peer = &stage.peers[edited];
            (peer.said::<Withdrawn>() || peer.ended).then_some(())
        });
        if noticed.is_ok() && stage.peers[edited].said::<Withdrawn>() {
            withdrawn += 1;
            longest = longest.max(changed.elapsed().as_secs_f64());
        } else {
            unnoticed.push(EDITS[rounds as usize % EDITS.len()]);
        }
        rounds += 1;
        alive += u64::from(!stage.peers[edited].ended);
        stage.kill(edited);
    }
    let mut wrong = 0;
    for &downloader in &downloaders {
        let output = stage.folder(&stage.peers[downloader].name)?.join("output");
        let part = stage.part_file(&output);
        wrong += if part.exists() { wrong_blocks(&part, &ground.file)? } else { 0 };
        stage.verified(downloader)?;
    }
    report.holds("complete and equal", true);
    report.at_least("edits while it was in use", rounds as f64, TIMES as f64, "");
    report.at_least("seeders alive", alive as f64, rounds as f64, "");
    report.at_least("withdrawn", withdrawn as f64, rounds as f64, "");
    report.at_most("longest until one was", longest, NOTICED, "s");
    if !unnoticed.is_empty() {
        report.shows("unnoticed", &unnoticed.join(", "));
    }
    report.at_most("bad blocks on disk", wrong as f64, 0.0, "");
    let banned: usize = downloaders.iter().map(|&who| stage.peers[who].count::<Banned>()).sum();
    report.at_most("honest seeders banned", banned as f64, BANNED, "");
    stage.close()
}
