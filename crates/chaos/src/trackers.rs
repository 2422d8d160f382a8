//! A tracker that is killed, or that is told lies.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use hostile::Hostile;
use testbed::event::{TrackerBack, TrackerLost};

use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground};

pub const CASES: &[Case] = &[
    Case { name: "tracker-killed", fault: "the tracker is killed at 30 %, and started again later", run: killed },
    Case {
        name: "tracker-poisoned",
        fault: "90 % of all peers are fakes, half of them at a victim's address",
        run: poisoned,
    },
];

/// Longest wait of a peer between two tries to come back, twice.
const TWO_INTERVALS: f64 = 20.0;

fn killed(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let undisturbed = ground.undisturbed()?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let downloader = stage.downloader("downloader", &[])?;
    stage.part(downloader, 0.3)?;
    stage.kill_tracker();
    let seconds = stage.verified(downloader)?;
    report.holds("complete and equal", true);
    report.at_most("time", seconds, 1.1 * undisturbed, "s");
    stage.until("everyone has noticed", Duration::from_secs(30), |stage| {
        stage.peers.iter().all(|peer| peer.said::<TrackerLost>()).then_some(())
    })?;
    let restarted = Instant::now();
    stage.start_tracker()?;
    stage.until("everyone is back", Duration::from_secs(90), |stage| {
        stage.peers.iter().all(|peer| peer.said::<TrackerBack>()).then_some(())
    })?;
    report.at_most("all registered again after", restarted.elapsed().as_secs_f64(), TWO_INTERVALS, "s");
    let late = stage.downloader("late", &["--exit-when-done"])?;
    stage.verified(late)?;
    report.holds("who comes late is served", true);
    stage.close()
}

/// Fakes for three honest seeders.
const FAKES: usize = 27;
/// Packets that one handshake sends to an address that never answers: three to find out, and quinn's goodbye.
const PACKETS: f64 = 4.0;

fn poisoned(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let undisturbed = ground.undisturbed()?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let (content, _) = stage.content()?;
    let (victim, nobody) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let addresses = [victim.local_addr()?, nobody.local_addr()?];
    drop(nobody);
    let tracker = stage.tracker()?;
    let fakes = (0..FAKES).map(|number| Hostile::fake(&tracker, content, "random.bin", addresses[number % 2]));
    let _fakes: Vec<_> = fakes.collect();
    let downloader = stage.downloader("downloader", &[])?;
    let seconds = stage.verified(downloader)?;
    report.holds("complete and equal", true);
    report.at_most("time", seconds, 2.0 * undisturbed, "s");
    report.at_least("honest sources", stage.gave(3, downloader)? as f64, 3.0, "");
    victim.set_nonblocking(true)?;
    let (mut buffer, mut packets, mut others) = (vec![0; 65_536], 0, 0);
    while let Ok((len, _)) = victim.recv_from(&mut buffer) {
        // QUIC's Initial: a long header of type 0 (RFC 9000, 17.2.2), filled up to 1,200 bytes.
        let initial = buffer[0] & 0xf0 == 0xc0 && len >= 1200;
        (packets, others) = (packets + 1, others + i32::from(!initial));
    }
    // Four tries at once, and one every five seconds.
    let tries = 4.0 + seconds / 5.0;
    report.at_most("first packets of handshakes to the victim", f64::from(packets), (tries * PACKETS).ceil(), "");
    report.at_most("anything else to it", f64::from(others), 0.0, "");
    stage.close()
}
