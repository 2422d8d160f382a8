//! What is known of the origin of one content: how fast it is beside peers, and whether it fails. `reads` decides what is read from it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::rate::Rate;
use crate::event::{ConnId, RequestId};

/// Stands for the origin among connections, of which the shell numbers no other so.
pub(crate) const ORIGIN: ConnId = ConnId::MAX;

/// What peers bring is measured over this long.
const MEASURED: Duration = Duration::from_secs(1);
/// Beside seeders, the origin is read only for what would take peers longer than this, and how fast it is is found out again after so
/// long.
const LONG: f64 = 10.0;
const PROBED: Duration = Duration::from_secs(10);
/// Where it is only to spare, peers bring less than so many bytes a second for so long before it is read.
const FLOOR: f64 = (128 << 10) as f64;
const SPARED: Duration = Duration::from_secs(10);
/// Under a cap, half of that is expected: bytes come in bursts.
const CAP_LEAVES: u64 = 2;
/// So many contents may be read under one cap, and each of them has its part of it alone.
const CAP_SHARED: u64 = 32;
/// It must bring so many times what peers do.
const FASTER: f64 = 2.0;
/// After a failure it is left alone for about this long, after each further one for twice as long, up to so many times.
const REST: Duration = Duration::from_secs(1);
const MOST_DOUBLED: u32 = 6;

/// What is known of the origin of one content.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) requests: BTreeSet<RequestId>,
    /// Bytes a second that are read at most, if that was asked for.
    pub(super) cap: Option<u64>,
    /// Whether it is read only where peers bring next to nothing; and since when they do.
    pub(super) spare: bool,
    pub(super) slow: Option<Duration>,
    pub(super) rate: Rate,
    /// It is not read before.
    pub(super) not_before: Duration,
    pub(super) failures: u32,
    pub(super) wrong: u32,
    /// When its pace was last judged, and the bytes that have come since then.
    pub(super) judged: Duration,
    pub(super) came: u64,
    /// When something last came from it.
    pub(super) heard: Option<Duration>,
    /// Since when there is nothing to read because of what peers say; and whether they were waited for in vain: then all is read.
    pub(super) blocked: Option<Duration>,
    pub(super) alone: bool,
    /// When a read was last left to somebody else.
    pub(super) yielded: Option<Duration>,
    /// Bytes a second that peers bring; and when that was last measured, and what they have brought since then.
    pub(super) peers: f64,
    pub(super) measured: Duration,
    pub(super) brought: u64,
}

impl Origin {
    pub(crate) fn new(now: Duration, cap: Option<u64>, spare: bool) -> Self {
        Origin {
            requests: BTreeSet::new(),
            cap,
            spare,
            slow: Some(now),
            rate: Rate::new(now),
            not_before: now,
            failures: 0,
            wrong: 0,
            judged: now,
            came: 0,
            heard: None,
            blocked: None,
            alone: false,
            yielded: None,
            peers: 0.0,
            measured: now,
            brought: 0,
        }
    }

    /// Whether peers leave anything to it.
    pub(super) fn may_be_read(&self, now: Duration) -> bool {
        !self.spare || self.slow.is_some_and(|since| now.saturating_sub(since) >= SPARED)
    }

    /// The lower one of a rate and what the cap leaves of it.
    pub(super) fn capped(&self, rate: u64) -> u64 {
        self.cap.map_or(rate, |cap| rate.min(cap / CAP_LEAVES)).max(1)
    }

    /// The same for one of as many contents as share a cap: it is not known how many do.
    pub(super) fn shared(&self, rate: u64) -> u64 {
        self.capped(rate).min(self.cap.map_or(rate, |cap| cap / CAP_LEAVES / CAP_SHARED)).max(1)
    }

    /// Whether it is about to bring what nobody else has.
    pub(super) fn works(&self) -> bool {
        self.failures == 0
    }

    /// A peer brought bytes.
    pub(super) fn peer_brings(&mut self, bytes: u64) {
        self.brought += bytes;
    }

    pub(super) fn measure_peers(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.measured);
        if elapsed >= MEASURED {
            let rate = self.brought as f64 / elapsed.as_secs_f64();
            self.peers = (self.peers + rate) / 2.0;
            (self.measured, self.brought) = (now, 0);
            let is_slow = self.peers < FLOOR;
            self.slow = is_slow.then(|| self.slow.unwrap_or(now));
            self.alone &= self.peers < 1.0 || self.peers * FASTER < self.rate.average();
        }
    }

    /// Whether it brings much more than all peers together, who would take long for so many bytes; or that is to be found out.
    pub(super) fn outpaces_peers(&self, now: Duration, bytes: u64) -> bool {
        let known = self.heard.filter(|&heard| now.saturating_sub(heard) < PROBED);
        let is_faster = known.is_none() || self.rate.average() > self.peers * FASTER;
        bytes as f64 > self.peers * LONG && is_faster
    }

    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn fail(&mut self, now: Duration, chance: f64) {
        self.failures += 1;
        let rest = REST * (1 << (self.failures - 1).min(MOST_DOUBLED));
        // Those who failed together should not come back together.
        self.not_before = now + rest.mul_f64(0.5 + chance / 2.0);
    }
}
