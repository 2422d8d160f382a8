//! The peers that get a content, over time, for as long as somebody looks: how far the slowest, the median and the fastest are, how many
//! are complete, and a curve of its own for each of the first hundred.
//!
//! The memory is bounded: where there are too many samples, every second one is dropped.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use tracker::{PeerId, Role, WatchedPeer};

use super::best::Standing;

/// Most samples.
const SAMPLES: usize = 300;
/// Curves of single peers. Ids are hashes, so the first hundred are as good as any.
const CURVES: usize = 100;
/// Downloaders that are counted, at most.
pub(super) const MOST: usize = 5000;
/// Seconds between two samples, at least, however many look.
const APART: f64 = 0.9;
/// All of it.
const WHOLE: u16 = 1000;

/// A crowd, in thousandths of the content.
pub(super) struct Crowd {
    began: Instant,
    /// Which samples there are: another number once some were dropped.
    generation: u32,
    /// Seconds between two samples that are kept.
    apart: f64,
    times: Vec<f64>,
    slowest: Vec<u16>,
    median: Vec<u16>,
    fastest: Vec<u16>,
    complete: Vec<u16>,
    curves: BTreeMap<PeerId, Vec<Option<u16>>>,
    /// Those who were seen to get it: what they had at first, and have now.
    downloaders: BTreeMap<PeerId, (u16, u16)>,
    seeders: usize,
    fastest_sender: u64,
    size: u64,
    pieces: u32,
    /// When the first was seen, and when the last was complete.
    first: Option<f64>,
    last: Option<f64>,
}

/// Samples, as a page is told of them.
#[derive(Debug, Serialize)]
pub(super) struct Samples {
    /// How many of those that were told before still hold.
    keep: usize,
    times: Vec<f64>,
    slowest: Vec<u16>,
    median: Vec<u16>,
    fastest: Vec<u16>,
    complete: Vec<u16>,
    curves: BTreeMap<String, Vec<Option<u16>>>,
}

/// What a page was told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    generation: u32,
    count: usize,
}

impl Crowd {
    pub(super) fn new(began: Instant) -> Self {
        Crowd {
            began,
            generation: 1,
            apart: APART,
            times: Vec::new(),
            slowest: Vec::new(),
            median: Vec::new(),
            fastest: Vec::new(),
            complete: Vec::new(),
            curves: BTreeMap::new(),
            downloaders: BTreeMap::new(),
            seeders: 0,
            fastest_sender: 0,
            size: 0,
            pieces: 0,
            first: None,
            last: None,
        }
    }

    /// Seconds since somebody looked first.
    pub(super) fn since(&self, now: Instant) -> f64 {
        now.duration_since(self.began).as_secs_f64()
    }

    /// Looks at all peers, at this second.
    pub(super) fn look(&mut self, now: f64, peers: &[WatchedPeer], size: u64) {
        if self.times.last().is_some_and(|last| now - last < self.apart) {
            return;
        }
        self.size = size.max(self.size);
        let mut before = std::mem::take(&mut self.downloaders);
        self.seeders = 0;
        for peer in peers {
            let progress = peer.progress.as_ref();
            if let Some(progress) = progress {
                (self.size, self.pieces) = (self.size.max(progress.size), self.pieces.max(progress.pieces));
                self.fastest_sender = self.fastest_sender.max(progress.up);
            }
            let was = before.remove(&peer.peer);
            let has = progress.filter(|progress| progress.pieces > 0).map(|progress| {
                let part = u64::from(progress.have) * u64::from(WHOLE) / u64::from(progress.pieces);
                part.min(u64::from(WHOLE)) as u16
            });
            match (peer.role, was, has) {
                (Role::Seeder, Some((had, _)), _) => drop(self.downloaders.insert(peer.peer, (had, WHOLE))),
                (Role::Seeder, None, _) => self.seeders += 1,
                // Not all before it is.
                (Role::Downloader, Some((had, _)), Some(has)) => {
                    self.downloaders.insert(peer.peer, (had, has.min(WHOLE - 1)));
                }
                (Role::Downloader, Some(was), None) => drop(self.downloaders.insert(peer.peer, was)),
                // It counts once it has said how far it is.
                (Role::Downloader, None, Some(has)) if self.downloaders.len() < MOST => {
                    self.downloaders.insert(peer.peer, (has.min(WHOLE - 1), has.min(WHOLE - 1)));
                }
                _ => {}
            }
        }
        // Those who have left with all of it had it.
        self.downloaders.extend(before.into_iter().filter(|(_, (_, has))| *has == WHOLE).take(MOST));
        self.sample(now);
    }

    fn sample(&mut self, now: f64) {
        let mut parts: Vec<u16> = self.downloaders.values().map(|&(_, has)| has).collect();
        let (Some(&some), count) = (parts.first(), parts.len()) else { return };
        debug_assert!(some <= WHOLE);
        self.first.get_or_insert(now);
        parts.sort_unstable();
        let whole = parts.iter().filter(|&&part| part == WHOLE).count();
        self.last = if whole == count { self.last.or(Some(now)) } else { None };
        self.times.push((now * 10.0).round() / 10.0);
        self.slowest.push(parts[0]);
        self.median.push(parts[count / 2]);
        self.fastest.push(parts[count - 1]);
        self.complete.push((whole * usize::from(WHOLE) / count) as u16);
        for (&peer, &(_, has)) in &self.downloaders {
            if self.curves.len() < CURVES || self.curves.contains_key(&peer) {
                let curve = self.curves.entry(peer).or_default();
                curve.resize(self.times.len() - 1, None);
                curve.push(Some(has));
            }
        }
        if self.times.len() >= SAMPLES {
            self.thin_out();
        }
    }

