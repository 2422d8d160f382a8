//! What the programs keep for themselves: keys, certificates, manifests, stamps, and downloads that are being built. None of it
//! is ever shared, and none of it changes what a folder's content id is.
//!
//! It is recognised by what it is rather than by where it lies, since folders are renamed and other peers of this machine have
//! theirs: a private key by its bytes, a download that is being built by the lock beside it, a manifest by its first
//! bytes and what lies around it, the state of a daemon by its name and first bytes. What this process uses is known by its place as well.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use atomic_file::FileId;
#[cfg(windows)]
use atomic_file::windows::file_id;

use crate::disk::left_out::LeftOutReason;
use crate::disk::manifests::{BY_ID, BY_TICKET, ID_DIGITS};

/// A file in which a key is looked for is not larger than this: one that has notes around it, or an archive of all certificates.
const LARGEST_WITH_KEY: u64 = 64 << 10;
const MANIFEST_MAGIC: &[u8] = b"P2PM";
const STAMP_BYTES: u64 = 64;
/// Digits in the names of files that are written beside their place, and of names that were too long.
const DIGITS: usize = 16;
/// Ends of the names of what stands beside a download until it is done.
const JOURNAL: &str = ".part.journal";
const PART: &str = ".part";
const LOCK: &str = ".lock";
/// Certificates of others that stand beside a peer's own.
const SWARM: [&str; 3] = ["tracker.pem", "ca.pem", "ca-old.pem"];
/// Names of folders and files that programs make for a moment, to try something.
const PROBES: [&str; 4] = [".p2p-names-", ".p2p-doctor-", ".p2p-rename-", ".p2p-rights-"];
/// The folder of a download that goes to standard output, and what lies in it while it is in use.
const PIPED: [&str; 2] = ["p2p-fileshare-", "in-use"];

/// The state of a daemon, in which the tickets of everything stand that it shares and downloads, and how it begins; and its lock.
const DAEMON_STATE: &str = "daemon.json";
const DAEMON_STATE_MAGIC: &[u8] = br#"{"v":"#;
const DAEMON_LOCK: &str = "daemon.lock";

/// What this process uses, and how to tell what others do.
pub(crate) struct OwnState {
    /// Files and folders, by their canonical paths.
    used: Vec<PathBuf>,
    /// Folders in which nothing else lies, likewise.
    folders: Vec<PathBuf>,
    /// Where this process writes its output to.
    outputs: Vec<FileId>,
    /// Folders that were looked at, and whether they are for manifests.
    keeps: RefCell<HashMap<PathBuf, bool>>,
}

/// A file or folder that is looked at.
pub(crate) struct Candidate<'a> {
    /// Where it lies, and what its canonical path is.
    pub(crate) at: &'a Path,
    pub(crate) real: &'a Path,
    pub(crate) metadata: &'a fs::Metadata,
}

impl OwnState {
    /// The state of this process is in these files and folders, as far as they are there, and in folders in which nothing else lies.
    pub(crate) fn of(used: &[PathBuf], folders: &[PathBuf]) -> Self {
        let real = |paths: &[PathBuf]| paths.iter().filter_map(|path| atomic_file::real_path(path).ok()).collect();
        OwnState { used: real(used), folders: real(folders), outputs: outputs(), keeps: RefCell::default() }
    }

    /// Whether this process keeps its state in this very folder.
    pub(crate) fn is_used(&self, real: &Path) -> bool {
        self.used.iter().any(|used| used == real)
    }

    /// Why it is not shared with the folder that it lies in, where what programs make for a moment is nothing to share either.
    pub(crate) fn why_inside(&self, candidate: &Candidate<'_>) -> io::Result<Option<LeftOutReason>> {
        let name = candidate.at.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let probe = PROBES.iter().any(|probe| name.starts_with(probe));
        if probe { Ok(Some(LeftOutReason::OwnState)) } else { self.why(candidate) }
    }

