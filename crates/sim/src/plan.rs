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
    /// Capacity of the one link, each way together, between any two sites. Without it they are not apart.
    pub between_sites: Option<f64>,
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
    /// The part of all pieces that they hold at the start and keep to, as two shares of the whole.
    pub range: Option<[f64; 2]>,
    /// They come within this many seconds, evenly at random.
    #[serde(default)]
    pub arrive_within: f64,
    /// They crash after so many seconds, on average (exponential). Without it they stay.
    pub mean_stay: Option<f64>,
    /// They crash once seeders have sent so many copies.
    pub copies_then_crash: Option<f64>,
    /// Where they say that they are.
    #[serde(default)]
    pub site: String,
    /// How they serve.
    #[serde(default)]
    pub serves: Serves,
    /// Which part of the pieces that they send is wrong.
    #[serde(default)]
    pub wrong: f64,
    /// Capacity of the uplink.
    #[serde(default = "default_upload")]
    pub upload: f64,
    /// Capacity of the downlink.
    #[serde(default = "default_download")]
    pub download: f64,
}

/// Whether a peer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serves {
    /// As its engine decides.
    #[default]
    Well,
    /// It offers nothing and refuses every question.
    Refuses,
    /// It offers nothing and never answers.
    Silent,
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
    /// A number that means nothing.
    #[error("group {group}: {field} is out of range")]
    Range {
        /// The group.
        group: String,
        /// The field.
        field: &'static str,
    },
}

impl Plan {
    /// Reads a plan.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text)?;
        if plan.between_sites.is_some_and(|capacity| capacity <= 0.0) {
            return Err(PlanError::Range { group: "all".to_owned(), field: "between_sites" });
        }
        for group in &plan.group {
            let bad = |field| Err(PlanError::Range { group: group.name.clone(), field });
            let part = |value: f64| (0.0..=1.0).contains(&value);
            if group.range.is_some_and(|[from, to]| !part(from) || !part(to) || from >= to) {
                return bad("range");
            }
            if !part(group.wrong) || group.share.is_some_and(|share| !part(share)) {
                return bad("wrong or share");
            }
            if group.mean_stay.is_some_and(|stay| stay <= 0.0) || group.arrive_within < 0.0 {
                return bad("mean_stay or arrive_within");
            }
        }
        Ok(plan)
    }

    /// The group of each peer, those that hold something first.
    pub(crate) fn members(&self) -> Vec<usize> {
        let size = |group: &Group| {
            group.count.unwrap_or_else(|| (f64::from(self.peers) * group.share.unwrap_or(1.0)).round() as u32)
        };
        self.group.iter().enumerate().flat_map(|(at, group)| (0..size(group)).map(move |_| at)).collect()
    }
}
