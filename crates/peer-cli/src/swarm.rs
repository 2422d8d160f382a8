//! One run of a peer: react to what happens, to what is typed, and to time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use peer::{GetOptions, LeftOut, NameReport, Node, PeerError, PeerEvent, Progress, Standing, Summary, WaitingFor};
use protocol::{ContentId, PieceRange, Query};
use settings::Signal;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;
use transport::Kind;

use crate::arguments::SwarmArguments;
use crate::connect;
use crate::events::Event;
use crate::exit_code::{ExitCode, Failure, failure};
use crate::left_out;
use crate::limiter::Limiter;
use crate::names::{printable, report_words};
use crate::only::{fits, spelt_out};
use crate::patience::{SPEAK, Stillness, how_long, now, shown};
use crate::progress::{Meter, downloader_words, seeder_words};
use crate::prompt::{self, Face, Typed};
use crate::screen::{Outlet, Screen};
use crate::sizes;
use crate::standstill::{self, Wanted};
use crate::start::{Found, Step, start};
use crate::stop::{Stop, heard, settle};

/// Time between two looks at the progress.
const TICK: Duration = Duration::from_millis(250);
/// Time between two progress lines where lines stay.
const PLAIN_LINE: Duration = Duration::from_secs(1);
/// After this long it is said why leaving takes its time.
const LEAVING: Duration = Duration::from_secs(2);
/// Most executable files that are named.
const NAMED: usize = 5;

/// What kind of run it is.
pub struct Manner {
    /// Whether it is one of a seeder: whose words `prog` uses.
    pub seeder: bool,
    /// Whether something that cannot be shared ends it: it was asked for by name.
    pub strict: bool,
    /// When it ends by itself.
    pub end: End,
    /// How long pieces that nobody has are waited for.
    pub wait: Option<Duration>,
    pub transport: Kind,
    /// Where its words go: to standard error where the content goes to standard output.
    pub outlet: Outlet,
}

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// Not at all, as the original does.
    Never,
    /// Not at all: whoever has seen enough stops it, and that is no failure, by whatever means.
    AtWill,
    /// Every download is complete.
    Done,
    /// Every download is complete, and has been shared on for so long, or for so many times its size, whatever comes first.
    Shared { time: Option<Duration>, ratio: Option<f64> },
}

/// Shares or downloads as the original's flags say.
pub async fn run(arguments: SwarmArguments) -> Result<(), Failure> {
    let node = connect::bind(&arguments.peer, arguments.port, arguments.listeners)?;
    let node = node.output(&arguments.output).names(arguments.names.policy()).start();
    let manner = Manner {
        seeder: arguments.seeder,
        strict: !arguments.file.is_empty(),
        end: if arguments.exit_when_done && !arguments.seeder { End::Done } else { End::Never },
        wait: arguments.peer.wait,
        transport: arguments.peer.transport,
        outlet: Outlet::Output,
    };
    let face = prompt::start(&arguments.peer, Outlet::Output, prompt::Source::Anything, manner.end);
    let (report, steps) = mpsc::channel(16);
    let starting = tokio::spawn(start(node.clone(), arguments, report));
    conduct(node, manner, face, starting.abort_handle(), steps).await
}

/// Runs until the peer is told to stop, is done, or fails. What `starting` begins comes as `steps`.
pub async fn conduct(
    node: Node,
    manner: Manner,
    Face { screen, typed, mut signals }: Face,
    starting: AbortHandle,
    steps: mpsc::Receiver<Step>,
) -> Result<(), Failure> {
    let events = node.events();
    let mut run = Run::new(manner, node, screen);
    // Until the first step is done there is nothing else to see.
    run.screen.progress("Connecting to the tracker …");
    let result = tokio::select! {
        result = run.life(events, steps, typed) => result,
        signal = heard(&mut signals) => Ok(Some(Stop::Signal(signal))),
    };
    let result = match result {
        Ok(Some(stop)) => run.stopped(stop).await,
        Ok(None) => Ok(()),
        Err(failure) => Err(failure),
    };
    starting.abort();
    if run.screen.leave().await {
        settle(&mut signals).await;
    }
    let result = result.map_err(|failure| {
        run.screen.event(&failure.event());
        Failure { told: true, ..failure }
    });
    // A second Ctrl-C ends it at once; an orderly end takes a moment at most.
    tokio::select! {
        () = run.goodbye() => {}
        _ = heard(&mut signals) => {}
    }
    result
}

