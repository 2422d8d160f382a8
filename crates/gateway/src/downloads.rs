//! The downloads that a gateway has begun: only some run at once, and each is counted among what is kept as soon as it is open, or stopped if
//! there is no room for it, even if those who asked for it have gone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use peer::{ContentId, Download, Fallback, Node, OpenContent, PeerError, PeerEvent, State, Status};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::sleep;

use crate::error::Refusal;
use crate::figures::is_running;
use crate::kept::Kept;
use crate::removal::remove_outside;
use crate::swarm::Swarm;

/// Whether a download is open and there is room for it, once that is known.
pub(crate) type Opened = Option<Result<(), Refusal>>;

/// Peers have so long to appear before it is said that the origin brings nothing: some are reached over a detour.
const APPEAR: Duration = Duration::from_secs(8);

/// Logs why the origin of a download brings nothing. Those who wait for it are told so if no peer is there that may send it; it goes on.
async fn tell_of_origin(
    content: ContentId,
    mut events: broadcast::Receiver<PeerEvent>,
    mut status: watch::Receiver<Status>,
    say: &watch::Sender<Opened>,
) {
    let (mut failed, mut have_had_time) = (None, false);
    let mut appear = pin!(sleep(APPEAR));
    loop {
        tokio::select! {
            () = &mut appear, if !have_had_time => have_had_time = true,
            event = events.recv() => match event {
                Ok(PeerEvent::Origin { content: of, failure, .. }) if of == content => {
                    failed = failure.map(|reason| {
                        tracing::warn!(%content, reason, "the origin of a content brings nothing");
                        Refusal::Origin
                    });
                }
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            changed = status.changed() => if changed.is_err() {
                return;
            },
        }
        let is_alone = status.borrow_and_update().peers == 0;
        let now = failed.filter(|_| is_alone && have_had_time).map(Err);
        // The status changes several times a second, and all who wait are woken.
        say.send_if_modified(|said| std::mem::replace(said, now) != now);
    }
}

/// All of them.
pub(crate) struct Downloads {
    /// Most that run at once.
    most: usize,
    begun: Mutex<HashMap<ContentId, RunningDownload>>,
    kept: Arc<Kept>,
}

struct RunningDownload {
    download: Download,
    opened: watch::Receiver<Opened>,
}

impl RunningDownload {
    /// One that is complete takes no place from others, nor does one that has failed.
    fn takes_place(&self) -> bool {
        let status = self.download.status();
        self.opened.borrow().is_none() || (status.has_changed().is_ok() && is_running(&status.borrow().state))
    }
}

impl Downloads {
    pub(crate) fn new(most: usize, kept: Arc<Kept>) -> Self {
        Downloads { most, begun: Mutex::default(), kept }
    }

    /// Starts a download unless it has begun, and gives what becomes of it; nothing if another part of the program has begun it. Where
    /// peers bring next to nothing of it, it is read from `spare`.
    pub(crate) async fn start(
        self: &Arc<Self>,
        swarm: &Swarm,
        content: ContentId,
        name: Option<&str>,
        spare: &Option<Arc<dyn Fallback>>,
    ) -> Result<Option<watch::Receiver<Opened>>, Refusal> {
        let mut begun = self.begun.lock().await;
        begun.retain(|_, begun| begun.takes_place());
        if let Some(begun) = begun.get(&content) {
            return Ok(Some(begun.opened.clone()));
        }
        if begun.len() >= self.most {
            return Err(Refusal::Busy);
        }
        // What is not downloaded here is only waited for.
        let Some(folder) = swarm.folder(content) else { return Ok(None) };
        // What an earlier run has left of it stays while it is verified.
        let in_use = self.kept.uses(&folder).await;
        let mut download = swarm.node.download(content).private(swarm.secret(content)).output(folder.clone());
        if let Some(name) = name {
            download = download.expect_name(name);
        }
        if let Some(origin) = swarm.origins.get(&content).or(spare.as_ref()) {
            download = download.origin(origin.clone());
        }
        let events = swarm.node.events();
        let download = match download.start().await {
            Ok(download) => download,
            Err(PeerError::Already(_)) => return Ok(None),
            Err(error) => {
                tracing::warn!(%error, "a download cannot begin");
                return Err(Refusal::of_storing(&error));
            }
        };
        let (say, opened) = watch::channel(None);
        let (status, node, downloads) = (download.status(), swarm.node.clone(), self.clone());
        begun.insert(content, RunningDownload { download, opened: opened.clone() });
        tokio::spawn(async move {
            let mut opening = pin!(downloads.opens(&node, content, status.clone(), &folder));
            let becomes = tokio::select! {
                becomes = &mut opening => becomes,
                () = tell_of_origin(content, events, status, &say) => opening.await,
            };
            drop(in_use);
            let _ = say.send(Some(becomes));
        });
        Ok(Some(opened))
    }

    /// Waits until the files of a download are open, and makes room for it.
    async fn opens(
        &self,
        node: &Node,
        content: ContentId,
        mut status: watch::Receiver<Status>,
        folder: &Path,
    ) -> Result<(), Refusal> {
        loop {
            if let Some(open) = node.open(content).await {
                return self.has_room(node, &open, folder).await;
            }
            let has_failed = |state: &State| matches!(state, State::Failed(_) | State::Withdrawn(_) | State::Stopped);
            if has_failed(&status.borrow_and_update().state) || status.changed().await.is_err() {
                let mut refusal = Refusal::Failed;
                if let State::Failed(error) = &status.borrow().state {
                    tracing::warn!(%content, %error, "a download has failed");
                    refusal = Refusal::of_storing(error);
                }
                // Others may have begun it again.
                let mut begun = self.begun.lock().await;
                if begun.get(&content).is_some_and(|begun| begun.download.status().same_channel(&status)) {
                    begun.remove(&content);
                }
                return Err(refusal);
            }
        }
    }

    /// Counts what is downloaded here, and makes room for it.
    async fn has_room(&self, node: &Node, open: &OpenContent, folder: &Path) -> Result<(), Refusal> {
        let content = open.content();
        if !folder.is_dir() {
            return Ok(());
        }
        if let Err(refusal) = self.kept.make_room(folder, open.manifest().geometry().total(), false).await {
            self.abandon(node, Some(folder.to_owned()), content).await;
            return Err(refusal);
        }
        // It may have been abandoned meanwhile.
        if self.begun.lock().await.contains_key(&content) {
            self.kept.is_open(folder, node, content, open.status());
            Ok(())
        } else {
            self.kept.forget(folder);
            Err(Refusal::Failed)
        }
    }

    /// Stops a download that was begun here, and removes what came of it.
    pub(crate) async fn abandon(&self, node: &Node, folder: Option<PathBuf>, content: ContentId) {
        let begun = self.begun.lock().await.remove(&content);
        if let Some(begun) = begun {
            if let Err(error) = begun.download.cancel().await {
                tracing::warn!(%content, %error, "a download is not stopped");
                return;
            }
        } else if let Some(status) = node.status(content).await
            && (status.is_complete() || is_running(&status.state))
        {
            // Another part of the program has begun it, or it has come meanwhile.
            return;
        }
        if let Some(folder) = folder {
            self.kept.forget(&folder);
            remove_outside(folder).await;
        }
    }
}
