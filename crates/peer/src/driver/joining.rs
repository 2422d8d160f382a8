//! Joining trackers, and what follows when one is lost, comes back, or is found behind a name.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{ContentId, PeerAddress, PeerId, Secret};
use swarm::{ANNOUNCED_TO, Event};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::item::OwnTask;
use super::state::Driver;
use super::trackers::TrackerChange;
use crate::command::Reply;
use crate::error::PeerError;
use crate::event::PeerEvent;
use crate::net::tracker::{
    self, Claims, Joined, MOST_TRACKERS, Private, Surroundings, ToClient, TrackerAddress, names,
};
use crate::report::{Report, TrackerNews};
use crate::tracker_status::{TrackerNumber, TrackerState};

/// A download that has met nobody for this long is announced to all trackers.
const ALONE: Duration = Duration::from_secs(3);

impl Driver {
    /// Joins these trackers, and leaves those from before.
    pub(super) fn join_trackers(&mut self, named: Vec<TrackerAddress>, secret: Option<Secret>, reply: Reply<Joined>) {
        self.trackers.clear();
        self.trackers.named = named;
        let trackers = self.each_named();
        let several = Arc::new(AtomicBool::new(trackers.len() > 1));
        self.around = Some(Surroundings {
            transport: self.setup.transport.clone(),
            listeners: self.setup.listeners.subscribe(),
            dialled: self.setup.dialled.clone(),
            book: self.setup.book.clone(),
            reports: self.reports.clone(),
            resolver: self.setup.resolver.clone(),
            several,
            claims: Arc::<Claims>::default(),
        });
        let mut firsts = Vec::new();
        for (place, tracker) in trackers {
            firsts.extend(self.start_client(place, tracker, secret));
        }
        self.look_names_up();
        match firsts.pop() {
            None => drop(reply.send(Err(PeerError::NoTracker))),
            Some(only) if firsts.is_empty() => drop(tokio::spawn(async move {
                let _ = reply.send(only.await.unwrap_or(Err(PeerError::ShutDown)));
            })),
            Some(last) => {
                firsts.push(last);
                drop(tokio::spawn(async move { drop(reply.send(first_of(firsts).await)) }));
            }
        }
        self.announce_all(true);
    }

    /// Each tracker that was named, with its place in the list; where a name leads to several, all of those.
    fn each_named(&self) -> Vec<(usize, TrackerAddress)> {
        let (mut all, mut seen) = (Vec::new(), HashSet::new());
        for (place, tracker) in self.trackers.named.iter().enumerate() {
            let trackers = if self.is_split(place) { tracker.each() } else { vec![tracker.clone()] };
            let new = trackers.into_iter().filter(|one| seen.insert((one.id, one.addresses.clone())));
            all.extend(new.enumerate().map(|(turn, tracker)| (turn, place, tracker)));
        }
        // In turns, so that no name takes the room of others.
        all.sort_by_key(|&(turn, place, _)| (turn, place));
        let mut all: Vec<_> = all.into_iter().map(|(_, place, tracker)| (place, tracker)).collect();
        if all.len() > MOST_TRACKERS {
            tracing::warn!("{} trackers are too many: only the first {MOST_TRACKERS} are used", all.len());
            all.truncate(MOST_TRACKERS);
        }
        all
    }

    /// Whether each address of a name is a tracker of its own. It is not where several ids were given for one name: there, each
    /// id is looked for at all of its addresses.
    fn is_split(&self, place: usize) -> bool {
        let name = self.trackers.named[place].name.as_ref();
        name.is_some() && self.trackers.named.iter().filter(|other| other.name.as_ref() == name).count() == 1
    }

    fn start_client(
        &mut self,
        place: usize,
        tracker: TrackerAddress,
        secret: Option<Secret>,
    ) -> Option<oneshot::Receiver<Result<Joined, PeerError>>> {
        let around = self.around.clone()?;
        let (first, joined) = oneshot::channel();
        let private = Private { shares: self.setup.gate.shares.clone(), secret };
        let number = self.trackers.number();
        let client = tracker::start(around, number, tracker.clone(), private, first);
        self.trackers.add(number, place, &tracker, client);
        Some(joined)
    }

