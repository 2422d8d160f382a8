//! The result of a case: measurements and their limits, as a table row or as JSON.

use std::fmt;

use serde::Serialize;

/// One figure of a case.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// What came of it.
    pub figure: String,
    /// What it may be.
    pub limit: String,
    /// Whether it is.
    pub passed: bool,
}

/// All that a case found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The case.
    pub case: String,
    /// What was done to the swarm.
    pub fault: String,
    /// Its figures.
    pub checks: Vec<Check>,
}

impl Report {
    /// Nothing is known yet.
    pub fn new(case: &str, fault: &str) -> Self {
        Report { case: case.to_owned(), fault: fault.to_owned(), checks: Vec::new() }
    }

    /// A number that may be so large.
    pub fn at_most(&mut self, what: &str, figure: f64, limit: f64, unit: &str) {
        self.add(what, number(figure, unit), format!("≤ {}", number(limit, unit)), figure <= limit);
    }

    /// A number that must be so large.
    pub fn at_least(&mut self, what: &str, figure: f64, limit: f64, unit: &str) {
        self.add(what, number(figure, unit), format!("≥ {}", number(limit, unit)), figure >= limit);
    }

    /// Something that must be so.
    pub fn holds(&mut self, what: &str, so: bool) {
        self.add(what, if so { "yes" } else { "no" }.to_owned(), "yes".to_owned(), so);
    }

    /// A figure without a limit.
    pub fn shows(&mut self, what: &str, figure: &str) {
        self.add(what, figure.to_owned(), "-".to_owned(), true);
    }

    /// The case could not be seen through.
    pub fn broke(&mut self, error: &anyhow::Error) {
        self.add("seen through", format!("{error:#}"), "yes".to_owned(), false);
    }

    fn add(&mut self, what: &str, figure: String, limit: String, passed: bool) {
        self.checks.push(Check { what: what.to_owned(), figure, limit, passed });
    }

    /// Whether everything is as it should be.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.passed)
    }
}

fn number(figure: f64, unit: &str) -> String {
    let digits = if figure.fract() == 0.0 || figure >= 1000.0 { 0 } else { 2 };
    format!("{figure:.digits$} {unit}").trim_end().to_owned()
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Check { what, figure, limit, passed } = self;
        let failed = if *passed { "" } else { "FAILED: " };
        match &**limit {
            "yes" if *passed => write!(f, "{what}"),
            "-" => write!(f, "{what} {figure}"),
            limit => write!(f, "{failed}{what} {figure} ({limit})"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "pass" } else { "FAIL" };
        write!(f, "{verdict}  {:18}  {}: ", self.case, self.fault)?;
        let checks: Vec<_> = self.checks.iter().map(Check::to_string).collect();
        f.write_str(&checks.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_figure_beyond_its_limit_fails_the_case() {
        let mut report = Report::new("case", "a fault");
        assert!(!report.passed(), "a case that looked at nothing shows nothing");
        report.at_most("time", 1.5, 2.0, "s");
        report.holds("equal", true);
        assert_eq!(report.to_string(), "pass  case                a fault: time 1.50 s (≤ 2 s); equal");
        report.at_least("peers", 1.0, 2.0, "");
        assert!(!report.passed());
        assert!(report.to_string().ends_with("FAILED: peers 1 (≥ 2)"), "{report}");
    }
}
