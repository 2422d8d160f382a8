//! How fast a connection may keep the tracker busy.
//!
//! A connection that says more is not refused and loses nothing: it is read more slowly, until what it has to say waits on its own side.
//! What a peer announces for the first time is free, so that thousands of files are there at once when a tracker comes back;
//! each of them takes memory, and that is counted. What it announces again and again counts as many messages.
//!
//! However many connections there are: where announcements take much of the tracker's time, those wait from whose address more than an
//! equal part of it comes. Where all come from one address, nobody waits: there is nobody to leave time for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use protocol::ContentId;
use swarm::AddressOrigin;
use tokio::time::Instant;

/// Messages that a connection may say at once, and in each second after that.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// At once.
    pub burst: u32,
    /// In a second.
    pub a_second: u32,
}

impl Default for Pace {
    fn default() -> Self {
        // Four thousand files that become complete in a moment are one burst.
        Pace { burst: 4096, a_second: 200 }
    }
}

/// What a connection has said lately.
pub(crate) struct Paced {
    pace: Pace,
    left: f64,
    since: Instant,
}

impl Paced {
    pub(crate) fn new(pace: Pace) -> Self {
        Paced { pace, left: f64::from(pace.burst), since: Instant::now() }
    }

    /// One more message, which counts as so many. Says how long to wait before the next is read.
    pub(crate) fn spend(&mut self, messages: u32) -> Duration {
        let now = Instant::now();
        let a_second = f64::from(self.pace.a_second.max(1));
        let earned = (now - std::mem::replace(&mut self.since, now)).as_secs_f64() * a_second;
        self.left = (self.left + earned).min(f64::from(self.pace.burst)) - f64::from(messages);
        Duration::from_secs_f64((-self.left / a_second).max(0.0))
    }
}

/// How often a peer may announce a content anew: as often at once as one does that begins, gets a part and then all of it, and once a second.
const REPEATS: u8 = 4;
const REPEATED: Duration = Duration::from_secs(1);

/// How often a content was announced anew lately.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    lately: u8,
    since: Option<Instant>,
}

impl Repeats {
    /// As often as it may be for now.
    fn too_many() -> Self {
        Repeats { lately: REPEATS + 1, since: Some(Instant::now()) }
    }

    /// It is announced once more. False if that is too often.
    pub(crate) fn one_more(&mut self) -> bool {
        let now = Instant::now();
        let passed = now - *self.since.get_or_insert(now);
        let over = u8::try_from(passed.as_millis() / REPEATED.as_millis()).unwrap_or(u8::MAX);
        if over > 0 {
            (self.lately, self.since) = (self.lately.saturating_sub(over), Some(now));
        }
        let may = self.lately <= REPEATS;
        self.lately = self.lately.saturating_add(u8::from(may));
        may
    }
}

/// Most contents of which it is remembered that a connection has left them.
const MOST_LEFT: usize = 64;

/// Contents that a connection has left lately: whoever leaves one and announces it again goes on where it was.
#[derive(Debug, Default)]
pub(crate) struct Left {
    has_left: bool,
    /// In the order in which they were left.
    contents: VecDeque<(ContentId, Repeats)>,
    /// How often others were announced while there were too many of these.
    others: Repeats,
}

impl Left {
    /// A content is left that was announced so often.
    pub(crate) fn add(&mut self, content: ContentId, repeats: Repeats) {
        self.forget_old();
        if self.contents.len() >= MOST_LEFT {
            self.contents.pop_front();
        }
        self.contents.push_back((content, repeats));
        self.has_left = true;
    }

    /// How often a content was announced that is announced now and that the connection takes no part in.
    pub(crate) fn take(&mut self, content: ContentId) -> Repeats {
        self.forget_old();
        if let Some(at) = self.contents.iter().position(|(left, _)| *left == content) {
            return self.contents.remove(at).map(|(_, repeats)| repeats).unwrap_or_default();
        }
        let is_known = self.contents.len() < MOST_LEFT || self.others.one_more();
        if is_known { Repeats::default() } else { Repeats::too_many() }
    }

    /// Whether anything was ever left.
    pub(crate) fn is_used(&self) -> bool {
        self.has_left
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.contents.len()
    }

    /// Those are forgotten that could be announced as often as any by now.
    fn forget_old(&mut self) {
        let over = REPEATED * (u32::from(REPEATS) + 1);
        let is_old = |repeats: &Repeats| repeats.since.is_none_or(|since| since.elapsed() >= over);
        while self.contents.front().is_some_and(|(_, repeats)| is_old(repeats)) {
            self.contents.pop_front();
        }
    }
}

/// Time in each second that announcements may take before anyone waits.
const BUSY: Duration = Duration::from_millis(250);

/// Whose announcements have taken how much time in this second.
#[derive(Debug)]
pub(crate) struct Busy {
    since: Instant,
    all: Duration,
    networks: HashMap<IpAddr, Spent>,
}

/// Time for the connections of one network.
#[derive(Debug, Default)]
struct Spent {
    all: Duration,
    addresses: HashMap<IpAddr, Duration>,
}

