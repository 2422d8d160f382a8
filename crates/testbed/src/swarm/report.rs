//! The results of a swarm: who got how much from whom, and how fast. A table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt;

use bytesize::ByteSize;
use serde::Serialize;

use super::{LinkOutcome, Optimum};
use tool::usage::Usage;

/// The end of a run in which every byte arrived.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Seconds from the start of the first downloader's process until the last download was verified and on disk.
    pub seconds: f64,
    /// The same until the last download was verified.
    pub seconds_verified: f64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Every peer, seeders first.
    pub peers: Vec<PeerOutcome>,
    /// What passed the links that were put between them.
    pub links: Option<LinkOutcome>,
    /// How close it came to the best possible, where uplinks are limited.
    pub optimum: Option<Optimum>,
}

/// What one peer got and gave.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PeerOutcome {
    /// Its name in the run.
    pub name: String,
    /// Pieces that it had at the end.
    pub pieces: u64,
    /// Bytes of the files that it downloaded; 0 for a seeder.
    pub downloaded: u64,
    /// Payload bytes that came, by the name of the peer they came from.
    pub sources: BTreeMap<String, u64>,
    /// Seconds from the wish until all pieces were verified.
    pub seconds_verified: f64,
    /// Seconds from the wish until the files were durable.
    pub seconds_durable: f64,
    /// Seconds from the start of the first downloader's process until all its pieces were verified; 0 for a seeder.
    pub seconds_from_start: f64,
    /// Payload bytes that it sent.
    pub uploaded: u64,
    /// What its process used from the start of the downloaders to the last download, where that can be known.
    pub usage: Option<Usage>,
    /// What its process used while nothing was sent, where that was looked at.
    pub idle: Option<Idle>,
}

/// What a process uses of a machine while it has nothing to do.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Idle {
    /// Its part of one core.
    pub of_core: f64,
    /// How often in a second a processor turned from one of its threads to another thread.
    pub switches: f64,
}

impl Outcome {
    /// The share of all downloaded bytes that came from peers whose name begins so.
    pub fn share_from(&self, name: &str) -> f64 {
        let all = || self.peers.iter().flat_map(|peer| &peer.sources);
        let given: u64 = all().filter(|(source, _)| source.starts_with(name)).map(|(_, bytes)| bytes).sum();
        given as f64 / all().map(|(_, bytes)| bytes).sum::<u64>().max(1) as f64
    }
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["peer", "pieces", "verified", "on disk", "rate", "uploaded", "from whom"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(self.peers.iter().map(row));
        let widths: Vec<usize> =
            (0..header.len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
        for row in &rows {
            let [name, numbers @ .., from] = row;
            write!(f, "{name:width$}", width = widths[0])?;
            for (number, width) in numbers.iter().zip(&widths[1..]) {
                write!(f, "  {number:>width$}")?;
            }
            writeln!(f, "  {from}")?;
        }
        if let Some(links) = &self.links {
            let downloads: Vec<_> = self.peers.iter().filter(|peer| peer.downloaded > 0).collect();
            let rates = downloads.iter().map(|peer| peer.downloaded as f64 / peer.seconds_verified.max(1e-6));
            let goodput = rates.sum::<f64>() / downloads.len().max(1) as f64;
            links.describe(f, downloads.iter().map(|peer| peer.downloaded).sum(), goodput)?;
        }
        if let Some(optimum) = &self.optimum {
            writeln!(f, "{optimum}")?;
        }
        write!(f, "Every byte arrived: {} at each downloader's output equals the input, ", size(self.bytes))?;
        write!(f, "{:.2} s after the first downloader was started.", self.seconds)
    }
}

fn row(peer: &PeerOutcome) -> [String; 7] {
    let pieces = peer.pieces.to_string();
    let uploaded = size(peer.uploaded);
    if peer.seconds_durable == 0.0 {
        let none = || "-".to_owned();
        return [peer.name.clone(), pieces, none(), none(), none(), uploaded, none()];
    }
    let rate = peer.downloaded as f64 / f64::from(1 << 20) / peer.seconds_verified.max(1e-6);
    let from: Vec<_> = peer.sources.iter().map(|(source, bytes)| format!("{source} {}", size(*bytes))).collect();
    [
        peer.name.clone(),
        pieces,
        format!("{:.2} s", peer.seconds_verified),
        format!("{:.2} s", peer.seconds_durable),
        format!("{rate:.0} MiB/s"),
        uploaded,
        from.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_who_gave_what() {
        let seeder = PeerOutcome { name: "seeder-1".to_owned(), pieces: 64, uploaded: 64 << 20, ..Default::default() };
        let downloader = PeerOutcome {
            name: "downloader-1".to_owned(),
            pieces: 64,
            downloaded: 64 << 20,
            sources: BTreeMap::from([("seeder-1".to_owned(), 48 << 20), ("downloader-2".to_owned(), 16 << 20)]),
            seconds_verified: 0.5,
            seconds_durable: 0.75,
            seconds_from_start: 0.6,
            uploaded: 0,
            usage: None,
            idle: None,
        };
        let peers = vec![seeder, downloader];
        let outcome =
            Outcome { seconds: 1.0, seconds_verified: 1.0, bytes: 64 << 20, peers, links: None, optimum: None };
        let expected = "\
peer          pieces  verified  on disk       rate  uploaded  from whom
seeder-1          64         -        -          -  64.0 MiB  -
downloader-1      64    0.50 s   0.75 s  128 MiB/s       0 B  downloader-2 16.0 MiB, seeder-1 48.0 MiB
Every byte arrived: 64.0 MiB at each downloader's output equals the input, 1.00 s after the first downloader was started.";
        assert_eq!(outcome.to_string(), expected);
        assert_eq!(outcome.share_from("seeder"), 0.75);
    }
}
