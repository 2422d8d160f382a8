//! What lies between the peers of a swarm: loopback as it is, links of our own making, or a network stack for each.
//!
//! The rest of a run does not care: it asks here how to start a program, and says when a peer listens.

mod relays;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Plan, Sharing};
use crate::namespaces::Namespaces;
use crate::relay::Link;
pub use relays::LinkOutcome;
use relays::Relays;

/// The tracker's number in a network of namespaces; peers have those that follow.
const TRACKER: usize = 1;

/// What lies between peers.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Network {
    /// Nothing but loopback.
    #[default]
    Loopback,
    /// A relay before each listener, so that each connection has a link like this.
    Links {
        /// The link.
        link: Link,
        /// Whether there is one before the tracker, too.
        far_tracker: bool,
    },
    /// A network namespace for each, with links like these.
    Namespaces(Rates),
}

/// What the links of peers carry, in bytes a second; unlimited where it is not given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rates {
    /// Of what a peer sends.
    pub uplink: Option<f64>,
    /// Of what a seeder sends, if that is something else.
    pub seeder_uplink: Option<f64>,
    /// Of what a downloader receives.
    pub downlink: Option<f64>,
    /// How long a datagram may wait for a link.
    pub queue: Duration,
}

/// A network that stands. It is taken down when it is dropped.
pub(super) enum Standing {
    Loopback,
    Links(Relays),
    Namespaces(Namespaces),
}

impl Network {
    /// Sets it up for the peers of a plan.
    pub(super) fn set_up(&self, plan: &Plan) -> anyhow::Result<Standing> {
        Ok(match self {
            Network::Loopback => Standing::Loopback,
            Network::Links { link, far_tracker } => Standing::Links(Relays::start(link, plan, *far_tracker)?),
            Network::Namespaces(rates) => Standing::Namespaces(namespaces(plan, rates)?),
        })
    }
}

impl Standing {
    /// The tracker's program, told where to listen.
    pub(super) fn tracker(&self, program: &Path) -> Command {
        match self {
            Standing::Loopback | Standing::Links(_) => with(Command::new(program), &["--bind=127.0.0.1"]),
            Standing::Namespaces(namespaces) => namespaces.command("tracker", program),
        }
    }

    /// The program of a peer of the plan, told where the tracker is and where to listen.
    pub(super) fn peer(&self, plan: &Plan, number: usize, program: &Path) -> Command {
        let loopback = || with(Command::new(program), &["-i", "127.0.0.1", "--bind=127.0.0.1"]);
        match self {
            Standing::Loopback => loopback(),
            Standing::Links(relays) => with(loopback(), &relays.flags(number)),
            Standing::Namespaces(namespaces) => {
                let command = namespaces.command(&plan.peers[number].name, program);
                with(command, &["-i", &namespaces.address(TRACKER)])
            }
        }
    }

    /// At which port peers find the tracker that listens at this one.
    pub(super) fn tracker_port(&self, port: u16) -> u16 {
        match self {
            Standing::Links(relays) => relays.tracker_port(port),
            Standing::Loopback | Standing::Namespaces(_) => port,
        }
    }

    /// A peer says that it listens at these addresses.
    pub(super) fn listens(&self, number: usize, listeners: &[String]) {
        if let Standing::Links(relays) = self {
            relays.lead(number, listeners);
        }
    }

    /// What passed so far, where we can know.
    pub(super) fn outcome(&self, plan: &Plan) -> Option<LinkOutcome> {
        match self {
            Standing::Links(relays) => Some(relays.outcome(plan)),
            Standing::Loopback | Standing::Namespaces(_) => None,
        }
    }
}

/// One for the tracker and one for each peer, whose links carry so much.
fn namespaces(plan: &Plan, rates: &Rates) -> anyhow::Result<Namespaces> {
    let mut namespaces = Namespaces::new()?;
    namespaces.join("tracker", TRACKER)?;
    for (number, peer) in (TRACKER + 1..).zip(&plan.peers) {
        namespaces.join(&peer.name, number)?;
        let (uplink, downlink) = match peer.files {
            Sharing::Seeds => (rates.seeder_uplink.or(rates.uplink), None),
            Sharing::Wants(_) => (rates.uplink, rates.downlink),
        };
        if let Some(rate) = uplink {
            namespaces.limit_uplink(&peer.name, rate, rates.queue)?;
        }
        if let Some(rate) = downlink {
            namespaces.limit_downlink(number, rate, rates.queue)?;
        }
    }
    Ok(namespaces)
}

fn with(mut command: Command, flags: &[impl AsRef<OsStr>]) -> Command {
    command.args(flags);
    command
}
