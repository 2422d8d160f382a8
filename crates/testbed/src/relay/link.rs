//! The properties of a link, and their syntax: `rtt=50ms,loss=1%,rate=100mbit`.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytesize::ByteSize;

/// Smallest buffer that is chosen for a link, in bytes: some forty datagrams, as the smallest routers have.
const SMALLEST_BUFFER: u64 = 64 << 10;

/// What a link is like; the same in both directions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Link {
    /// The time there and back of a datagram that waits for nobody.
    pub rtt: Duration,
    /// Up to so much is added to the way of each datagram; order is kept.
    pub jitter: Duration,
    /// The share of datagrams that vanish, behind the bottleneck.
    pub loss: f64,
    /// The share of datagrams that are held back, so that later ones overtake them.
    pub reorder: f64,
    /// The share of datagrams that arrive twice.
    pub duplicate: f64,
    /// Bytes a second, with headers of IP and UDP; nothing for no limit.
    pub rate: Option<f64>,
    /// Bytes that wait for the bottleneck at most; what finds no room is dropped. [`Link::room`] says what else holds.
    pub buffer: Option<u64>,
    /// Times during which everything is lost.
    pub blackouts: Vec<Blackout>,
    /// How often the port changes that the listener sees, as a NAT does that forgets.
    pub rebind: Option<Duration>,
    /// Datagrams with more bytes vanish from this time on.
    pub mtu: Option<(usize, Duration)>,
    /// What the random choices begin with.
    pub seed: u64,
}

/// A time during which everything is lost, counted from the first datagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blackout {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}

impl Link {
    /// How it is written, for `--help`.
    pub const GRAMMAR: &str = "\
Properties with commas between them, each optional, the same in both directions:
  rtt=50ms         time there and back
  jitter=5ms       up to so much more for each datagram, in order
  loss=1%          share that vanishes, behind the bottleneck
  reorder=1%       share that later datagrams overtake
  duplicate=1%     share that arrives twice
  rate=100mbit     bottleneck, with headers of IP and UDP
  buffer=1MiB      what waits for it at most [default: rate × rtt, but at least 64KiB]
  blackout=10s@5s  all is lost for 10 s from second 5 on; may be repeated
  rebind=5s        the sender's port changes every 5 s, as behind a NAT that forgets
  mtu=1250@5s      larger datagrams vanish from second 5 on
  seed=1           other random choices
Seconds count from the first datagram.";

    /// The bytes that may wait for the bottleneck.
    pub fn room(&self) -> u64 {
        let path = self.rate.unwrap_or(0.0) * self.rtt.as_secs_f64();
        self.buffer.unwrap_or_else(|| (path as u64).max(SMALLEST_BUFFER))
    }
}

impl FromStr for Link {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut link = Link::default();
        for property in text.split(',').map(str::trim).filter(|property| !property.is_empty()) {
            let (name, value) = property.split_once('=').with_context(|| format!("{property:?} has no value"))?;
            link.set(name.trim(), value.trim()).with_context(|| format!("{property:?}"))?;
        }
        ensure!(link.buffer.is_none() || link.rate.is_some(), "a buffer fills only before a bottleneck: give rate=");
        Ok(link)
    }
}

impl Link {
    fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        match name {
            "rtt" => self.rtt = duration(value)?,
            "jitter" => self.jitter = duration(value)?,
            "loss" => self.loss = share(value)?,
            "reorder" => self.reorder = share(value)?,
            "duplicate" => self.duplicate = share(value)?,
            "rate" => self.rate = Some(rate(value)?),
            "buffer" => self.buffer = Some(size(value)?),
            "blackout" => {
                let (lasts, at) = value.split_once('@').context("write it like blackout=10s@5s")?;
                self.blackouts.push(Blackout { at: duration(at)?, lasts: duration(lasts)? });
            }
            "rebind" => {
                let every = duration(value)?;
                ensure!(every >= Duration::from_millis(1), "it would change with every datagram");
                self.rebind = Some(every);
            }
            "mtu" => {
                let (bytes, from) = value.split_once('@').unwrap_or((value, "0"));
                self.mtu = Some((size(bytes)? as usize, duration(from)?));
            }
            "seed" => self.seed = value.parse().context("a seed is a whole number")?,
            _ => bail!("a link has no {name}"),
        }
        Ok(())
    }
}

