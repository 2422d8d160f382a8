//! One direction of a link, in virtual time: for each datagram, when it arrives, or that it is lost.
//!
//! The bottleneck is a clock that says when the last byte of the queue will have left. The length of the queue is then a matter of
//! arithmetic, and the accuracy of timers does not affect the rate.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Link;

/// What IPv4 and UDP add to each datagram on the wire, in bytes.
const HEADERS: usize = 28;
/// What QUIC adds to the payload in a datagram, in bytes: a short header with an id of eight bytes, a packet number, a
/// stream frame's header, and the tag (RFC 9000, 17.3.1 and 19.8; RFC 9001, 5.3).
const QUIC_HEADERS: usize = 36;
/// Datagrams of fewer bytes hold acknowledgements and other control frames.
const SMALLEST_DATA: usize = 200;

/// One direction of a link.
#[derive(Debug)]
pub struct Direction {
    link: Arc<Link>,
    random: fastrand::Rng,
    /// When the bottleneck will have sent all that waits.
    free: Duration,
    /// The last arrival of those that keep their order.
    last: Duration,
    counts: Counts,
}

/// What went into one direction of a link, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Datagrams that came to the link.
    pub datagrams: u64,
    /// Their bytes of UDP payload.
    pub bytes: u64,
    /// Bytes that arrived in QUIC's streams, about: beyond the payload, they were sent again though they had arrived.
    pub carried: u64,
    /// Datagrams lost by chance.
    pub lost: u64,
    /// Datagrams for which the buffer had no room.
    pub full: u64,
    /// Datagrams lost in a blackout.
    pub dark: u64,
    /// Datagrams larger than the path took.
    pub large: u64,
    /// Bytes of UDP payload of all that did not arrive.
    pub bytes_lost: u64,
}

impl Counts {
    /// The sum of both.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            datagrams: self.datagrams + other.datagrams,
            bytes: self.bytes + other.bytes,
            carried: self.carried + other.carried,
            lost: self.lost + other.lost,
            full: self.full + other.full,
            dark: self.dark + other.dark,
            large: self.large + other.large,
            bytes_lost: self.bytes_lost + other.bytes_lost,
        }
    }
}