    /// Looks names up again from now on that may lead to more trackers one day.
    fn look_names_up(&mut self) {
        let watched = |(place, tracker): (usize, &TrackerAddress)| {
            let name = tracker.name.clone().filter(|name| names::may_change(name))?;
            Some((place, name, tracker.addresses.clone()))
        };
        let named = self.trackers.named.iter().enumerate().filter(|(place, _)| self.is_split(*place));
        let watched: Vec<_> = named.filter_map(watched).collect();
        for (place, name, known) in watched {
            let watch = names::watch(self.setup.resolver.clone(), (place, name), known, self.reports.clone());
            self.trackers.lookups.push(OwnTask::new(tokio::spawn(watch).abort_handle()));
        }
    }

    /// A name leads elsewhere by now: to trackers that are new, and not to others any more.
    pub(super) fn resolved(&mut self, place: usize, found: &[SocketAddr]) {
        let are_several = self.around.as_ref().is_some_and(|around| around.several.load(Ordering::Relaxed));
        if self.trackers.named.get(place).is_none() || (!are_several && !names::are_several(found)) {
            // The client of the only one looks the name up itself when it is lost. One that is left of several does not.
            return;
        }
        self.trackers.leads_to.insert(place, found.to_vec());
        self.begin_where_it_leads(place);
        self.leave_where_none_is(place);
        self.announce_all(false);
    }

    /// Begins the trackers that a name leads to, as many as there is room for. Those that it does not lead to any more take no room:
    /// all addresses may have changed at once.
    fn begin_where_it_leads(&mut self, place: usize) {
        let (Some(named), Some(found)) = (self.trackers.named.get(place), self.trackers.leads_to.get(&place)) else {
            return;
        };
        let known: HashSet<_> = self.trackers.behind(place).filter_map(|tracker| tracker.at).collect();
        let mut new = names::behind(named, found);
        new.retain(|tracker| !known.contains(&tracker.addresses[0]));
        let left = self.trackers.led_to_no_more();
        new.truncate(MOST_TRACKERS.saturating_sub(self.trackers.len() - left.len()));
        // Where names change again and again, and no tracker answers.
        for number in left.into_iter().skip(MOST_TRACKERS) {
            self.leave_tracker(number);
        }
        let was_one = self.trackers.len() == 1;
        for tracker in new {
            tracing::info!(tracker = tracker.place(), "a tracker that the name leads to now");
            if was_one
                && let Some(around) = &self.around
                && !around.several.swap(true, Ordering::Relaxed)
            {
                self.trackers.are_several();
            }
            self.start_client(place, tracker, None);
        }
    }

    /// Leaves the trackers of a name that it does not lead to any more, once one that it leads to has said welcome: until then they are as
    /// good as any. A rollout may change all addresses at once.
    fn leave_where_none_is(&mut self, place: usize) {
        let Some(found) = self.trackers.leads_to.get(&place) else { return };
        let is_there = |at: Option<SocketAddr>| at.is_none_or(|at| found.contains(&at));
        if !self.trackers.behind(place).any(|one| is_there(one.at) && one.is_up()) {
            return;
        }
        let gone: Vec<_> = self.trackers.behind(place).filter(|one| !is_there(one.at)).map(|one| one.number).collect();
        gone.into_iter().for_each(|number| self.leave_tracker(number));
    }

    fn leave_tracker(&mut self, number: TrackerNumber) {
        if let Some(client) = self.trackers.client(number) {
            let _ = client.try_send(ToClient::Bye { done: oneshot::channel().0 });
        }
        self.trackers.remove(number);
    }

    /// Says how the trackers are, if that has changed.
    pub(super) fn publish_trackers(&self) {
        let now = self.trackers.statuses();
        self.tracker_statuses.send_if_modified(|known| {
            let is_new = *known != now;
            if is_new {
                *known = now;
            }
            is_new
        });
    }

    /// Announces all contents where they belong now.
    fn announce_all(&mut self, again: bool) {
        let contents: Vec<_> = self.items.keys().copied().collect();
        contents.into_iter().for_each(|content| self.announce_where_due(content, again));
    }

