//! Where a command keeps what is its own: in folders of the user, unless the working folder has such files already or the command
//! line names another place. Nothing is left in a working folder that was not asked for.
//!
//! The original's way of starting keeps `certs/` and `hashes/` where it is started, as ever.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use settings::Folders;

use crate::flags::peer::{CERTS, HASHES, PeerArguments};

/// What shows that a folder `certs/` is of these programs.
const CERTIFICATES: [&str; 3] = ["tracker.key", "tracker.pem", "ca.pem"];
/// How a manifest begins, and how its name ends.
const MANIFEST_MAGIC: &[u8] = b"P2PM";
const MANIFEST: &str = "manifest";
/// Most entries of a folder that are looked at.
const MOST: usize = 1000;
/// In the folder for what was learnt.
const KNOWN_TRACKERS: &str = "known-trackers";

/// What a command keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// The key of a tracker in this process, and manifests.
    KeyAndManifests,
    /// Manifests.
    Manifests,
    /// Nothing: it only looks.
    Nothing,
}

impl PeerArguments {
    /// Settles where certificates and manifests are. `temporary` makes a folder that goes away with the program.
    pub fn settle_folders(&mut self, keeps: Keeps, temporary: impl FnOnce() -> Option<PathBuf>) {
        self.settle(keeps, Folders::of_this_process(), temporary);
    }

    fn settle(&mut self, keeps: Keeps, folders: Folders, temporary: impl FnOnce() -> Option<PathBuf>) {
        let Folders { data, state, cache } = folders;
        self.own.all = [&data, &state, &cache].into_iter().flatten().cloned().collect();
        self.own.known_trackers = state.map(|state| state.join(KNOWN_TRACKERS));
        self.own.own_tracker = data.as_ref().map(|data| data.join(CERTS).join("tracker.pem"));
        // A closed swarm has its certificates where they were put.
        self.own.pins_tracker = self.certs.is_some() || !self.ca.is_empty() || holds_certificates(Path::new(CERTS));
        if !self.own.pins_tracker {
            let kept = match keeps {
                Keeps::KeyAndManifests => usable(data),
                Keeps::Manifests | Keeps::Nothing => data.ok_or_else(no_home),
            };
            match kept {
                Ok(data) => self.certs = Some(data.join(CERTS)),
                Err(reason) => self.own.lacking = Some(reason),
            }
        }
        if self.hashes.is_none() && !holds_manifests(Path::new(HASHES)) {
            self.own.by_place = true;
            let kept = match keeps {
                Keeps::Nothing => cache.ok_or_else(no_home),
                // What cannot be kept is of use for this run all the same.
                Keeps::KeyAndManifests | Keeps::Manifests => usable(cache).or_else(|reason| temporary().ok_or(reason)),
            };
            let nowhere = || std::env::temp_dir().join("p2p-fileshare");
            self.hashes = Some(kept.unwrap_or_else(|_| nowhere()).join(HASHES));
        }
    }
}

fn no_home() -> String {
    "there is no home folder".to_owned()
}

/// The folder, if something can be kept there, which makes it. An error is the reason.
pub fn usable(folder: Option<PathBuf>) -> Result<PathBuf, String> {
    let folder = folder.ok_or_else(no_home)?;
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(&folder).to_owned();
    // What root makes in the home of someone else is in their way from then on.
    if root_would_intrude(&there) {
        return Err(format!("{} belongs to another user", there.display()));
    }
    may_write(&there).map(|()| folder).map_err(|error| format!("{}: {error}", there.display()))
}

