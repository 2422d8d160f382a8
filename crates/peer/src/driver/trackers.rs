//! The trackers of a node: which of them live as far as is known here, and which content is announced to which of them.
//!
//! Each content is announced to the first two, in its ranking, of those that live ([`swarm::ranking`]). So peers that disagree
//! about one tracker have another in common, and one that dies takes nothing with it that no other knows. A download that
//! meets nobody is announced to all: others may know less.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use protocol::{Announce, ContentId, PeerId, TrackerInstance};
use swarm::{ANNOUNCED_TO, ranking};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::introduced::Introduced;
use super::item::OwnTask;
use crate::net::tracker::{ToClient, TrackerAddress};
use crate::tracker_status::{TrackerNumber, TrackerState, TrackerStatus};

/// When one address of a name has answered, the others have as long again to be trackers of their own, within these bounds.
const SHORTEST_GUESS: Duration = Duration::from_millis(150);
const LONGEST_GUESS: Duration = Duration::from_secs(1);

/// All trackers of a node.
#[derive(Default)]
pub(super) struct Trackers {
    all: Vec<Tracker>,
    next: TrackerNumber,
    /// Those that were named, in their order.
    pub(super) named: Vec<TrackerAddress>,
    /// Where those lead now of which the name was looked up again.
    pub(super) leads_to: BTreeMap<usize, Vec<SocketAddr>>,
    /// The tasks that look names up again.
    pub(super) lookups: Vec<OwnTask>,
    /// Which of them have named a peer.
    pub(super) introduced: Introduced,
    /// Whether all were lost, and none is back.
    is_lost: bool,
    /// When they were joined, and until when those may still answer that may be other addresses of one that has.
    joined: Option<Instant>,
    guessed_until: Option<Instant>,
}

/// One of them.
pub(super) struct Tracker {
    pub(super) number: TrackerNumber,
    /// What it is called, and which of those that were named it is.
    called: String,
    pub(super) place: usize,
    /// Where it is, if it has a name together with others, or it was reached there.
    pub(super) at: Option<SocketAddr>,
    id: PeerId,
    instance: TrackerInstance,
    client: mpsc::Sender<ToClient>,
    state: TrackerState,
    /// Whether it is one of several addresses of a name and has never answered: it may be one more address of another.
    is_guess: bool,
    announced: BTreeSet<ContentId>,
}

impl Tracker {
    pub(super) fn is_up(&self) -> bool {
        self.state == TrackerState::Up
    }
}

impl Trackers {
    /// The number of the next one.
    pub(super) fn number(&mut self) -> TrackerNumber {
        self.next += 1;
        self.next
    }

    /// Forgets all of them: their clients end.
    pub(super) fn clear(&mut self) {
        *self = Trackers { next: self.next, joined: Some(Instant::now()), ..Trackers::default() };
    }

