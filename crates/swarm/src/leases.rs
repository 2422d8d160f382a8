//! Which of several peers reads from an origin what nobody has: one holds the lease of a key, the others stand in line.
//!
//! A tracker cannot tell whether a holder reads, but those in line know how large the file is: the holder must make progress, at no
//! less than a low rate, and say in time what came of it. Otherwise the next in line holds the lease, and the one before is never given
//! it again while it stays. Failures that follow on each other are spread out: an origin that is down is not asked by all at once.
//!
//! What was published is believed by nobody here. Who has found that a content is not what the key names says so with its claim, and
//! stands in line as if it were not there.
//!
//! Anyone may claim a key and have nothing to show for it, over as many connections as it likes. Networks take turns for that reason: those
//! that held the lease in vain come after all others, a network that has published what turned out wrong is heard last, and where too much was
//! published, that goes of which one network has most.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use protocol::{ContentId, LeaseEvent, LeaseRequest, OriginKey};

/// A holder that has nothing new to say for so long holds the lease no more, if others wait.
const SILENT: Duration = Duration::from_secs(30);
/// So many bytes a second it must read, on average after [`SILENT`]. Many files may share a slow link to one origin.
const RATE: u64 = 32 << 10;
/// After the first failure nobody is given the lease for so long; twice as long after each further one, within the second bound.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// Most keys of a connection. Beyond that the oldest that it has published is forgotten.
const MOST_KEYS: usize = 1024;
/// Most contents that are remembered of a key: anyone may say that one is of it.
const MOST_CONTENTS: usize = 8;
/// Networks that are remembered for having held the lease of a key in vain. The first one is forgotten first.
const MOST_VAIN: usize = 16;

/// Something that the tracker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAction {
    /// A connection is told something.
    Tell {
        /// Its session.
        session: u64,
        /// What.
        event: LeaseEvent,
    },
    /// A connection has a place at one more key, which takes memory.
    Takes {
        /// Its session.
        session: u64,
    },
    /// It has one less.
    Gives {
        /// Its session.
        session: u64,
    },
}

/// The leases of a tracker.
#[derive(Debug, Default)]
pub struct Leases {
    keys: BTreeMap<OriginKey, Key>,
    sessions: BTreeMap<u64, Session>,
    /// Keys that somebody stands in line for.
    awaited: BTreeSet<OriginKey>,
}

/// One key. A session has one place there: it holds the lease, stands in line, or has published.
#[derive(Debug, Default)]
struct Key {
    holder: Option<Holder>,
    line: VecDeque<Waiting>,
    /// Oldest first.
    published: VecDeque<Publication>,
    /// Networks that held the lease and published nothing.
    vain: VecDeque<IpAddr>,
    /// Since the lease was held with success.
    failures: u32,
    /// Until then nobody is given the lease.
    pause: Duration,
}

/// What somebody says that the key names.
#[derive(Debug, Clone, Copy)]
struct Publication {
    session: u64,
    network: IpAddr,
    content: ContentId,
}

#[derive(Debug)]
struct Holder {
    session: u64,
    network: IpAddr,
    since: Duration,
    bytes: u64,
    /// When it has said last that it has more.
    moved: Duration,
}

#[derive(Debug)]
struct Waiting {
    session: u64,
    network: IpAddr,
    size: u64,
    wrong: Vec<ContentId>,
    /// It has held the lease, and was too slow.
    had_it: bool,
}

#[derive(Debug)]
struct Session {
    network: IpAddr,
    keys: BTreeSet<OriginKey>,
    /// Those of them that it has published, oldest first.
    published: VecDeque<OriginKey>,
}

impl Key {
    fn is_empty(&self) -> bool {
        self.holder.is_none() && self.line.is_empty() && self.published.is_empty()
    }

    /// A session holds the lease no more, nor stands in line, nor has published.
    fn take_place(&mut self, session: u64) {
        self.holder = self.holder.take().filter(|holder| holder.session != session);
        self.line.retain(|waiting| waiting.session != session);
        self.published.retain(|published| published.session != session);
    }

    /// The lease was held from this network, and nothing has come of it.
    fn held_in_vain(&mut self, network: IpAddr) {
        self.vain.retain(|known| *known != network);
        self.vain.push_back(network);
        if self.vain.len() > MOST_VAIN {
            self.vain.pop_front();
        }
    }

    /// Who is to hold the lease next: the first in line of the networks that have not held it in vain, or else the first in line.
    fn next(&mut self) -> Option<Waiting> {
        let able = || self.line.iter().enumerate().filter(|(_, waiting)| !waiting.had_it);
        let (next, _) = able().min_by_key(|(_, waiting)| self.vain.contains(&waiting.network))?;
        self.line.remove(next)
    }

