//! What the controller does on links of all kinds, in virtual time.

use std::time::Duration;

use super::Congestion;
use super::simulation::{Outcome, SimulatedFlow, SimulatedLink, run};

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;
/// Payload in a datagram, of what that takes on the wire.
const PAYLOAD: f64 = 1416.0 / 1480.0;

/// Prints what each controller makes of each link: `cargo test --release -p p2p-fileshare-transport figures -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures"]
fn figures() {
    let lossy = |loss| SimulatedLink { loss, ..SimulatedLink::new(100.0, 100, 100) };
    let links = [
        ("100 Mbit/s, 100 ms", SimulatedLink::new(100.0, 100, 100)),
        ("the same, 1 % lost", lossy(0.01)),
        ("the same, 5 % lost", lossy(0.05)),
        ("the same, 12 % lost", lossy(0.12)),
        ("50 Mbit/s, 20 ms, buffer 5 ms", SimulatedLink::new(50.0, 20, 5)),
        ("50 Mbit/s, 20 ms, buffer 400 ms", SimulatedLink::new(50.0, 20, 400)),
        ("50 Mbit/s, 100 ms, buffer 5 ms", SimulatedLink::new(50.0, 100, 5)),
        ("50 Mbit/s, 100 ms, buffer 400 ms", SimulatedLink::new(50.0, 100, 400)),
        ("2 Mbit/s, 50 ms, buffer 200 ms", SimulatedLink::new(2.0, 50, 200)),
        ("400 Mbit/s, 1 ms, buffer 5 ms", SimulatedLink::new(400.0, 1, 5)),
        ("1 Gbit/s, 100 ms, buffer 50 ms", SimulatedLink::new(1000.0, 100, 50)),
    ];
    println!("{:34} {:10} {:>7} {:>8} {:>9}", "link", "", "used %", "waste %", "queue ms");
    for (name, link) in &links {
        for congestion in
            [Congestion::Auto, Congestion::Delivery, Congestion::Cubic, Congestion::NewReno, Congestion::Bbr]
        {
            let outcome = run(link, vec![SimulatedFlow::endless(congestion)], 12 * SECOND, 1).remove(0);
            println!(
                "{name:34} {:10} {:7.1} {:8.1} {:9.1}",
                format!("{congestion:?}"),
                used(&outcome, 2, 12, link.rate * (1.0 - link.loss)) * 100.0,
                outcome.waste() * 100.0,
                outcome.mean_queue().as_secs_f64() * 1e3
            );
        }
    }
}

/// One endless flow, once with each seed.
fn alone(link: &SimulatedLink, time: Duration) -> Vec<Outcome> {
    SEEDS.map(|seed| run(link, vec![SimulatedFlow::endless(Congestion::Delivery)], time, seed).remove(0)).collect()
}

/// Payload between two seconds as a share of what a link of this rate can carry.
fn used(outcome: &Outcome, from: u32, to: u32, rate: f64) -> f64 {
    outcome.rate(SECOND * from, SECOND * to) / (rate * PAYLOAD)
}

/// Jain's index of fairness, and the share of the link that all together use.
fn shared(outcomes: &[Outcome], from: u32, to: u32, rate: f64) -> (f64, f64) {
    let rates: Vec<f64> = outcomes.iter().map(|outcome| used(outcome, from, to, rate)).collect();
    let sum: f64 = rates.iter().sum();
    (sum * sum / (rates.len() as f64 * rates.iter().map(|rate| rate * rate).sum::<f64>()), sum)
}

#[test]
fn a_long_path_is_full() {
    let link = SimulatedLink::new(100.0, 100, 100);
    for outcome in alone(&link, 8 * SECOND) {
        assert!(used(&outcome, 2, 8, link.rate) >= 0.95);
        assert!(outcome.waste() <= 0.03, "{}", outcome.waste());
        assert!(outcome.mean_queue() <= Duration::from_millis(20), "{:?}", outcome.mean_queue());
    }
}

#[test]
fn loss_by_chance_costs_what_is_lost() {
    for (loss, least) in [(0.01, 0.95), (0.05, 0.95), (0.12, 0.85)] {
        let link = SimulatedLink { loss, ..SimulatedLink::new(100.0, 100, 100) };
        for outcome in alone(&link, 8 * SECOND) {
            let used = used(&outcome, 2, 8, link.rate * (1.0 - loss));
            assert!(used >= least, "{used} at {loss}");
            assert!(outcome.waste() <= 0.05, "{} at {loss}", outcome.waste());
        }
    }
}

#[test]
fn cubic_takes_chance_for_congestion() {
    let link = SimulatedLink { loss: 0.01, ..SimulatedLink::new(100.0, 100, 100) };
    let outcome = run(&link, vec![SimulatedFlow::endless(Congestion::Cubic)], 8 * SECOND, 1).remove(0);
    assert!(used(&outcome, 2, 8, link.rate) <= 0.1, "then there is no need for another");
}

