//! What to give next, and to whom: the uploader chooses, because only it knows when its uplink is free and what it has
//! given already.
//!
//! An uploader offers pieces ahead of time, as many as keep its uplink busy until the questions for further ones arrive,
//! and not more: what is promised late is chosen with better knowledge. It offers the piece that is rarest among those
//! who take from it (counting what they have, what they said is on its way, and what was promised to them), so that a
//! lone seeder sends every piece once before any piece twice. The other side asks for what it was offered unless that is
//! on its way from elsewhere: no piece travels twice.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{ContentId, MAX_OFFERS, PeerMessage, Run};

use super::Engine;
use super::connections::Connection;
use super::sides::Side;
use super::trust::{SUSPECT, address_group};
use crate::event::{Action, ConnId};

/// A piece that was promised to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) since: Duration,
    pub(super) stage: Stage,
}

/// How far a promise has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Offered, and neither asked for nor declined.
    Offered,
    /// Asked for: it waits or is being sent.
    Asked,
    /// Handed to the transport; the other side has not said that it has it.
    Sent,
    /// The other side gets it from elsewhere: it is not offered again at once.
    Declined,
}

impl Promise {
    /// How many of the piece's bytes are still to be sent for it.
    pub(super) fn owed(self, bytes: u64) -> u64 {
        match self.stage {
            Stage::Offered | Stage::Asked => bytes,
            Stage::Sent | Stage::Declined => 0,
        }
    }
}

/// An offer must be answered, and a piece that was sent be announced, within this time and two round trips.
const ANSWER: Duration = Duration::from_secs(1);
/// No further offers to whoever has not answered one for this long and two round trips.
const PATIENCE: Duration = Duration::from_millis(250);
/// Longest pause in offers to someone who does not answer them.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Bytes promised while it is not known how fast they leave, and the part of a small content: others who have it should
/// come to give their share.
const FIRST_PROMISE: u64 = 1 << 20;
const FIRST_PART: u64 = 8;
/// Most bytes promised at a time.
const MOST_PROMISED: u64 = 16 << 20;
/// Runs of which such a promise consists.
const FIRST_RUNS: u64 = 4;
/// A run takes this long to leave, if pieces are small enough: longer ones would make others wait.
const RUN: Duration = Duration::from_millis(20);
/// What is promised lasts for this long beyond the round trips that an offer and its question take.
const AHEAD: Duration = Duration::from_millis(150);
/// Pieces in one block of so many bytes go together even if some are more common than the rarest: on a fast link many
/// small requests cost more than what rarity gains. Slow links give less than a block at a time anyway.
const BLOCK: u64 = 1 << 20;
/// A piece is rare if fewer than this part of those who take from us have it; so many runs of rare pieces may be
/// promised beyond what the uplink needs.
const RARE: u32 = 8;
const FRESH: u64 = 2;
/// So many of those who do not answer, or do not take what they asked for, are promised a little at a time, as is a
/// stranger.
const TRIED: usize = 8;
const TRIAL: u64 = 64 << 10;
/// Pieces that are looked at for one offer.
const TRIES: u32 = 64;

/// Whoever has got nothing new for this long may get what someone near it has already.
pub(super) const STARVING: Duration = Duration::from_secs(5);
/// How long a stranger's word about its site counts.
const BELIEVED: Duration = Duration::from_secs(1);
/// Where fairness is asked for, a peer may take so many bytes more than it gave before others come first.
const CREDIT: u64 = 4 << 20;

/// Someone to give pieces to. Whoever is near comes first, then (where fairness is asked for) whoever gave enough, then
/// whoever waits for least from us, then by chance: to prefer whoever has least makes all uploaders offer to the same few.
struct Taker<'a> {
    conn: ConnId,
    site: &'a str,
    side: &'a Side,
    promised: u64,
    counted: bool,
    stranger: bool,
    far: bool,
    deficit: u64,
}

impl Engine {
    /// Bytes of one run, and bytes to have promised, of a content of so many bytes in pieces of `size`.
    pub(super) fn amounts(&self, total: u64, size: u64) -> (u64, u64) {
        let (run, target) = match self.uploads.rate() {
            Some(rate) => {
                let run = ((rate * RUN.as_secs_f64()) as u64).min(self.config.request_bytes);
                let ahead = self.longest_rtt * 2 + AHEAD;
                (run, run + (rate * ahead.as_secs_f64()) as u64)
            }
            None => {
                let target = FIRST_PROMISE.min(total / FIRST_PART);
                (target / FIRST_RUNS, target)
            }
        };
        (run.max(size), target.min(MOST_PROMISED).max(2 * size))
    }

