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

use protocol::{ContentId, PieceRange};

use super::promises::{ANSWER, Stage};
use super::sites::{Sites, Word};
use super::{Upload, Uploads};
use crate::engine::Engine;
use crate::engine::STARVING;
use crate::engine::content::Content;
use crate::engine::participation::Participation;
use crate::engine::peers::connection::Connection;
use crate::event::ConnId;

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
/// Contents that had nothing to offer, after which no more are looked at before the next tick.
const IN_VAIN: usize = 16;
/// Pieces that are looked at for one offer.
const TRIES: u32 = 64;
/// If none of them was of use to any taker, and it took more looks than this to find out, then until the next tick messages of a peer have
/// only that peer looked at: some bytes would make us look at all of them, again and again.
const LOOKS: u32 = 256;
/// Where fairness is asked for, a peer may take so many bytes more than it gave before others come first.
const CREDIT: u64 = 4 << 20;

/// Someone to give pieces to. Peers nearby come first while nobody else here has the piece, then (where fairness is asked for)
/// peers that gave enough, then peers that wait for least from us, then by chance: to prefer those that have least makes all uploaders offer to the same few.
struct Taker<'a> {
    conn: ConnId,
    /// If it is far, what others of its site say of the content.
    neighbours: &'a [Word<'a>],
    theirs: &'a Participation,
    upload: &'a Upload,
    far: bool,
    deficit: u64,
    /// Whether it has asked for whatever it is offered first: it takes that, while others may only look on.
    asks: bool,
}

impl Taker<'_> {
    fn is_stranger(&self) -> bool {
        self.upload.is_stranger()
    }
}

impl Uploads {
    /// Bytes of one run, and bytes to have promised, of a content of so many bytes in pieces of `size`, where a request has
    /// at most `most` bytes.
    fn amounts(&self, total: u64, size: u64, most: u64) -> (u64, u64) {
        let width = self.width.peers() as u64;
        let (run, target) = match self.rate() {
            Some(rate) => {
                let run = ((rate * RUN.as_secs_f64()) as u64).min(most);
                let ahead = self.longest_rtt * 2 + AHEAD;
                (run / width, run + (rate * ahead.as_secs_f64()) as u64)
            }
            None => {
                let target = FIRST_PROMISE.min(total / FIRST_PART);
                (target / FIRST_RUNS, target)
            }
        };
        (run.max(size), target.min(MOST_PROMISED).max(2 * size * width))
    }
}

impl Engine {
    pub(super) fn amounts(&self, total: u64, size: u64) -> (u64, u64) {
        self.uploads.amounts(total, size, self.config.request_bytes)
    }

    /// Offers pieces of any content until enough is promised. While many contents are taken, not all of them are looked at.
    pub(crate) fn offer_more(&mut self) {
        let contents = self.taken_contents();
        self.offer_from(contents, IN_VAIN, None);
    }

    /// The same, and looks at all of them.
    pub(crate) fn offer_of_all(&mut self) {
        let contents = self.taken_contents();
        self.offer_from(contents, usize::MAX, None);
    }

    /// Offers pieces of the one content that a peer has said something of: what it says of many would be work for all of them each time.
    pub(crate) fn offer_of(&mut self, conn: ConnId, id: ContentId) {
        let content = self.contents.get(&id).filter(|content| content.takers > 0);
        // What one peer says has others get nothing that was not found for them a moment ago.
        let only = content.filter(|content| content.offers_in_vain).map(|_| conn);
        let contents = if content.is_some() { vec![id] } else { Vec::new() };
        self.offer_from(contents, IN_VAIN, only);
    }

    fn taken_contents(&self) -> Vec<ContentId> {
        self.contents.iter().filter(|(_, content)| content.takers > 0).map(|(&id, _)| id).collect()
    }

    /// Looks at contents by chance, until so many of them had nothing to offer; and at all who take them, or only at one.
    fn offer_from(&mut self, mut contents: Vec<ContentId>, mut in_vain: usize, only: Option<ConnId>) {
        let mut offers: BTreeMap<(ConnId, ContentId), Vec<PieceRange>> = BTreeMap::new();
        let urgent = self.uploads.urgent();
        while !contents.is_empty() && in_vain > 0 {
            let turn = if contents.len() == 1 { 0 } else { self.rng.usize(..contents.len()) };
            if let Some((conn, run)) = self.next_offer(contents[turn], only, &urgent) {
                offers.entry((conn, contents[turn])).or_default().push(run);
            } else {
                contents.swap_remove(turn);
                in_vain -= 1;
            }
        }
        self.uploads.rest();
        offers.into_iter().for_each(|((conn, content), runs)| self.actions.offer(conn, content, &runs));
        self.answer_firsts();
    }

    /// Bytes that are promised, without those that a reader waits for: such questions reduce nobody's offers.
    fn owed(&self, urgent: &BTreeMap<ConnId, u64>) -> u64 {
        let spared = urgent.iter().filter_map(|(&conn, &bytes)| {
            let upload = &self.conns.get(&conn)?.upload;
            upload.counted.then_some(bytes.min(upload.promised))
        });
        self.uploads.promised.saturating_sub(spared.sum())
    }

