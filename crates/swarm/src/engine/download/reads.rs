//! Reading from the origin of a content: the bucket or server that it was made of. It is a source beside the peers, and the last one:
//! it is read only for pieces that nobody connected has and that are on their way to nobody, so that of many peers each reads another
//! part. While a swarm has seeders, it is read beside them only where they hold everyone up: by a peer that has nothing to give to others,
//! and to which the origin brings twice what all peers do. A peer that waits in vain for what others say that they have, or get, reads all of it.
//! `docs/scheduling.md` has the figures behind this.

use std::time::Duration;

use protocol::{ContentId, PieceRange};

use super::Downloads;
use super::origin::{ORIGIN, Origin};
use super::request::{Cause, Open, Outgoing};
use crate::engine::Engine;
use crate::engine::content::Content;
use crate::engine::in_flight::InFlight;
use crate::event::{ConnId, Failure, RequestId};

/// Most reads at a time.
const READS: usize = 2;
/// A read is as large as what comes in this time, and at least so many bytes.
const RUN: Duration = Duration::from_secs(1);
const LEAST_RUN: u64 = 128 << 10;
/// It may be so many times what is asked of a peer at once: an origin takes longer to answer.
const REQUESTS: u64 = 2;
/// Peers that have the content are waited for this long, and up to twice as long: those who begin together should not read the same.
const SETTLES: Duration = Duration::from_secs(1);
/// Peers that have what lacks here, or say that it is on its way to them, and bring nothing for this long, and as long as a piece takes at
/// so many bytes a second, are waited for no more.
const STARVES: Duration = Duration::from_secs(10);
const SLOWEST: u64 = 128 << 10;
/// A read that has begun and brings less than so many bytes a second for this long has stalled: it is given up, and made again later,
/// perhaps by another peer.
const STALLS: Duration = Duration::from_secs(5);
const LEAST: u64 = 4096;
/// Storage that fetches or scans an object before it answers takes its time for the first byte. How long that may be is for the reader to
/// say; this ends only reads whose reader sets no end. Where peers have the same, `STALLS` is the end.
const ANSWERS: Duration = Duration::from_secs(120);
/// A peer that reads the same is given way to once in so long: what others say should not make us ask again and again.
const YIELDS: Duration = Duration::from_secs(1);
/// Pieces that are looked at for one that is to be read.
const LOOKS: usize = 4096;

impl Downloads {
    /// Writes a read from an origin into the books: it counts against the whole budget.
    fn start_from_origin(&mut self, outgoing: Outgoing) -> RequestId {
        let number = self.next_request;
        self.next_request += 1;
        self.proven += outgoing.owed;
        self.requests.insert(number, outgoing);
        number
    }
}

