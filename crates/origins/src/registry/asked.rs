//! The login for a registry. It is asked for when the registry first wants one, and again when it is no longer accepted: those of cloud
//! registries hold for some hours. Where there was none it is asked for again, too: a helper program may have failed. Such a program may take
//! its time, so that this is done aside, by one at a time, and not often.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::credentials::Credentials;

/// Gives the credentials for a registry, if there are any. It may take some seconds.
pub type Login = Arc<dyn Fn() -> Option<Credentials> + Send + Sync>;

/// A login is asked for again after this time at the earliest.
const AGAIN: Duration = Duration::from_secs(60);

/// What is asked for a login, and what it said last.
pub(super) struct Asked {
    login: Option<Login>,
    /// What it said, and when it was asked.
    known: Arc<Mutex<Option<Known>>>,
}

struct Known {
    since: Instant,
    login: Option<Credentials>,
}

impl Asked {
    pub(super) fn new(login: Option<Login>) -> Self {
        Asked { login, known: Arc::default() }
    }

    /// Whether anything can be asked for one.
    pub(super) fn is_some(&self) -> bool {
        self.login.is_some()
    }

    /// The login. Those who need it at once for the first time ask once.
    pub(super) async fn get(&self) -> Option<Credentials> {
        let login = self.login.clone()?;
        let mut known = self.known.clone().lock_owned().await;
        let is_none = |known: &mut Known| known.login.is_none() && known.since.elapsed() >= AGAIN;
        known.take_if(is_none);
        if let Some(known) = &*known {
            return known.login.clone();
        }
        // It is remembered even if the one who needs it has gone.
        let asking = spawn_blocking(move || {
            let (since, login) = (Instant::now(), login());
            *known = Some(Known { since, login: login.clone() });
            login
        });
        asking.await.ok().flatten()
    }

    /// The login is not accepted: it is asked for again, unless that was done a moment ago. Whether it will be.
    pub(super) async fn is_refused(&self) -> bool {
        let mut known = self.known.lock().await;
        known.take_if(|known| known.since.elapsed() >= AGAIN).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn of(login: &str) -> Credentials {
        Credentials::Basic(login.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_is_asked_for_when_it_is_needed_and_again_when_it_is_refused() {
        let times = Arc::new(AtomicU32::new(0));
        let counted = times.clone();
        let login: Login = Arc::new(move || Some(of(&counted.fetch_add(1, Ordering::SeqCst).to_string())));
        let asked = Asked::new(Some(login));
        assert!(!asked.is_refused().await);
        assert_eq!(times.load(Ordering::SeqCst), 0, "nobody needs it");
        let (one, other) = tokio::join!(asked.get(), asked.get());
        assert_eq!((one, other), (Some(of("0")), Some(of("0"))));
        assert!(!asked.is_refused().await, "it was asked for a moment ago");
        assert_eq!(asked.get().await, Some(of("0")));
        tokio::time::advance(AGAIN).await;
        assert!(asked.is_refused().await);
        assert!(!asked.is_refused().await);
        assert_eq!(asked.get().await, Some(of("1")));
        let none = Asked::new(None);
        assert_eq!((none.get().await, none.is_refused().await), (None, false));
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_was_none_it_is_asked_for_again() {
        let times = Arc::new(AtomicU32::new(0));
        let counted = times.clone();
        // A helper program fails once.
        let login: Login = Arc::new(move || (counted.fetch_add(1, Ordering::SeqCst) > 0).then(|| of("a")));
        let asked = Asked::new(Some(login));
        assert_eq!((asked.get().await, asked.get().await), (None, None));
        assert_eq!(times.load(Ordering::SeqCst), 1, "not at once");
        tokio::time::advance(AGAIN).await;
        assert_eq!(asked.get().await, Some(of("a")));
        tokio::time::advance(AGAIN).await;
        assert_eq!(asked.get().await, Some(of("a")));
        assert_eq!(times.load(Ordering::SeqCst), 2, "it is accepted");
    }
}