    /// Promises the next run of a content, if there is room and someone lacks what we hold.
    fn next_offer(
        &mut self,
        id: ContentId,
        only: Option<ConnId>,
        urgent: &BTreeMap<ConnId, u64>,
    ) -> Option<(ConnId, PieceRange)> {
        let mut looks = 0;
        let found = self.find_offer(id, only, urgent, &mut looks);
        if only.is_none()
            && looks > 0
            && let Some(content) = self.contents.get_mut(&id)
        {
            content.offers_in_vain = found.is_none() && looks > LOOKS;
        }
        let (conn, run) = found?;
        self.promise_run(conn, id, run);
        Some((conn, run))
    }

    /// The next run to promise, and to whom; `looks` counts how often it was asked of a piece whether somebody may get it.
    fn find_offer(
        &mut self,
        id: ContentId,
        only: Option<ConnId>,
        urgent: &BTreeMap<ConnId, u64>,
        looks: &mut u32,
    ) -> Option<(ConnId, PieceRange)> {
        let content = self.contents.get(&id)?;
        let (run, target) = self.amounts(content.total(), content.piece_size());
        let owed = self.owed(urgent);
        let room = owed < target;
        if !room && !self.conns.values().any(|state| !state.upload.counted && state.upload.promised == 0) {
            return None;
        }
        let mut rng = self.rng.fork();
        let sites = self.believed_by_site(id);
        let mut takers = self.takers_of(id, &sites);
        // Strangers may not take what they are offered: half of it is for those who have taken something.
        let answers = takers.iter().any(|taker| !taker.is_stranger());
        let strangers = takers.iter().filter(|taker| taker.upload.counted && taker.is_stranger());
        let strange = strangers.map(|taker| taker.upload.promised).sum::<u64>();
        let open = !answers || strange < target / 2;
        let place = self.tried_takers() < TRIED;
        // A thin link between sites makes all beyond it slow: what they were promised counts among them.
        let beyond = self.conns.values().filter(|state| !state.upload.counted && self.is_far(state));
        let far_room = owed + beyond.map(|state| state.upload.promised).sum::<u64>() < target;
        takers.retain(|taker| {
            let may_get = match taker.upload.counted {
                true => room && (open || !taker.is_stranger()),
                false => taker.upload.promised == 0 && place,
            };
            may_get && (far_room || !taker.far)
        });
        let looked_at = |taker: &&Taker<'_>| only.is_none_or(|only| taker.conn == only);
        if !takers.iter().any(|taker| looked_at(&taker)) {
            return None;
        }
        let mut tries = TRIES;
        let first = content.spread.rarest(content.takers, &mut rng, |piece| {
            tries = tries.saturating_sub(1);
            tries == 0
                || takers.iter().filter(looked_at).any(|taker| {
                    *looks += 1;
                    self.may_get(taker, piece)
                })
        });
        let found = first.and_then(|first| self.choose_taker(&takers, looked_at, id, first, run, &mut rng));
        found.or_else(|| {
            let last = self.last_piece(&takers, looked_at, content, looks)?;
            self.choose_taker(&takers, looked_at, id, last, run, &mut rng)
        })
    }

