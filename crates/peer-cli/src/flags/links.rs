//! What counts as part of a content that is shared, and what never does.

use std::path::{Path, PathBuf};

use clap::Args;

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

/// Where this process keeps files of its own: none of them is ever shared.
pub fn own_files(arguments: &PeerArguments) -> Vec<PathBuf> {
    let named = [&arguments.identity, &arguments.key, &arguments.cert].into_iter().flatten();
    let folders = [arguments.certs(), arguments.hashes()].map(Path::to_owned);
    let all = folders.into_iter().chain(arguments.own.all.iter().cloned());
    all.chain(named.cloned()).chain(settings::log_file()).collect()
}