impl Direction {
    /// A direction on which nothing is under way; `number` tells its random choices from those of others.
    pub fn new(link: Arc<Link>, number: u64) -> Self {
        let random = fastrand::Rng::with_seed(link.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number));
        Direction { link, random, free: Duration::ZERO, last: Duration::ZERO, counts: Counts::default() }
    }

    /// What went in so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A datagram of so many bytes comes at `now`; says when it arrives: never, once or twice.
    pub fn pass(&mut self, now: Duration, len: usize) -> [Option<Duration>; 2] {
        self.counts.datagrams += 1;
        self.counts.bytes += len as u64;
        let arrivals = self.arrivals(now, len);
        if arrivals[0].is_none() {
            self.counts.bytes_lost += len as u64;
        } else if len >= SMALLEST_DATA {
            self.counts.carried += (len - QUIC_HEADERS) as u64;
        }
        arrivals
    }

    fn arrivals(&mut self, now: Duration, len: usize) -> [Option<Duration>; 2] {
        const NEVER: [Option<Duration>; 2] = [None, None];
        let link = self.link.clone();
        if link.blackouts.iter().any(|dark| (dark.at..dark.at + dark.lasts).contains(&now)) {
            self.counts.dark += 1;
            return NEVER;
        }
        if link.mtu.is_some_and(|(most, from)| len > most && now >= from) {
            self.counts.large += 1;
            return NEVER;
        }
        let Some(leaves) = self.bottleneck(now, len) else {
            self.counts.full += 1;
            return NEVER;
        };
        if self.random.f64() < link.loss {
            self.counts.lost += 1;
            return NEVER;
        }
        let mut arrives = leaves + link.rtt / 2 + link.jitter.mul_f64(self.random.f64());
        if self.random.f64() < link.reorder {
            // Long enough that some pass it, short beside a round trip.
            arrives += Duration::from_millis(1) + (link.rtt / 4).mul_f64(self.random.f64());
        } else {
            arrives = arrives.max(self.last);
            self.last = arrives;
        }
        let twice = self.random.f64() < link.duplicate;
        [Some(arrives), twice.then(|| arrives + Duration::from_millis(1).mul_f64(self.random.f64()))]
    }

    /// When the datagram has left the bottleneck, unless it finds no room before it.
    fn bottleneck(&mut self, now: Duration, len: usize) -> Option<Duration> {
        let Some(rate) = self.link.rate else { return Some(now) };
        let len = (len + HEADERS) as f64;
        let waits = self.free.saturating_sub(now).as_secs_f64() * rate;
        if waits + len > self.link.room() as f64 {
            return None;
        }
        self.free = self.free.max(now) + Duration::from_secs_f64(len / rate);
        Some(self.free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1452;

    fn direction(link: &str) -> Direction {
        Direction::new(Arc::new(link.parse().unwrap()), 0)
    }

    /// When `count` datagrams arrive that are sent one each `every`.
    fn send(direction: &mut Direction, count: u32, every: Duration) -> Vec<[Option<Duration>; 2]> {
        (0..count).map(|number| direction.pass(every * number, SIZE)).collect()
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn the_share_that_was_asked_for_is_lost() {
        let mut lossy = direction("loss=10%,seed=3");
        let arrived = send(&mut lossy, 100_000, MILLISECOND).iter().filter(|[first, _]| first.is_some()).count();
        let counts = lossy.counts();
        assert_eq!((counts.datagrams, counts.lost), (100_000, 100_000 - arrived as u64));
        assert!((9_700..10_300).contains(&counts.lost), "{counts:?}");
        assert_eq!(counts.bytes_lost, counts.lost * SIZE as u64);
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let run = |link: &str| send(&mut direction(link), 1_000, MILLISECOND);
        let link = "rtt=10ms,jitter=3ms,loss=5%,reorder=5%,duplicate=5%";
        assert_eq!(run(link), run(link));
        assert_ne!(run(link), run(&format!("{link},seed=1")));
    }

    #[test]
    fn order_is_kept_in_spite_of_jitter() {
        let arrivals = send(&mut direction("rtt=20ms,jitter=15ms"), 10_000, MILLISECOND);
        let times: Vec<_> = arrivals.iter().map(|[first, _]| first.unwrap()).collect();
        assert!(times.is_sorted());
        assert!(times.iter().zip(0..).all(|(&time, n)| time >= MILLISECOND * (n + 10)));
    }

    #[test]
    fn those_that_are_held_back_are_overtaken() {
        let arrivals = send(&mut direction("rtt=40ms,reorder=10%"), 10_000, MILLISECOND / 10);
        let times: Vec<_> = arrivals.iter().map(|[first, _]| first.unwrap()).collect();
        let overtaken = times.windows(2).filter(|pair| pair[0] > pair[1]).count();
        // Of two that are held back side by side only one may show.
        assert!((700..1_300).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn some_arrive_twice() {
        let arrivals = send(&mut direction("duplicate=20%"), 10_000, MILLISECOND);
        let twice = arrivals.iter().filter(|[_, second]| second.is_some()).count();
        assert!((1_800..2_200).contains(&twice), "{twice}");
        assert!(arrivals.iter().all(|[first, second]| second.is_none_or(|second| second >= first.unwrap())));
    }

    #[test]
    fn the_bottleneck_keeps_its_rate_however_fast_it_is_fed() {
        let mut slow = direction("rate=10mbit,rtt=20ms,buffer=10MiB");
        let last = send(&mut slow, 1_000, Duration::ZERO).last().unwrap()[0].unwrap();
        let expected = 1_000.0 * (SIZE + HEADERS) as f64 / 1.25e6 + 0.01;
        assert!((last.as_secs_f64() - expected).abs() < 1e-4, "{last:?}, expected {expected}");
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_room_comes_back_with_time() {
        let mut slow = direction("rate=8mbit,buffer=14800");
        let arrivals = send(&mut slow, 15, Duration::ZERO);
        let arrived: Vec<_> = arrivals.iter().map(|[first, _]| first.is_some()).collect();
        assert_eq!(arrived, [[true; 10].as_slice(), &[false; 5]].concat());
        assert_eq!(slow.counts().full, 5);
        // A datagram takes 1.48 ms on the wire.
        assert!(slow.pass(Duration::from_micros(1_470), SIZE)[0].is_none());
        assert!(slow.pass(Duration::from_micros(1_490), SIZE)[0].is_some());
    }

    #[test]
    fn nothing_passes_in_a_blackout() {
        let mut dark = direction("blackout=10s@5s");
        let at = |dark: &mut Direction, seconds| dark.pass(Duration::from_secs_f64(seconds), SIZE)[0].is_some();
        let passed = [4.9, 5.0, 14.9, 15.0].map(|seconds| at(&mut dark, seconds));
        assert_eq!(passed, [true, false, false, true]);
        assert_eq!(dark.counts().dark, 2);
    }

    #[test]
    fn a_path_may_stop_taking_large_datagrams() {
        let mut path = direction("mtu=1250@5s");
        let mut at = |seconds, len| path.pass(Duration::from_secs(seconds), len)[0].is_some();
        assert!(at(4, 1452) && at(5, 1250) && !at(5, 1251));
    }
}
