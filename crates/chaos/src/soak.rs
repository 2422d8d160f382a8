//! `cargo xtask soak`: a swarm of 20 peers under constant faults. Chosen by a seed, peers are killed and restarted, some lie, and
//! links lose, reorder or go dark. Every download must complete with the right bytes, and processes that run all the time must not
//! grow.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytesize::ByteSize;
use testbed::event::{Ready, Sharing, Wanted};
use testbed::relay::{Link, Relay};
use tool::usage;

use crate::Ground;
use crate::liars::flip;
use crate::links::BEHIND_RELAYS;
use crate::own_node::OwnNode;
use crate::stage::Stage;

/// How long, and how.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// Duration of the faults, in minutes
    #[arg(long, default_value_t = 30)]
    pub minutes: u64,
    /// Seed of the random faults
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Size of the file, which has random bytes
    #[arg(long, default_value = "16MiB")]
    pub size: ByteSize,
    /// Keep the folder of the run, with its files and logs
    #[arg(long)]
    pub keep: bool,
}

/// Who takes part: seeders, of whom the first is never killed, downloaders, of whom the first is never killed and goes on as
/// a seeder, and liars.
const SEEDERS: usize = 3;
const DOWNLOADERS: usize = 15;
const LIARS: usize = 2;
/// Bytes a second that each sends and receives at most.
const RATE: &str = "1MiB";
/// Time between two faults, at most.
const FAULT: Duration = Duration::from_secs(4);
/// A download that takes this long without having been killed hangs.
const HANGS: Duration = Duration::from_secs(240);
/// Bytes a minute by which a process that lives all the time may grow.
const SLOPE: f64 = 1_048_576.0;
/// The part of the run whose samples do not count: what is needed once is taken then.
const WARM_UP: f64 = 0.2;

/// A peer of the swarm, by the processes that it has been.
struct Member {
    name: String,
    seeds: bool,
    /// Its process, or when the next is started.
    state: Result<usize, Instant>,
    /// What stands before it, for as long as its process runs.
    _relay: Option<Relay>,
}

/// Runs it, and prints what came of it.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let ground = Ground::prepare(arguments.size.as_u64(), arguments.seed)?;
    let result = soak(&ground, arguments);
    ground.clear(result.is_err() || arguments.keep)?;
    result
}

fn soak(ground: &Ground, arguments: &Arguments) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let mut stage = Stage::open(ground, "soak")?;
    let member = |name: String, seeds| Member { name, seeds, state: Err(Instant::now()), _relay: None };
    let mut members: Vec<_> = (1..=SEEDERS).map(|number| member(format!("seeder-{number}"), true)).collect();
    members.extend((1..=DOWNLOADERS).map(|number| member(format!("downloader-{number}"), false)));
    for member in members.iter_mut().take(SEEDERS) {
        start(&mut stage, member, &mut random)?;
    }
    let liars = (1..=LIARS).map(|n| OwnNode::liar(&stage, &format!("liar-{n}"), flip, Some(1 << 20)));
    let _liars = liars.collect::<anyhow::Result<Vec<_>>>()?;

    let lasts = Duration::from_secs(60 * arguments.minutes);
    let (began, mut next_fault, mut next_sample) = (Instant::now(), Instant::now(), Instant::now());
    let (mut kills, mut completed) = (0, 0);
    let mut samples: Vec<(f64, [f64; 3])> = Vec::new();
    // The tracker, and those who are never killed.
    let veterans = [0, SEEDERS];
    loop {
        let faults = began.elapsed() < lasts;
        stage.hear(Duration::from_millis(100))?;
        for (number, member) in members.iter_mut().enumerate() {
            match member.state {
                Err(at) if Instant::now() >= at => start(&mut stage, member, &mut random)?,
                Err(_) => {}
                Ok(who) => {
                    let done = go_on(&mut stage, who)?;
                    completed += usize::from(done);
                    if done && !veterans.contains(&number) {
                        stage.kill(who);
                        std::fs::remove_dir_all(stage.folder(&member.name)?.join("output"))?;
                        // In the end everyone rests who is done.
                        let rests = if faults { Duration::from_secs_f64(3.0 * random.f64()) } else { HANGS * 10 };
                        member.state = Err(Instant::now() + rests);
                    }
                }
            }
        }
        if faults && Instant::now() >= next_fault {
            next_fault = Instant::now() + FAULT.mul_f64(random.f64());
            let victim = random.usize(1..members.len());
            if let (Ok(who), false) = (members[victim].state, veterans.contains(&victim)) {
                stage.kill(who);
                kills += 1;
                members[victim].state = Err(Instant::now() + Duration::from_secs_f64(5.0 * random.f64()));
            }
        }
        if Instant::now() >= next_sample {
            next_sample += Duration::from_secs(1);
            let tracker = stage.tracker_process().context("the tracker runs")?;
            let [seeder, downloader] = veterans.map(|number| {
                let who = members[number].state.as_ref().ok();
                who.map(|&who| stage.peers[who].process.number())
            });
            let own = |process: Option<u32>| process.map_or(0.0, usage::own_memory);
            samples.push((began.elapsed().as_secs_f64() / 60.0, [own(Some(tracker)), own(seeder), own(downloader)]));
        }
        let busy = members.iter().any(|member| match member.state {
            Ok(who) => !member.seeds && !stage.peers[who].completed(),
            Err(at) => at < Instant::now() + HANGS,
        });
        if !faults && !busy {
            break;
        }
    }
    println!(
        "{completed} downloads completed, every byte equal; {kills} times someone was killed; seed {}",
        arguments.seed
    );
    samples.retain(|(at, _)| *at > WARM_UP * arguments.minutes as f64 && *at < arguments.minutes as f64);
    ensure!(completed > 0 && samples.len() > 2, "too short to see anything");
    let mut grew = Vec::new();
    for (number, who) in ["tracker", "seeder", "downloader"].into_iter().enumerate() {
        let points: Vec<_> = samples.iter().map(|(at, held)| (*at, held[number])).collect();
        let (slope, last) = (slope(&points), points[points.len() - 1].1 / f64::from(1 << 20));
        println!("{who}: {last:.1} MiB of its own in the end, {slope:+.0} bytes a minute (≤ {SLOPE:.0})");
        if slope > SLOPE {
            grew.push(who);
        }
    }
    ensure!(grew.is_empty(), "memory grows: {}", grew.join(", "));
    stage.close()
}