    /// Offers pieces until enough is promised.
    pub(super) fn offer_more(&mut self, actions: &mut Vec<Action>) {
        let mut offers: BTreeMap<(ConnId, ContentId), Vec<Run>> = BTreeMap::new();
        let mut contents: Vec<ContentId> =
            self.contents.iter().filter(|(_, content)| content.takers > 0).map(|(&id, _)| id).collect();
        while !contents.is_empty() {
            let turn = if contents.len() == 1 { 0 } else { self.rng.usize(..contents.len()) };
            match self.next_offer(contents[turn]) {
                Some((conn, run)) => offers.entry((conn, contents[turn])).or_default().push(run),
                None => drop(contents.swap_remove(turn)),
            }
        }
        self.uploads.rest();
        for ((conn, content), runs) in offers {
            for runs in runs.chunks(MAX_OFFERS) {
                let message = PeerMessage::Offer { content, runs: runs.to_vec() };
                actions.push(Action::Send { conn, message });
            }
        }
    }

    /// Promises the next run of a content, if there is room and someone lacks what we hold.
    fn next_offer(&mut self, id: ContentId) -> Option<(ConnId, Run)> {
        let content = self.contents.get(&id)?;
        let (run, target) = self.amounts(content.total(), content.piece_size());
        let room = self.uploads.promised < target;
        if !room && !self.conns.values().any(|conn| !conn.counted && conn.promised == 0) {
            return None;
        }
        let mut rng = self.rng.fork();
        let mut takers = self.takers_of(id);
        // Strangers may not take what they are offered: half of it is for those who have taken something.
        let answers = takers.iter().any(|taker| !taker.stranger);
        let strange =
            takers.iter().filter(|taker| taker.counted && taker.stranger).map(|taker| taker.promised).sum::<u64>();
        let open = !answers || strange < target / 2;
        let place = self.tried_takers() < TRIED;
        // A thin link between sites makes all beyond it slow: what they were promised counts among them.
        let beyond = self.conns.values().filter(|conn| !conn.counted && self.is_far(conn));
        let far_room = self.uploads.promised + beyond.map(|conn| conn.promised).sum::<u64>() < target;
        takers.retain(|taker| match taker.counted {
            true => room && (open || !taker.stranger) && (far_room || !taker.far),
            false => taker.promised == 0 && place && (far_room || !taker.far),
        });
        if takers.is_empty() {
            return None;
        }
        let mut tries = TRIES;
        let first = content.spread.rarest(content.takers, &mut rng, |piece| {
            tries = tries.saturating_sub(1);
            tries == 0 || takers.iter().any(|taker| self.may_get(taker, id, piece))
        })?;
        let chosen = self.choose_taker(&takers, id, first, run, &mut rng)?;
        Some(self.promise_run(chosen, id))
    }

    /// A piece that has just come, or is about to, and that few have is offered at once, whatever is promised: the sooner
    /// it doubles, the sooner everyone has it.
    pub(super) fn offer_fresh(&mut self, id: ContentId, piece: u32, actions: &mut Vec<Action>) {
        let Some(content) = self.contents.get(&id) else { return };
        let (run, target) = self.amounts(content.total(), content.piece_size());
        let room = (target..target + FRESH * run).contains(&self.uploads.promised);
        if !room || content.spread.count(piece) * RARE >= content.takers {
            return;
        }
        let mut rng = self.rng.fork();
        let mut takers = self.takers_of(id);
        takers.retain(|taker| taker.counted);
        if let Some(chosen) = self.choose_taker(&takers, id, piece, run, &mut rng) {
            let (conn, run) = self.promise_run(chosen, id);
            actions.push(Action::Send { conn, message: PeerMessage::Offer { content: id, runs: vec![run] } });
        }
    }