    /// The newest publication for the key that is not in `wrong`: later publishers knew the earlier ones and found them
    /// wrong. Publications from the network of a wrong one come last.
    fn known(&self, wrong: &[ContentId]) -> Option<ContentId> {
        let is_wrong = |published: &&Publication| wrong.contains(&published.content);
        let liars: BTreeSet<IpAddr> =
            self.published.iter().filter(is_wrong).map(|published| published.network).collect();
        let others = self.published.iter().rev().filter(|published| !is_wrong(published));
        others.min_by_key(|published| liars.contains(&published.network)).map(|published| published.content)
    }

    /// What is to be forgotten, if too much was published: the oldest of the network with the most.
    fn surplus(&self) -> Option<u64> {
        let of = |network| self.published.iter().filter(|published| published.network == network).count();
        let most = self.published.iter().map(|published| of(published.network)).max()?;
        let oldest = self.published.iter().find(|published| of(published.network) == most)?;
        (self.published.len() > MOST_CONTENTS).then_some(oldest.session)
    }

    /// How large it is, as those say who wait for it: the one in the middle, so that one that lies changes nothing where others wait.
    fn size(&self) -> u64 {
        let waiting = self.line.iter().filter(|waiting| !waiting.had_it);
        let mut sizes: Vec<u64> = waiting.map(|waiting| waiting.size).collect();
        let middle = sizes.len() / 2;
        if sizes.is_empty() { u64::MAX } else { *sizes.select_nth_unstable(middle).1 }
    }

    /// Whether the holder is to hold the lease no more, since another would do better. With all of it read, there is a little time left to
    /// share it.
    fn is_slow(&self, now: Duration) -> bool {
        let another = self.line.iter().any(|waiting| !waiting.had_it);
        another
            && self.holder.as_ref().is_some_and(|holder| {
                let held = now.saturating_sub(holder.since).saturating_sub(SILENT);
                let least = held.as_secs().saturating_mul(RATE);
                now.saturating_sub(holder.moved) >= SILENT || least > holder.bytes.min(self.size())
            })
    }
}

impl Leases {
    /// None yet.
    pub fn new() -> Self {
        Leases::default()
    }

    /// Keys that somebody has a place at.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nobody has a place at any.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A connection from this network ([`AddressOrigin::network`](crate::AddressOrigin)) says something.
    pub fn handle(
        &mut self,
        now: Duration,
        (session, network): (u64, IpAddr),
        request: LeaseRequest,
        actions: &mut Vec<LeaseAction>,
    ) {
        match request {
            LeaseRequest::Claim { key, size, wrong } => {
                self.claim(now, (session, network), key, (size, wrong), actions);
            }
            LeaseRequest::Progress { key, bytes } => self.progress(now, session, key, bytes),
            LeaseRequest::Published { key, content } => self.published(now, session, key, content, actions),
            LeaseRequest::Release { key } => {
                if self.has(session, key) {
                    self.leave(now, session, key, true, actions);
                }
            }
        }
    }

    /// A connection has ended.
    pub fn end(&mut self, now: Duration, session: u64, actions: &mut Vec<LeaseAction>) {
        let keys = self.sessions.get(&session).map(|session| session.keys.clone()).unwrap_or_default();
        for key in keys {
            self.leave(now, session, key, false, actions);
        }
    }

    /// Time has passed: to be called about once a second.
    pub fn tick(&mut self, now: Duration, actions: &mut Vec<LeaseAction>) {
        let awaited: Vec<OriginKey> = self.awaited.iter().copied().collect();
        for key in awaited {
            let Some(found) = self.keys.get_mut(&key) else { continue };
            if found.is_slow(now)
                && let Some(Holder { session, network, .. }) = found.holder.take()
            {
                found.held_in_vain(network);
                // It may have all of it in the end: what it publishes then is heard.
                found.line.push_back(Waiting { session, network, size: u64::MAX, wrong: Vec::new(), had_it: true });
            }
            self.grant(now, key, actions);
        }
    }