    /// Why it is not to be shared, if it is not. That it cannot be looked at is an error: it may be a key.
    pub(crate) fn why(&self, Candidate { at, real, metadata }: &Candidate<'_>) -> io::Result<Option<LeftOutReason>> {
        let Some(name) = at.file_name().and_then(OsStr::to_str) else { return Ok(None) };
        if is_of_download(at, name, metadata) {
            return Ok(Some(LeftOutReason::Unfinished));
        }
        if metadata.is_dir() {
            let [piped, in_use] = PIPED;
            let own =
                (name.starts_with(piped) && at.join(in_use).is_file()) || self.folders.iter().any(|own| own == real);
            return Ok(own.then_some(LeftOutReason::OwnState));
        }
        if holds_key(at, metadata.len())? {
            return Ok(Some(LeftOutReason::PrivateKey));
        }
        let own = self.is_used(real)
            || atomic_file::is_beside(name)
            || is_of_daemon(at, name)?
            || self.is_output(at, metadata)
            || self.is_manifest(at, real, name, metadata.len())?
            || self.is_certificate(at, real, name, metadata.len())?;
        Ok(own.then_some(LeftOutReason::OwnState))
    }

    fn is_output(&self, at: &Path, metadata: &fs::Metadata) -> bool {
        !self.outputs.is_empty() && identity(at, metadata).is_some_and(|identity| self.outputs.contains(&identity))
    }

    /// Whether it is a manifest, or something that is kept beside those, in a folder for them.
    fn is_manifest(&self, at: &Path, real: &Path, name: &str, len: u64) -> io::Result<bool> {
        let fits = match name.rsplit_once('.') {
            Some((_, "manifest")) => begins_with(at, MANIFEST_MAGIC)?,
            Some((_, "stamp")) => len == STAMP_BYTES,
            Some((content, "names")) => is_content_id(content),
            Some((rest, digits)) => rest.starts_with('.') && is_digits(digits, DIGITS),
            None => false,
        };
        let is_note = len == ID_DIGITS && is_digits(name, DIGITS) && is_in(at, BY_TICKET);
        let (Some(folder), Some(real)) = (at.parent(), real.parent()) else { return Ok(false) };
        Ok(is_note || (fits && (self.keeps_manifests(folder, real) || is_kept_by_id(at, name))))
    }

    /// Whether a folder is one for manifests: used as that now, called so, or with what no other folder has.
    fn keeps_manifests(&self, folder: &Path, real: &Path) -> bool {
        if let Some(&known) = self.keeps.borrow().get(real) {
            return known;
        }
        let stamped = |entry: fs::DirEntry| {
            let path = entry.path();
            let of = path.with_extension("manifest");
            path.extension() == Some("stamp".as_ref()) && begins_with(&of, MANIFEST_MAGIC).unwrap_or(false)
        };
        let keeps = self.is_used(real)
            || real.file_name() == Some("hashes".as_ref())
            || folder.join(BY_ID).is_dir()
            || fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(stamped));
        self.keeps.borrow_mut().insert(real.to_owned(), keeps);
        keeps
    }

    /// Whether it is the certificate of a key that lies beside it, or one in the folder where this process has its own.
    fn is_certificate(&self, at: &Path, real: &Path, name: &str, len: u64) -> io::Result<bool> {
        if !name.ends_with(".pem") || len > LARGEST_WITH_KEY || !begins_with(at, b"-----BEGIN CERTIFICATE")? {
            return Ok(false);
        }
        let key = at.with_extension("key");
        // Many a key beside a certificate may be read by root alone; the certificate is no secret.
        let holds_key = |len| holds_key(&key, len).unwrap_or(false);
        let has_key = fs::metadata(&key).is_ok_and(|found| found.is_file() && holds_key(found.len()));
        Ok(has_key || (SWARM.contains(&name) && real.parent().is_some_and(|folder| self.is_used(folder))))
    }
}

/// Whether it is the state of a daemon, or the lock beside it.
fn is_of_daemon(at: &Path, name: &str) -> io::Result<bool> {
    let is_called_so = [DAEMON_STATE, DAEMON_LOCK].contains(&name);
    Ok(is_called_so && begins_with(&at.with_file_name(DAEMON_STATE), DAEMON_STATE_MAGIC)?)
}

