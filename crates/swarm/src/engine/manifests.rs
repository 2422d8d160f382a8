//! Whom to ask for a manifest that we want, and when to give up: its size is not known beforehand, so a peer that sends
//! without end is measured against the others.
//!
//! One peer is asked, and while nothing comes as it should, more each time: four times as many while nobody sends anything, since of peers
//! that are silent any number costs nothing, and then twice as many. Of those that send, the two that will be done first go on, or one where
//! there is no memory for two.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::{ContentId, MAX_MANIFEST_BYTES};

use super::Engine;
use super::content::Content;
use super::manifest_fetches::{Fetch, SOON};
use super::peers::connection::Connection;
use crate::event::ConnId;

/// Most peers that are asked at the same time once one of them sends, and so many times as many are asked next.
const ASKED: usize = 16;
const MORE: usize = 2;
/// The same while none does.
const SILENT: usize = 64;
const MORE_OF_SILENT: usize = 4;
/// An answer should be under way within this time and four round trips: then more peers are asked. Strangers that send nothing, or a byte a
/// second, keep nobody waiting for long.
const PROMPT: Duration = Duration::from_millis(100);
/// A peer that has sent nothing for this long and a round trip does not count among those that are asked; at most `SILENT` do not.
const SILENT_FOR: Duration = Duration::from_millis(200);
/// Most peers that go on sending once their pace is known.
const FLOWING: usize = 2;
/// There is memory for one of the largest: two that are larger than this would each wait for what the other has.
const ALONE: u64 = MAX_MANIFEST_BYTES as u64 / 2;
/// What is larger than this may be a sender's invention: few manifests are.
const LARGE: u64 = 1 << 20;
/// A peer that has not begun to send within this time and four round trips makes room for others, or is asked anew.
const BEGINS: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(10);
/// A sender's pace is judged after this time; after the shorter one while there are peers that were never asked.
const JUDGED: Duration = Duration::from_millis(500);
const JUDGED_EARLY: Duration = Duration::from_millis(100);
/// While those that send are slow, others are tried at pauses that double up to this; and up to that, if all were tried.
const PAUSE_BEFORE_OTHERS: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Those that have failed are asked again after this long.
const PAUSE: Duration = Duration::from_secs(1);

/// When an answer should be under way.
fn prompt(round_trip: Duration) -> Duration {
    PROMPT.saturating_add(round_trip * 4).min(super::TICK.max(round_trip))
}

impl Engine {
    /// Looks after the manifests that we want.
    pub(crate) fn fetch_manifests(&mut self) {
        self.manifests_at = self.manifests_at.filter(|at| *at > self.now);
        let lacks = |content: &Content| content.geometry.is_none() && content.wanted && !content.manifests.here;
        let lacking: Vec<ContentId> = self.contents.iter().filter(|(_, c)| lacks(c)).map(|(&id, _)| id).collect();
        for id in lacking {
            self.drop_slow_manifests(id);
            self.ask_for_manifest(id);
        }
    }

    /// Gives up those that do not begin although others could be asked, and of those that send all but the best two.
    fn drop_slow_manifests(&mut self, id: ContentId) {
        let (now, holders) = (self.now, self.manifest_holders(id));
        let others = holders.len();
        let new = |conn: &ConnId| self.conns.get(conn).is_some_and(|state| self.doubts(state, id) == (0, false));
        let enough = if holders.iter().any(new) { JUDGED_EARLY } else { JUDGED };
        let Some(content) = self.contents.get(&id) else { return };
        let mut dropped = Vec::new();
        for (&conn, fetch) in &content.manifests.asked {
            let rtt = self.conns.get(&conn).map_or(Duration::ZERO, |state| state.round_trip());
            let waited = now.saturating_sub(fetch.since);
            // Of the only ones that have it the answer may be long in coming.
            let most = if others > 0 { BEGINS } else { AGAIN };
            let late = !fetch.flows() && waited > most + rtt * 4;
            if late || (others > 0 && fetch.never_ends(now)) {
                dropped.push(conn);
            }
        }
        let judged = |fetch: &Fetch| fetch.began.is_some_and(|began| now.saturating_sub(began) >= enough);
        let mut flowing: Vec<_> = content.manifests.asked.iter().filter(|(_, fetch)| judged(fetch)).collect();
        flowing.retain(|(conn, _)| !dropped.contains(conn));
        flowing.sort_by_key(|(_, fetch)| fetch.left(now));
        let most = if flowing.iter().take(FLOWING).all(|(_, fetch)| fetch.total > ALONE) { 1 } else { FLOWING };
        dropped.extend(flowing.iter().skip(most).map(|&(&conn, _)| conn));
        let begun = content.manifests.asked.iter().filter(|(conn, fetch)| fetch.flows() && !dropped.contains(conn));
        dropped.extend(begun.map(|(&conn, _)| conn).skip(ASKED).collect::<Vec<_>>());
        for conn in dropped {
            self.actions.cancel_manifest(conn, id);
            let asked = self.contents.get(&id).and_then(|content| content.manifests.asked.get(&conn));
            // A peer that sends is only slower than others.
            let flowed = asked.is_some_and(|fetch| fetch.flows() && !fetch.never_ends(self.now));
            self.manifest_not_from(id, conn);
            if !flowed {
                self.strike(conn);
            }
        }
    }

