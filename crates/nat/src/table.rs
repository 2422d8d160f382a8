//! What came of all runs, a row a pair, and whether that is as it should be.

use std::cmp::Ordering;
use std::time::Duration;

use anyhow::ensure;

use crate::places::Place;
use crate::run::{Outcome, Way};

/// Of runs that have a direct path, so many of a hundred must take it.
const DIRECT: usize = 98;

/// The rows so far.
pub struct Table {
    /// Every pair has to be complete.
    relay: bool,
    rows: Vec<((Place, Place), Vec<Outcome>)>,
}

impl Table {
    pub fn new(relay: bool) -> Self {
        println!(
            "{:>8} {:>8} | complete  equal  direct  relayed | first piece: median, most | MiB/s: median",
            "sharer", "getter"
        );
        Table { relay, rows: Vec::new() }
    }

    pub fn add(&mut self, pair: (Place, Place), outcomes: Vec<Outcome>) {
        let count = |fits: fn(&Outcome) -> bool| outcomes.iter().filter(|one| fits(one)).count();
        let (complete, equal) = (count(|one| one.complete), count(|one| one.equal));
        let (direct, relayed) = (count(is_direct), count(|one| one.equal && one.way == Some(Way::Relayed)));
        let firsts = outcomes.iter().filter_map(|one| one.first);
        let time = match median(firsts.clone().collect()).zip(firsts.max()) {
            Some((median, most)) => format!("{:6.3} s {:6.3} s", median.as_secs_f64(), most.as_secs_f64()),
            None => "     -        -".to_owned(),
        };
        let rate = median_of(outcomes.iter().filter_map(|one| one.rate).collect(), f64::total_cmp);
        let rate = rate.map_or("-".to_owned(), |rate| format!("{:.2}", rate / f64::from(1 << 20)));
        let mut transports: Vec<_> = outcomes.iter().flat_map(|one| one.transports.iter().cloned()).collect();
        transports.sort();
        transports.dedup();
        let (sharer, getter) = pair;
        let of = |count: usize| format!("{count}/{}", outcomes.len());
        println!(
            "{sharer:>8} {getter:>8} | {:>8} {:>6} {:>7} {:>8} | {time} | {rate:>6}  {}",
            of(complete),
            of(equal),
            of(direct),
            of(relayed),
            transports.join(" ")
        );
        let expected = self.relay || sharer.reaches(getter);
        if let Some(trouble) = outcomes.iter().find_map(|one| one.trouble.as_ref()).filter(|_| expected) {
            println!("                  {trouble}");
        }
        self.rows.push((pair, outcomes));
    }

    /// Sums up. Fails if something is not as it should be.
    pub fn finish(self) -> anyhow::Result<()> {
        let all = || self.rows.iter().flat_map(|(pair, outcomes)| outcomes.iter().map(move |one| (*pair, one)));
        let reachable = || all().filter(|((sharer, getter), _)| sharer.reaches(*getter));
        let public = || all().filter(|((sharer, getter), _)| sharer.is_open() || getter.is_open());
        let direct = |runs: &mut dyn Iterator<Item = ((Place, Place), &Outcome)>| {
            let ways: Vec<bool> = runs.map(|(_, one)| is_direct(one)).collect();
            (ways.iter().filter(|direct| **direct).count(), ways.len())
        };
        let (direct_of_reachable, reachable) = direct(&mut reachable());
        let (direct_of_public, public) = direct(&mut public());
        let (equal, runs) = (all().filter(|(_, one)| one.equal).count(), all().count());
        let firsts = all().filter(|(_, one)| is_direct(one)).filter_map(|(_, one)| one.first);
        let first = median(firsts.collect()).map_or(0.0, |first| first.as_secs_f64());
        println!(
            "{equal} of {runs} complete and equal; direct in {direct_of_reachable} of {reachable} where there is a direct path, and \
             {direct_of_public} of {public} where one side is public; first piece over a direct path after {first:.3} s (median)"
        );
        ensure!(direct_of_public == public, "one side is public, and no direct path was found");
        ensure!(direct_of_reachable * 100 >= reachable * DIRECT, "a direct path was missed too often");
        ensure!(!self.relay || equal == runs, "the tracker relays, and yet not all runs are complete");
        Ok(())
    }
}

fn is_direct(one: &Outcome) -> bool {
    one.equal && one.way == Some(Way::Direct)
}

fn median(times: Vec<Duration>) -> Option<Duration> {
    median_of(times, Ord::cmp)
}

fn median_of<T: Copy>(mut all: Vec<T>, order: impl FnMut(&T, &T) -> Ordering) -> Option<T> {
    all.sort_unstable_by(order);
    all.get(all.len() / 2).copied()
}