/// Whether it is something that a download keeps beside its target: a lock stays as long as what it is for, and other programs have locks,
/// too.
fn is_of_download(at: &Path, name: &str, metadata: &fs::Metadata) -> bool {
    let Some(hidden) = name.strip_prefix('.') else { return false };
    let stem = [JOURNAL, PART].iter().find_map(|end| hidden.strip_suffix(end));
    match (stem, hidden.strip_suffix(LOCK)) {
        (Some(stem), _) => at.with_file_name(format!(".{stem}{LOCK}")).is_file() || has_lock(at, stem),
        (None, Some(stem)) => metadata.is_file() && metadata.len() == 0 && locks_something(at, stem),
        _ => false,
    }
}

/// Whether what a lock is for lies beside it: a download, or a part of it. A name that was too long has a digest at its end.
fn locks_something(at: &Path, stem: &str) -> bool {
    let is_there = |name: String| fs::symlink_metadata(at.with_file_name(name)).is_ok();
    let has_digest = stem.rsplit_once('~').is_some_and(|(_, digest)| is_digits(digest, DIGITS));
    let parts = || [PART, JOURNAL].into_iter().any(|end| is_there(format!(".{stem}{end}")));
    has_digest || parts() || is_there(stem.to_owned())
}

/// Whether a name that was too long, and has a digest at its end instead, has a lock: there it is cut elsewhere.
fn has_lock(at: &Path, stem: &str) -> bool {
    let digest = |stem: &str| stem.rsplit_once('~').map(|(_, digest)| digest.to_owned());
    let Some(wanted) = digest(stem).filter(|digest| is_digits(digest, DIGITS)) else { return false };
    let Some(Ok(entries)) = at.parent().map(fs::read_dir) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        name.to_str().and_then(|name| name.strip_suffix(LOCK)).and_then(digest).is_some_and(|found| found == wanted)
    })
}

/// Whether it lies where manifests are kept by their ids, and notes by their tickets.
fn is_kept_by_id(at: &Path, name: &str) -> bool {
    let content = name.strip_suffix(".manifest").is_some_and(is_content_id);
    let beside = name.starts_with('.');
    (is_in(at, BY_ID) && (content || beside)) || (is_in(at, BY_TICKET) && beside)
}

fn is_in(at: &Path, folder: &str) -> bool {
    at.parent().and_then(Path::file_name) == Some(folder.as_ref())
}

fn is_content_id(text: &str) -> bool {
    is_digits(text, ID_DIGITS as usize)
}

fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn begins_with(path: &Path, magic: &[u8]) -> io::Result<bool> {
    // A pipe would wait for someone who writes to it.
    Ok(path.is_file() && start_of(path, magic.len() as u64)? == magic)
}

/// Whether a file holds a private key as these programs make them, whatever it is called.
fn holds_key(at: &Path, len: u64) -> io::Result<bool> {
    Ok((1..=LARGEST_WITH_KEY).contains(&len) && transport::holds_private_key(&start_of(at, LARGEST_WITH_KEY)?))
}

/// The first bytes of a file, at most so many; none of one that is gone by now.
fn start_of(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(most).read_to_end(&mut bytes).map(|_| bytes)
    };
    match atomic_file::open_patiently(read) {
        Err(error) if atomic_file::is_gone(&error) => Ok(Vec::new()),
        read => read,
    }
}

/// The files that standard output and standard error go to: their bytes change with every word that is said.
#[cfg(unix)]
fn outputs() -> Vec<FileId> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let (output, error) = (std::io::stdout(), std::io::stderr());
    let files = [output.as_fd(), error.as_fd()].map(|stream| stream.try_clone_to_owned().map(File::from));
    let seen = files.into_iter().filter_map(|file| file.and_then(|file| file.metadata()).ok());
    seen.filter(fs::Metadata::is_file).filter_map(|seen| FileId::new(seen.dev(), seen.ino().into())).collect()
}

