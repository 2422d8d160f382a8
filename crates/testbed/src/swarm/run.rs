//! Runs a swarm, from the first folder to the last compared byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::network::Standing;
use super::{Idle, Live, Outcome, PeerOutcome, Plan, Sharing, optimum};
use crate::event::{Event, Lacking, Progress};
use crate::files::{first_difference, warm_up};
use crate::process::{Lines, Process, Said};
use crate::programs::Programs;
use crate::{certs, tracker};
use tool::usage::{Usage, Watch, by_thread, used_between};

/// A swarm in which nothing at all happens for this long has failed.
const STALLED: Duration = Duration::from_secs(60);
/// An orderly end takes at most this long.
const GOODBYE: Duration = Duration::from_secs(15);
/// So long after the last download everyone is taken to be idle.
const SETTLED: Duration = Duration::from_secs(3);
/// Time between two looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the plan in `folder`, which it fills. Fails if anything is wrong, naming the peer and its log. All processes
/// have ended when it returns.
pub fn conduct(plan: &Plan, programs: &Programs, folder: &Path, live: &Live) -> anyhow::Result<Outcome> {
    let folder = &fs::canonicalize(folder)?;
    for peer in &plan.peers {
        let folder = folder.join(&peer.name);
        for part in ["input", "hashes", "output"] {
            fs::create_dir_all(folder.join(part))?;
        }
        if let Sharing::Seeds = peer.files {
            plan.files.iter().try_for_each(|file| give(file, &folder.join("input")))?;
        }
    }
    if plan.closed {
        certs::make(programs, &folder.join("certs"), plan.peers.len())?;
    }
    let network = plan.network.set_up(plan)?;
    let (_tracker, tracker_port) = start_tracker(plan, &network, programs, folder)?;
    let tracker_port = network.tracker_port(tracker_port);
    let mut run = Run {
        plan,
        network: &network,
        live,
        lines: Lines::new(1024),
        peers: plan.peers.iter().map(|peer| Peer { name: peer.name.clone(), ..Peer::default() }).collect(),
        processes: BTreeMap::new(),
        began: Instant::now(),
    };
    let start = |run: &mut Run, seeds: bool| -> anyhow::Result<()> {
        for (number, peer) in plan.peers.iter().enumerate() {
            if matches!(peer.files, Sharing::Seeds) == seeds {
                let command = command(plan, number, network.peer(plan, number, &programs.peer), tracker_port);
                let process = run.lines.start(command, &folder.join(&peer.name), number)?;
                run.processes.insert(number, process);
            }
        }
        Ok(())
    };
    start(&mut run, true)?;
    run.until(|run, number| run.peers[number].sharing == plan.files.len(), true)?;
    if plan.warm_up {
        let wanted = (0..plan.peers.len()).flat_map(|peer| wants(plan, peer)).map(|&file| &plan.files[file]);
        warm_up(folder, wanted.flat_map(fs::metadata).map(|file| file.len()).sum())?;
    }
    let watch = Watch::start(run.processes.values().map(Process::number));
    run.began = Instant::now();
    start(&mut run, false)?;
    run.processes
        .values()
        .map(Process::number)
        .filter(|&number| watch.usage(number).is_none())
        .for_each(|n| watch.add(n));
    run.until(|run, number| run.peers[number].verified == wants(plan, number).len(), false)?;
    let seconds_verified = run.began.elapsed().as_secs_f64();
    run.until(|run, number| run.peers[number].completed == wants(plan, number).len(), false)?;
    let seconds = run.began.elapsed().as_secs_f64();
    for (&number, process) in &run.processes {
        run.peers[number].usage = watch.usage(process.number()).filter(|usage| usage.anonymous > 0);
    }
    let links = network.outcome(plan);
    drop(watch);
    plan.idle.map_or(Ok(()), |time| run.idle(time))?;
    compare_all(plan, folder)?;
    run.goodbye()?;
    live.finish();
    let mut bytes = 0;
    for file in &plan.files {
        bytes += fs::metadata(file)?.len();
    }
    let peers = run.outcome();
    let optimum = optimum::compare(plan, bytes, &peers);
    Ok(Outcome { seconds, seconds_verified, bytes, peers, links, optimum })
}

struct Run<'a> {
    plan: &'a Plan,
    network: &'a Standing,
    live: &'a Live,
    lines: Lines,
    peers: Vec<Peer>,
    processes: BTreeMap<usize, Process>,
    /// When the first downloader was started.
    began: Instant,
}

/// What is known of a peer.
#[derive(Default)]
struct Peer {
    name: String,
    id: String,
    sharing: usize,
    verified: usize,
    completed: usize,
    usage: Option<Usage>,
    idle: Option<Idle>,
    /// By content: pieces held, pieces in all, bytes received and sent.
    progress: BTreeMap<String, [u64; 4]>,
    sources: BTreeMap<String, u64>,
    downloaded: u64,
    seconds_verified: f64,
    seconds_durable: f64,
    seconds_from_start: f64,
    uploaded: Option<u64>,
}