#[test]
fn auto_is_cubic_over_short_paths_and_takes_chance_for_chance_over_long_ones() {
    let outcome =
        |link: &SimulatedLink, congestion| run(link, vec![SimulatedFlow::endless(congestion)], 8 * SECOND, 1).remove(0);
    let long = SimulatedLink { loss: 0.01, ..SimulatedLink::new(100.0, 100, 100) };
    let used = used(&outcome(&long, Congestion::Auto), 2, 8, long.rate * 0.99);
    assert!(used >= 0.95, "{used}");
    let short = SimulatedLink::new(100.0, 2, 20);
    let sent = |congestion| outcome(&short, congestion).rate(SECOND, 8 * SECOND);
    assert_eq!(sent(Congestion::Auto), sent(Congestion::Cubic));
}

#[test]
fn a_shallow_buffer_is_not_flooded() {
    for rtt in [20, 100] {
        let link = SimulatedLink::new(50.0, rtt, 5);
        for outcome in alone(&link, 12 * SECOND) {
            assert!(used(&outcome, 2, 12, link.rate) >= 0.9);
            assert!(outcome.waste() <= 0.08, "{} at {rtt} ms", outcome.waste());
        }
    }
}

#[test]
fn a_deep_buffer_stays_nearly_empty() {
    for rtt in [20, 100] {
        let link = SimulatedLink::new(50.0, rtt, 1_000);
        for outcome in alone(&link, 12 * SECOND) {
            assert!(used(&outcome, 2, 12, link.rate) >= 0.95);
            assert!(outcome.mean_queue() <= Duration::from_millis(20), "{:?} at {rtt} ms", outcome.mean_queue());
        }
    }
}

#[test]
fn a_rate_that_falls_to_a_quarter_is_followed_and_so_is_its_return() {
    for rtt in [10, 100] {
        let link = SimulatedLink {
            later: vec![(4 * SECOND, 25e6), (8 * SECOND, 100e6)],
            ..SimulatedLink::new(100.0, rtt, 100)
        };
        for outcome in alone(&link, 14 * SECOND) {
            assert!(used(&outcome, 6, 8, 25e6) >= 0.9, "{rtt} ms: {}", used(&outcome, 6, 8, 25e6));
            assert!(used(&outcome, 11, 14, 100e6) >= 0.9, "{rtt} ms: {}", used(&outcome, 11, 14, 100e6));
        }
    }
}

#[test]
fn flows_that_share_a_link_get_alike() {
    for (count, rtt, buffer) in [(2, 20, 25), (2, 20, 400), (2, 100, 25), (2, 100, 400), (8, 20, 25), (8, 20, 400)] {
        let link = SimulatedLink::new(50.0, rtt, buffer);
        let flow =
            |number| SimulatedFlow { start: SECOND * number / 2, ..SimulatedFlow::endless(Congestion::Delivery) };
        let outcomes = run(&link, (0..count).map(flow).collect(), 24 * SECOND, 1);
        let (fairness, sum) = shared(&outcomes, 12, 24, link.rate);
        let what = format!("{count} flows at {rtt} ms, buffer of {buffer} ms");
        assert!(fairness >= 0.85, "{what}: {fairness}");
        assert!(sum >= 0.95, "{what}: {sum}");
        let queue = outcomes.iter().map(|outcome| outcome.mean_queue()).sum::<Duration>() / count;
        assert!(queue <= Duration::from_millis(100), "{what}: {queue:?}");
    }
}

#[test]
fn having_little_to_send_lowers_no_estimate() {
    let link = SimulatedLink::new(100.0, 100, 100);
    // Endless for three seconds, a trickle for three more, and endless again.
    let offered = |time: Duration| match time.as_millis() as u64 {
        at @ 0..3_000 => at << 14,
        at @ 3_000..6_000 => (3_000 << 14) + (at - 3_000) * 50,
        at => (3_000 << 14) + 3_000 * 50 + ((at - 6_000) << 14),
    };
    // What is left of the first part when the second begins is the link's to carry.
    let flow = SimulatedFlow { offered: Some(offered), ..SimulatedFlow::endless(Congestion::Delivery) };
    let outcome = run(&link, vec![flow], 10 * SECOND, 1).remove(0);
    assert!(used(&outcome, 8, 10, link.rate) >= 0.9, "{}", used(&outcome, 8, 10, link.rate));
}

#[test]
fn a_burst_after_a_pause_goes_out_at_once_and_floods_nothing() {
    let link = SimulatedLink::new(100.0, 100, 100);
    let offered = |time: Duration| (1 + time.as_secs()) << 21;
    let flow = SimulatedFlow { offered: Some(offered), ..SimulatedFlow::endless(Congestion::Delivery) };
    let outcome = run(&link, vec![flow], 10 * SECOND, 1).remove(0);
    // 2 MiB take 0.18 s of the link, and the way is half of 0.1 s.
    let burst = |second: u32| outcome.rate(SECOND * second, SECOND * second + 3 * SECOND / 10) * 0.3 / 8.0;
    for second in 3..9 {
        assert!(burst(second) >= 0.85 * f64::from(1 << 21), "second {second}: {}", burst(second));
    }
    assert_eq!(outcome.overflowed, 0);
}

#[test]
fn speed_is_back_soon_after_a_blackout() {
    for rtt in [10, 100] {
        let link = SimulatedLink { blackout: Some((4 * SECOND, 6 * SECOND)), ..SimulatedLink::new(100.0, rtt, 100) };
        for outcome in alone(&link, 12 * SECOND) {
            assert!(used(&outcome, 9, 12, link.rate) >= 0.9, "{rtt} ms: {}", used(&outcome, 9, 12, link.rate));
        }
    }
}
