//! What is drawn while a session runs: what is hashed, what comes, and who gets what.

use std::path::Path;
use std::time::{Duration, Instant};

use peer::{ORIGIN, Participant, State, Status};
use protocol::{ContentId, PeerId, printable};

use crate::flags::end::End;
use crate::session::state::{Content, Hashing, Session, Taker};
use crate::ui::amounts::{amount, rate};
use crate::ui::pace::{Meter, Pace};
use crate::ui::progress::Progress;
use crate::ui::results::came_back;
use crate::ui::row::{Bar, Label, Row};
use crate::ui::sharing::{has_all_words, left_words, part_words, sum_row, taker_row};

/// Most peers whose addresses are remembered.
const ADDRESSES: usize = 4096;
/// A peer that has not come back for so long has left.
const GONE: Duration = Duration::from_secs(5);

/// Whether somebody gets a content here, as far as has been seen. Of one that has it already some first pieces are on their way before it
/// says so, and one that has come and gone in a moment may never say it.
fn gets(taker: &Participant) -> bool {
    taker.wanted && taker.sent > 0 && taker.have > 0
}

impl Session {
    /// Draws how everything stands.
    pub(super) fn draw(&self) {
        let now = Instant::now();
        let mut rows = Vec::new();
        let mut sums = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            rows.extend(state.doing.clone().map(Row::Text));
            rows.extend(state.hashing.as_mut().map(|hashing| hashing_row(hashing, now)));
            let (mut downloads, mut takers) = (Vec::new(), Vec::new());
            for content in state.contents.values_mut() {
                if content.pending {
                    downloads.push((content.wanted.name.clone(), download_row(content, now)));
                } else if self.tells_of_takers() {
                    takers.extend(takers_now(content, now));
                }
            }
            // Contents are in the order of their ids, which means nothing to anybody.
            downloads.sort_by(|(one, ..), (other, ..)| one.cmp(other));
            takers.sort_by(|(one, ..), (other, ..)| one.cmp(other));
            let downloads: Vec<_> = downloads.into_iter().map(|(_, row)| row).collect();
            sums.extend(sum_of_downloads(&downloads));
            if let Some(one) = takers.first() {
                let same = takers.iter().all(|(name, ..)| *name == one.0);
                let what = if same { one.0.clone() } else { "what is shared".to_owned() };
                let all: Vec<_> = takers.iter().map(|(_, _, taker, pace)| (taker.clone(), *pace)).collect();
                sums.push(sum_row(&what, &all));
            }
            rows.extend(downloads.into_iter().map(|(row, _)| row));
            rows.extend(takers.iter().map(|(name, who, taker, pace)| taker_row(who.clone(), name, taker, *pace)));
        }
        self.screen.rows(rows, sums.into_iter().next());
    }

    /// Draws what stays when it ends: how far downloads have come. That it connects, hashes or gives is not so any more.
    pub(super) fn draw_last(&self) {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        let pending = state.contents.values_mut().filter(|content| content.pending);
        let rows: Vec<_> = pending.filter_map(|content| download_row(content, now).1).map(Row::Bar).collect();
        drop(state);
        self.screen.last_rows(rows);
    }

    /// Whether it is said who gets what: where one shares, and not in the original's words, which know nothing of it.
    fn tells_of_takers(&self) -> bool {
        let shares = self.options.seeder || matches!(self.options.end, End::Shared { .. });
        shares && !self.options.original
    }

    /// Says what has become of those who get a content.
    pub(super) fn tell_of_takers(&self, content: ContentId) {
        if !self.tells_of_takers() {
            return;
        }
        let mut said = Vec::new();
        if let Some(entry) = self.state.borrow_mut().contents.get_mut(&content).filter(|entry| !entry.pending) {
            let (status, now) = (entry.status.borrow().clone(), Instant::now());
            let what = printable(&status.name);
            for taker in status.participants.iter().filter(|taker| gets(taker)) {
                let who = called(taker, &status.participants);
                let known = entry.takers.entry(taker.peer).or_default();
                if taker.has_all {
                    // Who had it before it came did not get it here.
                    if !std::mem::replace(&mut known.said_all, true) && !taker.came_whole {
                        said.push(has_all_words(&who, &what, status.size, taker));
                    }
                } else if taker.is_connected {
                    (known.gone, known.said_gone) = (None, false);
                } else if now - *known.gone.get_or_insert(now) >= GONE
                    && !came_back(taker, &status.participants)
                    && !std::mem::replace(&mut known.said_gone, true)
                {
                    said.push(left_words(&who, &what, taker));
                }
            }
        }
        said.iter().for_each(|line| self.screen.say(line));
    }

    /// The same when sharing ends: those who are still getting a content go without the rest.
    pub(super) fn tell_of_takers_at_end(&self, content: ContentId) {
        self.tell_of_takers(content);
        if !self.tells_of_takers() {
            return;
        }
        let mut said = Vec::new();
        if let Some(entry) = self.state.borrow().contents.get(&content).filter(|entry| !entry.pending) {
            let status = entry.status.borrow();
            let told = |peer: &PeerId| entry.takers.get(peer).is_some_and(|taker| taker.said_all || taker.said_gone);
            let lacks = |taker: &&Participant| !told(&taker.peer) && !came_back(taker, &status.participants);
            let takers = status.participants.iter().filter(|taker| gets(taker)).filter(lacks);
            let what = printable(&status.name);
            said.extend(takers.map(|taker| part_words(&called(taker, &status.participants), &what, taker)));
        }
        said.iter().for_each(|line| self.screen.say(line));
    }

    /// A file or folder is hashed from now on.
    pub(super) fn will_hash(&self, path: &Path) {
        self.state.borrow_mut().under_way.insert(path.to_owned());
    }

    /// Whether a file or folder is being hashed.
    pub(super) fn is_under_way(&self, path: &Path) -> bool {
        self.state.borrow().under_way.contains(path)
    }

    /// A file of several has been hashed, or will not be: its row goes before anything is said of it.
    pub(super) fn hashed_beside_others(&self, path: &Path) {
        let mut state = self.state.borrow_mut();
        state.under_way.remove(path);
        let is_drawn = state.hashing.take_if(|hashing| hashing.path == path).is_some();
        drop(state);
        if is_drawn {
            self.draw();
        }
    }

    /// Something is being hashed, as it is drawn.
    pub(super) fn hashing(&self, path: &Path, done: u64, total: u64) {
        self.hashes(path, done, total);
        self.draw();
    }

    /// Something is being hashed.
    pub(super) fn hashes(&self, path: &Path, done: u64, total: u64) {
        let mut state = self.state.borrow_mut();
        let now = Instant::now();
        let is_other = state.hashing.as_ref().is_none_or(|hashing| hashing.path != path);
        if is_other {
            let first = (now, done);
            state.hashing = Some(Hashing { path: path.to_owned(), first, last: first, total, meter: Meter::default() });
        } else if let Some(hashing) = &mut state.hashing {
            (hashing.last, hashing.total) = ((now, done), total);
        }
    }

    /// What was being hashed has been.
    pub(super) fn hashed(&self) {
        let Some(Hashing { path, first, last, total, .. }) = self.state.borrow_mut().hashing.take() else { return };
        self.draw();
        // The original's way of starting says only that it is shared; a log gets the end of what it was told of.
        if self.options.original && self.screen.draws_rows() {
            return;
        }
        let mut words = vec![format!("Hashing {}  100%", shown(&path)), amount(total)];
        let span = last.0 - first.0;
        // What took no time has no rate.
        if span >= Duration::from_millis(50) {
            words.push(rate((last.1.saturating_sub(first.1) as f64 / span.as_secs_f64()) as u64));
        }
        self.screen.keep(Row::Text(words.join("  ")));
    }

    /// The last state of a download stays on the screen.
    pub(super) fn keep_row(&self, status: &Status, took: Duration) {
        let pace = Pace::Flowing { rate: (status.received as f64 / took.as_secs_f64().max(1e-3)) as u64, left: None };
        // What was here already was not watched coming.
        if status.received > 0 {
            let (size, peers) = (status.size, Some(status.peers).filter(|&peers| peers > 0));
            let label = Label::Name(status.name.clone());
            self.screen.keep(Row::Bar(Bar { label, done: size, size, pace, note: None, peers, drawn: true }));
        }
    }

    /// A peer has connected from there.
    pub(super) fn connected_from(&self, peer: PeerId, address: std::net::SocketAddr) {
        let mut state = self.state.borrow_mut();
        if state.addresses.len() < ADDRESSES {
            state.addresses.insert(peer, address);
        }
    }

    /// Notes whether a relay carries the connection with a peer now, and says whether one did before.
    pub(super) fn through_relay(&self, peer: PeerId, relayed: bool) -> bool {
        let relayed_now = &mut self.state.borrow_mut().relayed;
        let before = relayed_now.remove(&peer);
        if relayed && relayed_now.len() < ADDRESSES {
            relayed_now.insert(peer);
        }
        before
    }

    /// What a peer is called: by its address, as far as that is known.
    pub(super) fn name_of(&self, peer: PeerId) -> String {
        let state = self.state.borrow();
        match state.addresses.get(&peer) {
            _ if peer == ORIGIN => "the origin".to_owned(),
            Some(address) => {
                // Another peer at the same port is the same one, started again.
                let is_other =
                    |other: &&std::net::SocketAddr| other.ip() == address.ip() && other.port() != address.port();
                let alone = !state.addresses.values().any(|other| is_other(&other));
                if alone { address.ip().to_canonical().to_string() } else { address.to_string() }
            }
            None => format!("peer {}", &peer.to_string()[..8]),
        }
    }
}