    /// Who should have a piece, and what around it, up to so many bytes.
    fn choose_taker(
        &self,
        takers: &[Taker<'_>],
        id: ContentId,
        first: u32,
        bytes: u64,
        rng: &mut fastrand::Rng,
    ) -> Option<(ConnId, Run)> {
        let content = self.contents.get(&id)?;
        let size = content.piece_size();
        let able = takers.iter().filter(|taker| self.may_get(taker, id, first));
        let best = able.min_by_key(|taker| (taker.far, taker.deficit, taker.promised, rng.u32(..)))?;
        let strangers = takers.iter().filter(|taker| taker.stranger).count() as u64;
        let bytes = if best.counted && (!best.stranger || takers.len() == 1) {
            bytes
        } else {
            bytes.min(TRIAL / strangers.max(1))
        };
        let (most, block) = (content.within(first, bytes), (BLOCK / size) as u32);
        Some((best.conn, content.spread.around(first, most, block, |piece| self.may_get(best, id, piece))))
    }

    fn promise_run(&mut self, (conn, run): (ConnId, Run), id: ContentId) -> (ConnId, Run) {
        run.pieces().for_each(|piece| self.promise(conn, id, piece, Stage::Offered));
        (conn, run)
    }

    /// How many of those who do not answer, or do not take what they asked for, are promised something.
    fn tried_takers(&self) -> usize {
        self.conns.values().filter(|conn| !conn.counted && conn.promised > 0).count()
    }

    /// Who may be offered something of a content.
    fn takers_of(&self, id: ContentId) -> Vec<Taker<'_>> {
        let able = self.conns.iter().filter(|(_, state)| self.now >= state.offer_after);
        able.filter_map(|(&conn, state)| self.taker(conn, state, id)).collect()
    }

