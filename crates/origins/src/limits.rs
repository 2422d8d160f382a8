//! How long an origin is waited for, and how often it is asked again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::OriginError;

/// Told of what fails and is tried again, and for how much longer it is.
type Hear = dyn Fn(&OriginError, Duration) + Send + Sync;

/// Who is told of what fails and is tried again.
#[derive(Clone, Default)]
struct OnRetry(Option<Arc<Hear>>);

impl fmt::Debug for OnRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "OnRetry" } else { "None" })
    }
}

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
    on_retry: OnRetry,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            answer: Duration::from_secs(30),
            window: Duration::from_secs(20),
            least: 64 << 10,
            patience: Duration::from_secs(60),
            pause: Duration::from_millis(250),
            on_retry: OnRetry::default(),
        }
    }
}

/// The longest pause between two tries, unless the origin asks for a longer one.
const LONGEST: Duration = Duration::from_secs(8);
/// What fails for less than this is not told of.
const UNTOLD: Duration = Duration::from_secs(2);
/// For how long it is tried to find a host that has not been found before: most such names are mistyped.
const RESOLVING: Duration = Duration::from_secs(12);

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

    /// Tells of what has failed for a moment and is tried again: why, and for how much longer it is tried.
    pub fn on_retry(self, hear: impl Fn(&OriginError, Duration) + Send + Sync + 'static) -> Self {
        Limits { on_retry: OnRetry(Some(Arc::new(hear))), ..self }
    }

    /// For how long what fails so is tried again. `came` says whether anything has come from there before.
    pub(crate) fn patience_with(&self, error: &OriginError, came: bool) -> Duration {
        match error {
            OriginError::Unresolved { .. } if !came => self.patience.min(RESOLVING),
            _ => self.patience,
        }
    }

    /// Nothing has come for so long, and it is tried again after a pause, for as long as there is patience.
    pub(crate) fn tell_retry(&self, error: &OriginError, elapsed: Duration, pause: Duration, patience: Duration) {
        if let OnRetry(Some(hear)) = &self.on_retry
            && elapsed + pause >= UNTOLD
        {
            hear(error, patience.saturating_sub(elapsed));
        }
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
