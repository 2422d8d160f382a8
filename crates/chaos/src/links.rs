//! Bad links: lossy, dark for a while, behind a NAT that forgets, and on a path that stops passing large datagrams. A relay in
//! front of each peer carries every datagram (`testbed::relay`).

use std::time::{Duration, Instant};

use testbed::event::Connected;
use testbed::relay::{Link, Relay};

use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground, RATE};

pub const CASES: &[Case] = &[
    Case { name: "loss-1", fault: "1 % of datagrams lost, 10 % reordered, 5 % doubled", run: loss_1 },
    Case { name: "loss-5", fault: "5 % of datagrams lost, 10 % reordered, 5 % doubled", run: loss_5 },
    Case { name: "loss-12", fault: "12 % of datagrams lost, 10 % reordered, 5 % doubled", run: loss_12 },
    Case { name: "loss-25", fault: "25 % of datagrams lost, 10 % reordered, 5 % doubled", run: loss_25 },
    Case { name: "blackout-lan", fault: "all links dark for 10 s, 1 ms there and back", run: blackout_near },
    Case { name: "blackout-wan", fault: "all links dark for 10 s, 100 ms there and back", run: blackout_far },
    Case { name: "rebind", fault: "source ports change 5 times", run: rebind },
    Case { name: "mtu", fault: "datagrams over 1,250 bytes vanish from second 5 on", run: mtu },
];

/// Relays carry UDP, of which a real path takes no larger datagrams.
pub(crate) const BEHIND_RELAYS: [&str; 2] = ["--transport=quic", "--mtu=1452"];
/// Bytes that are sent over lossy links by the controller that takes every loss for a full queue: more would take hours.
const SLOW: u64 = 16 << 20;
/// Seconds that a link is dark, and when.
const DARK: u64 = 10;
const DARK_AT: u64 = 5;
/// Seconds after the dark within which the speed is to be back.
const RECOVERY: f64 = 3.0;

fn loss_1(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    lossy(ground, report, 1)
}

fn loss_5(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    lossy(ground, report, 5)
}

fn loss_12(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    lossy(ground, report, 12)
}

fn loss_25(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    lossy(ground, report, 25)
}

fn rebind(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let every = ground.size as f64 / RATE as f64 / 6.0;
    completes(ground, report, &format!("rtt=1ms,rebind={every}s"))
}

fn mtu(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    completes(ground, report, "rtt=1ms,mtu=1250@5s")
}

/// Three seeders, each behind a link of its own. The relays end with the last of them.
fn seeders(stage: &mut Stage<'_>, link: &Link, flags: &[&str]) -> anyhow::Result<Vec<Relay>> {
    let mut relays = Vec::new();
    for number in 1..=3 {
        let relay = Relay::start(Link { seed: number, ..link.clone() })?;
        let announce = format!("--announce={}", relay.address());
        let flags = [&[&*announce], &BEHIND_RELAYS[..], flags].concat();
        let seeder = stage.seeder(&format!("seeder-{number}"), &flags)?;
        relay.lead_to(stage.peers[seeder].address()?);
        relays.push(relay);
    }
    Ok(relays)
}

/// With the congestion controller that is the default, and with the one that takes some loss for chance.
fn lossy(ground: &Ground, report: &mut Report, percent: u32) -> anyhow::Result<()> {
    let slow = ground.smaller(SLOW)?;
    let link: Link = format!("rtt=10ms,loss={percent}%,reorder=10%,duplicate=5%").parse()?;
    // What counts is that it arrives.
    for (controller, ground) in [("cubic", &slow), ("delivery", ground)] {
        let mut stage = Stage::open(ground, &format!("{}-{controller}", report.case))?;
        let congestion = format!("--congestion={controller}");
        let relays = seeders(&mut stage, &link, &[&congestion])?;
        let downloader = stage.downloader("downloader", &[&BEHIND_RELAYS[..], &[&congestion]].concat())?;
        let seconds = stage.verified(downloader)?;
        report.holds("complete and equal", true);
        report.shows(controller, &format!("{:.2} MiB/s", ground.size as f64 / f64::from(1 << 20) / seconds));
        drop(relays);
        stage.close()?;
    }
    Ok(())
}

fn completes(ground: &Ground, report: &mut Report, link: &str) -> anyhow::Result<()> {
    let mut stage = Stage::open(ground, &report.case)?;
    let relays = seeders(&mut stage, &link.parse()?, &[])?;
    let downloader = stage.downloader("downloader", &BEHIND_RELAYS)?;
    let seconds = stage.verified(downloader)?;
    report.holds("complete and equal", true);
    report.shows("time", &format!("{seconds:.1} s"));
    report.shows("rate", &format!("{:.1} MiB/s", ground.size as f64 / f64::from(1 << 20) / seconds));
    drop(relays);
    stage.close()
}

fn blackout_near(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    // To be back is to be within a tenth of it.
    blackout(ground, report, "1ms", 0.9)
}

fn blackout_far(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    blackout(ground, report, "100ms", 0.5)
}

/// After the dark, how long it takes until the download has got, in half a second, what it gets at this part of its speed.
fn blackout(ground: &Ground, report: &mut Report, rtt: &str, part: f64) -> anyhow::Result<()> {
    let mut stage = Stage::open(ground, &report.case)?;
    let link: Link = format!("rtt={rtt},blackout={DARK}s@{DARK_AT}s").parse()?;
    let relays = seeders(&mut stage, &link, &[])?;
    let downloader = stage.downloader("downloader", &BEHIND_RELAYS)?;
    let began = stage
        .until("the download begins", Duration::from_secs(30), |stage| stage.peers[downloader].when::<Connected>())?;
    let light = began + Duration::from_secs(DARK_AT + DARK);
    let sum = |relays: &[Relay]| relays.iter().map(|relay| relay.traffic().from.carried).sum::<u64>();
    let (mut before, mut back) = ((Instant::now(), sum(&relays)), None);
    while back.is_none() && light.elapsed() < Duration::from_secs(60) {
        stage.hear(Duration::from_millis(500))?;
        let now = (Instant::now(), sum(&relays));
        let rate = (now.1 - before.1) as f64 / (now.0 - before.0).as_secs_f64();
        if before.0 >= light && rate >= part * RATE as f64 {
            back = Some((now.0 - light).as_secs_f64());
        }
        before = now;
    }
    report.at_most("back at speed after", back.unwrap_or(f64::INFINITY), RECOVERY, "s");
    let seconds = stage.verified(downloader)?;
    report.holds("complete and equal", true);
    report.shows("time", &format!("{seconds:.1} s"));
    drop(relays);
    stage.close()
}
