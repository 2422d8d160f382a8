//! Earlier measurements, by commit, so that a regression shows.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Measured, chart};

/// A ratio to a floor that fell by more than this part is pointed out.
const FALL: f64 = 0.1;

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
    let earlier: Vec<Entry> = fs::read_to_string(&path)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
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

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../output/bench")
}

/// The commit that is checked out, with a `+` if something was changed since.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty=+"]).output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