    pub(super) fn tracker_news(&mut self, number: TrackerNumber, news: TrackerNews) {
        let change = match news {
            TrackerNews::Welcome { id, instance, at, leads_to } => {
                let change = self.trackers.is_up(number, id, instance, at);
                if let Some(place) = self.trackers.place(number) {
                    self.trackers.leads_to.extend(leads_to.map(|found| (place, found)));
                    self.leave_where_none_is(place);
                }
                change
            }
            TrackerNews::Lost => self.trackers.is_down(number, TrackerState::Lost),
            TrackerNews::Taken => self.trackers.is_down(number, TrackerState::Taken),
            TrackerNews::Unfit(error) => {
                tracing::warn!(%error, "a tracker");
                // While others serve, it is one that is lost.
                if self.trackers.are_lost() {
                    self.tell(PeerEvent::TrackerUnfit { error: Arc::new(error) });
                }
                return;
            }
        };
        match change {
            TrackerChange::None => return,
            TrackerChange::AllLost => {
                let contents: Vec<_> = self.items.keys().copied().collect();
                contents.into_iter().for_each(|content| self.hurry_on_lan(content));
                self.tell(PeerEvent::TrackerLost);
            }
            TrackerChange::Back => self.tell(PeerEvent::TrackerBack),
            TrackerChange::Other => {}
        }
        self.announce_all(false);
    }

    /// A tracker has named peers. Only those are gone that no other one knows of.
    pub(super) fn introduced(
        &mut self,
        number: TrackerNumber,
        content: ContentId,
        mut joined: Vec<PeerAddress>,
        mut gone: Vec<PeerId>,
    ) {
        if self.trackers.client(number).is_none() {
            return;
        }
        if self.trackers.len() > 1 && self.items.contains_key(&content) {
            let announced = self.setup.gate.shares.announced_as(content);
            self.trackers.introduced.joined(number, announced, &mut joined);
            self.trackers.introduced.gone(number, announced, &mut gone);
        }
        self.handle(Report::Event(Event::Found { content, peers: joined }));
        self.handle(Report::Event(Event::Gone { content, peers: gone }));
    }

    /// Announces a download to all trackers that meets nobody: those who have it may know other trackers only.
    pub(super) fn look_for_lonely(&mut self) {
        if self.trackers.len() <= ANNOUNCED_TO {
            return;
        }
        let wanted =
            self.items.iter().filter(|(_, item)| item.wanted && !item.finished && !item.paused && !item.everywhere);
        let wanted: Vec<_> = wanted.map(|(&content, _)| content).collect();
        for content in wanted {
            let is_alone = self.engine.participants(content).0.is_empty();
            let Some(item) = self.items.get_mut(&content) else { continue };
            if !is_alone {
                item.alone_since = None;
            } else if item.alone_since.get_or_insert_with(Instant::now).elapsed() >= ALONE {
                item.everywhere = true;
                self.announce_where_due(content, false);
            }
        }
    }
}

/// The first tracker that has said welcome; or else why none has.
async fn first_of(firsts: Vec<oneshot::Receiver<Result<Joined, PeerError>>>) -> Result<Joined, PeerError> {
    let mut waiting: JoinSet<_> = firsts.into_iter().collect();
    let mut errors = Vec::new();
    while let Some(first) = waiting.join_next().await {
        match first {
            Ok(Ok(Ok(joined))) => return Ok(joined),
            Ok(Ok(Err(error))) => errors.push(error),
            // Another client has this tracker.
            _ => {}
        }
    }
    Err(of_all(errors))
}

/// Why none of several trackers is there: one that is silent may come, and is said before one that refuses.
fn of_all(mut errors: Vec<PeerError>) -> PeerError {
    let is_silent =
        |error: &PeerError| matches!(error, PeerError::Tracker { reason, .. } if !reason.is_failed_handshake());
    let silent = |error: &PeerError| match error {
        PeerError::Tracker { address, .. } if is_silent(error) => Some(address.clone()),
        _ => None,
    };
    let addresses: Vec<_> = errors.iter().filter_map(silent).collect();
    let Some(first) = errors.iter().position(is_silent) else {
        return errors.into_iter().next().unwrap_or(PeerError::NoTracker);
    };
    match errors.swap_remove(first) {
        PeerError::Tracker { reason, .. } => PeerError::Tracker { address: addresses.join(", "), reason },
        error => error,
    }
}
