//! What lies between the peers of a swarm: loopback as it is, or links of our own making.
//!
//! The rest of a run does not care: it asks here how to start a program, and says when a peer listens.

mod relays;

use std::path::Path;
use std::process::Command;

use super::Plan;
use crate::relay::Link;
pub use relays::LinkOutcome;
use relays::Relays;

/// What lies between peers.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Network {
    /// Nothing but loopback.
    #[default]
    Loopback,
    /// A relay before each listener, so that each connection has a link like this.
    Links(Link),
}

/// A network that stands. It is taken down when it is dropped.
pub(super) enum Standing {
    Loopback,
    Links(Relays),
}

impl Network {
    /// Sets it up for the peers of a plan.
    pub(super) fn set_up(&self, plan: &Plan) -> anyhow::Result<Standing> {
        Ok(match self {
            Network::Loopback => Standing::Loopback,
            Network::Links(link) => Standing::Links(Relays::start(link, plan)?),
        })
    }
}

impl Standing {
    /// The tracker's program, told where to listen.
    pub(super) fn tracker(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("--bind=127.0.0.1");
        command
    }

    /// The program of a peer, told where the tracker is and where to listen.
    pub(super) fn peer(&self, number: usize, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(["-i", "127.0.0.1", "--bind=127.0.0.1"]);
        if let Standing::Links(relays) = self {
            command.args(relays.flags(number));
        }
        command
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
            Standing::Loopback => None,
            Standing::Links(relays) => Some(relays.outcome(plan)),
        }
    }
}
