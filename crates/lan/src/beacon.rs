//! What is said when, and what is made of what is heard: without sockets and clocks, so that tests decide what happens.
//!
//! Those who look for something ask, at growing intervals, and those who have it answer. So who only shares is silent once it
//! has said twice that it is there. Answers go to everyone, a random moment later: where many have the same, a few of them
//! answer for all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use protocol::PeerId;
use tokio::sync::mpsc;

use crate::key::{Card, ContentKey, KeyId, Salt, Use};
use crate::limits::{HeardPackets, Intake, Introductions, Pace};
use crate::packet::{Body, MOST, Packet, Record, Trackers};
use crate::{FoundTracker, Holder, Offers, Wanted};

/// Most contents that a process answers for here, and that it asks for.
pub(crate) const MOST_CONTENTS: usize = 1024;
const MOST_WANTED: usize = 256;
/// Most searches at the same time.
const MOST_SEARCHES: usize = 16;
/// How long after each question the next one comes; after the last, all others.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];
/// What was asked less than this ago is not asked again because somebody is in a hurry.
const HURRY: Duration = Duration::from_secs(5);
/// An answer comes within this time, at random.
const ANSWER: Duration = Duration::from_millis(120);
/// Time between two answers about one content.
const ANSWER_AGAIN: Duration = Duration::from_millis(250);
/// So many others answering make an answer needless.
const ENOUGH: usize = 6;
/// Who takes part from now on says so twice.
const ANNOUNCED: u8 = 2;
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// Packets that are sent a second, and at once.
const PACKETS: f64 = 8.0;
const BURST: f64 = 16.0;
/// What is due this soon goes with what is due now.
const TOGETHER: Duration = Duration::from_millis(30);
/// Of the trackers that a search finds: processes in all, at one address, and addresses of each.
const FOUND: usize = 16;
const FOUND_AT_ONE: usize = 8;
const ADDRESSES: usize = 4;

/// When a question is asked next.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    next: Duration,
    round: usize,
    asked: Option<Duration>,
}

impl Schedule {
    fn new(now: Duration) -> Self {
        Schedule { next: now, round: 0, asked: None }
    }

    fn is_due(&self, now: Duration) -> bool {
        self.next <= now + TOGETHER
    }

    fn asked(&mut self, now: Duration, random: &mut fastrand::Rng) {
        let pause = PAUSES[self.round.min(PAUSES.len() - 1)];
        self.round += 1;
        self.asked = Some(now);
        self.next = now + pause.mul_f64(0.85 + 0.3 * random.f64());
    }

    /// Begins again, unless it was asked a moment ago.
    fn hurry(&mut self, now: Duration) {
        if self.asked.is_none_or(|asked| now.saturating_sub(asked) >= HURRY) {
            *self = Schedule { asked: self.asked, ..Schedule::new(now) };
        }
    }
}

/// A content that this process takes part in.
#[derive(Debug)]
struct Part {
    key: ContentKey,
    /// When others are asked for, while they are.
    wants: Option<Schedule>,
    answer: Answer,
}

/// An answer that is due some time.
#[derive(Debug, Default)]
struct Answer {
    at: Option<Duration>,
    last: Option<Duration>,
    /// Which others have answered the same meanwhile.
    heard: BTreeSet<PeerId>,
    /// How often it is still said without being asked.
    announce: u8,
}

impl Answer {
    fn announce(&mut self, now: Duration) {
        self.announce = ANNOUNCED;
        self.at.get_or_insert(now);
    }

    fn asked(&mut self, now: Duration, random: &mut fastrand::Rng) {
        if self.at.is_none() {
            let earliest = self.last.map_or(now, |last| now.max(last + ANSWER_AGAIN));
            self.at = Some(earliest + ANSWER.mul_f64(random.f64()));
            self.heard.clear();
        }
    }

    fn given(&mut self, now: Duration) {
        self.last = Some(now);
        self.announce = self.announce.saturating_sub(1);
        self.at = (self.announce > 0).then_some(now + ANNOUNCE_AGAIN);
    }

    /// One may be heard at several of its addresses.
    fn other_answered(&mut self, now: Duration, peer: PeerId) {
        if self.at.is_none() {
            return;
        }
        if self.heard.len() < ENOUGH {
            self.heard.insert(peer);
        }
        if self.heard.len() >= ENOUGH && self.announce == 0 {
            self.given(now);
        }
    }