    /// A piece for a peer that lacks few. Where slow peers lack most of a content, all of that is as rare, and chance hardly finds the few.
    fn last_piece(
        &self,
        takers: &[Taker<'_>],
        looked_at: impl Fn(&&Taker<'_>) -> bool,
        content: &Content,
        looks: &mut u32,
    ) -> Option<u32> {
        let lacks_few = |taker: &&Taker<'_>| content.pieces() - taker.theirs.have.count() <= TRIES;
        let able = takers.iter().filter(looked_at).filter(lacks_few);
        let lacking = able.flat_map(|taker| taker.theirs.have.missing().map(move |piece| (taker, piece)));
        let mut tried = lacking.take(TRIES as usize).inspect(|_| *looks += 1);
        tried.find(|&(taker, piece)| content.spread.listed(piece) && self.may_get(taker, piece)).map(|(_, piece)| piece)
    }

    /// A piece that has just come, or is about to, and that few have is offered at once, whatever is promised: the sooner
    /// it doubles, the sooner everyone has it.
    pub(crate) fn offer_fresh(&mut self, id: ContentId, piece: u32) {
        let Some(content) = self.contents.get(&id) else { return };
        let (run, target) = self.amounts(content.total(), content.piece_size());
        let room = (target..target + FRESH * run).contains(&self.owed(&self.uploads.urgent()));
        if !room || content.spread.count(piece) * RARE >= content.takers {
            return;
        }
        let mut rng = self.rng.fork();
        let sites = self.believed_by_site(id);
        let mut takers = self.takers_of(id, &sites);
        takers.retain(|taker| taker.upload.counted);
        if let Some((conn, run)) = self.choose_taker(&takers, |_| true, id, piece, run, &mut rng) {
            self.promise_run(conn, id, run);
            self.actions.offer(conn, id, &[run]);
        }
    }

    /// Who of those that are looked at should have a piece, and what around it, up to so many bytes.
    fn choose_taker(
        &self,
        takers: &[Taker<'_>],
        looked_at: impl Fn(&&Taker<'_>) -> bool,
        id: ContentId,
        first: u32,
        bytes: u64,
        rng: &mut fastrand::Rng,
    ) -> Option<(ConnId, PieceRange)> {
        let content = self.contents.get(&id)?;
        let size = content.piece_size();
        let able = takers.iter().filter(looked_at).filter(|taker| self.may_get(taker, first));
        // What somebody else here gets is passed on here without us: then a site that lacks it is as good a place for it.
        let near_first = takers.iter().any(|taker| taker.far) && !self.someone_gets(&self.site, id, first);
        let best = able.min_by_key(|taker| {
            (taker.far && near_first, taker.deficit, !taker.asks, taker.upload.promised, rng.u32(..))
        })?;
        let strangers = takers.iter().filter(|taker| taker.is_stranger()).count() as u64;
        let trusted = best.upload.counted && (!best.is_stranger() || takers.len() == 1);
        let bytes = if trusted { bytes } else { bytes.min(TRIAL / strangers.max(1)) };
        let (most, block) = (content.within(first, bytes), (BLOCK / size) as u32);
        Some((best.conn, content.spread.around(first, most, block, |piece| self.may_get(best, piece))))
    }

    fn promise_run(&mut self, conn: ConnId, id: ContentId, run: PieceRange) {
        if let Some(state) = self.conns.get_mut(&conn).filter(|state| !state.upload.counted) {
            state.upload.tried = self.now;
        }
        run.pieces().for_each(|piece| self.promise(conn, id, piece, Stage::Offered));
    }

    /// How many of those who do not answer, or do not take what they asked for, were promised something a moment ago. Who has not taken
    /// it by then may never do so: it must not keep the place of one who would.
    fn tried_takers(&self) -> usize {
        let is_tried =
            |upload: &Upload| !upload.counted && upload.promised > 0 && self.now.saturating_sub(upload.tried) < ANSWER;
        self.conns.values().filter(|state| is_tried(&state.upload)).count()
    }

    /// The peers that may be offered something of a content.
    fn takers_of<'a>(&'a self, id: ContentId, sites: &'a Sites<'a>) -> Vec<Taker<'a>> {
        let able = self.conns.iter().filter(|(_, state)| self.now >= state.upload.offer_after);
        able.filter_map(|(&conn, state)| self.taker(conn, state, id, sites)).collect()
    }

    fn taker<'a>(&self, conn: ConnId, state: &'a Connection, id: ContentId, sites: &'a Sites<'a>) -> Option<Taker<'a>> {
        let theirs = state.participation(&id).filter(|theirs| theirs.takes)?;
        let unpaid = state.upload.taken.saturating_sub(state.download.given + CREDIT);
        let deficit = if self.config.fair { unpaid / CREDIT } else { 0 };
        let (upload, far) = (&state.upload, self.is_far(state));
        let neighbours = sites.get(&state.peer.site[..]).filter(|_| far).map(Vec::as_slice).unwrap_or_default();
        let asks = self.uploads.firsts.iter().any(|question| question.conn == conn && question.content == id);
        Some(Taker { conn, neighbours, theirs, upload, far, deficit, asks })
    }

    /// Whether a piece may be offered to this peer: not if it gets it, nor if it is far and someone near it gets it, who
    /// will pass it on, unless it has waited long.
    fn may_get(&self, taker: &Taker<'_>, piece: u32) -> bool {
        #[cfg(test)]
        tests::LOOKS.with(|looks| looks.set(looks.get() + 1));
        if taker.theirs.gets(piece) {
            return false;
        }
        let starves = self.now.saturating_sub(taker.theirs.grew) >= STARVING;
        !taker.far || starves || !taker.neighbours.iter().any(|word| word.gets(piece))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How often it was asked of a piece whether a peer may get it.
        pub(crate) static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    #[test]
    fn promises_last_for_the_round_trips_ahead_within_bounds() {
        let mut uploads = Uploads::default();
        assert_eq!(uploads.amounts(1 << 30, 1024, 4 << 20), (FIRST_PROMISE / FIRST_RUNS, FIRST_PROMISE));
        assert_eq!(uploads.amounts(1 << 10, 1024, 4 << 20), (1024, 2048), "two pieces at least");
        let second = Duration::from_secs(1);
        uploads.delivered(second, 1);
        uploads.delivered(second * 2, 1_000_000);
        assert_eq!(uploads.amounts(1 << 30, 1024, 4 << 20), (20_000, 170_000));
        uploads.longest_rtt = second;
        assert_eq!(uploads.amounts(1 << 30, 1024, 4 << 20), (20_000, 20_000 + 2_150_000));
        assert_eq!(uploads.amounts(1 << 30, 1024, 10_000).0, 10_000);
    }
}