impl Run<'_> {
    /// Listens until every seeder (or every downloader) is `done`.
    fn until(&mut self, done: impl Fn(&Self, usize) -> bool, seeders: bool) -> anyhow::Result<()> {
        let mut changed = Instant::now();
        let waits = |run: &Self, number: usize| {
            matches!(run.plan.peers[number].files, Sharing::Seeds) == seeders && !done(run, number)
        };
        while let Some(waiting) = (0..self.peers.len()).find(|&number| waits(self, number)) {
            match self.lines.hear(LOOK)? {
                Some(said) => {
                    changed = Instant::now();
                    self.hear(said)?;
                }
                None if changed.elapsed() < STALLED => {}
                None => bail!("{}", self.complaint(waiting, "nothing has happened for a minute")),
            }
        }
        Ok(())
    }

    fn hear(&mut self, Said { who, line }: Said) -> anyhow::Result<()> {
        let Some(line) = line else {
            if self.peers[who].uploaded.is_some() {
                return Ok(());
            }
            let last_words = self.processes.get(&who).map(Process::last_words).unwrap_or_default();
            bail!("{}", self.complaint(who, &format!("it has ended: {last_words}")));
        };
        let event = Event::parse(&line).with_context(|| self.complaint(who, "it wrote no event"))?;
        let peer = &mut self.peers[who];
        match event {
            Event::Ready(ready) => {
                peer.id = ready.id;
                self.network.listens(who, &ready.listeners);
            }
            Event::Sharing(sharing) => {
                peer.sharing += 1;
                peer.progress.insert(sharing.content, [sharing.held.into(), sharing.pieces.into(), 0, 0]);
            }
            Event::Progress(progress) => {
                let Progress { have, pieces, received, sent, .. } = progress;
                peer.progress.insert(progress.content, [have.into(), pieces.into(), received, sent]);
                self.show(who);
            }
            Event::Verified(_) => {
                peer.verified += 1;
                peer.seconds_from_start = self.began.elapsed().as_secs_f64();
            }
            Event::Completed(completed) => {
                peer.completed += 1;
                peer.verified = peer.verified.max(peer.completed);
                peer.downloaded += completed.size;
                peer.seconds_verified = peer.seconds_verified.max(completed.seconds_verified);
                peer.seconds_durable = peer.seconds_durable.max(completed.seconds_durable);
                for (source, bytes) in completed.sources {
                    *peer.sources.entry(source).or_default() += bytes;
                }
                let progress = peer.progress.entry(completed.content).or_default();
                progress[0] = progress[1];
                progress[2] = progress[2].max(completed.size);
                self.show(who);
            }
            Event::Manifest(manifest) => {
                peer.progress.insert(manifest.content, [manifest.have.into(), manifest.pieces.into(), 0, 0]);
            }
            Event::Lacking(Lacking { pieces, .. }) if !pieces.is_empty() => {
                let pieces: Vec<_> = pieces.iter().map(|[first, count]| format!("[{first},{count}]")).collect();
                self.live.say(who, &format!("nobody has pieces [{}]", pieces.join(",")));
            }
            Event::Withdrawn(withdrawn) => bail!("{}", self.complaint(who, &withdrawn.reason)),
            Event::Banned(_) => bail!("{}", self.complaint(who, "a peer sent it wrong pieces")),
            Event::Error(error) => bail!("{}", self.complaint(who, &error.message)),
            Event::Bye(bye) => peer.uploaded = Some(bye.sent),
            _ => {}
        }
        Ok(())
    }

    /// Looks what everyone uses for this long, which begins a moment after the last byte: goodbyes and journals are over then.
    fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        self.hear_for(SETTLED)?;
        let began = Instant::now();
        let before: Vec<_> = self.processes.iter().map(|(&who, process)| (who, by_thread(process.number()))).collect();
        self.hear_for(time)?;
        let seconds = began.elapsed().as_secs_f64();
        for (who, before) in before {
            let now = by_thread(self.processes[&who].number());
            let [ran, switches] = used_between(&before, &now).map(|used| used as f64 / seconds);
            self.peers[who].idle = Some(Idle { of_core: ran / 1e9, switches });
        }
        Ok(())
    }

    fn hear_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Some(said) = self.lines.hear(LOOK)? {
                self.hear(said)?;
            }
        }
        Ok(())
    }

    fn show(&self, who: usize) {
        let peer = &self.peers[who];
        let [have, pieces, received, sent] =
            peer.progress.values().fold([0; 4], |sum, of| std::array::from_fn(|at| sum[at] + of[at]));
        match self.plan.peers[who].files {
            Sharing::Seeds => self.live.seeds(who, have, sent),
            Sharing::Wants(_) => self.live.downloads(who, (have, pieces), received, sent),
        }
    }

    /// Downloaders leave first, so that every seeder's count of what it sent is whole.
    fn goodbye(&mut self) -> anyhow::Result<()> {
        for who in (0..self.peers.len()).rev() {
            self.processes.get_mut(&who).context("every peer was started")?.type_line("exit");
            let until = Instant::now() + GOODBYE;
            while self.peers[who].uploaded.is_none() {
                match self.lines.hear(LOOK)? {
                    Some(said) => self.hear(said)?,
                    None if Instant::now() < until => {}
                    None => bail!("{}", self.complaint(who, "it does not leave")),
                }
            }
            let status = self.processes.get_mut(&who).context("every peer was started")?.wait(GOODBYE);
            let status = status.with_context(|| self.complaint(who, "it does not end"))?;
            ensure!(status.success(), "{}", self.complaint(who, &format!("it ended with {status}")));
        }
        Ok(())
    }

    fn complaint(&self, who: usize, what: &str) -> String {
        let log = self.processes.get(&who).map(|process| process.log.display().to_string()).unwrap_or_default();
        format!("{}: {what}. Its log is {log}", self.peers[who].name)
    }

    fn outcome(&self) -> Vec<PeerOutcome> {
        let names: BTreeMap<&str, &str> = self.peers.iter().map(|peer| (&*peer.id, &*peer.name)).collect();
        let name = |id: &str| names.get(id).map_or_else(|| id.to_owned(), |name| (*name).to_owned());
        let outcome = |peer: &Peer| PeerOutcome {
            name: peer.name.clone(),
            pieces: peer.progress.values().map(|[have, ..]| have).sum(),
            downloaded: peer.downloaded,
            sources: peer.sources.iter().map(|(id, bytes)| (name(id), *bytes)).collect(),
            seconds_verified: peer.seconds_verified,
            seconds_durable: peer.seconds_durable,
            seconds_from_start: peer.seconds_from_start,
            uploaded: peer.uploaded.unwrap_or_default(),
            usage: peer.usage,
            idle: peer.idle,
        };
        self.peers.iter().map(outcome).collect()
    }
}

