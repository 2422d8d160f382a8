//! The files of a closed swarm in one folder: `ca.pem` and `ca.key`, `tracker.pem` and `tracker.key`, and for each peer
//! `NAME.pem` and `NAME.key`.
//!
//! A key is never written over, so ids stay through renewals and through a change of the authority; certificates are made
//! anew where the old one will not do. Several peers started in one folder need not be told which is whose: each takes
//! the first that no running peer uses.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use atomic_file::Prepared;
use rustls::pki_types::UnixTime;
use webpki::KeyUsage;

use super::trust::valid_at;
use super::{Authority, Identity, IdentityError, Trust, from_now, peer_id_of, pem};

/// Certificates that end within this time are made anew.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const AUTHORITY: &str = "ca";
const TRACKER: &str = "tracker";
/// What the predecessor of an authority is called.
const OLD: &str = "ca-old";

/// A folder with such files.
pub struct Certs(PathBuf);

/// What is to be made.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct CertRequest {
    /// Names of the peers' certificates.
    pub names: Vec<String>,
    /// How long certificates are valid.
    pub lifetime: Duration,
    /// Whether a new authority is to replace the present one.
    pub rotate: bool,
}

impl CertRequest {
    /// Certificates of these names, valid for so long, of the authority that is there or a first one.
    pub fn new(names: impl IntoIterator<Item = String>, lifetime: Duration) -> Self {
        CertRequest { names: names.into_iter().collect(), lifetime, rotate: false }
    }

    /// Whether a new authority is to replace the present one.
    pub fn rotate(mut self, rotate: bool) -> Self {
        self.rotate = rotate;
        self
    }
}

/// What was done to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileChange {
    /// It is new.
    Made(PathBuf),
    /// It was there and stays as it is.
    Kept(PathBuf),
    /// It was there, and another certificate of the same key took its place.
    Renewed(PathBuf),
    /// It has another name now.
    Moved(PathBuf, PathBuf),
}

/// Whether files of a member may have this name: a machine's name will do, with its domain (RFC 1123 allows 253 letters).
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.len() <= 200 && name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_plain))
}

/// An error of the file at this path.
fn at(path: &Path) -> impl Fn(io::Error) -> IdentityError {
    move |source| IdentityError::File { path: path.to_owned(), source }
}

/// Whether there is no certificate in this file, or nothing at all: what has no content was never used.
fn lacks(certificate: &Path) -> Result<bool, IdentityError> {
    match pem::read_certificate(certificate) {
        Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(IdentityError::Blank(_)) => Ok(true),
        Err(error) => Err(error),
        Ok(_) => Ok(false),
    }
}

