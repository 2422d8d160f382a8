//! The hashes folder: where manifests are kept, those that were made here and those of downloads.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protocol::{ContentId, Digest, Manifest, ManifestError, Secret, decorated_name};
use storage::{StorageError, error_at};

use crate::error::PeerError;

/// Folder in the hashes folder for the manifests of downloads. The sharer of something chooses its name, so they are kept by
/// their ids, apart from those of the user's own files.
pub(crate) const BY_ID: &str = "by-id";
const MANIFEST: &str = "manifest";
/// Folder in a hashes folder that serves many folders: one for each of them.
const BY_PLACE: &str = "by-place";
/// Folder in the hashes folder for what tickets were for that do not say it themselves.
pub(crate) const BY_TICKET: &str = "by-ticket";
/// Digits of the digests that such a folder, and a ticket, are called by.
const DIGITS: usize = 16;
/// Digits of a content's id.
pub(crate) const ID_DIGITS: u64 = 64;

/// Removes what programs that were killed while they kept a manifest have left in the hashes folder.
pub fn sweep_manifests(hashes: &Path) {
    [hashes, &hashes.join(BY_ID), &hashes.join(BY_TICKET)].into_iter().for_each(atomic_file::sweep);
}

/// Where the manifest is kept that was made here of a file or folder of this name.
pub fn manifest_path(hashes: &Path, name: &str) -> PathBuf {
    hashes.join(decorated_name("", name, ".manifest"))
}

/// Where in a hashes folder that serves many folders the manifests are kept of what lies in the same one as `path`.
pub fn manifests_of(hashes: &Path, path: &Path) -> PathBuf {
    // `.` and `..` have a name, and lie somewhere, all the same.
    let named = match path.file_name() {
        Some(_) => path.to_owned(),
        None => atomic_file::real_path(path).unwrap_or_else(|_| path.to_owned()),
    };
    let folder = named.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = atomic_file::real_path(folder).unwrap_or_else(|_| folder.to_owned());
    let digest = Digest::of(folder.as_os_str().as_encoded_bytes()).to_string();
    hashes.join(BY_PLACE).join(&digest[..DIGITS])
}

/// Where the manifest of a download is kept.
pub fn received_path(hashes: &Path, content: ContentId) -> PathBuf {
    hashes.join(BY_ID).join(format!("{content}.{MANIFEST}"))
}

/// Keeps a manifest that was made here in the hashes folder, by the content's name.
pub fn keep_manifest(hashes: &Path, manifest: &Manifest) -> Result<(), PeerError> {
    let name = &manifest.header().name;
    protocol::check_local_name(name, cfg!(windows))?;
    let path = manifest_path(hashes, name);
    put(&path, hashes, manifest.bytes()).map_err(|source| match source.kind() {
        // It is the folder that is to be changed, and not that file.
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StorageError::Unwritable { path: hashes.to_owned(), source }.into()
        }
        _ => error_at(&path, source).into(),
    })
}

/// Keeps the manifest of a download in the hashes folder, by its id: no other content is ever kept there.
pub(crate) fn keep_received(hashes: &Path, manifest: &Manifest) -> Result<(), PeerError> {
    let path = received_path(hashes, manifest.id());
    let kept = put(&path, &hashes.join(BY_ID), manifest.bytes());
    kept.map_err(|source| error_at(&path, source).into())
}

/// Writes a file into a folder, which is made if need be, so that nobody reads half of one. Readers check it: after a
/// power failure it may have to be made again.
pub(crate) fn put(path: &Path, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    atomic_file::replace_cache(path, bytes)
}

/// The manifest of a download that is kept in the hashes folder. Opens that one file, however many there are.
pub fn received_manifest(hashes: &Path, content: ContentId) -> Option<Manifest> {
    let bytes = read_manifest_bytes(&received_path(hashes, content)).ok()?;
    // Anyone may have written to it since.
    if Manifest::id_of(&bytes) != content {
        return None;
    }
    Manifest::decode(bytes).ok()
}

/// Notes in the hashes folder what the ticket with this secret is for: the ticket of a private share does not say it, and when its sharer
/// is gone, nobody else does. The note does not lead back to the secret.
pub(crate) fn note_ticket(hashes: &Path, secret: Secret, content: ContentId) {
    let path = ticket_path(hashes, secret);
    if let Err(error) = put(&path, &hashes.join(BY_TICKET), content.to_string().as_bytes()) {
        tracing::info!(%error, path = %path.display(), "what the ticket is for is not noted");
    }
}

/// What the ticket with this secret was for, if that was noted here.
pub fn content_of_ticket(hashes: &Path, secret: Secret) -> Option<ContentId> {
    let path = ticket_path(hashes, secret);
    // A pipe would be waited for.
    if !path.is_file() {
        return None;
    }
    let mut id = String::new();
    fs::File::open(path).ok()?.take(ID_DIGITS).read_to_string(&mut id).ok()?;
    id.parse().ok()
}

