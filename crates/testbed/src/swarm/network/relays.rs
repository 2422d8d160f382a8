//! A relay before each listener: peers announce the relays' addresses, so that every connection passes one.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::Context;
use serde::Serialize;

use crate::relay::{Counts, Link, Relay, Traffic};
use crate::swarm::Plan;
use crate::swarm::report::size;

/// The relays of a run, by peer.
pub(in crate::swarm) struct Relays {
    link: Link,
    before: Vec<Vec<Relay>>,
    before_tracker: Option<Relay>,
}

impl Relays {
    pub(super) fn start(link: &Link, plan: &Plan, far_tracker: bool) -> anyhow::Result<Self> {
        let mut started = 0;
        let mut start = || {
            // Links that lose the same datagrams would be odd.
            started += 1;
            Relay::start(Link { seed: link.seed.wrapping_add(started << 32), ..link.clone() })
        };
        let before = plan.peers.iter().map(|peer| (0..peer.listeners).map(|_| start()).collect());
        let before = before.collect::<Result<_, _>>().context("a relay does not start")?;
        let before_tracker = far_tracker.then(start).transpose().context("a relay does not start")?;
        Ok(Relays { link: link.clone(), before, before_tracker })
    }

    /// At which port peers find the tracker that listens at this one.
    pub(super) fn tracker_port(&self, port: u16) -> u16 {
        let Some(relay) = &self.before_tracker else { return port };
        relay.lead_to((Ipv4Addr::LOCALHOST, port).into());
        relay.address().port()
    }

    /// What a peer is told: who dials it comes through its relays, because it names no other ports.
    pub(super) fn flags(&self, number: usize) -> Vec<String> {
        self.before[number].iter().map(|relay| format!("--announce={}", relay.address())).collect()
    }

    pub(super) fn lead(&self, number: usize, listeners: &[String]) {
        for (relay, listener) in self.before[number].iter().zip(listeners) {
            if let Ok(listener) = listener.parse() {
                relay.lead_to(listener);
            }
        }
    }

    pub(super) fn outcome(&self, plan: &Plan) -> LinkOutcome {
        let sum = |relays: &Vec<Relay>| {
            relays.iter().map(Relay::traffic).fold(Traffic::default(), |sum, relay| Traffic {
                towards: sum.towards.plus(relay.towards),
                from: sum.from.plus(relay.from),
            })
        };
        let peers = plan.peers.iter().zip(&self.before);
        let relays = peers.map(|(peer, relays)| (peer.name.clone(), sum(relays))).collect();
        LinkOutcome { rate: self.link.rate, relays }
    }
}

/// What passed the relays of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkOutcome {
    /// Bytes a second that each link carries; nothing if it has no limit.
    pub rate: Option<f64>,
    /// By peer: what passed the relays before it.
    pub relays: Vec<(String, Traffic)>,
}

impl LinkOutcome {
    /// What passed all relays, in both directions.
    pub fn total(&self) -> Counts {
        self.relays.iter().fold(Counts::default(), |sum, (_, traffic)| sum.plus(traffic.towards).plus(traffic.from))
    }

    /// Sentences for people about a run in which so many bytes of payload arrived, at so many bytes a second on
    /// average for each downloader.
    pub(in crate::swarm) fn describe(&self, f: &mut fmt::Formatter<'_>, payload: u64, goodput: f64) -> fmt::Result {
        for (name, Traffic { towards, from }) in &self.relays {
            if towards.datagrams + from.datagrams > 0 {
                write!(f, "Links to {name}: {} datagrams ({}) to it, ", towards.datagrams, size(towards.bytes))?;
                writeln!(f, "{} ({}) from it.", from.datagrams, size(from.bytes))?;
            }
        }
        let total = self.total();
        let of_all = |count: u64| 100.0 * count as f64 / total.datagrams.max(1) as f64;
        write!(f, "All links: {} sent for {} of payload", size(total.bytes), size(payload))?;
        write!(f, " ({:.3}); of {} datagrams ", total.bytes as f64 / payload.max(1) as f64, total.datagrams)?;
        write!(f, "{:.2} % lost by chance, {:.2} % dropped by full buffers", of_all(total.lost), of_all(total.full))?;
        for (count, how) in [(total.dark, "in blackouts"), (total.large, "for their size")] {
            if count > 0 {
                write!(f, ", {:.2} % lost {how}", of_all(count))?;
            }
        }
        let twice = total.carried.saturating_sub(payload);
        write!(f, "; about {} arrived twice ({:.1} %).", size(twice), 100.0 * twice as f64 / payload.max(1) as f64)?;
        if let Some(rate) = self.rate {
            write!(f, "\nEach downloader's goodput is {:.1} % of a link's rate.", 100.0 * goodput / rate)?;
        }
        writeln!(f)
    }
}