#[cfg(unix)]
fn may_write(folder: &Path) -> std::io::Result<()> {
    use rustix::fs::{Access, access};
    if !folder.is_dir() {
        return Err(std::io::ErrorKind::NotADirectory.into());
    }
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Only who tries it knows.
#[cfg(not(unix))]
fn may_write(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() { Ok(()) } else { Err(std::io::ErrorKind::NotADirectory.into()) }
}

#[cfg(unix)]
fn root_would_intrude(folder: &Path) -> bool {
    rustix::process::geteuid().is_root() && !belongs_to_us(folder)
}

#[cfg(not(unix))]
fn root_would_intrude(_: &Path) -> bool {
    false
}

/// Whether a folder is the user's: in one that others share, somebody else may have put it there.
#[cfg(unix)]
pub fn belongs_to_us(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(folder).is_ok_and(|seen| seen.uid() == rustix::process::geteuid().as_raw())
}

/// Whose a folder is, is not told by its metadata.
#[cfg(not(unix))]
pub fn belongs_to_us(folder: &Path) -> bool {
    folder.exists()
}

fn holds_certificates(folder: &Path) -> bool {
    folder.is_dir() && belongs_to_us(folder) && CERTIFICATES.iter().any(|name| folder.join(name).is_file())
}

fn holds_manifests(folder: &Path) -> bool {
    let is_one = |entry: fs::DirEntry| {
        let path = entry.path();
        let mut begins = [0; MANIFEST_MAGIC.len()];
        path.extension().is_some_and(|end| end == MANIFEST)
            && path.is_file()
            && fs::File::open(&path).and_then(|mut file| file.read_exact(&mut begins)).is_ok()
            && begins == MANIFEST_MAGIC
    };
    let any = |folder: &Path| fs::read_dir(folder).is_ok_and(|entries| entries.take(MOST).flatten().any(is_one));
    folder.is_dir() && belongs_to_us(folder) && (any(&folder.join("by-id")) || any(folder))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        peer: PeerArguments,
    }

    fn settled(line: &[&str], keeps: Keeps, folders: Folders) -> PeerArguments {
        let mut peer = Line::parse_from(["program"].iter().chain(line)).peer;
        peer.settle(keeps, folders, || Some("temporary".into()));
        peer
    }

    fn folders(home: &Path) -> Folders {
        let folder = |name: &str| Some(home.join(name));
        Folders { data: folder("data"), state: folder("state"), cache: folder("cache") }
    }

    #[test]
    fn folders_are_the_users_unless_others_are_named() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let peer = settled(&[], Keeps::KeyAndManifests, folders(home.path()));
        assert_eq!((peer.certs(), peer.hashes()), (&*at("data/certs"), &*at("cache/hashes")));
        assert!(peer.own.by_place && peer.own.lacking.is_none());
        assert_eq!(peer.own.known_trackers, Some(at("state/known-trackers")));
        let peer = settled(&["--certs", "c", "--hashes", "h"], Keeps::KeyAndManifests, folders(home.path()));
        assert_eq!((peer.certs(), peer.hashes()), (Path::new("c"), Path::new("h")));
        assert!(!peer.own.by_place);
        let peer = settled(&["--ca", "ca.pem"], Keeps::Manifests, folders(home.path()));
        assert_eq!(peer.certs(), Path::new(CERTS), "a closed swarm has its certificates where they were put");
    }

    #[test]
    fn what_only_looks_makes_no_folder() {
        let home = tempfile::tempdir().unwrap();
        let peer = settled(&[], Keeps::Nothing, folders(home.path()));
        assert_eq!(peer.hashes(), home.path().join("cache/hashes"));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_a_home_manifests_are_kept_for_this_run_and_keys_are_not() {
        let peer = settled(&[], Keeps::KeyAndManifests, Folders::default());
        assert_eq!(peer.hashes(), Path::new("temporary/hashes"));
        assert_eq!(peer.own.lacking.as_deref(), Some("there is no home folder"));
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        let peer = settled(&[], Keeps::KeyAndManifests, folders(&home.path().join("file")));
        assert_eq!(peer.hashes(), Path::new("temporary/hashes"));
        assert!(peer.own.lacking.unwrap().ends_with("not a directory"));
    }

    #[test]
    fn folders_of_others_are_not_taken_for_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (certs, hashes) = (folder.path().join("certs"), folder.path().join("hashes"));
        fs::create_dir_all(hashes.join("by-id")).unwrap();
        fs::create_dir(&certs).unwrap();
        fs::write(certs.join("site.pem"), "of a web server").unwrap();
        fs::write(hashes.join("app.manifest"), "of something else").unwrap();
        assert!(!holds_certificates(&certs) && !holds_manifests(&hashes));
        fs::write(certs.join("tracker.pem"), "a certificate").unwrap();
        fs::write(hashes.join("by-id/0.manifest"), "P2PM and so on").unwrap();
        assert!(holds_certificates(&certs) && holds_manifests(&hashes));
    }

    /// As after `sudo`, where that keeps the home of the user who typed it.
    #[cfg(unix)]
    #[test]
    fn root_makes_nothing_in_the_home_of_someone_else() {
        let home = tempfile::tempdir().unwrap();
        // Only root can give a folder away.
        if std::os::unix::fs::chown(home.path(), Some(12345), None).is_ok() {
            let peer = settled(&[], Keeps::KeyAndManifests, folders(home.path()));
            assert!(peer.own.lacking.unwrap().ends_with("belongs to another user"));
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        }
    }
}