fn wants(plan: &Plan, peer: usize) -> &[usize] {
    match &plan.peers[peer].files {
        Sharing::Seeds => &[],
        Sharing::Wants(files) => files,
    }
}

/// Puts a file into a folder, without a copy where that can be done.
fn give(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let target = folder.join(file.file_name().context("a file has a name")?);
    let source = fs::canonicalize(file).with_context(|| format!("cannot read {}", file.display()))?;
    if fs::hard_link(&source, &target).is_err() {
        fs::copy(&source, &target).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}

fn start_tracker(
    plan: &Plan,
    network: &Standing,
    programs: &Programs,
    folder: &Path,
) -> anyhow::Result<(Process, u16)> {
    let own = folder.join("tracker");
    fs::create_dir_all(&own)?;
    let mut command = network.tracker(&programs.tracker);
    command.args(["--certs=../certs", "-p"]).arg(plan.tracker_port.to_string()).args(authority(plan));
    let (process, address) = tracker::start(command, &own, STALLED)?;
    Ok((process, address.port()))
}

fn command(plan: &Plan, number: usize, mut command: Command, tracker_port: u16) -> Command {
    let peer = &plan.peers[number];
    command.args(["--certs=../certs", "--json", "-d"]);
    command.arg(tracker_port.to_string()).args(&peer.flags).args(authority(plan));
    if let Sharing::Seeds = peer.files {
        command.arg("-S");
    }
    for &file in wants(plan, number) {
        command.arg("-f").arg(plan.files[file].file_name().unwrap_or_default());
    }
    command
}

/// What makes a tracker or peer part of a closed swarm. Each peer finds a certificate that no other uses.
fn authority(plan: &Plan) -> Option<&'static str> {
    plan.closed.then_some("--ca=../certs/ca.pem")
}

fn compare_all(plan: &Plan, folder: &Path) -> anyhow::Result<()> {
    for number in 0..plan.peers.len() {
        let name = &plan.peers[number].name;
        for &file in wants(plan, number) {
            let input = &plan.files[file];
            let output: PathBuf = folder.join(name).join("output").join(input.file_name().unwrap_or_default());
            let differs = first_difference(input, &output)
                .with_context(|| format!("{name}: {} cannot be compared", output.display()))?;
            if let Some(at) = differs {
                bail!("{name}: {} differs from the input at byte {at}. Its log is in {name}/", output.display());
            }
        }
    }
    Ok(())
}
