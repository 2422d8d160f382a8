//! Getting pieces: what was asked of whom and has not come, and how much more may be asked.
//!
//! [`Downloads`] owns the requests that are under way and the sums of what they owe; [`Download`] is the part of it that belongs
//! to one connection. `offers` takes what is offered, `first` asks for the first of it together with the manifest (`first_pieces` knows what came of that), `ask` asks on our own account, `outcome` is what becomes of requests,
//! `readers` asks for what somebody reads here before anything else (`windows` knows what that is), `reads` reads from where the content was made what nobody has (`origin` knows how that is), `room` says how much may be asked of whom, `pace` moves what a slow peer owes to others, `picker` knows which pieces are
//! rare, and `credit` what a peer has earned.

mod ask;
pub(crate) mod credit;
pub(crate) mod first;
pub(crate) mod first_pieces;
mod lacking;
mod offers;
pub(crate) mod origin;
mod outcome;
mod pace;
pub(crate) mod picker;
mod readers;
mod reads;
mod request;
mod room;
pub(crate) mod windows;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::{ContentId, PieceRange};

use super::STARVING;
use crate::event::{ConnId, RequestId};
use credit::Credit;
use request::Outgoing;

/// Most requests under way on one connection.
const REQUESTS: usize = 32;
/// A piece that would take longer than this is asked of someone faster too.
const SLOW: Duration = Duration::from_secs(1);

/// A run that a peer offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) content: ContentId,
    run: PieceRange,
    at: Duration,
}

/// What one peer owes us and offers, and whether it may be asked for more.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) requests: BTreeSet<RequestId>,
    /// When it last offered us something.
    offered: Option<Duration>,
    /// What it offered us and we have not answered yet.
    pub(crate) offers: VecDeque<Offer>,
    /// Bytes that we asked for and that have not come.
    owed: u64,
    /// Bytes that came from it.
    pub(crate) given: u64,
    pub(crate) credit: Credit,
    /// When a byte last came, or we last asked with nothing under way.
    pub(crate) heard: Duration,
    /// Since when something that we asked for waits without a byte having come, from any peer.
    pub(crate) unanswered: Option<Duration>,
    /// How long it has owed us something at a pace that is nothing beside that of others.
    pub(crate) crawled: Duration,
    /// After a refusal, ask again only from then on; and how many refusals came in a row.
    pub(crate) not_before: Duration,
    pub(crate) refusals: u32,
    /// From when on it may be asked for what readers wait for.
    pub(crate) readers_after: Duration,
}

impl Download {
    pub(crate) fn new(now: Duration, credit: Credit) -> Self {
        Download {
            requests: BTreeSet::new(),
            offered: None,
            offers: VecDeque::new(),
            owed: 0,
            given: 0,
            credit,
            heard: now,
            unanswered: None,
            crawled: Duration::ZERO,
            not_before: Duration::ZERO,
            refusals: 0,
            readers_after: Duration::ZERO,
        }
    }

    /// Whether there is room for one more request.
    fn fits_request(&self) -> bool {
        self.requests.len() < REQUESTS
    }

    /// Whether it owes us nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether it refuses again and again what it offers: it is not asked for a while.
    fn refuses(&self, now: Duration) -> bool {
        self.refusals > 1 && now < self.not_before
    }

    /// Whether it is never asked for anything any more.
    fn is_shut_off(&self) -> bool {
        self.not_before == Duration::MAX
    }

    /// Whether it has let us wait and never gave us anything: it takes nobody's place.
    pub(crate) fn is_useless(&self) -> bool {
        self.credit.strikes > 0 && self.credit.verified == 0
    }

    /// Whether it never let us wait, offers us something, and owes us nothing.
    fn is_willing(&self, now: Duration) -> bool {
        let offers = self.offered.is_some_and(|at| now.saturating_sub(at) < STARVING);
        offers && self.is_idle() && self.credit.strikes == 0
    }
}

/// The requests that are under way, on all connections.
#[derive(Debug, Default)]
pub(crate) struct Downloads {
    requests: BTreeMap<RequestId, Outgoing>,
    next_request: RequestId,
    /// Bytes that are under way from peers that have proven themselves, and from others.
    proven: u64,
    probing: u64,
    /// Connections whose offers wait for room.
    pub(crate) offering: BTreeSet<ConnId>,
    /// Contents that somebody reads while they are downloaded.
    read: BTreeSet<ContentId>,
    /// Nothing has come for long, and nobody moves: resting peers may be asked all the same.
    starves: bool,
    /// Bytes a second of the fastest, lately.
    fastest: f64,
}

/// Bytes of a request that arrived.
#[derive(Debug, PartialEq, Eq)]
struct Arrival {
    conn: ConnId,
    /// Bytes that were owed.
    bytes: u64,
    /// Whether they are the first of the answer.
    first: bool,
}

impl Downloads {
    /// What is on its way here, in at most so many runs.
    pub(crate) fn in_flight(&self, content: ContentId, most: usize) -> Vec<PieceRange> {
        let requests = self.requests.values().filter(|request| request.content == content);
        let mut runs = requests.flat_map(|request| request.open.runs()).take(most).collect::<Vec<_>>();
        runs.sort_unstable_by_key(|run| run.first);
        runs
    }

    /// Whether a peer is to be left alone for a while.
    fn rests(&self, download: &Download, now: Duration) -> bool {
        now < download.credit.rests_until && !self.starves
    }

    /// Whether a request is one for pieces of this content.
    pub(crate) fn is_of(&self, request: RequestId, content: ContentId) -> bool {
        self.requests.get(&request).is_some_and(|request| request.content == content)
    }

