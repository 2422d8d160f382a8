//! The peers of a swarm, and the command line of each.

use std::path::PathBuf;
use std::time::Duration;

use super::{Arguments, Network, Rates};

/// A swarm to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The files that seeders have. Their names differ.
    pub files: Vec<PathBuf>,
    /// The peers: seeders first.
    pub peers: Vec<PeerPlan>,
    /// The tracker's port; 0 for a free one.
    pub tracker_port: u16,
    /// Whether to call [`warm_up`](crate::files::warm_up) before the downloaders start: what is timed wants it.
    pub warm_up: bool,
    /// For how long everyone is watched doing nothing once all have everything.
    pub idle: Option<Duration>,
    /// What lies between the peers.
    pub network: Network,
    /// Whether everyone has, and demands, a certificate of one CA.
    pub closed: bool,
}

/// A peer of it.
#[derive(Debug, Clone)]
pub struct PeerPlan {
    /// What it is called in the report; also its folder.
    pub name: String,
    /// Which files it shares or wants.
    pub files: Sharing,
    /// More flags for `peer-cli`.
    pub flags: Vec<String>,
    /// Ports that it listens on.
    pub listeners: u16,
}

/// What a peer does with files; numbers count in the plan's files.
#[derive(Debug, Clone)]
pub enum Sharing {
    /// Shares all files of the plan.
    Seeds,
    /// Downloads these.
    Wants(Vec<usize>),
}

impl Plan {
    /// The swarm that the arguments ask for.
    pub fn of(arguments: &Arguments, files: Vec<PathBuf>) -> Self {
        let all: Vec<usize> = (0..files.len()).collect();
        let seeders = arguments.seeders;
        let share = |number: u16| f64::from(number) / f64::from(seeders);
        let flags = |number| {
            let range = ["-r1".to_owned(), share(number).to_string(), "-r2".to_owned(), share(number + 1).to_string()];
            if arguments.ranges { range.to_vec() } else { Vec::new() }
        };
        let seeders = (0..seeders).map(flags).collect();
        let downloaders = (0..arguments.downloaders).map(|_| all.clone()).collect();
        Plan::new(arguments, files, seeders, downloaders)
    }

    /// Seeders with these flags each, and downloaders that want these files each.
    pub fn new(
        arguments: &Arguments,
        files: Vec<PathBuf>,
        seeders: Vec<Vec<String>>,
        downloaders: Vec<Vec<usize>>,
    ) -> Self {
        let seeds = seeders.into_iter().zip(1..).map(|(flags, number)| PeerPlan {
            name: format!("seeder-{number}"),
            files: Sharing::Seeds,
            flags,
            listeners: arguments.listeners,
        });
        let wants = downloaders.into_iter().zip(1..).map(|(files, number)| PeerPlan {
            name: format!("downloader-{number}"),
            files: Sharing::Wants(files),
            flags: Vec::new(),
            listeners: arguments.listeners,
        });
        let mut peers: Vec<_> = seeds.chain(wants).collect();
        for (peer, number) in peers.iter_mut().zip(0..) {
            peer.flags.extend(shared_flags(arguments, number));
        }
        let network = match &arguments.link {
            Some(link) => Network::Links { link: link.clone(), far_tracker: arguments.far_tracker },
            None if arguments.netns => Network::Namespaces(Rates {
                uplink: arguments.uplink,
                seeder_uplink: arguments.seeder_uplink,
                downlink: arguments.downlink,
                queue: arguments.queue,
            }),
            None => Network::Loopback,
        };
        let (tracker_port, closed) = (arguments.tracker_port.unwrap_or(0), arguments.closed);
        Plan { files, peers, tracker_port, warm_up: false, idle: None, network, closed }
    }
}

/// What every peer is told.
fn shared_flags(arguments: &Arguments, number: u16) -> Vec<String> {
    let port = arguments.port.map_or(0, |first| first.saturating_add(number * arguments.listeners));
    let mut flags = vec![
        format!("--port={port}"),
        format!("--listeners={}", arguments.listeners),
        format!("--hash={}", arguments.hash),
    ];
    // A relay carries datagrams, and those of a real link are no larger than Ethernet's.
    let linked = |value: &str| arguments.link.is_some().then(|| value.to_owned());
    let (transport, mtu) = (arguments.transport.clone().or(linked("quic")), arguments.mtu.clone().or(linked("1452")));
    let optional = [
        ("piece-size", &arguments.piece_size),
        ("up-rate", &arguments.rate),
        ("down-rate", &arguments.down_rate),
        ("storage", &arguments.storage),
        ("transport", &transport),
        ("mtu", &mtu),
        ("congestion", &arguments.congestion),
    ];
    for (flag, value) in optional {
        flags.extend(value.iter().map(|value| format!("--{flag}={value}")));
    }
    flags
}
