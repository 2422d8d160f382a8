//! One thing that was looked at: how it is, and what to do about it.

use peer::json::{self, Event};

use crate::error::ExitCode;
use crate::ui::columns::wrapped_around_commands;

/// Columns before what was found.
const INDENT: usize = 19;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// It works, but something is lost.
    Poor,
    /// It does not work; the exit status that a transfer would end with.
    Bad(ExitCode),
    /// It could not be tried.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) found: String,
    /// What to do; empty if nothing is.
    pub(super) advice: String,
}

impl Finding {
    pub(super) fn good(name: &'static str, found: impl Into<String>) -> Self {
        Finding { name, verdict: Verdict::Good, found: found.into(), advice: String::new() }
    }

    pub(super) fn poor(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { name, verdict: Verdict::Poor, found: found.into(), advice: advice.into() }
    }

    pub(super) fn bad(name: &'static str, code: ExitCode, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { name, verdict: Verdict::Bad(code), found: found.into(), advice: advice.into() }
    }

    pub(super) fn skipped(name: &'static str, found: impl Into<String>) -> Self {
        Finding { name, verdict: Verdict::Skipped, found: found.into(), advice: String::new() }
    }

    /// The same where something else takes its place: something is lost at most.
    pub(super) fn that_others_make_up_for(self) -> Self {
        match self.verdict {
            Verdict::Bad(_) => Finding { verdict: Verdict::Poor, ..self },
            _ => self,
        }
    }

    pub(super) fn status(&self) -> &'static str {
        match self.verdict {
            Verdict::Good => "good",
            Verdict::Poor => "poor",
            Verdict::Bad(_) => "bad",
            Verdict::Skipped => "skipped",
        }
    }

    pub(super) fn event(&self) -> Event {
        let (found, advice) = (self.found.clone(), self.advice.clone());
        Event::Check(json::Check { check: self.name.into(), status: self.status().into(), found, advice })
    }

    /// In lines of so many columns, if they are for a terminal. What does not fit goes on below its beginning, unless it is narrow.
    pub(super) fn words(&self, columns: Option<usize>) -> Vec<String> {
        let found = format!("{:8} {:9} {}", self.status(), self.name, self.found);
        let advice = (!self.advice.is_empty()).then(|| format!("{:19}-> {}", "", self.advice));
        let lines = std::iter::once(found).chain(advice);
        let Some(columns) = columns else { return lines.collect() };
        let indent = if columns >= 2 * INDENT { INDENT } else { 0 };
        lines.flat_map(|line| indented(&line, columns, indent)).collect()
    }
}

/// A line, and what does not fit into it below, so far to the right.
fn indented(line: &str, columns: usize, indent: usize) -> Vec<String> {
    let (heading, text) = line.split_at(indent);
    let lines = wrapped_around_commands(text, columns - indent).into_iter().enumerate();
    lines
        .map(|(number, text)| if number == 0 { format!("{heading}{text}") } else { format!("{:indent$}{text}", "") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_to_do() {
        let poor = Finding::poor("buffers", "small", "make them large");
        assert_eq!(poor.words(None), ["poor     buffers   small", "                   -> make them large"]);
        assert_eq!(
            poor.event().line(),
            r#"{"v":1,"event":"check","check":"buffers","status":"poor","found":"small","advice":"make them large"}"#
        );
        assert_eq!(Finding::good("clock", "right").words(None), ["good     clock     right"]);
    }

    #[test]
    fn what_does_not_fit_goes_on_below() {
        let poor = Finding::poor("buffers", "the kernel grants little", "make them large");
        let wide = [
            "poor     buffers   the kernel grants",
            "                   little",
            "                   -> make them large",
        ];
        assert_eq!(poor.words(Some(38)), wide);
        assert_eq!(poor.words(Some(80)).len(), 2);
        let narrow = ["poor     buffers  ", "the kernel grants", "little"];
        assert_eq!(poor.words(Some(20))[..3], narrow);
    }
}
