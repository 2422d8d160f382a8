//! `peer-cli inspect`: what a manifest says, in words or as JSON; from a file, the hashes folder, or the swarm.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use peer::json::{self, Event, InspectedFile};
use peer::{
    Node, PeerError, kept_manifests, manifest_path, manifests_of, read_manifest, received_by_name, received_manifest,
};
use protocol::{ContentId, Manifest, Query, Ticket, TicketError};

use crate::error::{ExitCode, Failure};
use crate::flags::tickets;
use crate::session::ahead::Ahead;
use crate::session::find::{Found, by_ticket, find};
use crate::session::query::{TrackerQuery, complain};
use crate::session::standstill;
use crate::ui::amounts;
use crate::ui::screen::print;

/// Most files of a folder that are shown in words.
const SHOWN: usize = 50;
/// How long peers may take to give a manifest, unless --wait says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  peer-cli inspect hashes/a.bin.manifest  what a manifest says
  peer-cli inspect 5dbeebd2               the one kept here whose id begins so
  peer-cli inspect -i localhost a.bin     ask the swarm; nothing is downloaded
  peer-cli inspect p2p…                   the same for a ticket";

/// Says what a content is made of: name, size, digests and files.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub struct InspectArguments {
    /// A ticket, a manifest's file, an id or a name
    ///
    /// A ticket; a manifest's file; or the id of a content, six or more characters of one, or a name: looked for in the hashes
    /// folder, and with -i in the swarm
    #[arg(value_name = "FILE|ID|NAME|TICKET")]
    what: String,
    #[command(flatten)]
    pub query: TrackerQuery,
}

/// Finds the manifest and says what it says.
pub async fn run(arguments: InspectArguments) -> Result<(), Failure> {
    let manifest = match Ticket::find(&arguments.what) {
        Some(Ok(ticket)) => from_ticket(&arguments, &ticket).await?,
        Some(Err(error)) => return Err(tickets::failure(&error, "inspect")),
        None => {
            let asks = arguments.query.tracker_ip.is_some();
            match local(&arguments.what, arguments.query.peer.hashes(), asks)? {
                Some(manifest) => Arc::new(manifest),
                None => from_swarm(&arguments).await?,
            }
        }
    };
    if arguments.query.peer.json { print([event(&manifest).line()]) } else { print(words(&manifest)) }
}

/// The manifest that lies here, if there is one: by an id, none that has another id, whatever the files here are called. What
/// reads as the beginning of an id may be the name of an own file, where no swarm is asked for the content.
fn local(what: &str, hashes: &Path, asks: bool) -> Result<Option<Manifest>, Failure> {
    let digits = match what.parse().map_err(PeerError::from)? {
        Query::Name(_) if Ticket::is_shortened(what) && !Path::new(what).exists() => {
            return Err(Failure::new(ExitCode::Usage, TicketError::Shortened.to_string()));
        }
        Query::Name(_) => return local_file(what, hashes),
        Query::Id(id) => return Ok(kept(hashes, id)),
        Query::Prefix(digits) => digits,
        Query::Private(_) => return Ok(None),
    };
    let mut fitting: Vec<_> = kept_manifests(hashes, |kept| kept.to_string().starts_with(&digits)).collect();
    fitting.sort_by_key(|manifest| manifest.id());
    fitting.dedup_by_key(|manifest| manifest.id());
    match fitting.len() {
        0 if !asks => Ok(own_file(what, hashes)),
        0 | 1 => Ok(fitting.pop()),
        count => {
            let sentence = format!("{count} manifests in {} have ids that begin with {what}", hashes.display());
            Err(Failure::new(ExitCode::Usage, sentence))
        }
    }
}

/// The manifest of this content, wherever in the hashes folder it is.
pub fn kept(hashes: &Path, content: ContentId) -> Option<Manifest> {
    received_manifest(hashes, content).or_else(|| kept_manifests(hashes, |kept| kept == content).next())
}

/// The manifest that was made here of a file of this name. No file is taken for one because it is called as an id begins.
fn own_file(name: &str, hashes: &Path) -> Option<Manifest> {
    read_manifest(&own_path(Path::new(name), hashes)).ok().filter(|manifest| manifest.header().name == name)
}

/// Where the manifest is that was made here of this file, whether the hashes folder is of one folder or of many.
fn own_path(file: &Path, hashes: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let [here, by_place] = [hashes.to_owned(), manifests_of(hashes, file)].map(|hashes| manifest_path(&hashes, &name));
    if !here.is_file() && by_place.is_file() { by_place } else { here }
}

/// What to say of the content that was downloaded under this name, if there is exactly one.
pub fn downloaded_as(hashes: &Path, name: &str) -> String {
    received_by_name(hashes, name).map(|content| format!(" {content}")).unwrap_or_default()
}

fn local_file(what: &str, hashes: &Path) -> Result<Option<Manifest>, Failure> {
    let path = Path::new(what);
    if path.is_file() {
        return match read_manifest(path) {
            Ok(manifest) => Ok(Some(manifest)),
            // The file itself may have been named: then its manifest is meant.
            Err(PeerError::Manifest { reason, .. }) => {
                let kept = own_path(path, hashes);
                read_manifest(&kept).map(Some).map_err(|_| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    let sentence = format!(
                        "{what} is no manifest: {reason}. What was downloaded has one by its content id{}; for a file of your own, \
                         make it with `peer-cli hash`",
                        downloaded_as(hashes, &name)
                    );
                    Failure::new(ExitCode::VerificationFailed, sentence)
                })
            }
            Err(error) => Err(error.into()),
        };
    }
    let named = own_path(path, hashes);
    if named.is_file() { Ok(Some(read_manifest(&named)?)) } else { Ok(None) }
}

