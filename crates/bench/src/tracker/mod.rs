//! `cargo xtask bench tracker`: how many peers one tracker can know. Many real connections, of keys of their own, stand between one
//! process and the real program: what each takes, how fast they come, how fast they announce, and whether all are served that want one
//! content at the same moment. `full` does the same to a tracker whose memory strangers have filled.
//!
//! Both sides share the machine's cores, and so does whatever else runs there. So a rate is given twice: as it was here, and by the
//! processor time that both sides took.

mod crowd;
mod full;
mod subject;
mod table;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytesize::ByteSize;
use protocol::Role;
use testbed::files::run_folder;
use testbed::programs;
use tokio::task::JoinSet;
use tool::interrupt::watch_interrupts;
use tool::usage::processor_time;
use transport::{Identity, Kind};

use crowd::{Crowd, Member, content};
use subject::RunningTracker;
use table::{Figures, Rate};

/// Peers that have come before anything is weighed: the tracker's first ones cost what all share.
const FIRST: usize = 64;
/// Handshakes and the search for the path's MTU are over after this long, and what was freed is used again.
const SETTLED: Duration = Duration::from_secs(5);
/// The processor's time is counted in hundredths of a second: idle peers take little of it.
const WATCHED: Duration = Duration::from_secs(20);
/// Peers that announce at once.
const ANNOUNCING: usize = 64;
/// For so long.
const ANNOUNCED: Duration = Duration::from_secs(5);
/// A flash crowd comes within this time.
const FLASH: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Connections
    ///
    /// A tracker pings those that come while it has fewer than 2,000: with few, most of what is measured are pings.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    pub peers: u32,
    /// Ways to connect, as quic or tcp
    #[arg(long, value_name = "TRANSPORT", value_delimiter = ',', default_values = ["quic", "tcp"])]
    pub transport: Vec<Kind>,
    /// The tracker's --memory
    #[arg(long, value_name = "SIZE", default_value = "16GiB")]
    pub memory: ByteSize,
    /// Fill the tracker's memory with strangers that announce nothing, and see whether honest peers are served
    #[arg(long)]
    pub full: bool,
    /// Measure this program, instead of one that is built for it
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}

/// Builds, measures, prints; fails if a figure is not what it should be, or someone is refused.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let program = match &arguments.program {
        Some(program) => program.canonicalize().with_context(|| format!("{}", program.display()))?,
        None => programs::build_for_figures()?.tracker,
    };
    watch_interrupts()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut all = Vec::new();
    for &kind in &arguments.transport {
        let folder = run_folder(&program)?;
        let result = runtime.block_on(measure(arguments, &program, &folder, kind));
        std::fs::remove_dir_all(&folder)?;
        all.extend(result?);
    }
    print!("{}", table::table(&all));
    table::check(&all)
}

async fn measure(arguments: &Arguments, program: &Path, folder: &Path, kind: Kind) -> anyhow::Result<Option<Figures>> {
    let mut tracker = RunningTracker::start(program, folder, arguments.memory)?;
    if arguments.full {
        full::measure(&mut tracker, kind, arguments.peers as usize).await?;
        return Ok(None);
    }
    tracker.has_room(kind, arguments.peers as usize + FIRST)?;
    let crowd = Crowd::at(kind, Ipv4Addr::LOCALHOST.into(), tracker.address, tracker.id)?;
    Ok(Some(measure_all(&mut tracker, &crowd, kind, arguments.peers as usize).await?))
}

/// Keys for so many peers.
fn identities(count: usize) -> anyhow::Result<Vec<Identity>> {
    Ok((0..count).map(|_| Identity::generate()).collect::<Result<_, _>>()?)
}

/// How often something was done, and the time and processor time that it took.
struct Meter {
    began: Instant,
    tracker: f64,
    own: f64,
}

impl Meter {
    fn start(tracker: &RunningTracker) -> anyhow::Result<Self> {
        Ok(Meter { began: Instant::now(), tracker: tracker.busy()?, own: own_time() })
    }

    fn rate(&self, tracker: &RunningTracker, times: u64) -> anyhow::Result<Rate> {
        let [tracker, own] = [tracker.busy()? - self.tracker, own_time() - self.own];
        Ok(Rate { times, seconds: self.began.elapsed().as_secs_f64(), tracker, own })
    }
}

fn own_time() -> f64 {
    processor_time(std::process::id()).unwrap_or_default()
}