/// What goes on after something happened.
pub enum Next {
    GoOn,
    End,
    Stop(Stop),
}

pub struct Run {
    pub manner: Manner,
    pub node: Node,
    screen: Screen,
    /// Everything that is shared or downloaded, and what was last shown of it.
    contents: BTreeMap<ContentId, Option<Progress>>,
    /// Downloads that are not complete.
    pub pending: BTreeSet<ContentId>,
    /// How many of the turns that a content has taken were said.
    said: BTreeMap<ContentId, usize>,
    /// Whether everything that was asked for has begun.
    pub started: bool,
    /// Since when every download is complete.
    done_since: Option<Instant>,
    meters: BTreeMap<ContentId, Meter>,
    /// When a progress line was last drawn.
    drawn: Option<Instant>,
    /// Since when nobody is connected who has some piece of a download.
    lacking_since: BTreeMap<ContentId, Instant>,
    /// When the run began, and since when nothing came of each download.
    began: Instant,
    still: BTreeMap<ContentId, Stillness>,
    /// What to say of each download.
    wanted: BTreeMap<ContentId, Wanted>,
    /// When the first download began.
    wanted_since: Option<Instant>,
}

impl Run {
    fn new(manner: Manner, node: Node, screen: Screen) -> Self {
        Run {
            manner,
            node,
            screen,
            contents: BTreeMap::new(),
            pending: BTreeSet::new(),
            said: BTreeMap::new(),
            started: false,
            done_since: None,
            meters: BTreeMap::new(),
            drawn: None,
            lacking_since: BTreeMap::new(),
            began: now(),
            still: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wanted_since: None,
        }
    }