async fn from_swarm(arguments: &InspectArguments) -> Result<Arc<Manifest>, Failure> {
    let (what, hashes) = (&arguments.what, arguments.query.peer.hashes());
    if arguments.query.tracker_ip.is_none() && Path::new(what).is_file() {
        let sentence = format!(
            "{what} reads as an id, and no manifest in {} has it. For the file of this name, write ./{what}",
            hashes.display()
        );
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    if arguments.query.tracker_ip.is_none() {
        let sentence = format!(
            "there is no file {what}, and no manifest of it in {}. Ask a swarm for it with -i TRACKER_IP",
            hashes.display()
        );
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    let node = arguments.query.begin(None).await?;
    let result = ask(&node, what, &arguments.query).await;
    node.shutdown().await;
    result
}

async fn from_ticket(arguments: &InspectArguments, ticket: &Ticket) -> Result<Arc<Manifest>, Failure> {
    let (node, told) = arguments.query.join_by_ticket(ticket).await?;
    let result = async {
        let found = by_ticket(&node, ticket, told, &Ahead::default(), arguments.query.patience(), &complain).await?;
        come(&node, &found, &arguments.query).await
    };
    let result = result.await;
    node.shutdown().await;
    result
}

async fn ask(node: &Node, what: &str, query: &TrackerQuery) -> Result<Arc<Manifest>, Failure> {
    come(node, &find(node, what, query.patience(), &complain).await?, query).await
}

async fn come(node: &Node, found: &Found, query: &TrackerQuery) -> Result<Arc<Manifest>, Failure> {
    let late = (Some(query.peer.wait.unwrap_or(PATIENCE)), ExitCode::NotFound);
    let manifest = standstill::manifest(node, (found, None), late, query.peer.transport, &complain).await?;
    found.must_be_called_so(&manifest)?;
    Ok(manifest)
}

/// What a manifest says, for people: a line each.
pub fn words(manifest: &Manifest) -> Vec<String> {
    let (header, geometry) = (manifest.header(), manifest.geometry());
    let mut lines = vec![
        format!("name        {}", header.name),
        format!("size        {} ({})", geometry.total(), amounts::amount(geometry.total())),
        format!("hash        {}", header.algorithm),
        format!("pieces      {} of {}", geometry.pieces(), amounts::amount(geometry.piece_size().into())),
    ];
    if header.folder {
        lines.push(format!("files       {}", header.files.len()));
        for file in header.files.iter().take(SHOWN) {
            lines.push(format!("  {}  {}  {}", file.root, amounts::amount(file.size), file.path));
        }
        if header.files.len() > SHOWN {
            lines.push(format!("  … and {} more, which --json lists", header.files.len() - SHOWN));
        }
        if !header.empty_folders.is_empty() {
            let count = header.empty_folders.len();
            lines.push(format!("empty       {count} {}", if count == 1 { "folder" } else { "folders" }));
        }
    } else {
        lines.extend(header.files.iter().map(|file| format!("root        {}", file.root)));
    }
    lines.push(format!("content id  {}", manifest.id()));
    lines
}

pub fn event(manifest: &Manifest) -> Event {
    let (header, geometry) = (manifest.header(), manifest.geometry());
    let files = header.files.iter().map(|file| InspectedFile {
        path: file.path.clone(),
        size: file.size,
        root: file.root.to_string(),
        executable: file.executable,
    });
    Event::Inspected(json::Inspected {
        content: manifest.id().to_string(),
        name: header.name.clone(),
        folder: header.folder,
        size: geometry.total(),
        hash: header.algorithm.to_string(),
        piece_size: geometry.piece_size(),
        pieces: geometry.pieces(),
        files: files.collect(),
        empty_folders: header.empty_folders.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::{hash_content, keep_manifest};
    use protocol::Algorithm;

    #[test]
    fn a_manifest_is_found_by_its_file_its_name_and_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let (file, hashes) = (folder.path().join("a.bin"), folder.path().join("hashes"));
        std::fs::write(&file, vec![7; 5000]).unwrap();
        let manifest = hash_content(&file, Algorithm::Blake3, Some(1024), |_, _| {}).unwrap().manifest;
        let found = |what: &str| local(what, &hashes, false).map(|found| found.map(|manifest| manifest.id()));
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(found("a.bin").unwrap(), None);
        assert_eq!(found(&path("a.bin")).unwrap_err().code, ExitCode::VerificationFailed);
        keep_manifest(&hashes, &manifest).unwrap();
        let id = manifest.id();
        assert_eq!(found("a.bin").unwrap(), Some(id));
        assert_eq!(found(&path("a.bin")).unwrap(), Some(id));
        assert_eq!(found(&path("hashes/a.bin.manifest")).unwrap(), Some(id));
        assert_eq!(found(&id.to_string()).unwrap(), Some(id));
        assert_eq!(found(&id.to_string()[..8].to_uppercase()).unwrap(), Some(id));
        assert_eq!(found(&id.to_string()[..5]).unwrap(), None, "too short to be meant as an id");
        // A name that reads as the beginning of an id.
        let digits = folder.path().join("facade");
        std::fs::write(&digits, [1]).unwrap();
        let named = hash_content(&digits, Algorithm::Blake3, Some(1024), |_, _| {}).unwrap().manifest;
        keep_manifest(&hashes, &named).unwrap();
        assert_eq!(found("facade").unwrap(), Some(named.id()));
        assert!(local("facade", &hashes, true).unwrap().is_none(), "the swarm is asked for an id that begins so");
        let text = words(&manifest).join("\n");
        assert!(
            text.contains("size        5000 (4.9 KiB)\nhash        blake3\npieces      5 of 1.0 KiB\nroot"),
            "{text}"
        );
    }
}
