//! When a share is over that stands for a certain time.

use std::time::Duration;

pub(super) use peer::Moment;

/// How often the clock is looked at while something is to expire: timers stand still while the machine sleeps.
const CLOCK: Duration = Duration::from_secs(5);

/// Waits until this time is over since then; for ever if there is none.
pub(super) async fn expired(expires: Option<Duration>, since: Moment) {
    let Some(time) = expires else { return std::future::pending().await };
    while let Some(left) = time.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) {
        tokio::time::sleep(left.min(CLOCK)).await;
    }
}