    pub(super) fn add(
        &mut self,
        number: TrackerNumber,
        place: usize,
        tracker: &TrackerAddress,
        client: mpsc::Sender<ToClient>,
    ) {
        let at = match (&tracker.name, &tracker.addresses[..]) {
            (None, &[address]) => Some(address),
            _ => None,
        };
        let is_guess = tracker.name.is_none() && self.named.get(place).is_some_and(|named| named.name.is_some());
        self.all.push(Tracker {
            number,
            called: tracker.place(),
            place,
            at,
            id: tracker.id,
            instance: TrackerInstance::default(),
            client,
            state: TrackerState::Connecting,
            is_guess,
            announced: BTreeSet::new(),
        });
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Those that are where the one leads to that was named as this.
    pub(super) fn behind(&self, place: usize) -> impl Iterator<Item = &Tracker> {
        self.all.iter().filter(move |tracker| tracker.place == place)
    }

    /// Those that their name does not lead to any more, first those that are up.
    pub(super) fn led_to_no_more(&self) -> Vec<TrackerNumber> {
        let is_left = |tracker: &&Tracker| match (self.leads_to.get(&tracker.place), tracker.at) {
            (Some(found), Some(at)) => !found.contains(&at),
            _ => false,
        };
        let mut left: Vec<_> = self.all.iter().filter(is_left).collect();
        left.sort_by_key(|tracker| !tracker.is_up());
        left.into_iter().map(|tracker| tracker.number).collect()
    }

    /// Which of those that were named one is, if it is still there.
    pub(super) fn place(&self, number: TrackerNumber) -> Option<usize> {
        self.all.iter().find(|tracker| tracker.number == number).map(|tracker| tracker.place)
    }

    /// Says goodbye to one, which is not where its name leads any more.
    pub(super) fn remove(&mut self, number: TrackerNumber) {
        self.all.retain(|tracker| tracker.number != number);
        self.introduced.forget_tracker(number);
    }

    /// The clients of all that were there, to say goodbye.
    pub(super) fn take_all(&mut self) -> Vec<mpsc::Sender<ToClient>> {
        std::mem::take(&mut self.all).into_iter().map(|tracker| tracker.client).collect()
    }

    pub(super) fn client(&self, number: TrackerNumber) -> Option<&mpsc::Sender<ToClient>> {
        self.all.iter().find(|tracker| tracker.number == number).map(|tracker| &tracker.client)
    }

    /// There are more than one from now on: each is to find out which it is, and is called by where it is.
    pub(super) fn are_several(&mut self) {
        for tracker in &mut self.all {
            if let Some(at) = tracker.at {
                tracker.called = at.to_string();
            }
            let _ = tracker.client.try_send(ToClient::OneOfSeveral);
        }
    }

    /// How each is, without addresses that lead where another does, or have not answered in time when another of the name has.
    pub(super) fn statuses(&self) -> Vec<TrackerStatus> {
        let is_over = self.guessed_until.is_some_and(|until| Instant::now() >= until);
        let answers = |place| self.behind(place).any(|tracker| !tracker.is_guess);
        let is_none = |tracker: &Tracker| {
            tracker.is_guess && (is_over || tracker.state != TrackerState::Connecting) && answers(tracker.place)
        };
        let shown = self.all.iter().filter(|tracker| tracker.state != TrackerState::Taken && !is_none(tracker));
        let status = |tracker: &Tracker| TrackerStatus {
            number: tracker.number,
            place: tracker.called.clone(),
            id: tracker.id,
            state: tracker.state,
            at: tracker.at.filter(|_| !tracker.is_guess),
            is_guess: tracker.is_guess,
            name: self.named.get(tracker.place).and_then(|named| named.name.clone()),
            leads_to: self.leads_to(tracker.place),
        };
        shown.map(status).collect()
    }

    /// Where the one leads to that was named as this, as far as is known.
    fn leads_to(&self, place: usize) -> Vec<SocketAddr> {
        let named = || self.named.get(place).map(|named| named.addresses.clone());
        self.leads_to.get(&place).cloned().or_else(named).unwrap_or_default()
    }

    /// Whether all were lost, and none is back.
    pub(super) fn are_lost(&self) -> bool {
        self.is_lost
    }

    fn is_any_up(&self) -> bool {
        self.all.iter().any(|tracker| tracker.state == TrackerState::Up)
    }

    /// One has said welcome.
    pub(super) fn is_up(
        &mut self,
        number: TrackerNumber,
        id: PeerId,
        instance: TrackerInstance,
        at: SocketAddr,
    ) -> TrackerChange {
        let (now, joined) = (Instant::now(), self.joined);
        self.guessed_until.get_or_insert_with(|| {
            now + joined.map_or(LONGEST_GUESS, |joined| (now - joined).clamp(SHORTEST_GUESS, LONGEST_GUESS))
        });
        self.set(number, TrackerState::Up, |tracker| {
            (tracker.id, tracker.instance, tracker.at, tracker.is_guess) = (id, instance, Some(at), false)
        })
    }

    /// One is lost, or is not one of its own.
    pub(super) fn is_down(&mut self, number: TrackerNumber, state: TrackerState) -> TrackerChange {
        // It remembers nobody when it is back.
        self.introduced.forget_tracker(number);
        self.set(number, state, |_| {})
    }

    fn set(&mut self, number: TrackerNumber, state: TrackerState, set: impl FnOnce(&mut Tracker)) -> TrackerChange {
        let (was_up, several) = (self.is_any_up(), self.all.len() > 1);
        let Some(tracker) = self.all.iter_mut().find(|tracker| tracker.number == number) else {
            return TrackerChange::None;
        };
        tracker.state = state;
        set(tracker);
        if several {
            tracing::info!(tracker = tracker.called, ?state, "one of several trackers");
        }
        match (was_up, self.is_any_up()) {
            (true, false) => {
                self.is_lost = true;
                TrackerChange::AllLost
            }
            (false, true) if std::mem::take(&mut self.is_lost) => TrackerChange::Back,
            _ => TrackerChange::Other,
        }
    }

    /// Where a content is announced: the first two of those that live, or all of them. Where none is known to live, all may.
    fn targets(&self, content: ContentId, everywhere: bool) -> Vec<usize> {
        let is_up = |tracker: &&Tracker| tracker.state == TrackerState::Up;
        let any = self.all.iter().any(|tracker| is_up(&tracker));
        let of_own = |tracker: &Tracker| tracker.state != TrackerState::Taken;
        let places: Vec<_> = (0..self.all.len())
            .filter(|&place| if any { is_up(&&self.all[place]) } else { of_own(&self.all[place]) })
            .collect();
        let identities: Vec<_> = places.iter().map(|&place| (self.all[place].id, self.all[place].instance)).collect();
        let most = if everywhere { usize::MAX } else { ANNOUNCED_TO };
        ranking(content, &identities).into_iter().take(most).map(|rank| places[rank]).collect()
    }

    /// Announces a content where it belongs, and takes it back where it does not any more. Where it was announced before, it is
    /// said only `again` if its role has changed, say.
    pub(super) fn announce(&mut self, announce: &Announce, everywhere: bool, again: bool) {
        let content = announce.content;
        let targets = self.targets(content, everywhere);
        for (place, tracker) in self.all.iter_mut().enumerate() {
            if !targets.contains(&place) {
                if tracker.announced.remove(&content) {
                    let _ = tracker.client.try_send(ToClient::Leave(content));
                }
            } else if tracker.announced.insert(content) || again {
                let sent = tracker.client.try_send(ToClient::Announce(announce.clone()));
                // One that never answered has no queue.
                if let Err(TrySendError::Full(_)) = sent {
                    tracing::warn!("the tracker's queue is full; {content} is announced when it comes back");
                }
            }
        }
    }

    /// Takes a content back everywhere.
    pub(super) fn leave(&mut self, content: ContentId) {
        self.introduced.forget_content(content);
        for tracker in &mut self.all {
            if tracker.announced.remove(&content) {
                let _ = tracker.client.try_send(ToClient::Leave(content));
            }
        }
    }

    /// Those that live and know that this node takes part in a content, best first: the relays of both sides are among them.
    pub(super) fn of(&self, content: ContentId) -> Vec<mpsc::Sender<ToClient>> {
        let targets = self.targets(content, true).into_iter().map(|place| &self.all[place]);
        targets.filter(|tracker| tracker.announced.contains(&content)).map(|tracker| tracker.client.clone()).collect()
    }

    /// Where those are that live, best first for a content.
    pub(super) fn places(&self, content: ContentId) -> Vec<(PeerId, SocketAddr)> {
        let ranked = self.targets(content, true).into_iter().map(|place| &self.all[place]);
        ranked.filter(|tracker| tracker.is_up()).filter_map(|tracker| Some((tracker.id, tracker.at?))).collect()
    }

    /// The one to ask who takes part in a content.
    pub(super) fn first_of(&self, content: ContentId) -> Option<TrackerNumber> {
        self.targets(content, false).first().map(|&place| self.all[place].number)
    }
}

/// What comes of news of a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrackerChange {
    /// Nothing: it is none of them any more.
    None,
    /// No tracker is left.
    AllLost,
    /// The first of them is back.
    Back,
    /// Contents may belong elsewhere.
    Other,
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, Role};
    use tokio::sync::mpsc::Receiver;

    use super::*;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], number))
    }

    fn trackers(count: u16) -> (Trackers, Vec<Receiver<ToClient>>) {
        let (mut trackers, mut inboxes) = (Trackers::default(), Vec::new());
        for number in 0..count {
            let (client, inbox) = mpsc::channel(64);
            let id = PeerId::of_public_key(&number.to_le_bytes());
            let tracker = TrackerAddress { addresses: vec![address(number + 1)], id, name: None };
            let number = trackers.number();
            trackers.add(number, 0, &tracker, client);
            inboxes.push(inbox);
        }
        (trackers, inboxes)
    }

    fn up(trackers: &mut Trackers, number: TrackerNumber) -> TrackerChange {
        let id = PeerId::of_public_key(&(number as u16 - 1).to_le_bytes());
        trackers.is_up(number, id, TrackerInstance::default(), address(number as u16))
    }

    fn announce(number: u8) -> Announce {
        Announce { content: ContentId(Digest([number; 32])), about: None, role: Role::Seeder }
    }

    /// Which trackers were told of a content, and which that it is over.
    fn told(inboxes: &mut [Receiver<ToClient>]) -> (Vec<TrackerNumber>, Vec<TrackerNumber>) {
        let (mut announced, mut left) = (Vec::new(), Vec::new());
        for (number, inbox) in (1..).zip(inboxes) {
            while let Ok(told) = inbox.try_recv() {
                match told {
                    ToClient::Announce(_) => announced.push(number),
                    ToClient::Leave(_) => left.push(number),
                    _ => {}
                }
            }
        }
        (announced, left)
    }

    #[test]
    fn a_content_is_announced_to_two_and_moves_when_one_dies_and_returns() {
        let (mut trackers, mut inboxes) = trackers(5);
        for number in 1..=5 {
            up(&mut trackers, number);
        }
        trackers.announce(&announce(1), false, true);
        let (first, left) = told(&mut inboxes);
        assert_eq!((first.len(), left.len()), (2, 0));
        assert_eq!(trackers.is_down(first[0], TrackerState::Lost), TrackerChange::Other);
        trackers.announce(&announce(1), false, false);
        let (moved, left) = told(&mut inboxes);
        assert_eq!((moved.len(), left), (1, vec![first[0]]), "the other one knows it already");
        assert!(!first.contains(&moved[0]));
        assert_eq!(up(&mut trackers, first[0]), TrackerChange::Other);
        trackers.announce(&announce(1), false, false);
        assert_eq!(told(&mut inboxes), (vec![first[0]], moved), "it returns");
        trackers.announce(&announce(1), false, true);
        assert_eq!(told(&mut inboxes).0, first, "its role has changed");
        trackers.leave(announce(1).content);
        assert_eq!(told(&mut inboxes).1, first);
    }

    #[test]
    fn a_download_that_meets_nobody_is_announced_to_all() {
        let (mut trackers, mut inboxes) = trackers(4);
        for number in 1..=3 {
            up(&mut trackers, number);
        }
        trackers.announce(&announce(1), true, false);
        assert_eq!(told(&mut inboxes).0, [1, 2, 3], "to all that live");
        assert_eq!(trackers.of(announce(1).content).len(), 3);
        trackers.announce(&announce(1), false, false);
        assert_eq!(told(&mut inboxes).1.len(), 1);
    }

    #[test]
    fn the_tracker_is_lost_when_all_are_and_back_with_the_first() {
        let (mut trackers, _inboxes) = trackers(2);
        assert_eq!(up(&mut trackers, 1), TrackerChange::Other, "it was not lost before");
        assert_eq!(up(&mut trackers, 2), TrackerChange::Other);
        assert_eq!(trackers.is_down(1, TrackerState::Lost), TrackerChange::Other);
        assert_eq!(trackers.is_down(2, TrackerState::Lost), TrackerChange::AllLost);
        assert!(trackers.are_lost());
        assert_eq!(up(&mut trackers, 2), TrackerChange::Back);
        assert!(!trackers.are_lost());
        assert_eq!(trackers.is_down(99, TrackerState::Lost), TrackerChange::None, "one of an earlier join");
    }

    #[test]
    fn an_address_that_leads_to_the_same_tracker_counts_for_nothing() {
        let (mut trackers, mut inboxes) = trackers(2);
        up(&mut trackers, 1);
        trackers.is_down(2, TrackerState::Taken);
        trackers.announce(&announce(1), true, false);
        assert_eq!(told(&mut inboxes).0, [1]);
        assert_eq!(trackers.statuses().len(), 1);
        assert_eq!(trackers.is_down(1, TrackerState::Lost), TrackerChange::AllLost);
        trackers.announce(&announce(2), false, false);
        assert_eq!(told(&mut inboxes).0, [1], "it is announced there when it is back");
    }
}