    fn is_due(&self, now: Duration) -> bool {
        self.at.is_some_and(|at| at <= now + TOGETHER)
    }
}

/// Somebody in this process looks for something, until it drops the receiver.
struct Search {
    schedule: Schedule,
    target: Target,
}

enum Target {
    Holders { key: ContentKey, found: mpsc::Sender<Holder> },
    Trackers { wanted: Trackers, found: mpsc::Sender<FoundTracker>, seen: BTreeMap<u64, BTreeSet<SocketAddr>> },
}

impl Target {
    fn is_given_up(&self) -> bool {
        match self {
            Target::Holders { found, .. } => found.is_closed(),
            Target::Trackers { found, .. } => found.is_closed(),
        }
    }
}

/// Who takes part in contents here.
struct Node {
    id: PeerId,
    port: u16,
    met: mpsc::Sender<Holder>,
}

/// Fills bytes with randomness that nobody else knows.
pub(crate) type Secure = Box<dyn FnMut(&mut [u8]) + Send>;

/// Decides what is said and heard on the local network.
pub(crate) struct Beacon {
    label: u64,
    secure: Secure,
    random: fastrand::Rng,
    node: Option<Node>,
    /// The port of the tracker in this process, for those who know a content.
    tracker: u16,
    offers: Offers,
    offer: Answer,
    parts: BTreeMap<KeyId, Part>,
    searches: Vec<Search>,
    intake: Intake,
    packets: HeardPackets,
    introductions: Introductions,
    pace: Pace,
}

impl Beacon {
    /// `secure` fills with bytes that nobody can guess.
    pub(crate) fn new(mut secure: Secure) -> Self {
        let mut seeds = [0; 16];
        secure(&mut seeds);
        let [label, seed] = [0, 8].map(|at| u64::from_be_bytes(std::array::from_fn(|byte| seeds[at + byte])));
        Beacon {
            label,
            secure,
            random: fastrand::Rng::with_seed(seed),
            node: None,
            tracker: 0,
            offers: Offers::default(),
            offer: Answer::default(),
            parts: BTreeMap::new(),
            searches: Vec::new(),
            intake: Intake::default(),
            packets: HeardPackets::default(),
            introductions: Introductions::new(),
            pace: Pace::new(PACKETS, BURST),
        }
    }

    /// Which peer it is that takes part in contents, where it listens, and who is told of others.
    pub(crate) fn node(&mut self, id: PeerId, port: u16, met: mpsc::Sender<Holder>) {
        self.node = Some(Node { id, port, met });
    }

    /// Takes part in a content; others are asked for if it `wants` more of it.
    pub(crate) fn take_part(&mut self, now: Duration, key: &ContentKey, wants: bool) {
        let wanted = self.parts.values().filter(|part| part.wants.is_some()).count();
        let room = self.parts.len() < MOST_CONTENTS;
        let may_want = wants && wanted < MOST_WANTED;
        match self.parts.get_mut(&key.id()) {
            Some(part) if !wants => part.wants = None,
            Some(part) => part.wants = part.wants.or(may_want.then(|| Schedule::new(now))),
            None if room => {
                let mut answer = Answer::default();
                answer.announce(now);
                let wants = may_want.then(|| Schedule::new(now));
                self.parts.insert(key.id(), Part { key: key.clone(), wants, answer });
            }
            None => tracing::debug!("too many contents for the local network"),
        }
    }

    pub(crate) fn leave(&mut self, key: &ContentKey) {
        self.parts.remove(&key.id());
    }

    /// Asks again soon for others who take part in a content.
    pub(crate) fn hurry(&mut self, now: Duration, key: &ContentKey) {
        if let Some(schedule) = self.parts.get_mut(&key.id()).and_then(|part| part.wants.as_mut()) {
            schedule.hurry(now);
        }
    }

    pub(crate) fn own_tracker(&mut self, port: u16) {
        self.tracker = port;
    }

    pub(crate) fn offer(&mut self, offers: Offers) {
        self.offers = offers;
    }

    pub(crate) fn trackers(&mut self, now: Duration, wanted: Wanted, found: mpsc::Sender<FoundTracker>) {
        let wanted = match wanted {
            Wanted::Open => Trackers { open: true, codes: false },
            Wanted::Codes => Trackers { open: false, codes: true },
        };
        self.search(now, Target::Trackers { wanted, found, seen: BTreeMap::new() });
    }

