//! Runs one plan with many seeds, in parallel on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use sim::{Outcome, Plan};

/// A plan, and the seeds to run it with.
pub(super) struct Runs {
    pub(super) plan: Plan,
    pub(super) seeds: Range<u64>,
}

/// What came of them.
pub(super) struct Done {
    pub(super) plan: Plan,
    /// In the order of seeds.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) wall: Duration,
}

impl Runs {
    /// Runs so many at a time. The outcome does not depend on how many.
    pub(super) fn run(self, jobs: usize, fair: bool) -> Done {
        let (plan, began) = (&self.plan, Instant::now());
        let mut config = swarm::Config::default();
        config.fair = fair;
        let next = AtomicU64::new(self.seeds.start);
        let work = || {
            let mut outcomes = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.seeds.end {
                    return outcomes;
                }
                let mut outcome = sim::run(plan, seed, &config);
                // Of many runs, what happened over time would fill the memory and be looked at by nobody.
                if self.seeds.end - self.seeds.start > 1 {
                    outcome.samples = Vec::new();
                }
                outcomes.push(outcome);
            }
        };
        let mut outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.flat_map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        outcomes.sort_by_key(|outcome| outcome.seed);
        Done { outcomes, wall: began.elapsed(), plan: self.plan }
    }
}

impl Done {
    /// The commands that repeat the runs in which someone was stuck.
    pub(super) fn stuck(&self, fair: bool) -> Vec<String> {
        let stuck = self.outcomes.iter().filter(|outcome| outcome.stuck > 0);
        stuck.map(|outcome| self.plan.command(outcome.seed, fair)).collect()
    }

    /// Last downloads as multiples of the bound, with their seeds, the fastest first; without runs that have none.
    pub(super) fn ratios(&self) -> Vec<(f64, u64)> {
        let ratio = |outcome: &Outcome| Some((outcome.last()? / outcome.bound, outcome.seed));
        let mut ratios: Vec<_> = self.outcomes.iter().filter_map(ratio).collect();
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        ratios
    }

    /// A number of each run, on average.
    pub(super) fn mean(&self, of: impl Fn(&Outcome) -> f64) -> f64 {
        self.outcomes.iter().map(of).sum::<f64>() / self.outcomes.len().max(1) as f64
    }
}

impl Serialize for Done {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Done", 9)?;
        fields.serialize_field("plan", &self.plan.name)?;
        fields.serialize_field("about", &self.plan.about)?;
        fields.serialize_field("peers", &self.plan.peers)?;
        fields.serialize_field("pieces", &self.plan.pieces)?;
        fields.serialize_field("latency_ms", &self.plan.latency_ms)?;
        fields.serialize_field("neighbours", &self.plan.neighbours)?;
        fields.serialize_field("wall_seconds", &self.wall.as_secs_f64())?;
        fields.serialize_field("last_of_bound_and_seed", &self.ratios())?;
        fields.serialize_field("outcomes", &self.outcomes)?;
        fields.end()
    }
}