    /// The requests for a content.
    pub(crate) fn of_content(&self, content: ContentId) -> Vec<RequestId> {
        let requests = self.requests.iter().filter(|(_, request)| request.content == content);
        requests.map(|(&number, _)| number).collect()
    }

    /// The number of the next request.
    fn number(&mut self) -> RequestId {
        self.next_request += 1;
        self.next_request - 1
    }

    /// Writes a request of this number into the books.
    fn start_as(&mut self, number: RequestId, download: &mut Download, outgoing: Outgoing) {
        download.requests.insert(number);
        self.owe(download, outgoing.owed, 0);
        self.requests.insert(number, outgoing);
    }

    /// So many bytes may come, and are held, of a request that is only numbered so far.
    fn hold(&mut self, bytes: u64) -> RequestId {
        self.probing += bytes;
        self.number()
    }

    /// They are not, any more.
    fn release(&mut self, bytes: u64) {
        self.probing -= bytes;
    }

    /// Bytes of a request arrived: what of them was owed.
    fn arrived(&mut self, request: RequestId, bytes: u64, now: Duration) -> Option<Arrival> {
        let request = self.requests.get_mut(&request)?;
        request.heard = now;
        let first = !std::mem::replace(&mut request.began, true);
        let left = request.owed.saturating_sub(bytes);
        let came = std::mem::replace(&mut request.owed, left) - left;
        Some(Arrival { conn: request.conn, bytes: came, first })
    }

    /// A piece is here: no request of this content need bring it. Those that owed it, and whether they owe anything else.
    fn need_not_bring(&mut self, content: ContentId, piece: u32) -> Vec<(RequestId, bool)> {
        let owing = self.requests.iter_mut().filter(|(_, request)| request.content == content);
        owing
            .filter_map(|(&number, request)| request.open.remove(piece).then(|| (number, !request.open.is_empty())))
            .collect()
    }

    /// A peer is owed more, or less, than before.
    fn owe(&mut self, download: &mut Download, more: u64, less: u64) {
        download.owed = download.owed + more - less;
        let sum = if download.credit.proven { &mut self.proven } else { &mut self.probing };
        *sum = *sum + more - less;
    }

    /// Counts a peer among those that have proven themselves, or not.
    fn prove(&mut self, download: &mut Download, proven: bool) {
        if std::mem::replace(&mut download.credit.proven, proven) == proven {
            return;
        }
        let (from, to) = match proven {
            true => (&mut self.probing, &mut self.proven),
            false => (&mut self.proven, &mut self.probing),
        };
        *from -= download.owed;
        *to += download.owed;
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::request::{Cause, Open};
    use super::*;

    const CONTENT: ContentId = ContentId(Digest([1; 32]));
    const NOW: Duration = Duration::from_secs(1);

    fn download() -> Download {
        Download::new(NOW, Credit::default())
    }

    fn start(downloads: &mut Downloads, download: &mut Download, first: u32, count: u32) -> RequestId {
        let run = PieceRange { first, count };
        let outgoing = Outgoing {
            conn: 7,
            content: CONTENT,
            run,
            open: Open::new(run),
            owed: u64::from(count) * 10,
            heard: NOW,
            began: false,
            cause: Cause::Offered,
        };
        let number = downloads.number();
        downloads.start_as(number, download, outgoing);
        number
    }

    #[test]
    fn bytes_are_owed_until_they_come_and_no_more_than_were_asked_for() {
        let (mut downloads, mut download) = (Downloads::default(), download());
        let request = start(&mut downloads, &mut download, 0, 4);
        assert_eq!((download.owed, downloads.probing, downloads.proven), (40, 40, 0));
        for (bytes, came, first) in [(30, 30, true), (30, 10, false), (5, 0, false)] {
            assert_eq!(downloads.arrived(request, bytes, NOW), Some(Arrival { conn: 7, bytes: came, first }));
            downloads.owe(&mut download, 0, came);
        }
        assert_eq!((download.owed, downloads.probing), (0, 0));
        assert_eq!(downloads.arrived(request + 1, 1, NOW), None);
    }

    #[test]
    fn what_a_proven_peer_owes_counts_against_the_whole_budget() {
        let (mut downloads, mut download) = (Downloads::default(), download());
        start(&mut downloads, &mut download, 0, 4);
        (0..2).for_each(|_| downloads.prove(&mut download, true));
        assert_eq!((downloads.probing, downloads.proven), (0, 40));
        start(&mut downloads, &mut download, 4, 1);
        downloads.prove(&mut download, false);
        assert_eq!((downloads.probing, downloads.proven), (50, 0));
    }

    #[test]
    fn a_piece_that_came_is_in_flight_no_more() {
        let (mut downloads, mut download) = (Downloads::default(), download());
        let one = start(&mut downloads, &mut download, 2, 3);
        let two = start(&mut downloads, &mut download, 3, 1);
        assert_eq!(
            downloads.in_flight(CONTENT, 9),
            [PieceRange { first: 2, count: 3 }, PieceRange { first: 3, count: 1 }]
        );
        assert_eq!(downloads.need_not_bring(CONTENT, 3), [(one, true), (two, false)]);
        assert_eq!(downloads.need_not_bring(CONTENT, 3), []);
        assert_eq!(
            downloads.in_flight(CONTENT, 9),
            [PieceRange { first: 2, count: 1 }, PieceRange { first: 4, count: 1 }]
        );
        assert_eq!(downloads.in_flight(CONTENT, 1).len(), 1);
        assert_eq!(downloads.of_content(CONTENT), [one, two]);
    }

    #[test]
    fn one_refusal_is_no_habit() {
        let mut download = download();
        (download.refusals, download.not_before) = (1, NOW * 2);
        assert!(!download.refuses(NOW));
        download.refusals = 2;
        assert!(download.refuses(NOW) && !download.refuses(NOW * 2));
    }
}