/// Starts a member's process, half of the time behind a bad link.
fn start(stage: &mut Stage<'_>, member: &mut Member, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    let relay = if random.bool() { Some(Relay::start(bad_link(random))?) } else { None };
    let mut flags = vec![format!("--up-rate={RATE}")];
    if let Some(relay) = &relay {
        flags.push(format!("--announce={}", relay.address()));
        flags.extend(BEHIND_RELAYS.map(str::to_owned));
    }
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let who = match member.seeds {
        true => stage.seeder(&member.name, &flags)?,
        false => stage.downloader_at(&member.name, RATE, &[&flags[..], &["--wait=1m"]].concat())?,
    };
    stage.event::<Ready>(who, Duration::from_secs(60))?;
    if let Some(relay) = &relay {
        relay.lead_to(stage.peers[who].address()?);
    }
    (member.state, member._relay) = (Ok(who), relay);
    Ok(())
}

fn bad_link(random: &mut fastrand::Rng) -> Link {
    let ms = |most: u64, random: &mut fastrand::Rng| Duration::from_millis(random.u64(..most));
    let mut link = Link { rtt: ms(60, random), jitter: ms(5, random), seed: random.u64(..), ..Link::default() };
    link.loss = 0.03 * random.f64();
    link.reorder = 0.03 * random.f64();
    link.duplicate = 0.03 * random.f64();
    if random.u8(..3) == 0 {
        let (at, lasts) = (ms(20_000, random), ms(12_000, random));
        link.blackouts.push(testbed::relay::Blackout { at, lasts });
    }
    if random.u8(..3) == 0 {
        link.rebind = Some(Duration::from_secs(random.u64(2..10)));
    }
    link
}

/// Whether a process has just completed its download, which is compared then.
fn go_on(stage: &mut Stage<'_>, who: usize) -> anyhow::Result<bool> {
    let peer = &stage.peers[who];
    if peer.ended {
        bail!("{} has ended: {}", peer.name, peer.process.last_words());
    }
    if !peer.said::<Wanted>() || peer.compared {
        ensure!(
            peer.compared || peer.said::<Sharing>() || peer.started.elapsed() < HANGS,
            "{} finds nothing",
            peer.name
        );
        return Ok(false);
    }
    ensure!(peer.completed() || peer.started.elapsed() < HANGS, "{} hangs at {} pieces", peer.name, peer.have());
    if !peer.completed() {
        return Ok(false);
    }
    stage.verified(who)?;
    stage.peers[who].compared = true;
    Ok(true)
}

/// Growth a unit of time, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let together: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    together / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line_in_the_noise() {
        let points: Vec<_> = (0..100).map(|n| (f64::from(n), 3.0 * f64::from(n) + f64::from(n % 2))).collect();
        assert!((slope(&points) - 3.0).abs() < 0.01, "{}", slope(&points));
    }
}
