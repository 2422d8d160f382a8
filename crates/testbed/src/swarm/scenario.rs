//! The eight scripted runs of the original class project, by their numbers.

use std::path::Path;

use anyhow::ensure;

use super::{Arguments, Plan};

const SHORT: &str = "0short_story.txt";
const STORY_10X: &str = "1short_story_10x.txt";
const STORY_100X: &str = "2short_story_100x.txt";
const LOREM: &str = "3lorem_ipsum.txt";

/// The run with this number, over the sample texts of a folder.
pub fn plan(number: u8, arguments: &Arguments, samples: &Path) -> anyhow::Result<Plan> {
    let (names, seeders, downloaders): (&[&str], Vec<Vec<String>>, Vec<Vec<usize>>) = match number {
        // Three seeders that lack five different pieces each.
        1 => (&[SHORT], [0, 5, 10].map(|first| lacking(first..first + 5)).to_vec(), vec![vec![0]]),
        // Five seeders with a fifth each.
        2 => (&[SHORT], (0..5).map(|n| range(2 * n, 2 * n + 2)).collect(), vec![vec![0]]),
        // Nine seeders whose ranges overlap; the largest file, then another.
        3 => (&[STORY_100X], overlapping(), vec![vec![0]]),
        4 => (&[LOREM], overlapping(), vec![vec![0]]),
        // The same with three downloaders.
        5 => (&[STORY_100X], overlapping(), vec![vec![0]; 3]),
        // The same with four downloaders of four files.
        6 => (&[SHORT, STORY_10X, STORY_100X, LOREM], overlapping(), (0..4).map(|file| vec![file]).collect()),
        // One full seeder, and five downloaders or two.
        7 => (&[STORY_10X], vec![Vec::new()], vec![vec![0]; 5]),
        _ => (&[STORY_10X], vec![Vec::new()], vec![vec![0]; 2]),
    };
    let files: Vec<_> = names.iter().map(|name| samples.join(name)).collect();
    for file in &files {
        ensure!(file.is_file(), "the sample text {} is missing", file.display());
    }
    Ok(Plan::new(arguments, files, seeders, downloaders))
}

/// 0-20 %, 10-30 %, … 80-100 %.
fn overlapping() -> Vec<Vec<String>> {
    (0..9).map(|n| range(n, n + 2)).collect()
}

/// Holds pieces from `from` to `to` tenths.
fn range(from: u32, to: u32) -> Vec<String> {
    ["-r1".to_owned(), format!("0.{from}"), "-r2".to_owned(), format!("{}.{}", to / 10, to % 10)].to_vec()
}

fn lacking(pieces: std::ops::Range<u32>) -> Vec<String> {
    std::iter::once("-m".to_owned()).chain(pieces.map(|piece| piece.to_string())).collect()
}
