//! How long an origin is waited for, and how often it is asked again.

use std::time::Duration;

use crate::OriginError;

/// How long an origin is waited for. Every wait has an end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// For a connection, and for the beginning of an answer.
    pub answer: Duration,
    /// In each such time at least [`least`](Limits::least) bytes come, or the answer is given up and the rest is asked for anew.
    pub window: Duration,
    /// See [`window`](Limits::window).
    pub least: u64,
    /// For how long it is tried again and again while nothing at all comes.
    pub patience: Duration,
    /// The first pause between two tries; each is up to twice as long as the one before.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            answer: Duration::from_secs(30),
            window: Duration::from_secs(20),
            least: 64 << 10,
            patience: Duration::from_secs(60),
            pause: Duration::from_millis(250),
        }
    }
}

/// The longest pause between two tries, unless the origin asks for a longer one.
const LONGEST: Duration = Duration::from_secs(8);

impl Limits {
    /// Waits this long at most for an answer.
    pub fn answer(self, answer: Duration) -> Self {
        Limits { answer, ..self }
    }

    /// In each such time at least so many bytes come.
    pub fn window(self, window: Duration, least: u64) -> Self {
        Limits { window, least, ..self }
    }

    /// Tries again for this long while nothing comes.
    pub fn patience(self, patience: Duration) -> Self {
        Limits { patience, ..self }
    }

    /// Pauses at least about this long between two tries.
    pub fn pause(self, pause: Duration) -> Self {
        Limits { pause, ..self }
    }

    /// How long to wait before try number `tries` (from 1 on) is made again: random, so that those who failed together do not come
    /// back together.
    pub(crate) fn pause_after(&self, tries: u32, error: &OriginError) -> Duration {
        let asked = match error {
            OriginError::Unreachable { retry_after, .. } => retry_after.map(Duration::from_secs).unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let most = self.pause.saturating_mul(1 << tries.min(16)).min(LONGEST);
        most.mul_f64(0.5 + fastrand::f64() / 2.0).max(asked)
    }
}
