//! What a gateway may serve: the contents of one swarm, as a node takes part in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peer::{ContentId, Fallback, Node, Secret};

/// A swarm whose contents are served, by a node that takes part in it.
pub struct Swarm {
    pub(crate) node: Node,
    /// Which swarm it is, for people.
    pub(crate) about: String,
    /// Contents of tickets, with what opens them.
    pub(crate) tickets: HashMap<ContentId, Option<Secret>>,
    /// Contents of which their origins are known.
    pub(crate) origins: HashMap<ContentId, Arc<dyn Fallback>>,
    /// Whether its tracker is asked for what is not here.
    pub(crate) asks: bool,
    /// Where what is asked for is downloaded, in a folder for each content; nowhere if nothing is.
    folder: Option<PathBuf>,
}

impl Swarm {
    /// Serves what this node shares and downloads anyway. `about` says which swarm it is.
    pub fn new(node: Node, about: impl Into<String>) -> Self {
        let (tickets, origins) = (HashMap::new(), HashMap::new());
        Swarm { node, about: about.into(), tickets, origins, asks: false, folder: None }
    }

    /// Downloads into this folder what is asked for and may be served.
    pub fn output(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Serves this content, too: a ticket named it. It is downloaded when somebody asks for it.
    pub fn ticket(mut self, content: ContentId, secret: Option<Secret>) -> Self {
        self.tickets.insert(content, secret);
        self
    }

    /// Serves this content, too, and reads what no peer has of it from there, where its manifest may be as well.
    pub fn origin(mut self, content: ContentId, origin: Arc<dyn Fallback>) -> Self {
        self.origins.insert(content, origin);
        self
    }

    /// Whether this content is served though its tracker may know nothing of it.
    pub(crate) fn means(&self, content: ContentId) -> bool {
        self.tickets.contains_key(&content) || self.origins.contains_key(&content)
    }

    /// All such contents.
    pub(crate) fn meant(&self) -> impl Iterator<Item = ContentId> {
        let others = self.origins.keys().filter(|content| !self.tickets.contains_key(content));
        self.tickets.keys().chain(others).copied()
    }

    /// What opens a content, if that is needed.
    pub(crate) fn secret(&self, content: ContentId) -> Option<Secret> {
        self.tickets.get(&content).copied().flatten()
    }

    /// Serves whatever the tracker that the node has joined knows.
    pub fn all(mut self) -> Self {
        self.asks = true;
        self
    }

    /// Where everything is downloaded.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The folder of a content that is downloaded: others of its name may come into folders of their own.
    pub(crate) fn folder(&self, content: ContentId) -> Option<PathBuf> {
        self.folder.as_deref().map(|folder: &Path| folder.join(&content.to_string()[..16]))
    }
}
