//! A rate cap: bytes are paid for before they are sent, or after they came.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// A token bucket. Whoever takes more than is in it goes into debt and sleeps it off, so that large pieces pass
/// too, and the average is kept exactly.
pub(crate) struct RateCap {
    bytes_a_second: Option<f64>,
    state: Mutex<(Instant, f64)>,
}

/// What may be saved up while nothing is sent.
const BURST: Duration = Duration::from_millis(50);

impl RateCap {
    /// No cap if there is no rate.
    pub(crate) fn new(bytes_a_second: Option<u64>) -> Self {
        let rate = bytes_a_second.map(|rate| rate.max(1) as f64);
        RateCap { bytes_a_second: rate, state: Mutex::new((Instant::now(), 0.0)) }
    }

    /// Takes `bytes` and waits until they were due.
    pub(crate) async fn take(&self, bytes: usize) {
        let Some(rate) = self.bytes_a_second else { return };
        let wait = {
            let mut state = self.state.lock().expect("no panic holds it");
            let (last, saved) = &mut *state;
            let now = Instant::now();
            *saved = (*saved + (now - *last).as_secs_f64() * rate).min(BURST.as_secs_f64() * rate) - bytes as f64;
            *last = now;
            Duration::from_secs_f64((-*saved / rate).max(0.0))
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Bytes to take at a time: small enough that a slow cap flows rather than bursts.
    pub(crate) fn step(&self) -> usize {
        self.bytes_a_second.map_or(usize::MAX, |rate| ((rate / 20.0) as usize).clamp(1024, 256 << 10))
    }
}
