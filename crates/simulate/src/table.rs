//! The results as a table: one row for each plan and size.

use sim::Outcome;
use tool::usage::most_memory;

use super::runs::Done;

/// Prints a row, and before the first one what its columns are.
pub(super) fn print(done: &Done, first: bool) {
    if first {
        println!(
            "{:<18} {:>6} {:>6} {:>6}  {:>8}  {:>7} {:>15} {:>7}  {:>7} {:>7} {:>7} {:>7}  {:>6} {:>7}  {:>8}",
            "plan",
            "peers",
            "pieces",
            "seeds",
            "bound, s",
            "last",
            "worst (seed)",
            "mean",
            "seeders",
            "origin",
            "between",
            "wasted",
            "stuck",
            "cut off",
            "wall, s"
        );
    }
    let ratios = done.ratios();
    let (median, worst) = match (ratios.get(ratios.len() / 2), ratios.last()) {
        (Some((median, _)), Some((worst, seed))) => (format!("{median:.3}"), format!("{worst:.3} ({seed})")),
        _ => ("never".to_owned(), "never".to_owned()),
    };
    let name = if done.plan.sites_told { done.plan.name.clone() } else { format!("{} untold", done.plan.name) };
    let crossed = match done.plan.between_sites {
        Some(_) => format!("{:.2}", done.mean(|outcome| outcome.crossed)),
        None => "-".to_owned(),
    };
    let origin = match done.plan.origin {
        Some(_) => format!("{:.3}", done.mean(|outcome| outcome.from_origin)),
        None => "-".to_owned(),
    };
    println!(
        "{name:<18} {:>6} {:>6} {:>6}  {:>8.2}  {median:>7} {worst:>15} {:>7.3}  {:>7.3} {origin:>7} {crossed:>7} {:>6.2}%  {:>6} {:>7}  {:>8.1}",
        done.plan.peers,
        done.plan.pieces,
        done.outcomes.len(),
        done.mean(|outcome| outcome.bound),
        done.mean(|outcome| outcome.mean() / outcome.bound),
        done.mean(|outcome| outcome.seeded),
        100.0 * done.mean(|outcome| outcome.wasted as f64 / outcome.sent.max(1) as f64),
        done.outcomes.iter().filter(|outcome| outcome.stuck > 0).count(),
        done.outcomes.iter().filter(|outcome| outcome.cut_off > 0).count(),
        done.wall.as_secs_f64(),
    );
}

/// What there is to say of a single run beyond its row.
pub(super) fn print_details(outcome: &Outcome) {
    let done = outcome.seconds.iter().flatten().count();
    let sent = |bytes: u64| 100.0 * bytes as f64 / outcome.sent.max(1) as f64;
    println!();
    println!("complete       {done} of {} downloads; {} ended with a crash", outcome.seconds.len(), outcome.crashed);
    match outcome.last() {
        Some(last) => println!("last           {last:.2} s, {:.3} of the bound", last / outcome.bound),
        None => println!("last           never: {} stuck, {} cut off", outcome.stuck, outcome.cut_off),
    }
    println!("mean           {:.2} s", outcome.mean());
    println!(
        "sent           {} bytes, {:.2} % wasted ({:.2} % lost)",
        outcome.sent,
        sent(outcome.wasted),
        sent(outcome.lost)
    );
    println!("engine events  {}", outcome.events);
    println!("trace          {:016x}", outcome.trace);
    if let Some(bytes) = most_memory() {
        println!("memory         {} MiB at most", bytes >> 20);
    }
}