    pub(crate) fn holders(&mut self, now: Duration, key: &ContentKey, found: mpsc::Sender<Holder>) {
        self.search(now, Target::Holders { key: key.clone(), found });
    }

    fn search(&mut self, now: Duration, target: Target) {
        self.searches.retain(|search| !search.target.is_given_up());
        if self.searches.len() < MOST_SEARCHES {
            self.searches.push(Search { schedule: Schedule::new(now), target });
        }
    }

    /// This machine is in another network: everything is asked and said anew.
    pub(crate) fn moved(&mut self, now: Duration) {
        for part in self.parts.values_mut() {
            part.answer.announce(now);
            part.wants.iter_mut().for_each(|schedule| *schedule = Schedule::new(now));
        }
        self.searches.iter_mut().for_each(|search| search.schedule = Schedule::new(now));
    }

    /// When there is something to say next.
    pub(crate) fn next(&self, now: Duration) -> Option<Duration> {
        let parts = self.parts.values();
        let parts = parts.flat_map(|part| [part.answer.at.filter(|_| self.node.is_some()), part.wants.map(|w| w.next)]);
        let searches = self.searches.iter().map(|search| Some(search.schedule.next));
        let due = parts.chain(searches).chain([self.offer.at]).flatten().min()?;
        Some(due.max(now + self.pace.wait(now)))
    }

    /// The packets to send now.
    pub(crate) fn packets(&mut self, now: Duration) -> Vec<Vec<u8>> {
        self.searches.retain(|search| !search.target.is_given_up());
        let mut packets = Vec::new();
        while let Some(packet) = self.packet(now) {
            packets.push(packet.encode());
        }
        packets
    }

    fn packet(&mut self, now: Duration) -> Option<Packet> {
        let asks = self.parts.values().any(|part| part.wants.is_some_and(|wants| wants.is_due(now)))
            || self.searches.iter().any(|search| search.schedule.is_due(now));
        let answers =
            self.offer.is_due(now) || (self.node.is_some() && self.parts.values().any(|part| part.answer.is_due(now)));
        if !(asks || answers) || !self.pace.passes(now) {
            return None;
        }
        let mut salt = Salt::default();
        (self.secure)(&mut salt);
        Some(if asks { self.question(now, salt) } else { self.answer(now, salt) })
    }

    fn question(&mut self, now: Duration, salt: Salt) -> Packet {
        let (mut tags, mut trackers) = (Vec::new(), Trackers::default());
        for search in self.searches.iter_mut().filter(|search| search.schedule.is_due(now)) {
            match &search.target {
                Target::Holders { key, .. } => tags.push(key.tag(Use::Question, &salt)),
                Target::Trackers { wanted, .. } => {
                    trackers.open |= wanted.open;
                    trackers.codes |= wanted.codes;
                }
            }
            search.schedule.asked(now, &mut self.random);
        }
        for part in self.parts.values_mut() {
            let Some(wants) = part.wants.as_mut().filter(|wants| wants.is_due(now) && tags.len() < MOST) else {
                continue;
            };
            tags.push(part.key.tag(Use::Question, &salt));
            wants.asked(now, &mut self.random);
        }
        // In which order says nothing.
        self.random.shuffle(&mut tags);
        Packet { label: self.label, salt, trackers, body: Body::Question { tags } }
    }

    fn answer(&mut self, now: Duration, salt: Salt) -> Packet {
        let (mut trackers, mut port) = (Trackers::default(), 0);
        if self.offer.is_due(now) {
            self.offer.given(now);
            (trackers, port) = (self.offers.trackers(), self.offers.port);
        }
        let mut records = Vec::new();
        if let Some(node) = &self.node {
            let card = Card { peer: node.id, port: node.port, tracker: self.tracker };
            let due = self.parts.values_mut().filter(|part| part.answer.is_due(now)).take(MOST);
            for part in due {
                records.push(Record { tag: part.key.tag(Use::Answer, &salt), sealed: part.key.seal(&salt, &card) });
                part.answer.given(now);
            }
        }
        self.random.shuffle(&mut records);
        Packet { label: self.label, salt, trackers, body: Body::Answer { port, records } }
    }

