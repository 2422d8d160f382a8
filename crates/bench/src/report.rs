//! The table: medians, ranges, and ratios to the floors of the same run.

use std::fmt::Write;

use super::{Measured, Sample};

/// The middle of these.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

impl Measured {
    /// MiB a second that each receiver got, in each round.
    pub fn rates(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| self.bytes as f64 / f64::from(1 << 20) / sample.seconds).collect()
    }

    /// The middle round's.
    pub fn rate(&self) -> f64 {
        median(self.rates())
    }

    /// By which part of its floor it is as fast; the middle of the rounds' ratios.
    pub fn ratio(&self, all: &[Measured]) -> Option<f64> {
        let floor = all.iter().find(|other| Some(&other.name) == self.floor.as_ref())?;
        Some(median(self.rates().iter().zip(floor.rates()).map(|(ours, floor)| ours / floor)))
    }

    /// Seconds of processor time for each GiB that arrived somewhere: senders, receivers.
    pub fn cpu_a_gib(&self) -> [f64; 2] {
        let gib = self.arrived() / f64::from(1 << 30);
        [0, 1].map(|side| median(self.samples.iter().map(|sample| sample.cpu[side] / gib)))
    }

    /// How often the machine turned from one thread to another, for each MiB that arrived somewhere. Starts and ends of the
    /// programs are among them.
    pub fn switches_a_mib(&self) -> f64 {
        let mib = self.arrived() / f64::from(1 << 20);
        median(self.samples.iter().map(|sample| sample.switches as f64 / mib))
    }

    /// Bytes that all receivers got in a round.
    fn arrived(&self) -> f64 {
        self.bytes as f64 * f64::from(self.receivers)
    }
}

/// For people.
pub fn table(all: &[Measured]) -> String {
    let header = [
        "",
        "MiB/s",
        "range",
        "of floor",
        "CPU s a GiB, send + receive",
        "memory MiB, send / receive (anonymous + mapped)",
        "lost",
        "switches a MiB",
        "seconds",
        "durable",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(all.iter().map(|measured| row(measured, all)));
    let widths: Vec<usize> =
        (0..header.len()).map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if at == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn row(measured: &Measured, all: &[Measured]) -> [String; 10] {
    let rates = measured.rates();
    let (least, most) = rates.iter().fold((f64::MAX, 0.0f64), |(low, high), &rate| (low.min(rate), high.max(rate)));
    let [send, receive] = measured.cpu_a_gib();
    let memory = |side: usize| {
        let most =
            |of: fn(&Sample, usize) -> u64| measured.samples.iter().map(|s| of(s, side)).max().unwrap_or(0) >> 20;
        format!(
            "{}+{}",
            most(|sample, side| sample.memory[side].anonymous),
            most(|sample, side| sample.memory[side].mapped)
        )
    };
    let durable: Vec<f64> = measured.samples.iter().filter_map(|sample| sample.seconds_durable).collect();
    [
        measured.name.clone(),
        format!("{:.0}", measured.rate()),
        format!("{least:.0}-{most:.0}"),
        measured.ratio(all).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        format!("{send:.2}+{receive:.2}={:.2}", send + receive),
        format!("{} / {}", memory(0), memory(1)),
        measured.samples.iter().map(|sample| sample.lost).sum::<u64>().to_string(),
        format!("{:.0}", measured.switches_a_mib()),
        format!("{:.3}", median(measured.samples.iter().map(|sample| sample.seconds))),
        if durable.is_empty() { String::new() } else { format!("{:.3}", median(durable)) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, floor: Option<&str>, seconds: &[f64]) -> Measured {
        let sample = |&seconds: &f64| Sample {
            seconds,
            seconds_durable: None,
            cpu: [1.0, 2.0],
            memory: Default::default(),
            lost: 0,
            switches: 6144,
        };
        Measured {
            name: name.to_owned(),
            floor: floor.map(str::to_owned),
            bytes: 1 << 30,
            receivers: 2,
            samples: seconds.iter().map(sample).collect(),
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let all = [measured("floor", None, &[1.0, 2.0, 4.0]), measured("ours", Some("floor"), &[2.0, 2.5, 8.0])];
        assert_eq!(all[1].ratio(&all), Some(0.5));
        assert_eq!(all[0].ratio(&all), None);
        assert_eq!(all[1].cpu_a_gib(), [0.5, 1.0]);
        assert_eq!(all[0].rate(), 512.0);
        assert_eq!(all[0].switches_a_mib(), 3.0);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }
}