impl Engine {
    /// Pieces of a content can be read from its origin from now on, under this cap and perhaps only to spare.
    pub(crate) fn use_origin(&mut self, id: ContentId, cap: Option<u64>, spare: bool) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        if content.origin.is_none() {
            let mut origin = Origin::new(self.now, cap, spare);
            origin.not_before = self.now + settles(&mut self.rng);
            content.origin = Some(origin);
        }
        self.next_tick = self.now;
    }

    /// The origin is not read any more.
    fn leave_origin(&mut self, id: ContentId) {
        if let Some(origin) = self.contents.get_mut(&id).and_then(|content| content.origin.take()) {
            self.give_up(origin.requests);
        }
        self.next_tick = self.now;
    }

    /// The pieces are known: those who have them are waited for.
    pub(crate) fn origin_settles(&mut self, id: ContentId) {
        let Some(origin) = self.contents.get_mut(&id).and_then(|content| content.origin.as_mut()) else { return };
        origin.not_before = origin.not_before.max(self.now + settles(&mut self.rng));
    }

    /// Reads from origins what is to come from there, as far as there is room.
    pub(crate) fn read_origins(&mut self) {
        let reads = |content: &Content| content.origin.is_some() && content.wanted && content.geometry.is_some();
        let ids: Vec<ContentId> = self.contents.iter().filter(|(_, c)| reads(c)).map(|(&id, _)| id).collect();
        for id in ids {
            for _ in 0..READS {
                let Some(run) = self.next_from_origin(id) else { break };
                self.read_origin(id, run);
            }
        }
    }

    fn read_origin(&mut self, id: ContentId, run: PieceRange) {
        let Some(content) = self.contents.get_mut(&id) else { return };
        let (owed, open, heard) = (content.bytes(run), Open::new(run), self.now);
        let outgoing =
            Outgoing { conn: ORIGIN, content: id, run, open, owed, heard, began: false, cause: Cause::OwnAccount };
        run.pieces().for_each(|piece| content.ask(piece));
        content.announce_by(self.now + self.config.have_delay, &mut self.announce_at);
        let Some(origin) = &mut content.origin else { return };
        if origin.is_idle() {
            origin.rate.resume(self.now);
            (origin.judged, origin.came) = (self.now, 0);
        }
        let request = self.downloads.start_from_origin(outgoing);
        origin.requests.insert(request);
        self.actions.fetch_from_origin(request, id, run);
    }

    /// What is to be read next, if anything.
    fn next_from_origin(&mut self, id: ContentId) -> Option<PieceRange> {
        let content = self.contents.get(&id)?;
        let origin = content.origin.as_ref()?;
        let is_full = origin.requests.len() >= reads(origin, content.piece_size());
        if self.now < origin.not_before || is_full || !content.picker.any_open() || !origin.may_be_read(self.now) {
            return None;
        }
        let most = self.bytes_from_origin(content, origin)?;
        let most = (most / content.piece_size()).max(1) as u32;
        let mut rng = self.rng.fork();
        let run = self.lacking_elsewhere(id, most, &mut rng);
        let (now, content) = (self.now, self.contents.get_mut(&id)?);
        let (size, grew) = (content.piece_size(), content.grew);
        let origin = content.origin.as_mut()?;
        if run.is_some() || !origin.is_idle() {
            origin.blocked = None;
            return run;
        }
        let since = (*origin.blocked.get_or_insert(now)).max(grew);
        if now.saturating_sub(since) >= starves(size, origin) {
            origin.alone = true;
            return content.picker.pick_any(most, &mut rng);
        }
        None
    }

    /// What nobody else has and gets, as far as others are believed and waited for.
    fn lacking_elsewhere(&self, id: ContentId, most: u32, rng: &mut fastrand::Rng) -> Option<PieceRange> {
        let content = self.contents.get(&id)?;
        let origin = content.origin.as_ref()?;
        if origin.alone {
            return content.picker.pick_any(most, rng);
        }
        // Peers that have everything bring it, unless they are what holds everyone up.
        let lacks = u64::from(content.lacked) * content.piece_size();
        let holds_up =
            || origin.spare || origin.is_idle() && origin.outpaces_peers(self.now, lacks) && !content.has_to_give();
        if content.picker.has_complete() && !holds_up() {
            return None;
        }
        let taken = self.on_its_way_elsewhere(id);
        let lacks = |piece: u32| content.picker.is_at_seeders_only(piece) && !taken.contains(piece);
        let awaited = content.readers.in_turn().find_map(|(_, window)| {
            let first = window.pieces().find(|&piece| content.picker.is_open(piece))?;
            let fits = |&piece: &u32| content.picker.is_open(piece) && lacks(piece);
            let count = (first..window.pieces().end).take(most as usize).take_while(fits).count() as u32;
            (count > 0).then_some(PieceRange { first, count })
        });
        awaited.or_else(|| content.picker.pick_lacking(most, LOOKS, rng, lacks))
    }

    /// Bytes that may be read in one go; nothing if there is no room.
    fn bytes_from_origin(&self, content: &Content, origin: &Origin) -> Option<u64> {
        let size = content.piece_size();
        let memory = self.memory(size);
        let free = memory.saturating_sub(self.downloads.proven + self.downloads.probing);
        // Peers always have a part of it.
        let free = free.min((memory / 2).max(size).saturating_sub(self.owed_by_origin(origin)));
        if free < size {
            return None;
        }
        let most = (self.config.request_bytes * REQUESTS).max(LEAST_RUN);
        let run = origin.rate.bytes_in(RUN).unwrap_or(0).clamp(LEAST_RUN, most);
        // What is slow because of the cap comes in small runs.
        let run = origin.cap.map_or(run, |cap| run.min((cap as f64 * RUN.as_secs_f64()) as u64));
        // Reads that begin together end together, and then nothing comes until the next ones are answered.
        let mut reads = origin.requests.iter().filter_map(|request| self.downloads.requests.get(request));
        let run = if reads.any(|read| !read.began) { run / 2 } else { run };
        Some(run.min(free).max(size))
    }

    fn owed_by_origin(&self, origin: &Origin) -> u64 {
        let requests = origin.requests.iter().filter_map(|request| self.downloads.requests.get(request));
        requests.map(|outgoing| outgoing.owed).sum()
    }

    /// What is on its way to anyone who is connected.
    fn on_its_way_elsewhere(&self, id: ContentId) -> InFlight {
        let theirs = self.conns.values().filter_map(|state| state.participation(&id));
        let runs: Vec<PieceRange> = theirs.flat_map(|theirs| theirs.in_flight.runs().iter().copied()).collect();
        InFlight::new(&runs)
    }

    /// Somebody else reads what we have just begun to read, too: one of both goes on, the one with the smaller id.
    pub(crate) fn yield_reads(&mut self, conn: ConnId, id: ContentId) {
        let (Some(content), Some(state)) = (self.contents.get(&id), self.conns.get(&conn)) else { return };
        let (Some(origin), Some(theirs)) = (&content.origin, state.participation(&id)) else { return };
        let again = origin.yielded.is_some_and(|at| self.now.saturating_sub(at) < YIELDS);
        if state.peer.id > self.me || again || origin.alone {
            return;
        }
        let twice = |request: &RequestId| {
            let outgoing = self.downloads.requests.get(request);
            outgoing.is_some_and(|outgoing| {
                !outgoing.began && outgoing.open.iter().any(|piece| theirs.in_flight.contains(piece))
            })
        };
        let twice: Vec<RequestId> = origin.requests.iter().copied().filter(twice).collect();
        if twice.is_empty() {
            return;
        }
        if let Some(origin) = self.contents.get_mut(&id).and_then(|content| content.origin.as_mut()) {
            origin.yielded = Some(self.now);
        }
        self.give_up(twice);
        self.read_origins();
    }

    /// Whether what a peer owes and does not bring can be read from the spare origin of a content.
    pub(super) fn origin_brings(&self, id: &ContentId) -> bool {
        let origin = self.contents.get(id).and_then(|content| content.origin.as_ref());
        let is_due = |origin: &Origin| origin.works() && origin.may_be_read(self.now) && self.now >= origin.not_before;
        origin.is_some_and(|origin| origin.spare && is_due(origin))
    }

    /// Gives up reads that bring next to nothing: the pieces may be with others by now, or another peer may read them better.
    pub(crate) fn review_origins(&mut self) {
        let mut stalled = Vec::new();
        for content in self.contents.values_mut() {
            let Some(origin) = &mut content.origin else { continue };
            origin.measure_peers(self.now);
            let reads = origin.requests.iter().filter_map(|id| self.downloads.requests.get(id).map(|read| (*id, read)));
            let (begun, awaited): (Vec<_>, Vec<_>) = reads.partition(|(_, read)| read.began);
            let has_it = |read: &Outgoing| read.open.iter().any(|piece| content.picker.availability(piece) > 0);
            let is_late = |read: &Outgoing| {
                let patience = if !origin.alone && has_it(read) { STALLS } else { ANSWERS };
                self.now.saturating_sub(read.heard) >= patience
            };
            let mut vain: Vec<_> = awaited.iter().filter(|(_, read)| is_late(read)).map(|(id, _)| *id).collect();
            let elapsed = self.now.saturating_sub(origin.judged);
            if begun.is_empty() {
                (origin.judged, origin.came) = (self.now, 0);
            } else if elapsed >= STALLS {
                let least = (origin.shared(LEAST) as f64 * elapsed.as_secs_f64()) as u64;
                if origin.came < least {
                    vain.extend(begun.iter().map(|(id, _)| *id));
                }
                (origin.judged, origin.came) = (self.now, 0);
            }
            if !vain.is_empty() {
                origin.fail(self.now, self.rng.f64());
                stalled.extend(vain);
            }
        }
        self.give_up(stalled);
    }

    /// Bytes of a read came.
    pub(super) fn origin_sends(&mut self, request: RequestId, owed: u64, bytes: u64, first: bool) {
        self.downloads.proven -= owed;
        let Some(id) = self.downloads.requests.get(&request).map(|outgoing| outgoing.content) else { return };
        let Some(origin) = self.contents.get_mut(&id).and_then(|content| content.origin.as_mut()) else { return };
        if first && origin.requests.len() == 1 {
            origin.rate.resume(self.now);
        }
        origin.rate.add(self.now, bytes);
        origin.came += bytes;
        if bytes > 0 {
            origin.heard = Some(self.now);
        }
    }

    /// A right piece came from the origin, or a wrong one. An origin that sends wrong ones has other bytes than the manifest is of.
    pub(super) fn origin_brought(&mut self, id: ContentId, right: bool) {
        let most = self.config.wrong_pieces;
        let Some(origin) = self.contents.get_mut(&id).and_then(|content| content.origin.as_mut()) else { return };
        if right {
            (origin.failures, origin.wrong) = (0, 0);
            return;
        }
        origin.wrong += 1;
        if origin.wrong >= most {
            self.leave_origin(id);
        }
    }

    /// A read has ended.
    pub(super) fn origin_ended(&mut self, id: ContentId, failure: Option<Failure>) {
        let chance = self.rng.f64();
        let origin = self.contents.get_mut(&id).and_then(|content| content.origin.as_mut());
        if let (Some(origin), true) = (origin, failure.is_some()) {
            origin.fail(self.now, chance);
        }
        self.read_origins();
        self.take_waiting_offers();
    }

    /// A read is out of the books.
    pub(super) fn forget_read(&mut self, request: RequestId, id: ContentId, owed: u64) {
        self.downloads.proven -= owed;
        if let Some(origin) = self.contents.get_mut(&id).and_then(|content| content.origin.as_mut()) {
            origin.requests.remove(&request);
        }
    }
}

/// How long those who have the content are waited for.
fn settles(rng: &mut fastrand::Rng) -> Duration {
    SETTLES.mul_f64(1.0 + rng.f64())
}

/// How long without a piece of this size is too long. Others have the same cap, as far as can be told.
fn starves(piece_size: u64, origin: &Origin) -> Duration {
    STARVES + Duration::from_secs_f64(piece_size as f64 / origin.capped(SLOWEST) as f64)
}

/// How many reads are made at a time: one, if the cap allows less than a piece a second.
fn reads(origin: &Origin, piece_size: u64) -> usize {
    if origin.cap.is_some_and(|cap| cap < piece_size) { 1 } else { READS }
}
