//! Certificates that end while a connection stands: it ends with them. A handshake is the only time at which rustls looks
//! at dates, and connections of a swarm last for months. That one of this process is about to end is said before.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::{Identity, Trust};

/// What the other side hears. It cannot be said whose certificate it is: each side closes when either has ended.
pub(crate) const REASON: &str = "a certificate of this connection has expired";
/// The clock is looked at this often at least: it may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(10);

/// So long before a certificate ends that is said, once a day.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Time between two looks at that.
const LOOK_AHEAD: Duration = Duration::from_secs(60 * 60);

/// The earliest expiry of this process's own certificates and their CA, in seconds since 1970; `u64::MAX` if there is
/// none.
static FIRST: AtomicU64 = AtomicU64::new(u64::MAX);

/// When the first certificate ends of those that this process shows others, or the CA that has signed it. Nothing in an open swarm.
pub fn first_expiry() -> Option<SystemTime> {
    let seconds = FIRST.load(Ordering::Relaxed);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).filter(|_| seconds < u64::MAX)
}

/// Says in the log that a certificate ends soon, once a day from 30 days before, and at once if that is so already. Runs until it is dropped.
pub async fn warn_of_expiry() {
    let mut said = None;
    loop {
        let now = SystemTime::now();
        if let Some(days) = first_expiry().and_then(|until| days_to_say(now, until, said)) {
            said = Some(now);
            tracing::warn!(
                "all connections of this program end in {days} days, with its certificate or that of its CA. Have it made anew, for the \
                 same key, by `tracker --init-closed` (that of a CA with --rotate), and start again"
            );
        }
        sleep(LOOK_AHEAD).await;
    }
}

/// How many days a certificate is still valid, if that is to be said now.
fn days_to_say(now: SystemTime, until: SystemTime, said: Option<SystemTime>) -> Option<u64> {
    let left = until.duration_since(now).ok().filter(|left| *left <= SOON)?;
    // A clock that was set back has nothing to say.
    let is_due = said.is_none_or(|said| now.duration_since(said).is_ok_and(|since| since >= DAY));
    is_due.then_some(left.as_secs() / DAY.as_secs())
}

/// How long connections of an identity may last.
#[derive(Clone)]
pub(crate) struct Expiry {
    trust: Trust,
    ours: Option<SystemTime>,
}

impl Expiry {
    pub(crate) fn new(identity: &Identity, trust: &Trust) -> Self {
        let ours = trust.until(identity.certificate());
        if let Some(since) = ours.and_then(|until| until.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            FIRST.fetch_min(since.as_secs(), Ordering::Relaxed);
        }
        Expiry { trust: trust.clone(), ours }
    }

    /// When a connection to the holder of this certificate ends; never, if neither has an end that matters.
    pub(crate) fn with(&self, theirs: Option<&CertificateDer<'_>>) -> Option<SystemTime> {
        let theirs = theirs.and_then(|certificate| self.trust.until(certificate));
        [self.ours, theirs].into_iter().flatten().min()
    }

    /// Calls `look` until it says that the connection is gone, and with true once its time is over.
    pub(crate) fn watch(
        &self,
        thread: &Handle,
        until: Option<SystemTime>,
        look: impl Fn(bool) -> bool + Send + 'static,
    ) {
        let (Some(until), ours) = (until, self.ours) else { return };
        thread.spawn(async move {
            loop {
                let left = until.duration_since(SystemTime::now()).unwrap_or_default();
                if left.is_zero() && ours == Some(until) {
                    static SAID: Once = Once::new();
                    SAID.call_once(|| {
                        tracing::warn!(
                            "this side's certificate has expired: its connections end, and nobody takes it any more. Have it \
                             made anew, for the same key, by `tracker --init-closed`, and start again"
                        );
                    });
                }
                if look(left.is_zero()) {
                    return;
                }
                sleep(left.min(LOOK)).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_said_once_a_day_from_a_month_before() {
        let now = SystemTime::UNIX_EPOCH + 1000 * DAY;
        assert_eq!(days_to_say(now, now + 31 * DAY, None), None);
        assert_eq!(days_to_say(now, now + 30 * DAY, None), Some(30));
        assert_eq!(days_to_say(now, now + 20 * DAY, Some(now - DAY / 2)), None);
        assert_eq!(days_to_say(now, now + 20 * DAY, Some(now - DAY)), Some(20));
        assert_eq!(days_to_say(now, now + DAY / 2, Some(now - DAY)), Some(0));
        assert_eq!(days_to_say(now, now - DAY, None), None, "that is said elsewhere");
        assert_eq!(days_to_say(now, now + 20 * DAY, Some(now + DAY)), None);
    }
}
