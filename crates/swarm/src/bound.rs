//! How fast any protocol could be: what simulated runs, and swarms that a tracker looks at, are measured against.
//!
//! - Fluid: F/u_s (the seeders must send every byte once), F/d_min (the slowest must receive all of it) and
//!   N·F/(u_s + Σu_i) (everyone's copy goes over someone's uplink); Kumar and Ross, "Peer-assisted file distribution: the
//!   minimum distribution time", HotWeb 2006. It ignores that only whole pieces can be passed on.
//! - Pieces: with equal uplinks, one seeder, N downloaders and M pieces no schedule is faster than
//!   (1 + ⌊log2 N⌋/M)·F/u; Mundinger, Weber and Weiss, "Optimal scheduling of peer-to-peer file dissemination", Journal of
//!   Scheduling 11, 2008. It ignores latency and questions.

/// What takes part, in copies of the content a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacities {
    /// Of all that hold pieces at the start, together.
    pub seeders: f64,
    /// How many those are.
    pub seeder_count: usize,
    /// Each downloader's uplink. A peer that never serves has none.
    pub uplinks: Vec<f64>,
    /// The slowest downlink of a downloader.
    pub slowest_downlink: f64,
}

/// Seconds before which not everyone can have everything.
pub fn least_seconds(capacities: &Capacities, pieces: u32) -> f64 {
    fluid(capacities).max(whole_pieces(capacities, pieces).unwrap_or(0.0))
}

/// What one downloader of several contents wants and can, in copies of one content (a second).
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// Copies that it lacks. Of a single content of which it has a part already, less than one.
    pub copies: f64,
    /// Its uplink.
    pub uplink: f64,
    /// Its downlink.
    pub downlink: f64,
}

/// The same for several contents of one size, of which seeders with these uplinks together hold `held` that are wanted. Fluid.
pub fn least_seconds_of_several(seeders: f64, held: f64, demands: &[Demand]) -> f64 {
    let copies: f64 = demands.iter().map(|demand| demand.copies).sum();
    let all = seeders + demands.iter().map(|demand| demand.uplink).sum::<f64>();
    demands.iter().map(|demand| demand.copies / demand.downlink).fold((held / seeders).max(copies / all), f64::max)
}

fn fluid(capacities: &Capacities) -> f64 {
    let downloaders = capacities.uplinks.len() as f64;
    let all = capacities.seeders + capacities.uplinks.iter().sum::<f64>();
    (1.0 / capacities.seeders).max(1.0 / capacities.slowest_downlink).max(downloaders / all)
}

/// Applies to one seeder and downloaders with uplinks like its own.
fn whole_pieces(capacities: &Capacities, pieces: u32) -> Option<f64> {
    let equal = capacities.uplinks.iter().all(|uplink| (uplink / capacities.seeders - 1.0).abs() < 1e-9);
    let depth = capacities.uplinks.len().checked_ilog2()?;
    (capacities.seeder_count == 1 && equal && pieces > 0)
        .then(|| (1.0 + f64::from(depth) / f64::from(pieces)) / capacities.seeders)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(downloaders: usize) -> Capacities {
        Capacities {
            seeders: 1.0 / 40.0,
            seeder_count: 1,
            uplinks: vec![1.0 / 40.0; downloaders],
            slowest_downlink: 10.0 / 40.0,
        }
    }

    #[test]
    fn one_seeder_and_equal_peers_need_a_copy_and_a_piece_for_each_doubling() {
        assert_eq!(least_seconds(&equal(1), 256), 40.0);
        assert_eq!(least_seconds(&equal(1000), 256), 40.0 * (1.0 + 9.0 / 256.0));
        assert_eq!(least_seconds(&equal(1024), 256), 40.0 * (1.0 + 10.0 / 256.0));
    }

    #[test]
    fn several_contents_are_bound_by_what_all_want_of_them() {
        let demand = |copies| Demand { copies, uplink: 1.0, downlink: 10.0 };
        assert_eq!(least_seconds_of_several(1.0, 5.0, &[demand(5.0)]), 5.0);
        let many: Vec<Demand> = (0..9).map(|_| demand(10.0)).collect();
        assert_eq!(least_seconds_of_several(1.0, 5.0, &many), 9.0);
        assert_eq!(least_seconds_of_several(100.0, 5.0, &[demand(5.0)]), 0.5);
    }

    #[test]
    fn what_is_narrowest_counts() {
        let mut capacities = Capacities { uplinks: vec![0.0; 10], ..equal(10) };
        // Nobody else serves: ten copies over the seeder's uplink.
        assert_eq!(least_seconds(&capacities, 256), 400.0);
        capacities.slowest_downlink = 1.0 / 1000.0;
        assert_eq!(least_seconds(&capacities, 256), 1000.0);
        capacities = Capacities { seeders: 4.0 / 40.0, seeder_count: 4, ..equal(12) };
        assert_eq!(least_seconds(&capacities, 256), 12.0 / 16.0 * 40.0);
    }
}
