//! `cargo xtask simulate`: a plan of a swarm, in virtual time.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;

/// What is simulated.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// Name of a plan in crates/sim/plans, or a TOML file
    pub plan: String,
    /// Instead of the plan's number of peers
    #[arg(long)]
    pub peers: Option<u32>,
    /// Instead of the plan's number of pieces
    #[arg(long)]
    pub pieces: Option<u32>,
    /// Instead of the plan's one-way milliseconds
    #[arg(long, value_name = "MS")]
    pub latency: Option<f64>,
    /// Most connections that a peer dials to
    #[arg(long)]
    pub neighbours: Option<u32>,
    /// Run these seeds, as 0..1000, and print the worst and the median
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    pub seeds: Option<std::ops::Range<u64>>,
    /// Seed of everything that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Runs the plan and prints what came of it.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut path = PathBuf::from(&arguments.plan);
    if !path.exists() {
        path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/sim/plans"))
            .join(format!("{}.toml", arguments.plan));
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("no plan at {}", path.display()))?;
    let mut plan = sim::Plan::parse(&text)?;
    plan.peers = arguments.peers.unwrap_or(plan.peers);
    plan.pieces = arguments.pieces.unwrap_or(plan.pieces);
    plan.latency_ms = arguments.latency.unwrap_or(plan.latency_ms);
    plan.neighbours = arguments.neighbours.or(plan.neighbours);
    if let Some(seeds) = &arguments.seeds {
        return many(&plan, arguments, seeds.clone());
    }
    let began = Instant::now();
    let outcome = sim::run(&plan, arguments.seed, &swarm::Config::default());
    let done = outcome.seconds.iter().flatten().count();
    println!("peers          {done} of {} complete", outcome.seconds.len());
    println!("bound          {:.2} s", outcome.bound);
    match outcome.last() {
        Some(last) => println!("last peer      {last:.2} s, {:.3} of the bound", last / outcome.bound),
        None => println!("last peer      never"),
    }
    println!("mean peer      {:.2} s, {:.3} of the bound", outcome.mean(), outcome.mean() / outcome.bound);
    println!("seeder sent    {:.3} copies", outcome.seeded);
    println!("between sites  {:.3} copies", outcome.crossed);
    println!(
        "wasted         {} of {} bytes ({:.2} %)",
        outcome.wasted,
        outcome.sent,
        100.0 * outcome.wasted as f64 / outcome.sent.max(1) as f64
    );
    println!("engine events  {}", outcome.events);
    println!("trace          {:016x}", outcome.trace);
    println!("wall time      {:.2} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.filter(|range| !range.is_empty()).ok_or_else(|| "two numbers, as 0..1000".to_owned())
}

/// Runs one seed after another. A downloader that stays and never completes is a failure.
fn many(plan: &sim::Plan, arguments: &Arguments, seeds: std::ops::Range<u64>) -> anyhow::Result<()> {
    let (began, mut ratios, mut stuck) = (Instant::now(), Vec::new(), Vec::new());
    for seed in seeds {
        let outcome = sim::run(plan, seed, &swarm::Config::default());
        match outcome.last() {
            Some(last) => ratios.push((last / outcome.bound, seed)),
            None => {
                let (name, peers, pieces) = (&arguments.plan, plan.peers, plan.pieces);
                eprintln!(
                    "stuck: repeat with cargo xtask simulate {name} --peers {peers} --pieces {pieces} --latency {} --seed {seed}",
                    plan.latency_ms
                );
                stuck.push(seed);
            }
        }
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    if let (Some(median), Some((worst, seed))) = (ratios.get(ratios.len() / 2), ratios.last()) {
        println!("last peer, of the bound: median {:.3}, worst {worst:.3} (seed {seed})", median.0);
    }
    println!("{} seeds complete, {} stuck, {:.1} s", ratios.len(), stuck.len(), began.elapsed().as_secs_f64());
    anyhow::ensure!(stuck.is_empty(), "stuck with seeds {stuck:?}");
    Ok(())
}