    /// A connection stands over which we have just said that we want a content: whether the other side has the manifest is not
    /// known yet, but to ask costs it a word, and saves a round trip if it does. One is asked so at a time.
    pub(crate) fn ask_early(&mut self, conn: ConnId, id: ContentId) {
        let now = self.now;
        let Some(content) = self.contents.get_mut(&id) else { return };
        let lacks = content.geometry.is_none() && content.wanted && !content.manifests.here;
        let is_useless = self.conns.get(&conn).is_none_or(|state| state.download.is_useless());
        if lacks && !is_useless && content.manifests.asked.is_empty() && self.manifest_holders(id).is_empty() {
            let Some(content) = self.contents.get_mut(&id) else { return };
            content.manifests.early.insert(conn);
            content.manifests.asked.insert(conn, Fetch::new(now));
            self.note_manifest(conn, id);
            self.actions.fetch_manifest(conn, id);
            self.ask_first(conn, id);
            let rtt = self.conns.get(&conn).map_or(Duration::ZERO, Connection::round_trip);
            self.ask_for_manifests_by(now + prompt(rtt));
        }
    }

    /// Whether somebody was asked early who may well have it, and has had no time to send it.
    fn awaits_early(&self, content: &Content, id: ContentId) -> bool {
        let may_have = |conn: &ConnId| {
            let state = self.conns.get(conn);
            state.is_some_and(|state| state.participation(&id).is_none_or(|theirs| theirs.manifest))
        };
        let fetches = &content.manifests;
        let mut early = fetches.asked.iter().filter(|(conn, _)| fetches.early.contains(*conn) && may_have(conn));
        early.any(|(conn, fetch)| {
            let rtt = self.conns.get(conn).map_or(Duration::ZERO, Connection::round_trip);
            self.now.saturating_sub(fetch.since) < prompt(rtt)
        })
    }

    fn ask_for_manifest(&mut self, id: ContentId) {
        let mut holders = self.manifest_holders(id);
        let now = self.now;
        if self.contents.get(&id).is_some_and(|content| self.awaits_early(content, id)) {
            return;
        }
        let may_be_asked = |conn: &ConnId| {
            let theirs = self.conns.get(conn).and_then(|state| state.participation(&id));
            theirs.is_none_or(|theirs| now >= theirs.manifest_again)
        };
        holders.retain(may_be_asked);
        self.rng.shuffle(&mut holders);
        holders.sort_by_key(|conn| self.conns.get(conn).map(|state| self.doubts(state, id)));
        let tried =
            holders.first().and_then(|conn| self.conns.get(conn)).is_some_and(|state| self.doubts(state, id).0 > 0);
        let longest = if tried { LONGEST_PAUSE } else { PAUSE_BEFORE_OTHERS };
        let Some(content) = self.contents.get_mut(&id) else { return };
        let fetches = &mut content.manifests;
        fetches.doubtful |= fetches.asked.values().any(|fetch| fetch.is_overdue(now));
        let believed = |fetch: &&Fetch| !fetches.doubtful && fetch.total <= LARGE;
        let left = fetches.asked.values().filter(believed).map(|fetch| fetch.left(now)).min();
        let soon = left.is_some_and(|left| left < SOON);
        // A peer that is tried takes from the downlink of those that send.
        let considerate = match tried {
            true => fetches.asked.values().any(Fetch::flows),
            false => left.is_some_and(|left| left < Duration::MAX),
        };
        let silent = |(conn, fetch): &(&ConnId, &Fetch)| {
            let rtt = self.conns.get(*conn).map_or(Duration::ZERO, Connection::round_trip);
            !fetch.flows() && now.saturating_sub(fetch.since) >= SILENT_FOR + rtt
        };
        let silent = fetches.asked.iter().filter(silent).count();
        // Before an answer can be here, nobody is silent.
        let may_come = |(conn, fetch): (&ConnId, &Fetch)| {
            let rtt = self.conns.get(conn).map_or(Duration::ZERO, Connection::round_trip);
            now.saturating_sub(fetch.since) < prompt(rtt)
        };
        let flows = fetches.asked.values().any(Fetch::flows) || fetches.asked.iter().any(may_come);
        let (most, more) = if flows { (ASKED, MORE) } else { (SILENT, MORE_OF_SILENT) };
        let free = most.saturating_sub(fetches.asked.len() - silent.min(SILENT));
        if soon || now < fetches.not_before || holders.is_empty() {
            return;
        }
        if free == 0 {
            // Those that are slow make room soon.
            return self.ask_for_manifests_by(now + PROMPT);
        }
        // One that was asked early and has not answered was the first round.
        let first = if fetches.asked.is_empty() { 1 } else { MORE_OF_SILENT };
        let count = fetches.next.max(first).min(free);
        fetches.next = (count * more).min(most);
        let asked = holders.iter().take(count).filter_map(|conn| self.conns.get(conn));
        let rtt = asked.map(Connection::round_trip).max().unwrap_or(Duration::ZERO);
        fetches.pause = if considerate { (fetches.pause * 2).clamp(super::TICK, longest) } else { prompt(rtt) };
        fetches.not_before = now + fetches.pause;
        let again = fetches.not_before;
        self.ask_for_manifests_by(again);
        for conn in holders.into_iter().take(count) {
            if let Some(content) = self.contents.get_mut(&id) {
                content.manifests.asked.insert(conn, Fetch::new(now));
            }
            self.note_manifest(conn, id);
            self.actions.fetch_manifest(conn, id);
            self.ask_first(conn, id);
        }
    }