fn ticket_path(hashes: &Path, secret: Secret) -> PathBuf {
    let digest = Digest::of(secret.share_key().swarm().to_string().as_bytes()).to_string();
    hashes.join(BY_TICKET).join(&digest[..DIGITS])
}

/// The one content of this name that was downloaded, as far as its manifest is kept: none if there are several.
pub fn received_by_name(hashes: &Path, name: &str) -> Option<ContentId> {
    let files = fs::read_dir(hashes.join(BY_ID)).ok()?.flatten().map(|entry| entry.path());
    let ids = files.filter_map(|path| path.file_stem()?.to_str()?.parse::<ContentId>().ok());
    let manifests = ids.filter_map(|content| received_manifest(hashes, content));
    let mut found = manifests.filter(|manifest| manifest.header().name == name).map(|manifest| manifest.id());
    found.next().filter(|_| found.next().is_none())
}

/// The manifests of the hashes folder whose id is wanted, made here or downloaded, in no order. Those of downloads are known by
/// their files' names; of the others the bytes are read and hashed. None is taken apart but those that are wanted.
pub fn kept_manifests(hashes: &Path, wanted: impl Fn(ContentId) -> bool) -> impl Iterator<Item = Manifest> {
    let files = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let by_id = files(&hashes.join(BY_ID)).filter_map(|path| path.file_stem()?.to_str()?.parse::<ContentId>().ok());
    let by_id: Vec<_> = by_id.filter(|&content| wanted(content)).collect();
    let received = by_id.into_iter().map({
        let hashes = hashes.to_owned();
        move |content| received_manifest(&hashes, content)
    });
    let places = files(&hashes.join(BY_PLACE)).flat_map(move |place| files(&place).collect::<Vec<_>>());
    let named = files(hashes).chain(places).filter(|path| path.extension().is_some_and(|end| end == MANIFEST));
    let bytes = named.filter_map(|path| read_manifest_bytes(&path).ok());
    let made = bytes.filter(move |bytes| wanted(Manifest::id_of(bytes))).map(|bytes| Manifest::decode(bytes).ok());
    received.chain(made).flatten()
}

/// Reads and checks a manifest's file.
pub fn read_manifest(path: &Path) -> Result<Manifest, PeerError> {
    let bytes = read_manifest_bytes(path)?;
    Manifest::decode(bytes).map_err(|reason| PeerError::Manifest { path: path.to_owned(), reason })
}

fn read_manifest_bytes(path: &Path) -> Result<Bytes, PeerError> {
    let io = |source| StorageError::Io { path: path.to_owned(), source };
    let there = fs::metadata(path).map_err(io)?;
    // A pipe would be waited for.
    if !there.is_file() {
        return Err(io(io::Error::other("it is not a file")).into());
    }
    let len = there.len();
    if len > protocol::MAX_MANIFEST_BYTES as u64 {
        return Err(PeerError::Manifest { path: path.to_owned(), reason: ManifestError::TooLong(len as usize) });
    }
    // No more than was looked at, whatever it has become.
    // Whoever has just written it has it locked until it has its name.
    let read = || {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(len).read_to_end(&mut bytes).map(|_| bytes)
    };
    Ok(atomic_file::open_patiently(read).map_err(io)?.into())
}

#[cfg(test)]
mod tests {
    use protocol::Algorithm;

    use super::*;
    use crate::disk::share::hash_content;

    #[test]
    fn of_many_manifests_only_the_wanted_one_is_taken_apart() {
        let folder = tempfile::tempdir().unwrap();
        let hashes = folder.path().join("hashes");
        let ids: Vec<_> = (0..20)
            .map(|number| {
                let path = folder.path().join(format!("file {number}"));
                fs::write(&path, [number; 3000]).unwrap();
                let manifest = hash_content(&path, Algorithm::Blake3, Some(1024), |_, _| {}).unwrap().manifest;
                keep_manifest(&hashes, &manifest).unwrap();
                manifest.id()
            })
            .collect();
        fs::write(hashes.join("torn.manifest"), "half of one").unwrap();
        for id in ids {
            let found: Vec<_> = kept_manifests(&hashes, |kept| kept == id).map(|manifest| manifest.id()).collect();
            assert_eq!(found, [id]);
        }
        assert_eq!(kept_manifests(&hashes, |_| true).count(), 20);
    }

    fn manifest_of_bytes(folder: &Path, name: &str, bytes: &[u8]) -> Manifest {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        hash_content(&path, Algorithm::Blake3, Some(1024), |_, _| {}).unwrap().manifest
    }

