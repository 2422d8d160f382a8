//! Which content a request means, and how it comes to be open here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use peer::{ContentId, Fallback, OpenContent, PeerError, Query};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::downloads::Downloads;
use crate::error::Refusal;
use crate::kept::Kept;
use crate::listings::Listings;
use crate::names::Names;
use crate::swarm::Swarm;

/// Longest wait for a tracker.
const ANSWER: Duration = Duration::from_secs(10);
/// What a name stands for is looked up again after this time.
const LOOKED_UP: Duration = Duration::from_secs(5);
/// Most names that are remembered.
const MOST_NAMES: usize = 1024;
/// Time between two looks at a content that somebody else has begun.
const LOOK: Duration = Duration::from_millis(25);

/// The contents of all swarms of a gateway.
pub(crate) struct Contents {
    pub(crate) swarms: Vec<Swarm>,
    pub(crate) listings: Listings,
    /// How long a content may take to be open.
    wait: Duration,
    downloads: Arc<Downloads>,
    looked_up: Mutex<HashMap<String, (Instant, ContentId)>>,
    /// What contents are called that a ticket or the user has named.
    pub(crate) names: Arc<Names>,
    /// What is kept of what was downloaded.
    pub(crate) kept: Arc<Kept>,
}

impl Contents {
    pub(crate) fn new(swarms: Vec<Swarm>, wait: Duration, downloads: usize, kept: Arc<Kept>) -> Self {
        let listings = Listings::new(swarms.len());
        let downloads = Arc::new(Downloads::new(downloads, kept.clone()));
        Contents { swarms, listings, wait, downloads, looked_up: Mutex::default(), names: Names::new(), kept }
    }

    /// The content of this id, which is downloaded from now on if it was not before.
    pub(crate) async fn by_id(&self, content: ContentId) -> Result<Arc<OpenContent>, Refusal> {
        for swarm in &self.swarms {
            if let Some(open) = swarm.node.open(content).await {
                return Ok(Arc::new(open));
            }
        }
        let mut answer = Refusal::NotFound;
        for swarm in &self.swarms {
            // It may be on its way already.
            let may_serve = match swarm.node.status(content).await {
                Some(_) => Ok(true),
                None => self.may_serve(swarm, content).await,
            };
            match may_serve {
                Ok(true) => return self.begin(swarm, content, None, &None).await,
                Ok(false) => {}
                // Another swarm may have it.
                Err(refusal) => answer = refusal,
            }
        }
        Err(answer)
    }

    /// The content of this name.
    pub(crate) async fn by_name(&self, name: &str) -> Result<Arc<OpenContent>, Refusal> {
        let known = self.looked_up.lock().await.get(name).copied();
        if let Some((_, content)) = known.filter(|(since, _)| since.elapsed() < LOOKED_UP)
            && let Ok(open) = self.by_id(content).await
            && open.manifest().header().name == name
        {
            return Ok(open);
        }
        let open = self.look_up(name).await?;
        let mut names = self.looked_up.lock().await;
        if names.len() >= MOST_NAMES {
            names.retain(|_, (since, _)| since.elapsed() < LOOKED_UP);
        }
        if names.len() < MOST_NAMES {
            names.insert(name.to_owned(), (Instant::now(), open.content()));
        }
        Ok(open)
    }

    async fn look_up(&self, name: &str) -> Result<Arc<OpenContent>, Refusal> {
        let mut here = self.here(|called| called == name).await;
        match (here.pop(), here.is_empty()) {
            (Some((_, open)), true) => return Ok(open),
            (Some(_), false) => return Err(Refusal::Ambiguous),
            (None, _) => {}
        }
        // What could be an id is no name for a tracker.
        if !Query::is_name(name) {
            return Err(Refusal::NotFound);
        }
        let mut answer = Refusal::NotFound;
        for swarm in self.swarms.iter().filter(|swarm| swarm.asks) {
            let mut found = match ask(swarm, name).await {
                Ok(found) => found,
                Err(refusal) => {
                    answer = refusal;
                    continue;
                }
            };
            if found.iter().filter(|found| found.seeders > 0).count() == 1 {
                found.retain(|found| found.seeders > 0);
            }
            match &found[..] {
                [] => {}
                [one] => return self.begin(swarm, one.content, Some(name), &None).await,
                _ => return Err(Refusal::Ambiguous),
            }
        }
        match self.names.find(&self.swarms, |called| called == name).await {
            Ok(Some(((number, content), _))) => self.begin(&self.swarms[number], content, Some(name), &None).await,
            Err(Refusal::Ambiguous) => Err(Refusal::Ambiguous),
            Err(late) if answer == Refusal::NotFound => Err(late),
            Ok(None) | Err(_) => Err(answer),
        }
    }

    /// What is open here and has a name that fits, each content once.
    pub(crate) async fn here(&self, fits: impl Fn(&str) -> bool) -> Vec<(usize, Arc<OpenContent>)> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for (number, swarm) in self.swarms.iter().enumerate() {
            for content in swarm.node.contents().await {
                let Some(open) = swarm.node.open(content).await else { continue };
                if seen.insert(content) && fits(&open.manifest().header().name) {
                    found.push((number, Arc::new(open)));
                }
            }
        }
        found
    }

    async fn may_serve(&self, swarm: &Swarm, content: ContentId) -> Result<bool, Refusal> {
        if swarm.means(content) {
            return Ok(true);
        }
        Ok(swarm.asks && !ask(swarm, &content.to_string()).await?.is_empty())
    }

    /// Begins a download unless it has begun, and waits until its files are open. Where peers bring next to nothing of it, it is read
    /// from `spare`.
    pub(crate) async fn begin(
        &self,
        swarm: &Swarm,
        content: ContentId,
        name: Option<&str>,
        spare: &Option<Arc<dyn Fallback>>,
    ) -> Result<Arc<OpenContent>, Refusal> {
        let end = Instant::now() + self.wait;
        let opened = self.downloads.start(swarm, content, name, spare).await?;
        let opening = async {
            if let Some(mut opened) = opened {
                let said = opened.wait_for(Option::is_some).await.ok().and_then(|said| *said);
                said.unwrap_or(Err(Refusal::Failed))?;
            }
            loop {
                if let Some(open) = swarm.node.open(content).await {
                    return Ok(Arc::new(open));
                }
                sleep(LOOK).await;
            }
        };
        let opened = tokio::time::timeout_at(end, opening).await.unwrap_or(Err(Refusal::Late))?;
        match name {
            Some(name) if opened.manifest().header().name != name => Err(Refusal::NotFound),
            _ => Ok(opened),
        }
    }

    /// Stops a download that was begun here and is not open, and removes what came of it.
    pub(crate) async fn abandon(&self, swarm: &Swarm, content: ContentId) {
        self.downloads.abandon(&swarm.node, swarm.folder(content), content).await;
    }
}

/// What a tracker knows of an id or a name.
async fn ask(swarm: &Swarm, query: &str) -> Result<Vec<peer::ContentMatch>, Refusal> {
    let found = timeout(ANSWER, swarm.node.find(query)).await.unwrap_or(Err(PeerError::NoTracker));
    // Whether there is such a thing is not known then.
    found.map_err(|error| {
        tracing::info!(%error, "the tracker is of no help");
        Refusal::Tracker
    })
}
