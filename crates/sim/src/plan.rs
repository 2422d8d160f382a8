//! What a simulated swarm is made of, as a TOML file says it.

use serde::Deserialize;

/// A plan. Capacities are multiples of a normal uplink, which sends a whole copy of a content in `copy_seconds`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it is called: the name of its file.
    #[serde(skip)]
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// Peers that groups without a `count` share.
    pub peers: u32,
    /// Contents, all of one size.
    #[serde(default = "default_contents")]
    pub contents: u32,
    /// Pieces of a content.
    pub pieces: u32,
    /// Bytes of a piece. Without it they are such that a content has some 64 MiB.
    pub piece_size: Option<u32>,
    /// Seconds in which an uplink of 1.0 sends one copy: F/u.
    pub copy_seconds: f64,
    /// One-way milliseconds between two peers, and from a peer to the tracker.
    #[serde(default = "default_latency")]
    pub latency_ms: f64,
    /// Part of what is sent that is lost on the way between any two peers, and sent again.
    #[serde(default)]
    pub loss: f64,
    /// Most connections that a peer dials to.
    pub neighbours: Option<u32>,
    /// Capacity of the one link, each way together, between any two sites. Without it they are not apart.
    pub between_sites: Option<f64>,
    /// Whether peers say at which site they are.
    #[serde(default = "default_sites_told")]
    pub sites_told: bool,
    /// Second at which the tracker dies.
    pub tracker_dies: Option<f64>,
    /// Second at which it is there again, and remembers nothing.
    pub tracker_returns: Option<f64>,
    /// When some cannot reach the others.
    #[serde(default)]
    pub cut: Vec<Cut>,
    /// Where the first content was made of, which some groups can read.
    pub origin: Option<Origin>,
    /// The peers.
    pub group: Vec<Group>,
}

/// A time in which some groups reach neither the others nor the tracker. Connections across it are lost.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The second at which it begins.
    pub from: f64,
    /// The second at which it ends.
    pub until: f64,
    /// Names of the groups on the side without a tracker.
    pub groups: Vec<String>,
}

/// A bucket or server that some peers read what nobody has from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Capacity of its uplink, which all readers share.
    pub upload: f64,
    /// One-way milliseconds of its own, beyond the plan's.
    #[serde(default)]
    pub latency_ms: f64,
    /// From which second to which one it answers nothing but errors.
    pub fails: Option<[f64; 2]>,
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
    /// Which contents they hold or want, counted from 1. Without it all.
    pub contents: Option<Vec<u32>>,
    /// What they hold of those at the start.
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
    /// One-way milliseconds of their own, beyond the plan's.
    #[serde(default)]
    pub latency_ms: f64,
    /// Part of what is sent to and from them that is lost, beyond the plan's.
    #[serde(default)]
    pub loss: f64,
    /// They know the manifest, and may read from the origin. Those who hold everything share it from there: they give what they have read.
    #[serde(default)]
    pub reads_origin: bool,
    /// They read the content in order while they download it.
    pub reads: Option<Reads>,
    /// They mean harm, each in one of these ways, in turn. They hold everything, or so they say.
    #[serde(default)]
    pub hostile: Vec<Hostile>,
    /// They have so many addresses together. Without it each has its own.
    pub addresses: Option<u32>,
    /// The group at whose first peer's address they all are.
    pub address_of: Option<String>,
}

/// How a peer reads a content in order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    /// Where it begins, as a share of the whole.
    #[serde(default)]
    pub from: f64,
    /// How fast, in multiples of a normal uplink.
    pub rate: f64,
    /// Pieces that are fetched ahead of it.
    pub ahead: u32,
}

/// How a hostile peer behaves. It joins the tracker as a seeder, dials everyone that it hears of, says that it has every piece,
/// and offers all of them at once, again and again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hostile {
    /// How it answers questions.
    pub answers: HostileAnswers,
    /// Bytes a second that it sends, if it sends any.
    #[serde(default)]
    pub rate: f64,
    /// Whether it withdraws what it offered half a second later, in a loop.
    #[serde(default)]
    pub withdraws: bool,
    /// After so many seconds it leaves, and comes again under another id.
    pub fresh_id_after: Option<f64>,
}

/// How a hostile peer answers questions for pieces and for the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostileAnswers {
    /// Never.
    Silent,
    /// It refuses them all, as if it had too many.
    Busy,
    /// With good bytes at its `rate`; the manifest never.
    Trickle,
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

/// Seconds that a cut lasts at least: as long as connections take to notice, so that none outlives it.
const SHORTEST_CUT: f64 = 8.0;

fn default_contents() -> u32 {
    1
}