    fn ask_for_manifests_by(&mut self, at: Duration) {
        self.manifests_at = Some(self.manifests_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Connections whose peers say that they have the manifest and are not asked for it.
    fn manifest_holders(&self, id: ContentId) -> Vec<ConnId> {
        let Some(content) = self.contents.get(&id) else { return Vec::new() };
        let has = |(conn, state): &(&ConnId, &Connection)| {
            !content.manifests.asked.contains_key(*conn)
                && state.participation(&id).is_some_and(|theirs| theirs.manifest)
        };
        self.conns.iter().filter(has).map(|(&conn, _)| conn).collect()
    }

    /// The peers that are asked later than others: those whose manifest did not come, and those that let us wait for anything.
    fn doubts(&self, state: &Connection, id: ContentId) -> (u32, bool) {
        (state.participation(&id).map_or(0, |theirs| theirs.manifest_failures), state.download.is_useless())
    }

    /// More of a manifest has come, of so many bytes as its sender says.
    pub(crate) fn manifest_progress(&mut self, id: ContentId, conn: ConnId, came: u64, total: u64) {
        let now = self.now;
        let fetch = self.contents.get_mut(&id).and_then(|content| content.manifests.asked.get_mut(&conn));
        if let Some(fetch) = fetch {
            fetch.began.get_or_insert(now);
            (fetch.came, fetch.total) = (came, total);
            let left = fetch.left(now);
            if left < SOON {
                fetch.ending.get_or_insert((now, now + left * 2 + super::TICK));
            }
        }
    }

    pub(crate) fn manifest_failed(&mut self, id: ContentId, conn: ConnId, lied: bool) {
        let has = |state: &Connection| state.participation(&id).is_some_and(|theirs| theirs.manifest);
        let was_early =
            self.contents.get_mut(&id).is_some_and(|content| content.manifests.early.remove(&conn)) && !lied;
        if was_early && !self.conns.get(&conn).is_some_and(has) {
            // It never said that it has it.
            if let Some(content) = self.contents.get_mut(&id) {
                content.manifests.asked.remove(&conn);
            }
            return self.fetch_manifests();
        }
        self.manifest_not_from(id, conn);
        if lied {
            self.ban(conn);
        }
        // Others are asked at once, whenever they come; this one, for it may have been the link, a while later.
        if let Some(content) = self.contents.get_mut(&id) {
            content.manifests.not_before = self.now;
        }
        if let Some(theirs) = self.conns.get_mut(&conn).and_then(|state| state.participations.get_mut(&id)) {
            theirs.manifest_again = self.now + PAUSE;
        }
        self.fetch_manifests();
    }

    /// A manifest does not come from there.
    fn manifest_not_from(&mut self, id: ContentId, conn: ConnId) {
        if let Some(content) = self.contents.get_mut(&id) {
            content.manifests.asked.remove(&conn);
        }
        if let Some(theirs) = self.conns.get_mut(&conn).and_then(|state| state.participations.get_mut(&id)) {
            theirs.manifest_failures += 1;
        }
    }

    /// The manifest has come; what it says is told once the files were looked at.
    pub(crate) fn manifest_came(&mut self, id: ContentId) {
        self.cancel_manifests(id);
        if let Some(content) = self.contents.get_mut(&id) {
            content.manifests.here = true;
        }
    }

    /// The manifest is here, or not wanted any more: nobody else need send it.
    pub(crate) fn cancel_manifests(&mut self, id: ContentId) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        for &conn in std::mem::take(&mut content.manifests).asked.keys() {
            self.actions.cancel_manifest(conn, id);
        }
    }

    /// A connection is asked for a manifest.
    fn note_manifest(&mut self, conn: ConnId, id: ContentId) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.manifests.insert(id);
        }
    }

    /// A connection has ended that was asked for these.
    pub(crate) fn forget_manifests(&mut self, conn: ConnId, asked: &BTreeSet<ContentId>) {
        for content in asked {
            if let Some(content) = self.contents.get_mut(content) {
                content.manifests.early.remove(&conn);
                content.manifests.asked.remove(&conn);
            }
        }
    }
}