/// The same on Windows, where `cmd` gives a program the file behind `>` itself. PowerShell writes to it on its own.
#[cfg(windows)]
fn outputs() -> Vec<FileId> {
    use winapi_util::HandleRef;
    use winapi_util::file::typ;
    let handles = [HandleRef::stdout(), HandleRef::stderr()];
    let files = handles.into_iter().filter(|handle| typ(handle).is_ok_and(|kind| kind.is_disk()));
    files.filter_map(|handle| file_id(&handle)).collect()
}

/// What tells a file from all others.
#[cfg(unix)]
fn identity(_: &Path, metadata: &fs::Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    FileId::new(metadata.dev(), metadata.ino().into())
}

#[cfg(windows)]
fn identity(at: &Path, _: &fs::Metadata) -> Option<FileId> {
    file_id(&atomic_file::open_patiently(|| File::open(at)).ok()?)
}

#[cfg(test)]
mod tests {
    use transport::{CertRequest, Certs};

    use super::*;
    use crate::disk::left_out::LeftOut;
    use crate::disk::scan::{Scan, ScanOptions};

    fn scan(path: &Path, own: &[&Path]) -> Scan {
        let own = own.iter().map(|path| path.to_path_buf()).collect();
        Scan::of(path, &ScanOptions { own, ..ScanOptions::default() }).unwrap()
    }

    fn paths(scan: &Scan) -> Vec<&str> {
        scan.files.iter().map(|file| file.path.as_str()).collect()
    }

    fn left_out(scan: &Scan, root: &Path) -> Vec<(String, LeftOutReason)> {
        let relative = |LeftOut { path, reason }: &LeftOut| {
            (path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"), *reason)
        };
        scan.left_out.iter().map(relative).collect()
    }

    /// The files of a closed swarm: an authority, a tracker and a peer.
    fn certify(folder: &Path) {
        let lifetime = std::time::Duration::from_secs(3600);
        let request = CertRequest::new(["peer-1".to_owned()], lifetime);
        Certs::new(folder).provision(&request).unwrap();
    }

    fn manifest(folder: &Path, name: &str) -> Vec<u8> {
        let path = folder.join(name);
        fs::write(&path, [7; 3000]).unwrap();
        crate::hash_content(&path, protocol::Algorithm::Blake3, None, |_, _| {}).unwrap().manifest.bytes().to_vec()
    }

    #[test]
    fn keys_are_left_out_whatever_they_and_their_folders_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        certify(&root.join("certs"));
        certify(&root.join("work/renamed"));
        fs::write(root.join("work/renamed/notes.txt"), "of the user's").unwrap();
        fs::write(root.join("main.c"), "code").unwrap();
        let key = fs::read(root.join("certs/tracker.key")).unwrap();
        fs::write(root.join("work/notes"), [b"a copy\n", &key[..]].concat()).unwrap();
        fs::write(root.join("work/backup.tar"), [&[0; 30_000], &key[..], &[0; 10_000]].concat()).unwrap();
        fs::hard_link(root.join("certs/ca.key"), root.join("work/linked")).unwrap();
        fs::write(root.join("work/id.pub"), "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n")
            .unwrap();
        let found = scan(&root, &[]);
        assert_eq!(paths(&found), ["main.c", "work/id.pub", "work/renamed/notes.txt"]);
        let lost = left_out(&found, &root);
        for path in
            ["certs", "work/backup.tar", "work/notes", "work/linked", "work/renamed/ca.key", "work/renamed/tracker.key"]
        {
            assert!(lost.contains(&(path.to_owned(), LeftOutReason::PrivateKey)), "{path}: {lost:?}");
        }
        for path in ["certs/tracker.key", "work/notes", "work/linked"] {
            let error = Scan::of(&root.join(path), &ScanOptions::default()).err().unwrap().to_string();
            assert!(error.contains("private key"), "{error}");
        }
        let error = Scan::of(&root.join("certs"), &ScanOptions::default()).err().unwrap();
        assert!(matches!(error, crate::PeerError::NothingLeft { .. }), "{error}");
    }