impl Certs {
    /// The files of a closed swarm that are, or will be, in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Certs(folder.into())
    }

    fn certificate(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    fn key(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.key"))
    }

    /// Makes what is missing: an authority, and certificates for the tracker and the peers. Keys that are there stay.
    pub fn provision(&self, request: &CertRequest) -> Result<Vec<FileChange>, IdentityError> {
        for name in &request.names {
            if !is_name(name) || [AUTHORITY, TRACKER, OLD].contains(&name.as_str()) {
                return Err(IdentityError::Name(name.clone()));
            }
        }
        atomic_file::sweep(&self.0);
        let mut changes = Vec::new();
        let authority = if request.rotate { self.rotate(&mut changes)? } else { self.authority(&mut changes)? };
        let named = request.names.iter().map(String::as_str);
        // After a change of authority everyone needs a new certificate, whether named or not.
        let present = if request.rotate { self.peers()? } else { Vec::new() };
        let others = present.iter().map(String::as_str).filter(|name| !request.names.iter().any(|wish| wish == name));
        for name in [TRACKER].into_iter().chain(named).chain(others) {
            self.certify(name, &authority, request.lifetime, &mut changes)?;
        }
        Ok(changes)
    }

    /// Another authority in place of the present one, which keeps its files under other names.
    fn rotate(&self, changes: &mut Vec<FileChange>) -> Result<Authority, IdentityError> {
        let moves = [(self.certificate(AUTHORITY), self.certificate(OLD)), (self.key(AUTHORITY), self.key(OLD))];
        if let Some((_, old)) = moves.iter().find(|(_, old)| old.exists()) {
            return Err(IdentityError::Rotating(old.clone()));
        }
        // What there is no room for is known before anything is moved.
        let authority = Authority::generate()?;
        let successor = authority.prepare(&self.certificate(AUTHORITY), &self.key(AUTHORITY))?;
        for (from, to) in moves {
            atomic_file::patiently(|| fs::rename(&from, &to)).map_err(at(&from))?;
            changes.push(FileChange::Moved(from, to));
        }
        self.install(successor, changes)?;
        Ok(authority)
    }

    fn authority(&self, changes: &mut Vec<FileChange>) -> Result<Authority, IdentityError> {
        let (certificate, key) = (self.certificate(AUTHORITY), self.key(AUTHORITY));
        if !lacks(&certificate)? {
            // If only the certificate is left, no new CA is made, because the swarm may still trust the old one.
            let authority = Authority::load(&certificate, &key)?;
            changes.extend([FileChange::Kept(certificate), FileChange::Kept(key)]);
            return Ok(authority);
        }
        if key.exists() {
            match Authority::of_key(&key) {
                // Nobody can trust an authority that never had a certificate.
                Err(IdentityError::Blank(_)) => atomic_file::patiently(|| fs::remove_file(&key)).map_err(at(&key))?,
                authority => {
                    let authority = authority?;
                    authority.write_certificate(&certificate)?;
                    changes.extend([FileChange::Made(certificate), FileChange::Kept(key)]);
                    return Ok(authority);
                }
            }
        }
        let authority = Authority::generate()?;
        self.install(authority.prepare(&certificate, &key)?, changes)?;
        Ok(authority)
    }

    /// The files of a new authority take their places.
    fn install(&self, [key, certificate]: [Prepared; 2], changes: &mut Vec<FileChange>) -> Result<(), IdentityError> {
        let (certificate_path, key_path) = (self.certificate(AUTHORITY), self.key(AUTHORITY));
        key.create().map_err(at(&key_path))?;
        certificate.replace().map_err(at(&certificate_path))?;
        changes.extend([FileChange::Made(certificate_path), FileChange::Made(key_path)]);
        Ok(())
    }

    fn certify(
        &self,
        name: &str,
        authority: &Authority,
        lifetime: Duration,
        changes: &mut Vec<FileChange>,
    ) -> Result<(), IdentityError> {
        let (certificate, key) = (self.certificate(name), self.key(name));
        let new = match fs::metadata(&key) {
            Ok(metadata) => metadata.len() == 0,
            Err(_) => true,
        };
        self.lost(name)?;
        let identity = Identity::load_or_create(&key)?;
        changes.push(if new { FileChange::Made(key) } else { FileChange::Kept(key) });
        let present = if lacks(&certificate)? { None } else { Some(pem::read_certificate(&certificate)?) };
        let soon = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + SOON.min(lifetime / 2));
        let lasts = present.as_ref().is_some_and(|present| {
            let signed = authority.trust().check(present, &[], UnixTime::now(), KeyUsage::client_auth());
            signed.is_ok_and(|id| id == identity.id) && valid_at(present, soon).is_ok()
        });
        if lasts {
            changes.push(FileChange::Kept(certificate));
            return Ok(());
        }
        authority.certify(name, &identity, from_now(lifetime))?.write_certificate(&certificate)?;
        changes.push(if present.is_some() { FileChange::Renewed(certificate) } else { FileChange::Made(certificate) });
        Ok(())
    }

    /// The tracker's identity in a closed swarm.
    pub fn tracker(&self, trust: &Trust) -> Result<Identity, IdentityError> {
        Identity::load(&self.certificate(TRACKER), &self.key(TRACKER), trust)
    }

    /// The tracker's identity in an open swarm, made at the first start. Nothing if the tracker's certificate here is
    /// another's work: that of a closed swarm, which must not be opened by leaving out a flag.
    pub fn open_tracker(&self) -> Result<Option<Identity>, IdentityError> {
        let certificate = self.certificate(TRACKER);
        let present = pem::read_certificate(&certificate).ok();
        if let Some(present) = &present
            && Trust::Anyone.check(present, &[], UnixTime::now(), KeyUsage::server_auth()).is_err()
        {
            return Ok(None);
        }
        self.lost(TRACKER)?;
        let identity = Identity::load_or_create(&self.key(TRACKER))?;
        // One that says the same stays: a full disk, or a folder that only may be read, is no reason not to start.
        if present.and_then(|present| peer_id_of(&present).ok()) != Some(identity.id) {
            identity.write_certificate(&certificate)?;
        }
        Ok(Some(identity))
    }

    /// An error if a key is empty whose certificate is there: others may know the id that is lost, so whether there is to be
    /// another is for people to decide.
    fn lost(&self, name: &str) -> Result<(), IdentityError> {
        let (certificate, key) = (self.certificate(name), self.key(name));
        let Ok(file) = pem::open(&key) else { return Ok(()) };
        match pem::read_key(file, &key) {
            Err(IdentityError::Blank(key)) if !lacks(&certificate)? => Err(IdentityError::LostKey { key, certificate }),
            _ => Ok(()),
        }
    }

    /// The first peer's identity that no running peer uses.
    pub fn free_peer(&self, trust: &Trust) -> Result<Identity, IdentityError> {
        let (mut used, mut unfit) = (0, None);
        for name in self.peers()? {
            match Identity::load(&self.certificate(&name), &self.key(&name), trust) {
                Ok(identity) => return Ok(identity),
                Err(IdentityError::InUse(_)) => used += 1,
                Err(error) => drop(unfit.get_or_insert(error)),
            }
        }
        match (used, unfit) {
            (0, Some(error)) => Err(error),
            (0, None) => Err(IdentityError::NoCertificate(self.0.clone())),
            _ => Err(IdentityError::NoneFree { folder: self.0.clone(), used }),
        }
    }

    /// Names of which there are both files, in the order in which people count: peer-2 before peer-10.
    fn peers(&self) -> Result<Vec<String>, IdentityError> {
        let error = |source| IdentityError::File { path: self.0.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let ours = path.extension() == Some("pem".as_ref()) && ![AUTHORITY, TRACKER, OLD].contains(&name);
            if ours && self.key(name).exists() {
                names.push(name.to_owned());
            }
        }
        names.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
        Ok(names)
    }
}
