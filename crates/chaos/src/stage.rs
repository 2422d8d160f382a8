//! The setting of a case: a tracker and peers as processes in folders, whose events are read as they come.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use peer::TrackerAddress;
use protocol::{ContentId, PeerId};
use testbed::event::{self, Completed, Event, Kind, Manifest, Progress, Ready, Sharing, Verified};
use testbed::files::first_difference;
use testbed::process::{Lines, Process, Said};
use testbed::tracker;
use tool::usage::Watch;

use super::{Ground, RATE};

/// Time between two looks at whatever is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// Programs start, and end, within this time.
const START: Duration = Duration::from_secs(30);

/// A running case.
pub struct Stage<'a> {
    pub ground: &'a Ground,
    /// The folder of the case.
    pub folder: PathBuf,
    tracker: Option<Process>,
    tracker_port: u16,
    pub peers: Vec<Peer>,
    lines: Lines,
    watch: Watch,
}

/// A peer's process, and what it has said. One that is started again is another.
pub struct Peer {
    pub name: String,
    pub process: Process,
    pub started: Instant,
    /// Events as they came.
    pub events: Vec<(Instant, Event)>,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether its download was compared.
    pub compared: bool,
    /// The longest time in which it got no piece, from its manifest on.
    pub longest_pause: Duration,
    /// When it got its manifest, or a piece.
    grew: Option<Instant>,
}

impl Peer {
    /// Of several reports of progress in a row, the last is all that counts, but for the time between them.
    fn hears(&mut self, event: Event) {
        let now = Instant::now();
        let grew = match &event {
            Event::Manifest(_) => true,
            Event::Progress(progress) => progress.have > self.have(),
            _ => false,
        };
        if grew && let Some(before) = self.grew.replace(now) {
            self.longest_pause = self.longest_pause.max(now - before);
        }
        if let (Some((_, Event::Progress(_))), Event::Progress(_)) = (self.events.last(), &event) {
            self.events.pop();
        }
        self.events.push((now, event));
    }

    /// The last event of this kind.
    pub fn last<E: Kind>(&self) -> Option<&E> {
        self.events.iter().rev().find_map(|(_, event)| E::of(event))
    }

    /// Whether there was an event of this kind.
    pub fn said<E: Kind>(&self) -> bool {
        self.last::<E>().is_some()
    }

    /// When an event of this kind first came.
    pub fn when<E: Kind>(&self) -> Option<Instant> {
        self.events.iter().find(|(_, event)| E::of(event).is_some()).map(|&(at, _)| at)
    }

    /// How many events of this kind came.
    pub fn count<E: Kind>(&self) -> usize {
        self.events.iter().filter(|(_, event)| E::of(event).is_some()).count()
    }

    /// Whether its download is complete and durable.
    pub fn completed(&self) -> bool {
        self.said::<Completed>()
    }

    /// Who it is.
    pub fn id(&self) -> anyhow::Result<PeerId> {
        let ready = self.last::<Ready>();
        ready.and_then(|ready| ready.id.parse().ok()).with_context(|| format!("{} does not say its id", self.name))
    }

    /// Where it listens.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let address = self.last::<Ready>().and_then(|ready| ready.listeners.first());
        address.and_then(|address| address.parse().ok()).with_context(|| format!("{} listens nowhere", self.name))
    }

    /// Pieces that it has, as far as it has said.
    pub fn have(&self) -> u32 {
        let have = |event: &Event| match event {
            Event::Manifest(Manifest { have, .. }) | Event::Progress(Progress { have, .. }) => Some(*have),
            _ => None,
        };
        self.events.iter().rev().find_map(|(_, event)| have(event)).unwrap_or(0)
    }

    /// Lines of its log that hold this text.
    pub fn logged(&self, text: &str) -> usize {
        self.process.errors().lines().filter(|line| line.contains(text)).count()
    }
}

impl<'a> Stage<'a> {
    /// An empty folder of this name, and a tracker.
    pub fn open(ground: &'a Ground, name: &str) -> anyhow::Result<Self> {
        let folder = ground.folder.join(name);
        fs::create_dir_all(folder.join("tracker"))?;
        let (lines, watch) = (Lines::new(65_536), Watch::start([]));
        let mut stage = Stage { ground, folder, tracker: None, tracker_port: 0, peers: Vec::new(), lines, watch };
        stage.start_tracker()?;
        Ok(stage)
    }

