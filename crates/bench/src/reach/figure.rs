//! A figure beside what it is to be.

use std::fmt;

/// What a figure is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// It explains another one.
    None,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What it is of, and its unit.
    pub what: String,
    pub value: f64,
    pub target: Target,
    /// Whether it says something of the programs: not if the machine was the limit.
    pub counts: bool,
}

impl Figure {
    /// One that counts.
    pub fn new(what: impl Into<String>, value: f64, target: Target) -> Self {
        Figure { what: what.into(), value, target, counts: true }
    }

    /// Whether it counts, and is not what it is to be.
    pub fn is_missed(&self) -> bool {
        self.counts
            && match self.target {
                Target::AtMost(most) => self.value > most,
                Target::AtLeast(least) => self.value < least,
                Target::None => false,
            }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, target) = match self.target {
            Target::AtMost(most) => ("<=", most),
            Target::AtLeast(least) => (">=", least),
            Target::None => return write!(f, "{:58}{:12.3}", self.what, self.value),
        };
        let verdict = match (self.counts, self.is_missed()) {
            (false, _) => "does not count",
            (true, true) => "missed",
            (true, false) => "held",
        };
        write!(f, "{:58}{:12.3}{:>12}  {verdict}", self.what, self.value, format!("{sign} {target}"))
    }
}

/// The middle one; of an even number the larger of the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_beyond_its_target_is_missed_unless_it_does_not_count() {
        let figure = Figure::new("last of 20, copies", 1.2, Target::AtMost(1.15));
        assert!(figure.is_missed() && figure.to_string().ends_with("1.200     <= 1.15  missed"), "{figure}");
        let uncounted = Figure { counts: false, ..figure };
        assert!(!uncounted.is_missed() && uncounted.to_string().ends_with("does not count"));
        assert!(!Figure::new("", 0.9, Target::AtLeast(0.9)).is_missed());
        assert!(Figure::new("", 0.89, Target::AtLeast(0.9)).is_missed());
        assert!(!Figure::new("", 7.0, Target::None).is_missed());
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![2.0, 1.0]), 2.0);
    }
}