    /// A folder, by now, is nothing that bytes can be read of; so is a file of which the process may open no more.
    #[test]
    fn what_cannot_be_read_is_not_taken_for_something_that_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let [file, at] = ["file", "file.manifest"].map(|name| folder.path().join(name));
        fs::write(&file, "bytes").unwrap();
        fs::create_dir(&at).unwrap();
        let metadata = fs::metadata(&file).unwrap();
        let why = |at: &Path| OwnState::of(&[], &[]).why(&Candidate { at, real: at, metadata: &metadata });
        assert!(why(&at).is_err());
        assert_eq!(why(&file).unwrap(), None);
        fs::remove_file(&file).unwrap();
        assert_eq!(why(&file).unwrap(), None, "what is gone is shared by nobody");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_key_is_a_key() {
        let folder = tempfile::tempdir().unwrap();
        certify(&folder.path().join("certs"));
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), "bytes").unwrap();
        std::os::unix::fs::symlink("../certs/tracker.key", root.join("innocent")).unwrap();
        std::os::unix::fs::symlink("../certs", root.join("tree")).unwrap();
        let found = Scan::of(&root, &ScanOptions { follow_links: true, ..ScanOptions::default() }).unwrap();
        assert_eq!(paths(&found), ["file"]);
        assert!(Scan::of(&root.join("innocent"), &ScanOptions::default()).is_err());
    }

    #[test]
    fn what_this_process_uses_changes_nothing_of_what_a_folder_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("main.c"), "code").unwrap();
        let [certs, hashes, log] = ["certs", "hashes", "run.log"].map(|name| root.join(name));
        let own = [&*certs, &*hashes, &*log];
        let id = |root: &Path| {
            let options =
                ScanOptions { own: own.iter().map(|path| path.to_path_buf()).collect(), ..Default::default() };
            crate::hash_content_with(root, &options, protocol::Algorithm::Blake3, None, |_, _| {}, |_, _| {})
                .unwrap()
                .manifest
                .id()
        };
        let before = id(&root);
        fs::create_dir(&hashes).unwrap();
        assert_eq!(id(&root), before, "an empty folder that is in use");
        let bytes = manifest(folder.path(), "other");
        fs::create_dir(hashes.join("by-id")).unwrap();
        fs::write(hashes.join("root.manifest"), &bytes).unwrap();
        fs::write(hashes.join("root.stamp"), [0; 64]).unwrap();
        fs::write(hashes.join(".root.0123456789abcdef"), "half").unwrap();
        fs::write(hashes.join(format!("by-id/{before}.manifest")), &bytes).unwrap();
        fs::write(hashes.join(format!("{before}.names")), "# Names").unwrap();
        fs::create_dir(hashes.join("by-ticket")).unwrap();
        fs::write(hashes.join("by-ticket/0123456789abcdef"), before.to_string()).unwrap();
        fs::write(hashes.join("by-ticket/.0123456789abcdef.0123456789abcdef"), "half").unwrap();
        fs::write(&log, "a line").unwrap();
        certify(&certs);
        assert_eq!(id(&root), before);
        let found = scan(&root, &own);
        let lost = [
            ("certs", LeftOutReason::PrivateKey),
            ("hashes", LeftOutReason::OwnState),
            ("run.log", LeftOutReason::OwnState),
        ];
        assert_eq!(left_out(&found, &root), lost.map(|(path, reason)| (path.to_owned(), reason)));
        // Another process does not know that they are in use, but sees what they are.
        assert_eq!(paths(&scan(&root, &[])), ["main.c", "run.log"]);
        fs::rename(&hashes, root.join("kept")).unwrap();
        assert_eq!(paths(&scan(&root, &[])), ["main.c", "run.log"]);
    }

    #[test]
    fn the_state_of_a_daemon_is_left_out_and_what_is_only_called_so_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for (place, state) in [("home/daemon", r#"{"v":1,"next":1,"contents":[]}"#), ("home/other", "{}")] {
            let place = folder.path().join(place);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("daemon.json"), state).unwrap();
            fs::write(place.join("daemon.lock"), "").unwrap();
        }
        let root = folder.path().join("home");
        let found = scan(&root, &[]);
        assert_eq!(paths(&found), ["other/daemon.json", "other/daemon.lock"]);
        assert_eq!(left_out(&found, &root), [("daemon".to_owned(), LeftOutReason::OwnState)]);
        assert!(Scan::of(&root.join("daemon/daemon.json"), &ScanOptions::default()).is_err());
    }

    #[test]
    fn a_folder_of_nothing_but_state_is_left_out_whole() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        for place in [".cache/ours/origins", ".cache/other"] {
            fs::create_dir_all(root.join(place)).unwrap();
            fs::write(root.join(place).join("part"), "bytes").unwrap();
        }
        let found = |own: &Path| Scan::of(&root, &ScanOptions::new().own_folders([own])).unwrap();
        let without = found(&root.join(".cache/ours"));
        assert_eq!(paths(&without), [".cache/other/part"]);
        assert_eq!(left_out(&without, &root), [(".cache/ours".to_owned(), LeftOutReason::OwnState)]);
        assert_eq!(paths(&found(&root.join(".cache/gone"))).len(), 2);
    }

    #[test]
    fn state_that_lies_among_the_users_files_is_told_apart_from_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        certify(&root);
        let bytes = manifest(folder.path(), "model.bin");
        for (name, bytes) in [
            ("model.bin", &b"bytes"[..]),
            ("model.bin.manifest", &bytes),
            ("model.bin.stamp", &[0; 64]),
            ("cargo.manifest", b"[package]"),
            ("postage.stamp", b"one"),
            ("site.pem", b"-----BEGIN CERTIFICATE-----"),
            (".p2p-fileshare-abcdef.new", b"half a key"),
        ] {
            fs::write(root.join(name), bytes).unwrap();
        }
        assert_eq!(paths(&scan(&root, &[&root])), ["cargo.manifest", "model.bin", "postage.stamp", "site.pem"]);
        let exported = folder.path().join("exported");
        fs::create_dir(&exported).unwrap();
        fs::write(exported.join("model.bin.manifest"), &bytes).unwrap();
        assert_eq!(paths(&scan(&exported, &[])), ["model.bin.manifest"], "a manifest alone is a file like any other");
    }

    #[test]
    fn a_download_that_is_not_complete_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("output");
        let long = "n".repeat(255);
        let output = |name: &str, is_folder| {
            let files = [("a".to_owned(), 20_000, false), ("b".to_owned(), 20_000, false)];
            let files = if is_folder { &files[..] } else { &[(name.to_owned(), 20_000, false)][..] };
            let output = storage::Output::prepare(&root, name, is_folder, files, &[]).unwrap();
            storage::backend("file").unwrap().open(&output.specs(), storage::Access::Write).unwrap();
            output.journal(protocol::ContentId(protocol::Digest([1; 32])), 20).unwrap();
            output
        };
        let _running = [output("model.bin", false), output("folder", true), output(&long, false)];
        assert!(fs::read_dir(&root).unwrap().count() >= 9);
        fs::write(root.join("done.bin"), "bytes").unwrap();
        fs::write(root.join(".of-the-user.part"), "bytes").unwrap();
        // One is left of a download that is complete, the other one is of another program.
        [".done.bin.lock", ".pwd.lock"].into_iter().for_each(|lock| fs::write(root.join(lock), "").unwrap());
        let found = scan(&root, &[]);
        assert_eq!(paths(&found), [".of-the-user.part", ".pwd.lock", "done.bin"]);
        assert!(found.left_out.iter().all(|left_out| left_out.reason == LeftOutReason::Unfinished));
        let error = Scan::of(&root.join(".model.bin.part"), &ScanOptions::default()).err().unwrap().to_string();
        assert!(error.contains("not complete"), "{error}");
    }
}