    async fn life(
        &mut self,
        mut events: broadcast::Receiver<PeerEvent>,
        mut steps: mpsc::Receiver<Step>,
        mut typed: mpsc::Receiver<Typed>,
    ) -> Result<Option<Stop>, Failure> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut more_steps = true;
        loop {
            let next = tokio::select! {
                step = steps.recv(), if more_steps => match step {
                    Some(step) => self.step(step).await?,
                    None if self.started => {
                        more_steps = false;
                        Next::GoOn
                    }
                    // It says how it ended, whatever happens, unless it has crashed: what is on standard error says where.
                    None => return Err(Failure::new(ExitCode::Other, "the start broke off; please report this as a bug")),
                },
                Some(command) = typed.recv() => self.typed(command).await?,
                event = events.recv() => match event {
                    Ok(event) => self.event(event).await?,
                    Err(RecvError::Lagged(_)) => {
                        // What still waits is older than what the node says now.
                        events = self.node.events();
                        self.catch_up().await?
                    }
                    Err(RecvError::Closed) => return Err(Failure::new(ExitCode::Other, "the peer has ended")),
                },
                _ = tick.tick() => self.tick().await?,
            };
            match next {
                Next::GoOn => {}
                Next::End => return Ok(None),
                Next::Stop(stop) => return Ok(Some(stop)),
            }
        }
    }

    async fn step(&mut self, step: Step) -> Result<Next, Failure> {
        match step {
            Step::Joined(tracker) => {
                let listeners = self.node.listeners().iter().map(ToString::to_string).collect();
                let id = self.node.id().to_string();
                self.screen.event(&Event::Ready { id, listeners, tracker: tracker.to_string() });
            }
            Step::Note(sentence) => self.screen.say(sentence),
            Step::Waiting(sentence) => self.waiting("", &sentence),
            Step::Skipped(path) => self.screen.say(&format!("{} is not a file: skipped.", path.display())),
            Step::Shared(_, Ok(content)) => {
                self.contents.insert(content, None);
                let Some(progress) = self.node.progress(content).await else { return Ok(Next::GoOn) };
                let Progress { name, size, pieces, have, left_out, .. } = progress;
                let shown = sizes::show(size);
                let part = if left_out > 0 { format!(" ({left_out} left out)") } else { String::new() };
                self.screen
                    .say(&format!("Sharing {name}{part}: {have} of {pieces} pieces, {shown}, content id {content}"));
                if !Query::is_name(&name) {
                    self.screen.say(&format!(
                        "{name} could be taken for an id or a ticket, so nobody finds it by its name: give its ticket or its content id."
                    ));
                }
                let content = content.to_string();
                self.screen.event(&Event::Sharing { content, name, size, pieces, held: have, left_out });
            }
            Step::Shared(path, Err(error)) => {
                let failure = failure(&error);
                let message = &failure.message;
                // The other files are worth sharing all the same.
                self.screen.say(&format!("{} is not shared: {message}", path.display()));
                let content = String::new();
                self.screen.event(&Event::Withdrawn { content, reason: format!("{}: {message}", path.display()) });
                if self.manner.strict {
                    return Err(failure);
                }
            }
            Step::Wanted { found, only } => {
                self.wanted.insert(found.content, found.wanted());
                let Found { content, name, size, asked, .. } = found;
                let part = if only.is_empty() { "" } else { "some files of " };
                // Whoever shares it has not said what it is called, or must not.
                let named = if name.is_empty() { String::new() } else { format!("{name}, {}, ", sizes::show(size)) };
                self.screen.say(&format!("Downloading {part}{named}content id {content}"));
                self.wanted_since.get_or_insert_with(Instant::now);
                self.screen.event(&Event::Wanted { content: content.to_string(), name });
                if self.contents.insert(content, None).is_none() {
                    self.pending.insert(content);
                    let mut options = GetOptions::new();
                    if let Some(asked) = asked {
                        options = options.name(asked);
                    }
                    if !only.is_empty() {
                        let patterns = only.clone();
                        let spelt_out = move |path: &str, hidden: &str| spelt_out(&patterns, path, hidden);
                        options = options.files(move |path| fits(&only, path)).spelt_out(spelt_out);
                    }
                    self.node.get_with(content, options).await?;
                }
            }
            Step::Ticket(ticket) => {
                let (content, command) = (ticket.content().to_string(), format!("peer-cli get {ticket}"));
                self.screen.answer(&command);
                self.screen.event(&Event::Ticket { content, ticket: ticket.to_string(), command });
            }
            Step::Unread => return Ok(Next::End),
            Step::Failed(failure) => return Err(failure),
            Step::Started if self.contents.is_empty() => {
                return Err(Failure::new(ExitCode::Other, "nothing could be shared"));
            }
            Step::Started => {
                self.started = true;
                return Ok(self.end_if_done());
            }
        }
        Ok(Next::GoOn)
    }

    async fn typed(&mut self, command: Typed) -> Result<Next, Failure> {
        self.screen.typed();
        match command {
            Typed::Exit => return Ok(Next::Stop(Stop::Exit)),
            Typed::Interrupt => return Ok(Next::Stop(Stop::Signal(Signal::Interrupt))),
            Typed::Progress { verbose } => self.progress_words(verbose).await,
            Typed::Unknown(word) => self.screen.answer(&format!("{word:?} is no command: type prog or exit.")),
        }
        Ok(Next::GoOn)
    }

    /// What `prog` says.
    async fn progress_words(&mut self, verbose: bool) {
        if self.screen.is_json() {
            // Shown again at the next look.
            self.contents.values_mut().for_each(|shown| *shown = None);
            if let Some((limiter, _)) = self.limiter().filter(|_| verbose) {
                self.screen.event(&Event::Limiter { limiter: limiter.name() });
            }
            return;
        }
        let mut all = Vec::new();
        for content in self.contents.keys() {
            all.extend(self.node.progress(*content).await);
        }
        let lines = if self.manner.seeder { seeder_words(&all) } else { downloader_words(&all) };
        lines.iter().for_each(|line| self.screen.answer(line));
        if let Some((_, words)) = self.limiter().filter(|_| verbose) {
            self.screen.answer(&words);
        }
    }

    /// What has held the downloads up so far; nothing before one has begun.
    fn limiter(&self) -> Option<(Limiter, String)> {
        let wall = self.wanted_since?.elapsed();
        let waits = self.node.waits();
        let limiter = Limiter::of(&waits, wall);
        Some((limiter, limiter.words(&waits, wall)))
    }

    async fn event(&mut self, event: PeerEvent) -> Result<Next, Failure> {
        match event {
            PeerEvent::Manifest { content, name, size, pieces, have } => {
                if have > 0 {
                    self.screen.say(&format!("{have} of {pieces} pieces are here already."));
                }
                self.screen.event(&Event::Manifest { content: content.to_string(), name, size, pieces, have });
            }
            PeerEvent::Hashing { path, done, total } => {
                let now = Instant::now();
                if may_draw(&self.screen, self.drawn, now) {
                    let percent = (done * 100).checked_div(total).unwrap_or(100);
                    let size = sizes::show(total);
                    self.screen.progress(&format!("Hashing {}: {percent}% of {size}", path.display()));
                    self.drawn = Some(now);
                }
                self.screen.event(&Event::Hashing { path: path.display().to_string(), done, total });
            }
            PeerEvent::StillWritten { path, most } => {
                let (path, most) = (path.display(), shown(most));
                let sentence = format!("{path} is being written to: waiting until that is over, for {most} at most.");
                self.waiting("", &sentence);
            }
            PeerEvent::Skipped { left_out } => {
                left_out::words(&left_out).iter().for_each(|line| self.screen.say(line));
                for LeftOut { path, reason } in left_out {
                    let (path, reason) = (path.display().to_string(), reason.to_string());
                    self.screen.event(&Event::Skipped { path, reason });
                }
            }
            PeerEvent::Connected { peer, address, transport } => {
                if transport == "tcp" && self.manner.transport == Kind::Auto {
                    self.screen.say(&format!("Reached {address} over TCP: over QUIC nobody answered."));
                }
                let (peer, address) = (peer.to_string(), address.to_string());
                self.screen.event(&Event::Connected { peer, address, transport });
            }
            PeerEvent::Lacking { content, runs } => self.lacking(content, &runs),
            PeerEvent::Verified { content } => {
                self.screen.progress("Every piece is verified; making the file durable …");
                self.screen.event(&Event::Verified { content: content.to_string() });
            }
            PeerEvent::Completed { content, .. }
            | PeerEvent::Failed { content, .. }
            | PeerEvent::Withdrawn { content, .. } => {
                let turns = self.node.standing(content).await.turns;
                return self.turns(content, turns).await;
            }
            PeerEvent::Banned { peer } => {
                self.screen.say(&format!("Peer {peer} sent wrong pieces and is shut out."));
                self.screen.event(&Event::Banned { peer: peer.to_string() });
            }
            PeerEvent::TrackerLost => {
                self.screen.say("The tracker is gone; going on with the peers that are known.");
                self.screen.event(&Event::TrackerLost);
            }
            PeerEvent::TrackerUnfit { error } => {
                let sentence = tracker_unfit_words(&error);
                self.screen.say(&sentence);
                self.screen.event(&Event::TrackerUnfit { reason: sentence });
            }
            PeerEvent::TrackerBack => {
                self.screen.say("The tracker is back.");
                self.screen.event(&Event::TrackerBack);
            }
        }
        Ok(Next::GoOn)
    }

    /// Events were missed. What they said of progress, the next look tells; what else matters, the node is asked for.
    async fn catch_up(&mut self) -> Result<Next, Failure> {
        let contents: Vec<_> = self.contents.keys().copied().collect();
        for content in contents {
            let Standing { lacking, turns } = self.node.standing(content).await;
            if let Next::End = self.turns(content, turns).await? {
                return Ok(Next::End);
            }
            if lacking.is_empty() {
                self.lacking_since.remove(&content);
            } else {
                self.lacking(content, &lacking);
            }
        }
        Ok(Next::GoOn)
    }

    /// What a content has come to, but for what was said before: all of it that the node knows, whichever event told of it.
    pub async fn turns(&mut self, content: ContentId, turns: Vec<PeerEvent>) -> Result<Next, Failure> {
        let said = self.said.insert(content, turns.len()).unwrap_or(0);
        for turn in turns.into_iter().skip(said) {
            match turn {
                PeerEvent::Completed { path, summary, .. } => {
                    if let Next::End = self.completed(content, &path, summary).await {
                        return Ok(Next::End);
                    }
                }
                PeerEvent::Failed { error, .. } => return Err(failure(&error)),
                PeerEvent::Withdrawn { reason, .. } => {
                    self.screen.say(&format!("Not sharing content {content} any more: {reason}"));
                    self.screen.event(&Event::Withdrawn { content: content.to_string(), reason });
                }
                _ => {}
            }
        }
        Ok(Next::GoOn)
    }

    fn lacking(&mut self, content: ContentId, runs: &[PieceRange]) {
        if runs.is_empty() {
            self.lacking_since.remove(&content);
        } else {
            self.lacking_since.entry(content).or_insert_with(now);
            let (lacking, long) = (lacking_words(runs), how_long(self.manner.wait));
            self.screen.say(&format!("{lacking}; waiting for someone who does, {long}."));
        }
        let pieces = runs.iter().map(|run| [run.first, run.count]).collect();
        self.screen.event(&Event::Lacking { content: content.to_string(), pieces });
    }

    async fn completed(&mut self, content: ContentId, path: &std::path::Path, summary: Summary) -> Next {
        let progress = self.node.progress(content).await.unwrap_or_default();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let path = path.display().to_string();
        let (to, path) = match self.manner.outlet {
            Outlet::Output => (path.clone(), path),
            Outlet::Errors => ("standard output".to_owned(), "-".to_owned()),
        };
        self.screen.say(&format!("Successfully Downloaded {file} to {to}"));
        if self.manner.outlet == Outlet::Output
            && let Some(words) = executable_words(&summary.executable)
        {
            self.screen.say(&words);
        }
        self.names(content, &summary.names);
        let limiter = self.limiter();
        if let Some((_, words)) = &limiter {
            self.screen.say(words);
        }
        self.screen.event(&Event::Completed {
            content: content.to_string(),
            path,
            size: progress.size,
            seconds_verified: summary.verified.as_secs_f64(),
            seconds_durable: summary.durable.as_secs_f64(),
            sources: summary.sources.iter().map(|(peer, bytes)| (peer.to_string(), *bytes)).collect(),
            limiter: limiter.map_or("", |(limiter, _)| limiter.name()),
            executable: summary.executable.to_vec(),
        });
        self.pending.remove(&content);
        self.end_if_done()
    }

    /// Says what was done about names, unless nobody sees them.
    fn names(&self, content: ContentId, report: &NameReport) {
        if report.is_empty() || self.manner.outlet == Outlet::Errors {
            return;
        }
        report_words(report).iter().for_each(|line| self.screen.say(line));
        self.screen.event(&Event::Names {
            content: content.to_string(),
            skipped: report.skipped.clone(),
            renamed: report.renamed.iter().map(|(own, here)| [own.clone(), here.clone()]).collect(),
            unprintable: report.unprintable.clone(),
        });
    }

    fn end_if_done(&mut self) -> Next {
        if !self.started || !self.pending.is_empty() {
            return Next::GoOn;
        }
        if let End::Shared { time: Some(time), .. } = self.manner.end
            && self.done_since.is_none()
        {
            self.screen.say(&sharing_on(time));
        }
        self.done_since.get_or_insert_with(Instant::now);
        if self.manner.end == End::Done { Next::End } else { Next::GoOn }
    }

    /// Whether as much was shared on as was asked for.
    fn shared_enough(&self) -> bool {
        let (Some(since), End::Shared { time, ratio }) = (self.done_since, self.manner.end) else { return false };
        let gave = |progress: &Option<Progress>| {
            let Some(Progress { sent, size, .. }) = progress else { return false };
            ratio.is_some_and(|ratio| *sent as f64 >= *size as f64 * ratio)
        };
        time.is_some_and(|time| since.elapsed() >= time) || self.contents.values().all(gave)
    }

    /// Says what is waited for.
    fn waiting(&self, content: &str, sentence: &str) {
        self.screen.say(sentence);
        self.screen.event(&Event::Waiting { content: content.to_owned(), reason: sentence.to_owned() });
    }

    /// Says why nothing comes of a download, and ends it when that has lasted for too long.
    async fn stands_still(&mut self, content: ContentId, progress: &Progress) -> Result<(), Failure> {
        let (began, now, wait) = (self.began, now(), self.manner.wait);
        let still = self.still.entry(content).or_insert_with(|| Stillness::since(began));
        if !still.look(now, progress, wait) {
            return Ok(());
        }
        let Some(waiting) = self.node.waiting_for(content).await else { return Ok(()) };
        let busy = waiting == WaitingFor::Disk;
        still.is_busy(now, busy);
        if let WaitingFor::Manifest { came, .. } = waiting {
            still.manifest(now, came);
        }
        // Pieces that nobody has are named after a moment, and waited for then.
        let pieces = matches!(waiting, WaitingFor::Pieces { .. });
        if pieces && self.lacking_since.contains_key(&content) {
            return Ok(());
        }
        let Some(wanted) = self.wanted.get(&content) else { return Ok(()) };
        let words = standstill::words(&waiting, wanted, self.manner.transport);
        let wait = wait.map(|wait| if pieces { wait.max(SPEAK) } else { wait });
        if still.is_over(now, wait) {
            return Err(standstill::gave_up(ExitCode::NobodyHasAPiece, &wanted.name, wait, &words));
        }
        if still.speaks(now, &words) {
            let long = if busy { String::new() } else { format!(" Waiting {}.", how_long(wait)) };
            self.waiting(&content.to_string(), &format!("{words}{long}"));
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<Next, Failure> {
        let pending: Vec<_> = self.pending.iter().copied().collect();
        let lacks_since = self.lacking_since.values().min();
        if let (Some(since), Some(wait)) = (lacks_since, self.manner.wait)
            && now().saturating_duration_since(*since) >= wait
        {
            let sentence = format!(
                "nobody came within {} who has the missing pieces. What is here is kept: start again when they are back",
                shown(wait)
            );
            return Err(Failure::new(ExitCode::NobodyHasAPiece, sentence));
        }
        for content in pending {
            if let Some(progress) = self.node.progress(content).await.filter(|progress| !progress.finished) {
                self.stands_still(content, &progress).await?;
            }
        }
        for (content, shown) in &mut self.contents {
            let Some(progress) = self.node.progress(*content).await else { continue };
            if shown.as_ref() == Some(&progress) {
                continue;
            }
            let draws = self.pending.contains(content) && !progress.finished;
            let now = Instant::now();
            if !may_draw(&self.screen, self.drawn, now) {
                continue;
            }
            if draws {
                self.drawn = Some(now);
                let meter = self.meters.entry(*content).or_insert_with(Meter::new);
                self.screen.progress(&meter.line(now, &progress));
            }
            if self.screen.is_json() {
                let Progress { name, have, pieces, received, sent, peers, .. } = progress.clone();
                let content = content.to_string();
                self.screen.event(&Event::Progress { content, name, have, pieces, received, sent, peers });
            }
            *shown = Some(progress);
        }
        Ok(if self.shared_enough() { Next::End } else { Next::GoOn })
    }

    /// Leaves the swarm in good order.
    async fn goodbye(&mut self) {
        let (mut sent, mut received) = (0, 0);
        for content in self.contents.keys() {
            if let Some(progress) = self.node.progress(*content).await {
                sent += progress.sent;
                received += progress.received;
            }
        }
        let leaving = self.node.shutdown();
        tokio::pin!(leaving);
        if tokio::time::timeout(LEAVING, &mut leaving).await.is_err() {
            self.screen.say("Still leaving: what is verified is written to disk. Another Ctrl-C ends it at once.");
            leaving.await;
        }
        self.screen.say("Exited swarm.");
        self.screen.event(&Event::Bye { sent, received });
        self.screen.say("Shutdown complete.");
    }
}

/// Where lines stay, a line a second is plenty, and none if nothing has changed.
fn may_draw(screen: &Screen, drawn: Option<Instant>, now: Instant) -> bool {
    !screen.keeps_lines() || drawn.is_none_or(|drawn| now - drawn >= PLAIN_LINE)
}

/// Which pieces nobody has, at most a handful of them by number.
fn lacking_words(runs: &[PieceRange]) -> String {
    let total: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
    let name = |run: &PieceRange| match run.count {
        1 => run.first.to_string(),
        count => format!("{}-{}", run.first, u64::from(run.first) + u64::from(count) - 1),
    };
    let named: Vec<_> = runs.iter().take(8).map(name).collect();
    let more = if runs.len() > 8 { ", …" } else { "" };
    let pieces = if total == 1 { "piece" } else { "pieces" };
    format!("Nobody who is connected has {total} {pieces}: {}{more}", named.join(", "))
}

/// Why a tracker that is lost does not come back by itself, and what to do.
fn tracker_unfit_words(error: &PeerError) -> String {
    let advice = match error {
        PeerError::WrongTracker { .. } => {
            "If the tracker was set up anew, start again with its new id (--tracker-id, or the folder of its certificate with \
             --certs), or with a new ticket"
        }
        _ => "It will be asked again",
    };
    let mut error = error.to_string();
    error.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    format!("{error}. {advice}; until then it goes on with the peers that are known.")
}

/// Which files may be executed, at most a handful of them by name; nothing if none may.
fn executable_words(files: &[String]) -> Option<String> {
    let named = files.iter().take(NAMED).map(|file| printable(file)).collect::<Vec<_>>().join(", ");
    match files.len() {
        0 => None,
        1 => Some(format!("{named} may be executed.")),
        count if count <= NAMED => Some(format!("{count} files may be executed: {named}.")),
        count => Some(format!("{count} files may be executed: {named} and {} more.", count - NAMED)),
    }
}

/// For how long what is complete is shared on.
fn sharing_on(time: Duration) -> String {
    if time == Duration::MAX {
        return "Sharing it on until told to stop.".to_owned();
    }
    format!("Sharing it on for {}.", humantime::format_duration(time))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use peer::{Held, ShareOptions};
    use protocol::{Algorithm, PeerAddress};
    use transport::{Identity, MemoryNetwork};

    use super::*;
    use crate::screen::Loudness;

    /// A peer that says nothing, in a world of its own.
    fn run(network: &MemoryNetwork, folder: &Path, end: End) -> Run {
        let identity = Identity::generate().unwrap();
        let transport = Arc::new(network.bind(&identity, vec!["127.0.0.1:0".parse().unwrap()]).unwrap());
        let node = Node::builder(transport, storage::backend("mmap").unwrap())
            .hashes(folder.join("hashes"))
            .output(folder.join("output"))
            .start();
        let (strict, wait, transport) = (true, None, Kind::Auto);
        let manner = Manner { seeder: false, strict, end, wait, transport, outlet: Outlet::Output };
        Run::new(manner, node, Screen::plain(Outlet::Output, Loudness { words: false, progress: false }))
    }

    /// The end of a download was once lost among a thousand other events, and the program waited for ever.
    #[tokio::test]
    async fn a_download_that_ends_while_a_thousand_events_are_missed_has_ended() {
        let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
        let mut seeder = run(&network, &folder.path().join("seeder"), End::Never);
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 5000]).unwrap();
        let options = ShareOptions { algorithm: Algorithm::Blake3, piece_size: None, held: Held::All };
        let content = seeder.node.share(&path, options.clone()).await.unwrap();
        let mut getter = run(&network, &folder.path().join("getter"), End::Done);
        let (events, mut watched) = (getter.node.events(), getter.node.events());
        getter.node.get(content).await.unwrap();
        let addresses = seeder.node.listeners().to_vec();
        getter.node.add_peer(content, PeerAddress { id: seeder.node.id(), addresses }).await.unwrap();
        while !matches!(watched.recv().await, Ok(PeerEvent::Completed { .. })) {}
        // Whatever is hashed is an event.
        let other = folder.path().join("other");
        for number in 0..1500u32 {
            std::fs::write(&other, number.to_le_bytes()).unwrap();
            // What was just written is waited for.
            let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
            std::fs::File::options().write(true).open(&other).unwrap().set_modified(hour_ago).unwrap();
            getter.node.share(&other, options.clone()).await.unwrap();
        }
        getter.contents.insert(content, None);
        getter.pending.insert(content);
        let (_keep, typed) = mpsc::channel(1);
        let (report, steps) = mpsc::channel(1);
        report.send(Step::Started).await.unwrap();
        getter.life(events, steps, typed).await.unwrap();
        assert!(getter.pending.is_empty());
        // Its events are read again from the node, and said once.
        let turns = getter.node.standing(content).await.turns;
        assert_eq!((turns.len(), getter.said[&content]), (1, 1));
        seeder.goodbye().await;
    }

    #[tokio::test]
    async fn a_start_that_crashes_ends_the_program() {
        let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
        let mut run = run(&network, folder.path(), End::Never);
        let (_keep, typed) = mpsc::channel(1);
        let (report, steps) = mpsc::channel::<Step>(1);
        let start = tokio::spawn(async move {
            let _report = report;
            panic!("as if by a bug");
        });
        let ended = run.life(run.node.events(), steps, typed).await.unwrap_err();
        assert_eq!(ended.code, ExitCode::Other);
        assert!(start.await.is_err_and(|error| error.is_panic()));
    }

    #[test]
    fn executable_files_are_named_up_to_a_handful() {
        let words = |count| executable_words(&(0..count).map(|n| format!("{n}\n.sh")).collect::<Vec<_>>());
        assert_eq!(words(0), None);
        assert_eq!(words(1).unwrap(), r"0\u{a}.sh may be executed.");
        assert_eq!(words(2).unwrap(), r"2 files may be executed: 0\u{a}.sh, 1\u{a}.sh.");
        let many = words(100).unwrap();
        assert!(many.starts_with("100 files may be executed: 0") && many.ends_with(" and 95 more."), "{many}");
    }

    #[test]
    fn for_ever_is_said_in_words() {
        assert_eq!(sharing_on(Duration::MAX), "Sharing it on until told to stop.");
        assert_eq!(sharing_on(Duration::from_secs(5400)), "Sharing it on for 1h 30m.");
    }

    #[test]
    fn lacking_pieces_are_named_up_to_a_handful() {
        let run = |first, count| PieceRange { first, count };
        assert_eq!(lacking_words(&[run(7, 1)]), "Nobody who is connected has 1 piece: 7");
        assert_eq!(lacking_words(&[run(0, 3), run(9, 1)]), "Nobody who is connected has 4 pieces: 0-2, 9");
        let many: Vec<_> = (0..20).map(|n| run(n * 2, 1)).collect();
        assert_eq!(lacking_words(&many), "Nobody who is connected has 20 pieces: 0, 2, 4, 6, 8, 10, 12, 14, …");
    }
}
