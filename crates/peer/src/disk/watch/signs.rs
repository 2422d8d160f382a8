//! Files that were changed, as far as the system says.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use notify::Event;

/// Most files that wait to be looked at; of more, all are looked at.
const MOST_PATHS: usize = 1024;

/// Files that were changed, as far as the system says.
#[derive(Default)]
pub(super) struct Signs {
    paths: HashSet<PathBuf>,
    anywhere: bool,
}

impl Signs {
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.anywhere
    }

    /// Whether it is not known which.
    pub(super) fn anywhere(&self) -> bool {
        self.anywhere
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    pub(super) fn insert(&mut self, event: notify::Result<Event>) {
        let Ok(event) = event else {
            self.anywhere = true;
            return;
        };
        self.anywhere |= event.need_rescan() || self.paths.len() + event.paths.len() > MOST_PATHS;
        if !self.anywhere {
            self.paths.extend(event.paths);
        }
    }
}
