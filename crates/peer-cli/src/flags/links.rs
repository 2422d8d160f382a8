//! What counts as part of a content that is shared, and what never does.

use std::path::Path;

use clap::Args;
use peer::ScanOptions;

use crate::flags::peer::PeerArguments;

/// What is part of a content.
#[derive(Debug, Clone, Args)]
pub struct LinkArguments {
    /// Follow links that lead elsewhere, too
    ///
    /// Follow links that lead out of the folder that is shared, too: those that stay inside, and those of a snapshot to the
    /// blobs of its model cache, always are
    #[arg(long)]
    pub follow_links: bool,
}

impl LinkArguments {
    /// What is part of a content that this process shares.
    pub fn scan(&self, arguments: &PeerArguments) -> ScanOptions {
        scan(arguments).follow_links(self.follow_links)
    }
}

/// The same where links are not followed. Nothing is ever shared of what this process keeps of its own.
pub fn scan(arguments: &PeerArguments) -> ScanOptions {
    let named = [&arguments.identity, &arguments.key, &arguments.cert].into_iter().flatten();
    let folders = [arguments.certs(), arguments.hashes()].map(Path::to_owned);
    let own = folders.into_iter().chain(named.cloned()).chain(settings::log_file());
    ScanOptions::new().own(own).own_folders(&arguments.own.all)
}