impl Default for Busy {
    fn default() -> Self {
        Busy { since: Instant::now(), all: Duration::ZERO, networks: HashMap::new() }
    }
}

impl Busy {
    /// A message from there took so much time. Says how long to wait before the next is read.
    pub(crate) fn spent(&mut self, origin: AddressOrigin, time: Duration) -> Duration {
        let second = Duration::from_secs(1);
        let passed = self.since.elapsed();
        if passed >= second {
            *self = Busy::default();
        }
        self.all += time;
        let networks = self.networks.len().max(1) as u32;
        let network = self.networks.entry(origin.network).or_default();
        network.all += time;
        let addresses = network.addresses.len().max(1) as u32;
        let address = network.addresses.entry(origin.address).or_default();
        *address += time;
        let is_alone = networks == 1 && addresses == 1;
        let has_more = !is_alone && network.all >= self.all / networks && *address >= network.all / addresses;
        if self.all > BUSY && has_more { second.saturating_sub(passed) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_then_each_waits_its_turn() {
        let mut paced = Paced::new(Pace { burst: 100, a_second: 10 });
        assert!((0..100).all(|_| paced.spend(1).is_zero()));
        let began = Instant::now();
        for _ in 0..50 {
            tokio::time::sleep(paced.spend(1)).await;
        }
        assert!((4.9..5.2).contains(&began.elapsed().as_secs_f64()), "in virtual time: {:?}", began.elapsed());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!((0..100).all(|_| paced.spend(1).is_zero()), "who was quiet has a burst again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_counts_as_many_waits_for_as_long() {
        let mut paced = Paced::new(Pace { burst: 100, a_second: 10 });
        assert!((0..5).all(|_| paced.spend(20).is_zero()));
        assert_eq!(paced.spend(20), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_content_is_announced_anew_a_few_times_and_once_a_second() {
        let mut repeats = Repeats::default();
        let all = |repeats: &mut Repeats| (0..100).filter(|_| repeats.one_more()).count();
        assert_eq!(all(&mut repeats), usize::from(REPEATS) + 1, "and once for the first time");
        for _ in 0..5 {
            tokio::time::advance(REPEATED).await;
            assert_eq!(all(&mut repeats), 1);
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(all(&mut repeats), usize::from(REPEATS) + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_content_that_is_left_and_announced_in_turn_is_counted_on() {
        let content = |n: u8| ContentId(protocol::Digest([n; 32]));
        let mut left = Left::default();
        let mut turns = |of: u8, turns: usize| {
            let free = (0..turns).map(|turn| content((turn % usize::from(of)) as u8)).filter(|&content| {
                let mut repeats = left.take(content);
                let may = repeats.one_more();
                left.add(content, repeats);
                may
            });
            (free.count(), left.len())
        };
        assert_eq!(turns(1, 100), (usize::from(REPEATS) + 1, 1));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(turns(10, 1000), (10 * (usize::from(REPEATS) + 1), 10));
        // More contents than are remembered are counted together.
        tokio::time::advance(Duration::from_secs(60)).await;
        let (free, remembered) = turns(200, 10_000);
        assert!(free <= MOST_LEFT + usize::from(REPEATS) + 1 && remembered == MOST_LEFT, "{free} of 10,000");
    }

    /// However many connections and addresses a network has, others do not wait for it.
    #[tokio::test(start_paused = true)]
    async fn where_time_is_short_those_wait_who_take_most_of_it() {
        let at = |address: [u8; 4]| AddressOrigin::of(address.into());
        let (mut busy, work, honest) = (Busy::default(), Duration::from_millis(1), at([10, 0, 1, 1]));
        assert!((0..250).all(|n| busy.spent(at([10, 0, 0, n]), work).is_zero()), "it has time");
        assert!(!busy.spent(at([10, 0, 0, 1]), work).is_zero());
        assert!((0..50).all(|_| busy.spent(honest, work).is_zero()));
        assert!((0..300).any(|_| !busy.spent(honest, work).is_zero()), "now it takes as much");
        // And of one network, whoever takes most.
        let near = at([10, 0, 0, 200]);
        assert!(!busy.spent(at([10, 0, 0, 1]), work * 100).is_zero() && busy.spent(near, work / 100).is_zero());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(busy.spent(at([10, 0, 0, 1]), work).is_zero());
    }

    /// As behind one router, or where a tracker is measured.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_others_that_are_not_there() {
        let at = |address: [u8; 4]| AddressOrigin::of(address.into());
        let (mut busy, work, alone) = (Busy::default(), Duration::from_micros(100), at([10, 0, 0, 1]));
        assert!((0..10_000).all(|_| busy.spent(alone, work).is_zero()));
        for other in [at([10, 0, 0, 2]), at([10, 0, 1, 1])] {
            assert!(busy.spent(other, work).is_zero());
            assert!(!busy.spent(alone, work).is_zero(), "somebody else has something to say");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!((0..10_000).all(|_| busy.spent(alone, work).is_zero()));
        }
    }
}
