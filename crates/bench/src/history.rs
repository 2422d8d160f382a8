//! Earlier measurements, by commit, so that a regression shows; and a table of them, for docs/performance.md.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{Measured, chart, report};

/// A ratio to a floor that fell by more than this part is pointed out.
const FALL: f64 = 0.1;

/// What is printed of it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Measurements: the last ones
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub last: u16,
    /// The subject that rates are compared with; one without it is compared with its floor
    #[arg(long, value_name = "NAME", default_value = "1-1 nginx")]
    pub beside: String,
}

/// One line of the history.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// Seconds since 1970.
    at: u64,
    commit: String,
    measured: Vec<Measured>,
}

/// Adds a line and a chart, and says what is slower than the last time it was measured, as a part of its floor.
pub fn add(measured: &[Measured]) -> anyhow::Result<()> {
    let folder = folder();
    fs::create_dir_all(&folder)?;
    let path = folder.join("history.jsonl");
    let earlier = read(&path);
    for ours in measured {
        let then = earlier.iter().rev().find_map(|entry| {
            let then = entry.measured.iter().find(|then| then.name == ours.name && then.bytes == ours.bytes)?;
            Some((then.ratio(&entry.measured)?, &entry.commit))
        });
        if let (Some(now), Some((then, commit))) = (ours.ratio(measured), then)
            && now < then * (1.0 - FALL)
        {
            eprintln!("{} fell to {now:.2} of its floor; it was {then:.2} at {commit}", ours.name);
        }
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let entry = Entry { at, commit: commit(), measured: measured.to_vec() };
    let mut history = fs::OpenOptions::new().create(true).append(true).open(&path)?;
    writeln!(history, "{}", serde_json::to_string(&entry)?)?;
    let picture = folder.join("latest.svg");
    fs::write(&picture, chart::svg(measured, &format!("MiB/s a receiver over loopback, at {}", entry.commit)))?;
    eprintln!("The chart is {}, the history {}", picture.display(), path.display());
    Ok(())
}

/// Prints how fast each subject of one sender and one receiver was beside another one, or beside its floor, a column a measurement.
pub fn print(arguments: &Arguments) -> anyhow::Result<()> {
    let path = folder().join("history.jsonl");
    let all = read(&path);
    ensure!(!all.is_empty(), "nothing was measured yet: {} is empty or missing", path.display());
    print!("{}", table(&all[all.len().saturating_sub(usize::from(arguments.last))..], &arguments.beside));
    Ok(())
}

fn table(entries: &[Entry], beside: &str) -> String {
    let names: BTreeSet<&str> =
        entries.iter().flat_map(|entry| entry.measured.iter().map(|of| of.name.as_str())).collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = entries.iter().map(|entry| entry.commit.clone());
    let mut text = line([format!("beside {beside}, or its floor")].into_iter().chain(head).collect());
    text += &line(vec!["---".to_owned(); entries.len() + 1]);
    for name in names.into_iter().filter(|name| *name != beside) {
        let ratios: Vec<String> = entries.iter().map(|entry| ratio(entry, name, beside).unwrap_or_default()).collect();
        if ratios.iter().any(|ratio| !ratio.is_empty()) {
            text += &line([name.to_owned()].into_iter().chain(ratios).collect());
        }
    }
    text
}

/// A subject's rate beside another one's of the same bytes and receivers, or its floor's, which is said.
fn ratio(entry: &Entry, name: &str, beside: &str) -> Option<String> {
    let ours = entry.measured.iter().find(|of| of.name == name)?;
    let same = |of: &&Measured| of.name == beside && (of.bytes, of.receivers) == (ours.bytes, ours.receivers);
    if let Some(other) = entry.measured.iter().find(same) {
        let ratios = ours.rates().into_iter().zip(other.rates()).map(|(ours, other)| ours / other);
        return Some(format!("{:.2}", report::median(ratios)));
    }
    ours.ratio(&entry.measured).map(|ratio| format!("{ratio:.2} of its floor"))
}

fn read(path: &Path) -> Vec<Entry> {
    let lines = fs::read_to_string(path).unwrap_or_default();
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../output/bench")
}

/// The commit that is checked out, with a `+` if something was changed since.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty=+"]).output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::*;

    fn measured(name: &str, floor: Option<&str>, receivers: u16, seconds: f64) -> Measured {
        let (cpu, memory) = ([0.0; 2], Default::default());
        let sample = Sample { seconds, seconds_durable: None, cpu, memory, lost: 0, switches: 0 };
        let (name, floor) = (name.to_owned(), floor.map(str::to_owned));
        Measured { name, floor, bytes: 1 << 20, receivers, samples: vec![sample] }
    }

    #[test]
    fn the_table_has_a_row_a_subject_and_a_column_a_commit() {
        let entry = |commit: &str, measured| Entry { at: 0, commit: commit.to_owned(), measured };
        let entries = [
            entry("a1", vec![measured("floor", None, 1, 1.0), measured("1-1 quic", Some("floor"), 1, 2.0)]),
            entry(
                "b2",
                vec![
                    measured("1-1 quic", Some("floor"), 1, 2.0),
                    measured("1-5 quic", None, 5, 2.0),
                    measured("1-1 nginx", None, 1, 3.0),
                ],
            ),
        ];
        let expected = "\
| beside 1-1 nginx, or its floor | a1 | b2 |
| --- | --- | --- |
| 1-1 quic | 0.50 of its floor | 1.50 |
";
        assert_eq!(table(&entries, "1-1 nginx"), expected);
    }
}
