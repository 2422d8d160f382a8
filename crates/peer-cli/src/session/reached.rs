//! Which connections are told of: anyone may connect, as often as it likes, and whoever reads the words or the events must not pay for that.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Most ways of reaching an address that are said, each once.
const SAID: usize = 4096;
/// Events of peers that dialled this one: so many at once, and then one a second.
const AT_ONCE: u32 = 1000;
const ANOTHER: Duration = Duration::from_secs(1);

/// How a peer was reached, where that is not the usual way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Through the tracker's relay.
    Relay,
    /// Directly, after the relay.
    Directly,
    /// Over TCP, where QUIC was tried as well.
    Tcp,
}

/// What was said of how peers were reached.
#[derive(Debug, Default)]
pub(super) struct Reached(BTreeSet<(IpAddr, Way)>);

impl Reached {
    /// The sentence for a peer there, unless it was said of that address before.
    pub(super) fn say(&mut self, address: SocketAddr, way: Way) -> Option<String> {
        let ip = address.ip().to_canonical();
        if self.0.len() >= SAID || !self.0.insert((ip, way)) {
            return None;
        }
        Some(match way {
            Way::Relay => format!("Reached {ip} through the tracker's relay."),
            Way::Directly => format!("Reached {ip} directly: it goes on without the relay."),
            Way::Tcp => format!("Reached {address} over TCP: over QUIC nobody answered."),
        })
    }
}

/// How many events of peers that dialled this one may still be told.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    told: u32,
    since: Option<Instant>,
}

impl Newcomers {
    /// One more has come. Whether that is told.
    pub(super) fn one_more(&mut self, now: Instant) -> bool {
        let since = self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(*since);
        let earned = u32::try_from(passed.as_secs() / ANOTHER.as_secs()).unwrap_or(u32::MAX);
        if earned > 0 {
            *since = now;
            self.told = self.told.saturating_sub(earned);
        }
        let may = self.told < AT_ONCE;
        self.told += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_an_address_is_said_once() {
        let mut reached = Reached::default();
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let said: Vec<_> = (1..1000).filter_map(|port| reached.say(at(port), Way::Tcp)).collect();
        assert_eq!(said, ["Reached 192.0.2.1:1 over TCP: over QUIC nobody answered."]);
        assert!(reached.say(at(1), Way::Relay).is_some() && reached.say(at(2), Way::Relay).is_none());
        let others = (0..2 * SAID as u32).map(|n| SocketAddr::from(((n + 1).to_be_bytes(), 9)));
        let said = others.filter_map(|address| reached.say(address, Way::Relay)).count();
        assert_eq!(said, SAID - 2, "what is remembered has a bound");
    }

    #[test]
    fn newcomers_are_told_of_at_once_and_then_one_a_second() {
        let (mut newcomers, began) = (Newcomers::default(), Instant::now());
        let mut told = |seconds| {
            let now = began + Duration::from_secs(seconds);
            (0..10_000).filter(|_| newcomers.one_more(now)).count()
        };
        assert_eq!([told(0), told(1), told(2), told(60)], [AT_ONCE as usize, 1, 1, 58]);
    }
}