    /// A packet was heard from an address in a network of this machine. Says whether it was looked at.
    pub(crate) fn heard(&mut self, now: Duration, bytes: &[u8], from: SocketAddr) -> bool {
        let taken = self.intake.takes(now, from.ip());
        let packet = Packet::decode(bytes).filter(|packet| taken && packet.label != self.label);
        packet.into_iter().for_each(|packet| self.understood(now, packet, from));
        taken
    }

    fn understood(&mut self, now: Duration, packet: Packet, from: SocketAddr) {
        let Packet { label, salt, trackers, body } = packet;
        match body {
            Body::Question { tags } => {
                if self.offers.trackers().meets(trackers) {
                    self.offer.asked(now, &mut self.random);
                }
                // A replayed question is not answered: otherwise a recording would reveal the holders at any time.
                if tags.is_empty() || self.packets.has(&salt) {
                    return;
                }
                let asked = |part: &&mut Part| tags.contains(&part.key.tag(Use::Question, &salt));
                for part in self.parts.values_mut().filter(asked) {
                    part.answer.asked(now, &mut self.random);
                    self.packets.hear(now, salt);
                }
            }
            Body::Answer { port, records } => {
                self.found_tracker(trackers, label, at(from, port));
                if !records.is_empty() && !self.packets.is_old(now, &salt) {
                    self.found_holders(now, &salt, &records, from);
                }
            }
        }
    }

    fn found_tracker(&mut self, trackers: Trackers, label: u64, address: SocketAddr) {
        if trackers.is_empty() || address.port() == 0 {
            return;
        }
        for search in &mut self.searches {
            let Target::Trackers { wanted, found, seen } = &mut search.target else { continue };
            if !trackers.meets(*wanted) {
                continue;
            }
            let there = seen.values().filter(|known| known.iter().any(|known| known.ip() == address.ip())).count();
            let is_new = !seen.contains_key(&label);
            if is_new && (seen.len() >= FOUND || there >= FOUND_AT_ONE) {
                continue;
            }
            let known = seen.entry(label).or_default();
            if known.len() < ADDRESSES && known.insert(address) {
                let _ = found.try_send(FoundTracker { address, label });
            }
        }
    }

    fn found_holders(&mut self, now: Duration, salt: &Salt, records: &[Record], from: SocketAddr) {
        let me = self.node.as_ref().map(|node| node.id);
        for part in self.parts.values_mut() {
            let Some(holder) = holder(&part.key, salt, records, from).filter(|holder| Some(holder.peer) != me) else {
                continue;
            };
            part.answer.other_answered(now, holder.peer);
            self.packets.hear(now, *salt);
            if let Some(node) = self.node.as_ref().filter(|_| part.wants.is_some())
                && self.introductions.may(now, holder.address, holder.peer)
            {
                let _ = node.met.try_send(holder);
            }
        }
        for search in &self.searches {
            if let Target::Holders { key, found } = &search.target
                && let Some(holder) = holder(key, salt, records, from).filter(|holder| Some(holder.peer) != me)
            {
                let _ = found.try_send(holder);
                self.packets.hear(now, *salt);
            }
        }
    }
}

/// Who holds the content of this key, if the packet says so and was made by somebody who knows the content.
fn holder(key: &ContentKey, salt: &Salt, records: &[Record], from: SocketAddr) -> Option<Holder> {
    let tag = key.tag(Use::Answer, salt);
    let record = records.iter().find(|record| record.tag == tag)?;
    let card = key.open(salt, &record.sealed).filter(|card| card.port != 0)?;
    let tracker = (card.tracker != 0).then(|| at(from, card.tracker));
    Some(Holder { key: key.clone(), peer: card.peer, address: at(from, card.port), tracker })
}

/// Another port where a packet came from. Nobody says another address than its own.
fn at(from: SocketAddr, port: u16) -> SocketAddr {
    match from {
        SocketAddr::V6(from) if !matches!(from.ip().to_canonical(), IpAddr::V4(_)) => {
            // The interface is a part of an address of a link.
            SocketAddrV6::new(*from.ip(), port, 0, from.scope_id()).into()
        }
        _ => SocketAddr::new(from.ip().to_canonical(), port),
    }
}

#[cfg(test)]
mod tests;
