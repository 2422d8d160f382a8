//! The plainest swarm, made of numbers instead of a file: to set a simulated run beside a real one.

use std::time::Duration;

use crate::plan::{Group, Holds, Plan, Serves};

/// Seeders with everything, and downloaders that come all at once, with links alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Equal {
    /// How many hold everything.
    pub seeders: u32,
    /// How many want everything.
    pub downloaders: u32,
    /// Pieces of the content.
    pub pieces: u32,
    /// Bytes of a piece, a power of two.
    pub piece_size: u32,
    /// Bytes a second that each sends at most.
    pub uplink: f64,
    /// Bytes a second that each receives at most.
    pub downlink: f64,
    /// One way between any two.
    pub latency: Duration,
}

impl Equal {
    /// It as a plan, for [`crate::run`].
    pub fn plan(&self) -> Plan {
        let bytes = f64::from(self.pieces) * f64::from(self.piece_size);
        let group = |name: &str, count, holds| Group {
            name: name.to_owned(),
            count: Some(count),
            share: None,
            contents: None,
            holds,
            range: None,
            arrive_within: 0.0,
            mean_stay: None,
            copies_then_crash: None,
            site: String::new(),
            serves: Serves::Well,
            wrong: 0.0,
            upload: 1.0,
            download: self.downlink / self.uplink,
            latency_ms: 0.0,
            loss: 0.0,
            reads_origin: false,
            reads: None,
            hostile: Vec::new(),
            addresses: None,
            address_of: None,
        };
        Plan {
            name: "equal".to_owned(),
            about: "Links alike, all at once.".to_owned(),
            peers: self.downloaders,
            contents: 1,
            pieces: self.pieces,
            piece_size: Some(self.piece_size),
            copy_seconds: bytes / self.uplink,
            latency_ms: self.latency.as_secs_f64() * 1e3,
            loss: 0.0,
            neighbours: None,
            between_sites: None,
            sites_told: true,
            tracker_dies: None,
            tracker_returns: None,
            cut: Vec::new(),
            origin: None,
            group: vec![
                group("seeder", self.seeders, Holds::All),
                group("downloader", self.downloaders, Holds::Nothing),
            ],
        }
    }
}