fn default_sites_told() -> bool {
    true
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
#[non_exhaustive]
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
    /// Reads a plan of this name.
    pub fn parse(name: &str, text: &str) -> Result<Self, PlanError> {
        let plan = Plan { name: name.to_owned(), ..toml::from_str(text)? };
        plan.check()?;
        Ok(plan)
    }

    /// Whether its numbers mean anything.
    pub fn check(&self) -> Result<(), PlanError> {
        let part = |value: f64| (0.0..=1.0).contains(&value);
        let positive = |value: Option<f64>| value.is_none_or(|value| value > 0.0);
        let all = |field| Err(PlanError::Range { group: "all".to_owned(), field });
        if !positive(self.between_sites) || self.copy_seconds <= 0.0 || self.latency_ms < 0.0 {
            return all("between_sites, copy_seconds or latency_ms");
        }
        if !(0.0..1.0).contains(&self.loss) {
            return all("loss");
        }
        if !(1..=1000).contains(&self.contents) || self.pieces == 0 {
            return all("contents or pieces");
        }
        if self.piece_size.is_some_and(|size| !size.is_power_of_two()) {
            return all("piece_size");
        }
        let returns_first = self.tracker_returns.is_some_and(|at| self.tracker_dies.is_none_or(|died| at <= died));
        if self.tracker_dies.is_some_and(|at| at < 0.0) || returns_first {
            return all("tracker_dies or tracker_returns");
        }
        for cut in &self.cut {
            let known = |name: &String| self.group.iter().any(|group| group.name == *name);
            if cut.from < 0.0 || cut.until - cut.from < SHORTEST_CUT || !cut.groups.iter().all(known) {
                return all("cut");
            }
        }
        let sound = |origin: &Origin| {
            let from_to = origin.fails.is_none_or(|[from, to]| 0.0 <= from && from < to);
            origin.upload > 0.0 && origin.latency_ms >= 0.0 && from_to
        };
        if !self.origin.as_ref().is_none_or(sound) {
            return all("origin");
        }
        for group in &self.group {
            let bad = |field| Err(PlanError::Range { group: group.name.clone(), field });
            if group.range.is_some_and(|[from, to]| !part(from) || !part(to) || from >= to) {
                return bad("range");
            }
            if !part(group.wrong) || group.share.is_some_and(|share| !part(share)) {
                return bad("wrong or share");
            }
            if !positive(group.mean_stay) || group.arrive_within < 0.0 {
                return bad("mean_stay or arrive_within");
            }
            if group.upload <= 0.0 || group.download <= 0.0 {
                return bad("upload or download");
            }
            if group.reads.as_ref().is_some_and(|reads| !(0.0..1.0).contains(&reads.from) || reads.rate <= 0.0) {
                return bad("reads");
            }
            if group.latency_ms < 0.0 || !(0.0..1.0).contains(&group.loss) {
                return bad("latency_ms or loss");
            }
            let sends = |hostile: &Hostile| (hostile.answers == HostileAnswers::Trickle) == (hostile.rate > 0.0);
            if !group.hostile.iter().all(|hostile| sends(hostile) && positive(hostile.fresh_id_after)) {
                return bad("hostile");
            }
            // What they hold is told by what they are, and nobody counts them as a loss.
            if !group.hostile.is_empty() && (group.mean_stay.is_some() || group.seeds()) {
                return bad("hostile: mean_stay, holds or range");
            }
            // Who shares it from there waits for an answer for ever.
            let cannot = |origin: &Origin| group.seeds() && (group.range.is_some() || origin.fails.is_some());
            if group.reads_origin && (self.origin.as_ref().is_none_or(cannot) || !group.takes_part(0)) {
                return bad("reads_origin");
            }
            let known = |name: &String| self.group.iter().any(|group| group.name == *name);
            if group.addresses == Some(0) || !group.address_of.iter().all(known) {
                return bad("addresses or address_of");
            }
            let numbers = group.contents.iter().flatten();
            if !numbers.into_iter().all(|number| (1..=self.contents).contains(number)) {
                return bad("contents");
            }
        }
        Ok(())
    }

    /// The command that repeats a run of it.
    pub fn command(&self, seed: u64, fair: bool) -> String {
        let Plan { name, peers, pieces, latency_ms, loss, .. } = self;
        let mut command =
            format!("cargo xtask simulate {name} --peers {peers} --pieces {pieces} --latency {latency_ms}");
        if *loss > 0.0 {
            command += &format!(" --loss {loss}");
        }
        if let Some(neighbours) = self.neighbours {
            command += &format!(" --neighbours {neighbours}");
        }
        if !self.sites_told {
            command += " --sites-untold";
        }
        if fair {
            command += " --fair";
        }
        format!("{command} --seed {seed}")
    }

    /// The group of each peer, in the order of groups.
    pub(crate) fn members(&self) -> Vec<usize> {
        let size = |group: &Group| {
            group.count.unwrap_or_else(|| (f64::from(self.peers) * group.share.unwrap_or(1.0)).round() as u32)
        };
        self.group.iter().enumerate().flat_map(|(at, group)| (0..size(group)).map(move |_| at)).collect()
    }
}

impl Group {
    /// Whether its peers hold something at the start, and want nothing.
    pub(crate) fn seeds(&self) -> bool {
        self.holds == Holds::All || self.range.is_some()
    }

    /// Whether its peers have to do with a content, counted from 0.
    pub(crate) fn takes_part(&self, content: usize) -> bool {
        self.contents.as_ref().is_none_or(|numbers| numbers.contains(&(content as u32 + 1)))
    }
}
