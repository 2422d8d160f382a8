//! The chart: one bar for each subject, by its rate.

use std::fmt::Write;

use super::Measured;

const ROW: usize = 24;
const LABELS: usize = 230;
const BARS: usize = 520;

/// An SVG of the medians, with the range of the rounds as a thin line.
pub fn svg(all: &[Measured], title: &str) -> String {
    let fastest = all.iter().flat_map(Measured::rates).fold(1.0, f64::max);
    let (width, height) = (LABELS + BARS + 90, ROW * all.len() + 50);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n<text x=\"10\" y=\"22\" \
         font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    let x = |rate: f64| LABELS as f64 + rate / fastest * BARS as f64;
    for (at, measured) in all.iter().enumerate() {
        let (top, rate, rates) = (36 + at * ROW, measured.rate(), measured.rates());
        let colour = if measured.name.starts_with("floor") { "#b8bec6" } else { "#2f6fb3" };
        let (least, most) = (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max));
        let ratio = measured.ratio(all).map_or_else(String::new, |ratio| format!(" ({ratio:.2})"));
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{}\">{}</text><rect x=\"{LABELS}\" y=\"{}\" width=\"{:.1}\" height=\"14\" \
             fill=\"{colour}\"/><line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{1}\" y2=\"{1}\" transform=\"translate(0 3)\" \
             stroke=\"#222\"/><text x=\"{:.1}\" y=\"{0}\">{rate:.0}{ratio}</text>",
            top + 12,
            escaped(&measured.name),
            top + 1,
            x(rate) - LABELS as f64,
            x(least),
            x(most),
            x(most) + 6.0,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
