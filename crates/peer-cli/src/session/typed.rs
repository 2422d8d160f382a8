//! What is done about what is typed while a session runs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use peer::json::{self, Event};
use peer::{Bottleneck, Participant, Status, Waits};
use protocol::{ContentId, printable};
use settings::Signal;

use crate::session::rows::called;
use crate::session::run::Next;
use crate::session::state::{Handle, Session};
use crate::ui::amounts::{amount, part, rate};
use crate::ui::bottleneck::{self, SendingPeer};
use crate::ui::progress::{Progress, downloader_words, seeder_words};
use crate::ui::prompt::{COMMANDS, Typed, path_meant};
use crate::ui::results;
use crate::ui::signals::Stop;

/// Most peers that are listed of one content.
const LISTED: usize = 50;
/// How long a content that is stopped has to close its files before the prompt goes on.
const STOPPING: Duration = Duration::from_secs(2);

impl Session {
    pub(super) async fn typed(&self, command: Typed) -> Next {
        // The line editor has cleared its line before it says that this is the end: what is above is still ours.
        if command != Typed::Interrupt && !(command == Typed::Exit && self.screen.is_above_prompt()) {
            self.screen.typed();
        }
        match command {
            Typed::Exit => return Next::Stop(Stop::Exit),
            Typed::Interrupt => return Next::Stop(Stop::Signal(Signal::Interrupt)),
            Typed::Progress { verbose } => self.progress_words(verbose).await,
            Typed::Status => self.answer_for_each(|_, status| vec![status_words(status)]).await,
            Typed::List => {
                let line = |content: ContentId, status: &Status| {
                    vec![format!("{}  {}  content id {content}", printable(&status.name), amount(status.size))]
                };
                self.answer_for_each(line).await;
            }
            Typed::Peers => self.answer_for_each(|_, status| peers_words(status)).await,
            Typed::Add(path) => self.add(path),
            Typed::Stop(name) => return self.stop_one(&name).await,
            Typed::Rate(cap) => self.cap(cap).await,
            Typed::Help => self.help(),
            Typed::Wrong(sentence) => self.screen.answer(&sentence),
            Typed::Nothing => {}
        }
        Next::GoOn
    }

    fn help(&self) {
        let widest = COMMANDS.iter().map(|(usage, _)| usage.len()).max().unwrap_or(0);
        let adds = self.options.seeder && !self.options.original;
        for (usage, what) in COMMANDS.iter().filter(|(usage, _)| adds || !usage.starts_with("add")) {
            self.screen.answer(&format!("  {usage:widest$}  {what}"));
        }
    }

    /// What is to be said of each content now.
    async fn answer_for_each(&self, words: impl Fn(ContentId, &Status) -> Vec<String>) {
        let mut lines = Vec::new();
        for content in self.ids() {
            if let Some(status) = self.node.status(content).await {
                lines.extend(words(content, &status));
            }
        }
        if lines.is_empty() {
            lines.push(if self.options.seeder { "Nothing is shared now." } else { "Nothing has come yet." }.to_owned());
        }
        lines.iter().for_each(|line| self.screen.answer(line));
    }

    /// What `prog` says.
    async fn progress_words(&self, verbose: bool) {
        if self.screen.is_json() {
            // Shown again at the next look.
            self.state
                .borrow_mut()
                .contents
                .values_mut()
                .for_each(|content| (content.shown, content.told) = (None, None));
            if let Some((bottleneck, ..)) = self.bottleneck().filter(|_| verbose) {
                self.screen.event(&Event::Limiter(json::Limiter { limiter: bottleneck.name().into() }));
            }
            return;
        }
        let mut all = Vec::new();
        for content in self.ids() {
            all.extend(self.node.status(content).await.as_ref().map(Progress::from));
        }
        let lines = if self.options.seeder { seeder_words(&all) } else { downloader_words(&all) };
        lines.iter().for_each(|line| self.screen.answer(line));
        if verbose {
            self.say_who_is_relayed();
            self.say_what_holds_it_up().await;
        }
    }

    fn say_who_is_relayed(&self) {
        let relayed: Vec<_> = self.state.borrow().relayed.iter().copied().collect();
        for peer in relayed {
            self.screen.answer(&format!("{} is reached through the tracker's relay.", self.name_of(peer)));
        }
    }

    async fn say_what_holds_it_up(&self) {
        let Some((bottleneck, waits, wall)) = self.bottleneck() else { return };
        if wall < bottleneck::WORTH_SAYING {
            let least = bottleneck::WORTH_SAYING.as_secs();
            return self
                .screen
                .answer(&format!("The bottleneck is shown for downloads that have run for more than {least} s."));
        }
        let mut caps = std::collections::BTreeMap::new();
        for content in self.ids() {
            caps.extend(self.node.up_rates(content).await);
        }
        let peer = |(&peer, &bytes): (&peer::PeerId, &u64)| SendingPeer {
            name: self.name_of(peer),
            bytes,
            cap: caps.get(&peer).copied(),
        };
        let peers = waits.peers.iter().map(peer).collect();
        self.screen.answer(&bottleneck::words(bottleneck, &waits, wall, peers));
    }

    /// What has held the downloads up, and for how long they took or have taken so far; nothing before one has begun.
    pub(super) fn bottleneck(&self) -> Option<(Bottleneck, Waits, Duration)> {
        let state = self.state.borrow();
        let since = state.wanted_since?;
        let wall = state.done_since.unwrap_or_else(Instant::now).saturating_duration_since(since);
        let waits = self.node.waits();
        Some((Bottleneck::of(&waits, wall), waits, wall))
    }

