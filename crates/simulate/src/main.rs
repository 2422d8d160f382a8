//! `cargo xtask simulate`: runs plans of swarms in virtual time. The plans are TOML files in `crates/sim/plans`.

mod plot;
mod runs;
mod smoke;
mod table;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};

use runs::Runs;

/// What is simulated.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// Names of plans in crates/sim/plans, or TOML files
    #[arg(value_name = "PLAN", required_unless_present = "smoke")]
    pub plans: Vec<String>,
    /// Instead of a plan's number of peers; several as 10,100,1000
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub peers: Vec<u32>,
    /// Instead of a plan's number of pieces; several as 256,1024
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub pieces: Vec<u32>,
    /// Instead of a plan's one-way milliseconds
    #[arg(long, value_name = "MS")]
    pub latency: Option<f64>,
    /// Instead of a plan's part of what is sent that is lost, 0 to 1
    #[arg(long, value_name = "PART")]
    pub loss: Option<f64>,
    /// Most connections that a peer dials to
    #[arg(long, value_name = "N")]
    pub neighbours: Option<u32>,
    /// Peers do not say at which site they are
    #[arg(long)]
    pub sites_untold: bool,
    /// Peers give first to those who gave, as with the peer's own --fair
    #[arg(long)]
    pub fair: bool,
    /// Seed of everything that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Run all of these seeds, as 0..1000, and tell the median and the worst
    #[arg(long, value_name = "A..B", value_parser = seeds, conflicts_with = "seed")]
    pub seeds: Option<Range<u64>>,
    /// All plans, made small, and many seeds of churn and free-riders: what CI runs
    #[arg(long, conflicts_with_all = ["plans", "peers", "pieces", "seeds", "seed"])]
    pub smoke: bool,
    /// Runs at a time; as many as there are cores if not given
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
    /// Draw what happened over time into DIR/PLAN.svg
    #[arg(long, value_name = "DIR", conflicts_with_all = ["seeds", "smoke"])]
    pub svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    tool::main("simulate", run)
}

/// Runs the plans and prints what came of them. Fails if anyone who could have had everything did not get it.
fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let all = if arguments.smoke {
        smoke::runs(arguments)?
    } else {
        let mut all = Vec::new();
        for name in &arguments.plans {
            all.extend(of_plan(&read(name)?, arguments)?);
        }
        all
    };
    let jobs = arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut done = Vec::new();
    for runs in all {
        let result = runs.run(jobs.max(1), arguments.fair);
        if !arguments.json {
            table::print(&result, done.is_empty());
        }
        done.push(result);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&done)?);
    } else if let [only] = &done[..]
        && let [outcome] = &only.outcomes[..]
    {
        table::print_details(outcome);
    }
    if let Some(folder) = &arguments.svg {
        plot::write(&done, folder)?;
    }
    let stuck: Vec<String> = done.iter().flat_map(|result| result.stuck(arguments.fair)).collect();
    ensure!(stuck.is_empty(), "someone never got what was within reach; repeat it with\n{}", stuck.join("\n"));
    Ok(())
}

fn plans_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/plans")
}

/// The names of all plans of the repository.
fn names() -> anyhow::Result<Vec<String>> {
    let folder = plans_folder();
    let entries = std::fs::read_dir(&folder).with_context(|| format!("no plans in {}", folder.display()))?;
    let stem = |entry: std::fs::DirEntry| Some(entry.path().file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = entries.filter_map(|entry| stem(entry.ok()?)).collect();
    names.sort();
    Ok(names)
}

/// A plan by its name, or by the path of its file.
fn read(name: &str) -> anyhow::Result<sim::Plan> {
    let mut path = PathBuf::from(name);
    if !path.is_file() {
        path = plans_folder().join(format!("{name}.toml"));
    }
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("no plan {name}: name a TOML file, or one of {}", names().unwrap_or_default().join(", "))
    })?;
    sim::Plan::parse(name, &text).with_context(|| format!("{} is no plan", path.display()))
}

/// A plan with what the command line says instead, for each number of peers and pieces.
fn of_plan(plan: &sim::Plan, arguments: &Arguments) -> anyhow::Result<Vec<Runs>> {
    let mut plan = plan.clone();
    plan.latency_ms = arguments.latency.unwrap_or(plan.latency_ms);
    plan.loss = arguments.loss.unwrap_or(plan.loss);
    plan.neighbours = arguments.neighbours.or(plan.neighbours);
    plan.sites_told &= !arguments.sites_untold;
    let or = |given: &[u32], own: u32| if given.is_empty() { vec![own] } else { given.to_vec() };
    let (peers, pieces) = (or(&arguments.peers, plan.peers), or(&arguments.pieces, plan.pieces));
    let seeds = arguments.seeds.clone().unwrap_or(arguments.seed..arguments.seed + 1);
    let sizes = peers.iter().flat_map(|&peers| pieces.iter().map(move |&pieces| (peers, pieces)));
    sizes
        .map(|(peers, pieces)| {
            let plan = sim::Plan { peers, pieces, ..plan.clone() };
            plan.check()?;
            Ok(Runs { plan, seeds: seeds.clone() })
        })
        .collect()
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.filter(|range| !range.is_empty()).ok_or_else(|| "two numbers, as 0..1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_of_the_repository_can_be_read() {
        let names = names().unwrap();
        assert!(names.len() >= 10, "{names:?}");
        for name in names {
            assert!(!read(&name).unwrap().about.is_empty(), "{name}");
        }
        assert!(read("flash-crow").unwrap_err().to_string().contains("flash-crowd"));
    }

    #[test]
    fn seeds_are_a_range_that_is_not_empty() {
        assert_eq!(seeds("3..7"), Ok(3..7));
        assert!(seeds("7..3").is_err() && seeds("7").is_err() && seeds("a..b").is_err());
    }
}