    #[test]
    fn a_download_never_takes_the_place_of_the_manifest_of_an_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let hashes = folder.path().join("hashes");
        let own = manifest_of_bytes(folder.path(), "model.bin", b"own");
        let other = manifest_of_bytes(folder.path(), "model.bin", b"of someone else");
        keep_manifest(&hashes, &own).unwrap();
        keep_received(&hashes, &other).unwrap();
        assert_eq!(read_manifest(&manifest_path(&hashes, "model.bin")).unwrap().id(), own.id());
        assert_eq!(received_manifest(&hashes, other.id()).unwrap().id(), other.id());
        assert!(received_manifest(&hashes, own.id()).is_none());
        assert_eq!(received_by_name(&hashes, "model.bin"), Some(other.id()));
        assert_eq!(received_by_name(&hashes, "model"), None);
        keep_received(&hashes, &manifest_of_bytes(folder.path(), "model.bin", b"of a third")).unwrap();
        assert_eq!(received_by_name(&hashes, "model.bin"), None, "nobody knows which of them is meant");
        fs::remove_dir_all(hashes.join(BY_ID)).unwrap();
        keep_received(&hashes, &other).unwrap();
        let all: Vec<_> = kept_manifests(&hashes, |_| true).map(|manifest| manifest.id()).collect();
        assert_eq!(all, [other.id(), own.id()]);
        // An own file that is called as the manifest of a download is kept beside it, too.
        let called = manifest_of_bytes(folder.path(), &other.id().to_string(), b"own");
        keep_manifest(&hashes, &called).unwrap();
        assert_eq!(received_manifest(&hashes, other.id()).unwrap().id(), other.id());
    }

    #[test]
    fn what_a_ticket_was_for_is_known_later_and_its_secret_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let hashes = folder.path().join("hashes");
        let [secret, other] = [[7; Secret::BYTES], [8; Secret::BYTES]].map(Secret::new);
        let content = manifest_of_bytes(folder.path(), "file", b"bytes").id();
        assert_eq!(content_of_ticket(&hashes, secret), None);
        note_ticket(&hashes, secret, content);
        assert_eq!((content_of_ticket(&hashes, secret), content_of_ticket(&hashes, other)), (Some(content), None));
        let notes: Vec<_> = fs::read_dir(hashes.join(BY_TICKET)).unwrap().flatten().collect();
        let name = notes[0].file_name().into_string().unwrap();
        assert!(notes.len() == 1 && name.len() == DIGITS && !name.starts_with("0707"), "{name}");
        fs::write(notes[0].path(), "no id").unwrap();
        assert_eq!(content_of_ticket(&hashes, secret), None);
    }

    #[test]
    fn a_kept_manifest_that_is_not_of_its_id_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let hashes = folder.path().join("hashes");
        let [one, other] = [b"one", b"two"].map(|bytes| manifest_of_bytes(folder.path(), "file", bytes));
        keep_received(&hashes, &one).unwrap();
        fs::write(received_path(&hashes, one.id()), other.bytes()).unwrap();
        assert!(received_manifest(&hashes, one.id()).is_none());
        assert_eq!(kept_manifests(&hashes, |_| true).count(), 0);
    }

    #[test]
    fn files_of_one_name_in_two_folders_have_a_manifest_each() {
        let folder = tempfile::tempdir().unwrap();
        let hashes = folder.path().join("hashes");
        let paths = ["a", "b"].map(|name| {
            fs::create_dir(folder.path().join(name)).unwrap();
            folder.path().join(name).join("file")
        });
        let made = paths.clone().map(|path| {
            let manifest = manifest_of_bytes(path.parent().unwrap(), "file", path.as_os_str().as_encoded_bytes());
            keep_manifest(&manifests_of(&hashes, &path), &manifest).unwrap();
            manifest.id()
        });
        for (path, id) in paths.iter().zip(made) {
            let kept = manifests_of(&hashes, &path.parent().unwrap().join("../a/../").join(path));
            assert_eq!(read_manifest(&manifest_path(&kept, "file")).unwrap().id(), id);
            assert_eq!(kept_manifests(&hashes, |kept| kept == id).count(), 1);
        }
        assert_eq!(manifests_of(&hashes, Path::new("x")), manifests_of(&hashes, Path::new("./y")));
        assert_ne!(manifests_of(&hashes, Path::new(".")), manifests_of(&hashes, Path::new("./y")), "it lies above");
    }

    /// Earlier versions kept all manifests by name.
    #[test]
    fn manifests_of_an_old_folder_are_still_found_by_their_id() {
        let folder = tempfile::tempdir().unwrap();
        let hashes = folder.path().join("hashes");
        let manifest = manifest_of_bytes(folder.path(), "file", b"downloaded long ago");
        fs::create_dir(&hashes).unwrap();
        fs::write(hashes.join("file.manifest"), manifest.bytes()).unwrap();
        let found: Vec<_> = kept_manifests(&hashes, |kept| kept == manifest.id()).collect();
        assert_eq!(found[0].id(), manifest.id());
    }
}