/// A path as it was given, or the name of what it leads to where it names nothing itself: `.`, `..`.
fn shown(path: &Path) -> String {
    let meant = if path.file_name().is_none() { atomic_file::real_path(path).ok() } else { None };
    meant.as_deref().and_then(Path::file_name).unwrap_or(path.as_os_str()).display().to_string()
}

fn hashing_row(hashing: &mut Hashing, now: Instant) -> Row {
    let (done, size) = (hashing.last.1, hashing.total);
    let pace = match hashing.meter.pace(now, done, size) {
        // It is looked at a few times a second, and a disk that is slow is no stall.
        Pace::Stalled => Pace::Starting,
        pace => pace,
    };
    let label = Label::Name(format!("Hashing {}", shown(&hashing.path)));
    Row::Bar(Bar { label, done, size, pace, note: None, peers: None, drawn: true })
}

/// A download, and how it stands.
fn download_row(content: &mut Content, now: Instant) -> (Row, Option<Bar>) {
    let status = content.status.borrow().clone();
    let progress = Progress::from(&status);
    if progress.name.is_empty() {
        let peers = if progress.peers == 1 { "1 peer".to_owned() } else { format!("{} peers", progress.peers) };
        return (Row::Text(format!("{}: waiting for its manifest, {peers}", content.wanted.name)), None);
    }
    let Progress { name, done, size, peers, .. } = progress;
    // What was here at the start came at no rate.
    let pace = content.meter.pace(now, done, size);
    let note = match status.state {
        State::Starting | State::Opening => Some("checking"),
        State::Finishing => Some("finishing"),
        State::Paused => Some("paused"),
        _ => None,
    };
    let bar = Bar { label: Label::Name(name), done, size, pace, note, peers: Some(peers), drawn: true };
    (Row::Bar(bar.clone()), Some(bar))
}

