//! The results of a tracker, its limits, and what follows for a hundred thousand peers.

use std::fmt::Write;

use anyhow::ensure;
use transport::Kind;

/// As many peers as one tracker is to know.
const MANY: f64 = 100_000.0;
/// The cores that both sides are given where a rate is worked out from processor time.
const CORES: f64 = 2.0;
/// What a connection may take on the tracker, in bytes.
const LIMITS: [(Kind, u64); 2] = [(Kind::Quic, 38_000), (Kind::Tcp, 20_000)];
/// The part of a core that a thousand idle peers may take, in percent.
const IDLE: f64 = 0.5;
/// New connections a second, by processor time.
const JOINS: f64 = 1_500.0;
/// Announcements a second, as they were here.
const ANNOUNCES: f64 = 10_000.0;
/// Seconds of processor time that a flash crowd may take.
const FLASH: f64 = 10.0;

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
    row("a core's part for 1,000 idle peers", format!("{:.2} %", idle.share()), &format!("<= {IDLE} %"))?;
    row("new connections a second, here", format!("{:.0}", joins.seen()), "")?;
    row("  by processor time, two cores", format!("{:.0}", joins.by_time()), &format!(">= {JOINS}"))?;
    row("  the tracker's time for one", format!("{:.0} us", joins.micros()), "")?;
    row("  tries that came to nothing", figures.failed.to_string(), "")?;
    row("announces a second, here", format!("{:.0}", announces.seen()), &format!(">= {ANNOUNCES}"))?;
    row("  by processor time, two cores", format!("{:.0}", announces.by_time()), "")?;
    row("  the tracker's time for one", format!("{:.0} us", announces.micros()), "")?;
    let waited = format!("{:.1}, {:.1}, {:.1} ms", at(0.5), at(0.99), at(1.0));
    row("flash crowd: answered (median, 99 %, last)", waited, "")?;
    row("  the tracker's time", format!("{:.2} s of {:.1}", flash.tracker, flash.seconds), &format!("<= {FLASH} s"))?;
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

/// Fails where somebody was sent away, or a figure is not what it should be; says all that are not.
pub fn check(all: &[Figures]) -> anyhow::Result<()> {
    let short: Vec<String> = all.iter().flat_map(shortfalls).collect();
    ensure!(short.is_empty(), "{}", short.join("; "));
    Ok(())
}

fn shortfalls(figures: &Figures) -> Vec<String> {
    let Figures { kind, memory, gone, idle, joins, announces, flash, .. } = figures;
    let limit = limit(*kind);
    let wanted = [
        (*gone == 0, format!("{gone} peers were sent away")),
        (*memory <= limit, format!("a connection takes {memory} bytes, more than {limit}")),
        (idle.share() <= IDLE, format!("1,000 idle peers take {:.2} % of a core, more than {IDLE}", idle.share())),
        (joins.by_time() >= JOINS, format!("{:.0} peers join a second, fewer than {JOINS}", joins.by_time())),
        (announces.seen() >= ANNOUNCES, format!("{:.0} announce a second, fewer than {ANNOUNCES}", announces.seen())),
        (flash.tracker <= FLASH, format!("a flash crowd takes {:.1} s, more than {FLASH}", flash.tracker)),
    ];
    wanted.into_iter().filter(|(holds, _)| !holds).map(|(_, short)| format!("{kind:?}: {short}")).collect()
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

    #[test]
    fn every_figure_is_held_to_what_is_wanted() {
        let rate = |times, tracker| Rate { times, seconds: 1.0, tracker, own: 0.1 };
        let good = || Figures {
            kind: Kind::Tcp,
            peers: 10_000,
            room: None,
            memory: 20_000,
            counted: 21_000,
            in_flash: 22_000,
            idle: rate(10_000, 0.05),
            joins: rate(1_500, 1.0),
            failed: 0,
            announces: rate(10_000, 1.0),
            flash: rate(10_000, 10.0),
            waits: vec![0.1],
            told: 0,
            gone: 0,
        };
        assert!(check(&[good()]).is_ok());
        let bad = [
            Figures { memory: 20_001, ..good() },
            Figures { idle: rate(10_000, 0.06), ..good() },
            Figures { joins: rate(1_499, 1.0), ..good() },
            Figures { announces: rate(9_999, 1.0), ..good() },
            Figures { flash: rate(10_000, 10.1), ..good() },
            Figures { gone: 1, ..good() },
        ];
        for figures in &bad {
            assert_eq!(shortfalls(figures).len(), 1, "{:?}", shortfalls(figures));
        }
        assert_eq!(check(&bad).unwrap_err().to_string().split("; ").count(), bad.len());
    }
}
