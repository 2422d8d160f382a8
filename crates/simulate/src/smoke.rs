//! The simulations that CI runs: every plan a few times, and many times those in which a peer could get stuck.

use super::runs::Runs;
use super::{Arguments, names, of_plan, read};

/// Small enough that a seed takes a fraction of a second, large enough that nobody knows everybody from the start.
const PEERS: u32 = 30;
const PIECES: u32 = 64;
/// Seeds of each plan, and of the plans in which peers come, go and do not serve.
const FEW: u64 = 5;
const MANY: u64 = 150;
const MANY_OF: [&str; 2] = ["churn", "free-riders"];

pub(super) fn runs(arguments: &Arguments) -> anyhow::Result<Vec<Runs>> {
    let mut all = Vec::new();
    for name in names()? {
        let plan = sim::Plan { peers: PEERS, pieces: PIECES, ..read(&name)? };
        for mut runs in of_plan(&plan, arguments)? {
            runs.seeds = 0..if MANY_OF.contains(&name.as_str()) { MANY } else { FEW };
            all.push(runs);
        }
    }
    Ok(all)
}