    fn has(&self, session: u64, key: OriginKey) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.keys.contains(&key))
    }

    fn claim(
        &mut self,
        now: Duration,
        (session, network): (u64, IpAddr),
        key: OriginKey,
        (size, wrong): (u64, Vec<ContentId>),
        actions: &mut Vec<LeaseAction>,
    ) {
        if self.has(session, key) {
            self.leave(now, session, key, false, actions);
        }
        if let Some(content) = self.keys.get(&key).and_then(|found| found.known(&wrong)) {
            actions.push(LeaseAction::Tell { session, event: LeaseEvent::Published { key, content } });
            return;
        }
        if !self.make_room(session, actions) {
            actions.push(LeaseAction::Tell { session, event: LeaseEvent::Refused { key } });
            return;
        }
        let new = || Session { network, keys: BTreeSet::new(), published: VecDeque::new() };
        self.sessions.entry(session).or_insert_with(new).keys.insert(key);
        actions.push(LeaseAction::Takes { session });
        let found = self.keys.entry(key).or_default();
        found.line.push_back(Waiting { session, network, size, wrong, had_it: false });
        self.awaited.insert(key);
        self.grant(now, key, actions);
        let holds = self.keys.get(&key).and_then(|found| found.holder.as_ref()).map(|holder| holder.session);
        if holds != Some(session) {
            actions.push(LeaseAction::Tell { session, event: LeaseEvent::Held { key } });
        }
    }

    /// Whether a connection may have one more key. Of those that it has published the oldest makes room.
    fn make_room(&mut self, session: u64, actions: &mut Vec<LeaseAction>) -> bool {
        let Some(known) = self.sessions.get_mut(&session).filter(|known| known.keys.len() >= MOST_KEYS) else {
            return true;
        };
        let Some(oldest) = known.published.front().copied() else { return false };
        self.forget(session, oldest, actions);
        true
    }

    fn progress(&mut self, now: Duration, session: u64, key: OriginKey, bytes: u64) {
        let is_holder = |found: &&mut Key| found.holder.as_ref().is_some_and(|holder| holder.session == session);
        let Some(found) = self.keys.get_mut(&key).filter(is_holder) else { return };
        let size = found.size();
        if let Some(holder) = &mut found.holder
            && bytes.min(size) > holder.bytes
        {
            (holder.bytes, holder.moved) = (bytes.min(size), now);
        }
    }

    fn published(
        &mut self,
        now: Duration,
        session: u64,
        key: OriginKey,
        content: ContentId,
        actions: &mut Vec<LeaseAction>,
    ) {
        let known = self.sessions.get(&session);
        let known = known.filter(|known| known.keys.contains(&key) && !known.published.contains(&key));
        let Some((network, found)) = known.map(|known| known.network).zip(self.keys.get_mut(&key)) else { return };
        found.take_place(session);
        found.failures = 0;
        found.published.push_back(Publication { session, network, content });
        let (told, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut found.line).into_iter().partition(|waiting| !waiting.wrong.contains(&content));
        found.line = left;
        let surplus = found.surplus();
        if let Some(known) = self.sessions.get_mut(&session) {
            known.published.push_back(key);
        }
        for Waiting { session, .. } in told {
            actions.push(LeaseAction::Tell { session, event: LeaseEvent::Published { key, content } });
            self.forget_key(session, key, actions);
        }
        if let Some(surplus) = surplus {
            self.forget(surplus, key, actions);
        }
        self.grant(now, key, actions);
    }

    /// A session has no place at a key any more. Whether it says itself that it could not read it.
    fn leave(&mut self, now: Duration, session: u64, key: OriginKey, has_failed: bool, actions: &mut Vec<LeaseAction>) {
        let found = self.keys.get_mut(&key);
        let held = found.filter(|found| found.holder.as_ref().is_some_and(|holder| holder.session == session));
        let has_failed = has_failed && held.is_some();
        if let Some((network, found)) = self.sessions.get(&session).map(|known| known.network).zip(held) {
            found.held_in_vain(network);
        }
        self.forget(session, key, actions);
        if has_failed && let Some(found) = self.keys.get_mut(&key) {
            let (first, longest) = AFTER_FAILURE;
            found.pause = now + first.saturating_mul(1 << found.failures.min(10)).min(longest);
            found.failures += 1;
        }
        self.grant(now, key, actions);
    }

    /// Takes a session's place at a key.
    fn forget(&mut self, session: u64, key: OriginKey, actions: &mut Vec<LeaseAction>) {
        self.forget_key(session, key, actions);
        let Some(found) = self.keys.get_mut(&key) else { return };
        found.take_place(session);
        if found.line.is_empty() {
            self.awaited.remove(&key);
        }
        if found.is_empty() {
            self.keys.remove(&key);
        }
    }

    /// A session has no place at this key any more.
    fn forget_key(&mut self, session: u64, key: OriginKey, actions: &mut Vec<LeaseAction>) {
        if let Some(known) = self.sessions.get_mut(&session) {
            if known.keys.remove(&key) {
                actions.push(LeaseAction::Gives { session });
            }
            known.published.retain(|published| *published != key);
            if known.keys.is_empty() {
                self.sessions.remove(&session);
            }
        }
    }

    /// Gives the lease to the first in line, if nobody holds it and it is time.
    fn grant(&mut self, now: Duration, key: OriginKey, actions: &mut Vec<LeaseAction>) {
        let Some(found) = self.keys.get_mut(&key) else { return };
        if found.holder.is_none()
            && now >= found.pause
            && let Some(Waiting { session, network, .. }) = found.next()
        {
            found.holder = Some(Holder { session, network, since: now, bytes: 0, moved: now });
            actions.push(LeaseAction::Tell { session, event: LeaseEvent::Granted { key } });
        }
        if found.line.is_empty() {
            self.awaited.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