    /// Drops every second sample, and takes half as many from now on.
    fn thin_out(&mut self) {
        fn half<T: Copy>(values: &mut Vec<T>) {
            let kept: Vec<T> = values.iter().step_by(2).copied().collect();
            *values = kept;
        }
        half(&mut self.times);
        for values in [&mut self.slowest, &mut self.median, &mut self.fastest, &mut self.complete] {
            half(values);
        }
        self.curves.values_mut().for_each(half);
        self.apart *= 2.0;
        self.generation += 1;
    }

    /// What a page is to be told.
    pub(super) fn tell(&self, told: &mut Told) -> Samples {
        let keep = if told.generation == self.generation { told.count } else { 0 };
        *told = Told { generation: self.generation, count: self.times.len() };
        let new = |values: &[u16]| values[keep.min(values.len())..].to_vec();
        let curves = self.curves.iter().map(|(peer, curve)| {
            let curve = curve.get(keep..).map(<[_]>::to_vec).unwrap_or_default();
            (peer.to_string()[..16].to_owned(), curve)
        });
        Samples {
            keep,
            times: self.times[keep.min(self.times.len())..].to_vec(),
            slowest: new(&self.slowest),
            median: new(&self.median),
            fastest: new(&self.fastest),
            complete: new(&self.complete),
            curves: curves.collect(),
        }
    }

    /// How it stands at this second, to be judged.
    pub(super) fn standing(&self, now: f64) -> Standing {
        let part = |thousandths: u16| f64::from(thousandths) / f64::from(WHOLE);
        Standing {
            seeders: self.seeders,
            downloaders: self.downloaders.values().map(|&(had, has)| (part(had), part(has))).collect(),
            size: self.size,
            pieces: self.pieces,
            fastest: self.fastest_sender,
            elapsed: self.last.unwrap_or(now) - self.first.unwrap_or(now),
        }
    }

    /// When the first downloader was seen, and what the one that had least had then, in thousandths.
    pub(super) fn start(&self) -> Option<(f64, u16)> {
        let least = self.downloaders.values().map(|&(had, _)| had).min()?;
        self.first.map(|first| (first, least))
    }
}

#[cfg(test)]
mod tests {
    use tracker::PeerProgress;

    use super::*;

    fn peer(n: u16, role: Role, have: Option<u32>) -> WatchedPeer {
        let progress =
            have.map(|have| PeerProgress { have, pieces: 100, size: 1 << 20, up: 7, ..PeerProgress::default() });
        WatchedPeer { peer: PeerId::of_public_key(&n.to_be_bytes()), address: None, role, progress }
    }

    fn crowd() -> Crowd {
        Crowd::new(Instant::now())
    }

    #[test]
    fn downloaders_are_counted_from_where_they_begin_and_seeders_are_not() {
        let mut crowd = crowd();
        let seeder = peer(0, Role::Seeder, Some(100));
        crowd.look(0.0, &[seeder.clone(), peer(1, Role::Downloader, None)], 0);
        assert!(crowd.times.is_empty(), "nobody has said how far it is");
        crowd.look(1.0, &[seeder.clone(), peer(1, Role::Downloader, Some(10)), peer(2, Role::Downloader, Some(0))], 0);
        crowd.look(2.0, &[seeder.clone(), peer(1, Role::Seeder, None), peer(2, Role::Downloader, Some(50))], 0);
        let standing = crowd.standing(2.0);
        let mut parts = standing.downloaders.clone();
        parts.sort_by(f64_pairs);
        assert_eq!(parts, [(0.0, 0.5), (0.1, 1.0)]);
        assert_eq!((standing.seeders, standing.fastest, standing.elapsed), (1, 7, 1.0));
        assert_eq!(
            (&crowd.slowest[..], &crowd.fastest[..], &crowd.complete[..]),
            (&[0, 500][..], &[100, 1000][..], &[0, 500][..])
        );
        // One leaves when it has all, the other in the middle.
        crowd.look(3.0, &[seeder], 0);
        assert_eq!(crowd.standing(9.0).downloaders, [(0.1, 1.0)]);
        assert_eq!(crowd.standing(9.0).elapsed, 2.0, "the clock stops with the last");
    }

    fn f64_pairs(one: &(f64, f64), other: &(f64, f64)) -> std::cmp::Ordering {
        one.partial_cmp(other).unwrap()
    }

    #[test]
    fn however_long_somebody_looks_so_many_samples_are_kept() {
        let mut crowd = crowd();
        let mut told = Told::default();
        let mut page: Vec<f64> = Vec::new();
        for second in 0..5000_u32 {
            let peers: Vec<_> = (0..150).map(|n| peer(n, Role::Downloader, Some((second / 60).min(99)))).collect();
            if second % 3 == 0 || second < 1000 {
                crowd.look(f64::from(second), &peers, 0);
            }
            let samples = crowd.tell(&mut told);
            page.truncate(samples.keep);
            page.extend(samples.times);
            if second > 1500 {
                break;
            }
        }
        assert!(crowd.times.len() < SAMPLES && crowd.curves.len() == CURVES);
        assert!(crowd.curves.values().all(|curve| curve.len() == crowd.times.len()));
        assert_eq!(page, crowd.times);
        assert_eq!(crowd.times[0], 0.0, "the beginning is kept");
    }

    #[test]
    fn however_many_look_samples_are_a_second_apart() {
        let mut crowd = crowd();
        let peers = [peer(1, Role::Downloader, Some(1))];
        [0.0, 0.1, 0.5, 1.0, 1.2, 2.0].iter().for_each(|&now| crowd.look(now, &peers, 0));
        assert_eq!(crowd.times, [0.0, 1.0, 2.0]);
    }
}
