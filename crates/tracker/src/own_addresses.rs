//! The public addresses of the tracker's machine, for peers that know it by one IP family alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use protocol::MAX_OWN_ADDRESSES;
use swarm::Scope;
use tokio::time::Instant;

use crate::lock::lock;

/// The addresses of this machine are looked up again after this time: they may change.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Where a tracker that listens there may be reached from everywhere.
pub(crate) struct OwnAddresses {
    listeners: Vec<SocketAddr>,
    /// Likeliest first, and when they were looked up.
    known: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl OwnAddresses {
    pub(crate) fn new(listeners: Vec<SocketAddr>) -> Self {
        OwnAddresses { listeners, known: Mutex::new(None) }
    }

    /// Those of the other family than this address, for a message.
    pub(crate) fn of_other_family(&self, than: IpAddr) -> Vec<SocketAddr> {
        let is_ipv4 = |ip: IpAddr| ip.to_canonical().is_ipv4();
        let mut own = self.public();
        own.retain(|address| is_ipv4(address.ip()) != is_ipv4(than));
        own.truncate(MAX_OWN_ADDRESSES);
        own
    }

    fn public(&self) -> Vec<SocketAddr> {
        let mut known = lock(&self.known);
        if let Some((_, known)) = known.as_ref().filter(|(looked, _)| looked.elapsed() < LOOK_AGAIN) {
            return known.clone();
        }
        let mut own = transport::own_addresses(&self.listeners);
        own.retain(|own| Scope::of(own.address.ip()) == Scope::Public);
        own.sort_by_key(|own| own.likelihood);
        let mut found: Vec<SocketAddr> = Vec::new();
        for own in own {
            if !found.contains(&own.address) {
                found.push(own.address);
            }
        }
        *known = Some((Instant::now(), found.clone()));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_public_addresses_of_the_other_family_are_told() {
        let parse = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let (four, six) = (["192.0.2.1:9"], ["[2001:db8::1]:9", "[2001:db8::2]:9", "[2001:db8::3]:9"]);
        let beside = ["127.0.0.1:9", "10.0.0.1:9", "[fd00::1]:9", "[fe80::1]:9", "[::1]:9"];
        let own = OwnAddresses::new(parse(&[&four[..], &six, &beside, &six].concat()));
        assert_eq!(own.of_other_family("10.0.0.7".parse().unwrap()), parse(&six[..2]));
        assert_eq!(own.of_other_family("::ffff:10.0.0.7".parse().unwrap()), parse(&six[..2]));
        assert_eq!(own.of_other_family("2001:db8::7".parse().unwrap()), parse(&four));
        let none = OwnAddresses::new(parse(&[&four[..], &beside].concat()));
        assert!(none.of_other_family("192.0.2.7".parse().unwrap()).is_empty());
    }
}