    /// Shares another file or folder, if this session is one that shares.
    fn add(&self, path: PathBuf) {
        if !self.options.seeder {
            self.screen.answer("`get` cannot share. Use `peer-cli share PATH` in another terminal.");
        } else if self.options.original && self.options.strict {
            self.screen.answer("Only what -f names is shared here. Share it with `peer-cli share PATH`.");
        } else if self.options.original {
            self.screen.answer("Put it into the input folder: files that come there are shared.");
        } else if let Some(meant) = path.to_str().and_then(path_meant) {
            self.state.borrow_mut().additions.push_back(meant);
            self.added.notify_one();
        } else {
            self.screen.answer(&format!("{} does not exist; the working folder is {}.", path.display(), folder()));
        }
    }

    /// The next file or folder that is to be shared as well.
    pub async fn next_addition(&self) -> PathBuf {
        loop {
            if let Some(path) = self.state.borrow_mut().additions.pop_front() {
                return path;
            }
            self.added.notified().await;
        }
    }

    /// Stops the content of this name, or whose id begins so.
    async fn stop_one(&self, name: &str) -> Next {
        let found: Vec<ContentId> = {
            let state = self.state.borrow();
            let fits = |(id, content): &(&ContentId, &crate::session::state::Content)| {
                let called = content.status.borrow().name.clone();
                called == name || content.wanted.name == name || (name.len() >= 6 && id.to_string().starts_with(name))
            };
            state.contents.iter().filter(fits).map(|(&id, _)| id).collect()
        };
        let [content] = found[..] else {
            let names: Vec<_> =
                self.state.borrow().contents.values().map(|content| content.wanted.name.clone()).collect();
            let near = settings::nearest(name, names.iter().map(String::as_str));
            let sentence = match (found.len(), near) {
                (0, Some(near)) => format!("Nothing here is called {name:?}. Did you mean {near}?"),
                (0, None) => format!("Nothing here is called {name:?}: ls lists what there is."),
                _ => format!("Several are called {name:?}: stop one by the beginning of its id, which ls says."),
            };
            self.screen.answer(&sentence);
            return Next::GoOn;
        };
        if let Some(status) = self.node.status(content).await {
            let past = &mut self.state.borrow_mut().past;
            past.0 += status.sent;
            past.1.extend(status.participants);
        }
        let Some(entry) = self.state.borrow_mut().contents.remove(&content) else { return Next::GoOn };
        let what = if entry.pending { "is stopped; what is verified is kept" } else { "is not shared any more" };
        let stopping = async {
            match entry.handle {
                Handle::Share(share) => share.stop().await,
                Handle::Download(download) => download.cancel().await,
            }
        };
        // A node that has ended has stopped it, too.
        let _ = tokio::time::timeout(STOPPING, stopping).await;
        self.ended.notify_one();
        self.draw();
        self.screen.answer(&format!("{} {what}.", entry.wanted.name));
        if self.options.seeder || !entry.pending {
            return Next::GoOn;
        }
        self.state.borrow_mut().gave_up = true;
        // Once nothing is left that could come, it ends, and not as if all had.
        let nothing_comes = self.state.borrow().begun && self.pending().is_empty();
        if nothing_comes { Next::Stop(Stop::Exit) } else { Next::GoOn }
    }

    /// Caps what a sharer sends, or what a downloader gets.
    async fn cap(&self, cap: Option<u64>) {
        let what = if self.options.seeder {
            self.node.set_up_rate(cap).await;
            "sent"
        } else {
            self.node.set_down_rate(cap).await;
            "received"
        };
        match cap {
            Some(cap) => self.screen.answer(&format!("From now on at most {} are {what}.", rate(cap))),
            None => self.screen.answer(&format!("From now on there is no limit on what is {what}.")),
        }
    }
}

fn folder() -> String {
    std::env::current_dir().map_or_else(|_| "here".to_owned(), |folder| folder.display().to_string())
}

/// How a content stands, in a line.
fn status_words(status: &Status) -> String {
    let progress = Progress::from(status);
    let Status { size, peers, rate: a_second, sent, participants, .. } = status;
    let name = if status.name.is_empty() { "a content whose manifest is not here yet" } else { &status.name };
    let name = printable(name);
    let peers = if *peers == 1 { "1 peer".to_owned() } else { format!("{peers} peers") };
    let gave = format!("sent {}", results::given(*sent, participants));
    if progress.finished {
        return format!("{name}  {}  all of it is here  {gave}  {peers} connected", amount(*size));
    }
    let percent = (u128::from(progress.done) * 100).checked_div((*size).into()).unwrap_or(0);
    let speed = if *a_second > 0 { format!("  {}", rate(*a_second)) } else { String::new() };
    format!("{name}  {percent}%  {}{speed}  {gave}  {peers} connected", part(progress.done, *size))
}

/// The peers of a content, a line each.
fn peers_words(status: &Status) -> Vec<String> {
    let participants = results::visits_joined(&status.participants);
    let line = |one: &Participant| {
        let who = called(one, &participants);
        let percent = (u128::from(one.have) * 100).checked_div(one.size.into()).unwrap_or(0);
        let gone = if one.is_connected { "" } else { "  (has left)" };
        format!("  {who}  {percent}%  sent {}, received {}{gone}", amount(one.sent), amount(one.received))
    };
    let mut lines = vec![format!("{}: {} connected", printable(&status.name), status.peers)];
    lines.extend(participants.iter().take(LISTED).map(line));
    if let Some(more) = participants.len().checked_sub(LISTED).filter(|&more| more > 0) {
        lines.push(format!("  and {more} more"));
    }
    lines
}
