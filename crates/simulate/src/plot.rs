//! Charts: when each peer completes, how many copies of the rarest piece exist, and how much seeders sent.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use sim::Sample;

use super::runs::Done;

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 66.0;
const GAP: f64 = 58.0;
const LEGEND: f64 = 190.0;
const COLOURS: [&str; 6] = ["#2f6fb3", "#c0504d", "#4f9d4f", "#8064a2", "#d08a2e", "#4bacc6"];

/// One of the pictures: what it is called, and a line or two of each run.
struct Panel {
    title: &'static str,
    solid: fn(&Sample) -> f64,
    dashed: Option<fn(&Sample) -> f64>,
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "Complete downloads (dashed: pieces that are there), %",
        solid: |sample| 100.0 * sample.done,
        dashed: Some(|sample| 100.0 * sample.pieces),
    },
    Panel {
        title: "Copies of the rarest piece (dashed: of a piece, on average)",
        solid: |sample| f64::from(sample.least_copies),
        dashed: Some(|sample| sample.mean_copies),
    },
    Panel { title: "Copies that seeders have sent", solid: |sample| sample.seeded, dashed: None },
];

/// Writes a picture for each plan that was run with one seed, with a colour for each size.
pub(super) fn write(all: &[Done], folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut plans: BTreeMap<&str, Vec<&Done>> = BTreeMap::new();
    for done in all {
        plans.entry(&done.plan.name).or_default().push(done);
    }
    for (name, runs) in plans {
        let stem = Path::new(name).file_stem().unwrap_or_default();
        let path = folder.join(stem).with_extension("svg");
        std::fs::write(&path, svg(&runs)).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("{}", path.display());
    }
    Ok(())
}

fn svg(runs: &[&Done]) -> String {
    let (width, height) = (LEFT + WIDTH + LEGEND, TOP + PANELS.len() as f64 * (HEIGHT + GAP));
    let plan = &runs[0].plan;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n<text x=\"10\" y=\"22\" \
         font-size=\"15\" font-weight=\"bold\">{}</text>\n<text x=\"10\" y=\"40\" fill=\"#555\">{}</text>\n",
        escaped(&plan.name),
        escaped(&plan.about)
    );
    let samples = || runs.iter().flat_map(|done| &done.outcomes).flat_map(|outcome| &outcome.samples);
    let end = samples().map(|sample| sample.at).fold(1.0, f64::max);
    for (at, panel) in PANELS.iter().enumerate() {
        let top = TOP + at as f64 * (HEIGHT + GAP);
        let highest =
            samples().flat_map(|sample| [(panel.solid)(sample), panel.dashed.map_or(0.0, |line| line(sample))]);
        let most = highest.fold(0.0, f64::max).max(1.0);
        frame(&mut svg, panel.title, top, end, most);
        for (number, outcome) in runs.iter().flat_map(|done| &done.outcomes).enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let mut line = |of: fn(&Sample) -> f64, style: &str| {
                let point = |sample: &Sample| {
                    let (x, y) = (LEFT + sample.at / end * WIDTH, top + HEIGHT * (1.0 - of(sample) / most));
                    format!("{x:.1},{y:.1}")
                };
                let points: Vec<String> = outcome.samples.iter().map(point).collect();
                let points = points.join(" ");
                let _ = writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\"{style}/>");
            };
            if let Some(dashed) = panel.dashed {
                line(dashed, " stroke-dasharray=\"4 3\" stroke-opacity=\"0.7\"");
            }
            line(panel.solid, " stroke-width=\"1.8\"");
        }
    }
    let x = LEFT + WIDTH + 14.0;
    for (number, (done, outcome)) in
        runs.iter().flat_map(|done| done.outcomes.iter().map(move |it| (done, it))).enumerate()
    {
        let y = TOP + 14.0 + 34.0 * number as f64;
        let colour = COLOURS[number % COLOURS.len()];
        let last = outcome
            .last()
            .map_or("never".to_owned(), |last| format!("{last:.1} s, {:.3} of the bound", last / outcome.bound));
        let untold = if done.plan.sites_told { "" } else { ", sites untold" };
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"{y}\">{} peers, {} pieces{untold}</text>\
             <text x=\"{1}\" y=\"{}\" fill=\"#555\">{last}</text>",
            y - 9.0,
            x + 15.0,
            done.plan.peers,
            done.plan.pieces,
            y + 14.0,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Axes with round numbers, and lines to read them by.
fn frame(svg: &mut String, title: &str, top: f64, end: f64, most: f64) {
    let bottom = top + HEIGHT;
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\">{title}</text>", top - 7.0);
    for value in ticks(most) {
        let y = bottom - value / most * HEIGHT;
        let right = LEFT + WIDTH;
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\" fill=\"#555\">{value}</text>",
            LEFT - 6.0,
            y + 4.0,
        );
    }
    for value in ticks(end) {
        let x = LEFT + value / end * WIDTH;
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"#eee\"/><text x=\"{x:.1}\" y=\"{}\" \
             text-anchor=\"middle\" fill=\"#555\">{value} s</text>",
            bottom + 15.0,
        );
    }
}

/// Four to nine round numbers from 0 on.
fn ticks(most: f64) -> Vec<f64> {
    let rough = most / 8.0;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    (0..=(most / step).floor() as u32).map(|number| rounded(f64::from(number) * step)).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_carry_few_round_numbers() {
        assert_eq!(ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        for most in [1.0, 1.5, 7.0, 43.2, 99.9, 1234.0] {
            assert!((4..=9).contains(&ticks(most).len()), "{most}: {:?}", ticks(most));
        }
    }
}