async fn measure_all(tracker: &mut RunningTracker, crowd: &Crowd, kind: Kind, peers: usize) -> anyhow::Result<Figures> {
    let say = |what: &str| eprintln!("{kind:?}: {what}");
    say(&format!("{peers} keys"));
    let (first, rest) = (identities(FIRST)?, identities(peers)?);
    let mut members = crowd.join(first).await?;
    announce_own(&mut members, 0).await?;
    tokio::time::sleep(SETTLED).await;
    let (before, (_, counted_before)) = (tracker.memory()?, tracker.status()?);

    say("they join");
    let meter = Meter::start(tracker)?;
    let mut joined = crowd.join(rest).await?;
    let joins = meter.rate(tracker, peers as u64)?;
    announce_own(&mut joined, FIRST).await?;
    members.extend(joined);

    say("they are idle");
    tokio::time::sleep(SETTLED).await;
    let (after, (_, counted)) = (tracker.memory()?, tracker.status()?);
    let meter = Meter::start(tracker)?;
    tokio::time::sleep(WATCHED).await;
    let idle = meter.rate(tracker, members.len() as u64)?;

    say("they announce");
    let meter = Meter::start(tracker)?;
    let (mut members, announced) = announce_again(members).await?;
    let announces = meter.rate(tracker, announced)?;

    say("a flash crowd");
    let told: u64 = members.iter().map(Member::messages).sum();
    let meter = Meter::start(tracker)?;
    let waits;
    (members, waits) = flash_crowd(members).await?;
    let flash = meter.rate(tracker, members.len() as u64)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = members.iter().map(Member::messages).sum::<u64>() - told;
    let gone = members.iter().filter(|member| member.is_gone()).count();
    let in_flash = tracker.memory()?;
    let (known, _) = tracker.status()?;
    ensure!(known as usize + gone >= members.len(), "the tracker knows {known} of {} peers", members.len());
    members.iter().for_each(Member::leave);
    Ok(Figures {
        kind,
        peers,
        room: tracker.room.clone(),
        memory: after.saturating_sub(before) / peers as u64,
        counted: counted.saturating_sub(counted_before) / peers as u64,
        in_flash: in_flash / (peers + FIRST) as u64,
        idle,
        joins,
        failed: crowd.failed(),
        announces,
        flash,
        waits,
        told,
        gone,
    })
}

/// Each announces a content that nobody else has.
async fn announce_own(members: &mut [Member], from: usize) -> anyhow::Result<()> {
    for (number, member) in members.iter_mut().enumerate() {
        member.announce(content((from + number) as u64), Role::Seeder).await?;
    }
    Ok(())
}

/// Some of them announce their own content again and again, each as soon as it is answered. Says how often that was.
async fn announce_again(members: Vec<Member>) -> anyhow::Result<(Vec<Member>, u64)> {
    let until = Instant::now() + ANNOUNCED;
    let mut groups: Vec<Vec<(u64, Member)>> = (0..ANNOUNCING).map(|_| Vec::new()).collect();
    for (number, member) in members.into_iter().enumerate() {
        groups[number % ANNOUNCING].push((number as u64, member));
    }
    let mut working = JoinSet::new();
    for mut group in groups {
        working.spawn(async move {
            let mut count = 0;
            'over: loop {
                for (number, member) in &mut group {
                    member.announce(content(*number), Role::Seeder).await?;
                    count += 1;
                    if Instant::now() >= until {
                        break 'over;
                    }
                }
            }
            Ok::<_, anyhow::Error>((group, count))
        });
    }
    let (mut members, mut count) = (Vec::new(), 0);
    while let Some(done) = working.join_next().await {
        let (group, announced) = done??;
        members.extend(group.into_iter().map(|(_, member)| member));
        count += announced;
    }
    Ok((members, count))
}

/// All want one content within a moment. Gives how long each waited for its answer, in seconds, shortest first.
async fn flash_crowd(members: Vec<Member>) -> anyhow::Result<(Vec<Member>, Vec<f64>)> {
    let (count, wanted) = (members.len(), content(u64::MAX));
    let mut coming = JoinSet::new();
    for (turn, mut member) in members.into_iter().enumerate() {
        coming.spawn(async move {
            tokio::time::sleep(FLASH.mul_f64(turn as f64 / count as f64)).await;
            let began = Instant::now();
            member.announce(wanted, Role::Downloader).await?;
            Ok::<_, anyhow::Error>((member, began.elapsed().as_secs_f64()))
        });
    }
    let (mut members, mut waits) = (Vec::with_capacity(count), Vec::with_capacity(count));
    while let Some(served) = coming.join_next().await {
        let (member, waited) = served??;
        members.push(member);
        waits.push(waited);
    }
    waits.sort_by(f64::total_cmp);
    Ok((members, waits))
}

/// The addresses of honest peers and of strangers, which are in different networks.
const HONEST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 9, 0, 1));
