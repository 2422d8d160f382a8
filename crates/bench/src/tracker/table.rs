//! What was measured of a tracker, beside what it should be, and what follows for a hundred thousand peers.

use std::fmt::Write;

use anyhow::ensure;
use transport::Kind;

/// As many peers as one tracker is to know.
const MANY: f64 = 100_000.0;
/// The cores that both sides are given where a rate is worked out from processor time.
const CORES: f64 = 2.0;
/// What a connection may take on the tracker, in bytes.
const LIMITS: [(Kind, u64); 2] = [(Kind::Quic, 38_000), (Kind::Tcp, 20_000)];

/// How often something was done, in how many seconds, and in how much processor time on either side.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub times: u64,
    pub seconds: f64,
    pub tracker: f64,
    pub own: f64,
}

impl Rate {
    /// In a second, as it was.
    fn seen(&self) -> f64 {
        self.times as f64 / self.seconds
    }

    /// In a second on two cores that do nothing else, of which each side's work is on one at a time at least.
    fn by_time(&self) -> f64 {
        self.times as f64 / ((self.tracker + self.own) / CORES).max(self.tracker).max(0.01)
    }

    /// Microseconds of the tracker's processor time for one.
    fn micros(&self) -> f64 {
        self.tracker * 1e6 / self.times as f64
    }

    /// The part of a core that the tracker was busy for each thousand, in percent.
    fn share(&self) -> f64 {
        self.tracker / self.seconds * 100.0 / (self.times as f64 / 1000.0)
    }
}

/// All of one transport.
pub struct Figures {
    pub kind: Kind,
    pub peers: usize,
    pub room: Option<String>,
    pub memory: u64,
    pub counted: u64,
    pub in_flash: u64,
    pub idle: Rate,
    pub joins: Rate,
    pub failed: u64,
    pub announces: Rate,
    pub flash: Rate,
    /// In seconds, shortest first.
    pub waits: Vec<f64>,
    pub told: u64,
    pub gone: usize,
}

/// As text, a section for each transport.
pub fn table(all: &[Figures]) -> String {
    let mut text = String::new();
    for figures in all {
        let _ = section(&mut text, figures);
    }
    text
}

fn section(text: &mut String, figures: &Figures) -> std::fmt::Result {
    let Figures { kind, peers, joins, idle, announces, flash, waits, .. } = figures;
    let limit = limit(*kind);
    let at = |part: f64| 1000.0 * waits.get(((waits.len() - 1) as f64 * part) as usize).copied().unwrap_or_default();
    let mut row = |what: &str, value: String, wanted: &str| writeln!(text, "  {what:<44} {value:>26}  {wanted}");
    row(&format!("{kind:?}, {peers} peers"), String::new(), "wanted")?;
    row("bytes of memory a connection", figures.memory.to_string(), &format!("<= {limit}"))?;
    row("bytes that the tracker counts for it", figures.counted.to_string(), "no less")?;
    row("bytes a connection after the flash crowd", figures.in_flash.to_string(), "")?;
    row("a core's part for 1,000 idle peers", format!("{:.2} %", idle.share()), "<= 0.5 %")?;
    row("new connections a second, here", format!("{:.0}", joins.seen()), "")?;
    row("  by processor time, two cores", format!("{:.0}", joins.by_time()), ">= 1500")?;
    row("  the tracker's time for one", format!("{:.0} us", joins.micros()), "")?;
    row("  tries that came to nothing", figures.failed.to_string(), "")?;
    row("announces a second, here", format!("{:.0}", announces.seen()), ">= 10000")?;
    row("  by processor time, two cores", format!("{:.0}", announces.by_time()), "")?;
    row("  the tracker's time for one", format!("{:.0} us", announces.micros()), "")?;
    let waited = format!("{:.1}, {:.1}, {:.1} ms", at(0.5), at(0.99), at(1.0));
    row("flash crowd: answered (median, 99 %, last)", waited, "")?;
    row("  the tracker's time", format!("{:.2} s of {:.1}", flash.tracker, flash.seconds), "<= 10 s")?;
    row("  messages told to each", format!("{:.1}", figures.told as f64 / *peers as f64), "")?;
    row("  sent away", figures.gone.to_string(), "0")?;
    if let Some(room) = &figures.room {
        row("room, as it says at start", room.clone(), "")?;
    }
    let memory = figures.memory as f64 * MANY / f64::from(1 << 30);
    let busy = idle.share() * MANY / 1000.0;
    row("so for 100,000: memory, idle", format!("{memory:.2} GiB, {busy:.0} % of a core"), "")?;
    row("  all come back", format!("{:.0} s", MANY * joins.micros() / 1e6), "")
}

/// Fails where somebody was sent away, or a connection takes more than it may.
pub fn check(all: &[Figures]) -> anyhow::Result<()> {
    for Figures { kind, memory, gone, .. } in all {
        let limit = limit(*kind);
        ensure!(*gone == 0, "{kind:?}: {gone} peers were sent away");
        ensure!(*memory <= limit, "{kind:?}: {memory} bytes a connection are more than the {limit} that it may take");
    }
    Ok(())
}

fn limit(kind: Kind) -> u64 {
    LIMITS.into_iter().find(|(limited, _)| *limited == kind).map_or(u64::MAX, |(_, limit)| limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_given_as_seen_and_by_processor_time() {
        let rate = Rate { times: 1000, seconds: 4.0, tracker: 0.5, own: 0.5 };
        assert_eq!((rate.seen(), rate.by_time(), rate.micros(), rate.share()), (250.0, 2000.0, 500.0, 12.5));
        let lopsided = Rate { tracker: 1.0, own: 0.0, ..rate };
        assert_eq!(lopsided.by_time(), 1000.0, "one thread does not use two cores");
    }
}
