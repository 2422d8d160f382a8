//! What the controller does on links of all kinds, in virtual time.

use std::time::Duration;

use super::Congestion;
use super::simulation::{Flow, Link, run};

const SEEDS: u64 = 1;
const SECOND: Duration = Duration::from_secs(1);

#[test]
#[ignore = "prints figures"]
fn figures() {
    println!("{:34} {:6} {:>8} {:>7} {:>7} {:>9} {:>9}", "link", "", "Mbit/s", "%", "waste %", "queue ms", "longest");
    let lossy = |loss| Link { loss, ..Link::new(100.0, 100, 100) };
    let jittery = |ms| Link { slot: Duration::from_millis(ms), ..Link::new(100.0, 40, 100) };
    let links = [
        ("100 Mbit 100 ms", Link::new(100.0, 100, 100)),
        ("100 Mbit 100 ms, 0.1 %", lossy(0.001)),
        ("100 Mbit 100 ms, 1 %", lossy(0.01)),
        ("100 Mbit 100 ms, 3 %", lossy(0.03)),
        ("100 Mbit 100 ms, 10 %", lossy(0.10)),
        ("100 Mbit 100 ms, 25 %", lossy(0.25)),
        ("50 Mbit 20 ms, buffer 5 ms", Link::new(50.0, 20, 5)),
        ("50 Mbit 20 ms, buffer 25 ms", Link::new(50.0, 20, 25)),
        ("50 Mbit 20 ms, buffer 400 ms", Link::new(50.0, 20, 400)),
        ("50 Mbit 100 ms, buffer 5 ms", Link::new(50.0, 100, 5)),
        ("50 Mbit 100 ms, buffer 25 ms", Link::new(50.0, 100, 25)),
        ("50 Mbit 100 ms, buffer 400 ms", Link::new(50.0, 100, 400)),
        ("100 Mbit 40 ms, slots of 10 ms", jittery(10)),
        ("100 Mbit 40 ms, slots of 40 ms", jittery(40)),
        ("2 Mbit 50 ms, buffer 200 ms", Link::new(2.0, 50, 200)),
        ("100 Mbit 400 ms", Link::new(100.0, 400, 100)),
        ("400 Mbit 1 ms, buffer 5 ms", Link::new(400.0, 1, 5)),
        ("1 Gbit 100 ms", Link::new(1000.0, 100, 50)),
    ];
    let only = std::env::var("ONLY").unwrap_or_default();
    for (name, link) in links.iter().filter(|(name, _)| name.contains(&only)) {
        for (which, congestion) in [("cubic", Congestion::Cubic), ("bbr", Congestion::Bbr), ("delivery", Congestion::Delivery)]
            .into_iter()
            .filter(|(which, _)| std::env::var("WHICH").is_ok_and(|all| all.contains(which)))
        {
            let outcomes: Vec<_> = (1..=SEEDS)
                .map(|seed| run(link, vec![Flow::endless(congestion)], 12 * SECOND, seed).remove(0))
                .collect();
            let mean =
                |of: &dyn Fn(&super::simulation::Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / SEEDS as f64;
            let rate = mean(&|outcome| outcome.rate(2 * SECOND, 12 * SECOND) / 1e6);
            let of = rate / (link.rate / 1e6 * (1.0 - link.loss) * (1416.0 / 1480.0)) * 100.0;
            let (waste, queue) =
                (mean(&|outcome| outcome.waste()) * 100.0, mean(&|o| o.mean_queue().as_secs_f64()) * 1e3);
            let longest = mean(&|outcome| outcome.longest_queue.as_secs_f64()) * 1e3;
            println!("{name:34} {which:6} {rate:8.1} {of:7.1} {waste:7.1} {queue:9.1} {longest:9.1}");
            if std::env::var("SHOW").is_ok_and(|show| show == which) {
                let rates: Vec<_> = (0..120u32)
                    .map(|t| (outcomes[0].rate(t * SECOND / 10, (t + 1) * SECOND / 10) / 1e6) as u32)
                    .collect();
                println!("{rates:?}\n{:?}", outcomes[0].windows.iter().map(|w| w / 1000).collect::<Vec<_>>());
            }
        }
    }
}

fn mbits(outcomes: &[super::simulation::Outcome], from: u64, to: u64) -> Vec<f64> {
    outcomes.iter().map(|outcome| outcome.rate(Duration::from_secs(from), Duration::from_secs(to)) / 1e6).collect()
}

#[test]
#[ignore = "prints figures"]
fn shares() {
    let (a, c) = (Congestion::Delivery, Congestion::Cubic);
    let mixes: [(&str, Vec<Congestion>); 5] = [
        ("8 auto", vec![a; 8]),
        ("8 cubic", vec![c; 8]),
        ("2 auto", vec![a; 2]),
        ("auto, cubic", vec![a, c]),
        ("cubic, auto", vec![c, a]),
    ];
    let links = [
        ("50 Mbit 20 ms, buffer 25 ms", Link::new(50.0, 20, 25)),
        ("50 Mbit 20 ms, buffer 400 ms", Link::new(50.0, 20, 400)),
        ("50 Mbit 100 ms, buffer 25 ms", Link::new(50.0, 100, 25)),
        ("50 Mbit 100 ms, buffer 400 ms", Link::new(50.0, 100, 400)),
        ("100 Mbit 100 ms 1 %", Link { loss: 0.01, ..Link::new(100.0, 100, 100) }),
        ("400 Mbit 1 ms, buffer 5 ms", Link::new(400.0, 1, 5)),
    ];
    let only = std::env::var("ONLY").unwrap_or_default();
    for (name, link) in links.iter().filter(|(name, _)| name.contains(&only)) {
        for (what, flows) in &mixes {
            let flows = flows
                .iter()
                .enumerate()
                .map(|(n, &congestion)| Flow { start: SECOND * n as u32, ..Flow::endless(congestion) });
            let outcomes = run(link, flows.collect(), 30 * SECOND, 1);
            let rates = mbits(&outcomes, 20, 30);
            let sum: f64 = rates.iter().sum();
            let jain = sum * sum / (rates.len() as f64 * rates.iter().map(|rate| rate * rate).sum::<f64>());
            let sent: u64 = outcomes.iter().map(|o| o.sent).sum();
            let over = outcomes.iter().map(|o| o.overflowed).sum::<u64>() as f64 / sent as f64;
            let queue = outcomes.iter().map(|o| o.mean_queue()).sum::<Duration>() / rates.len() as u32;
            if std::env::var_os("SHOW").is_some() {
                for second in (1..30).step_by(2) {
                    let windows: Vec<_> = outcomes
                        .iter()
                        .map(|o| {
                            o.windows
                                .get((second * 10usize).saturating_sub(300 - o.windows.len()))
                                .map_or(0, |w| w / 1000)
                        })
                        .collect();
                    println!(
                        "{second:3} {:?} {:?}",
                        mbits(&outcomes, second as u64 - 1, second as u64)
                            .iter()
                            .map(|r| *r as u32)
                            .collect::<Vec<_>>(),
                        windows
                    );
                }
            }
            let rates: Vec<_> = rates.iter().map(|rate| (rate * 10.0).round() / 10.0).collect();
            println!(
                "{name:30} {what:12} sum {sum:5.1} jain {jain:.2} overflow {:4.1} % queue {queue:?} {rates:?}",
                over * 100.0
            );
        }
    }
}

#[test]
#[ignore = "prints figures"]
fn changes() {
    let mut links: Vec<(String, Link, Option<fn(Duration) -> u64>)> = vec![];
    for rtt in [2, 20, 100] {
        links.push((
            format!("{rtt} ms: 100 to 20 Mbit"),
            Link { later: Some((4 * SECOND, 20e6)), ..Link::new(100.0, rtt, 100) },
            None,
        ));
        links.push((
            format!("{rtt} ms: 20 to 100 Mbit"),
            Link { later: Some((4 * SECOND, 100e6)), ..Link::new(20.0, rtt, 100) },
            None,
        ));
        links.push((
            format!("{rtt} ms: dark 4 to 6 s"),
            Link { blackout: Some((4 * SECOND, 6 * SECOND)), ..Link::new(100.0, rtt, 100) },
            None,
        ));
        links.push((
            format!("{rtt} ms: 256 KiB every 300 ms"),
            Link::new(100.0, rtt, 100),
            Some(|t: Duration| (t.as_millis() as u64 / 300) << 18),
        ));
        links.push((
            format!("{rtt} ms: 2 MiB every 1000 ms"),
            Link::new(100.0, rtt, 100),
            Some(|t: Duration| (t.as_millis() as u64 / 1000) << 21),
        ));
    }
    let only = std::env::var("ONLY").unwrap_or_default();
    for (name, link, offered) in links.iter().filter(|(name, ..)| name.contains(&only)) {
        for congestion in [Congestion::Cubic, Congestion::Delivery] {
            let flow = Flow { offered: *offered, ..Flow::endless(congestion) };
            let outcome = run(link, vec![flow], 9 * SECOND, 1).remove(0);
            let rates: Vec<_> = (30..90u32)
                .map(|t| (outcome.rate(t * SECOND / 10, (t + 1) * SECOND / 10) / 1e6).round() as u32)
                .collect();
            println!(
                "{name:30} {congestion:?} overflow {} KB, queue {:?}, longest {:?}\n{rates:?}",
                outcome.overflowed / 1000,
                outcome.mean_queue(),
                outcome.longest_queue
            );
        }
    }
}
