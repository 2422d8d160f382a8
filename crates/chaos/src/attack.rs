//! A download under attack: honest seeders with an uplink of 20 MiB/s each, one honest downloader, and a crowd of hostile peers.
//! Its time is compared with that of the same download without attackers.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use hostile::{Behaviour, Crowd, Hosts, Target, Victim};
use testbed::event::Ready;

use super::Ground;
use super::stage::Stage;

/// Bytes a second that each honest seeder gives, and that the downloader takes where there are several.
pub const UPLINK: &str = "20MiB";
/// A download that takes so many times as long as without attackers, and this much longer, is given up.
const HOPELESS: f64 = 4.0;
const LEEWAY: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(60);

/// How a download is set up, with and without attackers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// Honest seeders; more than one only if the downloader's rate is capped.
    pub seeders: usize,
    /// Flags of the seeders, beside their rate.
    pub seeder: &'a [&'a str],
    /// Flags of the downloader.
    pub downloader: &'a [&'a str],
}

/// Who attacks whom, and from where.
pub struct Attack {
    /// What each attacker does.
    pub behaviours: Vec<Behaviour>,
    /// The addresses that they bind.
    pub hosts: Hosts,
    /// Whom they dial.
    pub aim: Aim,
}

/// Whom attackers dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// The downloader, once it runs. It hears of them from the tracker, too.
    Downloader,
    /// The first seeder, before the downloader comes. The tracker does not hear of them.
    Seeder,
}

/// What came of a download.
pub struct Outcome {
    /// Seconds from the start of the process until all was verified, unless that took too long.
    pub seconds: Option<f64>,
    /// What it had in the end.
    pub have: u32,
    /// The most memory that the downloader and the first seeder used, in MiB.
    pub memory: [f64; 2],
    /// Connections that the attackers had, and questions that they were asked.
    pub connections: u64,
    pub asked: u64,
    /// Bytes of pieces that attackers received.
    pub taken: u64,
}

impl Outcome {
    /// Seconds, or infinity.
    pub fn time(&self) -> f64 {
        self.seconds.unwrap_or(f64::INFINITY)
    }
}

impl Ground {
    /// Seconds of a download without attackers, measured when it is first asked for.
    pub(super) fn calm(&self, setup: &Setup<'_>) -> anyhow::Result<f64> {
        let key = format!("{setup:?}");
        if let Some(&seconds) = self.calm.borrow().get(&key) {
            return Ok(seconds);
        }
        let mut stage = Stage::open(self, "calm")?;
        setup.start_seeders(&mut stage)?;
        let downloader = setup.start_downloader(&mut stage)?;
        let seconds = stage.verified(downloader)?;
        stage.close()?;
        self.clear_stage("calm")?;
        self.calm.borrow_mut().insert(key, seconds);
        Ok(seconds)
    }

    fn clear_stage(&self, name: &str) -> anyhow::Result<()> {
        Ok(std::fs::remove_dir_all(self.folder.join(name))?)
    }

    /// Runs a download beside these attackers. `name` is the stage's.
    pub(super) fn attacked(&self, name: &str, setup: &Setup<'_>, attack: Attack) -> anyhow::Result<Outcome> {
        self.attacked_with(name, setup, attack, |_| Ok(()), |_, _| ())
    }

    /// The same; `before` is called when the seeders run, and `after` when the download is over.
    pub(super) fn attacked_with(
        &self,
        name: &str,
        setup: &Setup<'_>,
        attack: Attack,
        before: impl FnOnce(&mut Stage<'_>) -> anyhow::Result<()>,
        after: impl FnOnce(&mut Stage<'_>, &Outcome),
    ) -> anyhow::Result<Outcome> {
        let calm = self.calm(setup)?;
        let mut stage = Stage::open(self, name)?;
        setup.start_seeders(&mut stage)?;
        before(&mut stage)?;
        let victim = victim(&stage)?;
        let tracker = stage.tracker()?;
        let tracker = (attack.aim == Aim::Downloader).then_some(&tracker);
        let mut crowd = Crowd::start(tracker, &victim, attack.hosts, attack.behaviours)?;
        anyhow::ensure!(crowd.has_joined(SOON), "the attackers do not start");
        if attack.aim == Aim::Seeder {
            crowd.dial(target(&stage, 0)?);
            // All of them are there, or have been turned away, before the downloader comes.
            stage.hear(Duration::from_secs(3))?;
        }
        let downloader = setup.start_downloader(&mut stage)?;
        if attack.aim == Aim::Downloader {
            stage.event::<Ready>(downloader, SOON)?;
            crowd.dial(target(&stage, downloader)?);
        }
        let most = Duration::from_secs_f64(HOPELESS * calm) + LEEWAY;
        stage.until("the download ends", most + SOON, |stage| {
            let peer = &stage.peers[downloader];
            (peer.completed() || peer.ended || peer.started.elapsed() > most).then_some(())
        })?;
        let completed = stage.peers[downloader].completed();
        let seconds = if completed { Some(stage.verified(downloader)?) } else { None };
        let tally = crowd.tally();
        let load = |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
        let outcome = Outcome {
            seconds,
            have: stage.peers[downloader].have(),
            memory: [stage.memory(downloader), stage.memory(0)],
            connections: load(&tally.connections),
            asked: load(&tally.asked),
            taken: load(&tally.received),
        };
        let seconds = seconds.map_or("not complete".to_owned(), |seconds| format!("{seconds:.2} s"));
        eprintln!(
            "      {name}: {seconds} (without attackers {calm:.2} s); {} of {} pieces; {:.0} MiB; {} connections, {} questions",
            outcome.have, victim.pieces, outcome.memory[0], outcome.connections, outcome.asked
        );
        after(&mut stage, &outcome);
        drop(crowd);
        // Nobody waits for those that hostile peers hold up.
        (0..stage.peers.len()).rev().for_each(|who| stage.kill(who));
        drop(stage);
        self.clear_stage(name)?;
        Ok(outcome)
    }
}

impl Setup<'_> {
    fn start_seeders(&self, stage: &mut Stage<'_>) -> anyhow::Result<()> {
        let rate = format!("--up-rate={UPLINK}");
        let flags = [&[&*rate], self.seeder].concat();
        (1..=self.seeders).try_for_each(|number| stage.seeder_with(&format!("seeder-{number}"), &flags).map(drop))
    }

    fn start_downloader(&self, stage: &mut Stage<'_>) -> anyhow::Result<usize> {
        let file = stage.wanted().display().to_string();
        let rate = format!("--down-rate={UPLINK}");
        let capped: &[&str] = if self.seeders > 1 { &[&rate] } else { &[] };
        let flags = [&["-f", &*file], capped, self.downloader].concat();
        stage.start("downloader", stage.command(&flags))
    }
}

/// The content of the stage, as attackers know it.
fn victim(stage: &Stage<'_>) -> anyhow::Result<Victim> {
    let (content, pieces) = stage.content()?;
    let size = stage.ground.size;
    // The last piece may be shorter than the others, which are powers of two.
    let piece_size = size.div_ceil(u64::from(pieces.max(1))).next_power_of_two();
    let (name, file) = (stage.wanted().display().to_string(), Arc::new(File::open(&stage.ground.file)?));
    Ok(Victim { content, name, pieces, piece_size, size, file })
}

fn target(stage: &Stage<'_>, who: usize) -> anyhow::Result<Target> {
    Ok(Target { address: stage.peers[who].address()?, id: stage.peers[who].id()? })
}
