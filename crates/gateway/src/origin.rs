//! What a gateway brings that nobody in its swarms has: which registries and which hub it reads from, and where that is kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use origins::hub::Hub;
use origins::registry::Registry;

use crate::blobs::Blobs;
use crate::error::GatewayError;
use crate::huggingface::hub::HubOrigin;
use crate::kept::Kept;
use crate::registry::origins::{Named, Registries};
use crate::swarm::Swarm;

/// How long the swarm is waited for, unless something else is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Origins of a gateway. What comes from there is shared in the swarms whose trackers are asked for everything
/// ([`Swarm::all`](crate::Swarm::all)), under its digest.
#[derive(Clone)]
pub struct Origins {
    folder: PathBuf,
    keep_free: Option<u64>,
    patience: Duration,
    registries: Vec<Named>,
    hub: Option<Hub>,
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registries: Vec<&str> = self.registries.iter().map(|named| named.name.as_str()).collect();
        let hub = self.hub.as_ref().map(|hub| hub.endpoint().as_str());
        f.debug_struct("Origins")
            .field("folder", &self.folder)
            .field("registries", &registries)
            .field("hub", &hub)
            .finish()
    }
}

impl Origins {
    /// None yet. What they bring is kept in this folder.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().to_owned();
        Origins { folder, keep_free: None, patience: PATIENCE, registries: Vec::new(), hub: None }
    }

    /// So many bytes stay free on the folder's disk, or what is usual.
    pub fn keep_free(mut self, bytes: Option<u64>) -> Self {
        self.keep_free = bytes;
        self
    }

    /// Waits so long for a tracker, a manifest, or the files of a content, and six times as long for the next piece, before something
    /// is read from its origin.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Mirrors this registry, which clients call so (`docker.io`). The first is meant where a client names none.
    pub fn registry(mut self, name: impl Into<String>, registry: Registry) -> Self {
        self.registries.push(Named { name: name.into(), registry });
        self
    }

    /// Where what they bring is kept.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Brings models and data sets from this hub.
    pub fn hub(mut self, hub: Hub) -> Self {
        self.hub = Some(hub);
        self
    }
}

/// The origins of a running gateway.
pub(crate) struct RunningOrigins {
    pub(crate) blobs: Blobs,
    pub(crate) registries: Registries,
    pub(crate) hub: Option<HubOrigin>,
}

impl RunningOrigins {
    pub(crate) fn start(origins: Origins, swarms: &[Swarm], kept: &Arc<Kept>) -> Result<Self, GatewayError> {
        let Origins { folder, keep_free, patience, registries, hub } = origins;
        let nodes = swarms.iter().filter(|swarm| swarm.asks).map(|swarm| swarm.node.clone()).collect();
        let blobs = Blobs::new(&folder, keep_free, patience, nodes, kept.clone())?;
        let answers = blobs.answers();
        Ok(RunningOrigins {
            registries: Registries::new(registries, answers.clone()),
            hub: hub.map(|hub| HubOrigin::new(hub, answers)),
            blobs,
        })
    }
}