/// As `50ms`, `5s`, or a plain number of seconds.
pub(crate) fn duration(text: &str) -> anyhow::Result<Duration> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("", 1.0)];
    let read = |(unit, factor): (&str, f64)| Some(text.strip_suffix(unit)?.trim().parse::<f64>().ok()? * factor);
    let seconds = units.into_iter().find_map(read).filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).with_context(|| format!("{text:?} is no time: write it like 50ms or 5s"))
}

/// As `1%` or `0.01`.
fn share(text: &str) -> anyhow::Result<f64> {
    let (number, of) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|number| number / of).filter(|share| (0.0..=1.0).contains(share));
    share.with_context(|| format!("{text:?} is no share: write it like 1%"))
}

/// Bytes a second, of bits as `100mbit`: links are named so, in decimal units.
pub(crate) fn rate(text: &str) -> anyhow::Result<f64> {
    let lower = text.to_ascii_lowercase();
    let units = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];
    let read = |(unit, factor): (&str, f64)| Some(lower.strip_suffix(unit)?.trim().parse::<f64>().ok()? * factor / 8.0);
    let rate = units.into_iter().find_map(read).filter(|rate| (1.0..=1e12).contains(rate));
    rate.with_context(|| format!("{text:?} is no rate: write it like 100mbit"))
}

fn size(text: &str) -> anyhow::Result<u64> {
    let size: Result<ByteSize, _> = text.parse();
    Ok(size.ok().with_context(|| format!("{text:?} is no size: write it like 1250 or 1MiB"))?.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_read() {
        let text = "rtt=50ms, loss=1%, rate=100mbit, jitter=5ms, reorder=0.02, duplicate=1.5%, buffer=1MiB, \
                    blackout=10s@5s, blackout=1s@1m, rebind=5, mtu=1250@5s, seed=9";
        let link: Link = text.parse().unwrap();
        let seconds = Duration::from_secs;
        let expected = Link {
            rtt: Duration::from_millis(50),
            jitter: Duration::from_millis(5),
            loss: 0.01,
            reorder: 0.02,
            duplicate: 0.015,
            rate: Some(12.5e6),
            buffer: Some(1 << 20),
            blackouts: vec![
                Blackout { at: seconds(5), lasts: seconds(10) },
                Blackout { at: seconds(60), lasts: seconds(1) },
            ],
            rebind: Some(seconds(5)),
            mtu: Some((1250, seconds(5))),
            seed: 9,
        };
        assert_eq!(link, expected);
        assert_eq!("".parse::<Link>().unwrap(), Link::default());
        assert_eq!("mtu=1250".parse::<Link>().unwrap().mtu, Some((1250, Duration::ZERO)));
    }

    #[test]
    fn every_property_is_in_the_help() {
        let source = include_str!("link.rs");
        let body = source.split("match name {").nth(1).unwrap().split("_ => bail!").next().unwrap();
        let names = body.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
        let names: Vec<&str> = names.map(|(name, _)| name).collect();
        assert!(names.len() >= 11);
        for name in names {
            assert!(Link::GRAMMAR.contains(&format!("  {name}=")), "{name} is not in the help");
        }
    }

    #[test]
    fn nonsense_says_what_is_wrong() {
        for (text, says) in [
            ("speed=1", "a link has no speed"),
            ("loss", "\"loss\" has no value"),
            ("loss=150%", "\"150%\" is no share: write it like 1%"),
            ("loss=-1%", "is no share"),
            ("loss=NaN", "is no share"),
            ("rtt=fast", "\"fast\" is no time: write it like 50ms or 5s"),
            ("rtt=-1ms", "is no time"),
            ("rate=100", "\"100\" is no rate: write it like 100mbit"),
            ("rate=0mbit", "is no rate"),
            ("rate=1mbit,buffer=big", "\"big\" is no size"),
            ("buffer=1MiB", "give rate="),
            ("blackout=10s", "write it like blackout=10s@5s"),
            ("rebind=0", "with every datagram"),
            ("seed=x", "a seed is a whole number"),
        ] {
            let error = format!("{:#}", text.parse::<Link>().unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn the_buffer_holds_what_the_path_does_unless_told() {
        let room = |text: &str| text.parse::<Link>().unwrap().room();
        assert_eq!(room("rate=100mbit,rtt=50ms"), 625_000);
        assert_eq!(room("rate=1mbit,rtt=50ms"), SMALLEST_BUFFER);
        assert_eq!(room("rate=100mbit,rtt=50ms,buffer=10KiB"), 10 << 10);
    }
}
