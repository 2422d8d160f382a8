//! Names of contents that a ticket or the user has named by their ids: they come with the manifests, which are asked for once somebody
//! wants a name that nothing else has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peer::ContentId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::error::Refusal;
use crate::swarm::Swarm;

/// Longest wait for a manifest, from when it was asked for: one that does not come delays nobody after that.
const WAIT: Duration = Duration::from_secs(10);

/// A content of the swarm of that number.
type Place = (usize, ContentId);

/// The names that are known, and those that are on their way.
pub(crate) struct Names {
    /// Since when each is asked for, and the name: empty of what will never come.
    known: Mutex<HashMap<Place, (Instant, Option<String>)>>,
    changed: watch::Sender<()>,
}

impl Names {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Names { known: Mutex::default(), changed: watch::channel(()).0 })
    }

    /// A content whose name fits, and that name. Fails if one may fit whose name does not come.
    pub(crate) async fn find(
        self: &Arc<Self>,
        swarms: &[Swarm],
        fits: impl Fn(&str) -> bool,
    ) -> Result<Option<(Place, String)>, Refusal> {
        let mut changed = self.changed.subscribe();
        self.ask(swarms);
        loop {
            changed.mark_unchanged();
            let end = {
                let known = self.lock();
                let names = known.iter().filter_map(|(place, (_, name))| Some((*place, name.as_deref()?)));
                let mut fitting = names.filter(|(_, name)| fits(name));
                if let Some((place, name)) = fitting.next() {
                    if fitting.any(|((_, content), other)| other == name && content != place.1) {
                        return Err(Refusal::Ambiguous);
                    }
                    return Ok(Some((place, name.to_owned())));
                }
                let waiting = known.values().filter(|(_, name)| name.is_none()).map(|(since, _)| *since);
                let Some(last) = waiting.max() else { return Ok(None) };
                last + WAIT
            };
            // The sender is this one's own.
            timeout_at(end, changed.changed()).await.map_err(|_| Refusal::Late)?.map_err(|_| Refusal::Late)?;
        }
    }

    /// Asks for the manifests that were not asked for yet, for as long as it takes.
    fn ask(self: &Arc<Self>, swarms: &[Swarm]) {
        let meant = swarms.iter().enumerate().flat_map(|(number, swarm)| swarm.meant().map(move |it| (number, it)));
        for (number, content) in meant {
            let is_new = match self.lock().entry((number, content)) {
                Entry::Vacant(entry) => entry.insert((Instant::now(), None)).1.is_none(),
                Entry::Occupied(_) => false,
            };
            if is_new {
                let (names, node) = (self.clone(), swarms[number].node.clone());
                let (secret, origin) = (swarms[number].secret(content), swarms[number].origins.get(&content).cloned());
                tokio::spawn(async move {
                    let manifest = node.manifest_with(content, secret, origin).await;
                    let name = manifest.map(|manifest| manifest.header().name.clone()).unwrap_or_default();
                    names.lock().insert((number, content), (Instant::now(), Some(name)));
                    names.changed.send_replace(());
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, (Instant, Option<String>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
