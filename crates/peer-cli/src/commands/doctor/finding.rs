//! One thing that was looked at: how it is, and what to do about it.

use peer::json::{self, Event};

use crate::error::ExitCode;

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

    pub(super) fn words(&self) -> Vec<String> {
        let found = format!("{:8} {:9} {}", self.status(), self.name, self.found);
        let advice = (!self.advice.is_empty()).then(|| format!("{:19}-> {}", "", self.advice));
        std::iter::once(found).chain(advice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_to_do() {
        let poor = Finding::poor("buffers", "small", "make them large");
        assert_eq!(poor.words(), ["poor     buffers   small", "                   -> make them large"]);
        assert_eq!(
            poor.event().line(),
            r#"{"v":1,"event":"check","check":"buffers","status":"poor","found":"small","advice":"make them large"}"#
        );
        assert_eq!(Finding::good("clock", "right").words(), ["good     clock     right"]);
    }
}
