//! What a simulated swarm is made of, as a TOML file says it.

use serde::Deserialize;

/// A plan. Capacities are multiples of a normal uplink, which sends a whole copy of the content in `copy_seconds`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it shows, in a sentence.
    pub about: String,
    /// Peers that groups without a `count` share.
    pub peers: u32,
    /// Pieces of a content.
    pub pieces: u32,
    /// Seconds in which an uplink of 1.0 sends one copy: F/u.
    pub copy_seconds: f64,
    /// One-way milliseconds between two peers, and from a peer to the tracker.
    #[serde(default = "default_latency")]
    pub latency_ms: f64,
    /// Most connections that a peer dials to.
    pub neighbours: Option<u32>,
    /// Who takes part.
    pub group: Vec<Group>,
}

/// Peers that are alike.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What they are called.
    pub name: String,
    /// How many they are. Without it they are a `share` of the plan's peers.
    pub count: Option<u32>,
    /// Which part of the plan's peers.
    pub share: Option<f64>,
    /// What they hold at the start.
    #[serde(default)]
    pub holds: Holds,
    /// Capacity of the uplink.
    #[serde(default = "default_upload")]
    pub upload: f64,
    /// Capacity of the downlink.
    #[serde(default = "default_download")]
    pub download: f64,
}

/// What a peer holds at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// Nothing: it wants everything.
    #[default]
    Nothing,
    /// Everything.
    All,
}

fn default_latency() -> f64 {
    50.0
}

fn default_upload() -> f64 {
    1.0
}

fn default_download() -> f64 {
    10.0
}

/// A plan that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not TOML, or not a plan's fields.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
}

impl Plan {
    /// Reads a plan.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        Ok(toml::from_str(text)?)
    }

    /// The group of each peer, those that hold something first.
    pub(crate) fn members(&self) -> Vec<usize> {
        let size = |group: &Group| {
            group.count.unwrap_or_else(|| (f64::from(self.peers) * group.share.unwrap_or(1.0)).round() as u32)
        };
        self.group.iter().enumerate().flat_map(|(at, group)| (0..size(group)).map(move |_| at)).collect()
    }
}