    /// Starts the tracker, again on its port and with its key if it ran before.
    pub fn start_tracker(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.ground.programs.tracker);
        command.args(["--bind=127.0.0.1", "--certs=../certs", "-p"]).arg(self.tracker_port.to_string());
        let (process, address) = tracker::start(command, &self.folder.join("tracker"), START)?;
        (self.tracker, self.tracker_port) = (Some(process), address.port());
        Ok(())
    }

    /// The number of the tracker's process, if it runs.
    pub fn tracker_process(&self) -> Option<u32> {
        self.tracker.as_ref().map(Process::number)
    }

    /// Kills the tracker, as a crash would.
    pub fn kill_tracker(&mut self) {
        self.tracker = None;
    }

    /// Where the tracker is, and who it is.
    pub fn tracker(&self) -> anyhow::Result<TrackerAddress> {
        let id = transport::peer_id_of_certificate_pem(&self.folder.join("certs/tracker.pem"))?;
        Ok(TrackerAddress { addresses: vec![([127, 0, 0, 1], self.tracker_port).into()], id, name: None })
    }

    /// The folder of a peer, with `input/`.
    pub fn folder(&self, peer: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(peer);
        fs::create_dir_all(folder.join("input"))?;
        Ok(folder)
    }

    /// The name of the file that everyone wants.
    pub fn wanted(&self) -> &Path {
        self.ground.file.file_name().map(Path::new).expect("it was made with a name")
    }

    /// Where the file is built in an output folder.
    pub fn part_file(&self, output: &Path) -> PathBuf {
        output.join(format!(".{}.part", self.wanted().display()))
    }

    /// How many of the first so many peers a completed download has got something from.
    pub fn gave(&self, first: usize, downloader: usize) -> anyhow::Result<usize> {
        let completed = self.peers[downloader].last::<Completed>();
        let ids = self.peers[..first].iter().map(Peer::id).collect::<anyhow::Result<Vec<_>>>()?;
        let gave = |id: &&PeerId| completed.and_then(|completed| completed.sources.get(&id.to_string())) > Some(&0);
        Ok(ids.iter().filter(gave).count())
    }

    /// `peer-cli` in a peer's folder, pointed at the tracker.
    pub fn command(&self, flags: &[&str]) -> Command {
        self.command_at("0", flags)
    }

    /// The same, to listen on this port.
    pub fn command_at(&self, port: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(&self.ground.programs.peer);
        command.args(["-i", "127.0.0.1", "--bind=127.0.0.1", "--certs=../certs", "--json", "-p", port, "-d"]);
        command.arg(self.tracker_port.to_string()).args(flags).env("RUST_LOG", "warn,peer=info");
        command
    }

    /// Starts a peer; gives its number.
    pub fn start(&mut self, name: &str, command: Command) -> anyhow::Result<usize> {
        let (number, folder) = (self.peers.len(), self.folder(name)?);
        let started = Instant::now();
        let process = self.lines.start(command, &folder, number)?;
        self.watch.add(process.number());
        self.peers.push(Peer {
            name: name.to_owned(),
            process,
            started,
            events: Vec::new(),
            ended: false,
            compared: false,
            longest_pause: Duration::ZERO,
            grew: None,
        });
        Ok(number)
    }

    /// Starts a seeder of the file in pieces of 1 MiB, and waits until it shares it.
    pub fn seeder(&mut self, name: &str, flags: &[&str]) -> anyhow::Result<usize> {
        self.seeder_with(name, &[&["--piece-size=1MiB"], flags].concat())
    }

    /// The same with these flags alone.
    pub fn seeder_with(&mut self, name: &str, flags: &[&str]) -> anyhow::Result<usize> {
        let own = self.folder(name)?.join("input").join(self.wanted());
        if !own.exists() {
            fs::hard_link(&self.ground.file, own)?;
        }
        let flags = [&["-S"], flags].concat();
        let number = self.start(name, self.command(&flags))?;
        self.event::<Sharing>(number, START)?;
        Ok(number)
    }

    /// Starts so many seeders of the whole file.
    pub fn seeders(&mut self, count: usize) -> anyhow::Result<()> {
        (1..=count).try_for_each(|number| self.seeder(&format!("seeder-{number}"), &[]).map(drop))
    }

    /// Starts a downloader of the file, at the rate of all cases.
    pub fn downloader(&mut self, name: &str, flags: &[&str]) -> anyhow::Result<usize> {
        self.downloader_at(name, &RATE.to_string(), flags)
    }

    /// Starts a downloader of the file, at this rate.
    pub fn downloader_at(&mut self, name: &str, rate: &str, flags: &[&str]) -> anyhow::Result<usize> {
        let rate = format!("--down-rate={rate}");
        let file = self.wanted().display().to_string();
        let flags = [&["-f", &file, &rate], flags].concat();
        self.start(name, self.command(&flags))
    }

    /// What the file's content is called, and its number of pieces.
    pub fn content(&self) -> anyhow::Result<(ContentId, u32)> {
        let sharing = self.peers.iter().find_map(Peer::last::<Sharing>).context("nobody shares the file")?;
        Ok((sharing.content.parse().ok().context("it has an id")?, sharing.pieces))
    }

    /// Listens for a while.
    pub fn hear(&mut self, most: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + most;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(Said { who, line }) = self.lines.hear(left.min(LOOK))? else {
                if left.is_zero() {
                    return Ok(());
                }
                continue;
            };
            match line {
                None => self.peers[who].ended = true,
                Some(line) => self.peers[who].hears(event::read(&line)?),
            }
        }
    }

    /// Listens until something is found, at most this long.
    pub fn until<T>(
        &mut self,
        what: &str,
        most: Duration,
        mut found: impl FnMut(&mut Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + most;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            ensure!(Instant::now() < until, "{what}: not within {} s", most.as_secs());
            self.hear(LOOK)?;
        }
    }

    /// Waits until a peer has said an event of this kind.
    pub fn event<E: Kind + Clone>(&mut self, who: usize, most: Duration) -> anyhow::Result<E> {
        let found = self.until(&format!("{} {}", self.peers[who].name, E::NAME), most, |stage| {
            let peer = &stage.peers[who];
            let said = peer.last::<E>().cloned();
            if said.is_none() && peer.ended { Some(None) } else { said.map(Some) }
        })?;
        let last_words = || self.peers[who].process.last_words();
        found.with_context(|| format!("{} has ended before {}: {}", self.peers[who].name, E::NAME, last_words()))
    }

    /// Waits until a peer has so large a part of the file.
    pub fn part(&mut self, who: usize, part: f64) -> anyhow::Result<()> {
        let (_, pieces) = self.content()?;
        let wanted = (f64::from(pieces) * part).ceil() as u32;
        let most = self.patience();
        self.until("the download goes on", most, |stage| {
            let peer = &stage.peers[who];
            (peer.have() >= wanted)
                .then_some(Ok(()))
                .or(peer.ended.then(|| bail!("{} has ended: {}", peer.name, peer.process.last_words())))
        })?
    }

    /// Waits until a download is complete and durable, compares it, and gives the seconds from the start of its process
    /// until it was verified.
    pub fn verified(&mut self, who: usize) -> anyhow::Result<f64> {
        self.verified_within(who, self.patience())
    }

    /// The same, waiting at most this long.
    pub fn verified_within(&mut self, who: usize, most: Duration) -> anyhow::Result<f64> {
        self.event::<Completed>(who, most)?;
        let peer = &self.peers[who];
        let verified = peer.when::<Verified>().context("it was verified")?;
        let seconds = verified.duration_since(peer.started).as_secs_f64();
        let output = self.folder.join(&peer.name).join("output").join(self.wanted());
        if let Some(at) = first_difference(&self.ground.file, &output)? {
            bail!("{} differs from the input at byte {at}", output.display());
        }
        Ok(seconds)
    }

    /// No download takes this long unless it hangs.
    fn patience(&self) -> Duration {
        Duration::from_secs_f64(60.0 + 8.0 * self.ground.size as f64 / RATE as f64)
    }

    /// The most memory of its own that a peer has had, in MiB.
    pub fn memory(&self, who: usize) -> f64 {
        let usage = self.watch.usage(self.peers[who].process.number());
        usage.map_or(0.0, |usage| usage.anonymous as f64 / f64::from(1 << 20))
    }

    /// Sends a peer a signal, as `kill -NAME` does.
    pub fn signal(&self, who: usize, name: &str) -> anyhow::Result<()> {
        let peer = &self.peers[who];
        peer.process.signal(name).with_context(|| peer.name.clone())
    }

    /// Kills a peer at once, as a crash would.
    pub fn kill(&mut self, who: usize) {
        self.watch.forget(self.peers[who].process.number());
        self.peers[who].process.kill();
    }

    /// Waits until a peer has ended by itself.
    pub fn ends(&mut self, who: usize, most: Duration) -> anyhow::Result<ExitStatus> {
        self.until(&format!("{} ends", self.peers[who].name), most, |stage| stage.peers[who].ended.then_some(()))?;
        self.peers[who].process.wait(START)
    }

    /// Tells everyone who still runs to leave, and demands that all do, in good order.
    pub fn close(mut self) -> anyhow::Result<()> {
        for who in (0..self.peers.len()).rev() {
            if !self.peers[who].ended {
                self.peers[who].process.type_line("exit");
                let status = self.ends(who, START)?;
                ensure!(status.success() || status.code().is_none(), "{} ended with {status}", self.peers[who].name);
            }
        }
        Ok(())
    }
}