    fn taker<'a>(&self, conn: ConnId, state: &'a Connection, id: ContentId) -> Option<Taker<'a>> {
        let side = state.sides.get(&id).filter(|side| side.takes)?;
        let far = self.is_far(state);
        let unpaid = state.taken.saturating_sub(state.given + CREDIT);
        let deficit = if self.config.fair { unpaid / CREDIT } else { 0 };
        let (promised, counted, stranger) = (state.promised, state.counted, state.taken == 0);
        Some(Taker { conn, site: &state.site, side, promised, counted, stranger, far, deficit })
    }

    /// Whether a piece may be offered to this peer: not if it gets it, nor if it is far and someone near it gets it, who
    /// will pass it on, unless it has waited long.
    fn may_get(&self, taker: &Taker<'_>, id: ContentId, piece: u32) -> bool {
        if taker.side.gets(piece) {
            return false;
        }
        let starves = self.now.saturating_sub(taker.side.grew) >= STARVING;
        !taker.far || starves || !self.someone_gets(taker.site, id, piece)
    }

    /// Whether a connected peer of this site has the piece or will have it. A site is what a stranger says: it counts for who
    /// has given us something or taken from us, for others only at first, and not once somebody waited in vain for what
    /// they claim.
    pub(super) fn someone_gets(&self, site: &str, id: ContentId, piece: u32) -> bool {
        let gets = |conn: &Connection| conn.site == *site && conn.sides.get(&id).is_some_and(|side| side.gets(piece));
        let earned = |conn: &Connection| conn.credit.verified > 0 || conn.taken > 0;
        let new = |conn: &Connection| {
            let broke = Self::is_useless(conn) || conn.refusals > 0 || conn.credit.stalled;
            !broke && self.now.saturating_sub(conn.since) < BELIEVED
        };
        self.conns.values().any(|conn| !conn.doubted && (earned(conn) || new(conn)) && gets(conn))
    }

    /// Someone starves, though others of its site say that they have or get what it lacks: they are believed no more.
    pub(super) fn doubt_sites(&mut self) {
        let now = self.now;
        let starves = |grew: Duration| now.saturating_sub(grew) >= STARVING;
        let mut sites: Vec<String> = Vec::new();
        if !self.site.is_empty() && self.contents.values().any(|content| content.wanted && starves(content.grew)) {
            sites.push(self.site.clone());
        }
        let starving = |conn: &&Connection| conn.sides.values().any(|side| side.takes && starves(side.grew));
        let far = self.conns.values().filter(|conn| self.is_far(conn)).filter(starving);
        sites.extend(far.map(|conn| conn.site.clone()));
        if sites.is_empty() {
            return;
        }
        for conn in self.conns.values_mut().filter(|conn| !conn.doubted && sites.contains(&conn.site)) {
            // Whoever sends at the moment keeps nobody waiting.
            let sends = !conn.requests.is_empty() && !starves(conn.heard);
            conn.doubted = !sends && conn.sides.values().any(|side| !side.takes || !starves(side.grew));
            if conn.doubted && conn.credit.verified == 0 {
                // Nor is it believed under its next id.
                *self.offences.note(address_group(conn.remote.ip())) += SUSPECT;
            }
        }
    }

    /// Whether a peer is in another place than this one, as far as both said where they are.
    pub(super) fn is_far(&self, conn: &Connection) -> bool {
        !self.site.is_empty() && !conn.site.is_empty() && conn.site != self.site
    }

    /// Writes a promise into the books, or how far it has come.
    pub(super) fn promise(&mut self, conn: ConnId, id: ContentId, piece: u32, stage: Stage) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let bytes = content.bytes(Run { first: piece, count: 1 });
        let Some(side) = state.sides.get_mut(&id) else { return };
        let promise = Promise { since: self.now, stage };
        let mut before = None;
        content.update(side, piece, |side| before = side.promised.insert(piece, promise));
        let settled = before.map_or(0, |before| self.uploads.settle(before, bytes, state.counted));
        let added = self.uploads.owe(promise, bytes, state.counted);
        state.promised = state.promised + added - settled;
    }

    /// Takes a promise back.
    pub(super) fn break_promise(&mut self, conn: ConnId, id: ContentId, piece: u32) {
        let (Some(content), Some(state)) = (self.contents.get_mut(&id), self.conns.get_mut(&conn)) else { return };
        let bytes = content.bytes(Run { first: piece, count: 1 });
        let Some(side) = state.sides.get_mut(&id) else { return };
        let mut before = None;
        content.update(side, piece, |side| before = side.promised.remove(&piece));
        if let Some(before) = before {
            state.promised -= self.uploads.settle(before, bytes, state.counted);
        }
    }

    /// The other side does not want what it was offered.
    pub(super) fn declined(&mut self, conn: ConnId, id: ContentId, runs: &[Run], actions: &mut Vec<Action>) {
        let Some(side) = self.conns.get_mut(&conn).and_then(|state| {
            state.answers(self.now);
            state.sides.get(&id)
        }) else {
            return;
        };
        let offered = |run: &Run| {
            let range = side.promised.range(run.first..run.first.saturating_add(run.count));
            range.filter(|(_, promise)| promise.stage == Stage::Offered).map(|(&piece, _)| piece).collect::<Vec<_>>()
        };
        let pieces: Vec<u32> = runs.iter().flat_map(offered).collect();
        pieces.into_iter().for_each(|piece| self.promise(conn, id, piece, Stage::Declined));
        self.recount(conn);
        self.offer_more(actions);
    }

    /// Forgets promises that were not answered or not kept, and lets those rest who do not answer.
    pub(super) fn review_promises(&mut self) {
        let (mut broken, mut ignoring) = (Vec::new(), Vec::new());
        self.longest_rtt = Duration::ZERO;
        for (&number, conn) in &mut self.conns {
            let patience = conn.rate.rtt * 2 + PATIENCE;
            // Who asks for one piece after another has more offers than it may ask for at once, and ignores none.
            let silent = self.now.saturating_sub(conn.answered);
            let mut late = false;
            for (&id, side) in &conn.sides {
                if side.takes {
                    self.longest_rtt = self.longest_rtt.max(conn.rate.rtt.min(Duration::from_secs(1)));
                }
                for (&piece, promise) in &side.promised {
                    let age = self.now.saturating_sub(promise.since);
                    // Whoever has no manifest yet cannot answer.
                    late |= side.manifest && promise.stage == Stage::Offered && age.min(silent) > patience;
                    let stranger = side.manifest && !conn.has_answered && promise.stage == Stage::Offered;
                    let most = if stranger { patience } else { conn.rate.rtt * 2 + ANSWER };
                    if promise.stage != Stage::Asked && age > most {
                        broken.push((number, id, piece));
                    }
                }
            }
            if late && self.now >= conn.offer_after {
                let pause = ANSWER * (1 << conn.ignored.min(5));
                conn.ignored += 1;
                conn.offer_after = self.now + pause.min(LONGEST_PAUSE);
                ignoring.push(number);
            }
        }
        ignoring.into_iter().for_each(|conn| self.recount(conn));
        broken.into_iter().for_each(|(conn, id, piece)| self.break_promise(conn, id, piece));
    }
}