/// Many downloads as one.
fn sum_of_downloads(downloads: &[(Row, Option<Bar>)]) -> Option<Row> {
    let bars: Vec<&Bar> = downloads.iter().filter_map(|(_, bar)| bar.as_ref()).collect();
    let (done, size) = (bars.iter().map(|bar| bar.done).sum(), bars.iter().map(|bar| bar.size).sum());
    let flowing = bars.iter().filter_map(|bar| match bar.pace {
        Pace::Flowing { rate, left } => Some((rate, left)),
        _ => None,
    });
    let (rates, lefts): (Vec<u64>, Vec<Option<Duration>>) = flowing.unzip();
    let rate: u64 = rates.iter().sum();
    let pace = match bars.iter().any(|bar| bar.pace == Pace::Starting) {
        _ if rate > 0 => Pace::Flowing { rate, left: lefts.into_iter().flatten().max() },
        true => Pace::Starting,
        false => Pace::Stalled,
    };
    let label = Label::Name(format!("{} downloads", downloads.len()));
    let bar = Bar { label, done, size, pace, note: None, peers: None, drawn: true };
    (!bars.is_empty()).then_some(Row::Bar(bar))
}

/// The peers that get a content now: the content's name, the peer's name, and how fast it goes.
fn takers_now(content: &mut Content, now: Instant) -> Vec<(String, String, Participant, Pace)> {
    let status = content.status.borrow().clone();
    let name = printable(&status.name);
    let gets = |taker: &&Participant| taker.wanted && !taker.has_all && taker.is_connected;
    let row = |taker: &Participant| {
        let Taker { meter, .. } = content.takers.entry(taker.peer).or_default();
        let pace = meter.pace(now, taker.have, taker.size);
        (name.clone(), called(taker, &status.participants), taker.clone(), pace)
    };
    status.participants.iter().filter(gets).map(row).collect()
}

/// What somebody is called among others: by its address, with its port if others have the same.
pub(super) fn called(one: &Participant, all: &[Participant]) -> String {
    let ip = one.address.ip().to_canonical();
    let others = all.iter().filter(|other| other.peer != one.peer && other.address.ip().to_canonical() == ip);
    // One that has left may have come back as another.
    let alone = others.filter(|other| other.wanted && other.is_connected).count() == 0;
    if alone { ip.to_string() } else { std::net::SocketAddr::new(ip, one.address.port()).to_string() }
}
